//! The znodes a broker of ZooKeeper mode reads and writes: their paths and their data (`ZkData.scala`).
//!
//! Written with the fields in the order Kafka's own encoder happens to put them, read leniently: unknown fields are
//! ignored, fields of later versions may be missing. Keys of a topic's partitions are written in numeric order (Kafka:
//! in hash order). Nothing here talks to ZooKeeper.

mod broker;
mod cluster;
mod config;
mod partition;
mod topic;

pub use broker::{BrokerRegistration, Endpoint};
pub use cluster::{
    ControllerRegistration, FeatureNode, ProducerIdBlock, cluster_id_decode, cluster_id_encode,
    controller_epoch_decode, controller_epoch_encode,
};
pub use config::{ConfigChange, config_decode, config_encode, desanitize, sanitize};
pub use partition::PartitionState;
pub use topic::{ReplicaAssignment, TopicAssignment, uuid_decode, uuid_encode};

use thiserror::Error;

/// Data of a znode that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} znode holds unreadable data: {detail}")]
pub struct ZkDataError {
    /// Which kind of znode.
    pub what: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

impl ZkDataError {
    pub(crate) fn new(what: &'static str, detail: impl ToString) -> ZkDataError {
        ZkDataError { what, detail: detail.to_string() }
    }
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs and string-keyed maps have a JSON form")
}

fn parse<'a, T: serde::Deserialize<'a>>(what: &'static str, data: &'a [u8]) -> Result<T, ZkDataError> {
    serde_json::from_slice(data).map_err(|e| ZkDataError::new(what, e))
}

/// Paths, all relative to the chroot.
pub mod path {
    /// The active controller, ephemeral.
    pub const CONTROLLER: &str = "/controller";
    /// Epoch of the active controller; every controller write checks its version.
    pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
    /// Registered brokers.
    pub const BROKER_IDS: &str = "/brokers/ids";
    /// Topics.
    pub const TOPICS: &str = "/brokers/topics";
    /// Counter behind automatic broker ids.
    pub const BROKER_SEQID: &str = "/brokers/seqid";
    /// Topics to be deleted.
    pub const DELETE_TOPICS: &str = "/admin/delete_topics";
    /// Notifications of changed configurations.
    pub const CONFIG_CHANGES: &str = "/config/changes";
    /// Path with prefix for creating a sequential config change.
    pub const CONFIG_CHANGE_PREFIX: &str = "/config/changes/config_change_";
    /// ISR changes by leaders of IBP below 2.7-IV2.
    pub const ISR_CHANGES: &str = "/isr_change_notification";
    /// Failed log directories.
    pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
    /// Last block of producer ids handed out.
    pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
    /// Cluster id.
    pub const CLUSTER_ID: &str = "/cluster/id";
    /// Finalized features (KIP-584).
    pub const FEATURE: &str = "/feature";
    /// Offsets of old consumers (OffsetCommit v0).
    pub const CONSUMERS: &str = "/consumers";

    /// Paths that every broker creates at start if they are missing, parents included (`ZkData.PersistentZkPaths`).
    pub const PERSISTENT: [&str; 13] = [
        CONSUMERS,
        BROKER_IDS,
        TOPICS,
        CONFIG_CHANGES,
        DELETE_TOPICS,
        BROKER_SEQID,
        ISR_CHANGES,
        PRODUCER_ID_BLOCK,
        LOG_DIR_EVENTS,
        "/config/topics",
        "/config/clients",
        "/config/users",
        "/config/brokers",
    ];

    /// `/config/ips`, which 2.8 and later create too.
    pub const CONFIG_IPS: &str = "/config/ips";

    /// Registration of a broker.
    pub fn broker(id: i32) -> String {
        format!("{BROKER_IDS}/{id}")
    }
    /// Assignment of a topic.
    pub fn topic(name: &str) -> String {
        format!("{TOPICS}/{name}")
    }
    /// Parent of a topic's partitions.
    pub fn partitions(topic: &str) -> String {
        format!("{TOPICS}/{topic}/partitions")
    }
    /// One partition.
    pub fn partition(topic: &str, partition: i32) -> String {
        format!("{TOPICS}/{topic}/partitions/{partition}")
    }
    /// Leader and ISR of one partition.
    pub fn partition_state(topic: &str, partition: i32) -> String {
        format!("{TOPICS}/{topic}/partitions/{partition}/state")
    }
    /// A request to delete a topic.
    pub fn delete_topic(topic: &str) -> String {
        format!("{DELETE_TOPICS}/{topic}")
    }
    /// Configuration of an entity: `kind` is `topics`, `brokers`, `clients`, `users` or `ips`, `name` sanitised.
    pub fn config(kind: &str, name: &str) -> String {
        format!("/config/{kind}/{name}")
    }
    /// Offset of an old consumer.
    pub fn consumer_offset(group: &str, topic: &str, partition: i32) -> String {
        format!("{CONSUMERS}/{group}/offsets/{topic}/{partition}")
    }
}

#[cfg(test)]
#[path = "golden_tests.rs"]
mod tests;
