//! What is done to all logs from time to time, and at the end.

use std::path::Path;

use tracing::{debug, error, info};

use super::{LogDirs, LogHandle};
use crate::checkpoint::{CLEANER_FILE, OffsetCheckpoint};
use crate::dir_files::CleanShutdown;
use crate::disk;
use crate::error::Result;
use crate::names::TopicPartition;

/// Up to so many logs are synced one by one at the end.
const SYNC_EACH_MAX: usize = 64;

impl LogDirs {
    /// Applies retention to every topic that is not compacted, or compacted and deleted; returns the number of
    /// segments deleted (`log.retention.check.interval.ms`). Logs that fail are reported and passed over.
    pub fn retention_pass(&self, now_ms: i64) -> usize {
        let mut deleted = 0;
        self.for_each("retention", |log| {
            let mut log = log.lock();
            deleted += if log.is_offline() { 0 } else { log.delete_old_segments(now_ms)? };
            Ok(())
        });
        debug!("retention: {deleted} segments deleted");
        deleted
    }

    /// Removes files and directories whose `file.delete.delay.ms` is over.
    pub fn delete_pass(&self, now_ms: i64) {
        self.for_each("deletion", |log| {
            let mut log = log.lock();
            if log.has_deleted_files() { log.purge_deleted(now_ms) } else { Ok(()) }
        });
        for path in self.dirs.iter().flat_map(|d| d.due_removals(now_ms)) {
            match disk::remove_dir_all(&path) {
                Ok(()) => info!("deleted log directory {}", path.display()),
                Err(e) => error!("{e}; delete the directory by hand"),
            }
        }
    }

    /// Syncs logs with rolled segments, and those whose `flush.ms` is over.
    pub fn flush_pass(&self, now_ms: i64) {
        self.for_each("flush", |log| {
            let due = log.lock().flush_due(now_ms);
            due.map_or(Ok(()), |up_to| flush(log, up_to, now_ms))
        });
    }

    /// Forgets producers silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&self, now_ms: i64) {
        self.for_each("producer expiration", |log| {
            log.lock().remove_expired_producers(now_ms);
            Ok(())
        });
    }

    /// Writes `replication-offset-checkpoint` (`replica.high.watermark.checkpoint.interval.ms`).
    pub fn checkpoint_high_watermarks(&self) -> Result<()> {
        self.checkpoint(|dir| &dir.high_watermarks, |log| Some(log.high_watermark()))
    }

    /// Writes `recovery-point-offset-checkpoint` (`log.flush.offset.checkpoint.interval.ms`).
    pub fn checkpoint_recovery_points(&self) -> Result<()> {
        self.checkpoint(|dir| &dir.recovery_points, |log| Some(log.recovery_point()))
    }

    /// Writes `log-start-offset-checkpoint` (`log.flush.start.offset.checkpoint.interval.ms`): logs that begin
    /// inside their first segment.
    pub fn checkpoint_log_starts(&self) -> Result<()> {
        self.checkpoint(
            |dir| &dir.log_starts,
            |log| {
                let inside =
                    log.segment_base_offsets().next().is_some_and(|base| log.log_start_offset() > base);
                inside.then(|| log.log_start_offset())
            },
        )
    }

    /// Sees to it that no checkpoint speaks of an earlier log of this name: a recovery point or log start beyond the
    /// new log's end would cost it its records after a crash.
    pub(super) fn forget_stale(&self, partition: &TopicPartition) -> Result<()> {
        if !self.stale.lock().contains(partition) {
            return Ok(());
        }
        let stale = self.stale.lock().clone();
        self.checkpoint_recovery_points()?;
        self.checkpoint_log_starts()?;
        self.checkpoint_high_watermarks()?;
        for dir in &self.dirs {
            let cleaner = OffsetCheckpoint::new(&dir.path, CLEANER_FILE);
            let mut offsets = cleaner.read();
            let before = offsets.len();
            offsets.retain(|p, _| !stale.contains(p));
            if offsets.len() != before {
                cleaner.write(offsets.iter().map(|(p, o)| (p, *o)))?;
            }
        }
        self.stale.lock().retain(|p| !stale.contains(p));
        Ok(())
    }

    /// Closes everything so that the next start need not scan: logs, checkpoints, and last the marker. A directory
    /// with a log that could not be closed gets no marker.
    pub fn shutdown(&self, broker_epoch: i64, now_ms: i64) -> Result<()> {
        let logs = self.entries();
        let clean: Vec<bool> = (0..self.dirs.len())
            .map(|dir| {
                let here: Vec<_> =
                    logs.iter().filter(|(_, e)| e.dir == dir).map(|(p, e)| (p, &e.log)).collect();
                close_all(&self.dirs[dir].path, &here, now_ms)
            })
            .collect();
        self.checkpoint_recovery_points()?;
        self.checkpoint_log_starts()?;
        self.checkpoint_high_watermarks()?;
        for (dir, clean) in self.dirs.iter().zip(clean) {
            if clean {
                CleanShutdown::write(&dir.path, broker_epoch)?;
            }
            dir.unlock();
        }
        Ok(())
    }

    fn checkpoint(
        &self,
        file: impl Fn(&super::dir::LogDir) -> &crate::checkpoint::OffsetCheckpoint,
        offset: impl Fn(&crate::log::Log) -> Option<i64>,
    ) -> Result<()> {
        for (i, dir) in self.dirs.iter().enumerate() {
            let _one_writer = dir.checkpointing.lock();
            let entries = self.entries();
            let mut offsets: Vec<(&TopicPartition, i64)> = entries
                .iter()
                .filter(|(_, e)| e.dir == i)
                .filter_map(|(p, e)| Some((p, offset(&e.log.lock())?)))
                .collect();
            offsets.sort_unstable();
            file(dir).write(offsets)?;
        }
        Ok(())
    }

    fn for_each(&self, what: &str, mut f: impl FnMut(&LogHandle) -> Result<()>) {
        for (partition, entry) in self.entries() {
            if let Err(e) = f(&entry.log) {
                error!("{what} of {partition}: {e}");
            }
        }
    }
}

/// Syncs a log without holding its lock.
pub(super) fn flush(log: &LogHandle, up_to: i64, now_ms: i64) -> Result<()> {
    let job = log.lock().prepare_flush(up_to)?;
    match job {
        Some(job) => {
            let done = job.run();
            log.lock().complete_flush(done, now_ms)
        }
        None => Ok(()),
    }
}

/// Closes the logs of a directory; says whether all could be.
fn close_all(dir: &Path, logs: &[(&TopicPartition, &LogHandle)], now_ms: i64) -> bool {
    let mut clean = true;
    let mut unsynced = Vec::new();
    for (partition, log) in logs {
        match log.lock().prepare_close() {
            Ok(true) => unsynced.push((*partition, *log)),
            Ok(false) => {}
            Err(e) => {
                error!("{partition}: {e}; the log is scanned at the next start");
                clean = false;
            }
        }
    }
    // A few syncs per log become minutes with thousands of logs; then the whole file system is synced, once.
    if unsynced.len() > SYNC_EACH_MAX && disk::sync_file_system(dir).is_ok() {
        unsynced.iter().for_each(|(_, log)| log.lock().mark_all_synced(now_ms));
    } else {
        for (partition, log) in unsynced {
            let mut log = log.lock();
            let end = log.log_end_offset();
            if let Err(e) = log.flush(end, now_ms) {
                error!("{partition}: {e}; the log is scanned at the next start");
                clean = false;
            }
        }
    }
    logs.iter().for_each(|(_, log)| log.lock().forget_files());
    clean
}
