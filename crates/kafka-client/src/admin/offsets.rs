//! A group's committed offsets: read, set, delete.

use std::collections::BTreeMap;

use kafka_proto::ErrorCode;
use kafka_proto::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_proto::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_proto::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};

use super::PartitionName;
use crate::{ClientError, KafkaClient};

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub topic: String,
    pub partition: i32,
    /// -1: nothing is committed.
    pub offset: i64,
    /// -1 where it is not known.
    pub leader_epoch: i32,
    pub metadata: String,
    pub error: ErrorCode,
}

type ByTopic<T> = BTreeMap<String, Vec<(i32, T)>>;

fn by_topic<T: Copy>(partitions: impl IntoIterator<Item = (PartitionName, T)>) -> ByTopic<T> {
    let mut topics = ByTopic::new();
    for ((topic, partition), value) in partitions {
        topics.entry(topic).or_default().push((partition, value));
    }
    topics
}

impl KafkaClient {
    /// The committed offsets of a group, of some partitions or of all it has (`None`).
    pub async fn fetch_offsets(
        &self,
        group: &str,
        partitions: Option<&[PartitionName]>,
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let what = || format!("fetching the offsets of group {group}");
        let topics = partitions.map(|p| by_topic(p.iter().cloned().map(|name| (name, ()))));
        let mut offsets = self
            .retrying(what(), || async {
                let node = self.group_coordinator(group).await?;
                let request = |version| fetch_request(group, topics.as_ref(), version);
                let (version, response) = self.call_with(node, request).await?;
                let (code, offsets) = fetched(response, version);
                ClientError::check(code, None, what)?;
                Ok(offsets)
            })
            .await?;
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(offsets)
    }

    /// Sets the committed offsets of a group that has no members (as `--reset-offsets` does).
    /// The error of each partition is in the result.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &[(PartitionName, i64)],
    ) -> Result<Vec<(PartitionName, ErrorCode)>, ClientError> {
        let partition = |(partition_index, committed_offset)| OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_metadata: Some(String::new()),
            ..Default::default()
        };
        let topics = by_topic(offsets.iter().cloned()).into_iter();
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            topics: topics
                .map(|(name, partitions)| OffsetCommitRequestTopic {
                    name,
                    partitions: partitions.into_iter().map(partition).collect(),
                })
                .collect(),
            ..Default::default()
        };
        let what = format!("committing offsets of group {group}");
        let patience = super::Patience::new();
        self.retrying(&what, || async {
            let node = self.group_coordinator(group).await?;
            let response = self.call(node, &request).await?;
            let partitions = response.topics.iter().flat_map(|t| &t.partitions);
            patience.check(partitions.map(|p| p.error_code), &what)?;
            let mut out = Vec::new();
            for topic in &response.topics {
                for p in &topic.partitions {
                    let name = (topic.name.clone(), p.partition_index);
                    out.push((name, ErrorCode::from_code(p.error_code)));
                }
            }
            Ok(out)
        })
        .await
    }

    /// Forgets committed offsets of a group (`--delete-offsets`).
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[PartitionName],
    ) -> Result<Vec<(PartitionName, ErrorCode)>, ClientError> {
        let topics = by_topic(partitions.iter().cloned().map(|name| (name, ()))).into_iter();
        let partition = |(partition_index, ())| OffsetDeleteRequestPartition { partition_index };
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: topics
                .map(|(name, partitions)| OffsetDeleteRequestTopic {
                    name,
                    partitions: partitions.into_iter().map(partition).collect(),
                })
                .collect(),
        };
        let what = || format!("deleting offsets of group {group}");
        self.retrying(what(), || async {
            let node = self.group_coordinator(group).await?;
            let response = self.call(node, &request).await?;
            ClientError::check(response.error_code, None, what)?;
            let mut out = Vec::new();
            for topic in &response.topics {
                for p in &topic.partitions {
                    let name = (topic.name.clone(), p.partition_index);
                    out.push((name, ErrorCode::from_code(p.error_code)));
                }
            }
            Ok(out)
        })
        .await
    }
}

fn fetch_request(group: &str, topics: Option<&ByTopic<()>>, version: i16) -> OffsetFetchRequest {
    let indexes = |partitions: &Vec<(i32, ())>| partitions.iter().map(|p| p.0).collect();
    if version >= 8 {
        let topic = |(name, partitions): (&String, _)| OffsetFetchRequestTopics {
            name: name.clone(),
            partition_indexes: indexes(partitions),
        };
        let group = OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: topics.map(|topics| topics.iter().map(topic).collect()),
            ..Default::default()
        };
        return OffsetFetchRequest { groups: vec![group], ..Default::default() };
    }
    let topic = |(name, partitions): (&String, _)| OffsetFetchRequestTopic {
        name: name.clone(),
        partition_indexes: indexes(partitions),
    };
    OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

/// The error of the whole group, and the offsets, whichever half of the response holds them.
fn fetched(response: OffsetFetchResponse, version: i16) -> (i16, Vec<CommittedOffset>) {
    let mut out = Vec::new();
    let mut push = |topic: &str, partition, offset, epoch, metadata: Option<String>, code| {
        out.push(CommittedOffset {
            topic: topic.to_owned(),
            partition,
            offset,
            leader_epoch: epoch,
            metadata: metadata.unwrap_or_default(),
            error: ErrorCode::from_code(code),
        });
    };
    let mut code = response.error_code;
    if version >= 8 {
        for group in response.groups {
            code = group.error_code;
            for topic in group.topics {
                for p in topic.partitions {
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    let index = p.partition_index;
                    push(&topic.name, index, offset, epoch, p.metadata, p.error_code);
                }
            }
        }
    } else {
        for topic in response.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                let index = p.partition_index;
                push(&topic.name, index, offset, epoch, p.metadata, p.error_code);
            }
        }
    }
    (code, out)
}
