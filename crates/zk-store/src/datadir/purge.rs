//! Removing what recovery no longer needs (`PurgeTxnLog`).

use std::fs;
use std::path::PathBuf;

use super::DataDir;
use crate::error::StoreError;
use crate::names::{DiskFile, list_logs, list_snapshots};

/// Apache keeps no fewer, and neither do we: recovery falls back to older snapshots.
pub const SNAPSHOTS_RETAINED_MIN: usize = 3;

/// What a purge removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    pub files: Vec<PathBuf>,
    pub bytes: u64,
}

impl DataDir {
    /// Keeps the newest `retain` whole snapshots and every log from the one that holds the oldest kept snapshot's
    /// zxid. With fewer snapshots than that, all logs from there on stay and nothing newer is touched.
    pub fn purge(&self, retain: usize) -> Result<Removed, StoreError> {
        if retain < SNAPSHOTS_RETAINED_MIN {
            return Err(StoreError::RetainTooFew(retain));
        }
        let Some(oldest_kept) = self.valid_snapshots(retain)?.pop() else { return Ok(Removed::default()) };
        let logs = list_logs(self.log_dir())?;
        // log.(X-a) may go on beyond X, so the last log named at or below X stays.
        let first_log_kept = logs.iter().map(|l| l.zxid).filter(|z| *z <= oldest_kept.zxid).max();
        let old_logs = logs.into_iter().filter(|l| first_log_kept.is_some_and(|first| l.zxid < first));
        let old_snapshots =
            list_snapshots(self.snap_dir())?.into_iter().filter(|s| s.zxid < oldest_kept.zxid);
        let mut removed = Removed::default();
        for file in old_snapshots.chain(old_logs) {
            remove(&file, &mut removed)?;
        }
        Ok(removed)
    }
}

fn remove(file: &DiskFile, removed: &mut Removed) -> Result<(), StoreError> {
    let bytes = file.path.metadata().map_err(StoreError::io("look at", &file.path))?.len();
    fs::remove_file(&file.path).map_err(StoreError::io("remove", &file.path))?;
    tracing::info!(path = %file.path.display(), bytes, "purged");
    removed.files.push(file.path.clone());
    removed.bytes += bytes;
    Ok(())
}
