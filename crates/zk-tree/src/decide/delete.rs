//! delete, and deleteContainer, with which servers reap containers and TTL nodes.

use zk_proto::txn::{Txn, kind};
use zk_proto::{ErrorCode, perms};

use super::{Decider, Outcome, next_version, parent_for_delete};
use crate::owner::Owner;
use crate::pending::PendingNode;

impl Decider<'_> {
    pub(super) fn delete(&mut self, path: String, version: i32) -> Outcome {
        self.ctx.session?;
        let parent = self.pending.node(self.tree, parent_for_delete(&path)?)?;
        self.require(parent.acl.as_deref(), perms::DELETE)?;
        let node = self.pending.node(self.tree, &path)?;
        next_version(node.stat.version, version)?;
        self.delete_childless(parent, node)?;
        Ok((kind::DELETE, Txn::Delete { path }))
    }

    /// Asked by a server, not by a session: no session and no ACL is checked, but only what may be reaped goes.
    pub(super) fn delete_container(&mut self, path: String) -> Outcome {
        let parent_path = parent_for_delete(&path)?;
        let node = self.pending.node(self.tree, &path)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        // Apache refuses ephemerals only and would reap a plain node that took the container's place meanwhile.
        match Owner::classify(node.stat.ephemeral_owner, &self.tree.config) {
            Owner::Container | Owner::TtlMs(_) => {}
            Owner::None | Owner::Session(_) => return Err(ErrorCode::BadVersion),
        }
        let parent = self.pending.node(self.tree, parent_path)?;
        self.delete_childless(parent, node)?;
        Ok((kind::DELETE_CONTAINER, Txn::Delete { path }))
    }

    fn delete_childless(&mut self, mut parent: PendingNode, node: PendingNode) -> Result<(), ErrorCode> {
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        parent.child_count = parent.child_count.saturating_sub(1);
        parent.stat.pzxid = self.ctx.zxid;
        self.pending.put(self.tree, self.ctx.zxid, parent);
        self.pending.delete(self.tree, self.ctx.zxid, node);
        Ok(())
    }
}
