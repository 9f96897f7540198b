//! Appending to the log.
//!
//! `append` only collects; `sync` writes all that was collected with one call and one fdatasync, so the caller's
//! batch is the group commit. Whatever fails, fails for good: after an error it is unknown which bytes reached the
//! disk (and after a failed fsync the kernel has forgotten which were dirty), so a later write could be acknowledged
//! behind a hole (ZOOKEEPER-4882).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use zk_proto::txn::payload_zxid;

use super::{END_OF_RECORD, ENTRY_HEADER_BYTES, FILE_HEADER_BYTES, MAGIC, VERSION, checksum, follows};
use super::{LogFileReader, LogStep};
use crate::error::StoreError;
use crate::names::{list_logs, log_name, sync_dir};
use crate::steps::write_file;

/// Collected bytes beyond this go to the file without waiting for `sync`, so that a batch cannot grow memory.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Apache pads when fewer than this many bytes are left in the file (`FilePadding`).
const PADDING_MARGIN_BYTES: u64 = 4096;

/// Zeros are written ahead in steps of this size. Blocks that are only allocated cost each fdatasync the news, to the
/// file system's own tables, that they hold data now; blocks written before do not. Measured on ext4: batches of 5 KB
/// 1.8 times as often, of 64 KB 3 times, single small transactions the same.
const ZEROS_AHEAD_BYTES: usize = 1 << 20;

static ZEROS: [u8; ZEROS_AHEAD_BYTES] = [0; ZEROS_AHEAD_BYTES];

/// How the log is written.
#[derive(Debug, Clone)]
pub struct TxnLogOptions {
    /// `preAllocSize` in bytes: the file grows in such steps, so that an fdatasync need not write a new length.
    /// 0 turns it off.
    pub prealloc_bytes: u64,
    /// `txnLogSizeLimitInKb` in bytes: a new file is begun after a sync that finds this one larger. `None`: never.
    pub size_limit_bytes: Option<u64>,
    /// `forceSync`: with false, `sync` hands the bytes to the kernel and a power cut loses what it has not written.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a slower fsync is logged.
    pub fsync_warning: Duration,
}

impl Default for TxnLogOptions {
    fn default() -> Self {
        Self {
            prealloc_bytes: 64 << 20,
            size_limit_bytes: None,
            force_sync: true,
            fsync_warning: Duration::from_secs(1),
        }
    }
}

/// What one `sync` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncReport {
    /// The last transaction that is durable now; `None` if nothing was ever appended.
    pub durable_zxid: Option<i64>,
    /// Time spent in fdatasync alone.
    pub fsync: Duration,
    /// Whether it was slower than the warning threshold.
    pub slow: bool,
}

/// The log a server appends to. The file is created by the first append and named after it.
#[derive(Debug)]
pub struct TxnLog {
    dir: PathBuf,
    options: TxnLogOptions,
    current: Option<OpenLog>,
    /// Bytes of the finished files in the directory.
    finished_bytes: u64,
    last_zxid: Option<i64>,
    poisoned: Option<String>,
    note: Option<PathBuf>,
}

#[derive(Debug)]
struct OpenLog {
    file: File,
    path: PathBuf,
    /// Where the collected bytes will go.
    written: u64,
    /// The file's length, zeros included.
    allocated: u64,
    /// How far zeros, or more, were really written.
    prewritten: u64,
    collected: Vec<u8>,
    /// Whether bytes were handed to the kernel since the last fdatasync.
    dirty: bool,
    /// Whether it is on record that this file held something once.
    noted: bool,
}

impl TxnLog {
    /// For logs in `dir` (a `version-2`). Recovery must have been there before: what follows an uncut torn tail would
    /// be unreachable.
    pub fn open(dir: &Path, options: TxnLogOptions) -> Result<Self, StoreError> {
        let mut finished_bytes = 0;
        for log in list_logs(dir)? {
            finished_bytes += log.path.metadata().map_err(StoreError::io("look at", &log.path))?.len();
        }
        Ok(Self {
            dir: dir.to_owned(),
            options,
            current: None,
            finished_bytes,
            last_zxid: None,
            poisoned: None,
            note: None,
        })
    }

