//! Deadlines of one group: sessions, ids given out, the wait for joins, the wait for syncs.
//!
//! A heartbeat only moves a member's deadline; the group's wake time stays where it was and is computed
//! anew when it comes. So a heartbeat costs no timer.

use super::{Group, GroupState, NEVER, Step};

impl Group {
    /// When [`Group::on_tick`] should be called at the latest.
    pub(crate) fn wake_at_ms(&self) -> i64 {
        self.wake_at_ms
    }

    pub(super) fn wake_by(&mut self, deadline_ms: i64) {
        self.wake_at_ms = self.wake_at_ms.min(deadline_ms);
    }

    pub(super) fn earliest_deadline(&self) -> i64 {
        let sessions = self.members.values().filter_map(|member| member.session_deadline_ms);
        let pending = self.pending_members.values().copied();
        let join = self.join_wait.map(|wait| wait.deadline_ms);
        sessions.chain(pending).chain(join).chain(self.sync_deadline_ms).min().unwrap_or(NEVER)
    }

    /// The member lives: its session starts anew.
    pub(super) fn touch(&mut self, step: &Step<'_>, member_id: &str) {
        let Some(member) = self.members.get(member_id) else { return };
        let timeout_ms = i64::from(member.session_timeout_ms);
        self.expect_life_within(step, member_id, timeout_ms);
    }

    pub(super) fn expect_life_within(&mut self, step: &Step<'_>, member_id: &str, timeout_ms: i64) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let deadline_ms = step.now.mono_ms.saturating_add(timeout_ms.max(0));
        member.session_deadline_ms = Some(deadline_ms);
        self.wake_by(deadline_ms);
    }

    /// Does what is due. Idempotent: nothing due, nothing done.
    pub(crate) fn on_tick(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.mono_ms;
        if now_ms < self.wake_at_ms {
            return;
        }
        self.expire_pending_members(step);
        self.expire_sessions(step);
        if self.join_wait.is_some_and(|wait| wait.deadline_ms <= now_ms) {
            self.on_join_deadline(step);
        }
        if self.sync_deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            self.on_sync_deadline(step);
        }
        self.wake_at_ms = self.earliest_deadline();
    }

    fn expire_pending_members(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.mono_ms;
        let expired: Vec<String> = self
            .pending_members
            .iter()
            .filter(|(_, deadline)| **deadline <= now_ms)
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in expired {
            tracing::info!(group = %self.id, member = %member_id, "the member never joined with the id it was given; the id is dropped");
            self.remove_member(step, &member_id);
            self.try_complete_join(step);
        }
    }

    fn expire_sessions(&mut self, step: &mut Step<'_>) {
        let now_ms = step.now.mono_ms;
        let due = |deadline: Option<i64>| deadline.is_some_and(|deadline_ms| deadline_ms <= now_ms);
        let expired: Vec<String> = self
            .members
            .values()
            .filter(|member| due(member.session_deadline_ms))
            .map(|member| member.id.clone())
            .collect();
        for member_id in expired {
            // Removing one member may have completed a rebalance and given the others new deadlines.
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            if !due(member.session_deadline_ms) {
                continue;
            }
            if member.is_excused_from_heartbeats() {
                member.session_deadline_ms = None;
                continue;
            }
            tracing::info!(
                group = %self.id, member = %member_id, client = %member.client_id, host = %member.client_host,
                session_timeout_ms = member.session_timeout_ms,
                "removed a member: no heartbeat within its session timeout"
            );
            self.remove_member_and_rebalance(step, &member_id, "a member's session expired");
        }
    }

    fn on_sync_deadline(&mut self, step: &mut Step<'_>) {
        self.sync_deadline_ms = None;
        if !matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable)
            || self.pending_syncs.is_empty()
        {
            return;
        }
        let missing: Vec<String> = std::mem::take(&mut self.pending_syncs).into_iter().collect();
        tracing::info!(group = %self.id, members = ?missing, "removed members that did not sync within the rebalance timeout");
        for member_id in &missing {
            self.remove_member(step, member_id);
        }
        self.prepare_rebalance(step, "members did not ask for their assignment in time");
    }
}
