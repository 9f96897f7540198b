//! From files to state: the newest readable snapshot, then every logged transaction after it.
//!
//! All logged transactions are replayed, committed or not: a single server acknowledged what it synced, and in an
//! ensemble the leader settles the rest. A snapshot that cannot be read costs a warning and the next older one is
//! taken; the gap check of the log then proves that nothing between is missing.

use std::fs;

use bytes::Bytes;
use zk_proto::txn::TxnEntry;

use super::{DataDir, RECENT_BYTES_MAX};
use crate::error::StoreError;
use crate::names::{DiskFile, list_snapshots, sync_dir};
use crate::snapshot::{SnapshotPart, SnapshotTail, looks_valid, read_snapshot};
use crate::txnlog::{Entries, Recent, TornTail, TxnLogReader, cut_torn_tail, follows};

/// Apache gives up after as many.
const SNAPSHOTS_TRIED_MAX: usize = 100;

/// The rules for directories that lack something.
#[derive(Debug, Clone)]
pub struct RecoverOptions {
    /// `snapshot.trust.empty`: transactions without a snapshot are replayed from nothing, for upgrades from 3.4.
    pub trust_empty_snapshot: bool,
    /// `zookeeper.db.autocreate`: an empty directory is a fresh database. With false only an `initialize` file says so.
    pub db_autocreate: bool,
    /// Replays a log with transactions missing in it, which is otherwise refused.
    pub accept_gaps: bool,
    /// How many of the newest transactions to keep for [`Recovery::recent`] (`commitLogCount`).
    pub recent_max: usize,
}

impl Default for RecoverOptions {
    fn default() -> Self {
        Self { trust_empty_snapshot: false, db_autocreate: true, accept_gaps: false, recent_max: 0 }
    }
}

/// A piece of the recovered state, in this order: `Reset`, parts, transactions; another `Reset` starts over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryEvent {
    /// Drop everything received so far: a snapshot begins, or the one before could not be read to its end.
    Reset,
    Part(SnapshotPart),
    /// A logged transaction, decoded and as its bytes.
    Txn {
        entry: TxnEntry,
        payload: Bytes,
    },
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The last transaction there is: of the log, else of the snapshot's name. 0 for a fresh database; -1 for an empty
    /// directory that must not be trusted (no voting).
    pub last_zxid: i64,
    /// The snapshot the state began with.
    pub snapshot: Option<DiskFile>,
    /// Its trailers.
    pub snapshot_tail: SnapshotTail,
    /// Transactions replayed after it.
    pub txns: u64,
    /// Payload bytes of them.
    pub txn_bytes: u64,
    /// Unfinished writes that were cut off the newest log.
    pub torn: Option<TornTail>,
    /// A snapshot must be written before the first transaction is logged: later starts refuse logs without one.
    pub needs_snapshot: bool,
    /// The newest logged transactions, as [`DataDir::recent`] finds them: those before the snapshot are among them.
    pub recent: Entries,
}

type Take<'a> = &'a mut dyn FnMut(RecoveryEvent) -> Result<(), String>;

impl DataDir {
    /// Hands out the state on disk. `take` refuses an event with a reason, which ends recovery (for a part of a
    /// snapshot: makes it unreadable). A torn tail is cut off the newest log and told in the result.
    pub fn recover(&self, options: &RecoverOptions, take: Take<'_>) -> Result<Recovery, StoreError> {
        self.finish_installation()?;
        self.refuse_half_installed()?;
        let loaded = self.load_snapshot(take)?;
        let trusted = self.consume_initialize()? || options.db_autocreate;
        let mut recovery = Recovery {
            last_zxid: 0,
            snapshot: None,
            snapshot_tail: SnapshotTail::default(),
            txns: 0,
            txn_bytes: 0,
            torn: None,
            needs_snapshot: false,
            recent: Vec::new(),
        };
        match loaded {
            Some((snapshot, tail)) => {
                recovery.last_zxid = snapshot.zxid;
                recovery.snapshot = Some(snapshot);
                recovery.snapshot_tail = tail;
            }
            None => {
                let logged = self.last_logged_zxid()?.is_some();
                if logged && !options.trust_empty_snapshot {
                    return Err(StoreError::LogsWithoutSnapshot {
                        snap_dir: self.snap_dir().to_owned(),
                        log_dir: self.log_dir().to_owned(),
                    });
                }
                if !logged && !trusted {
                    tracing::warn!(dir = %self.snap_dir().display(), "empty database without an initialize file: not voting");
                    recovery.last_zxid = -1;
                }
                recovery.needs_snapshot = logged || trusted;
                emit(take, RecoveryEvent::Reset, self.snap_dir())?;
            }
        }
        self.replay(options, &mut recovery, take)?;
        Ok(recovery)
    }

