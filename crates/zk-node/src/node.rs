//! The node: one server's state and the entry point of everything that happens to it.
//!
//! The life of a write: [`crate::request`] reads it, [`crate::write`] decides and records it, the shell makes
//! it durable, [`crate::commit`] applies and answers it. Reads ([`crate::read`]) wait only for earlier
//! requests of their own session. The invariants are in [`Node::check`].

use std::collections::{BTreeSet, VecDeque};

use zk_proto::quorum::Config;
use zk_proto::txn::{Txn, TxnHeader};
use zk_tree::{Pending, Sessions, Tree, WatchManager};
use zk_zab::LinkId;

use crate::clients::Clients;
use crate::close::CloseReason;
use crate::connection::{Connection, Phase, Work};
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Durable, Input, Now};
use crate::options::Options;
use crate::role::{Ensemble, Period, Role};
use crate::snapshot_policy::SnapshotPolicy;
use crate::stats::{ConnectionStats, ServerStats};
use crate::tick::Reaper;

/// A transaction that is decided and not applied yet.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) header: TxnHeader,
    pub(crate) txn: Txn,
    pub(crate) origin: Origin,
    /// Four letters for `cons`.
    pub(crate) op: &'static str,
    /// As logged.
    pub(crate) bytes: usize,
}

/// Who asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The server itself.
    Server,
    Client(ConnId),
    /// Another server, for one of its clients.
    Learner(LinkId),
}

/// One coordination server's core. See the crate's documentation for the order of calls.
pub struct Node {
    pub(crate) options: Options,
    pub(crate) tree: Tree,
    pub(crate) pending: Pending,
    pub(crate) watches: WatchManager,
    pub(crate) sessions: Sessions,
    pub(crate) clients: Clients,
    /// In zxid order, without gaps.
    pub(crate) proposals: VecDeque<Proposal>,
    /// Whose syncs wait, and for which zxid.
    pub(crate) syncs: VecDeque<(i64, Origin)>,
    /// While this server decides: the zxid of its last decision.
    pub(crate) last_proposed: i64,
    pub(crate) period: Period,
    pub(crate) ensemble: Option<Ensemble>,
    /// For the ensemble's core; `Member` takes it after each step.
    pub(crate) outbox: VecDeque<zk_zab::Input>,
    /// The tree came from a fuzzy snapshot and may be ahead of its zxid: digests do not compare yet.
    pub(crate) is_fuzzy: bool,
    pub(crate) snapshot_policy: SnapshotPolicy,
    pub(crate) reaper: Reaper,
    /// (zxid, digest) every 128 transactions, for `hash`.
    pub(crate) digests: VecDeque<(i64, i64)>,
    /// When this server last lost its leader, or began without one.
    pub(crate) unavailable_since_ms: u64,
    started_ms: u64,
}

impl Node {
    /// A node over a recovered tree. Its sessions get a whole timeout to come back.
    pub fn new(options: Options, tree: Tree, now: Now) -> Self {
        let mut sessions = Sessions::new(options.server_id, options.tick_ms, now.wall_ms);
        for (id, timeout_ms) in tree.sessions() {
            sessions.track(*id, *timeout_ms, now.mono());
        }
        let policy = SnapshotPolicy::new(options.snap_count, options.snap_size_limit_bytes, options.seed);
        Self {
            reaper: Reaper::new(&options, now),
            snapshot_policy: policy,
            last_proposed: tree.last_zxid(),
            tree,
            pending: Pending::new(),
            watches: WatchManager::new(),
            sessions,
            clients: Clients::new(),
            proposals: VecDeque::new(),
            syncs: VecDeque::new(),
            period: Period::Standalone,
            ensemble: None,
            outbox: VecDeque::new(),
            is_fuzzy: false,
            digests: VecDeque::new(),
            unavailable_since_ms: now.mono_ms,
            started_ms: now.mono_ms,
            options,
        }
    }

    /// A server of an ensemble, over what its disk holds. It looks for a leader first.
    pub(crate) fn in_ensemble(
        options: Options,
        tree: Tree,
        config: Config,
        last_seen: Option<Config>,
        now: Now,
    ) -> Self {
        let mut node = Self::new(options, tree, now);
        node.sessions.restart();
        node.period = Period::Looking { since_ms: now.mono_ms };
        node.clients.stats.ensemble.looking = 1;
        let last_seen = last_seen.unwrap_or_else(|| config.clone());
        node.ensemble = Some(Ensemble { active: config, last_seen, synced: BTreeSet::new() });
        node
    }

