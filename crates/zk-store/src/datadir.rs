//! A server's directories: `<dataDir>/version-2` with snapshots and epoch files, `<dataLogDir>/version-2` with logs,
//! `<dataDir>/myid` and `initialize`.
//!
//! Opening takes a lock that lives as long as the [`DataDir`]. The lock file `zoolog.lock` is ours alone: Apache
//! neither makes nor honours it.

mod epochs;
mod install;
mod lock;
mod member;
mod purge;
mod recovery;
mod small_file;
mod truncate;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};

use zk_proto::Acl;

use crate::error::StoreError;
use crate::names::{DiskFile, list_logs, list_snapshots};
use crate::snapshot::{Compression, SnapshotWriter, is_temporary, looks_valid};
use crate::txnlog::{self, Entries, TxnLog, TxnLogOptions, TxnLogReader, last_logged_zxid};
use lock::DirLock;

pub use epochs::Epochs;
pub use member::{Damage, Distrust, MemberRecovery};
pub use purge::{Removed, SNAPSHOTS_RETAINED_MIN};
pub use recovery::{RecoverOptions, Recovery, RecoveryEvent};
pub use truncate::Truncated;

const VERSION_DIR: &str = "version-2";

/// Payload kept in memory as recent history, however few transactions that is.
const RECENT_BYTES_MAX: usize = 64 << 20;

