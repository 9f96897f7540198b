//! Offsets by time, and the ends of a log (ListOffsets).

use super::Partition;
use super::read::Isolation;
use crate::error::ReplicaError;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    Latest,
    Earliest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record at or after this time, milliseconds.
    Timestamp(i64),
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: i64,
    /// −1 where the query was for an end.
    pub timestamp: i64,
    /// −1 if unknown.
    pub leader_epoch: i32,
}

impl Partition {
    /// Answers `query` as far as `isolation` may see.
    pub fn find_offset(
        &self,
        query: OffsetQuery,
        isolation: Isolation,
        current_leader_epoch: i32,
    ) -> Result<Option<FoundOffset>, ReplicaError> {
        let role = self.role.read();
        let epoch = self.check_leader(&role, current_leader_epoch)?;
        let log = self.log.lock();
        let bound = isolation.bound(&log);
        let found = match query {
            OffsetQuery::Latest => {
                return Ok(Some(FoundOffset { offset: bound, timestamp: -1, leader_epoch: epoch }));
            }
            OffsetQuery::Earliest => {
                let offset = log.log_start_offset();
                let leader_epoch = log.epoch_for_offset(offset).unwrap_or(-1);
                return Ok(Some(FoundOffset { offset, timestamp: -1, leader_epoch }));
            }
            OffsetQuery::MaxTimestamp => log.max_timestamp_offset()?,
            OffsetQuery::Timestamp(timestamp) => log.offset_for_timestamp(timestamp)?,
        };
        let visible = found.filter(|found| found.offset < bound);
        Ok(visible.map(|found| FoundOffset {
            offset: found.offset,
            timestamp: found.timestamp,
            leader_epoch: found.leader_epoch,
        }))
    }

    /// ListOffsets 0: up to `count` segment starts not younger than `timestamp`, newest first.
    pub fn offsets_before(
        &self,
        timestamp: i64,
        count: usize,
        isolation: Isolation,
        now_ms: i64,
    ) -> Result<Vec<i64>, ReplicaError> {
        let role = self.role.read();
        self.check_leader(&role, super::NO_EPOCH)?;
        let log = self.log.lock();
        let bound = isolation.bound(&log);
        let mut offsets = log.offsets_before(timestamp, count, now_ms)?;
        if offsets.first().is_some_and(|newest| *newest > bound) {
            // Consumers do not see beyond the high watermark, which then stands for the end.
            offsets.retain(|offset| *offset < bound);
            offsets.insert(0, bound);
        }
        Ok(offsets)
    }
}