    /// Puts on record in that file, once for each log file, the last transaction of its first sync: so that a log file
    /// that is lost can be missed later.
    pub(crate) fn with_note(mut self, path: PathBuf) -> Self {
        self.note = Some(path);
        self
    }

    /// Collects one payload (header, record, digest). It is durable after the next [`TxnLog::sync`]. A transaction that
    /// does not directly follow the last one is refused, so that no fault above can write a hole.
    pub fn append(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        self.check_poison()?;
        let zxid = payload_zxid(payload).map_err(|e| StoreError::NotATransaction(e.to_string()))?;
        if let Some(last) = self.last_zxid.filter(|last| !follows(*last, zxid)) {
            return Err(StoreError::NotATransaction(format!(
                "zxid 0x{zxid:x} does not directly follow 0x{last:x}"
            )));
        }
        let done = self.collect(zxid, payload);
        self.poison_on_error(done)?;
        self.last_zxid = Some(zxid);
        Ok(())
    }

    /// Writes what was collected and waits until it is on the disk.
    pub fn sync(&mut self) -> Result<SyncReport, StoreError> {
        self.check_poison()?;
        let done = self.write_and_sync();
        let report = self.poison_on_error(done)?;
        if self.options.size_limit_bytes.is_some_and(|limit| self.current_bytes() > limit) {
            self.roll()?;
        }
        Ok(report)
    }

    /// Ends the current file (durably); the next append begins another.
    pub fn roll(&mut self) -> Result<(), StoreError> {
        self.check_poison()?;
        let done = self.write_and_sync();
        self.poison_on_error(done)?;
        if let Some(log) = self.current.take() {
            self.finished_bytes += log.written;
            // Gives back the blocks filled ahead. Nothing depends on it, so a failure is only noted.
            if let Err(e) = log.file.set_len(log.written) {
                tracing::warn!(path = %log.path.display(), error = %e, "cannot trim the finished log");
            }
        }
        Ok(())
    }

    /// Why nothing is taken any more, if so.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// The last transaction appended, durable or not.
    pub fn last_zxid(&self) -> Option<i64> {
        self.last_zxid
    }

    /// Bytes of transactions in the current file.
    pub fn current_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |log| log.written + log.collected.len() as u64)
    }

    /// Bytes of all logs (`logdir_size`, and the measure for `snapSizeLimitInKb`).
    pub fn total_bytes(&self) -> u64 {
        self.finished_bytes + self.current_bytes()
    }

    fn collect(&mut self, zxid: i64, payload: &[u8]) -> Result<(), StoreError> {
        let log = match &mut self.current {
            Some(log) => log,
            None => self.current.insert(OpenLog::create(&self.dir, zxid, self.options.force_sync)?),
        };
        let length = i32::try_from(payload.len())
            .map_err(|_| StoreError::NotATransaction(format!("{} bytes are too many", payload.len())))?;
        log.collected.reserve(payload.len() + ENTRY_HEADER_BYTES as usize + 1);
        log.collected.extend_from_slice(&checksum(payload).to_be_bytes());
        log.collected.extend_from_slice(&length.to_be_bytes());
        log.collected.extend_from_slice(payload);
        log.collected.push(END_OF_RECORD);
        if log.collected.len() > BUFFER_BYTES_MAX {
            log.write_collected(self.options.prealloc_bytes)?;
        }
        Ok(())
    }

    fn write_and_sync(&mut self) -> Result<SyncReport, StoreError> {
        let mut report = SyncReport { durable_zxid: self.last_zxid, ..SyncReport::default() };
        let Some(log) = &mut self.current else { return Ok(report) };
        log.write_collected(self.options.prealloc_bytes)?;
        if self.options.force_sync && log.dirty {
            let begun = Instant::now();
            log.file.sync_data().map_err(StoreError::io("sync", &log.path))?;
            log.dirty = false;
            report.fsync = begun.elapsed();
            report.slow = report.fsync > self.options.fsync_warning;
            note_begun(log, self.note.as_deref(), report.durable_zxid);
            if report.slow {
                tracing::warn!(
                    path = %log.path.display(),
                    ms = report.fsync.as_millis() as u64,
                    "syncing the transaction log is slow: every write waits for it. Is the disk shared with other work?"
                );
            }
        }
        Ok(report)
    }

    fn check_poison(&self) -> Result<(), StoreError> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(StoreError::Poisoned(why.clone())))
    }

    fn poison_on_error<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(e) = &done {
            self.poisoned = Some(e.to_string());
        }
        done
    }
}

