//! Creating topics: names, placement, and the two znodes that make one.
//!
//! Whoever creates a topic writes `/config/topics/<t>` first and `/brokers/topics/<t>` second, in two writes as Kafka
//! does; the controller sees the second and does the rest. Used by auto-creation, CreateTopics and the group coordinator.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_controller::assignment::{
    AssignmentError, BrokerMetadata, RackAwareMode, assign_replicas, brokers_for,
};
use kafka_controller::names::{TopicNameError, check_topic_name, is_internal_topic, topic_names_collide};
use kafka_controller::zkdata::{TopicAssignment, path};
use kafka_proto::error::ErrorCode;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};
use zk_client::{CreateMode, ErrorCode as ZkCode, ZkError, open_acl};

use crate::broker::Broker;
use crate::clock;
use crate::config::Release;
use crate::image::{MetadataImage, NO_LEADER};
use crate::topic_configs;

/// How long an auto-creating request waits for leaders before it answers with what there is.
const AUTO_CREATE_WAIT: Duration = Duration::from_millis(2000);
const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";

/// `Topic.validate`.
pub fn validate_name(name: &str) -> Result<(), TopicNameError> {
    check_topic_name(name)
}

/// `Topic.isInternal`.
pub fn is_internal(name: &str) -> bool {
    is_internal_topic(name)
}

/// A topic to be.
#[derive(Debug, Clone)]
pub struct NewTopic {
    pub name: String,
    /// Replicas of partition 0, 1, …
    pub assignment: Vec<Vec<i32>>,
    pub configs: BTreeMap<String, String>,
}

