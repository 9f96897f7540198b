//! A durable proposal is applied: the tree changes, watches fire, then the requester is answered.
//!
//! The order is the promise to clients: an event reaches a session before any answer that shows the change.

use zk_proto::response::write_data;
use zk_proto::txn::{Txn, TxnHeader, kind};
use zk_proto::{ErrorCode, EventKind, perms};
use zk_tree::tree::CONFIG_NODE;
use zk_tree::{TreeEvent, TxnResult, reply};

use crate::clients::Answer;
use crate::close::CloseReason;
use crate::connection::{Phase, Waiting};
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::node::{Node, Origin, Proposal};
use crate::role::Period;

/// `DataTree.DIGEST_LOG_INTERVAL` and `DIGEST_LOG_LIMIT`.
const DIGEST_INTERVAL: i64 = 128;
const DIGESTS_MAX: usize = 1024;

impl Node {
    /// A proposal of this server's own is agreed on.
    pub(crate) fn commit(&mut self, now: Now, proposal: Proposal, fx: &mut Effects) {
        let Proposal { header, txn, origin, op, bytes } = proposal;
        let waiter = match origin {
            Origin::Client(conn) => self.still_waiting(conn, &header).then_some((conn, op)),
            Origin::Learner(link) => {
                self.discount_learner_request(link, bytes);
                None
            }
            Origin::Server => None,
        };
        self.apply(now, &header, txn, waiter, fx);
    }

    /// Whether the connection is there still; then its queue begins with that request.
    fn still_waiting(&self, conn: ConnId, header: &TxnHeader) -> bool {
        let Some(front) = self.clients.get(conn).and_then(|c| c.queue.front()) else { return false };
        let waits = front.work.waits_for(header);
        debug_assert!(waits, "{conn:?}: its queue does not begin with zxid 0x{:x}", header.zxid);
        waits
    }

