//! Making appends durable, in two steps so that nobody waits on the disk under a lock.
//!
//! Indexes of the active segment are not synced: recovery rebuilds those of every segment at or after the recovery
//! point. A sync error is final (the kernel may have dropped the pages): the log goes offline.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Log, Unsynced};
use crate::disk;
use crate::error::{LogError, Result};
use crate::names::{TXN_INDEX_SUFFIX, segment_file};

/// Files to sync so that the log is durable up to an offset.
#[derive(Debug)]
pub struct FlushJob {
    data: Vec<(PathBuf, Arc<File>)>,
    /// Synced if they exist: they may have been deleted meanwhile.
    small: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
    done: Flushed,
}

/// A finished [`FlushJob`], for [`Log::complete_flush`].
#[derive(Debug, Clone, Copy)]
pub struct Flushed {
    up_to: i64,
    truncations: u64,
}

impl FlushJob {
    /// Syncs; blocks on the disk.
    pub fn run(self) -> Result<Flushed> {
        for (path, file) in &self.data {
            file.sync_data().map_err(LogError::io("sync", path))?;
        }
        for path in &self.small {
            match disk::sync_file_at(path) {
                Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        for dir in &self.dirs {
            match disk::sync_dir(dir) {
                Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(self.done)
    }
}

impl Log {
    /// What to sync so that everything below `up_to` is durable; `None` if it is already.
    pub fn prepare_flush(&mut self, up_to: i64) -> Result<Option<FlushJob>> {
        self.check_online()?;
        let up_to = up_to.min(self.next_offset);
        if up_to <= self.recovery_point && !self.has_unsynced_names() {
            return Ok(None);
        }
        let first = self.segment_for(self.recovery_point).unwrap_or(0);
        let mut data = Vec::new();
        let mut small = std::mem::take(&mut self.unsynced.files);
        for (i, segment) in self.segments.iter().enumerate().skip(first) {
            if segment.base_offset >= up_to.max(1) && i != first {
                break;
            }
            data.push((segment.path(&self.place), segment.file(&self.place)?));
            if i + 1 < self.segments.len() {
                small.push(segment.offset_index.path(&self.place));
                small.push(segment.time_index.path(&self.place));
                small.push(segment_file(&self.place.dir, segment.base_offset, TXN_INDEX_SUFFIX));
            }
        }
        small.extend(self.epochs.unsynced_path());
        let mut dirs = Vec::new();
        if std::mem::take(&mut self.unsynced.dir) {
            dirs.push(self.place.dir.clone());
        }
        if std::mem::take(&mut self.unsynced.parent) {
            dirs.extend(self.place.dir.parent().map(PathBuf::from));
        }
        Ok(Some(FlushJob { data, small, dirs, done: Flushed { up_to, truncations: self.truncations } }))
    }

    /// Moves the recovery point after a job has run, or takes the log offline after it failed.
    pub fn complete_flush(&mut self, result: Result<Flushed>, now_ms: i64) -> Result<()> {
        match result {
            Ok(flushed) => {
                self.last_flush_ms = now_ms;
                self.epochs.mark_synced();
                if flushed.truncations == self.truncations {
                    self.recovery_point = self.recovery_point.max(flushed.up_to);
                }
                Ok(())
            }
            Err(e) => {
                self.offline = true;
                Err(e)
            }
        }
    }

    /// Both steps at once, for callers that may block.
    pub fn flush(&mut self, up_to: i64, now_ms: i64) -> Result<()> {
        match self.prepare_flush(up_to)? {
            Some(job) => self.complete_flush(job.run(), now_ms),
            None => Ok(()),
        }
    }

    /// Up to where a background flush should go now: past rolled segments always, to the end once `flush.ms` is
    /// over; `None` if nothing is due.
    pub fn flush_due(&self, now_ms: i64) -> Option<i64> {
        if now_ms.saturating_sub(self.last_flush_ms) >= self.config.flush_ms
            && self.recovery_point < self.next_offset
        {
            return Some(self.next_offset);
        }
        let active = self.active().base_offset;
        (self.recovery_point < active).then_some(active)
    }

    fn has_unsynced_names(&self) -> bool {
        self.unsynced.dir || !self.unsynced.files.is_empty() || self.epochs.unsynced_path().is_some()
    }

    /// Syncs everything and leaves the directory as Kafka does after a clean stop: both indexes of the active
    /// segment there, a producer snapshot at the end.
    pub fn close(&mut self, now_ms: i64) -> Result<()> {
        if self.prepare_close()? {
            self.flush(self.next_offset, now_ms)?;
        }
        self.forget_files();
        Ok(())
    }

    /// The writing part of [`Self::close`]; says whether anything is left to sync.
    pub(crate) fn prepare_close(&mut self) -> Result<bool> {
        self.guarded(|log| {
            let place = log.place.clone();
            if log.active_mut().seal(&place)? {
                log.unsynced.files.push(log.active().offset_index.path(&place));
                log.unsynced.files.push(log.active().time_index.path(&place));
                log.unsynced.dir = true;
            }
            log.producers.set_map_end_offset(log.next_offset);
            log.unsynced.files.extend(log.producers.take_snapshot()?);
            Ok(log.recovery_point < log.next_offset || log.has_unsynced_names())
        })
    }

    /// Everything written so far has been synced by other means (the whole file system).
    pub(crate) fn mark_all_synced(&mut self, now_ms: i64) {
        self.recovery_point = self.next_offset;
        self.last_flush_ms = now_ms;
        self.unsynced = Unsynced::default();
        self.epochs.mark_synced();
    }

    pub(crate) fn forget_files(&self) {
        for segment in &self.segments {
            segment.forget_files(&self.place);
        }
    }
}
