//! What time brings: sessions expire, handshakes that never came are given up, containers and TTL nodes are
//! reaped.

use std::collections::VecDeque;

use zk_proto::Request;

use crate::close::CloseReason;
use crate::connection::Phase;
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::node::Node;
use crate::options::Options;
use crate::role::Period;
use crate::write::Asker;

/// Finds containers without children and TTL nodes past their time, and deletes them at a bounded rate
/// (`ContainerManager`).
#[derive(Debug)]
pub(crate) struct Reaper {
    interval_ms: u64,
    next_search_ms: u64,
    per_minute: u64,
    found: VecDeque<String>,
    /// When deletions were last paid for.
    paid_ms: u64,
}

impl Reaper {
    pub(crate) fn new(options: &Options, now: Now) -> Self {
        Self {
            interval_ms: options.container_check_interval_ms,
            next_search_ms: now.mono_ms.saturating_add(options.container_check_interval_ms),
            per_minute: u64::from(options.container_max_per_minute),
            found: VecDeque::new(),
            paid_ms: now.mono_ms,
        }
    }

    /// An interval of 0 turns the search off.
    fn search_is_due(&mut self, now: Now) -> bool {
        let due = self.interval_ms > 0 && now.mono_ms >= self.next_search_ms && self.found.is_empty();
        if due {
            self.next_search_ms = now.mono_ms + self.interval_ms;
            self.paid_ms = now.mono_ms;
        }
        due
    }

    /// What may be deleted now.
    fn take(&mut self, now: Now) -> Vec<String> {
        let earned = now.mono_ms.saturating_sub(self.paid_ms).saturating_mul(self.per_minute) / 60_000;
        let count = usize::try_from(earned.max(1)).unwrap_or(usize::MAX).min(self.found.len());
        self.paid_ms = now.mono_ms;
        self.found.drain(..count).collect()
    }
}

impl Node {
    pub(crate) fn on_tick(&mut self, now: Now, fx: &mut Effects) {
        self.give_up_handshakes(now, fx);
        match self.period {
            Period::Standalone | Period::Leading(_) => {
                self.expire_sessions(now, fx);
                self.reap(now, fx);
            }
            Period::ReadOnly => self.expire_read_only_sessions(now, fx),
            Period::Looking { .. } => self.look_on(now),
            // Sessions live and die at the leader.
            Period::Learning(_) => {}
        }
    }

    fn expire_read_only_sessions(&mut self, now: Now, fx: &mut Effects) {
        for session in self.sessions.expire(now.mono()) {
            self.clients.stats.sessions_expired += 1;
            self.sessions.remove(session);
            self.close_expired(session, fx);
        }
    }

    /// Closes the connection of a session that is over, if it has one here.
    pub(crate) fn close_expired(&mut self, session: i64, fx: &mut Effects) {
        if let Some(conn) = self.clients.by_session.get(&session).copied() {
            let timeout_ms = self.clients.get(conn).map_or(0, |c| c.timeout_ms);
            self.close(conn, CloseReason::SessionExpired { session, timeout_ms }, fx);
        }
    }

    fn expire_sessions(&mut self, now: Now, fx: &mut Effects) {
        for session in self.sessions.expire(now.mono()) {
            tracing::info!(session = format_args!("0x{session:x}"), "session expired");
            self.clients.stats.sessions_expired += 1;
            self.propose_with(now, Asker::server(session), "CLOS", Request::CloseSession, fx);
        }
    }

    fn give_up_handshakes(&mut self, now: Now, fx: &mut Effects) {
        let after_ms = self.options.sessionless_timeout_ms;
        let late = |opened_ms: u64| now.mono_ms.saturating_sub(opened_ms) >= after_ms;
        let conns = self.clients.conns.iter();
        let mut given_up: Vec<ConnId> = conns
            .filter(|(_, c)| matches!(c.phase, Phase::Handshake | Phase::Renewing { .. }))
            .filter(|(_, c)| late(c.opened_ms))
            .map(|(id, _)| *id)
            .collect();
        given_up.sort_unstable();
        for conn in given_up {
            self.clients.stats.sessionless_connections_expired += 1;
            self.close(conn, CloseReason::NoSession { after_ms }, fx);
        }
    }

    fn reap(&mut self, now: Now, fx: &mut Effects) {
        if self.reaper.search_is_due(now) {
            let limit = usize::try_from(self.reaper.per_minute).unwrap_or(usize::MAX);
            let never_used_ms = i64::try_from(self.options.container_max_never_used_ms).unwrap_or(i64::MAX);
            let found = self.tree.reap_candidates(now.wall_ms, never_used_ms, limit);
            self.reaper.found.extend(found.iter().map(|path| path.to_string()));
        }
        for path in self.reaper.take(now) {
            tracing::info!(path, "deleting an empty container or a TTL node past its time");
            self.propose_with(now, Asker::server(0), "DELE", Request::DeleteContainer { path }, fx);
        }
    }
}