    /// Applies a transaction, tells who watches, then whoever waits for it.
    pub(crate) fn apply(
        &mut self,
        now: Now,
        header: &TxnHeader,
        mut txn: Txn,
        waiter: Option<(ConnId, &'static str)>,
        fx: &mut Effects,
    ) {
        if let (Some((conn, _)), Txn::Multi(items)) = (waiter, &mut txn)
            && let Some(front) = self.clients.get(conn).and_then(|c| c.queue.front())
            && let Some(create2) = front.work.create2()
        {
            create2.restore(items);
        }
        let mut events = Vec::new();
        let result = self.tree.apply(header, &txn, &mut events);
        self.pending.on_applied(header.zxid);
        self.note(now, header);
        self.fire(header, &events, fx);
        match &txn {
            Txn::CreateSession { timeout_ms } => self.session_opened(now, header, *timeout_ms, waiter, fx),
            Txn::CloseSession { .. } => self.session_closed(now, header, waiter, fx),
            _ => self.answer_write(now, header, &result, waiter, fx),
        }
    }

    fn answer_write(
        &mut self,
        now: Now,
        header: &TxnHeader,
        result: &TxnResult,
        waiter: Option<(ConnId, &'static str)>,
        fx: &mut Effects,
    ) {
        let Some((conn, answer)) = self.answer_for(result, waiter) else { return };
        let session = header.client_id;
        if self.clients.get(conn).is_some_and(|c| c.phase == (Phase::Opening { session })) {
            // A createSession that could not be made; what waits for it is no request.
            return self.refuse_session(conn, session, fx);
        }
        if has_moved(result) {
            // The client is elsewhere by now, or this is what became of a request it sent elsewhere: no answer
            // at all is better than that one (ZOOKEEPER-710).
            return self.close(conn, CloseReason::SessionMoved { session }, fx);
        }
        let config = (header.kind == kind::RECONFIG).then(|| self.tree.node(CONFIG_NODE)).flatten();
        self.clients.reply(now, &answer, fx, |w| match (config, result) {
            (Some(node), TxnResult::Stat(stat)) => write_data(w, node.data().map(|d| &d[..]), stat),
            _ => {
                let written = reply::write(w, result);
                debug_assert!(written.is_ok(), "errors stand in the answer already");
            }
        });
        self.drain(now, conn, fx);
    }

    fn note(&mut self, now: Now, header: &TxnHeader) {
        let since = u64::try_from(now.wall_ms - header.time).unwrap_or(0);
        self.clients.stats.propagation_latency.add(since);
        if header.zxid % DIGEST_INTERVAL == 0 && self.tree.config().digest_enabled {
            if self.digests.len() == DIGESTS_MAX {
                self.digests.pop_front();
            }
            self.digests.push_back((header.zxid, self.tree.digest()));
        }
    }

    /// Takes the request off its connection's queue. `None` if nobody waits for it any more.
    fn answer_for(
        &mut self,
        result: &TxnResult,
        waiter: Option<(ConnId, &'static str)>,
    ) -> Option<(ConnId, Answer)> {
        let (conn, op) = waiter?;
        let Waiting { xid, start_ms, .. } = self.clients.get_mut(conn)?.queue.pop_front()?;
        self.clients.outstanding -= 1;
        let err = match result {
            TxnResult::Error(code) => ErrorCode::from_code(*code).unwrap_or(ErrorCode::SystemError),
            _ => ErrorCode::Ok,
        };
        let zxid = self.tree.last_zxid();
        Some((conn, Answer { conn, xid, zxid, start_ms, op: Some(op), err, is_write: true }))
    }

    /// Tells whoever watches, if it may read the node (ZOOKEEPER-1416 and the ACL check of 3.9).
    fn fire(&mut self, header: &TxnHeader, events: &[TreeEvent], fx: &mut Effects) {
        for event in events {
            let mut fired: Vec<(u64, EventKind, String)> = Vec::new();
            let (clients, rules) = (&self.clients, &self.tree.config().auth);
            self.watches.on_event(event, |watcher, kind, path, acl| {
                let c = clients.get(ConnId(watcher));
                if c.is_some_and(|c| rules.permits(acl, perms::READ, &c.auth)) {
                    fired.push((watcher, kind, path.to_owned()));
                }
            });
            self.count_fired(&fired);
            for (watcher, kind, path) in fired {
                self.clients.notify(ConnId(watcher), header.zxid, kind, &path, fx);
            }
        }
    }

    fn count_fired(&mut self, fired: &[(u64, EventKind, String)]) {
        let stats = &mut self.clients.stats;
        let counts = [
            (EventKind::NodeCreated, &mut stats.node_created_watches),
            (EventKind::NodeDeleted, &mut stats.node_deleted_watches),
            (EventKind::NodeDataChanged, &mut stats.node_changed_watches),
            (EventKind::NodeChildrenChanged, &mut stats.node_children_watches),
        ];
        for (kind, summary) in counts {
            let count = fired.iter().filter(|(_, k, _)| *k == kind).count();
            if count > 0 {
                summary.add(count as u64);
            }
        }
    }

    fn session_opened(
        &mut self,
        now: Now,
        header: &TxnHeader,
        timeout_ms: i32,
        waiter: Option<(ConnId, &'static str)>,
        fx: &mut Effects,
    ) {
        let session = header.client_id;
        if matches!(self.period, Period::Learning(_)) {
            self.sessions.track(session, timeout_ms, now.mono());
        }
        let Some((conn, _)) = waiter else { return };
        let Some(c) = self.clients.get_mut(conn) else { return };
        if c.phase != (Phase::Opening { session }) {
            return;
        }
        c.phase = Phase::Open { session };
        let Some(front) = c.queue.pop_front() else { return };
        self.clients.outstanding -= 1;
        let start_ms = front.start_ms;
        if let Some(c) = self.clients.get_mut(conn) {
            let zxid = self.tree.last_zxid();
            c.stats.answered("SESS", 0, zxid, start_ms, now.mono_ms);
        }
        self.clients.stats.answered(true, now.mono_ms.saturating_sub(start_ms));
        self.send_connect_response(conn, Some(session), fx);
        self.drain(now, conn, fx);
    }

    fn session_closed(
        &mut self,
        now: Now,
        header: &TxnHeader,
        waiter: Option<(ConnId, &'static str)>,
        fx: &mut Effects,
    ) {
        let session = header.client_id;
        self.sessions.remove(session);
        let asked = self.answer_for(&TxnResult::Done, waiter);
        if let Some((conn, answer)) = asked {
            self.clients.reply(now, &answer, fx, |_| {});
            return self.close(conn, CloseReason::SessionClosed, fx);
        }
        self.close_expired(session, fx);
    }
}

/// A multi tells it of an item.
fn has_moved(result: &TxnResult) -> bool {
    match result {
        TxnResult::Error(code) => *code == ErrorCode::SessionMoved.code(),
        TxnResult::Multi(items) => items.iter().any(|(_, result)| has_moved(result)),
        _ => false,
    }
}
