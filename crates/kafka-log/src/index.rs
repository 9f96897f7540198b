//! The two sparse indexes of a segment: offset → position, and timestamp → offset.
//!
//! An index file is a run of fixed-size entries, ascending in key. Entries of the last few megabytes of log are
//! also held in memory; older ones are found by binary search in the file. Files are created with their first
//! entry (or when the segment is closed), never preallocated: Kafka treats both alike.
//!
//! Invariant: `count` entries lie in the file, and the last one is `last` when that is known.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;
use crate::error::{LogError, Result};
use crate::file_cache::{FileCache, FileKey};
use crate::names::{INDEX_SUFFIX, TIME_INDEX_SUFFIX, segment_file};

/// Entries held in memory per index: 2 MiB of log at the default interval, at most 8 KiB.
const TAIL_ENTRIES_MAX: usize = 512;
/// Below this many candidates a binary search reads them all at once.
const SEARCH_BLOCK: u32 = 512;

/// Where a log's files lie; passed along because directories are renamed under open files.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub dir: PathBuf,
    pub cache: Arc<FileCache>,
}

/// A fixed-size entry of an index file.
pub(crate) trait IndexEntry: Copy + std::fmt::Debug + PartialEq {
    const SIZE: usize;
    const SUFFIX: &'static str;
    /// Bounds the file: Kafka keeps one slot of a time index free for the roll.
    const RESERVED: u32;
    fn key(&self) -> i64;
    /// The offset the entry points at or to; truncation goes by it.
    fn offset(&self) -> i64;
    fn encode(&self, base_offset: i64, out: &mut [u8]);
    fn decode(base_offset: i64, bytes: &[u8]) -> Self;
}

/// The batch ending with `offset` begins at byte `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub offset: i64,
    pub position: u32,
}

/// `timestamp` is the largest up to the batch ending with `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub offset: i64,
}

pub(crate) type OffsetIndex = IndexFile<OffsetEntry>;
pub(crate) type TimeIndex = IndexFile<TimeEntry>;

impl IndexEntry for OffsetEntry {
    const SIZE: usize = 8;
    const SUFFIX: &'static str = INDEX_SUFFIX;
    const RESERVED: u32 = 0;

    fn key(&self) -> i64 {
        self.offset
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn encode(&self, base_offset: i64, out: &mut [u8]) {
        out[..4].copy_from_slice(&((self.offset - base_offset) as u32).to_be_bytes());
        out[4..8].copy_from_slice(&self.position.to_be_bytes());
    }

    fn decode(base_offset: i64, bytes: &[u8]) -> Self {
        let field = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Self { offset: base_offset + i64::from(field(0) as i32), position: field(4) }
    }
}

impl IndexEntry for TimeEntry {
    const SIZE: usize = 12;
    const SUFFIX: &'static str = TIME_INDEX_SUFFIX;
    const RESERVED: u32 = 1;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn encode(&self, base_offset: i64, out: &mut [u8]) {
        out[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&((self.offset - base_offset) as u32).to_be_bytes());
    }

    fn decode(base_offset: i64, bytes: &[u8]) -> Self {
        let timestamp = i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
        let relative = i32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
        Self { timestamp, offset: base_offset + i64::from(relative) }
    }
}

/// One index file.
#[derive(Debug)]
pub(crate) struct IndexFile<E> {
    key: FileKey,
    base_offset: i64,
    count: u32,
    last: Option<E>,
    tail: VecDeque<E>,
    on_disk: bool,
}

impl<E: IndexEntry> IndexFile<E> {
    /// An index of a new segment, without a file yet.
    pub fn new(place: &Place, base_offset: i64) -> Self {
        Self {
            key: place.cache.new_key(),
            base_offset,
            count: 0,
            last: None,
            tail: VecDeque::new(),
            on_disk: false,
        }
    }

    /// The index that lies in `place`. A tail that is no whole entry is left out of account.
    pub fn open(place: &Place, base_offset: i64) -> Result<Self> {
        let len = disk::len_of(&segment_file(&place.dir, base_offset, E::SUFFIX))?;
        let mut index = Self::new(place, base_offset);
        index.on_disk = len.is_some();
        index.count = (len.unwrap_or(0) / E::SIZE as u64).min(u64::from(u32::MAX)) as u32;
        Ok(index)
    }

    pub fn path(&self, place: &Place) -> PathBuf {
        segment_file(&place.dir, self.base_offset, E::SUFFIX)
    }

    #[cfg(test)]
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn exists(&self) -> bool {
        self.on_disk
    }

    pub fn file_key(&self) -> FileKey {
        self.key
    }

