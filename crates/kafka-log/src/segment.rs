//! One segment: a run of record batches in a `.log` file, and its indexes.
//!
//! Knows bytes, positions and index rules; does not know leaders, producers or other segments.
//!
//! Index rule (`LogSegment.append`): a batch gets an entry when the bytes since the last entry exceed
//! `index.interval.bytes`, checked before the batch is counted; the entry is (last offset of the batch, its
//! position), and with it goes the largest timestamp so far. Recovery applies the same rule and yields the same
//! files.

use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use kafka_proto::records::NO_TIMESTAMP;

use crate::disk;
use crate::error::{LogError, Result};
use crate::file_cache::FileKey;
use crate::index::{OffsetEntry, OffsetIndex, Place, TimeEntry, TimeIndex, forget};
use crate::names::{DELETED_SUFFIX, LOG_SUFFIX, TXN_INDEX_SUFFIX, segment_file};
use crate::scan::{BatchMeta, Scan};
use crate::txn_index;

/// Kafka addresses a segment with signed 32-bit positions.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// One segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: i64,
    pub size: u64,
    pub offset_index: OffsetIndex,
    pub time_index: TimeIndex,
    /// When this segment came to be, for rolling an empty or timeless one.
    pub created_ms: i64,
    pub roll_jitter_ms: i64,
    key: FileKey,
    /// Largest timestamp and the last offset of its batch; `None`: not read yet.
    max_timestamp: Option<TimeEntry>,
    first_timestamp: Option<i64>,
    bytes_since_index: u64,
}

/// What recovery found in a segment.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Offset after the last good batch.
    pub next_offset: i64,
    /// Where and why the segment was cut.
    pub damage: Option<Damage>,
}

#[derive(Debug)]
pub(crate) struct Damage {
    pub position: u64,
    pub bytes: u64,
    pub reason: String,
}

