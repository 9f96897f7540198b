//! Writes: decided against the tree and all that is proposed, then recorded.
//!
//! A refused write becomes an error transaction with a zxid of its own and is logged like any other
//! (`PrepRequestProcessor`): replicas expect every zxid.

use zk_proto::txn::{TxnHeader, encode_payload};
use zk_proto::{ErrorCode, Id, Request};
use zk_tree::{DecideCtx, Decision, decide, refuse};

use crate::connection::{Waiting, Work};
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Now};
use crate::node::{Node, Proposal};

/// Who owns the sessions of a single server: itself.
pub(crate) const SELF: u64 = 0;

impl Node {
    pub(crate) fn on_write(&mut self, now: Now, conn: ConnId, xid: i32, request: Request, fx: &mut Effects) {
        let Some(session) = self.clients.get(conn).and_then(|c| c.phase.session()) else { return };
        let closes = matches!(request, Request::CloseSession);
        let op = letters(&request);
        let zxid = self.propose(now, session, xid, Some(conn), op, request, fx);
        if closes {
            self.sessions.set_closing(session);
        }
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work: Work::Write { zxid } });
    }

    pub(crate) fn on_unreadable_multi(&mut self, now: Now, conn: ConnId, xid: i32, fx: &mut Effects) {
        let Some(session) = self.clients.get(conn).and_then(|c| c.phase.session()) else { return };
        let ctx = self.ctx(now, session, xid, &[]);
        let decision = refuse(&ctx, ErrorCode::MarshallingError);
        let zxid = self.record(decision, Some(conn), "MULT", fx);
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work: Work::Write { zxid } });
    }

    /// Decides and records one write; returns its zxid.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of the request")]
    pub(crate) fn propose(
        &mut self,
        now: Now,
        session: i64,
        cxid: i32,
        origin: Option<ConnId>,
        op: &'static str,
        request: Request,
        fx: &mut Effects,
    ) -> i64 {
        let auth = origin.and_then(|conn| self.clients.get(conn)).map(|c| c.auth.clone());
        let ctx = self.ctx(now, session, cxid, auth.as_deref().unwrap_or_default());
        let decision = decide(&self.tree, &mut self.pending, &ctx, request);
        self.record(decision, origin, op, fx)
    }

    fn ctx<'a>(&mut self, now: Now, session_id: i64, cxid: i32, auth: &'a [Id]) -> DecideCtx<'a> {
        DecideCtx {
            zxid: self.last_proposed + 1,
            time_ms: now.wall_ms,
            session_id,
            cxid,
            auth,
            session: if session_id == 0 { Ok(()) } else { self.sessions.check(session_id, SELF) },
            reconfig_enabled: self.options.reconfig_enabled,
            ensemble: None,
        }
    }

    /// Hands a decision to the log and keeps it until it is durable.
    fn record(
        &mut self,
        decision: Decision,
        origin: Option<ConnId>,
        op: &'static str,
        fx: &mut Effects,
    ) -> i64 {
        let Decision { header, txn, digest, .. } = decision;
        let TxnHeader { zxid, .. } = header;
        debug_assert_eq!(zxid, self.last_proposed + 1, "zxids step by one");
        let payload = encode_payload(&header, &txn, digest);
        let snapshot_due = self.snapshot_policy.appended(payload.len());
        fx.push(Effect::Append { zxid, payload });
        if snapshot_due {
            fx.push(Effect::Snapshot);
        }
        self.clients.stats.appended += 1;
        self.last_proposed = zxid;
        self.proposals.push_back(Proposal { header, txn, origin, op });
        zxid
    }
}

/// Four letters for `cons` (`FinalRequestProcessor`).
fn letters(request: &Request) -> &'static str {
    match request {
        Request::Create(_) => "CREA",
        Request::Delete { .. } | Request::DeleteContainer { .. } => "DELE",
        Request::SetData { .. } => "SETD",
        Request::SetAcl { .. } => "SETA",
        Request::Multi(_) => "MULT",
        Request::Reconfig { .. } => "RECO",
        Request::CloseSession => "CLOS",
        Request::CreateSession { .. } => "SESS",
        _ => "NA",
    }
}
