//! Consumer groups: which partitions of `__consumer_offsets` this broker coordinates, and the way of a
//! request to the group's shard and back.
//!
//! The decisions are `kafka-coordinator`'s. Here: loading, appending, waiting, timers. A partition's
//! shard sits behind one short lock; its effects run under it, so that records stand in the log in the
//! order they were decided.

mod led;
mod load;
mod topic;
mod zookeeper;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kafka_coordinator::{
    CommitRequest, FetchedOffset, GroupConfig, GroupOp, GroupOverview, GroupSummary, JoinReply, JoinRequest,
    LeavingMember, MemberRef, Reply, ShardStatus, SyncReply, SyncRequest, admit, partition_for,
};
use kafka_proto::ErrorCode;
use kafka_proto::records::Compression;
use kafka_replica::Partition;
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use crate::broker::Broker;
use crate::config::Config;
use crate::image::Map;

use led::Led;
use topic::Creation;
pub use zookeeper::{fetch_legacy_offset, store_legacy_offset};

/// The topic that holds groups and offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Partitions loaded at a time: loading reads whole logs and must not starve the requests.
const LOADS_AT_A_TIME: usize = 2;

/// Topics, each with partitions, as requests list them.
pub type Topics = Vec<(String, Vec<i32>)>;

/// What the coordination of a partition needs to know, once and for all.
#[derive(Debug)]
struct Settings {
    group: Arc<GroupConfig>,
    compression: Compression,
    commit_timeout: Duration,
    load_buffer_bytes: usize,
}

/// The groups coordinated by this broker.
#[derive(Debug)]
pub struct Groups {
    settings: Arc<Settings>,
    topic_partitions: i32,
    led: RwLock<Map<i32, Arc<Led>>>,
    loads: Arc<Semaphore>,
    creation: Creation,
}

impl Groups {
    pub fn new(config: &Config) -> Self {
        let groups = &config.groups;
        let group = GroupConfig {
            session_timeout_min_ms: groups.min_session_timeout_ms,
            session_timeout_max_ms: groups.max_session_timeout_ms,
            group_size_max: groups.max_size,
            initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
            offset_metadata_max: groups.offset_metadata_bytes_max,
            offsets_retention_ms: groups.offsets_retention_ms,
            offsets_retention_check_interval_ms: i64::try_from(groups.offsets_retention_check_ms)
                .unwrap_or(i64::MAX),
        };
        let codec =
            i16::try_from(groups.offsets_topic_compression_codec).ok().and_then(Compression::from_attributes);
        let settings = Settings {
            group: Arc::new(group),
            compression: codec.unwrap_or(Compression::None),
            commit_timeout: Duration::from_millis(groups.offsets_commit_timeout_ms),
            load_buffer_bytes: groups.offsets_load_buffer_bytes,
        };
        Self {
            settings: Arc::new(settings),
            topic_partitions: groups.offsets_topic_partitions,
            led: RwLock::default(),
            loads: Arc::new(Semaphore::new(LOADS_AT_A_TIME)),
            creation: Creation::default(),
        }
    }

    /// The partition of `__consumer_offsets` that holds a group. Until the topic exists its configured
    /// number of partitions counts.
    pub fn partition_of(&self, broker: &Broker, group_id: &str) -> i32 {
        let image = broker.image();
        let existing =
            image.topic(OFFSETS_TOPIC).and_then(|topic| i32::try_from(topic.partitions.len()).ok());
        partition_for(group_id, existing.unwrap_or(self.topic_partitions).max(1))
    }

    /// Whether `__consumer_offsets` exists, after creating it if need be.
    pub async fn ensure_topic(&self, broker: &Arc<Broker>) -> bool {
        self.creation.ensure(broker).await
    }

    /// This broker leads a partition of `__consumer_offsets` now: its groups are loaded in the
    /// background. A new epoch of a partition that is led already changes nothing. Does not block.
    pub fn on_leader(&self, broker: &Arc<Broker>, partition: &Arc<Partition>, leader_epoch: i32) {
        let index = partition.index();
        let mut led = self.led.write();
        if led.contains_key(&index) {
            return;
        }
        tracing::debug!("{}: coordinating its groups from leader epoch {leader_epoch} on", partition.name());
        let fresh = Led::new(Arc::downgrade(broker), partition.clone(), self.settings.clone());
        led.insert(index, fresh.clone());
        drop(led);
        fresh.start(self.loads.clone());
    }

    /// This broker does not lead the partition any more: its clients are sent to look for the new one. Does not block.
    pub fn on_resigned(&self, _broker: &Arc<Broker>, partition: &Arc<Partition>) {
        let led = self.led.write().remove(&partition.index());
        if let Some(led) = led {
            led.close();
        }
    }

    /// Topics (or some of their partitions) were deleted: their offsets go too.
    pub fn on_partitions_deleted(&self, topics: &Topics) {
        for led in self.all() {
            let _ = led.act(|shard, now, effects| shard.on_partitions_deleted(now, topics, effects));
        }
    }

    fn all(&self) -> Vec<Arc<Led>> {
        let mut all: Vec<Arc<Led>> = self.led.read().values().cloned().collect();
        all.sort_by_key(|led| led.index());
        all
    }

