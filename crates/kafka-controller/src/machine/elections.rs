//! New leaders for partitions whose leader died, and ISRs without dead replicas
//! (`doElectLeaderForPartitions`, `doRemoveReplicasFromIsr`).
//!
//! Every change raises the leader epoch by one and replaces exactly the version that was read. A refused version means
//! that somebody wrote meanwhile (the leader, or our own lost try): read again, decide again.

use super::Controller;
use super::run::{Flow, Written, data, written};
use super::steps::{ReadState, StateWrite, Step, UncleanByTopic};
use crate::context::{PartitionStatus, TopicPartition};
use crate::zk::{ZkError, ZkResult};
use crate::zkdata::{PartitionState, config_decode};

impl Controller {
    pub(super) fn on_states_for_election(
        &mut self,
        partitions: Vec<TopicPartition>,
        results: Vec<ZkResult>,
    ) -> Flow {
        let mut states = self.read_states(partitions, results)?;
        states.retain(|(tp, state, _)| {
            let newer = state.controller_epoch > self.context.epoch;
            if newer {
                tracing::warn!(partition = %tp, epoch = state.controller_epoch, "a newer controller wrote the state; not electing");
            }
            !newer
        });
        let no_live_isr = |(_, state, _): &&ReadState| !state.isr.iter().any(|id| self.context.is_live(*id));
        let mut topics: Vec<String> =
            states.iter().filter(no_live_isr).map(|(tp, ..)| tp.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() {
            self.elect(states, &UncleanByTopic::new());
        } else {
            self.next([Step::ElectUnclean { states, topics }]);
        }
        Ok(())
    }

    pub(super) fn on_unclean_known(
        &mut self,
        states: Vec<ReadState>,
        topics: Vec<String>,
        results: Vec<ZkResult>,
    ) -> Flow {
        let mut unclean = UncleanByTopic::new();
        for (topic, result) in topics.into_iter().zip(results) {
            let bytes = data(result)?.map(|(bytes, _)| bytes);
            let allowed = match config_decode(bytes.as_deref()) {
                Ok(config) => config
                    .get("unclean.leader.election.enable")
                    .map_or(self.config.unclean_leader_election_enable, |v| v == "true"),
                Err(error) => {
                    tracing::error!(topic, "{error}; no unclean election");
                    false
                }
            };
            unclean.insert(topic, allowed);
        }
        self.elect(states, &unclean);
        Ok(())
    }

    /// Offline election: the first replica in order of assignment that is alive and in sync, the ISR losing the dead;
    /// failing that, and if allowed, the first that is alive, alone in the ISR.
    fn elect(&mut self, states: Vec<ReadState>, unclean: &UncleanByTopic) {
        let mut writes = Vec::new();
        for (tp, state, version) in states {
            let live = self.context.live_replicas(&tp);
            let clean = live.iter().copied().find(|id| state.isr.contains(id));
            let allowed = unclean.get(&tp.topic).copied().unwrap_or(false);
            let (leader, isr, recovering) = match (clean, live.first()) {
                (Some(leader), _) => (
                    leader,
                    state.isr.iter().copied().filter(|id| self.context.is_live(*id)).collect(),
                    state.recovering,
                ),
                (None, Some(leader)) if allowed => (*leader, vec![*leader], self.config.leader_recovery),
                _ => {
                    tracing::error!(partition = %tp, isr = ?state.isr, "no in-sync replica is alive; the partition has no leader until one starts");
                    // What was read is at least as new as what is known.
                    self.adopt(&tp, state, version);
                    self.tell_metadata(&tp);
                    continue;
                }
            };
            let state = PartitionState {
                recovering,
                ..PartitionState::new(self.context.epoch, leader, state.leader_epoch + 1, isr)
            };
            writes.push(StateWrite { tp, state, version });
        }
        if !writes.is_empty() {
            self.next([Step::WriteElections { writes }]);
        }
    }

    pub(super) fn on_elections_written(&mut self, writes: Vec<StateWrite>, results: Vec<ZkResult>) -> Flow {
        let mut again = Vec::new();
        for (write, result) in writes.into_iter().zip(results) {
            let StateWrite { tp, state, version } = write;
            match written(result)? {
                Written::Done(_) => {
                    tracing::info!(partition = %tp, leader = state.leader, leader_epoch = state.leader_epoch, isr = ?state.isr, "elected a leader");
                    self.adopt(&tp, state, version + 1);
                    let live = self.context.live_replicas(&tp);
                    self.tell(&live, &tp, false);
                }
                Written::Refused(ZkError::BadVersion, _) => again.push(tp),
                Written::Refused(error, _) => {
                    tracing::warn!(partition = %tp, ?error, "cannot write the state; the topic is probably gone")
                }
            }
        }
        if !again.is_empty() {
            self.next([Step::Elect { partitions: again }]);
        }
        Ok(())
    }

    /// A dead replica leaves the ISR, unless it is the last in it; if it led, there is no leader.
    pub(super) fn on_states_for_shrink(
        &mut self,
        broker: i32,
        partitions: Vec<TopicPartition>,
        results: Vec<ZkResult>,
    ) -> Flow {
        let mut writes = Vec::new();
        for (tp, state, version) in self.read_states(partitions, results)? {
            if !state.isr.contains(&broker) {
                self.adopt(&tp, state, version);
                self.tell_of_shrink(&tp);
                continue;
            }
            let leader = if state.leader == broker { PartitionState::NO_LEADER } else { state.leader };
            let isr: Vec<i32> = state.isr.iter().copied().filter(|id| *id != broker).collect();
            let isr = if isr.is_empty() { state.isr.clone() } else { isr };
            if state.leader == PartitionState::NO_LEADER && isr == state.isr {
                // Said already; Kafka raises the epoch once more here, which tells nobody anything.
                self.adopt(&tp, state, version);
                self.tell_of_shrink(&tp);
                continue;
            }
            let state = PartitionState {
                recovering: state.recovering,
                ..PartitionState::new(self.context.epoch, leader, state.leader_epoch + 1, isr)
            };
            writes.push(StateWrite { tp, state, version });
        }
        if !writes.is_empty() {
            self.next([Step::WriteShrinks { broker, writes }]);
        }
        Ok(())
    }

    pub(super) fn on_shrinks_written(
        &mut self,
        broker: i32,
        writes: Vec<StateWrite>,
        results: Vec<ZkResult>,
    ) -> Flow {
        let mut again = Vec::new();
        for (write, result) in writes.into_iter().zip(results) {
            let StateWrite { tp, state, version } = write;
            match written(result)? {
                Written::Done(_) => {
                    tracing::info!(partition = %tp, broker, leader = state.leader, isr = ?state.isr, "dead replica left the ISR");
                    self.adopt(&tp, state, version + 1);
                    self.tell_of_shrink(&tp);
                }
                Written::Refused(ZkError::BadVersion, _) => again.push(tp),
                Written::Refused(error, _) => {
                    tracing::warn!(partition = %tp, ?error, "cannot write the state; the topic is probably gone")
                }
            }
        }
        if !again.is_empty() {
            self.next([Step::ShrinkIsr { broker, partitions: again }]);
        }
        Ok(())
    }

    /// To the live replicas; with a leader that came alive meanwhile the status follows.
    fn tell_of_shrink(&mut self, tp: &TopicPartition) {
        let live = self.context.live_replicas(tp);
        self.tell(&live, tp, false);
        if self.context.partition(tp).is_some_and(|p| p.status == PartitionStatus::Offline) {
            tracing::debug!(partition = %tp, "partition is offline");
        }
    }
}
