//! Producers as others may see them (DescribeProducers, InitProducerId's checks).

use super::Log;
use crate::producers::ProducerEntry;

/// A producer this partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<i64>,
}

impl Log {
    /// All of them, by id.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let mut all: Vec<_> = self.producers.entries().map(|(id, entry)| describe(id, entry)).collect();
        all.sort_unstable_by_key(|p| p.producer_id);
        all
    }

    /// One producer, if it has appended here lately.
    pub fn producer(&self, producer_id: i64) -> Option<ActiveProducer> {
        self.producers.entry(producer_id).map(|entry| describe(producer_id, entry))
    }

    /// Forgets producers silent for `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&mut self, now_ms: i64) {
        self.producers.remove_expired(now_ms);
    }
}

fn describe(producer_id: i64, entry: &ProducerEntry) -> ActiveProducer {
    ActiveProducer {
        producer_id,
        producer_epoch: entry.producer_epoch,
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.current_txn_first_offset,
    }
}
