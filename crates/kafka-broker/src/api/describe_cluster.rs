//! DescribeCluster 0–1 (KIP-700): cluster id, controller and live brokers, on the listener the client came through.
//!
//! Version 1 may ask for the controllers' endpoints, which only KRaft has: MISMATCHED_ENDPOINT_TYPE, as a 3.9 broker says.

use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::authorized::CLUSTER_OPERATIONS;
use crate::broker::Broker;
use crate::context::RequestContext;

const ENDPOINT_TYPE_BROKER: i8 = 1;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != ENDPOINT_TYPE_BROKER {
        return DescribeClusterResponse {
            error_code: ErrorCode::MismatchedEndpointType.code(),
            error_message: Some("The request was sent to an endpoint of the wrong type.".to_owned()),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        };
    }
    let image = broker.image();
    let describe = |(id, host, port, rack): (i32, &str, u16, Option<&str>)| DescribeClusterBroker {
        broker_id: id,
        host: host.to_owned(),
        port: i32::from(port),
        rack: rack.map(str::to_owned),
    };
    let mut response = DescribeClusterResponse {
        cluster_id: broker.cluster_id.clone(),
        controller_id: image.controller_id.unwrap_or(-1),
        endpoint_type: ENDPOINT_TYPE_BROKER,
        brokers: image.endpoints(&ctx.peer.listener).map(describe).collect(),
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}
