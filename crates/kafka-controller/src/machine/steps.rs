//! The pieces that work is made of: plain data, so that a step can be shown, compared and dropped.

use std::collections::BTreeMap;

use crate::context::TopicPartition;
use crate::io::{LiveBroker, Token};
use crate::machine::Phase;
use crate::zkdata::{PartitionState, TopicAssignment};

/// Something that happened and waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    ControllerChange,
    BrokerChange,
    BrokerModification(i32),
    TopicChange,
    PartitionModification(String),
    TopicDeletion,
    ReplicasStopped { token: Token, failed: Vec<TopicPartition> },
}

/// A partition state to write, and the version it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateWrite {
    pub tp: TopicPartition,
    pub state: PartitionState,
    pub version: i32,
}

/// A partition state as read, with its version.
pub(super) type ReadState = (TopicPartition, PartitionState, i32);

/// One batch of operations and what to do with the answers. Steps without operations act at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    // election.rs
    LookAtController,
    ReadEpoch,
    CreateEpoch,
    Claim { epoch: i32, version: i32 },
    VerifyClaim { epoch: i32 },
    LeaveController { epoch_zk_version: i32 },
    // failover.rs
    Enter(Phase),
    ReadFeature,
    WriteFeature { data: Vec<u8>, version: Option<i32> },
    PurgeNotifications { root: &'static str },
    DeleteNodes { paths: Vec<String> },
    Announce,
    // brokers.rs
    LoadBrokers { initial: bool },
    ReadBrokers { ids: Vec<i32>, initial: bool },
    BrokersUp { brokers: Vec<LiveBroker> },
    BrokersDown { ids: Vec<i32> },
    ReadBroker { id: i32 },
    // topics.rs
    LoadTopics { initial: bool },
    ReadTopics { names: Vec<String>, initial: bool },
    WriteTopicIds { topics: Vec<(String, TopicAssignment, i32)>, initial: bool },
    RestoreAssignment { topic: String },
    // partitions.rs
    LoadStates,
    StartReplicas,
    TriggerOnline,
    CreateRoots { partitions: Vec<TopicPartition> },
    CreateStates { partitions: Vec<TopicPartition> },
    CreateStatesOnly { partitions: Vec<TopicPartition> },
    AdoptStates { partitions: Vec<TopicPartition> },
    Elect { partitions: Vec<TopicPartition> },
    ElectUnclean { states: Vec<ReadState>, topics: Vec<String> },
    WriteElections { writes: Vec<StateWrite> },
    ShrinkIsr { broker: i32, partitions: Vec<TopicPartition> },
    WriteShrinks { broker: i32, writes: Vec<StateWrite> },
    // deletion.rs
    LoadDeletions,
    RemoveRequests { topics: Vec<String> },
    ResumeDeletions,
    ListTree { topic: String, levels: Vec<Vec<String>> },
    DeleteTree { topic: String, levels: Vec<Vec<String>> },
    DeleteConfig { topic: String },
    DeleteTopicAndRequest { topic: String },
    DeleteTopicOnly { topic: String },
}

/// Unclean leader election per topic, as far as it had to be looked up.
pub(super) type UncleanByTopic = BTreeMap<String, bool>;
