//! What a partition remembers of its idempotent and transactional producers (KIP-98).
//!
//! The last five batches of each producer make retries harmless; the first offset of each open transaction bounds
//! what `read_committed` sees. The state is a function of the log, kept in `….snapshot` files so that it need not
//! be read again from the start. Source: `ProducerStateManager`, `ProducerAppendInfo`, `ProducerStateEntry`.
//!
//! Invariant: `map_end_offset` is the offset up to which batches have been taken into account.

mod append;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

pub(crate) use append::ProducerAppend;

use crate::disk;
use crate::error::Result;
use crate::names::{DELETED_SUFFIX, SNAPSHOT_SUFFIX, segment_file};
use crate::scan::BatchMeta;

/// Batches remembered per producer; clients keep at most as many in flight.
pub const BATCHES_RETAINED: usize = 5;
const NO_EPOCH: i16 = -1;

/// Where an append comes from; decides which checks apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: sequences and epochs are checked.
    Client,
    /// A group or transaction coordinator of this broker: epochs are checked.
    Coordinator,
    /// Another replica, or our own log read again: the leader has checked.
    Replication,
}

/// A batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    /// Last offset less first offset.
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl ProducerBatch {
    pub fn first_sequence(&self) -> i32 {
        kafka_proto::records::batch::decrement_sequence(self.last_sequence, self.offset_delta)
    }

    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// Up to five batches, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RecentBatches {
    batches: [ProducerBatch; BATCHES_RETAINED],
    len: u8,
}

impl RecentBatches {
    pub fn as_slice(&self) -> &[ProducerBatch] {
        &self.batches[..usize::from(self.len)]
    }

    pub fn push(&mut self, batch: ProducerBatch) {
        if usize::from(self.len) == BATCHES_RETAINED {
            self.batches.copy_within(1.., 0);
            self.len -= 1;
        }
        self.batches[usize::from(self.len)] = batch;
        self.len += 1;
    }

    pub fn last(&self) -> Option<&ProducerBatch> {
        self.as_slice().last()
    }
}

/// What is known of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    pub(crate) batches: RecentBatches,
    pub producer_epoch: i16,
    /// Of the coordinator that wrote the last end marker, −1 for none.
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    /// First offset of the open transaction.
    pub current_txn_first_offset: Option<i64>,
}

impl ProducerEntry {
    fn empty() -> Self {
        Self {
            batches: RecentBatches::default(),
            producer_epoch: NO_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            current_txn_first_offset: None,
        }
    }

    /// −1 if nothing but markers is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(-1, |b| b.last_sequence)
    }

    pub fn last_offset(&self) -> i64 {
        self.batches.last().map_or(-1, |b| b.last_offset)
    }

    /// The remembered batch that `batch` repeats.
    pub fn find_duplicate(
        &self,
        epoch: i16,
        first_sequence: i32,
        last_sequence: i32,
    ) -> Option<ProducerBatch> {
        let same =
            |b: &&ProducerBatch| b.first_sequence() == first_sequence && b.last_sequence == last_sequence;
        if epoch != self.producer_epoch {
            return None;
        }
        self.batches.as_slice().iter().find(same).copied()
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.producer_epoch != epoch {
            self.batches = RecentBatches::default();
            self.producer_epoch = epoch;
        }
    }
}

/// A transaction whose end marker was just seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the marker.
    pub last_offset: i64,
    pub aborted: bool,
}

/// The state of all producers of a partition.
#[derive(Debug)]
pub(crate) struct ProducerState {
    partition: String,
    dir: PathBuf,
    expiration_ms: i64,
    entries: HashMap<i64, ProducerEntry, foldhash::fast::RandomState>,
    /// First offset → producer id.
    ongoing: BTreeMap<i64, i64>,
    /// First offset → marker offset, until the high watermark passes the marker.
    unreplicated: BTreeMap<i64, i64>,
    snapshots: BTreeSet<i64>,
    map_end_offset: i64,
    snapshot_offset: i64,
}

