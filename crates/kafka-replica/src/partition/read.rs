//! Reading: which file range a reader may have, and where its log parts from ours.

use kafka_log::{Log, UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET};
use kafka_proto::wire::FileRegion;

use super::{NO_EPOCH, Partition};
use crate::error::ReplicaError;

/// Up to where one may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Replicas and debugging consumers.
    LogEnd,
    /// `read_uncommitted`.
    HighWatermark,
    /// `read_committed`.
    LastStable,
}

impl Isolation {
    pub(super) fn bound(self, log: &Log) -> i64 {
        match self {
            Self::LogEnd => log.log_end_offset(),
            Self::HighWatermark => log.high_watermark(),
            Self::LastStable => log.last_stable_offset(),
        }
    }
}

/// What a fetch asks of one partition.
#[derive(Debug, Clone, Copy)]
pub struct ReadSpec {
    pub offset: i64,
    pub max_bytes: usize,
    /// The first batch whole, however large.
    pub min_one: bool,
    pub isolation: Isolation,
    /// −1: the client does not say.
    pub current_leader_epoch: i32,
    /// −1: do not compare logs.
    pub last_fetched_epoch: i32,
}

/// An epoch and the offset after its last record; both −1 if unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end_offset: i64,
}

/// What a fetch gets.
#[derive(Debug, Clone)]
pub struct ReadOutcome {
    /// `None`: nothing to read (yet).
    pub region: Option<FileRegion>,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// The reader's log has records ours has not: it must cut its own there first.
    pub diverging: Option<EpochEnd>,
    /// (producer id, first offset) of aborted transactions, for `read_committed` readers.
    pub aborted: Vec<(i64, i64)>,
}

impl ReadOutcome {
    pub fn bytes(&self) -> usize {
        self.region.as_ref().map_or(0, |region| region.len)
    }
}

impl Partition {
    /// Finds what `spec` asks for.
    pub fn read(&self, spec: &ReadSpec) -> Result<ReadOutcome, ReplicaError> {
        let role = self.role.read();
        self.check_leader(&role, spec.current_leader_epoch)?;
        let log = self.log.lock();
        let mut outcome = ReadOutcome {
            region: None,
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start_offset: log.log_start_offset(),
            diverging: None,
            aborted: Vec::new(),
        };
        if spec.last_fetched_epoch != NO_EPOCH
            && let Some(end) = diverging_end(&log, spec)?
        {
            outcome.diverging = Some(end);
            return Ok(outcome);
        }
        let bound = spec.isolation.bound(&log);
        let max_bytes = u32::try_from(spec.max_bytes).unwrap_or(u32::MAX);
        outcome.region = log.read(spec.offset, max_bytes, spec.min_one, bound)?.records;
        if spec.isolation == Isolation::LastStable && outcome.region.is_some() {
            let aborted = log.aborted_transactions(spec.offset, bound)?;
            outcome.aborted = aborted.iter().map(|txn| (txn.producer_id, txn.first_offset)).collect();
        }
        Ok(outcome)
    }

    /// Where `epoch` ends in this log (KIP-101).
    pub fn epoch_end(&self, epoch: i32, current_leader_epoch: i32) -> Result<EpochEnd, ReplicaError> {
        let role = self.role.read();
        self.check_leader(&role, current_leader_epoch)?;
        let end = self.log.lock().epoch_end_offset(epoch);
        Ok(EpochEnd { epoch: end.epoch, end_offset: end.end_offset })
    }
}

/// Where the reader's log parts from this one, if it does (KIP-595).
fn diverging_end(log: &Log, spec: &ReadSpec) -> Result<Option<EpochEnd>, ReplicaError> {
    let end = log.epoch_end_offset(spec.last_fetched_epoch);
    if end.epoch == UNDEFINED_EPOCH || end.end_offset == UNDEFINED_EPOCH_OFFSET {
        // We know nothing of that epoch: the reader starts over.
        return Err(ReplicaError::Log(kafka_log::LogError::OffsetOutOfRange {
            partition: log.partition().to_string(),
            offset: spec.offset,
            start: log.log_start_offset(),
            end: log.log_end_offset(),
        }));
    }
    let diverges = end.epoch < spec.last_fetched_epoch || end.end_offset < spec.offset;
    Ok(diverges.then_some(EpochEnd { epoch: end.epoch, end_offset: end.end_offset }))
}
