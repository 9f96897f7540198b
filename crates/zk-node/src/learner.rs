//! A follower or observer: writes go to the leader, and their answers come back as commits.
//!
//! A commit answers the request at the head of its session's connection if session, cxid and kind agree. That
//! alone could mistake what the session asked for over an earlier connection, here or elsewhere, for what it asks
//! now, as some clients count their cxids anew. So a session that comes back is fenced: a sync goes to the leader
//! right behind the question whether it lives, and until that is answered no commit is the connection's own.
//! What is still to come of its earlier requests is refused by the leader, for the session has moved.

use bytes::Bytes;
use zk_proto::quorum::{Packet, PacketKind};
use zk_proto::txn::{DIGEST_VERSION, TxnDigest, TxnEntry, TxnHeader};
use zk_proto::{OpCode, Reader, Request, Writer};

use crate::connection::{Create2Items, Phase, Waiting, Work};
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::leader::request_data;
use crate::node::Node;
use crate::role::{Learning, Period, RemoteSync};
use crate::write::letters;

/// Sessions in the answer to one PING; the others go with the next. Apache reads packets of 1 MiB.
const TOUCHES_MAX: usize = 64 * 1024;

/// Mismatches between two that are told in the log.
const MISMATCHES_PER_LINE: u64 = 10_000;

impl Node {
    fn learning(&mut self) -> Option<&mut Learning> {
        match &mut self.period {
            Period::Learning(learning) => Some(learning),
            _ => None,
        }
    }

    fn tell_leader(&mut self, packet: Packet) {
        self.outbox.push_back(zk_zab::Input::ToLeader { packet });
    }