impl OpenLog {
    fn create(dir: &Path, zxid: i64, force_sync: bool) -> Result<Self, StoreError> {
        let path = dir.join(log_name(zxid));
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => reuse_empty(&path)?,
            other => other.map_err(StoreError::io("create", &path))?,
        };
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES as usize);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_be_bytes());
        header.extend_from_slice(&0i64.to_be_bytes());
        let log = Self {
            file,
            path,
            written: 0,
            allocated: 0,
            prewritten: 0,
            collected: header,
            dirty: false,
            noted: false,
        };
        if force_sync {
            // Without it a power cut may leave the transactions but not the name to find them by.
            sync_dir(dir)?;
        }
        Ok(log)
    }

    fn write_collected(&mut self, prealloc_bytes: u64) -> Result<(), StoreError> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let end = self.written + self.collected.len() as u64;
        self.allocate(end, prealloc_bytes).map_err(StoreError::io("extend", &self.path))?;
        self.file
            .write_all_at(&self.collected, self.written)
            .map_err(StoreError::io("write to", &self.path))?;
        self.prewrite(end).map_err(StoreError::io("write ahead to", &self.path))?;
        self.collected.clear();
        self.written = end;
        self.allocated = self.allocated.max(end);
        self.dirty = true;
        Ok(())
    }

    /// Writes zeros behind what was just written, once it has reached the last ones, as far as there is space ahead.
    fn prewrite(&mut self, end: u64) -> io::Result<()> {
        let ahead = self.allocated.saturating_sub(end).min(ZEROS_AHEAD_BYTES as u64);
        if end <= self.prewritten || ahead == 0 {
            return Ok(());
        }
        self.file.write_all_at(&ZEROS[..ahead as usize], end)?;
        self.prewritten = end + ahead;
        Ok(())
    }

    /// Keeps zeros ahead of the writing position, in whole steps.
    fn allocate(&mut self, end: u64, step: u64) -> io::Result<()> {
        if step == 0 || end + PADDING_MARGIN_BYTES < self.allocated {
            return Ok(());
        }
        let target = (end + PADDING_MARGIN_BYTES + 1).next_multiple_of(step);
        let ahead = target - self.allocated;
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), self.allocated, ahead) {
            Ok(()) => {}
            // Not every file system can; a hole reads as zeros too.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                self.file.set_len(target)?;
            }
            Err(e) => return Err(e.into()),
        }
        self.allocated = target;
        Ok(())
    }
}

/// Nothing that was acknowledged depends on the record, so a failure is only noted.
fn note_begun(log: &mut OpenLog, note: Option<&Path>, durable_zxid: Option<i64>) {
    let (Some(note), Some(zxid), false) = (note, durable_zxid, log.noted) else { return };
    log.noted = true;
    if let Err(error) = write_file(note, &zxid.to_string()) {
        tracing::warn!(%error, "cannot put on record that a log file was begun");
    }
}

