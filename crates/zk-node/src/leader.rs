//! What learners ask their leader for: requests of their clients, sessions that turn up, signs of life.
//!
//! A learner is another server, but what it hands on comes from its clients: nothing in here may stop the leader
//! (ZOOKEEPER-4409, ZOOKEEPER-4306). Whatever a learner waits for gets a transaction, if only an error's.

use bytes::Bytes;
use zk_proto::quorum::{Packet, PacketKind};
use zk_proto::{ErrorCode, OpCode, Reader, Request, Writer};
use zk_zab::LinkId;

use crate::close::CloseReason;
use crate::effect::Effects;
use crate::input::Now;
use crate::node::{Node, Origin};
use crate::role::{Period, owner_of};
use crate::write::{Asker, letters};

/// A learner with more on its way is not read until some of it is done. Its own limits
/// (`globalOutstandingLimit`) keep it far below; if it must be read for its acks, `syncLimit` ends it.
const LINK_REQUESTS_MAX: usize = 100_000;
const LINK_BYTES_MAX: usize = 256 << 20;

/// A REQUEST without the client's record.
struct Head {
    session: i64,
    cxid: i32,
    op: i32,
}

impl Node {
    /// Whether more should be read from this learner now. Asked before each packet, and again after each step.
    pub fn takes_from(&self, link: LinkId) -> bool {
        let Period::Leading(leading) = &self.period else { return true };
        let load = leading.links.get(&link);
        load.is_none_or(|l| l.requests < LINK_REQUESTS_MAX && l.bytes < LINK_BYTES_MAX)
    }

    /// Syncs of learners that wait for a commit.
    pub fn pending_syncs(&self) -> usize {
        self.syncs.iter().filter(|(_, waiter)| matches!(waiter, Origin::Learner(_))).count()
    }

    pub(crate) fn on_from_learner(&mut self, now: Now, link: LinkId, packet: &Packet, fx: &mut Effects) {
        if !matches!(self.period, Period::Leading(_)) {
            return;
        }
        match packet.kind {
            PacketKind::Request => self.on_learner_request(now, link, packet),
            PacketKind::Revalidate => self.on_revalidate(now, link, packet, fx),
            PacketKind::Ping => self.on_touches(now, packet.body()),
            _ => {}
        }
    }

    fn on_learner_request(&mut self, now: Now, link: LinkId, packet: &Packet) {
        let mut reader = Reader::new(packet.body());
        let Ok(head) = read_head(&mut reader) else {
            tracing::warn!(link = link.0, "a learner's request is cut off; leaving it out");
            return;
        };
        let Some(op) = OpCode::from_code(head.op) else {
            tracing::warn!(link = link.0, op = head.op, "a learner hands on an unknown operation");
            return;
        };
        let asker = Asker {
            session: head.session,
            cxid: head.cxid,
            auth: &packet.auth,
            owner: owner_of(link),
            origin: Origin::Learner(link),
        };
        match op {
            OpCode::Sync => self.on_learner_sync(link),
            OpCode::CreateSession => self.on_learner_session(now, link, &mut reader, asker),
            // The leader's own, and ZOOKEEPER-2623: refused as they are to clients, and answered.
            OpCode::DeleteContainer | OpCode::Check => {
                self.propose_refusal(now, asker, ErrorCode::Unimplemented, "NA");
            }
            op if op.is_write() => match Request::decode(head.op, &mut reader) {
                Ok(request) => {
                    let closes = request == Request::CloseSession;
                    self.propose(now, asker, letters(op), request);
                    if closes {
                        self.sessions.set_closing(head.session);
                    }
                }
                Err(error) => {
                    tracing::debug!(link = link.0, op = op.name(), %error, "a request cannot be read");
                    self.propose_refusal(now, asker, ErrorCode::MarshallingError, letters(op));
                }
            },
            op => tracing::warn!(link = link.0, op = op.name(), "a learner hands on what it should answer"),
        }
    }

