//! What the active controller knows: brokers, topics, partitions, deletions. Empty while it is not active.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uuid::Uuid;

use crate::io::{LiveBroker, PartitionDecision};
use crate::zkdata::{PartitionState, ReplicaAssignment, TopicAssignment};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: String,
    /// Index, from 0.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where a partition stands (`PartitionStateMachine.scala`).
///
/// | from | to | when |
/// |---|---|---|
/// | – | New | it appears in the topic's assignment |
/// | New | Online | leader and ISR are written for the first time |
/// | Online | Offline | its leader's broker dies |
/// | Offline | Online | a leader is elected |
/// | any | Deleted | deletion of its topic begins |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionStatus {
    /// Has replicas but never had a leader.
    New,
    /// Has a live leader.
    Online,
    /// Had a leader.
    Offline,
    /// Its topic is being deleted.
    Deleted,
}

/// Leader and ISR as in the state znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub state: PartitionState,
    pub zk_version: i32,
}

#[derive(Debug, Clone)]
pub(crate) struct Partition {
    pub assignment: ReplicaAssignment,
    pub status: PartitionStatus,
    pub leadership: Option<Leadership>,
}

/// Progress of a topic's deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    /// StopReplica is under way; what is missing of its answers.
    pub started: bool,
    pub awaiting: BTreeSet<(i32, i32)>,
    /// A replica is on a dead broker or could not be deleted; wait for a broker to start.
    pub ineligible: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    pub id: Option<Uuid>,
    pub partitions: BTreeMap<i32, Partition>,
    pub deletion: Option<Deletion>,
}

impl Topic {
    pub fn assignment(&self) -> TopicAssignment {
        TopicAssignment {
            topic_id: self.id,
            partitions: self.partitions.iter().map(|(p, part)| (*p, part.assignment.clone())).collect(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub epoch: i32,
    pub epoch_zk_version: i32,
    pub brokers: BTreeMap<i32, LiveBroker>,
    pub topics: BTreeMap<String, Topic>,
}

impl Context {
    pub fn is_live(&self, broker: i32) -> bool {
        self.brokers.contains_key(&broker)
    }

    pub fn partition(&self, tp: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&tp.topic)?.partitions.get(&tp.partition)
    }

    pub fn partition_mut(&mut self, tp: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&tp.topic)?.partitions.get_mut(&tp.partition)
    }

    pub fn is_deleting(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|t| t.deletion.is_some())
    }

    /// Partitions, in order, that `keep` wants.
    pub fn select(&self, keep: impl Fn(&str, &Topic, &Partition) -> bool) -> Vec<TopicPartition> {
        let mut all = Vec::new();
        for (name, topic) in &self.topics {
            for (index, partition) in &topic.partitions {
                if keep(name, topic, partition) {
                    all.push(TopicPartition { topic: name.clone(), partition: *index });
                }
            }
        }
        all
    }

    /// Partitions not being deleted that have a replica on `broker`.
    pub fn partitions_on(&self, broker: i32) -> Vec<TopicPartition> {
        self.select(|_, topic, partition| {
            topic.deletion.is_none() && partition.assignment.replicas.contains(&broker)
        })
    }

    /// Assigned replicas whose broker is alive, in order of preference.
    pub fn live_replicas(&self, tp: &TopicPartition) -> Vec<i32> {
        let replicas = self.partition(tp).map(|p| p.assignment.replicas.as_slice()).unwrap_or_default();
        replicas.iter().copied().filter(|id| self.is_live(*id)).collect()
    }

    /// What brokers are told about a partition; `None` while it has no leadership.
    pub fn decision(&self, tp: &TopicPartition, is_new: bool) -> Option<PartitionDecision> {
        let topic = self.topics.get(&tp.topic)?;
        let partition = topic.partitions.get(&tp.partition)?;
        let Leadership { state, zk_version } = partition.leadership.as_ref()?;
        let deleting = topic.deletion.is_some();
        Some(PartitionDecision {
            partition: tp.clone(),
            topic_id: topic.id,
            controller_epoch: state.controller_epoch,
            leader: if deleting { PartitionState::LEADER_DURING_DELETE } else { state.leader },
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            zk_version: *zk_version,
            assignment: partition.assignment.clone(),
            offline_replicas: partition
                .assignment
                .replicas
                .iter()
                .copied()
                .filter(|id| !self.is_live(*id))
                .collect(),
            is_new,
            recovering: state.recovering,
        })
    }

    /// Status that follows from who is alive.
    pub fn status_of(&self, leadership: Option<&Leadership>) -> PartitionStatus {
        match leadership {
            None => PartitionStatus::New,
            Some(l) if self.is_live(l.state.leader) => PartitionStatus::Online,
            Some(_) => PartitionStatus::Offline,
        }
    }
}
