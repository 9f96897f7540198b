//! From timestamps to offsets (ListOffsets).

use std::ops::ControlFlow;

use kafka_proto::records::reader::RecordReader;
use kafka_proto::records::{Batch, RecordsError};

use super::Log;
use crate::error::{LogError, Result};
use crate::scan::BatchMeta;
use crate::segment::Segment;

/// What one batch may decompress to while its records are searched.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
    /// −1 if the batch carries none.
    pub leader_epoch: i32,
}

impl Log {
    /// The first record at or after the log start whose timestamp is at least `timestamp`.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampOffset>> {
        for segment in &self.segments {
            // A segment's largest timestamp may belong to a record below the log start: then the next one is searched.
            if segment.retention_timestamp(&self.place)? >= timestamp
                && let Some(found) = self.search(segment, timestamp)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp; the first of them if there are several (KIP-734).
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampOffset>> {
        let mut best: Option<(&Segment, i64, i64)> = None;
        for segment in &self.segments {
            let largest = segment.max_timestamp(&self.place)?;
            if best.is_none_or(|(_, timestamp, _)| largest.timestamp > timestamp) {
                best = Some((segment, largest.timestamp, largest.offset));
            }
        }
        let Some((segment, timestamp, offset)) = best.filter(|(_, timestamp, _)| *timestamp >= 0) else {
            return Ok(None);
        };
        let from = segment.position_for_timestamp(&self.place, timestamp, offset)?;
        let Some(meta) = segment.find_from(&self.place, from, |m| m.max_timestamp == timestamp)? else {
            return Ok(None);
        };
        self.first_record(segment, &meta, timestamp, self.log_start_offset)
    }

    /// Offsets for ListOffsets v0: up to `count` segment starts not younger than `timestamp`, newest first; −1 asks
    /// for the latest, −2 for the earliest.
    pub fn offsets_before(&self, timestamp: i64, count: usize, now_ms: i64) -> Result<Vec<i64>> {
        let mut known = Vec::with_capacity(self.segments.len() + 1);
        for segment in &self.segments {
            known.push((segment.base_offset.max(self.log_start_offset), segment.modified_ms(&self.place)?));
        }
        if self.active().size > 0 {
            known.push((self.next_offset, now_ms));
        }
        let until = match timestamp {
            -1 => known.len(),
            -2 => 1,
            _ => known.iter().rposition(|(_, modified)| *modified <= timestamp).map_or(0, |i| i + 1),
        };
        let mut offsets: Vec<i64> =
            known[..until].iter().rev().take(count).map(|(offset, _)| *offset).collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        Ok(offsets)
    }

    fn search(&self, segment: &Segment, timestamp: i64) -> Result<Option<TimestampOffset>> {
        let start = self.log_start_offset;
        let mut position = segment.position_for_timestamp(&self.place, timestamp, start)?;
        let hit = |m: &BatchMeta| m.max_timestamp >= timestamp && m.last_offset >= start;
        while let Some(meta) = segment.find_from(&self.place, position, hit)? {
            if let Some(found) = self.first_record(segment, &meta, timestamp, start)? {
                return Ok(Some(found));
            }
            position = meta.end();
        }
        Ok(None)
    }

    /// The first record of a batch at or after both a timestamp and an offset.
    fn first_record(
        &self,
        segment: &Segment,
        meta: &BatchMeta,
        timestamp: i64,
        start: i64,
    ) -> Result<Option<TimestampOffset>> {
        let bytes = segment.read_batch(&self.place, meta)?;
        let corrupt = |e: RecordsError| LogError::Corrupt {
            path: segment.path(&self.place),
            position: meta.position,
            reason: e.to_string(),
        };
        let Some(batch) = Batch::parse_first(&bytes).map_err(corrupt)? else { return Ok(None) };
        let mut found = None;
        let mut reader = RecordReader::new(DECOMPRESSED_BYTES_MAX);
        let visited = reader.for_each(&batch, |record| {
            if record.timestamp >= timestamp && record.offset >= start {
                found = Some(TimestampOffset {
                    timestamp: record.timestamp,
                    offset: record.offset,
                    leader_epoch: meta.leader_epoch(),
                });
                return Ok::<_, RecordsError>(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        });
        visited.map_err(corrupt)?;
        Ok(found)
    }
}