    /// Puts another tree in place of this one, which was void or behind.
    pub(crate) fn replace_tree(&mut self, now: Now, tree: Tree, is_fuzzy: bool, fx: &mut Effects) {
        self.end_read_only(now, fx);
        debug_assert_eq!(self.role(), Role::Looking, "a tree is replaced only before its server serves");
        fx.push(Effect::CancelSnapshot);
        self.tree = tree;
        self.is_fuzzy = is_fuzzy;
        self.digests.clear();
    }

    /// Takes one input; what is to be done about it is added to `fx`.
    pub fn step(&mut self, now: Now, input: Input<'_>, fx: &mut Effects) {
        match input {
            Input::Connected { conn, peer } => self.on_connected(now, conn, peer, fx),
            Input::Frame { conn, frame } => self.on_frame(now, conn, frame, fx),
            Input::Closed { conn } => self.on_closed(conn),
            Input::Tick => self.on_tick(now, fx),
            Input::Durable(durable) => self.on_durable(now, durable, fx),
            // For `Member`, which hands on what concerns the node.
            Input::Zab(_) | Input::Reloaded { .. } => {}
        }
    }

    /// Whether frames of this connection should be read now. Asked before each frame; a connection that was
    /// refused is asked again after the next step that was no frame.
    pub fn takes_frames(&self, conn: ConnId) -> bool {
        let Some(c) = self.clients.get(conn) else { return false };
        if matches!(c.phase, Phase::Renewing { .. }) {
            return false;
        }
        let limit = self.options.global_outstanding_limit;
        // A connection without anything outstanding may always ask: else it could starve (`shouldThrottle`).
        c.queue.is_empty() || (self.clients.outstanding <= limit && c.queue.len() < limit.max(1))
    }

    fn on_connected(&mut self, now: Now, conn: ConnId, peer: std::net::SocketAddr, fx: &mut Effects) {
        let limits = (self.options.max_client_cnxns, self.options.max_cnxns);
        if let Err(reason) = self.clients.admit(now, conn, peer, limits) {
            self.clients.stats.connections_rejected += 1;
            fx.close(conn, reason);
        }
    }

    fn on_closed(&mut self, conn: ConnId) {
        self.clients.remove(conn);
        self.watches.remove_watcher(conn.0);
    }

    pub(crate) fn close(&mut self, conn: ConnId, reason: CloseReason, fx: &mut Effects) {
        if self.clients.close(conn, reason, fx) {
            self.watches.remove_watcher(conn.0);
        }
    }

    fn on_frame(&mut self, now: Now, conn: ConnId, frame: &[u8], fx: &mut Effects) {
        self.count_received(conn, frame.len() + 4);
        match self.clients.get(conn).map(|c| c.phase) {
            Some(Phase::Handshake) => self.on_connect_request(now, conn, frame, fx),
            Some(phase) if phase.takes_requests() => self.on_request(now, conn, frame, fx),
            _ => {}
        }
    }

    /// Counts a packet of so many bytes; the shell calls it for what is no frame (a four-letter word).
    pub fn count_received(&mut self, conn: ConnId, bytes: usize) {
        self.clients.stats.packets_received += 1;
        self.clients.stats.bytes_received += bytes as u64;
        if let Some(c) = self.clients.get_mut(conn) {
            c.stats.received += 1;
        }
    }

    /// What one group commit cost.
    pub(crate) fn count_durable(&mut self, durable: Durable) {
        self.clients.stats.fsync_time.add(durable.fsync_ms);
        self.clients.stats.batch_size.add(durable.count);
    }

