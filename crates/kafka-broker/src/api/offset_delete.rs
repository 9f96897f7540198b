//! OffsetDelete 0 (KIP-496): some of a group's offsets.
//!
//! While consumers are in the group, only those of topics none of them reads (GROUP_SUBSCRIBED_TO_TOPIC). Partitions that do
//! not exist: UNKNOWN_TOPIC_OR_PARTITION. A group's error leaves no room for partitions.

use std::sync::Arc;

use kafka_proto::ErrorCode;
use kafka_proto::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::groups::Topics;

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut known: Topics = Vec::new();
    let mut places = Vec::new();
    let image = broker.image();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        let mut existing = Vec::new();
        for partition in topic.partitions {
            let partition_index = partition.partition_index;
            let mut row = OffsetDeleteResponsePartition { partition_index, error_code: 0 };
            if image.partition(&topic.name, partition_index).is_none() {
                row.error_code = ErrorCode::UnknownTopicOrPartition.code();
            } else {
                places.push((topics.len(), partitions.len()));
                existing.push(partition_index);
            }
            partitions.push(row);
        }
        known.push((topic.name.clone(), existing));
        topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions });
    }
    drop(image);
    // Asked even with nothing to delete: the group may have an error to tell.
    match broker.groups.delete_offsets(broker, &request.group_id, &known).await {
        Ok(outcomes) => {
            for ((topic, partition), outcome) in places.into_iter().zip(outcomes) {
                topics[topic].partitions[partition].error_code = outcome.err().map_or(0, ErrorCode::code);
            }
            OffsetDeleteResponse { topics, ..Default::default() }
        }
        Err(error) => OffsetDeleteResponse { error_code: error.code(), ..Default::default() },
    }
}
