//! DescribeGroups 0–5: state, protocol and members of groups.
//!
//! A group nobody knows is Dead, without an error. Subscriptions and assignments show while the group is stable. From 3 on
//! with the operations the caller may perform.

use std::sync::Arc;

use kafka_proto::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::authorized::GROUP_OPERATIONS;
use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let shows_operations = ctx.version >= 3 && request.include_authorized_operations;
    let groups = request.groups.into_iter().map(|group_id| describe(broker, group_id, shows_operations));
    DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
}

fn describe(broker: &Broker, group_id: String, shows_operations: bool) -> DescribedGroup {
    let summary = match broker.groups.describe(broker, &group_id) {
        Ok(summary) => summary,
        Err(error) => return DescribedGroup { group_id, error_code: error.code(), ..Default::default() },
    };
    let members = summary.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        error_code: 0,
        group_id,
        group_state: summary.state.name().to_owned(),
        protocol_type: summary.protocol_type,
        protocol_data: summary.protocol,
        members: members.collect(),
        authorized_operations: if shows_operations { GROUP_OPERATIONS } else { i32::MIN },
    }
}