/// Why a topic was not created.
#[derive(Debug, Error)]
pub enum CreateTopicError {
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    #[error("Topic name is invalid: {0}")]
    Name(#[from] TopicNameError),
    #[error("Topic '{name}' collides with existing topics: {other}")]
    Collides { name: String, other: String },
    #[error("{0}")]
    Assignment(#[from] AssignmentError),
    #[error("{0}")]
    Config(#[from] kafka_log::ConfigError),
    #[error("ZooKeeper refused: {0}")]
    ZooKeeper(#[from] ZkError),
}

impl CreateTopicError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Exists(_) => ErrorCode::TopicAlreadyExists,
            Self::Name(_) | Self::Collides { .. } => ErrorCode::InvalidTopicException,
            Self::Assignment(error) => ErrorCode::from_code(error.error_code()),
            Self::Config(_) => ErrorCode::InvalidConfig,
            Self::ZooKeeper(_) => ErrorCode::UnknownServerError,
        }
    }
}

/// Places `partitions` × `replication_factor` replicas on the live brokers.
pub fn place(
    broker: &Broker,
    partitions: i32,
    replication_factor: i16,
) -> Result<Vec<Vec<i32>>, AssignmentError> {
    let image = broker.image();
    let live = image.brokers.values().map(|b| BrokerMetadata { id: b.id, rack: b.rack.clone() }).collect();
    let live = brokers_for(live, RackAwareMode::Safe)?;
    let count = |n: i64| usize::try_from(n).unwrap_or(0);
    assign_replicas(
        &live,
        count(partitions.into()),
        count(replication_factor.into()),
        &mut fastrand::Rng::new(),
    )
}

/// Checks everything that can be checked without writing.
pub fn validate(broker: &Broker, topic: &NewTopic) -> Result<(), CreateTopicError> {
    validate_name(&topic.name)?;
    let image = broker.image();
    if image.topic(&topic.name).is_some() {
        return Err(CreateTopicError::Exists(topic.name.clone()));
    }
    // Metric names cannot tell "." from "_" (`Topic.hasCollisionChars`).
    if topic.name.contains(['.', '_'])
        && let Some(other) = image.topics().find(|other| topic_names_collide(&other.name, &topic.name))
    {
        return Err(CreateTopicError::Collides { name: topic.name.clone(), other: other.name.to_string() });
    }
    let overrides = topic.configs.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    broker.config.topic_defaults.with_overrides(overrides)?;
    Ok(())
}

/// Creates a topic; the controller elects its leaders soon after.
pub async fn create(broker: &Broker, topic: &NewTopic) -> Result<(), CreateTopicError> {
    validate(broker, topic)?;
    let zk = broker.zk();
    topic_configs::write(&zk, &topic.name, &topic.configs).await?;
    let with_id = broker.config.release >= Release::V3_9;
    let assignment = TopicAssignment::new(with_id.then(uuid::Uuid::new_v4), topic.assignment.iter().cloned());
    let data = Bytes::from(assignment.encode(if with_id { 3 } else { 2 }));
    match zk.create(&path::topic(&topic.name), Some(data), open_acl(), CreateMode::Persistent).await {
        Ok(_) => {
            info!(
                "Creating topic {} with configuration {:?} and initial partition assignment {:?}",
                topic.name, topic.configs, topic.assignment
            );
            Ok(())
        }
        Err(error) if error.is(ZkCode::NodeExists) => Err(CreateTopicError::Exists(topic.name.clone())),
        Err(error) => Err(error.into()),
    }
}

/// What becomes of a partition count or replication factor of −1: the broker's default.
pub fn or_default<T: PartialEq + From<i8>>(value: T, default: T) -> T {
    if value == T::from(-1) { default } else { value }
}

/// Whether every partition of `topic` has a leader.
pub fn has_leaders(image: &MetadataImage, topic: &str) -> bool {
    image
        .topic(topic)
        .is_some_and(|t| !t.partitions.is_empty() && t.partitions.iter().all(|p| p.leader != NO_LEADER))
}

/// Creates missing topics with the broker's defaults (internal ones with theirs) and waits a moment for their leaders.
/// Returns what went wrong, by name.
pub async fn auto_create(broker: &Arc<Broker>, names: Vec<String>) -> Vec<(String, ErrorCode)> {
    let mut errors = Vec::new();
    let mut created = Vec::new();
    for name in names {
        match auto_create_one(broker, &name).await {
            // Somebody else was faster.
            Ok(()) | Err(CreateTopicError::Exists(_)) => created.push(name),
            Err(error) => {
                if broker.topics_refused.may_say(&name, clock::mono_ms()) {
                    explain(&name, &error);
                }
                errors.push((name, error.code()));
            }
        }
    }
    let deadline = Instant::now() + AUTO_CREATE_WAIT;
    broker.wait_for_image(deadline, |image| created.iter().all(|name| has_leaders(image, name))).await;
    errors
}

async fn auto_create_one(broker: &Broker, name: &str) -> Result<(), CreateTopicError> {
    let groups = &broker.config.groups;
    let (partitions, factor, configs) = match name {
        GROUP_METADATA_TOPIC => (
            groups.offsets_topic_partitions,
            groups.offsets_topic_replication_factor,
            offsets_topic_configs(broker),
        ),
        _ => (broker.config.num_partitions, broker.config.default_replication_factor, BTreeMap::new()),
    };
    let assignment = place(broker, partitions, factor)?;
    create(broker, &NewTopic { name: name.to_owned(), assignment, configs }).await
}

/// `GroupCoordinator.offsetsTopicConfigs`.
fn offsets_topic_configs(broker: &Broker) -> BTreeMap<String, String> {
    let pairs = [
        ("cleanup.policy", "compact".to_owned()),
        ("segment.bytes", broker.config.groups.offsets_topic_segment_bytes.to_string()),
        ("compression.type", "producer".to_owned()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Remembers of which topics it was said that they cannot be created: clients ask for them several times a second.
#[derive(Debug, Default)]
pub struct TopicsRefused {
    said_at_ms: Mutex<HashMap<String, u64>>,
}

impl TopicsRefused {
    /// How long a topic's refusal is not repeated.
    const SILENCE_MS: u64 = 60_000;
    /// Names remembered; beyond, all are forgotten.
    const NAMES_MAX: usize = 1_000;

    fn may_say(&self, name: &str, now_ms: u64) -> bool {
        let mut said = self.said_at_ms.lock();
        if said.get(name).is_some_and(|at| now_ms < at + Self::SILENCE_MS) {
            return false;
        }
        if said.len() >= Self::NAMES_MAX {
            said.clear();
        }
        said.insert(name.to_owned(), now_ms);
        true
    }
}

fn explain(name: &str, error: &CreateTopicError) {
    let key = if name == GROUP_METADATA_TOPIC {
        "offsets.topic.replication.factor"
    } else {
        "default.replication.factor"
    };
    match error {
        CreateTopicError::Assignment(AssignmentError::NotEnoughBrokers { factor, brokers }) => warn!(
            "cannot create topic {name}: {key} is {factor} and {brokers} broker(s) are alive; start more brokers, or set {key}={brokers}"
        ),
        other => warn!("cannot create topic {name}: {other}"),
    }
}
