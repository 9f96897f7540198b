//! A static member returns under a new member id (KIP-345).
//!
//! In a stable group this costs no rebalance as long as the protocol stays the same: the new id is
//! recorded, then the member is told its old place. If the record cannot be written, the old id is
//! put back.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::effect::{JoinReply, Reply, SyncReply, Token};
use kafka_proto::ErrorCode;

use crate::error::AppendError;
use crate::request::{JoinRequest, Protocol};
use crate::shard::Pending;

use super::{Group, GroupState, MemberUpdate, Step};

/// What is needed to finish, or to undo, the return of a static member.
#[derive(Debug, Clone)]
pub(crate) struct StaticReturn {
    token: Token,
    instance_id: String,
    old_id: String,
    new_id: String,
    generation_id: i32,
    /// The leader before the return; clients before JoinGroup 9 are shown it, so that a returning
    /// leader does not assign.
    old_leader: Option<String>,
    old_protocols: Vec<Protocol>,
    old_rebalance_timeout_ms: i32,
    old_session_timeout_ms: i32,
    can_skip_assignment: bool,
}

impl Group {
    pub(super) fn return_static_member(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        old_id: String,
        new_id: String,
        request: JoinRequest,
    ) {
        let member = self.members.get(&old_id).expect("the index of static members points to members");
        let back = StaticReturn {
            token,
            instance_id: request.instance_id.clone().unwrap_or_default(),
            old_id: old_id.clone(),
            new_id: new_id.clone(),
            generation_id: self.generation_id,
            old_leader: self.leader.clone(),
            old_protocols: member.protocols.clone(),
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_session_timeout_ms: member.session_timeout_ms,
            can_skip_assignment: request.can_skip_assignment,
        };
        tracing::info!(
            group = %self.id, instance = %back.instance_id, old = %old_id, new = %new_id,
            "a static member returns under a new member id"
        );
        self.replace_static_member(step, &back.instance_id, &old_id, &new_id);
        self.touch(step, &new_id);
        self.update_member(step, &new_id, MemberUpdate::from_request(token, request));
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol_name => {
                self.store_return(step, back)
            }
            GroupState::Stable => {
                self.maybe_prepare_rebalance(
                    step,
                    "a static member returned and the group's protocol changes",
                );
            }
            // The leader may be assigning to the old id just now.
            GroupState::CompletingRebalance => {
                self.prepare_rebalance(step, "a static member returned before the assignment came");
            }
            GroupState::PreparingRebalance => {}
            GroupState::Empty | GroupState::Dead => unreachable!("such a group has no members"),
        }
    }

    /// Whoever still waits under the old id is fenced.
    fn replace_static_member(&mut self, step: &mut Step<'_>, instance_id: &str, old_id: &str, new_id: &str) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        if let Some(token) = member.take_join() {
            self.joining -= 1;
            step.reply(token, Reply::Join(JoinReply::refused(old_id, ErrorCode::FencedInstanceId)));
        }
        if let Some(token) = member.take_sync() {
            step.reply(token, Reply::Sync(SyncReply::refused(ErrorCode::FencedInstanceId)));
        }
        member.id = new_id.to_owned();
        self.members.insert(new_id.to_owned(), member);
        if self.is_leader(old_id) {
            self.leader = Some(new_id.to_owned());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.to_owned());
        }
        self.static_members.insert(instance_id.to_owned(), new_id.to_owned());
    }

    fn store_return(&mut self, step: &mut Step<'_>, back: StaticReturn) {
        let assignments: BTreeMap<String, Bytes> =
            self.members.values().map(|member| (member.id.clone(), member.assignment.clone())).collect();
        let pending = Pending::StaticReturn { group: self.id.clone(), back: Box::new(back.clone()) };
        if let Err(error) = self.store(step, &assignments, pending) {
            self.on_return_stored(step, back, Err(error));
        }
    }

    /// The record with the new id is written, or could not be.
    pub(crate) fn on_return_stored(
        &mut self,
        step: &mut Step<'_>,
        back: StaticReturn,
        outcome: Result<(), AppendError>,
    ) {
        let waits_still =
            self.members.get(&back.new_id).is_some_and(|member| member.is_joining_as(back.token));
        if !waits_still || self.state != GroupState::Stable || self.generation_id != back.generation_id {
            // A rebalance took over and will answer, or the member is gone and was answered.
            return;
        }
        match outcome {
            Ok(()) => self.confirm_return(step, &back),
            Err(error) => self.undo_return(step, back, error),
        }
    }

    fn confirm_return(&mut self, step: &mut Step<'_>, back: &StaticReturn) {
        let mut reply = self.joined_reply(&back.new_id);
        if back.can_skip_assignment {
            reply.skip_assignment = self.is_leader(&back.new_id);
        } else {
            reply.members.clear();
            reply.leader = back.old_leader.clone().unwrap_or_default();
        }
        self.reply_join(step, &back.new_id, reply);
        self.touch(step, &back.new_id);
    }

    fn undo_return(&mut self, step: &mut Step<'_>, back: StaticReturn, error: AppendError) {
        tracing::warn!(
            group = %self.id, instance = %back.instance_id, %error,
            "the return of a static member could not be recorded; its old member id is put back and it will try again"
        );
        let mut reply = JoinReply::refused("", error.for_group());
        reply.generation_id = self.generation_id;
        reply.protocol_type = self.protocol_type.clone();
        reply.protocol_name = self.protocol_name.clone();
        reply.leader = back.old_leader.clone().unwrap_or_default();
        self.reply_join(step, &back.new_id, reply);

        if let Some(member) = self.members.get_mut(&back.new_id) {
            let new_protocols = std::mem::replace(&mut member.protocols, back.old_protocols.clone());
            member.rebalance_timeout_ms = back.old_rebalance_timeout_ms;
            member.session_timeout_ms = back.old_session_timeout_ms;
            self.uncount_protocols(&new_protocols);
            self.count_protocols(&back.old_protocols);
        }
        self.replace_static_member(step, &back.instance_id, &back.new_id, &back.old_id);
        self.touch(step, &back.old_id);
    }
}