    /// The shard of a group, if the operation may reach it.
    fn find(&self, broker: &Broker, group_id: &str, op: GroupOp) -> Result<Arc<Led>, ErrorCode> {
        let index = self.partition_of(broker, group_id);
        let led = self.led.read().get(&index).cloned();
        let status = led.as_ref().map_or(ShardStatus::Elsewhere, |led| led.status());
        admit(group_id, op, status)?;
        led.ok_or(ErrorCode::NotCoordinator)
    }

    pub async fn join(&self, broker: &Broker, request: JoinRequest) -> JoinReply {
        let member_id = request.member_id.clone();
        let submitted = self.find(broker, &request.group_id, GroupOp::Join).and_then(|led| {
            led.submit(|shard, now, token, effects| shard.join(now, token, request, effects))
        });
        match settle(submitted).await {
            Ok(Reply::Join(reply)) => reply,
            other => JoinReply::refused(member_id, unexpected(other)),
        }
    }

    pub async fn sync(&self, broker: &Broker, request: SyncRequest) -> SyncReply {
        let submitted = self.find(broker, &request.group_id, GroupOp::Sync).and_then(|led| {
            led.submit(|shard, now, token, effects| shard.sync(now, token, request, effects))
        });
        match settle(submitted).await {
            Ok(Reply::Sync(reply)) => reply,
            other => SyncReply::refused(unexpected(other)),
        }
    }

    pub fn heartbeat(&self, broker: &Broker, group_id: &str, member: &MemberRef) -> Result<(), ErrorCode> {
        match self.find(broker, group_id, GroupOp::Heartbeat) {
            Ok(led) => led.act(|shard, now, effects| shard.heartbeat(now, group_id, member, effects))?,
            // Members keep their place while their group is loaded.
            Err(ErrorCode::CoordinatorLoadInProgress) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub fn leave(
        &self,
        broker: &Broker,
        group_id: &str,
        leaving: &[LeavingMember],
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let led = self.find(broker, group_id, GroupOp::Leave)?;
        led.act(|shard, now, effects| shard.leave(now, group_id, leaving, effects))?
    }

    /// One outcome for each offset, in order.
    pub async fn commit(&self, broker: &Broker, request: CommitRequest) -> Vec<Result<(), ErrorCode>> {
        let count = request.offsets.len();
        let submitted = self.find(broker, &request.group_id, GroupOp::Commit).and_then(|led| {
            led.submit(|shard, now, token, effects| shard.commit(now, token, request, effects))
        });
        match settle(submitted).await {
            Ok(Reply::Commit(outcomes)) => outcomes,
            other => vec![Err(unexpected(other)); count],
        }
    }

    /// `topics` of `None`: everything committed.
    pub fn fetch_offsets(
        &self,
        broker: &Broker,
        group_id: &str,
        topics: Option<&Topics>,
        require_stable: bool,
    ) -> Result<Vec<(String, Vec<FetchedOffset>)>, ErrorCode> {
        let led = self.find(broker, group_id, GroupOp::Fetch)?;
        led.read(|shard| shard.fetch_offsets(group_id, topics.map(Vec::as_slice), require_stable))
    }

    pub fn describe(&self, broker: &Broker, group_id: &str) -> Result<GroupSummary, ErrorCode> {
        let led = self.find(broker, group_id, GroupOp::Describe)?;
        led.read(|shard| shard.describe(group_id))
    }

    /// Every group coordinated here; and whether some partition is still being loaded.
    pub fn list(&self) -> (Vec<GroupOverview>, bool) {
        let mut groups = Vec::new();
        let mut loading = false;
        for led in self.all() {
            match led.read(|shard| groups.extend(shard.list())) {
                Ok(()) => {}
                Err(error) => loading |= error == ErrorCode::CoordinatorLoadInProgress,
            }
        }
        (groups, loading)
    }

    pub async fn delete_group(&self, broker: &Broker, group_id: &str) -> Result<(), ErrorCode> {
        let led = self.find(broker, group_id, GroupOp::Delete)?;
        let submitted =
            led.submit(|shard, now, token, effects| shard.delete_group(now, token, group_id, effects));
        match settle(submitted).await {
            Ok(Reply::DeleteGroup(outcome)) => outcome,
            other => Err(unexpected(other)),
        }
    }

    /// One outcome for each partition, in order.
    pub async fn delete_offsets(
        &self,
        broker: &Broker,
        group_id: &str,
        topics: &Topics,
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let led = self.find(broker, group_id, GroupOp::DeleteOffsets)?;
        let submitted = led
            .submit(|shard, now, token, effects| shard.delete_offsets(now, token, group_id, topics, effects));
        match settle(submitted).await {
            Ok(Reply::DeleteOffsets(outcome)) => outcome,
            other => Err(unexpected(other)),
        }
    }
}

type Submitted = Result<tokio::sync::oneshot::Receiver<Reply>, ErrorCode>;

/// A reply whose sender is gone belongs to a shard that was closed.
async fn settle(submitted: Submitted) -> Result<Reply, ErrorCode> {
    submitted?.await.map_err(|_| ErrorCode::NotCoordinator)
}

/// The error in place of the reply that was asked for.
fn unexpected(outcome: Result<Reply, ErrorCode>) -> ErrorCode {
    outcome.err().unwrap_or(ErrorCode::UnknownServerError)
}
