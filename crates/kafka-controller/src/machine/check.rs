//! What must be true after every step.

use super::{Controller, Phase};
use crate::context::{Partition, PartitionStatus, TopicPartition};
use crate::zkdata::PartitionState;

impl Controller {
    /// Asserts the invariants of the state machine.
    ///
    /// # Panics
    /// If one does not hold, which is a bug here.
    pub fn check(&self) {
        let elected = self.is_elected();
        assert!(self.session || self.is_idle(), "nothing goes on without a session");
        assert!(self.session || self.phase == Phase::Resigned, "no office without a session");
        assert_eq!(self.queued.len(), self.work.len(), "work waits once");
        assert!(self.work.iter().all(|w| self.queued.contains(w)), "what waits is known to wait");
        if !elected {
            assert!(
                self.context.epoch == 0 && self.context.topics.is_empty() && self.context.brokers.is_empty(),
                "a resigned controller knows nothing"
            );
            assert!(self.stopping.is_empty(), "a resigned controller waits for no broker");
            return;
        }
        assert!(self.context.epoch > 0, "epochs start with 1");
        assert_eq!(self.known_controller, Some(self.config.broker_id), "the elected controller knows itself");
        assert!(
            self.phase != Phase::Active || self.batch.is_some() || self.is_idle(),
            "the loop runs until it must wait"
        );
        for (name, topic) in &self.context.topics {
            for (index, partition) in &topic.partitions {
                self.check_partition(&TopicPartition { topic: name.clone(), partition: *index }, partition);
            }
            if let Some(deletion) = &topic.deletion {
                let all_deleted = topic.partitions.values().all(|p| p.status == PartitionStatus::Deleted);
                assert!(!deletion.started || all_deleted, "{name}: partitions are gone before their data");
                let expected = self.stopping.values().flat_map(|(_, tps)| tps).any(|tp| &tp.topic == name);
                assert!(
                    deletion.awaiting.is_empty() || expected,
                    "{name}: waits for an answer that was asked for"
                );
            }
        }
    }

    fn check_partition(&self, tp: &TopicPartition, partition: &Partition) {
        let Some(leadership) = &partition.leadership else {
            assert!(
                matches!(partition.status, PartitionStatus::New | PartitionStatus::Deleted),
                "{tp}: no leadership while {:?}",
                partition.status
            );
            return;
        };
        let state = &leadership.state;
        assert!(partition.status != PartitionStatus::New, "{tp}: a new partition has no leadership");
        assert!(!state.isr.is_empty(), "{tp}: the last replica stays in the ISR");
        assert!(
            state.leader == PartitionState::NO_LEADER || state.isr.contains(&state.leader),
            "{tp}: the leader is in sync"
        );
        assert!(
            state.leader_epoch >= 0 && leadership.zk_version >= 0,
            "{tp}: epochs and versions start with 0"
        );
        if partition.status == PartitionStatus::Online {
            assert!(self.context.is_live(state.leader), "{tp}: an online partition has a live leader");
        }
    }
}
