//! The handshake: a session is opened or taken up again (`ZooKeeperServer.processConnectRequest`).

use bytes::Bytes;
use zk_proto::{ConnectRequest, ConnectResponse, Reader, Request};
use zk_tree::session::{check_password, password};

use crate::close::CloseReason;
use crate::connection::{Create2Items, Phase, Waiting, Work};
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::node::{Node, Origin};
use crate::role::{Period, SELF};
use crate::write::Asker;

impl Node {
    pub(crate) fn on_connect_request(&mut self, now: Now, conn: ConnId, frame: &[u8], fx: &mut Effects) {
        let request = match read_handshake(frame) {
            Ok(request) => request,
            Err(what) => return self.close(conn, CloseReason::Malformed { what }, fx),
        };
        self.clients.stats.connection_requests += 1;
        match self.period {
            Period::Looking { .. } => return self.close(conn, CloseReason::NotServing, fx),
            Period::ReadOnly if request.read_only != Some(true) => {
                return self.close(conn, CloseReason::NotReadOnlyClient, fx);
            }
            _ => {}
        }
        let ours = self.tree.last_zxid();
        if request.last_zxid_seen > ours {
            let reason = CloseReason::ClientAhead { seen: request.last_zxid_seen, ours };
            return self.close(conn, reason, fx);
        }
        let (min, max) = (self.options.min_session_timeout_ms, self.options.max_session_timeout_ms);
        if let Some(c) = self.clients.get_mut(conn) {
            c.timeout_ms = request.timeout_ms.max(min).min(max);
            c.knows_read_only = request.read_only.is_some();
        }
        if request.session_id == 0 {
            self.open_session(now, conn, fx);
        } else {
            self.renew_session(now, conn, &request, fx);
        }
    }

    fn open_session(&mut self, now: Now, conn: ConnId, fx: &mut Effects) {
        let Some(c) = self.clients.get_mut(conn) else { return };
        let timeout_ms = c.timeout_ms;
        let session = self.sessions.create(timeout_ms, now.mono());
        if matches!(self.period, Period::ReadOnly) {
            // Nobody else knows it, and it ends here.
            return self.attach(conn, session, fx);
        }
        c.phase = Phase::Opening { session };
        self.clients.by_session.insert(session, conn);
        let request = Request::CreateSession { timeout_ms };
        if matches!(self.period, Period::Learning(_)) {
            return self.forward(now, conn, 0, &request, &timeout_ms.to_be_bytes());
        }
        let asker = Asker { session, cxid: 0, auth: &[], owner: SELF, origin: Origin::Client(conn) };
        let Some(zxid) = self.propose_with(now, asker, "SESS", request, fx) else { return };
        let work = Work::Write { zxid, create2: Create2Items::default() };
        self.clients.enqueue(conn, Waiting { xid: 0, start_ms: now.mono_ms, work });
    }

    /// The password is looked at before anything else: whoever does not have it cannot even disturb the
    /// session's present connection (Apache closes that first).
    fn renew_session(&mut self, now: Now, conn: ConnId, request: &ConnectRequest, fx: &mut Effects) {
        let session = request.session_id;
        self.clients.stats.connection_revalidations += 1;
        let timeout_ms = self.clients.get(conn).map_or(0, |c| c.timeout_ms);
        if !check_password(session, &request.passwd) {
            return self.refuse_session(conn, session, fx);
        }
        match self.period {
            Period::Learning(_) => return self.ask_for_session(conn, session, timeout_ms),
            Period::ReadOnly if self.tree.sessions().contains_key(&session) => {
                return self.close(conn, CloseReason::NotWithoutLeader { session }, fx);
            }
            // Of another server that served reads only: as good here.
            Period::ReadOnly => {}
            _ if !self.sessions.is_open(session) => return self.refuse_session(conn, session, fx),
            _ => {}
        }
        self.sessions.track(session, timeout_ms, now.mono());
        // Wherever it was, it is here now.
        let _ = self.sessions.set_owner(session, SELF);
        self.attach(conn, session, fx);
    }

    pub(crate) fn refuse_session(&mut self, conn: ConnId, session: i64, fx: &mut Effects) {
        self.send_connect_response(conn, None, fx);
        self.close(conn, CloseReason::SessionRefused { session }, fx);
    }

    /// The session goes on over this connection, and over no other.
    pub(crate) fn attach(&mut self, conn: ConnId, session: i64, fx: &mut Effects) {
        if let Some(old) = self.clients.by_session.get(&session).copied() {
            self.close(old, CloseReason::SessionMoved { session }, fx);
        }
        self.clients.by_session.insert(session, conn);
        if let Some(c) = self.clients.get_mut(conn) {
            c.phase = Phase::Open { session };
        }
        self.send_connect_response(conn, Some(session), fx);
    }

    /// `None` refuses.
    pub(crate) fn send_connect_response(&mut self, conn: ConnId, session: Option<i64>, fx: &mut Effects) {
        let Some(c) = self.clients.get_mut(conn) else { return };
        let read_only = c.knows_read_only.then_some(matches!(self.period, Period::ReadOnly));
        let response = match session {
            None => ConnectResponse::refused(read_only),
            Some(session_id) => ConnectResponse {
                protocol_version: 0,
                timeout_ms: c.timeout_ms,
                session_id,
                passwd: Bytes::copy_from_slice(&password(session_id)),
                read_only,
            },
        };
        fx.frame(conn, |w| response.encode(w));
        c.stats.sent += 1;
        self.clients.stats.packets_sent += 1;
    }
}

fn read_handshake(frame: &[u8]) -> Result<ConnectRequest, String> {
    if looks_like_kafka(frame) {
        return Err("this is a Kafka client on the ZooKeeper port; give it the broker's address".to_owned());
    }
    match ConnectRequest::decode(&mut Reader::new(frame)) {
        Ok(request) if request.protocol_version == 0 => Ok(request),
        Ok(request) => {
            Err(format!("a handshake of protocol version {}, 0 is expected", request.protocol_version))
        }
        Err(error) => Err(format!("not a handshake: {error}")),
    }
}

/// A Kafka request begins with api key and version, both small and not both 0; the handshake with four zeros.
fn looks_like_kafka(frame: &[u8]) -> bool {
    matches!(frame, [0, key, 0, version, ..] if *key < 128 && *version < 32 && (*key, *version) != (0, 0))
}
