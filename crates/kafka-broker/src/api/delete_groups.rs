//! DeleteGroups 0–2: groups without members, with all their offsets.
//!
//! The answer waits until the tombstones are in the log; the original does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_proto::ErrorCode;
use kafka_proto::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for group_id in request.groups_names {
        if !seen.insert(group_id.clone()) {
            continue;
        }
        let outcome = broker.groups.delete_group(broker, &group_id).await;
        results.push(DeletableGroupResult { group_id, error_code: outcome.err().map_or(0, ErrorCode::code) });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
