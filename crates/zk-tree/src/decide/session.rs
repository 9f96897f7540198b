//! closeSession: the end of a session and of its ephemerals.

use zk_proto::path;
use zk_proto::txn::{Txn, kind};

use super::Decider;

/// A longer list is left out, as servers before 3.6 do: the transaction must fit into a packet between servers
/// (`jute.maxbuffer`), and whoever applies it knows what the session owns.
const LISTED_BYTES_MAX: usize = 512 * 1024;

impl Decider<'_> {
    /// No session check: the server itself closes an expired session, which nobody owns any more.
    pub(super) fn close_session(&mut self) -> (i32, Txn) {
        let paths = self.pending.ephemerals_of(self.tree, self.ctx.session_id);
        for path in &paths {
            let Ok(node) = self.pending.node(self.tree, path) else { continue };
            let parent = path::split(path).and_then(|(parent, _)| self.pending.node(self.tree, parent).ok());
            if let Some(mut parent) = parent {
                // Apache leaves the child count as it is and so refuses, for a moment, to delete the parent.
                parent.child_count = parent.child_count.saturating_sub(1);
                parent.stat.pzxid = self.ctx.zxid;
                self.pending.put(self.tree, self.ctx.zxid, parent);
            }
            self.pending.delete(self.tree, self.ctx.zxid, node);
        }
        let bytes: usize = paths.iter().map(|path| path.len() + 4).sum();
        let listed = self.tree.config.close_session_txn_enabled && bytes <= LISTED_BYTES_MAX;
        let paths = listed.then(|| paths.iter().map(|path| path.to_string()).collect());
        (kind::CLOSE_SESSION, Txn::CloseSession { paths })
    }
}
