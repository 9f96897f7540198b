//! What only the leader of a partition can answer: offsets by time, deleting records.

use std::collections::{BTreeMap, HashMap};

use kafka_proto::ErrorCode;
use kafka_proto::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_proto::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};

use super::Patience;
use crate::{ClientError, KafkaClient, Node};

/// A topic and one of its partitions.
pub type PartitionName = (String, i32);

/// The answer for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedOffset {
    pub topic: String,
    pub partition: i32,
    /// -1 where no record is that young.
    pub offset: i64,
    /// Of the record found; -1 for the ends of the log.
    pub timestamp: i64,
    pub error: ErrorCode,
}

/// The answer for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRecords {
    pub topic: String,
    pub partition: i32,
    /// First offset that is left; -1 with an error.
    pub low_watermark: i64,
    pub error: ErrorCode,
}

/// Partitions by their leader, and those that have none.
struct ByLeader<T> {
    leaders: BTreeMap<i32, BTreeMap<String, Vec<(i32, T)>>>,
    leaderless: Vec<(PartitionName, ErrorCode)>,
}

impl KafkaClient {
    /// The offset of the first record at or after `timestamp` ms in each partition; -1 asks for the end, -2 for
    /// the beginning of the log.
    pub async fn list_offsets(
        &self,
        partitions: &[PartitionName],
        timestamp: i64,
    ) -> Result<Vec<ListedOffset>, ClientError> {
        let wanted: Vec<_> = partitions.iter().map(|p| (p.clone(), timestamp)).collect();
        let what = "listing offsets";
        let patience = Patience::new();
        self.retrying(what, || async {
            let offsets = self.list_offsets_once(&wanted).await?;
            patience.check(offsets.iter().map(|o| o.error.code()), what)?;
            Ok(offsets)
        })
        .await
    }

    async fn list_offsets_once(
        &self,
        wanted: &[(PartitionName, i64)],
    ) -> Result<Vec<ListedOffset>, ClientError> {
        let split = self.by_leader(wanted).await?;
        let leaderless = split.leaderless.into_iter();
        let mut out: Vec<ListedOffset> = leaderless
            .map(|((topic, partition), error)| ListedOffset {
                topic,
                partition,
                offset: -1,
                timestamp: -1,
                error,
            })
            .collect();
        for (leader, topics) in split.leaders {
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: topics.into_iter().map(list_topic).collect(),
                ..Default::default()
            };
            let response = self.call(Node::Id(leader), &request).await?;
            for topic in response.topics {
                let found = topic.partitions.iter();
                out.extend(found.map(|p| listed(&topic.name, p)));
            }
        }
        Ok(out)
    }

    /// Deletes the records before an offset in each partition; -1 means up to the high watermark.
    pub async fn delete_records(
        &self,
        before: &[(PartitionName, i64)],
    ) -> Result<Vec<DeletedRecords>, ClientError> {
        let what = "deleting records";
        let patience = Patience::new();
        self.retrying(what, || async {
            let deleted = self.delete_records_once(before).await?;
            patience.check(deleted.iter().map(|d| d.error.code()), what)?;
            Ok(deleted)
        })
        .await
    }

    async fn delete_records_once(
        &self,
        before: &[(PartitionName, i64)],
    ) -> Result<Vec<DeletedRecords>, ClientError> {
        let split = self.by_leader(before).await?;
        let leaderless = split.leaderless.into_iter();
        let mut out: Vec<DeletedRecords> = leaderless
            .map(|((topic, partition), error)| DeletedRecords { topic, partition, low_watermark: -1, error })
            .collect();
        for (leader, topics) in split.leaders {
            let request = DeleteRecordsRequest {
                topics: topics.into_iter().map(delete_topic).collect(),
                timeout_ms: self.timeout_ms(),
            };
            let response = self.call(Node::Id(leader), &request).await?;
            for topic in response.topics {
                out.extend(topic.partitions.iter().map(|p| DeletedRecords {
                    topic: topic.name.clone(),
                    partition: p.partition_index,
                    low_watermark: p.low_watermark,
                    error: ErrorCode::from_code(p.error_code),
                }));
            }
        }
        Ok(out)
    }

    async fn by_leader<T: Copy>(&self, wanted: &[(PartitionName, T)]) -> Result<ByLeader<T>, ClientError> {
        let mut names: Vec<String> = wanted.iter().map(|((topic, _), _)| topic.clone()).collect();
        names.sort();
        names.dedup();
        let metadata = self.metadata(Some(&names)).await?;
        let mut leaders = HashMap::new();
        for topic in &metadata.topics {
            for p in &topic.partitions {
                let name = topic.name.clone().unwrap_or_default();
                leaders.insert((name, p.partition_index), p.leader_id);
            }
        }
        let mut split = ByLeader { leaders: BTreeMap::new(), leaderless: Vec::new() };
        for (name, value) in wanted {
            match leaders.get(name) {
                Some(leader) if *leader >= 0 => {
                    let topics = split.leaders.entry(*leader).or_default();
                    let partitions = topics.entry(name.0.clone()).or_default();
                    partitions.push((name.1, *value));
                }
                Some(_) => {
                    let error = ErrorCode::LeaderNotAvailable;
                    split.leaderless.push((name.clone(), error));
                }
                None => {
                    let error = ErrorCode::UnknownTopicOrPartition;
                    split.leaderless.push((name.clone(), error));
                }
            }
        }
        Ok(split)
    }
}

fn list_topic((name, partitions): (String, Vec<(i32, i64)>)) -> ListOffsetsTopic {
    let partition = |(partition_index, timestamp)| ListOffsetsPartition {
        partition_index,
        timestamp,
        ..Default::default()
    };
    ListOffsetsTopic { name, partitions: partitions.into_iter().map(partition).collect() }
}

fn listed(topic: &str, p: &ListOffsetsPartitionResponse) -> ListedOffset {
    ListedOffset {
        topic: topic.to_owned(),
        partition: p.partition_index,
        // Version 0 answers with a list, newest first.
        offset: p.old_style_offsets.first().copied().unwrap_or(p.offset),
        timestamp: p.timestamp,
        error: ErrorCode::from_code(p.error_code),
    }
}

fn delete_topic((name, partitions): (String, Vec<(i32, i64)>)) -> DeleteRecordsTopic {
    let partition = |(partition_index, offset)| DeleteRecordsPartition { partition_index, offset };
    DeleteRecordsTopic { name, partitions: partitions.into_iter().map(partition).collect() }
}
