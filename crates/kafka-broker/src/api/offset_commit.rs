//! OffsetCommit 0–9: stores a group's offsets.
//!
//! * Version 0 writes znodes below `/consumers` (metadata checked, then dropped); 1 and later the offsets topic. Neither
//!   sees the other's.
//! * Version 1 may bring a commit time, 2–4 a retention of the client's own, 6 and later a leader epoch, 7 and later the
//!   name of a static member.
//! * Partitions that do not exist: UNKNOWN_TOPIC_OR_PARTITION, the rest is stored.

use std::sync::Arc;

use kafka_coordinator::{CommitRequest, MemberRef, OffsetToCommit};
use kafka_proto::ErrorCode;
use kafka_proto::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::groups::store_legacy_offset;

/// "The broker's retention", and "now".
const DEFAULT: i64 = -1;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut topics: Vec<OffsetCommitResponseTopic> = Vec::with_capacity(request.topics.len());
    let mut known = Vec::new();
    let mut places = Vec::new();
    let image = broker.image();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let partition_index = partition.partition_index;
            let mut row = OffsetCommitResponsePartition { partition_index, error_code: 0 };
            if image.partition(&topic.name, partition_index).is_none() {
                row.error_code = ErrorCode::UnknownTopicOrPartition.code();
            } else {
                places.push((topics.len(), partitions.len()));
                known.push(to_core(&topic.name, partition, request.retention_time_ms));
            }
            partitions.push(row);
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name, partitions });
    }
    drop(image);
    let outcomes = if known.is_empty() {
        Vec::new()
    } else if ctx.version == 0 {
        store_in_zookeeper(broker, &request.group_id, known).await
    } else {
        let member = MemberRef {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation_id: request.generation_id_or_member_epoch,
        };
        broker
            .groups
            .commit(broker, CommitRequest { group_id: request.group_id, member, offsets: known })
            .await
    };
    for ((topic, partition), outcome) in places.into_iter().zip(outcomes) {
        topics[topic].partitions[partition].error_code = outcome.err().map_or(0, ErrorCode::code);
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

fn to_core(topic: &str, partition: OffsetCommitRequestPartition, retention_ms: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: topic.to_owned(),
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp_ms: Some(partition.commit_timestamp).filter(|ms| *ms != DEFAULT),
        retention_ms: Some(retention_ms).filter(|ms| *ms != DEFAULT),
    }
}

async fn store_in_zookeeper(
    broker: &Broker,
    group_id: &str,
    offsets: Vec<OffsetToCommit>,
) -> Vec<Result<(), ErrorCode>> {
    let zk = broker.zk();
    let mut outcomes = Vec::with_capacity(offsets.len());
    for offset in offsets {
        let is_too_long =
            offset.metadata.encode_utf16().count() > broker.config.groups.offset_metadata_bytes_max;
        outcomes.push(match is_too_long {
            true => Err(ErrorCode::OffsetMetadataTooLarge),
            false => store_legacy_offset(&zk, group_id, &offset.topic, offset.partition, offset.offset).await,
        });
    }
    outcomes
}
