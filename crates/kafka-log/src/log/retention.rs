//! Deleting from the front: retention by size, time and log start offset, and DeleteRecords.
//!
//! Whole segments only, never past the high watermark. Files are renamed to `.deleted` at once and removed after
//! `file.delete.delay.ms`, so that readers holding them can finish.

use std::path::PathBuf;

use tracing::{debug, info};

use super::{DeletedFiles, Log};
use crate::disk;
use crate::error::Result;
use crate::segment::Segment;

impl Log {
    /// Applies the topic's retention; returns the number of segments deleted. Compacted topics without `delete` lose
    /// only what lies below the log start.
    pub fn delete_old_segments(&mut self, now_ms: i64) -> Result<usize> {
        self.guarded(|log| {
            let mut deleted = log.delete_below_log_start(now_ms)?;
            if log.config.delete {
                deleted += log.delete_by_size(now_ms)?;
                deleted += log.delete_by_time(now_ms)?;
            }
            Ok(deleted)
        })
    }

    /// Moves the log start up to `offset` (DeleteRecords, or a leader's log start): records below are gone at once,
    /// their segments with the next retention pass. Returns the log start.
    ///
    /// # Errors
    /// `OffsetOutOfRange` above the high watermark.
    pub fn delete_records_before(&mut self, offset: i64) -> Result<i64> {
        if offset > self.high_watermark {
            return Err(self.out_of_range(offset));
        }
        self.guarded(|log| log.move_log_start(offset))
    }

    fn move_log_start(&mut self, offset: i64) -> Result<i64> {
        if offset > self.log_start_offset {
            self.log_start_offset = offset;
            self.high_watermark = self.high_watermark.max(offset);
            self.epochs.truncate_from_start(offset)?;
            self.producers.on_log_start_moved(offset);
            info!("{}: log start offset is now {offset}", self.name);
        }
        Ok(self.log_start_offset)
    }

    fn delete_below_log_start(&mut self, now_ms: i64) -> Result<usize> {
        let start = self.log_start_offset;
        self.delete_while(now_ms, "log start offset", |_, _, next| {
            Ok(next.is_some_and(|n| n.base_offset <= start))
        })
    }

    fn delete_by_size(&mut self, now_ms: i64) -> Result<usize> {
        let limit = self.config.retention_bytes;
        let size = self.size_bytes();
        if limit < 0 || size < limit.unsigned_abs() {
            return Ok(0);
        }
        let mut excess = size - limit.unsigned_abs();
        self.delete_while(now_ms, "retention.bytes", |_, segment, _| {
            let fits = segment.size <= excess;
            excess = excess.saturating_sub(segment.size);
            Ok(fits)
        })
    }

    fn delete_by_time(&mut self, now_ms: i64) -> Result<usize> {
        let limit = self.config.retention_ms;
        if limit < 0 {
            return Ok(0);
        }
        self.delete_while(now_ms, "retention.ms", |log, segment, _| {
            Ok(now_ms.saturating_sub(segment.retention_timestamp(&log.place)?) > limit)
        })
    }

    /// Deletes segments from the oldest on while `doomed` says so. An empty last segment stays.
    fn delete_while(
        &mut self,
        now_ms: i64,
        why: &str,
        mut doomed: impl FnMut(&Self, &Segment, Option<&Segment>) -> Result<bool>,
    ) -> Result<usize> {
        let mut count = 0;
        for (i, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(i + 1);
            let upper_bound = next.map_or(self.next_offset, |n| n.base_offset);
            let last_and_empty = next.is_none() && segment.size == 0;
            if last_and_empty || self.high_watermark < upper_bound || !doomed(self, segment, next)? {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        if count == self.segments.len() {
            self.roll_at(self.next_offset, now_ms)?;
        }
        let first_kept = self.segments[count].base_offset;
        info!("{}: deleting {count} segments before offset {first_kept} because of {why}", self.name);
        self.move_log_start(first_kept)?;
        self.remove_front(count, now_ms)?;
        Ok(count)
    }

    fn remove_front(&mut self, count: usize, now_ms: i64) -> Result<()> {
        let removed: Vec<Segment> = self.segments.drain(..count).collect();
        for segment in removed {
            self.mark_segment_deleted(&segment, now_ms)?;
        }
        Ok(())
    }

    /// Renames a segment's files, its producer snapshot included, for deletion after the delay.
    pub(super) fn mark_segment_deleted(&mut self, segment: &Segment, now_ms: i64) -> Result<()> {
        let mut paths = segment.mark_deleted(&self.place)?;
        paths.extend(self.producers.mark_deleted(segment.base_offset)?);
        self.remember_deleted(paths, now_ms);
        Ok(())
    }

    pub(super) fn remember_deleted(&mut self, paths: Vec<PathBuf>, now_ms: i64) {
        let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.deleted.push_back(DeletedFiles { due_ms, paths });
    }

    /// Whether files wait to be removed.
    pub fn has_deleted_files(&self) -> bool {
        !self.deleted.is_empty()
    }

    /// Removes files whose delay is over.
    pub fn purge_deleted(&mut self, now_ms: i64) -> Result<()> {
        while self.deleted.front().is_some_and(|d| d.due_ms <= now_ms) {
            let Some(files) = self.deleted.pop_front() else { break };
            for path in files.paths {
                debug!("{}: removing {}", self.name, path.display());
                disk::remove_if_exists(&path)?;
            }
        }
        Ok(())
    }
}
