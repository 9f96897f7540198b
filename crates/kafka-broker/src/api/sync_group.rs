//! SyncGroup 0–5: the leader hands in the assignment, everybody gets its part.
//!
//! From 5 on protocol type and name must be given and fit the group's (KIP-559). While the group is loaded the answer is
//! REBALANCE_IN_PROGRESS: old clients know no other.

use std::sync::Arc;

use bytes::Bytes;
use kafka_coordinator::SyncRequest;
use kafka_proto::ErrorCode;
use kafka_proto::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if ctx.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return SyncGroupResponse {
            error_code: ErrorCode::InconsistentGroupProtocol.code(),
            ..Default::default()
        };
    }
    // Copies: assignments outlive the request, whose frame would be kept alive.
    let assignments = request
        .assignments
        .into_iter()
        .map(|given| (given.member_id, Bytes::copy_from_slice(&given.assignment)));
    let request = SyncRequest {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: assignments.collect(),
    };
    let reply = broker.groups.sync(broker, request).await;
    SyncGroupResponse {
        error_code: reply.error.map_or(0, ErrorCode::code),
        protocol_type: reply.protocol_type,
        protocol_name: reply.protocol_name,
        assignment: reply.assignment,
        ..Default::default()
    }
}