/// A file of that name may be left from a crash before its first transaction was whole; one with transactions must
/// not be overwritten (Apache would).
fn reuse_empty(path: &Path) -> Result<File, StoreError> {
    let holds_records = matches!(LogFileReader::open(path)?.next_step()?, LogStep::Record(_));
    if holds_records {
        return Err(StoreError::Io {
            what: "create",
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::AlreadyExists, "it already holds transactions"),
        });
    }
    OpenOptions::new().write(true).truncate(true).open(path).map_err(StoreError::io("create", path))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{options, payload, payload_of, zxids};
    use super::*;

    /// A disk that stops taking writes, played by a handle that cannot write.
    fn break_disk(log: &mut TxnLog) {
        let current = log.current.as_mut().expect("a file is open");
        current.file = File::open(&current.path).expect("readable");
    }

    #[test]
    fn after_a_failed_write_nothing_is_taken_any_more() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
        log.append(&payload(1)).and_then(|()| log.sync()).expect("written");
        break_disk(&mut log);
        log.append(&payload(2)).expect("only collected");
        assert!(matches!(log.sync(), Err(StoreError::Io { .. })));
        // The disk is well again, but what it holds behind the last sync is unknown.
        let current = log.current.as_mut().expect("a file is open");
        current.file = OpenOptions::new().write(true).open(&current.path).expect("writable");
        for refused in [log.append(&payload(3)), log.roll(), log.sync().map(drop)] {
            assert!(matches!(refused, Err(StoreError::Poisoned(_))), "{refused:?}");
        }
        assert_eq!(zxids(dir.path(), 0), [1]);
    }

    #[test]
    fn zeros_are_written_ahead_as_far_as_there_is_space() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut log = TxnLog::open(dir.path(), options(3 << 20)).expect("opened");
        let mut ahead = |zxid, bytes| {
            log.append(&payload_of(zxid, bytes)).and_then(|()| log.sync()).expect("written");
            let current = log.current.as_ref().expect("a file is open");
            assert!(current.prewritten <= current.allocated);
            current.prewritten - current.written
        };
        let step = ZEROS_AHEAD_BYTES as u64;
        assert_eq!(ahead(1, 10), step);
        assert!((step - 200..step).contains(&ahead(2, 10)), "not again before they are used up");
        assert_eq!(ahead(3, 1 << 20), step);
        assert!((step - 1000..step).contains(&ahead(4, 1 << 20)), "the space ahead ends");
        drop(log);
        assert_eq!(zxids(dir.path(), 0), [1, 2, 3, 4]);
    }

    /// ZOOKEEPER-4882: space that returns must not let later transactions be logged behind a hole.
    #[test]
    fn a_full_disk_is_the_end_though_space_returns() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
        log.append(&payload(1)).and_then(|()| log.sync()).expect("written");
        let current = log.current.as_mut().expect("a file is open");
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let disk = std::mem::replace(&mut current.file, full);
        log.append(&payload(2)).expect("only collected");
        let error = log.sync().expect_err("no space");
        assert!(
            matches!(&error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
        );
        log.current.as_mut().expect("a file is open").file = disk;
        assert!(matches!(log.append(&payload(3)), Err(StoreError::Poisoned(_))));
        assert!(matches!(log.sync(), Err(StoreError::Poisoned(_))));
        assert!(log.poisoned().is_some());
        drop(log);
        // A restart finds what was acknowledged and goes on directly behind it.
        assert_eq!(zxids(dir.path(), 0), [1]);
        let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
        log.append(&payload(2)).and_then(|()| log.sync()).expect("written");
        assert_eq!(zxids(dir.path(), 0), [1, 2]);
    }

    /// A large batch goes to the file before `sync`: then it is `append` that fails.
    #[test]
    fn a_full_disk_in_the_middle_of_a_batch_poisons_too() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
        log.append(&payload(1)).and_then(|()| log.sync()).expect("written");
        log.current.as_mut().expect("a file is open").file =
            OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let large = payload_of(2, BUFFER_BYTES_MAX + 1);
        assert!(matches!(log.append(&large), Err(StoreError::Io { .. })));
        assert!(matches!(log.append(&payload(3)), Err(StoreError::Poisoned(_))));
        assert_eq!(log.last_zxid(), Some(1));
    }

    #[test]
    fn a_hole_is_refused_and_harms_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
        log.append(&payload(7)).expect("the first may be any");
        for refused in [7, 6, 9, (1 << 32) + 2] {
            assert!(matches!(log.append(&payload(refused)), Err(StoreError::NotATransaction(_))));
        }
        log.append(&payload(8)).and_then(|()| log.append(&payload((1 << 32) + 1))).expect("both follow");
        log.sync().expect("synced");
        assert_eq!(zxids(dir.path(), 0), [7, 8, (1 << 32) + 1]);
    }
}