/// Where a server keeps its state.
#[derive(Debug, Clone)]
pub struct DataDirOptions {
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`; the same as `data_dir` unless given.
    pub log_dir: Option<PathBuf>,
    /// `zookeeper.datadir.autocreate`: missing directories are made.
    pub autocreate: bool,
}

impl DataDirOptions {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), log_dir: None, autocreate: true }
    }
}

/// An open, locked data directory.
#[derive(Debug)]
pub struct DataDir {
    data_dir: PathBuf,
    log_root: PathBuf,
    snap_dir: PathBuf,
    log_dir: PathBuf,
    /// Held, never read.
    _locks: Vec<DirLock>,
}

impl DataDir {
    /// Makes what is missing, takes the lock, refuses swapped directories (ZOOKEEPER-2967), finishes the installation
    /// of a received snapshot, and clears away snapshots that were never finished.
    pub fn open(options: &DataDirOptions) -> Result<Self, StoreError> {
        let data_dir = options.data_dir.clone();
        let log_root = options.log_dir.clone().unwrap_or_else(|| data_dir.clone());
        let (snap_dir, log_dir) = (data_dir.join(VERSION_DIR), log_root.join(VERSION_DIR));
        for dir in [&snap_dir, &log_dir] {
            make_dir(dir, options.autocreate)?;
        }
        let mut locks = vec![DirLock::take(&data_dir)?];
        if !same_dir(&data_dir, &log_root) {
            locks.push(DirLock::take(&log_root)?);
        }
        let dir = Self { data_dir, log_root, snap_dir, log_dir, _locks: locks };
        dir.refuse_swapped()?;
        dir.finish_installation()?;
        dir.remove_temporaries()?;
        Ok(dir)
    }

    /// `<dataDir>/version-2`.
    pub fn snap_dir(&self) -> &Path {
        &self.snap_dir
    }

    /// `<dataLogDir>/version-2`.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The log to append to, after [`DataDir::recover`].
    pub fn open_log(&self, options: TxnLogOptions) -> Result<TxnLog, StoreError> {
        Ok(TxnLog::open(&self.log_dir, options)?.with_note(self.note_path()))
    }

    /// The logged transactions from `from_zxid` on.
    pub fn read_log(&self, from_zxid: i64) -> Result<TxnLogReader, StoreError> {
        TxnLogReader::open(&self.log_dir, from_zxid)
    }

    /// The newest logged transactions, at most `count` of them, without gaps and up to the end of this server's
    /// history; empty if the newest snapshot holds more than the log.
    pub fn recent(&self, count: usize) -> Result<Entries, StoreError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        txnlog::recent(&self.log_dir, self.snapshot_zxids()?, count, RECENT_BYTES_MAX)
    }

    /// Every transaction behind `after`, up to `upto`, the last one known to be in the log and synced: the log may go
    /// on being written meanwhile, what stands behind `upto` is not looked at.
    ///
    /// `None` if the log does not provably reach back to `after`, has a gap (ZOOKEEPER-4925), ends before `upto`, or
    /// would give more than `bytes_max` of payload. It proves to reach back if it holds `after`, or its neighbour in
    /// the same epoch; if `after` is a new epoch's beginning (counter 0), if it holds what comes directly before and
    /// after. Reading stops at the first thing that rules the answer out.
    pub fn read_after(&self, after: i64, upto: i64, bytes_max: u64) -> Result<Option<Entries>, StoreError> {
        txnlog::read_after(&self.log_dir, &self.snapshot_zxids()?, after, upto, bytes_max)
    }

    /// The last whole transaction in the log.
    pub fn last_logged_zxid(&self) -> Result<Option<i64>, StoreError> {
        last_logged_zxid(&self.log_dir)
    }

    /// Begins a snapshot, see [`SnapshotWriter::create`].
    pub fn begin_snapshot<'a>(
        &self,
        zxid: i64,
        compression: Compression,
        sessions: &[(i64, i32)],
        acls: impl ExactSizeIterator<Item = (i64, &'a [Acl])>,
    ) -> Result<SnapshotWriter, StoreError> {
        // One that is complete may still have the temporary name the new one will use.
        self.finish_installation()?;
        SnapshotWriter::create(&self.snap_dir, zxid, compression, sessions, acls)
    }

    /// The newest snapshots that look whole, newest first, at most `count`.
    pub fn valid_snapshots(&self, count: usize) -> Result<Vec<DiskFile>, StoreError> {
        Ok(list_snapshots(&self.snap_dir)?.into_iter().filter(|s| looks_valid(&s.path)).take(count).collect())
    }

    /// Bytes of the newest snapshot that looks whole, 0 without any: what `snapshotSizeFactor` is a factor of
    /// (`ZKDatabase.calculateTxnLogSizeLimit`).
    pub fn newest_snapshot_bytes(&self) -> Result<u64, StoreError> {
        sum_bytes(&self.valid_snapshots(1)?)
    }

    /// Bytes of all snapshots (`datadir_size`).
    pub fn snapshot_bytes(&self) -> Result<u64, StoreError> {
        sum_bytes(&list_snapshots(&self.snap_dir)?)
    }

    /// Bytes of all logs, space filled ahead included (`logdir_size`).
    pub fn log_bytes(&self) -> Result<u64, StoreError> {
        sum_bytes(&list_logs(&self.log_dir)?)
    }

    /// The server's id; `None` without a `myid` file.
    pub fn myid(&self) -> Result<Option<i64>, StoreError> {
        small_file::read_number(&self.data_dir.join("myid"))
    }

    fn snapshot_zxids(&self) -> Result<Vec<i64>, StoreError> {
        Ok(list_snapshots(&self.snap_dir)?.into_iter().map(|snapshot| snapshot.zxid).collect())
    }

    fn refuse_swapped(&self) -> Result<(), StoreError> {
        if same_dir(&self.data_dir, &self.log_root) {
            return Ok(());
        }
        if !list_snapshots(&self.log_dir)?.is_empty() {
            return Err(StoreError::Misplaced { path: self.log_dir.clone(), what: "snapshots" });
        }
        if !list_logs(&self.snap_dir)?.is_empty() {
            return Err(StoreError::Misplaced { path: self.snap_dir.clone(), what: "transaction logs" });
        }
        Ok(())
    }

    fn remove_temporaries(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.snap_dir).map_err(StoreError::io("list", &self.snap_dir))? {
            let entry = entry.map_err(StoreError::io("list", &self.snap_dir))?;
            if entry.file_name().to_str().is_some_and(is_temporary) {
                let path = entry.path();
                tracing::info!(path = %path.display(), "removing a snapshot that was never finished");
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn make_dir(dir: &Path, autocreate: bool) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    if !autocreate {
        return Err(StoreError::MissingDir { path: dir.to_owned() });
    }
    fs::create_dir_all(dir).map_err(StoreError::io("create directory", dir))
}

fn same_dir(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn sum_bytes(files: &[DiskFile]) -> Result<u64, StoreError> {
    let mut sum = 0;
    for file in files {
        sum += file.path.metadata().map_err(StoreError::io("look at", &file.path))?.len();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
