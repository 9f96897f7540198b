//! What can go wrong between a server and its data directory.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A failure of the environment (disk, permissions) or of the files found there.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },

    /// Bytes that were once written whole are no longer what they were.
    #[error(
        "{} is corrupt at offset {offset}: {why}; what stands before this place is whole",
        path.display()
    )]
    Corrupt { path: PathBuf, offset: u64, why: String },

    /// Transactions are missing between two that are there.
    #[error(
        "transactions 0x{after:x} to 0x{found:x} are not contiguous: {} goes on at 0x{found:x}. A log file was removed \
         or lost",
        path.display()
    )]
    Gap { after: i64, found: i64, path: PathBuf },

    /// Two servers on one directory would destroy it.
    #[error("{} is in use by another process{}. Stop it, or choose another dataDir", path.display(), holder(.pid))]
    InUse { path: PathBuf, pid: Option<u32> },

    /// Apache's rule of ZOOKEEPER-3056: a log without any snapshot has no known start.
    #[error(
        "no valid snapshot in {} but there are transactions in {}",
        snap_dir.display(), log_dir.display()
    )]
    LogsWithoutSnapshot { snap_dir: PathBuf, log_dir: PathBuf },

    /// What was once synced is not there any more, though nothing that is there is damaged.
    #[error(
        "transaction 0x{logged:x} was logged in {}, but all that can be recovered ends at 0x{last:x}. Log files were \
         lost or emptied",
        dir.display()
    )]
    LogLost { dir: PathBuf, logged: i64, last: i64 },

    /// Snapshots were found, but none could be read to its end.
    #[error("no snapshot in {} can be read that, with the log, gives the newest state; the newest: {newest}", dir.display())]
    NoReadableSnapshot { dir: PathBuf, newest: String },

    /// dataDir and dataLogDir are mixed up (ZOOKEEPER-2967).
    #[error("{} holds {what}. Check whether dataDir and dataLogDir are swapped", path.display())]
    Misplaced { path: PathBuf, what: &'static str },

    #[error("{} does not exist and must not be created (datadir.autocreate=false)", path.display())]
    MissingDir { path: PathBuf },

    /// A small text file does not hold the number it should.
    #[error("{} holds {found:?}, not a number", path.display())]
    NotANumber { path: PathBuf, found: String },

    /// Epoch files and log contradict each other; voting with them could lose acknowledged writes.
    #[error("{}: {why}", path.display())]
    Epochs { path: PathBuf, why: String },

    /// The history here does not lead to where the leader wants it cut. Nothing was changed.
    #[error("cannot cut the history back to 0x{zxid:x}: {why}. Only the leader's snapshot helps")]
    CannotTruncate { zxid: i64, why: String },

    /// See `DataDir::recover_or_set_aside`; a single server has nobody to be synchronised by.
    #[error(
        "{} has lost its history ({why}), and no leader has synchronised it since. Start it as a member of its \
         ensemble, restore the directory from a copy, or create a file named initialize in dataDir and remove the file \
         untrusted to begin with an empty database",
        path.display()
    )]
    Untrusted { path: PathBuf, why: String },

    /// The caller refused a part of a snapshot or a transaction.
    #[error("{} holds what cannot be applied: {why}", path.display())]
    Refused { path: PathBuf, why: String },

    /// The log failed before; what it holds after its last sync is unknown, so it takes nothing more.
    #[error(
        "the transaction log failed earlier ({0}) and takes no more writes; restart the server once the disk is well"
    )]
    Poisoned(String),

    /// The caller handed over something that is no transaction.
    #[error("not a transaction: {0}")]
    NotATransaction(String),

    #[error("at least 3 snapshots are kept, {0} asked for")]
    RetainTooFew(usize),
}

impl StoreError {
    /// For `map_err`: an I/O error with the deed and the file.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
        move |source| StoreError::Io { what, path: path.to_owned(), source }
    }

    /// What a person can do about damaged data. Nothing needs to be done on a member of an ensemble, which heals from the
    /// others.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Corrupt { .. } | Self::LogLost { .. } | Self::NoReadableSnapshot { .. } => {
                Some("Restore the data directory from a copy")
            }
            Self::Gap { .. } => Some("Restore the missing log file from a copy of the directory"),
            Self::LogsWithoutSnapshot { .. } => Some(
                "Restore the snapshots; only after an upgrade from 3.4, start once with snapshot.trust.empty=true",
            ),
            _ => None,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, why: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: path.to_owned(), offset, why: why.into() }
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|p| format!(" (pid {p})")).unwrap_or_default()
}