    fn on_durable(&mut self, now: Now, durable: Durable, fx: &mut Effects) {
        self.count_durable(durable);
        debug_assert!(durable.zxid <= self.last_proposed, "the log is ahead of the proposals");
        while self.proposals.front().is_some_and(|p| p.header.zxid <= durable.zxid) {
            if let Some(proposal) = self.proposals.pop_front() {
                self.commit(now, proposal, fx);
                // At once: a write behind the sync may be next.
                self.release_syncs(now, fx);
            }
        }
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn watches(&self) -> &WatchManager {
        &self.watches
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub fn stats(&self) -> &ServerStats {
        &self.clients.stats
    }

    /// For what the shell measures: snapshots.
    pub fn stats_mut(&mut self) -> &mut ServerStats {
        &mut self.clients.stats
    }

    /// `srst`
    pub fn reset_stats(&mut self) {
        self.clients.stats = ServerStats::default();
    }

    /// `crst`
    pub fn reset_connection_stats(&mut self) {
        for c in self.clients.conns.values_mut() {
            c.stats = ConnectionStats::default();
        }
    }

    pub fn connections(&self) -> impl ExactSizeIterator<Item = (ConnId, &Connection)> {
        self.clients.conns.iter().map(|(id, c)| (*id, c))
    }

    pub fn connection(&self, conn: ConnId) -> Option<&Connection> {
        self.clients.get(conn)
    }

    /// Requests without an answer, of all connections.
    pub fn outstanding(&self) -> usize {
        self.clients.outstanding
    }

    pub fn uptime_ms(&self, now: Now) -> u64 {
        now.mono_ms.saturating_sub(self.started_ms)
    }

    /// (zxid, digest) every 128 transactions, oldest first.
    pub fn digests(&self) -> impl Iterator<Item = (i64, i64)> {
        self.digests.iter().copied()
    }

    /// Whether every proposal is applied.
    pub fn is_idle(&self) -> bool {
        self.proposals.is_empty()
    }

    /// The invariants, for tests and simulation. Panics with what is broken.
    pub fn check(&self) {
        self.check_period();
        let clients = &self.clients;
        let queued: usize = clients.conns.values().map(|c| c.queue.len()).sum();
        assert_eq!(clients.outstanding, queued, "outstanding counts the queues");
        let per_address: u32 = clients.by_address.values().sum();
        assert_eq!(per_address as usize, clients.conns.len(), "addresses count the connections");
        for (session, conn) in &clients.by_session {
            let phase = clients.get(*conn).map(|c| c.phase);
            assert_eq!(
                phase.and_then(Phase::session),
                Some(*session),
                "session 0x{session:x} and its connection"
            );
        }
        for (conn, c) in &clients.conns {
            self.check_queue(*conn, c);
        }
    }

    fn check_period(&self) {
        assert!(self.outbox.is_empty(), "what the node says to the ensemble is taken at once");
        match &self.period {
            Period::Standalone | Period::Leading(_) => {
                let mut expected = self.tree.last_zxid();
                for p in &self.proposals {
                    expected += 1;
                    assert_eq!(p.header.zxid, expected, "proposals follow the tree without gaps");
                }
                assert_eq!(self.last_proposed, expected, "last_proposed is the last proposal");
            }
            _ => {
                assert!(self.proposals.is_empty(), "only who leads proposes");
                assert!(self.syncs.is_empty(), "only who leads holds syncs back");
                assert!(self.pending.is_empty(), "only who decides looks ahead");
            }
        }
        match &self.period {
            Period::Looking { .. } => {
                assert!(self.clients.by_session.is_empty(), "who looks serves nobody");
            }
            Period::Leading(leading) => {
                let asked = self.proposals.iter().map(|p| p.origin).chain(self.syncs.iter().map(|s| s.1));
                let of_learners = asked
                    .filter(|o| matches!(o, Origin::Learner(link) if leading.links.contains_key(link)))
                    .count();
                let counted: usize = leading.links.values().map(|load| load.requests).sum();
                assert_eq!(counted, of_learners, "what learners wait for is counted");
            }
            Period::Learning(_) => {
                let sessions = self.tree.sessions().keys();
                let untracked = sessions.filter(|id| self.sessions.timeout_ms(**id).is_none()).count();
                assert_eq!(untracked, 0, "a committed session is known");
            }
            Period::Standalone | Period::ReadOnly => {}
        }
    }

    fn check_queue(&self, conn: ConnId, c: &Connection) {
        let applied = self.tree.last_zxid();
        if let Some(front) = c.queue.front() {
            let waits = match &front.work {
                Work::Write { zxid, .. } => *zxid > applied,
                Work::Forwarded { .. } => true,
                Work::RemoteSync { done, .. } => !done,
                Work::Sync { after, .. } => *after > applied,
                Work::Read { .. } | Work::Fixed { .. } => false,
            };
            assert!(waits, "{conn:?}: what heads a queue must have something to wait for");
        }
        let mut last = 0;
        for waiting in &c.queue {
            let Work::Write { zxid, .. } = waiting.work else { continue };
            assert!(zxid > last, "{conn:?}: writes are answered in zxid order");
            last = zxid;
            let known =
                self.proposals.iter().any(|p| p.header.zxid == zxid && p.origin == Origin::Client(conn));
            assert!(known, "{conn:?}: zxid 0x{zxid:x} is waited for and not proposed");
        }
    }
}
