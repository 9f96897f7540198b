//! Heartbeat 0–4: a member lives, and learns of rebalances.

use std::sync::Arc;

use kafka_coordinator::MemberRef;
use kafka_proto::ErrorCode;
use kafka_proto::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let member = MemberRef {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation_id: request.generation_id,
    };
    let outcome = broker.groups.heartbeat(broker, &request.group_id, &member);
    HeartbeatResponse { error_code: outcome.err().map_or(0, ErrorCode::code), ..Default::default() }
}
