//! Heartbeat: proof of life, and the way a member learns of a rebalance.

use crate::request::MemberRef;
use kafka_proto::ErrorCode;

use super::{Group, GroupState, Step};

impl Group {
    pub(crate) fn on_heartbeat(&mut self, step: &mut Step<'_>, member: &MemberRef) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&member.member_id, member.instance_id.as_deref())?;
        if member.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => {
                self.touch(step, &member.member_id);
                Err(ErrorCode::RebalanceInProgress)
            }
            // Consumers may send heartbeats between their join and their sync.
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.touch(step, &member.member_id);
                Ok(())
            }
        }
    }
}
