//! Requests of an open session: read them, send each on its way, answer what waits for nothing.

use zk_proto::{ErrorCode, OpCode, Reader, Request, RequestHeader};

use crate::clients::Answer;
use crate::close::CloseReason;
use crate::connection::{FixedZxid, Waiting, Work};
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Now};
use crate::node::{Node, Origin};
use crate::role::Period;

impl Node {
    pub(crate) fn on_request(&mut self, now: Now, conn: ConnId, frame: &[u8], fx: &mut Effects) {
        let mut reader = Reader::new(frame);
        let header = match RequestHeader::decode(&mut reader) {
            Ok(header) => header,
            Err(error) => {
                let what = format!("not a request: {error}");
                return self.close(conn, CloseReason::Malformed { what }, fx);
            }
        };
        if !self.touch(now, conn) {
            // The session is closing or expired; its connection closes when that is applied.
            return;
        }
        let Some(op) = OpCode::from_code(header.op).filter(|op| is_for_clients(*op)) else {
            let close = Some(CloseReason::UnknownOperation { op: header.op });
            let err = ErrorCode::Unimplemented;
            return self.answer_fixed(now, conn, header.xid, FixedZxid::MinusOne, err, close, fx);
        };
        let record = reader.rest();
        match Request::decode(header.op, &mut reader) {
            Ok(Request::Auth { scheme, auth, .. }) => {
                self.on_auth(now, conn, header.xid, &scheme, auth.as_deref().unwrap_or_default(), fx);
            }
            Ok(Request::Sync { path }) => self.on_sync(now, conn, header.xid, path, record, fx),
            Ok(request) if op.is_write() => self.on_write(now, conn, header.xid, request, record, fx),
            Ok(request) => self.on_read(now, conn, header.xid, request, fx),
            Err(error) => self.on_unreadable(now, conn, header.xid, op, &error.to_string(), fx),
        }
    }

    /// Any packet keeps a session alive; false if it is beyond that.
    fn touch(&mut self, now: Now, conn: ConnId) -> bool {
        let Some(c) = self.clients.get(conn) else { return false };
        let timeout_ms = c.timeout_ms;
        let Some(session) = c.phase.session().filter(|session| self.sessions.is_open(*session)) else {
            return false;
        };
        if matches!(self.period, Period::Learning(_)) {
            self.touch_remotely(session, timeout_ms);
        } else {
            // Not `touch`: the timeout that counts is the one this connection negotiated.
            self.sessions.track(session, timeout_ms, now.mono());
        }
        true
    }