    /// Whether an index limited to `bytes_max` takes no more entries.
    pub fn is_full(&self, bytes_max: u32) -> bool {
        self.count + E::RESERVED >= bytes_max / E::SIZE as u32
    }

    /// Whether an offset is within 31 bits of the base.
    pub fn can_hold(&self, offset: i64) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.saturating_sub(self.base_offset))
    }

    pub fn append(&mut self, place: &Place, entry: E) -> Result<()> {
        debug_assert!(self.can_hold(entry.offset()));
        let path = self.path(place);
        let file = if self.on_disk {
            place.cache.get(self.key, || path.clone())?
        } else {
            place.cache.create(self.key, &path)?
        };
        let mut bytes = [0u8; 12];
        entry.encode(self.base_offset, &mut bytes);
        file.write_all_at(&bytes[..E::SIZE], u64::from(self.count) * E::SIZE as u64)
            .map_err(LogError::io("write", &path))?;
        self.on_disk = true;
        self.count += 1;
        self.last = Some(entry);
        if self.tail.len() == TAIL_ENTRIES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(entry);
        Ok(())
    }

    /// The last entry.
    pub fn last(&self, place: &Place) -> Result<Option<E>> {
        match (self.last, self.count) {
            (Some(last), _) => Ok(Some(last)),
            (None, 0) => Ok(None),
            (None, count) => Ok(self.read(place, count - 1, 1)?.pop()),
        }
    }

    /// The last entry whose key is at most `key`.
    pub fn floor(&self, place: &Place, key: i64) -> Result<Option<E>> {
        self.last_where(place, |entry| entry.key() <= key)
    }

    /// The last entry for which a condition holds that holds for a prefix of the index only.
    fn last_where(&self, place: &Place, holds: impl Fn(&E) -> bool) -> Result<Option<E>> {
        if self.tail.front().is_some_and(&holds) {
            let after = self.tail.partition_point(&holds);
            return Ok(self.tail.get(after - 1).copied());
        }
        let (mut low, mut high) = (0, self.count - self.tail.len() as u32);
        while high - low > SEARCH_BLOCK {
            let middle = low + (high - low) / 2;
            match self.read(place, middle, 1)?.first() {
                Some(entry) if holds(entry) => low = middle,
                Some(_) => high = middle,
                None => return Ok(None),
            }
        }
        let block = self.read(place, low, high - low)?;
        let after = block.partition_point(&holds);
        Ok(after.checked_sub(1).map(|i| block[i]))
    }

    /// Drops entries at or after `offset`, as Kafka's `truncateTo` does.
    pub fn truncate_to_offset(&mut self, place: &Place, offset: i64) -> Result<()> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(place, middle, 1)?.first() {
                Some(entry) if entry.offset() < offset => low = middle + 1,
                _ => high = middle,
            }
        }
        self.truncate_to_count(place, low)
    }

    /// Empties the index; the file stays.
    pub fn clear(&mut self, place: &Place) -> Result<()> {
        self.truncate_to_count(place, 0)
    }

    fn truncate_to_count(&mut self, place: &Place, count: u32) -> Result<()> {
        self.tail.clear();
        self.last = None;
        self.count = count;
        self.trim(place)
    }

    /// Cuts the file to its entries: Kafka preallocates an active segment's indexes.
    pub fn trim(&self, place: &Place) -> Result<()> {
        if !self.on_disk {
            return Ok(());
        }
        let path = self.path(place);
        let file = place.cache.get(self.key, || path.clone())?;
        file.set_len(u64::from(self.count) * E::SIZE as u64).map_err(LogError::io("truncate", &path))
    }

    /// Sees to it that the file exists, as Kafka expects of a segment that is closed; says whether it had to be made.
    pub fn seal(&mut self, place: &Place) -> Result<bool> {
        self.tail = VecDeque::new();
        if self.on_disk {
            return Ok(false);
        }
        place.cache.create(self.key, &self.path(place))?;
        self.on_disk = true;
        Ok(true)
    }

    fn read(&self, place: &Place, first: u32, count: u32) -> Result<Vec<E>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let path = self.path(place);
        let file = place.cache.get(self.key, || path.clone())?;
        let mut bytes = vec![0u8; count as usize * E::SIZE];
        let got = disk::read_at(&file, &mut bytes, u64::from(first) * E::SIZE as u64)
            .map_err(LogError::io("read", &path))?;
        Ok(bytes[..got].chunks_exact(E::SIZE).map(|b| E::decode(self.base_offset, b)).collect())
    }
}

