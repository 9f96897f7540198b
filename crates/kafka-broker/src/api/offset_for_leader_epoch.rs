//! OffsetForLeaderEpoch 0–4 (KIP-101, KIP-320): where a leader epoch ends in a partition's log.
//!
//! From version 2 on the client may say which epoch it believes to be current, and is fenced if it is wrong.

use std::sync::Arc;

use kafka_proto::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        partitions: topic
            .partitions
            .iter()
            .map(|partition| end_of_epoch(broker, &topic.topic, partition))
            .collect(),
        topic: topic.topic,
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn end_of_epoch(broker: &Broker, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = broker.partition(topic, asked.partition).and_then(|partition| {
        partition.epoch_end(asked.leader_epoch, asked.current_leader_epoch).map_err(|error| error.code())
    });
    match found {
        Ok(end) => EpochEndOffset {
            partition: asked.partition,
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
            ..Default::default()
        },
        Err(code) => EpochEndOffset {
            partition: asked.partition,
            error_code: code.code(),
            leader_epoch: -1,
            end_offset: -1,
        },
    }
}
