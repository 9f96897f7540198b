//! From one generation to the next: gather members, choose leader and protocol, tell everybody.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_proto::ErrorCode;
use kafka_proto::messages::data::group_metadata::{GroupMetadataValue, MemberMetadata};

use crate::effect::{Reply, SyncReply};
use crate::error::AppendError;
use crate::records;
use crate::shard::Pending;

use super::{Group, GroupState, InitialWait, JoinWait, Step};

impl Group {
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    pub(super) fn maybe_prepare_rebalance(&mut self, step: &mut Step<'_>, reason: &str) {
        if GroupState::PreparingRebalance.may_follow(self.state) {
            self.prepare_rebalance(step, reason);
        }
    }

    /// Calls everybody to join again.
    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>, reason: &str) {
        if self.state == GroupState::CompletingRebalance {
            self.fail_syncs(step, ErrorCode::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        self.sync_deadline_ms = None;

        let timeout_ms = self.rebalance_timeout_ms();
        let initial = (self.state == GroupState::Empty).then(|| {
            let delay_ms = i64::from(step.config.initial_rebalance_delay_ms.max(0));
            InitialWait { delay_ms, remaining_ms: (timeout_ms - delay_ms).max(0) }
        });
        self.become_state(GroupState::PreparingRebalance, step.now);
        tracing::info!(group = %self.id, generation = self.generation_id, members = self.members.len(), reason, "rebalancing");
        self.wait_for_joins(step, initial.map_or(timeout_ms, |wait| wait.delay_ms), initial);
        self.try_complete_join(step);
    }

    fn wait_for_joins(&mut self, step: &Step<'_>, timeout_ms: i64, initial: Option<InitialWait>) {
        let deadline_ms = step.now.mono_ms.saturating_add(timeout_ms);
        self.join_wait = Some(JoinWait { deadline_ms, initial });
        self.wake_by(deadline_ms);
    }

    /// Goes on as soon as nobody is missing; the initial wait of an empty group always runs to its end.
    pub(super) fn try_complete_join(&mut self, step: &mut Step<'_>) {
        let Some(wait) = self.join_wait else { return };
        let all_joined = self.joining == self.members.len() && self.pending_members.is_empty();
        if wait.initial.is_none() && all_joined {
            self.complete_join(step);
        }
    }

    pub(super) fn on_join_deadline(&mut self, step: &mut Step<'_>) {
        let initial = self.join_wait.and_then(|wait| wait.initial);
        match initial {
            Some(wait) if self.new_member_added && wait.remaining_ms > 0 => {
                self.new_member_added = false;
                let configured_ms = i64::from(step.config.initial_rebalance_delay_ms.max(0));
                let delay_ms = configured_ms.min(wait.remaining_ms);
                let remaining_ms = (wait.remaining_ms - wait.delay_ms).max(0);
                self.wait_for_joins(step, delay_ms, Some(InitialWait { delay_ms, remaining_ms }));
            }
            _ => self.complete_join(step),
        }
    }

    /// Static members that have not come back keep their place; dynamic ones are dropped.
    fn complete_join(&mut self, step: &mut Step<'_>) {
        let missing: Vec<String> = self
            .members
            .values()
            .filter(|member| !member.is_joining() && member.instance_id.is_none())
            .map(|member| member.id.clone())
            .collect();
        for member_id in &missing {
            tracing::info!(group = %self.id, member = %member_id, "removed a member: it did not join again within the rebalance timeout");
            self.remove_member(step, member_id);
        }
        if !self.members.is_empty() && !self.ensure_joined_leader() {
            tracing::warn!(group = %self.id, "no member joined the rebalance; waiting until one does or their sessions expire");
            let timeout_ms = self.rebalance_timeout_ms().max(1);
            self.wait_for_joins(step, timeout_ms, None);
            return;
        }
        self.start_generation(step);
    }

    /// The leader must be someone who will get the reply. False if nobody has joined.
    fn ensure_joined_leader(&mut self) -> bool {
        let is_joining = |id: &String| self.members.get(id).is_some_and(|member| member.is_joining());
        if self.leader.as_ref().is_some_and(is_joining) {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.is_joining()) else { return false };
        self.leader = Some(joined.id.clone());
        true
    }

    fn start_generation(&mut self, step: &mut Step<'_>) {
        self.join_wait = None;
        self.new_member_added = false;
        self.pending_syncs.clear();
        self.sync_deadline_ms = None;
        self.generation_id = self.generation_id.checked_add(1).unwrap_or(1);
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        if self.members.is_empty() {
            self.become_state(GroupState::Empty, step.now);
            tracing::info!(group = %self.id, generation = self.generation_id, "the group is empty now");
            self.store_empty(step);
        } else {
            self.become_state(GroupState::CompletingRebalance, step.now);
            tracing::info!(
                group = %self.id, generation = self.generation_id, members = self.members.len(),
                protocol = self.protocol_name.as_deref().unwrap_or_default(),
                leader = self.leader.as_deref().unwrap_or_default(),
                "new generation; waiting for the leader's assignment"
            );
            self.announce_generation(step);
        }
    }

    fn announce_generation(&mut self, step: &mut Step<'_>) {
        let member_ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let reply = self.joined_reply(&member_id);
            self.reply_join(step, &member_id, reply);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.touch(step, &member_id);
            self.pending_syncs.insert(member_id);
        }
        let deadline_ms = step.now.mono_ms.saturating_add(self.rebalance_timeout_ms());
        self.sync_deadline_ms = Some(deadline_ms);
        self.wake_by(deadline_ms);
    }

    fn store_empty(&mut self, step: &mut Step<'_>) {
        let pending = Pending::EmptyGroup { group: self.id.clone() };
        if let Err(error) = self.store(step, &BTreeMap::new(), pending) {
            tracing::warn!(group = %self.id, %error, "the empty group could not be recorded");
        }
    }

    /// Appends the group's record with the given assignments.
    pub(super) fn store(
        &self,
        step: &mut Step<'_>,
        assignments: &BTreeMap<String, Bytes>,
        pending: Pending,
    ) -> Result<(), AppendError> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignments.get(&member.id).cloned().unwrap_or_default(),
        });
        let stored = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation_id,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms.unwrap_or(-1),
            members: members.collect(),
        };
        let record = records::group_record(&self.id, &stored).map_err(|_| AppendError::TooLarge)?;
        step.append(vec![record], pending);
        Ok(())
    }

    pub(super) fn fail_syncs(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let member_ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.assignment = Bytes::new();
            if let Some(token) = member.take_sync() {
                step.reply(token, Reply::Sync(SyncReply::refused(error)));
                self.touch(step, &member_id);
            }
        }
    }

    /// A member is gone for good: the others share its work.
    pub(super) fn remove_member_and_rebalance(&mut self, step: &mut Step<'_>, member_id: &str, reason: &str) {
        self.remove_member(step, member_id);
        match self.state {
            GroupState::Dead | GroupState::Empty => {}
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.maybe_prepare_rebalance(step, reason)
            }
            GroupState::PreparingRebalance => self.try_complete_join(step),
        }
    }
}
