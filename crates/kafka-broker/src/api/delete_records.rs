//! DeleteRecords 0–2 (KIP-107): moves a partition's log start offset forward; −1 means the high watermark.
//!
//! With this broker alone in a partition's in-sync set the new low watermark holds at once, so there is nothing to wait for.

use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::topics;

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| DeleteRecordsTopicResult {
        partitions: topic.partitions.iter().map(|partition| delete(broker, &topic.name, partition)).collect(),
        name: topic.name,
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete(broker: &Broker, topic: &str, asked: &DeleteRecordsPartition) -> DeleteRecordsPartitionResult {
    let outcome = if topics::is_internal(topic) {
        // Group and transaction state would be lost with them.
        Err(ErrorCode::InvalidTopicException)
    } else {
        broker.partition(topic, asked.partition_index).and_then(|partition| {
            partition.delete_records_before(asked.offset).map_err(|error| {
                broker.on_replica_error(&partition, &error);
                error.code()
            })
        })
    };
    match outcome {
        Ok(low_watermark) => DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark,
            ..Default::default()
        },
        Err(code) => DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: -1,
            error_code: code.code(),
        },
    }
}
