//! History read back for synchronising others: only what provably has no hole in it (ZOOKEEPER-4925).
//!
//! Inside an epoch zxids step by one, so a hole shows. Between epochs it may not: a server that was sent a whole
//! snapshot right at the beginning of an epoch, and kept its old log, has `0x100000032` directly before `0x200000001`
//! though transactions of epoch 1 are missing there. We remove the old log (`DataDir::install_snapshot`), Apache does
//! not, but it leaves the snapshot. So a step into another epoch counts only if no snapshot's name lies between.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;

use super::{LogFileReader, LogStep, TxnLogReader, follows};
use crate::error::StoreError;
use crate::names::list_logs;

/// Logged transactions, zxid and payload, in order and without gaps.
pub type Entries = Vec<(i64, Bytes)>;

/// Whether `next` directly follows `last` in one history. `snapshots` are the zxids of all snapshots there are.
fn joins(last: i64, next: i64, snapshots: &[i64]) -> bool {
    follows(last, next)
        && (last >> 32 == next >> 32 || !snapshots.iter().any(|name| last < *name && *name < next))
}

/// The newest of the entries pushed: as many as fit, without a gap between them.
#[derive(Debug)]
pub(crate) struct Recent {
    snapshots: Vec<i64>,
    count_max: usize,
    bytes_max: usize,
    entries: VecDeque<(i64, Bytes)>,
    bytes: usize,
    /// Whether older entries were left out, for space or because of a gap.
    bounded: bool,
}

impl Recent {
    pub(crate) fn new(snapshots: Vec<i64>, count_max: usize, bytes_max: usize) -> Self {
        Self { snapshots, count_max, bytes_max, entries: VecDeque::new(), bytes: 0, bounded: false }
    }

    pub(crate) fn push(&mut self, zxid: i64, payload: Bytes) {
        if self.entries.back().is_some_and(|(last, _)| !joins(*last, zxid, &self.snapshots)) {
            self.entries.clear();
            self.bytes = 0;
            self.bounded = true;
        }
        self.bytes += payload.len();
        self.entries.push_back((zxid, payload));
        while self.entries.len() > self.count_max || self.bytes > self.bytes_max {
            let Some((_, dropped)) = self.entries.pop_front() else { break };
            self.bytes -= dropped.len();
            self.bounded = true;
        }
    }

    /// Whether what lies before the entries could not be added anyway.
    pub(crate) fn is_bounded(&self) -> bool {
        self.bounded || self.entries.len() >= self.count_max
    }

    /// The entries; none if a snapshot holds more than they do.
    pub(crate) fn into_entries(self) -> Entries {
        let newest = self.snapshots.iter().max().copied().unwrap_or(0);
        match self.entries.back() {
            Some((last, _)) if *last >= newest => self.entries.into(),
            _ => Vec::new(),
        }
    }

    /// Puts older entries, of the file before, in front.
    fn prepend(&mut self, older: Self) {
        let joined = match (older.entries.back(), self.entries.front()) {
            (Some((last, _)), Some((next, _))) => joins(*last, *next, &self.snapshots),
            _ => true,
        };
        self.bounded = !joined || older.bounded;
        if !joined {
            return;
        }
        for (zxid, payload) in older.entries.into_iter().rev() {
            if self.entries.len() == self.count_max || self.bytes + payload.len() > self.bytes_max {
                self.bounded = true;
                return;
            }
            self.bytes += payload.len();
            self.entries.push_front((zxid, payload));
        }
    }
}

/// The newest entries in `dir`, at most `count_max` and `bytes_max` of payload. Files are read from the newest
/// back, as many as it takes; one that cannot be read ends the history there (before the newest snapshot that is no
/// reason not to start).
pub(crate) fn recent(
    dir: &Path,
    snapshots: Vec<i64>,
    count_max: usize,
    bytes_max: usize,
) -> Result<Entries, StoreError> {
    let mut found = Recent::new(snapshots.clone(), count_max, bytes_max);
    for log in list_logs(dir)?.into_iter().rev() {
        let mut of_file = Recent::new(snapshots.clone(), count_max, bytes_max);
        if let Err(error) = read_file(&log.path, &mut of_file) {
            tracing::warn!(%error, "the log serves to synchronise others only behind this file");
            break;
        }
        found.prepend(of_file);
        if found.is_bounded() {
            break;
        }
    }
    Ok(found.into_entries())
}

fn read_file(path: &Path, into: &mut Recent) -> Result<(), StoreError> {
    let mut reader = LogFileReader::open(path)?;
    while let LogStep::Record(record) = reader.next_step()? {
        into.push(record.zxid, record.payload);
    }
    Ok(())
}

/// What is logged behind `after`, up to and with `upto`; see `DataDir::read_after`.
pub(crate) fn read_after(
    dir: &Path,
    snapshots: &[i64],
    after: i64,
    upto: i64,
    bytes_max: u64,
) -> Result<Option<Entries>, StoreError> {
    if after == upto {
        return Ok(Some(Vec::new()));
    }
    if after > upto || snapshots.iter().any(|name| *name > upto) {
        return Ok(None);
    }
    // Gaps are judged here, where they are no error.
    let mut reader = TxnLogReader::open(dir, after)?.whole_files().accept_gaps(true);
    let (mut last, mut entries, mut bytes) = (None, Vec::new(), 0);
    while last != Some(upto)
        && let Some(record) = reader.next_record()?
    {
        if record.zxid > after {
            let joined = match entries.is_empty() {
                true => begins_behind(after, last, record.zxid, snapshots),
                false => last.is_some_and(|last| joins(last, record.zxid, snapshots)),
            };
            bytes += record.payload.len() as u64;
            if !joined || record.zxid > upto || bytes > bytes_max {
                return Ok(None);
            }
            entries.push((record.zxid, record.payload));
        }
        last = Some(record.zxid);
    }
    Ok((last == Some(upto)).then_some(entries))
}

/// Whether nothing lies between `after` and `next`, the first logged transaction behind it; `before` is the one
/// before that, if the log reaches back so far.
fn begins_behind(after: i64, before: Option<i64>, next: i64, snapshots: &[i64]) -> bool {
    if next >> 32 == after >> 32 {
        // Whoever holds a transaction of an epoch holds all the epoch's earlier ones.
        return next == after + 1;
    }
    let new_epoch = after & 0xffff_ffff == 0;
    match before {
        Some(before) if before == after => joins(after, next, snapshots),
        // A server at the beginning of an epoch without transactions holds everything before it.
        Some(before) if new_epoch => joins(before, next, snapshots),
        _ => snapshots.contains(&after) && joins(after, next, snapshots),
    }
}

#[cfg(test)]
mod tests;