    /// Hands a client's write to the leader and lets it wait for its commit.
    pub(crate) fn forward(&mut self, now: Now, conn: ConnId, xid: i32, request: &Request, record: &[u8]) {
        let op = request.op();
        let Some(session) = self.send_request(conn, xid, op, record) else { return };
        if op == OpCode::CloseSession {
            self.sessions.set_closing(session);
        }
        let create2 = Create2Items::of(request);
        let work = Work::Forwarded { cxid: xid, op, create2 };
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work });
    }

    /// Returns the session it is for.
    fn send_request(&mut self, conn: ConnId, cxid: i32, op: OpCode, record: &[u8]) -> Option<i64> {
        let c = self.clients.get(conn)?;
        let session = c.phase.session()?;
        let data = request_data(session, cxid, op.code(), record);
        let mut packet = Packet::with_data(PacketKind::Request, -1, data);
        packet.auth = c.auth.to_vec();
        self.clients.stats.ensemble.forwarded += 1;
        self.tell_leader(packet);
        Some(session)
    }

    pub(crate) fn forward_sync(&mut self, now: Now, conn: ConnId, xid: i32, path: String, record: &[u8]) {
        if self.send_request(conn, xid, OpCode::Sync, record).is_none() {
            return;
        }
        if let Some(learning) = self.learning() {
            learning.syncs.push_back(RemoteSync::Client(conn));
        }
        let work = Work::RemoteSync { path, done: false };
        self.clients.enqueue(conn, Waiting { xid, start_ms: now.mono_ms, work });
    }

    /// Heard of a session: told to the leader with the next PING.
    pub(crate) fn touch_remotely(&mut self, session: i64, timeout_ms: i32) {
        if let Some(learning) = self.learning() {
            learning.touched.insert(session, timeout_ms);
        }
    }

    pub(crate) fn answer_ping(&mut self, zxid: i64) {
        let Some(learning) = self.learning() else { return };
        let mut sessions: Vec<(i64, i32)> = learning.touched.drain().collect();
        sessions.sort_unstable();
        learning.touched.extend(sessions.drain(sessions.len().min(TOUCHES_MAX)..));
        let mut data = Vec::with_capacity(12 * sessions.len());
        for (session, timeout_ms) in sessions {
            data.extend_from_slice(&session.to_be_bytes());
            data.extend_from_slice(&timeout_ms.to_be_bytes());
        }
        self.tell_leader(Packet::with_data(PacketKind::Ping, zxid, data));
    }

    pub(crate) fn on_from_leader(&mut self, now: Now, packet: &Packet, fx: &mut Effects) {
        match packet.kind {
            PacketKind::Sync => self.on_synced(now, fx),
            PacketKind::Revalidate => self.on_revalidated(now, packet.body(), fx),
            _ => {}
        }
    }

    fn on_synced(&mut self, now: Now, fx: &mut Effects) {
        match self.learning().and_then(|learning| learning.syncs.pop_front()) {
            Some(RemoteSync::Client(conn)) => {
                let queue = self.clients.get_mut(conn).map(|c| c.queue.iter_mut());
                let waiting = queue.into_iter().flatten().find_map(|w| match &mut w.work {
                    Work::RemoteSync { done, .. } if !*done => Some(done),
                    _ => None,
                });
                if let Some(done) = waiting {
                    *done = true;
                    self.drain(now, conn, fx);
                }
            }
            Some(RemoteSync::Fence(conn)) => {
                if let Some(c) = self.clients.get_mut(conn) {
                    c.is_fenced = false;
                }
            }
            None => tracing::warn!("the leader answers a sync nobody asked for"),
        }
    }

    /// A session wants to go on here: only the leader knows whether it lives.
    pub(crate) fn ask_for_session(&mut self, conn: ConnId, session: i64, timeout_ms: i32) {
        if let Some(c) = self.clients.get_mut(conn) {
            c.phase = Phase::Renewing { session };
        }
        let mut w = Writer::new();
        w.i64(session);
        w.i32(timeout_ms);
        self.tell_leader(Packet::with_data(PacketKind::Revalidate, -1, w.into_bytes()));
        if let Some(learning) = self.learning() {
            learning.renewals.push_back((session, conn));
        }
    }

    fn on_revalidated(&mut self, now: Now, data: &[u8], fx: &mut Effects) {
        let mut reader = Reader::new(data);
        let (Ok(session), Ok(valid)) = (reader.i64(), reader.bool()) else {
            tracing::warn!("the leader's word about a session cannot be read");
            return;
        };
        let Some(learning) = self.learning() else { return };
        let Some(at) = learning.renewals.iter().position(|(id, _)| *id == session) else { return };
        let Some((_, conn)) = learning.renewals.remove(at) else { return };
        if self.clients.get(conn).is_none_or(|c| c.phase != (Phase::Renewing { session })) {
            return;
        }
        if !valid {
            return self.refuse_session(conn, session, fx);
        }
        let timeout_ms = self.clients.get(conn).map_or(0, |c| c.timeout_ms);
        self.sessions.track(session, timeout_ms, now.mono());
        self.touch_remotely(session, timeout_ms);
        self.attach(conn, session, fx);
        self.fence(conn);
    }

    /// See the module's header.
    fn fence(&mut self, conn: ConnId) {
        let mut record = Writer::new();
        record.string("/");
        if self.send_request(conn, 0, OpCode::Sync, record.as_slice()).is_none() {
            return;
        }
        if let Some(c) = self.clients.get_mut(conn) {
            c.is_fenced = true;
        }
        if let Some(learning) = self.learning() {
            learning.syncs.push_back(RemoteSync::Fence(conn));
        }
    }

    /// Committed: applied, in the order of zxids. `Err` says why this server cannot go on.
    pub(crate) fn deliver(
        &mut self,
        now: Now,
        zxid: i64,
        payload: Option<&Bytes>,
        fx: &mut Effects,
    ) -> Result<(), String> {
        if self.proposals.front().is_some_and(|p| p.header.zxid == zxid) {
            self.clients.stats.ensemble.commits += 1;
            if let Some(proposal) = self.proposals.pop_front() {
                self.commit(now, proposal, fx);
                self.release_syncs(now, fx);
            }
            return Ok(());
        }
        let what = format!("the transaction committed as zxid 0x{zxid:x}");
        let payload = payload.ok_or_else(|| format!("{what} was not proposed by this leader"))?;
        let entry = TxnEntry::decode(payload).map_err(|error| format!("{what} cannot be read: {error}"))?;
        if entry.header.zxid != zxid {
            return Err(format!("{what} says 0x{:x}", entry.header.zxid));
        }
        self.clients.stats.ensemble.learner_commits += 1;
        self.end_read_only(now, fx);
        self.apply_entry(now, entry, fx);
        Ok(())
    }

    fn apply_entry(&mut self, now: Now, entry: TxnEntry, fx: &mut Effects) {
        let TxnEntry { header, txn, digest } = entry;
        if header.zxid <= self.tree.last_zxid() {
            tracing::debug!(zxid = format_args!("0x{:x}", header.zxid), "applied before; left out");
            return;
        }
        let waiter = self.waiter_for(&header);
        self.apply(now, &header, txn, waiter, fx);
        self.compare_digest(&header, digest);
    }

    /// The connection whose request this transaction answers.
    fn waiter_for(&self, header: &TxnHeader) -> Option<(ConnId, &'static str)> {
        let conn = *self.clients.by_session.get(&header.client_id)?;
        let c = self.clients.get(conn)?;
        let front = c.queue.front()?;
        match front.work {
            Work::Forwarded { op, .. } if !c.is_fenced && front.work.waits_for(header) => {
                Some((conn, letters(op)))
            }
            _ => None,
        }
    }

    /// A tree that differs from the leader's is told and never repaired silently.
    fn compare_digest(&mut self, header: &TxnHeader, digest: Option<TxnDigest>) {
        let Some(theirs) = digest.filter(|d| d.version == DIGEST_VERSION) else { return };
        if !self.tree.config().digest_enabled {
            return;
        }
        if theirs.tree_digest == self.tree.digest() {
            // A tree from a fuzzy snapshot has caught up.
            self.is_fuzzy = false;
        } else if !self.is_fuzzy {
            let stats = &mut self.clients.stats;
            stats.digest_mismatches += 1;
            if stats.digest_mismatches % MISMATCHES_PER_LINE == 1 {
                tracing::error!(
                    zxid = format_args!("0x{:x}", header.zxid),
                    ours = format_args!("0x{:x}", self.tree.digest()),
                    leader = format_args!("0x{:x}", theirs.tree_digest),
                    "this server's data differ from its leader's (digest); compare both, then stop the wrong one \
                     and let it come back with an empty data directory"
                );
            }
        }
    }
}
