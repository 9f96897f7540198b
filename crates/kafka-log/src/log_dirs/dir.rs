//! One log directory: its lock, its checkpoints, and what waits in it for removal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tracing::info;

use crate::checkpoint::{HIGH_WATERMARK_FILE, LOG_START_FILE, OffsetCheckpoint, RECOVERY_POINT_FILE};
use crate::dir_files::DirLock;
use crate::disk;
use crate::error::{LogError, Result};

#[derive(Debug)]
pub(super) struct LogDir {
    pub path: PathBuf,
    pub recovery_points: OffsetCheckpoint,
    pub high_watermarks: OffsetCheckpoint,
    pub log_starts: OffsetCheckpoint,
    lock: Mutex<Option<DirLock>>,
    removals: Mutex<VecDeque<(i64, PathBuf)>>,
    /// One writer of the checkpoint files at a time.
    pub checkpointing: Mutex<()>,
}

impl LogDir {
    pub fn prepare(path: &Path) -> Result<Self> {
        if disk::len_of(path)?.is_none() {
            info!("log directory {} not found, creating it", path.display());
            std::fs::create_dir_all(path).map_err(LogError::io("create directory", path))?;
            disk::sync_parent(path)?;
        }
        Ok(Self {
            lock: Mutex::new(Some(DirLock::acquire(path)?)),
            path: path.to_owned(),
            recovery_points: OffsetCheckpoint::new(path, RECOVERY_POINT_FILE),
            high_watermarks: OffsetCheckpoint::new(path, HIGH_WATERMARK_FILE),
            log_starts: OffsetCheckpoint::new(path, LOG_START_FILE),
            removals: Mutex::default(),
            checkpointing: Mutex::new(()),
        })
    }

    pub fn schedule_removal(&self, path: PathBuf, due_ms: i64) {
        self.removals.lock().push_back((due_ms, path));
    }

    /// Directories whose delay is over.
    pub fn due_removals(&self, now_ms: i64) -> Vec<PathBuf> {
        let mut removals = self.removals.lock();
        let (due, later) = removals.drain(..).partition(|(due_ms, _)| *due_ms <= now_ms);
        *removals = later;
        let due: VecDeque<(i64, PathBuf)> = due;
        due.into_iter().map(|(_, path)| path).collect()
    }

    pub fn unlock(&self) {
        self.lock.lock().take();
    }
}
