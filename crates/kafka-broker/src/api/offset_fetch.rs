//! OffsetFetch 0–9: the offsets a group has stored.
//!
//! * Version 0 reads znodes below `/consumers`; what is missing there is UNKNOWN_TOPIC_OR_PARTITION. From 1 on the offsets
//!   topic, where a missing offset is −1 without an error, also of partitions that do not exist.
//! * From 2 on null topics ask for everything, and a group's error has a field of its own; in 1 it stands in each partition.
//! * From 7 on `require_stable` refuses offsets that are about to change (KIP-447); from 8 on several groups (KIP-709).

use std::sync::Arc;

use kafka_coordinator::FetchedOffset;
use kafka_proto::ErrorCode;
use kafka_proto::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::groups::{Topics, fetch_legacy_offset};

const NO_OFFSET: i64 = -1;
const NO_EPOCH: i32 = -1;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if ctx.version >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            let topics = group
                .topics
                .map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
            fetch_group(broker, group.group_id, topics, request.require_stable)
        });
        return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
    }
    let topics = request.topics.map(topics_of);
    match ctx.version {
        0 => fetch_from_zookeeper(broker, &request.group_id, topics.unwrap_or_default()).await,
        1 => fetch_old(broker, &request.group_id, topics.unwrap_or_default()),
        _ => {
            let group = fetch_group(broker, request.group_id, topics, request.require_stable);
            let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
                name: topic.name,
                partitions: topic.partitions.into_iter().map(single).collect(),
            });
            OffsetFetchResponse {
                topics: topics.collect(),
                error_code: group.error_code,
                ..Default::default()
            }
        }
    }
}

fn topics_of(topics: Vec<OffsetFetchRequestTopic>) -> Topics {
    topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
}

fn fetch_group(
    broker: &Broker,
    group_id: String,
    topics: Option<Topics>,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    match broker.groups.fetch_offsets(broker, &group_id, topics.as_ref(), require_stable) {
        Ok(fetched) => {
            let topics = fetched.into_iter().map(|(name, offsets)| OffsetFetchResponseTopics {
                name,
                partitions: offsets.into_iter().map(row).collect(),
            });
            OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code: 0 }
        }
        Err(error) => OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code: error.code() },
    }
}

fn row(fetched: FetchedOffset) -> OffsetFetchResponsePartitions {
    let mut row = OffsetFetchResponsePartitions {
        partition_index: fetched.partition,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: NO_EPOCH,
        metadata: Some(String::new()),
        error_code: 0,
    };
    match fetched.committed {
        Ok(Some(committed)) => {
            row.committed_offset = committed.offset;
            row.committed_leader_epoch = committed.leader_epoch;
            row.metadata = Some(committed.metadata);
        }
        Ok(None) => {}
        Err(error) => row.error_code = error.code(),
    }
    row
}

fn single(row: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: row.partition_index,
        committed_offset: row.committed_offset,
        committed_leader_epoch: row.committed_leader_epoch,
        metadata: row.metadata,
        error_code: row.error_code,
    }
}

fn none(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: NO_EPOCH,
        metadata: Some(String::new()),
        error_code: error.code(),
    }
}

/// Version 1 has no place for a group's error but its partitions.
fn fetch_old(broker: &Broker, group_id: &str, asked: Topics) -> OffsetFetchResponse {
    let topics = match broker.groups.fetch_offsets(broker, group_id, Some(&asked), false) {
        Ok(fetched) => fetched
            .into_iter()
            .map(|(name, offsets)| OffsetFetchResponseTopic {
                name,
                partitions: offsets.into_iter().map(|o| single(row(o))).collect(),
            })
            .collect(),
        Err(error) => asked
            .into_iter()
            .map(|(name, partitions)| OffsetFetchResponseTopic {
                name,
                partitions: partitions.into_iter().map(|p| none(p, error)).collect(),
            })
            .collect(),
    };
    OffsetFetchResponse { topics, ..Default::default() }
}

async fn fetch_from_zookeeper(broker: &Broker, group_id: &str, asked: Topics) -> OffsetFetchResponse {
    let zk = broker.zk();
    let mut topics = Vec::with_capacity(asked.len());
    for (name, indexes) in asked {
        let mut partitions = Vec::with_capacity(indexes.len());
        for index in indexes {
            let exists = broker.image().partition(&name, index).is_some();
            let fetched =
                if exists { fetch_legacy_offset(&zk, group_id, &name, index).await } else { Ok(None) };
            partitions.push(match fetched {
                Ok(Some(offset)) => {
                    OffsetFetchResponsePartition { committed_offset: offset, ..none(index, ErrorCode::None) }
                }
                Ok(None) => none(index, ErrorCode::UnknownTopicOrPartition),
                Err(error) => none(index, error),
            });
        }
        topics.push(OffsetFetchResponseTopic { name, partitions });
    }
    OffsetFetchResponse { topics, ..Default::default() }
}