    fn load_snapshot(&self, take: Take<'_>) -> Result<Option<(DiskFile, SnapshotTail)>, StoreError> {
        let mut newest_error = None;
        for snapshot in list_snapshots(self.snap_dir())?.into_iter().take(SNAPSHOTS_TRIED_MAX) {
            if !looks_valid(&snapshot.path) {
                tracing::warn!(path = %snapshot.path.display(), "snapshot is incomplete, trying an older one");
                continue;
            }
            emit(take, RecoveryEvent::Reset, &snapshot.path)?;
            match read_snapshot(&snapshot.path, &mut |part| take(RecoveryEvent::Part(part))) {
                Ok(tail) => return Ok(Some((snapshot, tail))),
                Err(e) => {
                    tracing::warn!(error = %e, "snapshot cannot be read, trying an older one");
                    newest_error.get_or_insert(e.to_string());
                }
            }
        }
        match newest_error {
            None => Ok(None),
            Some(newest) => Err(StoreError::NoReadableSnapshot { dir: self.snap_dir().to_owned(), newest }),
        }
    }

    fn replay(
        &self,
        options: &RecoverOptions,
        recovery: &mut Recovery,
        take: Take<'_>,
    ) -> Result<(), StoreError> {
        let start = recovery.last_zxid.max(0);
        let mut recent = Recent::new(self.snapshot_zxids()?, options.recent_max, RECENT_BYTES_MAX);
        let mut reader = TxnLogReader::open(self.log_dir(), start + 1)?.accept_gaps(options.accept_gaps);
        while let Some(record) = reader.next_record()? {
            let path = reader.path().unwrap_or(self.log_dir());
            let entry = TxnEntry::decode(&record.payload).map_err(|e| {
                StoreError::corrupt(path, record.offset, format!("transaction 0x{:x}: {e}", record.zxid))
            })?;
            if recovery.txns == 0 && !options.accept_gaps && !starts_after(recovery, record.zxid) {
                return Err(StoreError::Gap { after: start, found: record.zxid, path: path.to_owned() });
            }
            recovery.txns += 1;
            recovery.txn_bytes += record.payload.len() as u64;
            recovery.last_zxid = recovery.last_zxid.max(record.zxid);
            recent.push(record.zxid, record.payload.clone());
            emit(take, RecoveryEvent::Txn { entry, payload: record.payload }, path)?;
        }
        if let Some(torn) = reader.torn_tail() {
            tracing::warn!(
                path = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, why = torn.why,
                "the log ends in an unfinished write, cutting it off"
            );
            cut_torn_tail(torn)?;
            recovery.torn = Some(torn.clone());
        }
        recovery.recent = match recent.is_bounded() {
            true => recent.into_entries(),
            // More may stand in the log before the snapshot.
            false => self.recent(options.recent_max)?,
        };
        Ok(())
    }

    /// `initialize` says that an empty database is meant; it counts once.
    fn consume_initialize(&self) -> Result<bool, StoreError> {
        let path = self.log_root.join("initialize");
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(&self.log_root).map(|()| true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StoreError::io("remove", &path)(e)),
        }
    }
}

/// Whether the first replayed transaction directly follows the snapshot. Logs from before snapshots existed (an
/// upgrade from 3.4) may begin anywhere.
fn starts_after(recovery: &Recovery, zxid: i64) -> bool {
    match &recovery.snapshot {
        Some(snapshot) => follows(snapshot.zxid, zxid),
        None => true,
    }
}

fn emit(take: Take<'_>, event: RecoveryEvent, path: &std::path::Path) -> Result<(), StoreError> {
    take(event).map_err(|why| StoreError::Refused { path: path.to_owned(), why })
}
