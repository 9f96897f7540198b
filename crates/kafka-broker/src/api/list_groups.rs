//! ListGroups 0–5: the groups this broker coordinates; clients ask every broker.
//!
//! From 4 on filtered by state (KIP-518), from 5 on by type (KIP-848): every group here is a classic one. While a partition
//! is loaded the list is incomplete and carries COORDINATOR_LOAD_IN_PROGRESS.

use std::sync::Arc;

use kafka_proto::ErrorCode;
use kafka_proto::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::broker::Broker;
use crate::context::RequestContext;

const CLASSIC: &str = "classic";

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let admits = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    let (groups, loading) = broker.groups.list();
    let groups = groups
        .into_iter()
        .filter(|group| {
            admits(&request.states_filter, group.state.name()) && admits(&request.types_filter, CLASSIC)
        })
        .map(|group| ListedGroup {
            group_id: group.group_id,
            protocol_type: group.protocol_type,
            group_state: group.state.name().to_owned(),
            group_type: CLASSIC.to_owned(),
        });
    let error = if loading { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::None };
    ListGroupsResponse { error_code: error.code(), groups: groups.collect(), ..Default::default() }
}
