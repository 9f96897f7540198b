//! LeaveGroup, also for several members at once and by an administrator (KIP-345).

use crate::request::LeavingMember;
use kafka_proto::ErrorCode;

use super::{Group, GroupState, Step};

impl Group {
    /// One outcome for each leaving member, in order.
    pub(crate) fn on_leave(
        &mut self,
        step: &mut Step<'_>,
        leaving: &[LeavingMember],
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(leaving.iter().map(|member| self.leave_one(step, member)).collect())
    }

    fn leave_one(&mut self, step: &mut Step<'_>, leaving: &LeavingMember) -> Result<(), ErrorCode> {
        let member_id = if leaving.member_id.is_empty() {
            let by_name = leaving.instance_id.as_ref().and_then(|instance| self.static_members.get(instance));
            by_name.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else if self.pending_members.contains_key(&leaving.member_id) {
            self.remove_member(step, &leaving.member_id);
            self.try_complete_join(step);
            return Ok(());
        } else {
            self.check_member(&leaving.member_id, leaving.instance_id.as_deref())?;
            leaving.member_id.clone()
        };
        let reason = leaving.reason.as_deref().unwrap_or("no reason given");
        tracing::info!(group = %self.id, member = %member_id, reason, "a member leaves");
        self.remove_member_and_rebalance(step, &member_id, "a member left");
        Ok(())
    }
}