impl ProducerState {
    /// The state before any record; knows the snapshot files in `dir`.
    pub fn new(partition: String, dir: &Path, expiration_ms: i64, snapshots: BTreeSet<i64>) -> Self {
        Self {
            partition,
            dir: dir.to_owned(),
            expiration_ms,
            entries: HashMap::default(),
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            snapshots,
            map_end_offset: 0,
            snapshot_offset: 0,
        }
    }

    pub fn map_end_offset(&self) -> i64 {
        self.map_end_offset
    }

    pub fn set_map_end_offset(&mut self, offset: i64) {
        self.map_end_offset = offset;
    }

    pub fn entries(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    pub fn entry(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    pub fn latest_snapshot(&self) -> Option<i64> {
        self.snapshots.last().copied()
    }

    /// Starts to take batches of one producer into account; nothing changes until [`Self::update`].
    pub fn prepare(&self, producer_id: i64, origin: AppendOrigin) -> ProducerAppend<'_> {
        let current = self.entries.get(&producer_id).copied().unwrap_or_else(ProducerEntry::empty);
        ProducerAppend::new(&self.partition, producer_id, current, origin)
    }

    /// Makes prepared batches part of the state.
    pub fn update(&mut self, producer_id: i64, updated: ProducerEntry, started_txn: Option<i64>) {
        let entry = self.entries.entry(producer_id).or_insert_with(ProducerEntry::empty);
        entry.set_epoch(updated.producer_epoch);
        for batch in updated.batches.as_slice() {
            entry.batches.push(*batch);
        }
        entry.coordinator_epoch = updated.coordinator_epoch;
        entry.current_txn_first_offset = updated.current_txn_first_offset;
        entry.last_timestamp = updated.last_timestamp;
        if let Some(first_offset) = started_txn {
            self.ongoing.insert(first_offset, producer_id);
        }
    }

    /// Takes a batch of the log itself into account; returns the transaction it ends.
    pub fn replay(
        &mut self,
        meta: &BatchMeta,
        marker: impl FnOnce() -> Result<Option<crate::scan::EndTxnMarker>>,
    ) -> Result<Option<CompletedTxn>> {
        let Some(header) = meta.v2.filter(|h| h.has_producer_id()) else { return Ok(None) };
        let marker = if header.is_control() { Some(marker()?) } else { None };
        let mut append = self.prepare(header.producer_id, AppendOrigin::Replication);
        let outcome = append.batch(&header, header.base_offset, marker);
        let (updated, started) = append.finish();
        match outcome {
            Ok(completed) => {
                self.update(header.producer_id, updated, started);
                Ok(completed)
            }
            Err(e) => {
                warn!("{}: producer state is inconsistent with the log: {e}", self.partition);
                Ok(None)
            }
        }
    }

    /// Where the last stable offset stands once `completed` is done.
    pub fn last_stable_offset(&self, completed: &CompletedTxn) -> i64 {
        let next = self.ongoing.iter().find(|(_, producer)| **producer != completed.producer_id);
        next.map_or(completed.last_offset + 1, |(first, _)| *first)
    }

    pub fn complete(&mut self, completed: &CompletedTxn) {
        if self.ongoing.remove(&completed.first_offset).is_some() {
            self.unreplicated.insert(completed.first_offset, completed.last_offset);
        }
    }

    /// First offset that belongs to a transaction not known to be over, below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let open = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        open.into_iter().chain(unreplicated).min().copied()
    }

    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    pub fn on_log_start_moved(&mut self, log_start_offset: i64) {
        self.on_high_watermark(log_start_offset);
        self.map_end_offset = self.map_end_offset.max(log_start_offset);
        self.snapshot_offset = self.latest_snapshot().unwrap_or(log_start_offset);
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub fn remove_expired(&mut self, now_ms: i64) {
        let expiration_ms = self.expiration_ms;
        self.entries.retain(|_, entry| !is_expired(entry, now_ms, expiration_ms));
    }

    /// Forgets everything but the files, which are read up to `log_end_offset`.
    pub fn reload(&mut self, log_start_offset: i64, log_end_offset: i64, now_ms: i64) -> Result<()> {
        let stale: Vec<i64> = self
            .snapshots
            .iter()
            .copied()
            .filter(|s| *s > log_end_offset || *s <= log_start_offset)
            .collect();
        for offset in stale {
            self.delete_snapshot(offset)?;
        }
        self.entries.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
        while let Some(offset) = self.latest_snapshot() {
            let path = segment_file(&self.dir, offset, SNAPSHOT_SUFFIX);
            match snapshot::read(&path)? {
                Ok(entries) => {
                    let live =
                        entries.into_iter().filter(|(_, e)| !is_expired(e, now_ms, self.expiration_ms));
                    for (id, entry) in live.collect::<Vec<_>>() {
                        self.load(id, entry);
                    }
                    self.map_end_offset = offset;
                    self.snapshot_offset = offset;
                    return Ok(());
                }
                Err(reason) => {
                    warn!("producer snapshot {}: {reason}; it is rebuilt from the log", path.display());
                    self.delete_snapshot(offset)?;
                }
            }
        }
        self.map_end_offset = log_start_offset;
        self.snapshot_offset = log_start_offset;
        Ok(())
    }

    fn load(&mut self, producer_id: i64, entry: ProducerEntry) {
        if let Some(first_offset) = entry.current_txn_first_offset {
            self.ongoing.insert(first_offset, producer_id);
        }
        self.entries.insert(producer_id, entry);
    }

    /// Forgets everything, files included, and starts at `offset`.
    pub fn truncate_fully(&mut self, offset: i64) -> Result<()> {
        self.entries.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
        for snapshot in std::mem::take(&mut self.snapshots) {
            disk::remove_if_exists(&segment_file(&self.dir, snapshot, SNAPSHOT_SUFFIX))?;
        }
        self.snapshot_offset = 0;
        self.map_end_offset = offset;
        Ok(())
    }

    /// Writes a snapshot at `map_end_offset` unless there is one. Not synced: the path is for whoever flushes.
    pub fn take_snapshot(&mut self) -> Result<Option<PathBuf>> {
        if self.map_end_offset <= self.snapshot_offset {
            return Ok(None);
        }
        let path = segment_file(&self.dir, self.map_end_offset, SNAPSHOT_SUFFIX);
        disk::write_unsynced(&path, &snapshot::encode(self.entries()))?;
        info!(
            "{}: wrote producer snapshot at offset {} with {} producer ids",
            self.partition,
            self.map_end_offset,
            self.entries.len()
        );
        self.snapshots.insert(self.map_end_offset);
        self.snapshot_offset = self.map_end_offset;
        Ok(Some(path))
    }

    /// Drops snapshots that belong to no segment, but for the latest one beyond them (`removeStraySnapshots`).
    pub fn remove_stray_snapshots(&mut self, segment_bases: &BTreeSet<i64>) -> Result<()> {
        let newest_base = segment_bases.last().copied().unwrap_or(-1);
        let stray: Vec<i64> = self.snapshots.difference(segment_bases).copied().collect();
        let keep = stray.last().copied().filter(|last| *last >= newest_base);
        for offset in stray.into_iter().filter(|s| Some(*s) != keep) {
            self.delete_snapshot(offset)?;
        }
        Ok(())
    }

    /// Renames a segment's snapshot for deletion; returns the new path.
    pub fn mark_deleted(&mut self, offset: i64) -> Result<Option<PathBuf>> {
        if !self.snapshots.remove(&offset) {
            return Ok(None);
        }
        let path = segment_file(&self.dir, offset, SNAPSHOT_SUFFIX);
        let marked = disk::with_suffix(&path, DELETED_SUFFIX);
        Ok(disk::rename_if_exists(&path, &marked)?.then_some(marked))
    }

    pub fn move_to(&mut self, dir: &Path) {
        self.dir = dir.to_owned();
    }

    fn delete_snapshot(&mut self, offset: i64) -> Result<()> {
        self.snapshots.remove(&offset);
        disk::remove_if_exists(&segment_file(&self.dir, offset, SNAPSHOT_SUFFIX))
    }
}

fn is_expired(entry: &ProducerEntry, now_ms: i64, expiration_ms: i64) -> bool {
    entry.current_txn_first_offset.is_none() && now_ms.saturating_sub(entry.last_timestamp) >= expiration_ms
}
