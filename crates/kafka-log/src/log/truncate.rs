//! Deleting from the end (a follower that diverged), starting over, and deleting the whole log.

use std::path::PathBuf;

use tracing::info;

use super::{Log, Unsynced};
use crate::disk;
use crate::error::Result;
use crate::names::delete_dir_name;
use crate::segment::Segment;

impl Log {
    /// Drops every record at or after `offset`; says whether there were any.
    pub fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<bool> {
        self.guarded(|log| {
            if offset >= log.next_offset {
                // An epoch begun without an append may conflict with the leader's.
                log.epochs.truncate_from_end(log.next_offset)?;
                return Ok(false);
            }
            info!("{}: truncating to offset {offset}", log.name);
            if log.segments[0].base_offset > offset {
                log.start_over(offset, now_ms)?;
            } else {
                log.cut_end(offset.max(0), now_ms)?;
            }
            Ok(true)
        })
    }

    /// Drops everything and goes on at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64, now_ms: i64) -> Result<()> {
        self.guarded(|log| log.start_over(offset, now_ms))
    }

    fn cut_end(&mut self, offset: i64, now_ms: i64) -> Result<()> {
        self.truncations += 1;
        self.recent.clear();
        while self.segments.len() > 1 && self.active().base_offset > offset {
            let Some(segment) = self.segments.pop_back() else { break };
            self.mark_segment_deleted(&segment, now_ms)?;
        }
        let place = self.place.clone();
        self.active_mut().truncate_to(&place, offset)?;
        self.next_offset = offset;
        self.recovery_point = self.recovery_point.min(offset);
        self.log_start_offset = self.log_start_offset.min(offset);
        self.high_watermark = self.high_watermark.min(offset).max(self.log_start_offset);
        self.epochs.truncate_from_end(offset)?;
        self.rebuild_producers(offset, now_ms)
    }

    fn start_over(&mut self, offset: i64, now_ms: i64) -> Result<()> {
        self.truncations += 1;
        self.recent.clear();
        let removed: Vec<Segment> = self.segments.drain(..).collect();
        for segment in removed {
            self.mark_segment_deleted(&segment, now_ms)?;
        }
        let jitter = self.next_jitter();
        let preallocate = self.config.preallocate.then_some(self.config.segment_bytes);
        self.segments.push_back(Segment::create(&self.place, offset, now_ms, jitter, preallocate)?);
        self.unsynced.dir = true;
        self.epochs.clear()?;
        self.producers.truncate_fully(offset)?;
        self.next_offset = offset;
        self.log_start_offset = offset;
        self.recovery_point = self.recovery_point.min(offset);
        self.high_watermark = offset;
        Ok(())
    }

    /// Renames the directory to `<topic>-<partition>.<unique>-delete`; what is in it stays readable through open
    /// files. Returns the new path, to be removed after the delay.
    pub fn rename_for_deletion(&mut self, unique: u128) -> Result<PathBuf> {
        let parent = self.place.dir.parent().map(PathBuf::from).unwrap_or_default();
        let to = parent.join(delete_dir_name(&self.partition, unique));
        disk::rename(&self.place.dir, &to)?;
        disk::sync_dir(&parent)?;
        self.forget_files();
        self.place.dir.clone_from(&to);
        self.epochs.move_to(&to);
        self.producers.move_to(&to);
        self.unsynced = Unsynced::default();
        self.deleted.clear();
        self.offline = true;
        info!("{}: log is renamed to {} and is scheduled for deletion", self.name, to.display());
        Ok(to)
    }
}