    fn on_learner_session(&mut self, now: Now, link: LinkId, reader: &mut Reader<'_>, asker: Asker<'_>) {
        let Ok(timeout_ms) = reader.i32() else {
            self.propose_refusal(now, asker, ErrorCode::MarshallingError, "SESS");
            return;
        };
        let session = asker.session;
        if session == 0 {
            // 0 is nobody's, and a server's own word to itself.
            self.propose_refusal(now, asker, ErrorCode::SessionExpired, "SESS");
            return;
        }
        self.sessions.track(session, timeout_ms, now.mono());
        // Refused only if it is closing; the transaction then comes to nothing much.
        let _ = self.sessions.set_owner(session, owner_of(link));
        self.propose(now, asker, "SESS", Request::CreateSession { timeout_ms });
    }

    /// Answered after everything proposed before it is committed.
    fn on_learner_sync(&mut self, link: LinkId) {
        if self.last_proposed > self.tree.last_zxid() {
            self.count_learner_request(link, 0);
            self.syncs.push_back((self.last_proposed, Origin::Learner(link)));
        } else {
            self.send_sync(link);
        }
    }

    pub(crate) fn send_sync(&mut self, link: LinkId) {
        let packet = Packet::new(PacketKind::Sync, 0);
        self.outbox.push_back(zk_zab::Input::ToLearner { link, packet });
    }

    /// A session has turned up at a learner: it is asked whether it still lives, and moves there if it does.
    fn on_revalidate(&mut self, now: Now, link: LinkId, packet: &Packet, fx: &mut Effects) {
        let mut reader = Reader::new(packet.body());
        let (Ok(session), Ok(timeout_ms)) = (reader.i64(), reader.i32()) else {
            tracing::warn!(link = link.0, "a learner's question about a session is cut off; leaving it out");
            return;
        };
        self.clients.stats.ensemble.revalidations += 1;
        let valid = self.sessions.is_open(session);
        if valid {
            self.sessions.track(session, timeout_ms, now.mono());
            // It is open, so it can be moved.
            let _ = self.sessions.set_owner(session, owner_of(link));
            if let Some(conn) = self.clients.by_session.get(&session).copied() {
                self.close(conn, CloseReason::SessionMoved { session }, fx);
            }
        }
        let mut w = Writer::new();
        w.i64(session);
        w.bool(valid);
        let packet = Packet::with_data(PacketKind::Revalidate, packet.zxid, w.into_bytes());
        self.outbox.push_back(zk_zab::Input::ToLearner { link, packet });
    }

    /// Sessions a learner has heard of, with the timeouts they negotiated there.
    fn on_touches(&mut self, now: Now, pairs: &[u8]) {
        let mut reader = Reader::new(pairs);
        while let (Ok(session), Ok(timeout_ms)) = (reader.i64(), reader.i32()) {
            if self.sessions.is_open(session) {
                self.sessions.track(session, timeout_ms, now.mono());
            }
        }
    }

    pub(crate) fn on_learner_gone(&mut self, link: LinkId) {
        if let Period::Leading(leading) = &mut self.period {
            leading.links.remove(&link);
            self.syncs.retain(|(_, waiter)| *waiter != Origin::Learner(link));
        }
    }

    pub(crate) fn count_learner_request(&mut self, link: LinkId, bytes: usize) {
        if let Period::Leading(leading) = &mut self.period {
            let load = leading.links.entry(link).or_default();
            load.requests += 1;
            load.bytes += bytes;
        }
    }

    /// One of its requests is answered, or as good as.
    pub(crate) fn discount_learner_request(&mut self, link: LinkId, bytes: usize) {
        if let Period::Leading(leading) = &mut self.period
            && let Some(load) = leading.links.get_mut(&link)
        {
            load.requests = load.requests.saturating_sub(1);
            load.bytes = load.bytes.saturating_sub(bytes);
        }
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<Head, zk_proto::WireError> {
    Ok(Head { session: reader.i64()?, cxid: reader.i32()?, op: reader.i32()? })
}

/// The data of a REQUEST: whose it is, and the client's record as it came.
pub(crate) fn request_data(session: i64, cxid: i32, op: i32, record: &[u8]) -> Bytes {
    let mut data = Vec::with_capacity(16 + record.len());
    data.extend_from_slice(&session.to_be_bytes());
    data.extend_from_slice(&cxid.to_be_bytes());
    data.extend_from_slice(&op.to_be_bytes());
    data.extend_from_slice(record);
    Bytes::from(data)
}
