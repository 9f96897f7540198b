//! What of a log can be compacted now: decided under the log's lock, read without it.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::index::Place;
use crate::log::Log;
use crate::txn_index::{self, AbortedTxn};

/// A segment as it was when the plan was made.
#[derive(Debug, Clone)]
pub(crate) struct SourceSegment {
    pub base_offset: i64,
    pub size: u64,
    pub path: PathBuf,
    pub file: Arc<File>,
    pub modified_ms: i64,
}

/// Everything below `first_uncleanable`, clean part and dirty part.
#[derive(Debug)]
pub(crate) struct CleaningPlan {
    pub name: String,
    pub place: Place,
    pub segments: Vec<SourceSegment>,
    pub first_dirty: i64,
    pub first_uncleanable: i64,
    pub log_start_offset: i64,
    pub segment_bytes: u32,
    pub index_interval_bytes: u32,
    pub delete_retention_ms: i64,
    pub aborted: Vec<AbortedTxn>,
    /// Last offset of each known producer.
    pub producers: HashMap<i64, i64>,
    /// Largest timestamp of the first dirty segment.
    pub oldest_dirty_ms: i64,
}

impl Log {
    /// Segments to compact, or `None` if nothing dirty can be.
    pub(crate) fn plan_cleaning(&mut self, first_dirty: i64, now_ms: i64) -> Result<Option<CleaningPlan>> {
        let (start, end) = (self.log_start_offset(), self.log_end_offset());
        let first_dirty = if (start..=end).contains(&first_dirty) { first_dirty } else { start };
        let first_uncleanable = self.first_uncleanable_offset(now_ms)?;
        if self.is_offline() || first_uncleanable <= first_dirty {
            return Ok(None);
        }
        let place = self.place().clone();
        let mut plan = CleaningPlan {
            name: self.partition().to_string(),
            segments: Vec::new(),
            first_dirty,
            first_uncleanable,
            log_start_offset: start,
            segment_bytes: self.config().segment_bytes,
            index_interval_bytes: self.config().index_interval_bytes,
            delete_retention_ms: self.config().delete_retention_ms,
            aborted: Vec::new(),
            producers: self.active_producers_last_offsets(),
            oldest_dirty_ms: i64::MAX,
            place,
        };
        for segment in self.segments_below(first_uncleanable) {
            let (base_offset, size) = (segment.base_offset, segment.size);
            let file = segment.file(&plan.place)?;
            let modified_ms = segment.modified_ms(&plan.place)?;
            plan.aborted.extend(txn_index::read(&plan.place.dir, base_offset)?);
            if base_offset >= first_dirty && size > 0 {
                plan.oldest_dirty_ms = plan.oldest_dirty_ms.min(segment.retention_timestamp(&plan.place)?);
            }
            plan.segments.push(SourceSegment {
                base_offset,
                size,
                path: segment.path(&plan.place),
                file,
                modified_ms,
            });
        }
        Ok((!plan.segments.is_empty()).then_some(plan))
    }

    /// Where compaction must stop: the active segment, open transactions, and records too young
    /// (`min.compaction.lag.ms`).
    fn first_uncleanable_offset(&self, now_ms: i64) -> Result<i64> {
        let mut offset = self.active_base_offset().min(self.last_stable_offset());
        let lag = self.config().min_compaction_lag_ms;
        if lag > 0 {
            for segment in self.segments_below(offset) {
                if segment.retention_timestamp(self.place())? > now_ms.saturating_sub(lag) {
                    offset = offset.min(segment.base_offset);
                }
            }
        }
        // Whole segments only.
        let within = self.segment_base_offsets().filter(|base| *base <= offset).last();
        Ok(within.unwrap_or(offset))
    }
}

impl CleaningPlan {
    /// Share of bytes that no pass has seen.
    pub fn dirty_ratio(&self) -> f64 {
        let dirty: u64 =
            self.segments.iter().filter(|s| s.base_offset >= self.first_dirty).map(|s| s.size).sum();
        let all: u64 = self.segments.iter().map(|s| s.size).sum();
        if all == 0 { 0.0 } else { dirty as f64 / all as f64 }
    }

    /// How long the oldest dirty segment has been waiting.
    pub fn lag_ms(&self, now_ms: i64) -> i64 {
        if self.oldest_dirty_ms == i64::MAX { 0 } else { now_ms.saturating_sub(self.oldest_dirty_ms) }
    }

    /// Segments below `up_to` in runs that fit into one.
    pub fn groups(&self, up_to: i64) -> Vec<&[SourceSegment]> {
        let count = self.segments.partition_point(|s| s.base_offset < up_to);
        let segments = &self.segments[..count];
        let mut groups = Vec::new();
        let mut from = 0;
        let mut bytes = 0;
        for (i, segment) in segments.iter().enumerate() {
            let next_base = self.segments.get(i + 1).map_or(self.first_uncleanable, |s| s.base_offset);
            let span = next_base - segments[from].base_offset;
            if i > from
                && (bytes + segment.size > u64::from(self.segment_bytes) || span > i64::from(i32::MAX))
            {
                groups.push(&segments[from..i]);
                (from, bytes) = (i, 0);
            }
            bytes += segment.size;
        }
        if from < segments.len() {
            groups.push(&segments[from..]);
        }
        groups
    }

    /// When a tombstone that carries no horizon of its own may go: segments written before this (legacy rule).
    pub fn tombstones_go_before_ms(&self) -> i64 {
        let last_clean = self.segments.iter().rfind(|s| s.base_offset < self.first_dirty);
        last_clean.map_or(0, |s| s.modified_ms.saturating_sub(self.delete_retention_ms))
    }
}
