//! Reading: where in which file the bytes lie, never the bytes themselves.

use kafka_proto::wire::FileRegion;

use super::Log;
use crate::error::{LogError, Result};
use crate::segment::Segment;
use crate::txn_index::{self, AbortedTxn};

/// A range of a segment file that begins with the batch holding the offset asked for.
#[derive(Debug, Clone)]
pub struct ReadInfo {
    /// `None`: nothing to read below the upper bound. The last batch may be cut by the byte limit.
    pub records: Option<FileRegion>,
    /// The first batch alone is larger than the limit and was cut (only without `min_one_message`).
    pub first_batch_incomplete: bool,
    /// Where the read begins, for parking a fetch by bytes.
    pub position: LogPosition,
}

/// An offset with its place on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    pub offset: i64,
    pub segment_base_offset: i64,
    pub position: u64,
}

/// Where a batch begins, and its size.
#[derive(Clone, Copy)]
struct Found {
    position: u64,
    size: u64,
}

impl Log {
    /// Finds up to `max_bytes` of batches from the one that holds `offset`, all of them below `upper_bound` (a high
    /// watermark or last stable offset; the log end offset for replicas). With `min_one_message` the first batch is
    /// read whole whatever its size.
    ///
    /// # Errors
    /// `OffsetOutOfRange` below the log start or above the log end.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: u32,
        min_one_message: bool,
        upper_bound: i64,
    ) -> Result<ReadInfo> {
        if offset < self.log_start_offset || offset > self.next_offset {
            return Err(self.out_of_range(offset));
        }
        let first = self.segment_for(offset).ok_or_else(|| self.out_of_range(offset))?;
        if offset >= upper_bound {
            return Ok(self.nothing(offset));
        }
        // Compaction leaves segments whose last offsets are gone: the next one is searched then.
        for index in first..self.segments.len() {
            if let Some(found) = self.locate(index, offset)? {
                let end = self.bound_in(index, upper_bound)?;
                return self.region(index, offset, found, end, max_bytes, min_one_message);
            }
        }
        Ok(self.nothing(self.next_offset))
    }

    fn region(
        &self,
        index: usize,
        offset: i64,
        found: Found,
        end: u64,
        max_bytes: u32,
        min_one: bool,
    ) -> Result<ReadInfo> {
        let segment = &self.segments[index];
        let position =
            LogPosition { offset, segment_base_offset: segment.base_offset, position: found.position };
        let limit = if min_one { u64::from(max_bytes).max(found.size) } else { u64::from(max_bytes) };
        let len = end.saturating_sub(found.position).min(limit);
        let records = match len {
            0 => None,
            len => Some(FileRegion {
                file: segment.file(&self.place)?,
                offset: found.position,
                len: len as usize,
            }),
        };
        Ok(ReadInfo { records, first_batch_incomplete: len > 0 && limit < found.size, position })
    }

    fn nothing(&self, offset: i64) -> ReadInfo {
        let active = self.active();
        let position = LogPosition { offset, segment_base_offset: active.base_offset, position: active.size };
        ReadInfo { records: None, first_batch_incomplete: false, position }
    }

    /// The first batch of a segment that ends at or after `offset`.
    fn locate(&self, index: usize, offset: i64) -> Result<Option<Found>> {
        let segment = &self.segments[index];
        if index + 1 == self.segments.len() {
            let recent = self.recent.partition_point(|b| b.last_offset < offset);
            // Only with a remembered batch before it is the one found known to be the first.
            if recent > 0 || self.recent.front().is_some_and(|b| b.position == 0) {
                return Ok(self
                    .recent
                    .get(recent)
                    .map(|b| Found { position: b.position, size: u64::from(b.size) }));
            }
        }
        let meta = segment.find_batch(&self.place, offset)?;
        Ok(meta.map(|m| Found { position: m.position, size: u64::from(m.size) }))
    }

    /// Where in a segment reading must end so that nothing at or above `upper_bound` is seen.
    fn bound_in(&self, index: usize, upper_bound: i64) -> Result<u64> {
        let segment = &self.segments[index];
        let next_base = self.segments.get(index + 1).map_or(self.next_offset, |s| s.base_offset);
        if upper_bound >= next_base {
            return Ok(segment.size);
        }
        Ok(self.locate(index, upper_bound)?.map_or(segment.size, |found| found.position))
    }

    /// How many bytes lie between two positions of the log; 0 if the first is not before the second.
    pub fn bytes_between(&self, from: &LogPosition, to: &LogPosition) -> u64 {
        if from.segment_base_offset == to.segment_base_offset {
            return to.position.saturating_sub(from.position);
        }
        let within = |s: &&Segment| {
            s.base_offset >= from.segment_base_offset && s.base_offset < to.segment_base_offset
        };
        let whole: u64 = self.segments.iter().filter(within).map(|s| s.size).sum();
        (whole + to.position).saturating_sub(from.position)
    }

    /// The place of an offset: the batch that holds it, or the end of the log.
    pub fn position_of(&self, offset: i64) -> Result<LogPosition> {
        let at_end = self.nothing(self.next_offset).position;
        if offset >= self.next_offset {
            return Ok(at_end);
        }
        let first = self.segment_for(offset).ok_or_else(|| self.out_of_range(offset))?;
        for index in first..self.segments.len() {
            if let Some(found) = self.locate(index, offset)? {
                let segment_base_offset = self.segments[index].base_offset;
                return Ok(LogPosition { offset, segment_base_offset, position: found.position });
            }
        }
        Ok(at_end)
    }

    /// Aborted transactions a `read_committed` reader of `[from, upper_bound)` must skip.
    pub fn aborted_transactions(&self, from: i64, upper_bound: i64) -> Result<Vec<AbortedTxn>> {
        let mut aborted = Vec::new();
        let Some(first) = self.segment_for(from) else { return Ok(aborted) };
        for segment in self.segments.range(first..) {
            for txn in txn_index::read(&self.place.dir, segment.base_offset)? {
                if txn.last_offset >= from && txn.first_offset < upper_bound {
                    aborted.push(txn);
                }
                if txn.last_stable_offset >= upper_bound {
                    return Ok(aborted);
                }
            }
        }
        Ok(aborted)
    }

    pub(super) fn out_of_range(&self, offset: i64) -> LogError {
        LogError::OffsetOutOfRange {
            partition: self.name.clone(),
            offset,
            start: self.log_start_offset,
            end: self.next_offset,
        }
    }
}
