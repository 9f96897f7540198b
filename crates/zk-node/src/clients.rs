//! The connected clients: their connections, who is attached to which session, and what is sent to them.
//!
//! Kept apart from the tree so that a reply can be written straight from tree data while its statistics are
//! counted here.

use std::net::{IpAddr, SocketAddr};

use foldhash::{HashMap, HashMapExt};
use zk_proto::header::xid;
use zk_proto::{ErrorCode, EventKind, KeeperState, ReplyHeader, Writer, event};

use crate::close::CloseReason;
use crate::connection::{Connection, Phase, Waiting};
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::stats::ServerStats;

/// What is answered, beside the body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) conn: ConnId,
    pub(crate) xid: i32,
    pub(crate) zxid: i64,
    /// When the request was read.
    pub(crate) start_ms: u64,
    /// Four letters for `cons`; `None` leaves the statistics alone (authentication, refused operations).
    pub(crate) op: Option<&'static str>,
    pub(crate) err: ErrorCode,
    pub(crate) is_write: bool,
}

/// See the module's header.
#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) conns: HashMap<ConnId, Connection>,
    /// The connection each attached session uses.
    pub(crate) by_session: HashMap<i64, ConnId>,
    pub(crate) by_address: HashMap<IpAddr, u32>,
    /// Requests without an answer, of all connections.
    pub(crate) outstanding: usize,
    pub(crate) stats: ServerStats,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self {
            conns: HashMap::new(),
            by_session: HashMap::new(),
            by_address: HashMap::new(),
            ..Self::default()
        }
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Connection> {
        self.conns.get(&conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.conns.get_mut(&conn)
    }

    /// Takes a connection in, or says which limit forbids it. Limits of 0 are none.
    pub(crate) fn admit(
        &mut self,
        now: Now,
        conn: ConnId,
        peer: SocketAddr,
        (per_address, all): (u32, u32),
    ) -> Result<(), CloseReason> {
        let address = peer.ip().to_canonical();
        let count = self.by_address.get(&address).copied().unwrap_or(0);
        if all > 0 && self.conns.len() >= all as usize {
            return Err(CloseReason::TooManyConnections { max: all });
        }
        if per_address > 0 && count >= per_address {
            return Err(CloseReason::TooManyFromAddress { peer: address, max: per_address });
        }
        self.by_address.insert(address, count + 1);
        self.conns.insert(conn, Connection::new(peer, now.mono_ms, now.wall_ms));
        Ok(())
    }

    /// Forgets a connection that is gone.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        let Some(c) = self.conns.remove(&conn) else { return };
        self.outstanding -= c.queue.len();
        let address = c.peer.ip().to_canonical();
        match self.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.by_address.remove(&address)),
        }
        self.detach(conn, c.phase.session());
        if c.phase.takes_requests() {
            self.stats.connections_dropped += 1;
        }
    }

    /// Stops listening to a connection and has the shell close it after what was sent; false if that was
    /// done before.
    pub(crate) fn close(&mut self, conn: ConnId, reason: CloseReason, fx: &mut Effects) -> bool {
        let Some(c) = self.conns.get_mut(&conn) else { return false };
        if matches!(c.phase, Phase::Closing { .. }) {
            return false;
        }
        let session = c.phase.session();
        c.phase = Phase::Closing { session };
        self.outstanding -= c.queue.len();
        c.queue.clear();
        self.detach(conn, session);
        fx.close(conn, reason);
        true
    }

    fn detach(&mut self, conn: ConnId, session: Option<i64>) {
        if let Some(session) = session
            && self.by_session.get(&session) == Some(&conn)
        {
            self.by_session.remove(&session);
        }
    }

    pub(crate) fn enqueue(&mut self, conn: ConnId, waiting: Waiting) {
        if let Some(c) = self.conns.get_mut(&conn) {
            c.queue.push_back(waiting);
            self.outstanding += 1;
        }
    }

    /// Sends a reply; `body` is written only if there is no error.
    pub(crate) fn reply(
        &mut self,
        now: Now,
        answer: &Answer,
        fx: &mut Effects,
        body: impl FnOnce(&mut Writer),
    ) {
        let Some(c) = self.conns.get_mut(&answer.conn) else { return };
        if matches!(c.phase, Phase::Closing { .. }) {
            return;
        }
        let header = ReplyHeader { xid: answer.xid, zxid: answer.zxid, err: answer.err.code() };
        let size = fx.frame(answer.conn, |w| {
            header.encode(w);
            if answer.err == ErrorCode::Ok {
                body(w);
            }
        });
        c.stats.sent += 1;
        self.stats.packets_sent += 1;
        self.stats.response_bytes += size;
        self.stats.response_sizes.add(size);
        if let Some(op) = answer.op {
            c.stats.answered(op, answer.xid, answer.zxid, answer.start_ms, now.mono_ms);
            self.stats.answered(answer.is_write, now.mono_ms.saturating_sub(answer.start_ms));
        }
    }

    /// Sends a watch event.
    pub(crate) fn notify(&mut self, conn: ConnId, zxid: i64, kind: EventKind, path: &str, fx: &mut Effects) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        if matches!(c.phase, Phase::Closing { .. }) {
            return;
        }
        let header = ReplyHeader { xid: xid::NOTIFICATION, zxid, err: 0 };
        let size = fx.frame(conn, |w| {
            header.encode(w);
            event::encode(w, kind, KeeperState::SyncConnected, path);
        });
        c.stats.sent += 1;
        self.stats.packets_sent += 1;
        self.stats.watch_bytes += size;
    }
}
