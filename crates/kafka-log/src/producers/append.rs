//! The checks one append must pass on behalf of a producer, and the state it leaves behind.
//!
//! Nothing is changed before all batches of the append have passed.

use kafka_proto::records::batch::BatchHeader;

use super::{AppendOrigin, CompletedTxn, NO_EPOCH, ProducerBatch, ProducerEntry, RecentBatches};
use crate::error::ProducerError;
use crate::scan::EndTxnMarker;

/// Batches of one producer under examination.
#[derive(Debug)]
pub(crate) struct ProducerAppend<'a> {
    partition: &'a str,
    producer_id: i64,
    origin: AppendOrigin,
    current: ProducerEntry,
    /// Holds only the batches of this append.
    updated: ProducerEntry,
    started_txn: Option<i64>,
}

impl<'a> ProducerAppend<'a> {
    pub(super) fn new(
        partition: &'a str,
        producer_id: i64,
        current: ProducerEntry,
        origin: AppendOrigin,
    ) -> Self {
        let updated = ProducerEntry { batches: RecentBatches::default(), ..current };
        Self { partition, producer_id, origin, current, updated, started_txn: None }
    }

    /// Examines a batch that is to lie at `base_offset`. `marker` is given for control batches: the end marker in
    /// it, or `None` if it holds none.
    pub fn batch(
        &mut self,
        header: &BatchHeader,
        base_offset: i64,
        marker: Option<Option<EndTxnMarker>>,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        match marker {
            None => self.data(header, base_offset).map(|()| None),
            Some(Some(marker)) => self.end_marker(header, base_offset, marker),
            Some(None) => Ok(None),
        }
    }

    /// The new state, and the first offset of a transaction that began.
    pub fn finish(self) -> (ProducerEntry, Option<i64>) {
        (self.updated, self.started_txn)
    }

    fn data(&mut self, header: &BatchHeader, base_offset: i64) -> Result<(), ProducerError> {
        self.check_epoch(header.producer_epoch, base_offset)?;
        if self.origin == AppendOrigin::Client {
            self.check_sequence(header.producer_epoch, header.base_sequence, base_offset)?;
        }
        self.updated.set_epoch(header.producer_epoch);
        self.updated.batches.push(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: base_offset + i64::from(header.last_offset_delta),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        self.updated.last_timestamp = header.max_timestamp;
        match (self.updated.current_txn_first_offset, header.is_transactional()) {
            (Some(_), false) => Err(ProducerError::ExpectedTransactional {
                producer_id: self.producer_id,
                offset: base_offset,
                partition: self.partition.to_owned(),
            }),
            (None, true) => {
                self.updated.current_txn_first_offset = Some(base_offset);
                self.started_txn = Some(base_offset);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_marker(
        &mut self,
        header: &BatchHeader,
        base_offset: i64,
        marker: EndTxnMarker,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        self.check_epoch(header.producer_epoch, base_offset)?;
        if self.updated.coordinator_epoch > marker.coordinator_epoch
            && self.origin != AppendOrigin::Replication
        {
            return Err(ProducerError::CoordinatorFenced {
                producer_id: self.producer_id,
                offset: base_offset,
                partition: self.partition.to_owned(),
                epoch: marker.coordinator_epoch,
                current: self.updated.coordinator_epoch,
            });
        }
        // A marker without data before it changes nothing for readers and is not reported.
        let completed = self.updated.current_txn_first_offset.map(|first_offset| CompletedTxn {
            producer_id: self.producer_id,
            first_offset,
            last_offset: base_offset,
            aborted: marker.abort,
        });
        self.updated.set_epoch(header.producer_epoch);
        self.updated.coordinator_epoch = marker.coordinator_epoch;
        self.updated.current_txn_first_offset = None;
        self.updated.last_timestamp = header.max_timestamp;
        Ok(completed)
    }

    fn check_epoch(&self, epoch: i16, offset: i64) -> Result<(), ProducerError> {
        if epoch >= self.updated.producer_epoch || self.origin == AppendOrigin::Replication {
            return Ok(());
        }
        Err(ProducerError::InvalidEpoch {
            producer_id: self.producer_id,
            offset,
            partition: self.partition.to_owned(),
            epoch,
            current: self.updated.producer_epoch,
        })
    }

    fn check_sequence(&self, epoch: i16, sequence: i32, offset: i64) -> Result<(), ProducerError> {
        let (producer_id, partition) = (self.producer_id, self.partition.to_owned());
        if epoch != self.updated.producer_epoch {
            let current = self.updated.producer_epoch;
            if sequence != 0 && current != NO_EPOCH {
                return Err(ProducerError::NonZeroSequenceInNewEpoch {
                    producer_id,
                    offset,
                    partition,
                    epoch,
                    sequence,
                    current,
                });
            }
            return Ok(());
        }
        let last = match self.updated.batches.last() {
            Some(batch) => batch.last_sequence,
            None if epoch == self.current.producer_epoch => self.current.last_sequence(),
            None => -1,
        };
        // Without state (all its records may be deleted) a producer may go on with any sequence.
        let unknown = self.current.producer_epoch == NO_EPOCH;
        let follows = i64::from(sequence) == i64::from(last) + 1 || (sequence == 0 && last == i32::MAX);
        if unknown || follows {
            return Ok(());
        }
        Err(ProducerError::OutOfOrderSequence { producer_id, offset, partition, sequence, last })
    }
}
