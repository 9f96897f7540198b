//! From files to state: the newest readable snapshot, then every logged transaction after it.
//!
//! All logged transactions are replayed, committed or not: a single server acknowledged what it synced, and in an
//! ensemble the leader settles the rest. A snapshot that cannot be read costs a warning and the next older one is
//! taken; the log must then lead to the damaged one's zxid without a gap, which proves that nothing is missing.

use std::path::PathBuf;

use bytes::Bytes;
use zk_proto::txn::TxnEntry;

use super::{DataDir, RECENT_BYTES_MAX};
use crate::error::StoreError;
use crate::names::{DiskFile, list_snapshots};
use crate::snapshot::{SnapshotPart, SnapshotTail, looks_valid, read_snapshot};
use crate::steps::DiskStep;
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
    /// A file `initialize` was there (and is not any more): an empty database is meant.
    pub initialized: bool,
    /// A snapshot must be written before the first transaction is logged: later starts refuse logs without one.
    pub needs_snapshot: bool,
    /// The newest logged transactions, as [`DataDir::recent`] finds them: those before the snapshot are among them.
    pub recent: Entries,
}

/// The newest readable snapshot.
struct Loaded {
    snapshot: Option<(DiskFile, SnapshotTail)>,
    /// A newer one that is damaged, and how. One that was never finished does not count: Apache leaves such files when
    /// it stops while writing them.
    newest_error: Option<(i64, String)>,
}

impl Recovery {
    pub(super) fn empty() -> Self {
        Self {
            last_zxid: 0,
            snapshot: None,
            snapshot_tail: SnapshotTail::default(),
            txns: 0,
            txn_bytes: 0,
            torn: None,
            initialized: false,
            needs_snapshot: false,
            recent: Vec::new(),
        }
    }
}

pub(super) type Take<'a> = &'a mut dyn FnMut(RecoveryEvent) -> Result<(), String>;

impl DataDir {
    /// Hands out the state on disk. `take` refuses an event with a reason, which ends recovery (for a part of a
    /// snapshot: makes it unreadable). A torn tail is cut off the newest log and told in the result.
    pub fn recover(&self, options: &RecoverOptions, take: Take<'_>) -> Result<Recovery, StoreError> {
        self.recover_with(options, false, take)
    }

    /// With `strict`, a last transaction that was whole once is damage too, and stays where it is.
    pub(super) fn recover_with(
        &self,
        options: &RecoverOptions,
        strict: bool,
        take: Take<'_>,
    ) -> Result<Recovery, StoreError> {
        if let Some(why) = self.untrusted()? {
            return Err(StoreError::Untrusted { path: self.snap_dir().to_owned(), why });
        }
        self.finish_installation()?;
        self.refuse_half_installed()?;
        let loaded = self.load_snapshot(take)?;
        let initialized = self.consume_initialize()?;
        let trusted = initialized || options.db_autocreate;
        let mut recovery = Recovery { initialized, ..Recovery::empty() };
        match loaded.snapshot {
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
        self.replay(options, strict, &mut recovery, take)?;
        match loaded.newest_error {
            // What it held is nowhere else.
            Some((zxid, newest)) if zxid > recovery.last_zxid => {
                Err(StoreError::NoReadableSnapshot { dir: self.snap_dir().to_owned(), newest })
            }
            _ => Ok(recovery),
        }
    }

    fn load_snapshot(&self, take: Take<'_>) -> Result<Loaded, StoreError> {
        let mut newest_error: Option<(i64, String)> = None;
        for snapshot in list_snapshots(self.snap_dir())?.into_iter().take(SNAPSHOTS_TRIED_MAX) {
            if !looks_valid(&snapshot.path) {
                tracing::warn!(path = %snapshot.path.display(), "snapshot is incomplete, trying an older one");
                continue;
            }
            emit(take, RecoveryEvent::Reset, &snapshot.path)?;
            match read_snapshot(&snapshot.path, &mut |part| take(RecoveryEvent::Part(part))) {
                Ok(tail) => return Ok(Loaded { newest_error, snapshot: Some((snapshot, tail)) }),
                Err(e) => {
                    tracing::warn!(error = %e, "snapshot cannot be read, trying an older one");
                    newest_error.get_or_insert((snapshot.zxid, e.to_string()));
                }
            }
        }
        match newest_error {
            None => Ok(Loaded { newest_error: None, snapshot: None }),
            Some((_, newest)) => {
                Err(StoreError::NoReadableSnapshot { dir: self.snap_dir().to_owned(), newest })
            }
        }
    }

    fn replay(
        &self,
        options: &RecoverOptions,
        strict: bool,
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
            if strict && torn.arrived {
                let why = format!("{}, in the last transaction, which was whole before", torn.why);
                return Err(StoreError::corrupt(&torn.path, torn.offset, why));
            }
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
        let wanted = self.initialize_wanted();
        for path in self.initialize_paths().into_iter().filter(|path| path.exists()) {
            DiskStep::Remove { path }.run()?;
        }
        Ok(wanted)
    }

    pub(super) fn initialize_wanted(&self) -> bool {
        self.initialize_paths().iter().any(|path| path.exists())
    }

    /// Apache's server looks in dataLogDir (`FileTxnSnapLog.restore`), its script writes to dataDir.
    fn initialize_paths(&self) -> [PathBuf; 2] {
        [&self.log_root, &self.data_dir].map(|root| root.join("initialize"))
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