impl Segment {
    /// An empty segment; its `.log` file is created, index files come with their first entries.
    pub fn create(
        place: &Place,
        base_offset: i64,
        now_ms: i64,
        roll_jitter_ms: i64,
        preallocate: Option<u32>,
    ) -> Result<Self> {
        let mut segment = Self::unopened(place, base_offset, 0, now_ms, roll_jitter_ms);
        segment.offset_index = OffsetIndex::new(place, base_offset);
        segment.time_index = TimeIndex::new(place, base_offset);
        segment.max_timestamp = Some(TimeEntry { timestamp: NO_TIMESTAMP, offset: base_offset });
        let file = place.cache.create(segment.key, &segment.path(place))?;
        if let Some(bytes) = preallocate {
            // A hint: a file system that cannot do it grows the file as it is written.
            let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, u64::from(bytes));
        }
        Ok(segment)
    }

    /// The segment that lies in `place`, `size` bytes long.
    pub fn open(
        place: &Place,
        base_offset: i64,
        size: u64,
        now_ms: i64,
        roll_jitter_ms: i64,
    ) -> Result<Self> {
        let mut segment = Self::unopened(place, base_offset, size, now_ms, roll_jitter_ms);
        segment.offset_index = OffsetIndex::open(place, base_offset)?;
        segment.time_index = TimeIndex::open(place, base_offset)?;
        Ok(segment)
    }

    fn unopened(place: &Place, base_offset: i64, size: u64, now_ms: i64, roll_jitter_ms: i64) -> Self {
        Self {
            base_offset,
            size,
            offset_index: OffsetIndex::new(place, base_offset),
            time_index: TimeIndex::new(place, base_offset),
            created_ms: now_ms,
            roll_jitter_ms,
            key: place.cache.new_key(),
            max_timestamp: None,
            first_timestamp: None,
            bytes_since_index: 0,
        }
    }

    pub fn path(&self, place: &Place) -> PathBuf {
        segment_file(&place.dir, self.base_offset, LOG_SUFFIX)
    }

    pub fn file(&self, place: &Place) -> Result<Arc<File>> {
        place.cache.get(self.key, || self.path(place))
    }

    /// Whether an append that ends at `last_offset` fits; if not, the segment must be rolled.
    pub fn has_room(&self, bytes: usize, last_offset: i64, segment_bytes: u32, index_bytes: u32) -> bool {
        self.size + bytes as u64 <= u64::from(segment_bytes).min(SEGMENT_BYTES_MAX)
            && !self.offset_index.is_full(index_bytes)
            && !self.time_index.is_full(index_bytes)
            && self.offset_index.can_hold(last_offset)
    }

    /// How long the segment has been waiting to be rolled: by the records' clock if they have timestamps.
    pub fn waited_ms(&mut self, place: &Place, now_ms: i64, timestamp: i64) -> Result<i64> {
        match self.first_timestamp(place)? {
            Some(first) if first >= 0 => Ok(timestamp.saturating_sub(first)),
            _ => Ok(now_ms.saturating_sub(self.created_ms)),
        }
    }

    /// The largest timestamp of the first batch.
    pub fn first_timestamp(&mut self, place: &Place) -> Result<Option<i64>> {
        if self.first_timestamp.is_none() && self.size > 0 {
            let file = self.file(place)?;
            let path = self.path(place);
            if let Ok(Some(first)) = Scan::headers(&file, &path, 0, self.size).next()? {
                self.first_timestamp = Some(first.max_timestamp);
            }
        }
        Ok(self.first_timestamp)
    }

    /// Writes whole batches at the end. On failure the file is cut back to what it was.
    pub fn write(&mut self, place: &Place, slices: &mut [IoSlice<'_>], bytes: usize) -> Result<()> {
        let file = self.file(place)?;
        if let Err(source) = disk::write_vectored_at(&file, slices, self.size) {
            let path = self.path(place);
            // If even this fails, recovery cuts the tail; the caller takes the log offline.
            let _ = file.set_len(self.size);
            return Err(LogError::Io { op: "write", path, source });
        }
        self.size += bytes as u64;
        Ok(())
    }

    /// Accounts for a batch that lies at `meta.position`: timestamps and indexes.
    pub fn index_batch(&mut self, place: &Place, interval: u32, meta: &BatchMeta) -> Result<()> {
        if meta.position == 0 {
            self.first_timestamp = Some(meta.max_timestamp);
        }
        let largest = self.max_timestamp(place)?;
        if meta.max_timestamp > largest.timestamp {
            self.max_timestamp = Some(TimeEntry { timestamp: meta.max_timestamp, offset: meta.last_offset });
        }
        if self.bytes_since_index > u64::from(interval) && self.offset_index.can_hold(meta.last_offset) {
            let position = u32::try_from(meta.position).unwrap_or(u32::MAX);
            self.offset_index.append(place, OffsetEntry { offset: meta.last_offset, position })?;
            let largest = self.max_timestamp(place)?;
            self.time_index.maybe_append(place, largest)?;
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += u64::from(meta.size);
        Ok(())
    }

    /// The largest timestamp and the last offset of its batch; −1 and the base offset if there is none.
    pub fn max_timestamp(&self, place: &Place) -> Result<TimeEntry> {
        if let Some(known) = self.max_timestamp {
            return Ok(known);
        }
        let none = TimeEntry { timestamp: NO_TIMESTAMP, offset: self.base_offset };
        Ok(self.time_index.last(place)?.unwrap_or(none))
    }

    /// What retention by time goes by: the largest timestamp, else when the file was last written.
    pub fn retention_timestamp(&self, place: &Place) -> Result<i64> {
        let largest = self.max_timestamp(place)?.timestamp;
        if largest >= 0 { Ok(largest) } else { self.modified_ms(place) }
    }

    /// When the file was last written.
    pub fn modified_ms(&self, place: &Place) -> Result<i64> {
        let path = self.path(place);
        let modified =
            std::fs::metadata(&path).and_then(|m| m.modified()).map_err(LogError::io("stat", &path))?;
        Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64))
    }

    /// The first batch whose last offset is at least `offset`.
    pub fn find_batch(&self, place: &Place, offset: i64) -> Result<Option<BatchMeta>> {
        let from = self.offset_index.floor(place, offset)?.map_or(0, |e| u64::from(e.position));
        self.find_from(place, from, |meta| meta.last_offset >= offset)
    }

    /// The first batch at or after `position` that satisfies a condition.
    pub fn find_from(
        &self,
        place: &Place,
        position: u64,
        found: impl Fn(&BatchMeta) -> bool,
    ) -> Result<Option<BatchMeta>> {
        let (file, path) = (self.file(place)?, self.path(place));
        let mut scan = Scan::headers(&file, &path, position, self.size);
        loop {
            let at = scan.position();
            match scan.next()? {
                Ok(Some(meta)) if found(&meta) => return Ok(Some(meta)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(reason) => return Err(LogError::Corrupt { path: path.clone(), position: at, reason }),
            }
        }
    }

    /// The position to scan from for a timestamp of at least `timestamp` at or after `start_offset`.
    pub fn position_for_timestamp(&self, place: &Place, timestamp: i64, start_offset: i64) -> Result<u64> {
        let by_time = self.time_index.floor(place, timestamp)?.map_or(self.base_offset, |e| e.offset);
        let entry = self.offset_index.floor(place, by_time.max(start_offset))?;
        Ok(entry.map_or(0, |e| u64::from(e.position)))
    }

    /// Reads a batch into memory.
    pub fn read_batch(&self, place: &Place, meta: &BatchMeta) -> Result<Vec<u8>> {
        let (file, path) = (self.file(place)?, self.path(place));
        let mut bytes = vec![0; meta.size as usize];
        let got = disk::read_at(&file, &mut bytes, meta.position).map_err(LogError::io("read", &path))?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Walks the tail of a segment that was closed properly: the offset after its last batch, with timestamps and
    /// index accounting restored. An inner error says what is wrong with the tail.
    pub fn load_end(&mut self, place: &Place) -> Result<std::result::Result<i64, String>> {
        if self.size == 0 {
            self.max_timestamp = Some(TimeEntry { timestamp: NO_TIMESTAMP, offset: self.base_offset });
            return Ok(Ok(self.base_offset));
        }
        let mut largest = self
            .time_index
            .last(place)?
            .unwrap_or(TimeEntry { timestamp: NO_TIMESTAMP, offset: self.base_offset });
        let last_index = self.offset_index.last(place)?;
        let by_time = self.offset_index.floor(place, largest.offset)?;
        let from =
            last_index.map_or(0, |e| u64::from(e.position)).min(by_time.map_or(0, |e| u64::from(e.position)));
        let (file, path) = (self.file(place)?, self.path(place));
        let mut scan = Scan::headers(&file, &path, from, self.size);
        let mut next_offset = self.base_offset;
        loop {
            match scan.next()? {
                Ok(Some(meta)) => {
                    next_offset = next_offset.max(meta.last_offset + 1);
                    if meta.max_timestamp > largest.timestamp {
                        largest = TimeEntry { timestamp: meta.max_timestamp, offset: meta.last_offset };
                    }
                }
                Ok(None) => break,
                Err(reason) => return Ok(Err(format!("byte {}: {reason}", scan.position()))),
            }
        }
        self.max_timestamp = Some(largest);
        self.bytes_since_index = self.size - last_index.map_or(0, |e| u64::from(e.position)).min(self.size);
        Ok(Ok(next_offset))
    }

    /// Reads every byte, rebuilds the indexes, cuts the file after the last good batch. `visit` sees each good
    /// batch, in order, with the scan to read more of it.
    pub fn recover(
        &mut self,
        place: &Place,
        interval: u32,
        mut visit: impl FnMut(&BatchMeta, &mut Scan<'_>) -> Result<()>,
    ) -> Result<Recovered> {
        self.reset_indexes(place)?;
        txn_index::truncate_to(&place.dir, self.base_offset, i64::MIN)?;
        let (file, path) = (self.file(place)?, self.path(place));
        let mut scan = Scan::all(&file, &path, 0, self.size);
        let mut next_offset = self.base_offset;
        let mut good_end = 0;
        let damage = loop {
            let meta = match scan.next()? {
                Ok(Some(meta)) => meta,
                Ok(None) => break None,
                Err(reason) => break Some(reason),
            };
            if let Err(reason) = scan.check_crc(&meta)? {
                break Some(reason);
            }
            if meta.last_offset < next_offset {
                break Some(format!(
                    "last offset {} where at least {next_offset} was expected",
                    meta.last_offset
                ));
            }
            self.index_batch(place, interval, &meta)?;
            visit(&meta, &mut scan)?;
            next_offset = meta.last_offset + 1;
            good_end = meta.end();
        };
        let damage = damage.map(|reason| Damage { position: good_end, bytes: self.size - good_end, reason });
        if damage.is_some() {
            file.set_len(good_end).map_err(LogError::io("truncate", &path))?;
            self.size = good_end;
        }
        Ok(Recovered { next_offset, damage })
    }

    fn reset_indexes(&mut self, place: &Place) -> Result<()> {
        self.offset_index.clear(place)?;
        self.time_index.clear(place)?;
        self.max_timestamp = Some(TimeEntry { timestamp: NO_TIMESTAMP, offset: self.base_offset });
        self.first_timestamp = None;
        self.bytes_since_index = 0;
        Ok(())
    }

    /// Drops the batch holding `offset` and all after it.
    pub fn truncate_to(&mut self, place: &Place, offset: i64) -> Result<()> {
        let cut = self.find_batch(place, offset)?.map_or(self.size, |meta| meta.position);
        self.offset_index.truncate_to_offset(place, offset)?;
        self.time_index.truncate_to_offset(place, offset)?;
        txn_index::truncate_to(&place.dir, self.base_offset, offset)?;
        let path = self.path(place);
        self.file(place)?.set_len(cut).map_err(LogError::io("truncate", &path))?;
        self.size = cut;
        self.first_timestamp = None;
        match self.load_end(place)? {
            Ok(_) => Ok(()),
            Err(reason) => Err(LogError::Corrupt { path, position: cut, reason }),
        }
    }

    /// Makes the files what Kafka expects of a segment that gets no more appends; says whether they changed.
    pub fn seal(&mut self, place: &Place) -> Result<bool> {
        let largest = self.max_timestamp(place)?;
        let appended = self.time_index.maybe_append(place, largest)?;
        let created = self.offset_index.seal(place)? | self.time_index.seal(place)?;
        self.max_timestamp = Some(largest);
        Ok(appended || created)
    }

    /// Forgets open files and renames what is on disk for deletion; returns the new names.
    pub fn mark_deleted(&self, place: &Place) -> Result<Vec<PathBuf>> {
        self.forget_files(place);
        let paths = [
            self.path(place),
            self.offset_index.path(place),
            self.time_index.path(place),
            segment_file(&place.dir, self.base_offset, TXN_INDEX_SUFFIX),
        ];
        let mut marked = Vec::with_capacity(paths.len());
        for path in paths {
            let to = disk::with_suffix(&path, DELETED_SUFFIX);
            if disk::rename_if_exists(&path, &to)? {
                marked.push(to);
            }
        }
        Ok(marked)
    }

    pub fn forget_files(&self, place: &Place) {
        place.cache.remove(self.key);
        forget(&self.offset_index, place);
        forget(&self.time_index, place);
    }
}