    fn on_read(&mut self, now: Now, conn: ConnId, xid: i32, request: Request, fx: &mut Effects) {
        let Some(c) = self.clients.get(conn) else { return };
        let (auth, alone) = (c.auth.clone(), c.queue.is_empty());
        if alone {
            return self.answer_read(now, conn, xid, now.mono_ms, &request, &auth, fx);
        }
        let work = Work::Read { request, auth };
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work });
    }

    /// With nothing on its way a sync is a read; else it waits for the last proposal, whoever made it.
    fn on_sync(&mut self, now: Now, conn: ConnId, xid: i32, path: String, record: &[u8], fx: &mut Effects) {
        match self.period {
            Period::Standalone | Period::Leading(_) => {}
            Period::ReadOnly => return self.refuse_read_only(now, conn, xid, fx),
            _ => return self.forward_sync(now, conn, xid, path, record),
        }
        let after = self.last_proposed;
        if after > self.tree.last_zxid() {
            self.syncs.push_back((after, Origin::Client(conn)));
        }
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work: Work::Sync { after, path } });
        self.drain(now, conn, fx);
    }

    /// Identities count for every later request, so they are added at once; the answer keeps its place.
    fn on_auth(&mut self, now: Now, conn: ConnId, xid: i32, scheme: &str, data: &[u8], fx: &mut Effects) {
        let Some(c) = self.clients.get_mut(conn) else { return };
        let (err, close) = match self.tree.config().auth.authenticate(scheme, data, c.peer.ip()) {
            Some(ids) => {
                c.add_auth(ids);
                (ErrorCode::Ok, None)
            }
            None => {
                self.clients.stats.auth_failed += 1;
                (ErrorCode::AuthFailed, Some(CloseReason::AuthFailed { scheme: scheme.to_owned() }))
            }
        };
        self.answer_fixed(now, conn, xid, FixedZxid::Zero, err, close, fx);
    }

    /// A body that cannot be read is answered and the connection kept. A multi has taken its zxid by then
    /// (`PrepRequestProcessor.pRequestHelper`), other requests have not.
    fn on_unreadable(&mut self, now: Now, conn: ConnId, xid: i32, op: OpCode, error: &str, fx: &mut Effects) {
        tracing::debug!(conn = conn.0, xid, op = op.name(), error, "a request cannot be read");
        if let Some(c) = self.clients.get_mut(conn)
            && !std::mem::replace(&mut c.complained_of, true)
        {
            let what = format!("a {} request (xid {xid}) cannot be read: {error}", op.name());
            fx.push(Effect::Complain { conn, what });
        }
        if op == OpCode::Multi {
            return self.on_unreadable_multi(now, conn, xid, fx);
        }
        self.answer_fixed(now, conn, xid, FixedZxid::LastApplied, ErrorCode::MarshallingError, None, fx);
    }

    /// Nothing is written without a leader, and nothing is in sync.
    pub(crate) fn refuse_read_only(&mut self, now: Now, conn: ConnId, xid: i32, fx: &mut Effects) {
        let err = ErrorCode::NotReadOnly;
        self.answer_fixed(now, conn, xid, FixedZxid::LastApplied, err, None, fx);
    }

    /// A session of this server's own may end; nothing else is written (`ReadOnlyRequestProcessor`).
    pub(crate) fn on_read_only_write(
        &mut self,
        now: Now,
        conn: ConnId,
        xid: i32,
        request: &Request,
        fx: &mut Effects,
    ) {
        if *request != Request::CloseSession {
            return self.refuse_read_only(now, conn, xid, fx);
        }
        if let Some(session) = self.clients.get(conn).and_then(|c| c.phase.session()) {
            self.sessions.remove(session);
        }
        let close = Some(CloseReason::SessionClosed);
        self.answer_fixed(now, conn, xid, FixedZxid::LastApplied, ErrorCode::Ok, close, fx);
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the answer")]
    pub(crate) fn answer_fixed(
        &mut self,
        now: Now,
        conn: ConnId,
        xid: i32,
        zxid: FixedZxid,
        err: ErrorCode,
        close: Option<CloseReason>,
        fx: &mut Effects,
    ) {
        let work = Work::Fixed { zxid, err, close };
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work });
        self.drain(now, conn, fx);
    }

    /// Answers from the front of a connection's queue whatever waits for nothing any more.
    pub(crate) fn drain(&mut self, now: Now, conn: ConnId, fx: &mut Effects) {
        let applied = self.tree.last_zxid();
        while let Some(c) = self.clients.get_mut(conn) {
            let ready = match c.queue.front().map(|w| &w.work) {
                None | Some(Work::Write { .. } | Work::Forwarded { .. }) => false,
                Some(Work::RemoteSync { done, .. }) => *done,
                Some(Work::Sync { after, .. }) => *after <= applied,
                Some(Work::Read { .. } | Work::Fixed { .. }) => true,
            };
            let Some(waiting) = ready.then(|| c.queue.pop_front()).flatten() else { return };
            self.clients.outstanding -= 1;
            self.answer_waiting(now, conn, waiting, fx);
        }
    }

    fn answer_waiting(&mut self, now: Now, conn: ConnId, waiting: Waiting, fx: &mut Effects) {
        let Waiting { xid, start_ms, work } = waiting;
        let zxid = self.tree.last_zxid();
        let answer = Answer { conn, xid, zxid, start_ms, op: None, err: ErrorCode::Ok, is_write: false };
        match work {
            Work::Read { request, auth } => self.answer_read(now, conn, xid, start_ms, &request, &auth, fx),
            Work::Sync { path, .. } | Work::RemoteSync { path, .. } => {
                let answer = Answer { op: Some("SYNC"), ..answer };
                self.clients.reply(now, &answer, fx, |w| w.string(&path));
            }
            Work::Fixed { zxid: fixed, err, close } => {
                let zxid = match fixed {
                    FixedZxid::Zero => 0,
                    FixedZxid::MinusOne => -1,
                    FixedZxid::LastApplied => zxid,
                };
                self.clients.reply(now, &Answer { zxid, err, ..answer }, fx, |_| {});
                if let Some(reason) = close {
                    self.close(conn, reason, fx);
                }
            }
            Work::Write { .. } | Work::Forwarded { .. } => {
                unreachable!("writes are answered by their commit")
            }
        }
    }

    /// Syncs whose proposal is applied; their connections may have more to answer behind them.
    pub(crate) fn release_syncs(&mut self, now: Now, fx: &mut Effects) {
        while let Some((after, waiter)) = self.syncs.front().copied() {
            if after > self.tree.last_zxid() {
                return;
            }
            self.syncs.pop_front();
            match waiter {
                Origin::Client(conn) => self.drain(now, conn, fx),
                Origin::Learner(link) => {
                    self.discount_learner_request(link, 0);
                    self.send_sync(link);
                }
                Origin::Server => {}
            }
        }
    }
}

/// What a client may send. createSession is the server's own; deleteContainer is too, although Apache takes it
/// from anyone; a bare check is for multi only (ZOOKEEPER-2623); SASL is not served.
fn is_for_clients(op: OpCode) -> bool {
    !matches!(
        op,
        OpCode::Notification
            | OpCode::Error
            | OpCode::CreateSession
            | OpCode::DeleteContainer
            | OpCode::Check
            | OpCode::Sasl
    )
}
