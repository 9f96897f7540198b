//! FindCoordinator 0–6: which broker coordinates a consumer group.
//!
//! * The first one creates `__consumer_offsets`; the original answers COORDINATOR_NOT_AVAILABLE meanwhile, here the
//!   answer waits a moment for the leaders.
//! * From 4 on several keys at a time (KIP-699); a key's partition is the same for groups and transactional ids.
//! * Transactional ids: TRANSACTIONAL_ID_AUTHORIZATION_FAILED until there are transactions. Java's producer and librdkafka
//!   take this one as fatal and report it at once; COORDINATOR_NOT_AVAILABLE would leave `initTransactions()` waiting
//!   for its timeout. The message says what is the matter, and so does the broker's log.
//! * Share groups (key type 2): COORDINATOR_NOT_AVAILABLE from 6 on, INVALID_REQUEST before, as 3.9 answers.

use std::sync::Arc;

use kafka_proto::ErrorCode;
use kafka_proto::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use tracing::warn;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::groups::OFFSETS_TOPIC;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
const NO_TRANSACTIONS: &str =
    "transactions are not served by this broker yet; remove transactional.id, idempotence works without it";

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if ctx.version >= 4 {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            coordinators.push(find(broker, ctx, request.key_type, key).await);
        }
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(broker, ctx, request.key_type, request.key).await;
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

async fn find(broker: &Arc<Broker>, ctx: &RequestContext, key_type: i8, key: String) -> Coordinator {
    let found = match key_type {
        GROUP => find_group(broker, ctx, &key).await,
        TRANSACTION => {
            warn!(
                "client {:?} at {} looks for the coordinator of transactional id {key:?}: {NO_TRANSACTIONS}",
                ctx.client_id(),
                ctx.peer.address
            );
            Err((ErrorCode::TransactionalIdAuthorizationFailed, NO_TRANSACTIONS))
        }
        SHARE if ctx.version >= 6 => {
            Err((ErrorCode::CoordinatorNotAvailable, "share groups need KRaft mode"))
        }
        _ => Err((ErrorCode::InvalidRequest, "unknown coordinator type")),
    };
    match found {
        Ok((node_id, host, port)) => Coordinator { key, node_id, host, port, ..Default::default() },
        Err((code, message)) => Coordinator {
            key,
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: code.code(),
            error_message: Some(message.to_owned()),
        },
    }
}

async fn find_group(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    group_id: &str,
) -> Result<(i32, String, i32), (ErrorCode, &'static str)> {
    let unavailable = |why| (ErrorCode::CoordinatorNotAvailable, why);
    if !broker.groups.ensure_topic(broker).await {
        return Err(unavailable(
            "the topic __consumer_offsets does not exist yet; the broker's log says why if it stays so",
        ));
    }
    let index = broker.groups.partition_of(broker, group_id);
    let image = broker.image();
    let leader = image.partition(OFFSETS_TOPIC, index).map_or(-1, |partition| partition.leader);
    let mut endpoints = image.endpoints(&ctx.peer.listener);
    match endpoints.find(|(id, ..)| *id == leader) {
        Some((id, host, port, _)) => Ok((id, host.to_owned(), i32::from(port))),
        None => Err(unavailable("the group's partition of __consumer_offsets has no leader at the moment")),
    }
}
