//! LeaveGroup 0–5: members give their places up.
//!
//! One member up to version 2, whose outcome is the response's own; from 3 on several, also static ones by name
//! (KIP-345); from 5 on with a reason (KIP-800).

use std::sync::Arc;

use kafka_coordinator::LeavingMember;
use kafka_proto::ErrorCode;
use kafka_proto::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let leaving = leaving_members(ctx.version, &request);
    let outcomes = match broker.groups.leave(broker, &request.group_id, &leaving) {
        Ok(outcomes) => outcomes,
        Err(error) => return LeaveGroupResponse { error_code: error.code(), ..Default::default() },
    };
    let code = |outcome: Result<(), ErrorCode>| outcome.err().map_or(0, ErrorCode::code);
    if ctx.version < 3 {
        let error_code = outcomes.into_iter().next().map_or(0, code);
        return LeaveGroupResponse { error_code, ..Default::default() };
    }
    let members = leaving.into_iter().zip(outcomes).map(|(member, outcome)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        error_code: code(outcome),
    });
    LeaveGroupResponse { members: members.collect(), ..Default::default() }
}

fn leaving_members(version: i16, request: &LeaveGroupRequest) -> Vec<LeavingMember> {
    if version < 3 {
        return vec![LeavingMember { member_id: request.member_id.clone(), instance_id: None, reason: None }];
    }
    let members = request.members.iter().map(|member| LeavingMember {
        member_id: member.member_id.clone(),
        instance_id: member.group_instance_id.clone(),
        reason: member.reason.clone(),
    });
    members.collect()
}
