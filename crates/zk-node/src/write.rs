//! Writes: decided against the tree and all that is proposed, then recorded; or handed to who decides.
//!
//! A refused write becomes an error transaction with a zxid of its own and is logged like any other
//! (`PrepRequestProcessor`): replicas expect every zxid.

use bytes::Bytes;
use zk_proto::quorum::zxid;
use zk_proto::txn::{TxnHeader, encode_payload};
use zk_proto::{ErrorCode, Id, OpCode, Request};
use zk_tree::session::SessionOwner;
use zk_tree::{DecideCtx, Decision, EnsembleView, decide, refuse};
use zk_zab::Entry;

use crate::connection::{Create2Items, FixedZxid, Waiting, Work};
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Now};
use crate::node::{Node, Origin, Proposal};
use crate::role::{Period, SELF};

/// Whose write is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) session: i64,
    pub(crate) cxid: i32,
    pub(crate) auth: &'a [Id],
    /// The session must be here.
    pub(crate) owner: SessionOwner,
    pub(crate) origin: Origin,
}

impl Asker<'_> {
    /// The server itself, in the name of a session or of none (0).
    pub(crate) fn server(session: i64) -> Self {
        Self { session, cxid: 0, auth: &[], owner: SELF, origin: Origin::Server }
    }
}

impl Node {
    /// `record` is the request as the client wrote it.
    pub(crate) fn on_write(
        &mut self,
        now: Now,
        conn: ConnId,
        xid: i32,
        request: Request,
        record: &[u8],
        fx: &mut Effects,
    ) {
        match self.period {
            Period::Standalone | Period::Leading(_) => self.decide_for(now, conn, xid, request, fx),
            Period::Learning(_) => self.forward(now, conn, xid, &request, record),
            Period::ReadOnly => self.on_read_only_write(now, conn, xid, &request, fx),
            // Nobody is connected.
            Period::Looking { .. } => {}
        }
    }

