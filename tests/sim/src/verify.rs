//! The verdict on a whole run: everything clients were told is held against the history the servers agreed on.
//!
//! The committed transactions are applied once more, one by one, to a tree of our own. An answered write must be
//! the transaction of its zxid and have come to the same result; an answered read must show exactly the state at its
//! zxid; watches, sessions and ephemerals are followed along the way.

mod watches;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zk_proto::txn::{Txn, TxnEntry, TxnHeader, kind};
use zk_proto::{EventKind, Request, Response, Writer, response};
use zk_tree::{ChangeKind, Tree, TxnResult, reply};

use crate::broken;
use crate::client::is_recorded;
use crate::history::{Op, Outcome};
use crate::server::tree_config;
use crate::world::World;
use watches::Changes;

/// Replays and compares.
pub struct Verdict<'a> {
    world: &'a World,
    tree: Tree,
    /// Answered requests by zxid, in the order they were asked.
    by_zxid: BTreeMap<i64, Vec<usize>>,
    /// (session, cxid) of every transaction that took effect.
    done: BTreeSet<(i64, i32)>,
    last_cxid: BTreeMap<i64, i32>,
    closed: BTreeSet<i64>,
    changes: Changes,
}

impl<'a> Verdict<'a> {
    pub fn check(world: &'a World, tree: Tree) {
        let mut by_zxid: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, op) in world.history.ops.iter().enumerate() {
            if let Outcome::Answered { zxid, .. } = op.outcome {
                by_zxid.entry(zxid).or_default().push(at);
            }
        }
        let (done, closed) = (BTreeSet::new(), BTreeSet::new());
        let changes = Changes::default();
        let mut verdict = Self { world, tree, by_zxid, done, last_cxid: BTreeMap::new(), closed, changes };
        verdict.replay();
        verdict.sessions();
        for client in 0..world.history.seen.len() {
            verdict.changes.check_client(world, client);
        }
    }

    fn replay(&mut self) {
        let committed = &self.world.oracle.committed;
        let first = committed.first().copied().unwrap_or(i64::MAX);
        self.reads(0, first);
        for (at, zxid) in committed.iter().enumerate() {
            let next = committed.get(at + 1).copied().unwrap_or(i64::MAX);
            let payload = self.world.oracle.proposed[zxid].clone();
            self.transaction(*zxid, &payload);
            self.reads(*zxid, next);
        }
    }

    fn transaction(&mut self, zxid: i64, payload: &Bytes) {
        let entry = TxnEntry::decode(payload).expect("what was logged can be read");
        let mut events = Vec::new();
        let result = self.tree.apply(&entry.header, &entry.txn, &mut events);
        if let Some(digest) = entry.digest
            && digest.tree_digest != self.tree.digest()
        {
            broken!("Digest", "0x{zxid:x} was logged with another digest than its tree has");
        }
        for event in &events {
            let path = if event.path.is_empty() { "/" } else { &event.path };
            let kind = match event.kind {
                ChangeKind::Created => EventKind::NodeCreated,
                ChangeKind::Deleted => EventKind::NodeDeleted,
                ChangeKind::DataChanged => EventKind::NodeDataChanged,
            };
            self.changes.add(zxid, kind, path);
        }
        self.once_and_in_order(&entry.header, &entry.txn);
        self.ephemerals(&entry.header);
        for op in self.answered(zxid, true) {
            self.write(&entry.header, op, &result);
        }
    }

    fn answered(&self, zxid: i64, writes: bool) -> Vec<usize> {
        let ops = self.by_zxid.get(&zxid).map(Vec::as_slice).unwrap_or_default();
        let wanted = |at: &&usize| is_recorded(self.world.history.ops[**at].request.op()) == writes;
        ops.iter().filter(wanted).copied().collect()
    }

    /// No request takes effect twice, those of one session in the order they were asked.
    fn once_and_in_order(&mut self, header: &TxnHeader, txn: &Txn) {
        let takes_effect = match txn {
            Txn::Error { .. } => false,
            Txn::Multi(items) => items.iter().all(|item| item.kind != kind::ERROR),
            _ => header.kind != kind::CREATE_SESSION,
        };
        if header.kind == kind::CLOSE_SESSION {
            self.closed.insert(header.client_id);
        }
        // What servers do by themselves has no number of a client.
        if !takes_effect || header.cxid == 0 || header.client_id == 0 {
            return;
        }
        if !self.done.insert((header.client_id, header.cxid)) {
            broken!("AppliedOnce", "request {} of 0x{:x} took effect twice", header.cxid, header.client_id);
        }
        let last = self.last_cxid.entry(header.client_id).or_default();
        if header.cxid < *last {
            broken!("SessionFifo", "0x{:x}: {} took effect after {last}", header.client_id, header.cxid);
        }
        *last = header.cxid;
    }

    /// An ephemeral lives as long as its session, no longer, no shorter.
    fn ephemerals(&self, header: &TxnHeader) {
        for (session, paths) in self.tree.ephemerals() {
            if !paths.is_empty() && !self.tree.sessions().contains_key(session) {
                broken!("Ephemerals", "{paths:?} of 0x{session:x} live on at 0x{:x}", header.zxid);
            }
        }
    }

    fn write(&mut self, header: &TxnHeader, at: usize, result: &TxnResult) {
        let op = &self.world.history.ops[at];
        let Outcome::Answered { zxid, err, body } = &op.outcome else { return };
        if (header.client_id, header.cxid) != (op.session, op.xid) {
            broken!(
                "AckedWriteIsThere",
                "0x{zxid:x} was answered to request {} of 0x{:x} and is {} of 0x{:x}",
                op.xid,
                op.session,
                header.cxid,
                header.client_id
            );
        }
        let mut w = Writer::new();
        let told = reply::write(&mut w, result).err().map_or(0, |code| code.code());
        let told_body: &[u8] = if told == 0 { w.as_slice() } else { &[] };
        let is_config = matches!(op.request, Request::Reconfig { .. });
        if told != *err || told_body != &body[..] && !is_config {
            broken!(
                "AckedResult",
                "0x{zxid:x}: request {} of 0x{:x} ({:?}) was answered {err}, its transaction came to {result:?}",
                op.xid,
                op.session,
                op.request
            );
        }
    }

    /// Reads answered between that transaction and the next show the state after it.
    fn reads(&self, zxid: i64, next: i64) {
        for ops in self.by_zxid.range(zxid..next).map(|(_, ops)| ops) {
            for at in ops {
                let op = &self.world.history.ops[*at];
                if is_recorded(op.request.op()) {
                    if let Outcome::Answered { zxid: told, .. } = op.outcome
                        && told != zxid
                    {
                        broken!("AckedWriteIsThere", "0x{told:x} was answered and is nowhere: {op:?}");
                    }
                    continue;
                }
                self.read(op);
            }
        }
    }

    fn read(&self, op: &Op) {
        let Outcome::Answered { zxid, err, body } = &op.outcome else { return };
        let mut w = Writer::new();
        let told = match &op.request {
            Request::GetData { path, .. } => self.tree.get_data(path, &[]).map(|view| {
                response::write_data(&mut w, view.data().map(|d| &d[..]), &view.stat());
            }),
            Request::Exists { path, .. } => self.tree.exists(path, &[]).map(|stat| stat.encode(&mut w)),
            Request::GetChildren { path, .. } => self.tree.get_children(path, &[]).map(|view| {
                response::write_children(&mut w, view.child_names());
            }),
            Request::GetAcl { path } => self.tree.get_acl(path, &[]).map(|(acl, stat)| {
                Response::Acl { acl, stat }.encode(&mut w);
            }),
            Request::MultiRead(ops) => {
                Response::Multi(self.tree.multi_read(ops, &[])).encode(&mut w);
                Ok(())
            }
            _ => return,
        };
        let told_err = told.err().map_or(0, |code| code.code());
        let told_body: &[u8] = if told_err == 0 { w.as_slice() } else { &[] };
        if told_err != *err || told_body != &body[..] {
            broken!(
                "ReadShowsItsZxid",
                "client {} read {:?} at 0x{zxid:x} and was told {err} {body:?}, not {told_err} {:?}",
                op.client,
                op.request,
                Bytes::copy_from_slice(told_body)
            );
        }
    }

    /// A session is refused only after it was closed.
    fn sessions(&self) {
        for session in &self.world.history.refused {
            if !self.closed.contains(session) {
                broken!("SessionRefused", "session 0x{session:x} was refused and never closed");
            }
        }
    }
}

/// The tree every world begins with.
pub fn first_tree() -> Tree {
    Tree::new(tree_config())
}
