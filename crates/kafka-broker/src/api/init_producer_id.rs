//! InitProducerId 0–5 (KIP-98): a producer id and epoch 0 for an idempotent producer.
//!
//! * Without a transactional id every request gets a fresh id, as the original gives.
//! * With one: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients report at once as fatal, until there are transactions.
//!   The coordinator's own retriable answers would leave producers waiting for something that does not come.
//! * Versions 3 and later may carry an id and epoch to bump; only transactional producers do (KIP-360), INVALID_REQUEST
//!   if just one of the two is set.

use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use tracing::warn;

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refused(ErrorCode::InvalidRequest);
    }
    if let Some(id) = &request.transactional_id {
        if id.is_empty() {
            return refused(ErrorCode::InvalidRequest);
        }
        warn!(
            "client {:?} at {} wants transactional id {id:?}: transactions are not served yet; remove transactional.id from the producer, idempotence works without it",
            ctx.client_id(),
            ctx.peer.address
        );
        return refused(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    match broker.producer_ids.next(broker).await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            warn!("no producer id for client {:?}: {error}; clients try again", ctx.client_id());
            refused(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}
