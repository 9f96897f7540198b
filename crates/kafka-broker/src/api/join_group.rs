//! JoinGroup 0–9: a consumer takes part in the group's next generation.
//!
//! * Version 0 has no rebalance timeout; the session timeout stands in.
//! * From 4 on a new dynamic member is given its id first (MEMBER_ID_REQUIRED, KIP-394).
//! * From 5 on static members (KIP-345); from 9 on a returning static leader may be told to skip the assignment (KIP-814).
//! * The answer waits for the whole rebalance.

use std::sync::Arc;

use bytes::Bytes;
use kafka_coordinator::{JoinReply, JoinRequest, Protocol};
use kafka_proto::ErrorCode;
use kafka_proto::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let reply = broker.groups.join(broker, to_core(ctx, request)).await;
    from_core(ctx.version, reply)
}

fn to_core(ctx: &RequestContext, request: JoinGroupRequest) -> JoinRequest {
    let protocols = request.protocols.into_iter().map(|protocol| Protocol {
        name: protocol.name,
        // A copy: members outlive the request, whose frame would be kept alive.
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    JoinRequest {
        group_id: request.group_id,
        member_id: request.member_id,
        member_id_required: ctx.version >= 4 && request.group_instance_id.is_none(),
        instance_id: request.group_instance_id,
        client_id: ctx.client_id().to_owned(),
        client_host: ctx.client_host(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if ctx.version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        can_skip_assignment: ctx.version >= 9,
        fresh_uuid: uuid::Uuid::new_v4().to_string(),
        reason: request.reason,
    }
}

fn from_core(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        error_code: reply.error.map_or(0, ErrorCode::code),
        generation_id: reply.generation_id,
        protocol_type: reply.protocol_type,
        // Null is allowed from 7 on.
        protocol_name: if version >= 7 {
            reply.protocol_name
        } else {
            Some(reply.protocol_name.unwrap_or_default())
        },
        leader: reply.leader,
        skip_assignment: reply.skip_assignment,
        member_id: reply.member_id,
        members: members.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use kafka_proto::messages::Message;
    use kafka_proto::wire::Writer;

    use super::*;

    /// Fields that a version lacks, or may not leave null there, must not make a reply impossible.
    #[test]
    fn every_reply_fits_every_version() {
        let joined = JoinReply {
            error: None,
            generation_id: 1,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            leader: "m".into(),
            skip_assignment: false,
            members: vec![kafka_coordinator::JoinedMember {
                member_id: "m".into(),
                instance_id: Some("i".into()),
                metadata: Bytes::new(),
            }],
            ..JoinReply::refused("m", ErrorCode::None)
        };
        for version in 0..=9 {
            for reply in [joined.clone(), JoinReply::refused("", ErrorCode::MemberIdRequired)] {
                from_core(version, reply).encode(&mut Writer::new(), version).expect("fits");
            }
        }
    }
}
