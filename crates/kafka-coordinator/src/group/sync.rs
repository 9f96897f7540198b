//! SyncGroup: the leader's assignment is stored, then handed out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{Reply, SyncReply, Token};
use kafka_proto::ErrorCode;

use crate::error::AppendError;
use crate::request::SyncRequest;
use crate::shard::Pending;

use super::{Group, GroupState, Step};

/// An assignment on its way into the log.
#[derive(Debug, Clone)]
pub(crate) struct AssignmentToStore {
    pub group: Arc<str>,
    pub generation_id: i32,
    pub assignments: BTreeMap<String, Bytes>,
}

impl Group {
    /// Answers now, or when the leader's assignment is stored, or when the group rebalances again.
    pub(crate) fn on_sync(&mut self, step: &mut Step<'_>, token: Token, request: SyncRequest) {
        if let Err(error) = self.check_sync(&request) {
            step.reply(token, Reply::Sync(SyncReply::refused(error)));
            return;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                step.reply(token, Reply::Sync(SyncReply::refused(ErrorCode::UnknownMemberId)));
            }
            GroupState::PreparingRebalance => {
                step.reply(token, Reply::Sync(SyncReply::refused(ErrorCode::RebalanceInProgress)));
            }
            GroupState::CompletingRebalance => self.park_sync(step, token, request),
            GroupState::Stable => {
                self.note_sync(&request.member_id);
                step.reply(token, Reply::Sync(self.assigned_reply(&request.member_id)));
                self.touch(step, &request.member_id);
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, own: &Option<String>| asked.is_some() && asked != own;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, step: &mut Step<'_>, token: Token, request: SyncRequest) {
        let Some(member) = self.members.get_mut(&request.member_id) else { return };
        if let Some(superseded) = member.park_sync(token) {
            step.reply(superseded, Reply::Sync(SyncReply::refused(ErrorCode::RebalanceInProgress)));
        }
        self.note_sync(&request.member_id);
        if self.is_leader(&request.member_id) {
            self.store_assignment(step, request.assignments);
        }
    }

    fn note_sync(&mut self, member_id: &str) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            self.sync_deadline_ms = None;
        }
    }

    fn store_assignment(&mut self, step: &mut Step<'_>, given: Vec<(String, Bytes)>) {
        let assignments: BTreeMap<String, Bytes> = given.into_iter().collect();
        let missing: Vec<&String> = self.members.keys().filter(|id| !assignments.contains_key(*id)).collect();
        if !missing.is_empty() {
            tracing::warn!(
                group = %self.id, generation = self.generation_id, members = ?missing,
                "the leader's assignment leaves out members; they get an empty one"
            );
        }
        let to_store =
            AssignmentToStore { group: self.id.clone(), generation_id: self.generation_id, assignments };
        let pending = Pending::Assignment(to_store.clone());
        if let Err(error) = self.store(step, &to_store.assignments, pending) {
            self.on_assignment_stored(step, to_store, Err(error));
        }
    }

    /// The assignment is in the log, or could not be written. If the group has moved on meanwhile,
    /// this is an old story.
    pub(crate) fn on_assignment_stored(
        &mut self,
        step: &mut Step<'_>,
        stored: AssignmentToStore,
        outcome: Result<(), AppendError>,
    ) {
        if self.state != GroupState::CompletingRebalance || self.generation_id != stored.generation_id {
            return;
        }
        match outcome {
            Ok(()) => self.hand_out(step, stored.assignments),
            Err(error) => {
                tracing::warn!(
                    group = %self.id, generation = self.generation_id, %error,
                    "the assignment could not be stored; the group rebalances again"
                );
                self.fail_syncs(step, error.for_group());
                self.maybe_prepare_rebalance(step, "the assignment could not be stored");
            }
        }
    }

    fn hand_out(&mut self, step: &mut Step<'_>, mut assignments: BTreeMap<String, Bytes>) {
        self.become_state(GroupState::Stable, step.now);
        tracing::info!(group = %self.id, generation = self.generation_id, members = self.members.len(), "stable");
        let member_ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.assignment = assignments.remove(&member_id).unwrap_or_default();
            if let Some(token) = member.take_sync() {
                step.reply(token, Reply::Sync(self.assigned_reply(&member_id)));
                self.touch(step, &member_id);
            }
        }
    }

    fn assigned_reply(&self, member_id: &str) -> SyncReply {
        SyncReply {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }
}
