//! Which leader epoch started where: `leader-epoch-checkpoint` and its cache (KIP-101, KIP-279).
//!
//! Entries are strictly ascending in epoch and in start offset. The first entry of an empty log is written
//! without fsync, so that creating partitions stays cheap: until the log is flushed it can be had again from the
//! batches. Every later change is durable on return.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::checkpoint::parse_entries;
use crate::disk;
use crate::error::Result;

pub const FILE_NAME: &str = "leader-epoch-checkpoint";
/// What a reply carries for "no such epoch".
pub const UNDEFINED_EPOCH: i32 = -1;
/// What a reply carries for "no such offset".
pub const UNDEFINED_EPOCH_OFFSET: i64 = -1;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The epoch `epoch` begins at `start_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: i32,
    pub start_offset: i64,
}

/// Answer to OffsetForLeaderEpoch; both −1 if unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    pub epoch: i32,
    pub end_offset: i64,
}

/// The cache, kept equal to its file.
#[derive(Debug)]
pub struct LeaderEpochCache {
    path: PathBuf,
    entries: Vec<EpochEntry>,
    unsynced: bool,
}

impl LeaderEpochCache {
    /// Loads the file; one that is missing or torn counts as empty, with a warning.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let text = disk::read_small(&path, FILE_BYTES_MAX)?.unwrap_or_default();
        let entries: Vec<EpochEntry> = parse_entries(&text, parse_line).unwrap_or_else(|reason| {
            warn!(
                "{}: {reason}; treating it as empty, epochs are taken from the record batches",
                path.display()
            );
            Vec::new()
        });
        let mut cache = Self { path, entries: Vec::with_capacity(entries.len()), unsynced: false };
        for entry in entries {
            cache.insert(entry);
        }
        Ok(cache)
    }

    /// Notes that `epoch` starts at `start_offset`, dropping entries that contradict it.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> Result<()> {
        let first = self.entries.is_empty() && start_offset == 0;
        if epoch < 0 || start_offset < 0 || !self.insert(EpochEntry { epoch, start_offset }) {
            return Ok(());
        }
        if first {
            self.unsynced = true;
            return disk::write_unsynced(&self.path, &self.render());
        }
        self.store()
    }

    fn insert(&mut self, entry: EpochEntry) -> bool {
        if self
            .latest()
            .is_some_and(|last| entry.epoch == last.epoch && entry.start_offset >= last.start_offset)
        {
            return false;
        }
        let keep =
            self.entries.iter().rposition(|e| e.epoch < entry.epoch && e.start_offset < entry.start_offset);
        let removed = self.entries.split_off(keep.map_or(0, |i| i + 1));
        if removed.len() > 1 || removed.first().is_some_and(|e| e.start_offset != entry.start_offset) {
            warn!(
                "{}: new entry {entry:?} caused truncation of conflicting entries {removed:?}",
                self.path.display()
            );
        }
        self.entries.push(entry);
        true
    }

    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Ascending.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The epoch a record at `offset` was written in.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        self.entries.iter().rev().find(|e| e.start_offset <= offset).map(|e| e.epoch)
    }

    /// The largest epoch not above `requested` and where it ends (KIP-279).
    pub fn end_offset_for(&self, requested: i32, log_end_offset: i64) -> EpochEndOffset {
        let undefined = EpochEndOffset { epoch: UNDEFINED_EPOCH, end_offset: UNDEFINED_EPOCH_OFFSET };
        let Some(latest) = self.latest() else { return undefined };
        if requested == UNDEFINED_EPOCH {
            return undefined;
        }
        if requested == latest.epoch {
            return EpochEndOffset { epoch: requested, end_offset: log_end_offset };
        }
        let higher = self.entries.partition_point(|e| e.epoch <= requested);
        let Some(next) = self.entries.get(higher) else { return undefined };
        // With nothing at or below the requested epoch, its data is gone: the first known epoch's start is the answer.
        let epoch = if higher == 0 { requested } else { self.entries[higher - 1].epoch };
        EpochEndOffset { epoch, end_offset: next.start_offset }
    }

    /// Drops epochs that start at or after `end_offset`.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> Result<()> {
        let keep = self.entries.partition_point(|e| e.start_offset < end_offset);
        if keep == self.entries.len() {
            return Ok(());
        }
        self.entries.truncate(keep);
        self.store()
    }

    /// Forgets what lies before `start_offset`; the epoch it falls into starts there now.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> Result<()> {
        let gone = self.entries.partition_point(|e| e.start_offset <= start_offset);
        if gone == 0 || (gone == 1 && self.entries[0].start_offset == start_offset) {
            return Ok(());
        }
        self.entries[gone - 1].start_offset = start_offset;
        self.entries.drain(..gone - 1);
        self.store()
    }

    pub fn clear(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.entries.clear();
        self.store()
    }

    /// The file to sync before the log's recovery point may move, if any.
    pub(crate) fn unsynced_path(&self) -> Option<PathBuf> {
        self.unsynced.then(|| self.path.clone())
    }

    pub(crate) fn mark_synced(&mut self) {
        self.unsynced = false;
    }

    pub(crate) fn move_to(&mut self, dir: &Path) {
        self.path = dir.join(FILE_NAME);
    }

    fn store(&mut self) -> Result<()> {
        disk::write_atomic(&self.path, &self.render())?;
        self.unsynced = false;
        Ok(())
    }

    fn render(&self) -> Vec<u8> {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
        }
        text.into_bytes()
    }
}

fn parse_line(line: &str) -> Option<EpochEntry> {
    let (epoch, start) = line.split_once(' ')?;
    Some(EpochEntry { epoch: epoch.parse().ok()?, start_offset: start.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> (tempfile::TempDir, LeaderEpochCache) {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = LeaderEpochCache::load(dir.path()).unwrap();
        for (epoch, start) in entries {
            cache.assign(*epoch, *start).unwrap();
        }
        (dir, cache)
    }

    fn listed(cache: &LeaderEpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|e| (e.epoch, e.start_offset)).collect()
    }

    /// The file is Kafka's text and is read back.
    #[test]
    fn writes_kafkas_text() {
        let (dir, cache) = cache(&[(0, 0), (2, 5)]);
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), "0\n2\n0 0\n2 5\n");
        assert_eq!(listed(&LeaderEpochCache::load(dir.path()).unwrap()), listed(&cache));
    }

    /// End offsets as `LeaderEpochFileCacheTest` has them.
    #[test]
    fn end_offsets() {
        let (_dir, cache) = cache(&[(2, 11), (3, 12), (5, 17)]);
        let check = |requested, epoch, end_offset| {
            assert_eq!(
                cache.end_offset_for(requested, 30),
                EpochEndOffset { epoch, end_offset },
                "{requested}"
            );
        };
        check(-1, -1, -1);
        check(1, 1, 11);
        check(2, 2, 12);
        check(3, 3, 17);
        check(4, 3, 17);
        check(5, 5, 30);
        check(6, -1, -1);
        assert_eq!(cache.epoch_for_offset(10), None);
        assert_eq!(cache.epoch_for_offset(16), Some(3));
    }

    /// A new entry wins over those it contradicts.
    #[test]
    fn conflicting_entries_go() {
        let (_dir, mut cache) = cache(&[(1, 0), (2, 10), (3, 20)]);
        cache.assign(3, 25).unwrap();
        assert_eq!(listed(&cache), [(1, 0), (2, 10), (3, 20)], "the same epoch again is no news");
        cache.assign(4, 20).unwrap();
        assert_eq!(listed(&cache), [(1, 0), (2, 10), (4, 20)]);
        cache.assign(2, 5).unwrap();
        assert_eq!(listed(&cache), [(1, 0), (2, 5)]);
    }

    #[test]
    fn truncates_at_both_ends() {
        let (dir, mut cache) = cache(&[(2, 6), (3, 8), (4, 11)]);
        cache.truncate_from_start(9).unwrap();
        assert_eq!(listed(&cache), [(3, 9), (4, 11)]);
        cache.truncate_from_end(11).unwrap();
        assert_eq!(listed(&cache), [(3, 9)]);
        assert_eq!(listed(&LeaderEpochCache::load(dir.path()).unwrap()), [(3, 9)]);
        cache.truncate_from_start(2).unwrap();
        assert_eq!(listed(&cache), [(3, 9)]);
    }
}
