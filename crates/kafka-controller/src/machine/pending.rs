//! Decisions of one step, gathered so that a broker gets one request for all of them
//! (`ControllerBrokerRequestBatch`).

use std::collections::{BTreeMap, BTreeSet};

use super::Controller;
use crate::context::TopicPartition;
use crate::io::Effect;

/// Gathered until the end of the step. Values are looked up when they are sent, so the last decision counts.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Broker → partition → created by this.
    leader_and_isr: BTreeMap<i32, BTreeMap<TopicPartition, bool>>,
    metadata: BTreeSet<TopicPartition>,
    /// UpdateMetadata is due even without partitions.
    announce: bool,
}

impl Controller {
    /// LeaderAndIsr to `brokers` for a partition; everybody learns of it by UpdateMetadata.
    pub(super) fn tell(&mut self, brokers: &[i32], tp: &TopicPartition, is_new: bool) {
        for broker in brokers {
            let entry =
                self.pending.leader_and_isr.entry(*broker).or_default().entry(tp.clone()).or_default();
            *entry |= is_new;
        }
        self.pending.metadata.insert(tp.clone());
    }

    /// UpdateMetadata to all for a partition.
    pub(super) fn tell_metadata(&mut self, tp: &TopicPartition) {
        self.pending.metadata.insert(tp.clone());
    }

    /// UpdateMetadata to all, at least with the live brokers.
    pub(super) fn announce(&mut self) {
        self.pending.announce = true;
    }

    /// Sends what has gathered: LeaderAndIsr first, then UpdateMetadata, as Kafka does.
    pub(super) fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let controller_epoch = self.context.epoch;
        for (broker, partitions) in pending.leader_and_isr {
            let Some(live) = self.context.brokers.get(&broker) else { continue };
            let partitions: Vec<_> =
                partitions.iter().filter_map(|(tp, is_new)| self.context.decision(tp, *is_new)).collect();
            if !partitions.is_empty() {
                self.out.push(Effect::LeaderAndIsr {
                    broker,
                    broker_epoch: live.epoch,
                    controller_epoch,
                    partitions,
                });
            }
        }
        if pending.metadata.is_empty() && !pending.announce {
            return;
        }
        let brokers: Vec<i32> = self.context.brokers.keys().copied().collect();
        let partitions = pending.metadata.iter().filter_map(|tp| self.context.decision(tp, false)).collect();
        self.push_metadata(brokers, partitions);
    }

    pub(super) fn push_metadata(&mut self, brokers: Vec<i32>, partitions: Vec<crate::io::PartitionDecision>) {
        if brokers.is_empty() {
            return;
        }
        let live_brokers = self.context.brokers.values().cloned().collect();
        self.out.push(Effect::UpdateMetadata {
            brokers,
            controller_epoch: self.context.epoch,
            live_brokers,
            partitions,
        });
    }
}