    fn decide_for(&mut self, now: Now, conn: ConnId, xid: i32, request: Request, fx: &mut Effects) {
        let Some(c) = self.clients.get(conn) else { return };
        let (Some(session), auth) = (c.phase.session(), c.auth.clone()) else { return };
        let closes = matches!(request, Request::CloseSession);
        let op = letters(request.op());
        let create2 = if self.ensemble.is_some() { Create2Items::of(&request) } else { Default::default() };
        let asker = Asker { session, cxid: xid, auth: &auth, owner: SELF, origin: Origin::Client(conn) };
        let Some(zxid) = self.propose_with(now, asker, op, request, fx) else { return };
        if closes {
            self.sessions.set_closing(session);
        }
        let work = Work::Write { zxid, create2 };
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work });
    }

    /// A multi that cannot be read has taken its zxid by then, where this server decides.
    pub(crate) fn on_unreadable_multi(&mut self, now: Now, conn: ConnId, xid: i32, fx: &mut Effects) {
        if !matches!(self.period, Period::Standalone | Period::Leading(_)) {
            let (zxid, err) = (FixedZxid::LastApplied, ErrorCode::MarshallingError);
            return self.answer_fixed(now, conn, xid, zxid, err, None, fx);
        }
        let Some(session) = self.clients.get(conn).and_then(|c| c.phase.session()) else { return };
        let origin = Origin::Client(conn);
        let asker = Asker { session, cxid: xid, auth: &[], owner: SELF, origin };
        let code = ErrorCode::MarshallingError;
        let Some(zxid) = self.propose_refusal_with(now, asker, code, "MULT", fx) else { return };
        let work = Work::Write { zxid, create2: Create2Items::default() };
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work });
    }

    /// Decides and records one write of an ensemble; returns its zxid, `None` if the epoch has no more.
    pub(crate) fn propose(
        &mut self,
        now: Now,
        asker: Asker<'_>,
        op: &'static str,
        request: Request,
    ) -> Option<i64> {
        debug_assert!(matches!(self.period, Period::Leading(_)));
        self.propose_with(now, asker, op, request, &mut Effects::new())
    }

    /// The same, alone or not.
    pub(crate) fn propose_with(
        &mut self,
        now: Now,
        asker: Asker<'_>,
        op: &'static str,
        request: Request,
        fx: &mut Effects,
    ) -> Option<i64> {
        let zxid = self.next_zxid()?;
        let session = self.check_session(&asker);
        let view = self.ensemble.as_ref().map(|e| EnsembleView {
            active: &e.active,
            last_seen: &e.last_seen,
            synced: &e.synced,
            standalone_enabled: self.options.standalone_enabled,
        });
        let ctx = DecideCtx {
            zxid,
            time_ms: now.wall_ms,
            session_id: asker.session,
            cxid: asker.cxid,
            auth: asker.auth,
            session,
            reconfig_enabled: self.options.reconfig_enabled,
            ensemble: view,
        };
        let decision = decide(&self.tree, &mut self.pending, &ctx, request);
        Some(self.record(decision, asker.origin, op, fx))
    }

    pub(crate) fn propose_refusal(
        &mut self,
        now: Now,
        asker: Asker<'_>,
        code: ErrorCode,
        op: &'static str,
    ) -> Option<i64> {
        self.propose_refusal_with(now, asker, code, op, &mut Effects::new())
    }

    fn propose_refusal_with(
        &mut self,
        now: Now,
        asker: Asker<'_>,
        code: ErrorCode,
        op: &'static str,
        fx: &mut Effects,
    ) -> Option<i64> {
        let ctx = DecideCtx {
            zxid: self.next_zxid()?,
            time_ms: now.wall_ms,
            session_id: asker.session,
            cxid: asker.cxid,
            auth: asker.auth,
            session: Ok(()),
            reconfig_enabled: false,
            ensemble: None,
        };
        Some(self.record(refuse(&ctx, code), asker.origin, op, fx))
    }

    /// A leader never steps over the end of its epoch: it is about to step down, and whoever asked asks the
    /// next one (ZOOKEEPER-1277).
    fn next_zxid(&self) -> Option<i64> {
        let is_full = zxid::counter(self.last_proposed) == zxid::COUNTER_MAX;
        (!is_full || self.ensemble.is_none()).then_some(self.last_proposed + 1)
    }

    fn check_session(&mut self, asker: &Asker<'_>) -> Result<(), ErrorCode> {
        if asker.session == 0 && asker.origin == Origin::Server {
            return Ok(());
        }
        match self.sessions.check(asker.session, asker.owner) {
            // A session the leader does not know is over (`LeaderSessionTracker.checkSession`).
            Err(ErrorCode::UnknownSession) if self.ensemble.is_some() => Err(ErrorCode::SessionExpired),
            other => other,
        }
    }

    /// Hands a decision to the log, or to the ensemble, and keeps it until it is agreed on.
    fn record(&mut self, decision: Decision, origin: Origin, op: &'static str, fx: &mut Effects) -> i64 {
        let Decision { header, txn, digest, reconfig, .. } = decision;
        let TxnHeader { zxid, .. } = header;
        debug_assert_eq!(zxid, self.last_proposed + 1, "zxids step by one");
        let payload = encode_payload(&header, &txn, digest);
        let bytes = payload.len();
        if self.ensemble.is_some() {
            self.clients.stats.proposal_sizes.add(bytes as u64);
            self.clients.stats.ensemble.proposals += 1;
            if let (Some(ensemble), Some(config)) = (&mut self.ensemble, &reconfig) {
                // At once: the next request may be a reconfig too.
                ensemble.last_seen = (**config).clone();
            }
            let entry = Entry { zxid, payload };
            self.outbox.push_back(zk_zab::Input::Propose { entry, reconfig });
        } else {
            self.append(zxid, payload, fx);
        }
        if let Origin::Learner(link) = origin {
            self.count_learner_request(link, bytes);
        }
        self.last_proposed = zxid;
        self.proposals.push_back(Proposal { header, txn, origin, op, bytes });
        zxid
    }

    /// To the log, and a snapshot after it if one is due.
    pub(crate) fn append(&mut self, zxid: i64, payload: Bytes, fx: &mut Effects) {
        let snapshot_due = self.snapshot_policy.appended(payload.len());
        fx.push(Effect::Append { zxid, payload });
        if snapshot_due {
            fx.push(Effect::Snapshot);
        }
        self.clients.stats.appended += 1;
    }
}

/// Four letters for `cons` (`FinalRequestProcessor`).
pub(crate) fn letters(op: OpCode) -> &'static str {
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::SetData => "SETD",
        OpCode::SetAcl => "SETA",
        OpCode::Multi => "MULT",
        OpCode::Reconfig => "RECO",
        OpCode::CloseSession => "CLOS",
        OpCode::CreateSession => "SESS",
        _ => "NA",
    }
}
