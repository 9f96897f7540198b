//! The broker's shared state: what every API handler reaches through one `Arc`.
//!
//! Lock order, where two are taken: registry of partitions → partition role → log. None is held across an await.

use std::sync::Arc;

use arc_swap::ArcSwap;
use kafka_log::LogDirs;
use kafka_proto::error::ErrorCode;
use kafka_replica::{Partition, ReplicaError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, error};
use zk_client::ZkClient;

use crate::clock;
use crate::config::Config;
use crate::fetch_session::FetchSessions;
use crate::groups::Groups;
use crate::image::MetadataImage;
use crate::net::limits::Connections;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::tasks::Tasks;
use crate::topics::TopicsRefused;

/// Everything the broker is.
#[derive(Debug)]
pub struct Broker {
    pub id: i32,
    /// 22 characters of base64.
    pub cluster_id: String,
    pub config: Config,
    pub logs: Arc<LogDirs>,
    /// The replicas this broker hosts.
    pub partitions: Partitions,
    pub connections: Arc<Connections>,
    pub fetch_sessions: FetchSessions,
    pub groups: Groups,
    pub producer_ids: ProducerIds,
    /// Topics that could not be created, and when that was last said.
    pub topics_refused: TopicsRefused,
    /// Tasks to stop and wait for at the end.
    pub tasks: Tasks,
    image: ArcSwap<MetadataImage>,
    /// Serialises writers of the image; readers never wait.
    image_writer: Mutex<()>,
    image_version: watch::Sender<u64>,
    zk: ArcSwap<ZkClient>,
}

impl Broker {
    pub fn new(id: i32, cluster_id: String, config: Config, logs: Arc<LogDirs>, zk: ZkClient) -> Self {
        Self {
            id,
            cluster_id,
            logs,
            partitions: Partitions::default(),
            connections: Arc::new(Connections::new(&config.network)),
            fetch_sessions: FetchSessions::new(config.fetch_sessions_max),
            groups: Groups::new(&config),
            producer_ids: ProducerIds::default(),
            topics_refused: TopicsRefused::default(),
            tasks: Tasks::default(),
            image: ArcSwap::from_pointee(MetadataImage::default()),
            image_writer: Mutex::new(()),
            image_version: watch::Sender::new(0),
            zk: ArcSwap::from_pointee(zk),
            config,
        }
    }

    /// The current image. Keep it for one request, not longer.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Replaces the image by what `change` makes of a copy, and tells those who wait for it.
    pub fn update_image(&self, change: impl FnOnce(&mut MetadataImage)) {
        let writer = self.image_writer.lock();
        let mut image = MetadataImage::clone(&self.image.load());
        change(&mut image);
        self.image.store(Arc::new(image));
        drop(writer);
        self.image_version.send_modify(|version| *version += 1);
    }

    /// Waits until the image satisfies `condition`; false if `deadline` comes first.
    pub async fn wait_for_image(
        &self,
        deadline: tokio::time::Instant,
        condition: impl Fn(&MetadataImage) -> bool,
    ) -> bool {
        let mut versions = self.image_version.subscribe();
        loop {
            if condition(&self.image.load()) {
                return true;
            }
            match tokio::time::timeout_at(deadline, versions.changed()).await {
                Ok(Ok(())) => {}
                _ => return condition(&self.image.load()),
            }
        }
    }

    /// Whether this broker is the controller, as far as it knows.
    pub fn is_controller(&self) -> bool {
        self.image.load().controller_id == Some(self.id)
    }

    /// The session with ZooKeeper; a new one after an expiry.
    pub fn zk(&self) -> ZkClient {
        ZkClient::clone(&self.zk.load())
    }

    pub(crate) fn set_zk(&self, zk: ZkClient) {
        self.zk.store(Arc::new(zk));
    }

    /// The replica of a partition here, or what to answer without one.
    pub fn partition(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        if let Some(partition) = self.partitions.get(topic, index) {
            return Ok(partition);
        }
        match self.image.load().partition(topic, index) {
            Some(_) => Err(ErrorCode::NotLeaderOrFollower),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Logs what an operator must know of a refused operation; what clients do wrong is theirs to read in the reply.
    pub fn on_replica_error(&self, partition: &Partition, error: &ReplicaError) {
        match error {
            ReplicaError::Log(log) if log.is_disk_failure() => {
                error!(
                    "{}: {log}; the partition is offline until the disk is repaired and the broker restarted",
                    partition.name()
                );
            }
            other => debug!("{}: {other}", partition.name()),
        }
    }

    /// Syncs a partition's log before its append is acknowledged (`flush.messages`).
    pub async fn flush_now(&self, partition: &Arc<Partition>) {
        let partition = partition.clone();
        // A panic in there has its own line; the append stands unsynced, as after a failed flush.
        let _ = tokio::task::spawn_blocking(move || flush(&partition)).await;
    }

    /// Syncs a finished segment in the background.
    pub fn flush_soon(&self, partition: &Arc<Partition>) {
        let partition = partition.clone();
        tokio::task::spawn_blocking(move || flush(&partition));
    }
}

/// Syncs without holding the log's lock.
fn flush(partition: &Partition) {
    let now_ms = clock::wall_ms();
    let job = {
        let mut log = partition.log().lock();
        let end = log.log_end_offset();
        log.prepare_flush(end)
    };
    let outcome = match job {
        Ok(Some(job)) => {
            let done = job.run();
            partition.log().lock().complete_flush(done, now_ms)
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        error!("{}: cannot flush: {error}", partition.name());
    }
}