impl TimeIndex {
    /// Adds an entry if it says something new; says whether it did. Going back in offset is left out: the index must
    /// stay monotonic.
    pub fn maybe_append(&mut self, place: &Place, entry: TimeEntry) -> Result<bool> {
        let last = self.last(place)?;
        let news = last.map_or(entry.timestamp > kafka_proto::records::NO_TIMESTAMP, |last| {
            entry.timestamp > last.timestamp && entry.offset >= last.offset
        });
        let appends = news && self.can_hold(entry.offset);
        if appends {
            self.append(place, entry)?;
        }
        Ok(appends)
    }
}

/// Removes an index's file from the cache when its segment goes.
pub(crate) fn forget<E: IndexEntry>(index: &IndexFile<E>, place: &Place) {
    place.cache.remove(index.file_key());
}

/// Whether an index file of a closed segment may be trusted (`AbstractIndex.sanityCheck`).
pub(crate) fn looks_sane(path: &Path, entry_size: u64) -> Result<bool> {
    Ok(disk::len_of(path)?.is_some_and(|len| len % entry_size == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().to_owned(), cache: Arc::new(FileCache::new(8)) };
        (dir, place)
    }

    /// The bytes are Kafka's: big-endian, relative to the base offset.
    #[test]
    fn golden_bytes() {
        let (_dir, place) = place();
        let mut offsets = OffsetIndex::new(&place, 100);
        offsets.append(&place, OffsetEntry { offset: 105, position: 4200 }).unwrap();
        offsets.append(&place, OffsetEntry { offset: 109, position: 8500 }).unwrap();
        let bytes = std::fs::read(offsets.path(&place)).unwrap();
        assert_eq!(bytes, [0, 0, 0, 5, 0, 0, 0x10, 0x68, 0, 0, 0, 9, 0, 0, 0x21, 0x34]);
        let mut times = TimeIndex::new(&place, 100);
        times.maybe_append(&place, TimeEntry { timestamp: 0x0102030405060708, offset: 107 }).unwrap();
        let bytes = std::fs::read(times.path(&place)).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 7]);
    }

    /// Every look-up agrees with a plain scan, whether the answer lies in memory or in the file, fresh or reopened.
    #[test]
    fn lookups_agree_with_a_scan() {
        let (_dir, place) = place();
        let mut index = OffsetIndex::new(&place, 10);
        let entries: Vec<_> =
            (0..3000).map(|i| OffsetEntry { offset: 12 + i * 3, position: i as u32 * 100 }).collect();
        for entry in &entries {
            index.append(&place, *entry).unwrap();
        }
        let reopened = OffsetIndex::open(&place, 10).unwrap();
        for target in [10, 11, 12, 13, 14, 15, 400, 1536, 4000, 7479, 7480, 9008, 9009, 9010, 99_999] {
            let expect = entries.iter().rfind(|e| e.offset <= target).copied();
            assert_eq!(index.floor(&place, target).unwrap(), expect, "{target}");
            assert_eq!(reopened.floor(&place, target).unwrap(), expect, "{target} reopened");
        }
        assert_eq!(reopened.last(&place).unwrap(), entries.last().copied());
    }

    /// Truncation drops the entry itself and all after it; appending goes on from there.
    #[test]
    fn truncates_by_offset() {
        let (_dir, place) = place();
        let mut index = OffsetIndex::new(&place, 0);
        for i in 1..=9 {
            index.append(&place, OffsetEntry { offset: i * 10, position: i as u32 }).unwrap();
        }
        index.truncate_to_offset(&place, 55).unwrap();
        assert_eq!(index.last(&place).unwrap().unwrap().offset, 50);
        index.truncate_to_offset(&place, 50).unwrap();
        assert_eq!((index.count(), index.last(&place).unwrap().unwrap().offset), (4, 40));
        index.append(&place, OffsetEntry { offset: 41, position: 77 }).unwrap();
        assert_eq!(std::fs::metadata(index.path(&place)).unwrap().len(), 5 * 8);
        assert_eq!(index.floor(&place, 42).unwrap().unwrap().position, 77);
    }

    /// The time index only grows in time.
    #[test]
    fn time_index_is_monotonic() {
        let (_dir, place) = place();
        let mut index = TimeIndex::new(&place, 0);
        for (timestamp, offset) in [(-1, 0), (5, 1), (5, 2), (4, 3), (9, 4), (9, 4)] {
            index.maybe_append(&place, TimeEntry { timestamp, offset }).unwrap();
        }
        assert_eq!(index.count(), 2);
        assert_eq!(index.floor(&place, 8).unwrap(), Some(TimeEntry { timestamp: 5, offset: 1 }));
        assert_eq!(index.floor(&place, 4).unwrap(), None);
        assert!(index.is_full(36) && !index.is_full(48));
    }
}
