//! First leaders and ISRs, and what is known of them (`PartitionStateMachine.scala`, `ReplicaStateMachine.scala`).
//!
//! Every new state is written to its znode first, under the epoch check and the version it replaces, and only then
//! told to brokers.

use std::collections::BTreeSet;

use super::Controller;
use super::run::{Flow, Stop, Written, data, written};
use super::steps::{ReadState, StateWrite, Step};
use crate::context::{Leadership, PartitionStatus, TopicPartition};
use crate::zk::{ZkError, ZkFailure, ZkOp, ZkResult, ZkWrite};
use crate::zkdata::{PartitionState, path};

impl Controller {
    pub(super) fn partitions_operations(&self, step: &Step) -> Vec<ZkOp> {
        let read_state = |tp: &TopicPartition| ZkOp::GetData {
            path: path::partition_state(&tp.topic, tp.partition),
            watch: false,
        };
        match step {
            Step::LoadStates => self.context.select(|_, _, _| true).iter().map(read_state).collect(),
            Step::CreateRoots { partitions } => {
                let topics: BTreeSet<&str> = partitions.iter().map(|tp| tp.topic.as_str()).collect();
                topics
                    .into_iter()
                    .map(|t| {
                        self.fenced([ZkWrite::Create {
                            path: path::partitions(t),
                            data: None,
                            ephemeral: false,
                        }])
                    })
                    .collect()
            }
            Step::CreateStates { partitions } => {
                partitions.iter().map(|tp| self.create_state(tp, true)).collect()
            }
            Step::CreateStatesOnly { partitions } => {
                partitions.iter().map(|tp| self.create_state(tp, false)).collect()
            }
            Step::AdoptStates { partitions }
            | Step::Elect { partitions }
            | Step::ShrinkIsr { partitions, .. } => partitions.iter().map(read_state).collect(),
            Step::ElectUnclean { topics, .. } => topics
                .iter()
                .map(|t| ZkOp::GetData { path: path::config("topics", t), watch: false })
                .collect(),
            Step::WriteElections { writes } | Step::WriteShrinks { writes, .. } => {
                writes.iter().map(|w| self.write_state(w)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn create_state(&self, tp: &TopicPartition, with_parent: bool) -> ZkOp {
        let parent =
            ZkWrite::Create { path: path::partition(&tp.topic, tp.partition), data: None, ephemeral: false };
        let state = self.first_state(tp).encode();
        let state = ZkWrite::Create {
            path: path::partition_state(&tp.topic, tp.partition),
            data: Some(state),
            ephemeral: false,
        };
        if with_parent { self.fenced([parent, state]) } else { self.fenced([state]) }
    }

    /// A new partition's leader is its first live replica, its ISR the live ones.
    fn first_state(&self, tp: &TopicPartition) -> PartitionState {
        let live = self.context.live_replicas(tp);
        let leader = live.first().copied().unwrap_or(PartitionState::NO_LEADER);
        PartitionState::new(self.context.epoch, leader, 0, live)
    }

    fn write_state(&self, write: &StateWrite) -> ZkOp {
        let path = path::partition_state(&write.tp.topic, write.tp.partition);
        self.fenced([ZkWrite::SetData { path, data: write.state.encode(), version: write.version }])
    }

    pub(super) fn partitions_complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::LoadStates => self.on_states_loaded(results),
            Step::StartReplicas => {
                self.start_replicas();
                Ok(())
            }
            Step::TriggerOnline => {
                self.trigger_online();
                Ok(())
            }
            Step::CreateRoots { partitions } => self.on_roots_created(partitions, results),
            Step::CreateStates { partitions } | Step::CreateStatesOnly { partitions } => {
                self.on_states_created(partitions, results)
            }
            Step::AdoptStates { partitions } => self.on_states_adopted(partitions, results),
            Step::Elect { partitions } => self.on_states_for_election(partitions, results),
            Step::ElectUnclean { states, topics } => self.on_unclean_known(states, topics, results),
            Step::WriteElections { writes } => self.on_elections_written(writes, results),
            Step::ShrinkIsr { broker, partitions } => self.on_states_for_shrink(broker, partitions, results),
            Step::WriteShrinks { broker, writes } => self.on_shrinks_written(broker, writes, results),
            _ => Ok(()),
        }
    }

    /// States that could be read, by partition; nodes that are missing or unreadable are left out, with a word.
    pub(super) fn read_states(
        &self,
        partitions: Vec<TopicPartition>,
        results: Vec<ZkResult>,
    ) -> Result<Vec<ReadState>, Stop> {
        let mut states = Vec::new();
        for (tp, result) in partitions.into_iter().zip(results) {
            let Some((bytes, stat)) = data(result)? else { continue };
            match PartitionState::decode(&bytes) {
                Ok(state) => states.push((tp, state, stat.version)),
                Err(error) => tracing::error!(partition = %tp, "{error}; leaving the partition alone"),
            }
        }
        Ok(states)
    }

    pub(super) fn adopt(&mut self, tp: &TopicPartition, state: PartitionState, zk_version: i32) {
        let leadership = Leadership { state, zk_version };
        let status = self.context.status_of(Some(&leadership));
        if let Some(partition) = self.context.partition_mut(tp) {
            partition.leadership = Some(leadership);
            if partition.status != PartitionStatus::Deleted {
                partition.status = status;
            }
        }
    }

    fn on_states_loaded(&mut self, results: Vec<ZkResult>) -> Flow {
        let partitions = self.context.select(|_, _, _| true);
        for (tp, state, version) in self.read_states(partitions, results)? {
            self.adopt(&tp, state, version);
        }
        Ok(())
    }

    /// Every live replica hears of its partitions; brokers that are dead leave the ISRs.
    fn start_replicas(&mut self) {
        let mut dead = BTreeSet::new();
        for tp in self
            .context
            .select(|_, topic, partition| topic.deletion.is_none() && partition.leadership.is_some())
        {
            let live = self.context.live_replicas(&tp);
            self.tell(&live, &tp, false);
            let replicas =
                self.context.partition(&tp).map(|p| p.assignment.replicas.clone()).unwrap_or_default();
            dead.extend(replicas.into_iter().filter(|id| !live.contains(id)));
        }
        let steps: Vec<Step> = dead
            .into_iter()
            .map(|broker| {
                let partitions = self.context.partitions_on(broker);
                let led =
                    |tp: &TopicPartition| self.context.partition(tp).is_some_and(|p| p.leadership.is_some());
                Step::ShrinkIsr { broker, partitions: partitions.into_iter().filter(led).collect() }
            })
            .collect();
        self.next(steps);
    }

    /// Gives New and Offline partitions a leader, if one can be had.
    fn trigger_online(&mut self) {
        let of = |status| {
            self.context
                .select(move |_, topic, partition| topic.deletion.is_none() && partition.status == status)
        };
        let (new, offline) = (of(PartitionStatus::New), of(PartitionStatus::Offline));
        let mut steps = Vec::new();
        if !new.is_empty() {
            steps.push(Step::CreateRoots { partitions: new });
        }
        if !offline.is_empty() {
            steps.push(Step::Elect { partitions: offline });
        }
        self.next(steps);
    }

    fn on_roots_created(&mut self, partitions: Vec<TopicPartition>, results: Vec<ZkResult>) -> Flow {
        for result in results {
            // There already, or the topic is gone, which the next write will find too.
            written(result)?;
        }
        let (live, dead): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|tp| !self.context.live_replicas(tp).is_empty());
        for tp in dead {
            tracing::error!(partition = %tp, "no assigned replica is alive; the partition has no leader until one starts");
        }
        if !live.is_empty() {
            self.next([Step::CreateStates { partitions: live }]);
        }
        Ok(())
    }

    fn on_states_created(&mut self, partitions: Vec<TopicPartition>, results: Vec<ZkResult>) -> Flow {
        let mut existing = Vec::new();
        for (tp, result) in partitions.into_iter().zip(results) {
            match written(result)? {
                Written::Done(_) => {
                    let state = self.first_state(&tp);
                    let recipients = state.isr.clone();
                    tracing::debug!(partition = %tp, leader = state.leader, isr = ?state.isr, "partition is online");
                    self.adopt(&tp, state, 0);
                    self.tell(&recipients, &tp, true);
                }
                // Our own lost try, or what an earlier controller had done when it died.
                Written::Refused(ZkError::NodeExists, _) => existing.push(tp),
                Written::Refused(error, _) => {
                    tracing::warn!(partition = %tp, ?error, "cannot write the first state; the topic is probably gone")
                }
            }
        }
        if !existing.is_empty() {
            self.next([Step::AdoptStates { partitions: existing }]);
        }
        Ok(())
    }

    /// Partitions whose node was there: take the state that is in it, or write the first one if there is none.
    fn on_states_adopted(&mut self, partitions: Vec<TopicPartition>, results: Vec<ZkResult>) -> Flow {
        let is_missing = |result: &ZkResult| matches!(result, Err(ZkFailure { error: ZkError::NoNode, .. }));
        let missing: Vec<_> = partitions
            .iter()
            .zip(&results)
            .filter(|(_, r)| is_missing(r))
            .map(|(tp, _)| tp.clone())
            .collect();
        let mut offline = Vec::new();
        for (tp, state, version) in self.read_states(partitions, results)? {
            self.adopt(&tp, state, version);
            let live = self.context.live_replicas(&tp);
            self.tell(&live, &tp, true);
            if self.context.partition(&tp).is_some_and(|p| p.status == PartitionStatus::Offline) {
                offline.push(tp);
            }
        }
        let mut steps = Vec::new();
        if !missing.is_empty() {
            steps.push(Step::CreateStatesOnly { partitions: missing });
        }
        if !offline.is_empty() {
            steps.push(Step::Elect { partitions: offline });
        }
        self.next(steps);
        Ok(())
    }
}
