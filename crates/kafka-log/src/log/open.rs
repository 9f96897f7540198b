//! Opening a log: finishing what a crash interrupted, and proving the tail.
//!
//! After a clean stop the files are believed. Otherwise every segment from the recovery point on is read batch by
//! batch, its indexes and the producer state are rebuilt, and the log ends before the first bad batch: what follows
//! was never acknowledged as durable. Source: `LogLoader`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::{Log, Unsynced};
use crate::config::LogConfig;
use crate::dir_files;
use crate::disk;
use crate::epochs::LeaderEpochCache;
use crate::error::{LogError, Result};
use crate::file_cache::FileCache;
use crate::index::Place;
use crate::names::{
    CLEANED_SUFFIX, DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, SWAP_SUFFIX,
    TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, TopicPartition, offset_of,
};
use crate::producers::ProducerState;
use crate::scan::Scan;
use crate::segment::Segment;
use crate::txn_index::{self, AbortedTxn};

/// What a log needs to be opened or created.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The partition's directory, `<log.dir>/<topic>-<partition>`.
    pub dir: PathBuf,
    pub partition: TopicPartition,
    pub config: Arc<LogConfig>,
    pub cache: Arc<FileCache>,
    /// From the checkpoint; 0 if unknown.
    pub log_start_offset: i64,
    /// From the checkpoint; 0 if unknown.
    pub recovery_point: i64,
    /// From the checkpoint; `None` if unknown.
    pub high_watermark: Option<i64>,
    /// The last stop was clean.
    pub clean: bool,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    pub now_ms: i64,
    /// Any number; spreads `segment.jitter.ms`.
    pub random: u64,
}

/// A partition directory's content after leftovers of deletions and swaps are dealt with.
#[derive(Debug, Default)]
struct Listing {
    /// Base offset → size of the `.log` file.
    logs: BTreeMap<i64, u64>,
    snapshots: BTreeSet<i64>,
}

impl Log {
    /// Creates the directory with an empty log. Few system calls: index files come with their first entries, and
    /// nothing is synced before the first flush.
    pub fn create(options: OpenOptions) -> Result<Self> {
        std::fs::create_dir_all(&options.dir).map_err(LogError::io("create directory", &options.dir))?;
        let mut log = Self::bare(&options, Listing::default())?;
        log.ensure_segment(&options, options.log_start_offset)?;
        log.unsynced = Unsynced { dir: true, parent: true, files: Vec::new() };
        log.finish_open(&options, options.log_start_offset);
        Ok(log)
    }

    /// Opens what lies in the directory, repairing it if the last stop was not clean.
    pub fn open(options: OpenOptions) -> Result<Self> {
        let listing = clean_directory(&options.dir)?;
        let mut log = Self::bare(&options, listing)?;
        let mut next_offset = if options.clean { log.load_clean(&options)? } else { None };
        if next_offset.is_none() {
            next_offset = Some(log.recover(&options)?);
        }
        let mut next_offset = next_offset.unwrap_or_default();
        if next_offset < options.log_start_offset {
            log.start_beyond_end(&options, next_offset)?;
            next_offset = options.log_start_offset;
        }
        log.ensure_segment(&options, options.log_start_offset)?;
        log.finish_open(&options, next_offset);
        log.epochs.truncate_from_end(next_offset)?;
        log.epochs.truncate_from_start(log.log_start_offset)?;
        if options.clean {
            log.recovery_point = next_offset;
        }
        let bases = log.segments.iter().map(|s| s.base_offset).collect();
        log.producers.remove_stray_snapshots(&bases)?;
        log.load_producers(&options, next_offset)?;
        Ok(log)
    }

    fn bare(options: &OpenOptions, listing: Listing) -> Result<Self> {
        let place = Place { dir: options.dir.clone(), cache: options.cache.clone() };
        let name = options.partition.to_string();
        let mut log = Self {
            partition: options.partition.clone(),
            config: options.config.clone(),
            topic_id: dir_files::read_topic_id(&options.dir)?,
            segments: VecDeque::new(),
            log_start_offset: options.log_start_offset,
            next_offset: options.log_start_offset,
            high_watermark: options.log_start_offset,
            recovery_point: options.recovery_point,
            epochs: LeaderEpochCache::load(&options.dir)?,
            producers: ProducerState::new(
                name.clone(),
                &options.dir,
                options.producer_id_expiration_ms,
                listing.snapshots,
            ),
            recent: VecDeque::new(),
            unsynced: Unsynced::default(),
            deleted: VecDeque::new(),
            last_flush_ms: options.now_ms,
            truncations: 0,
            random: options.random,
            offline: false,
            name,
            place,
        };
        for (base_offset, size) in listing.logs {
            let jitter = log.next_jitter();
            log.segments.push_back(Segment::open(&log.place, base_offset, size, options.now_ms, jitter)?);
        }
        Ok(log)
    }

    fn finish_open(&mut self, options: &OpenOptions, next_offset: i64) {
        self.next_offset = next_offset;
        self.log_start_offset = options.log_start_offset.max(self.segments[0].base_offset);
        self.recovery_point = options.recovery_point.min(next_offset);
        let high_watermark = options.high_watermark.unwrap_or(self.log_start_offset);
        self.high_watermark =
            high_watermark.clamp(self.log_start_offset, next_offset.max(self.log_start_offset));
        self.producers.set_map_end_offset(0);
    }

    fn ensure_segment(&mut self, options: &OpenOptions, base_offset: i64) -> Result<()> {
        if self.segments.is_empty() {
            let jitter = self.next_jitter();
            let preallocate = self.config.preallocate.then_some(self.config.segment_bytes);
            self.segments.push_back(Segment::create(
                &self.place,
                base_offset,
                options.now_ms,
                jitter,
                preallocate,
            )?);
            self.unsynced.dir = true;
        }
        Ok(())
    }

    /// After a clean stop: the log end offset, or `None` if the files contradict the marker.
    fn load_clean(&mut self, options: &OpenOptions) -> Result<Option<i64>> {
        let place = self.place.clone();
        for i in 0..self.segments.len() {
            let segment = &self.segments[i];
            let sane = segment.offset_index.exists() && self.indexes_look_sane(segment)?;
            if !sane {
                error!(
                    "{}: could not find a sound offset index file corresponding to log file {}, recovering segment and rebuilding index files",
                    self.name,
                    segment.path(&place).display()
                );
                let base_offset = segment.base_offset;
                self.load_producers_until(options, base_offset)?;
                if self.recover_segment(i)?.1 {
                    return Ok(None);
                }
            }
        }
        let Some(active) = self.segments.back_mut() else { return Ok(Some(options.log_start_offset)) };
        match active.load_end(&place)? {
            Ok(next_offset) => Ok(Some(next_offset)),
            Err(reason) => {
                warn!(
                    "{}: {}: {reason}, although the last stop was clean; recovering the log",
                    self.name,
                    active.path(&place).display()
                );
                Ok(None)
            }
        }
    }

    fn indexes_look_sane(&self, segment: &Segment) -> Result<bool> {
        Ok(crate::index::looks_sane(&segment.offset_index.path(&self.place), 8)?
            && (!segment.time_index.exists()
                || crate::index::looks_sane(&segment.time_index.path(&self.place), 12)?)
            && txn_index::is_sane(&self.place.dir, segment.base_offset)?)
    }

    /// After a crash: scans from the recovery point on; returns the log end offset.
    fn recover(&mut self, options: &OpenOptions) -> Result<i64> {
        // Indexes below the recovery point were synced; one that is missing or ragged is rebuilt all the same.
        let first = if options.clean { 0 } else { self.segment_for(options.recovery_point).unwrap_or(0) };
        for i in 0..first.min(self.segments.len()) {
            if !self.segments[i].offset_index.exists() || !self.indexes_look_sane(&self.segments[i])? {
                let base_offset = self.segments[i].base_offset;
                self.load_producers_until(options, base_offset)?;
                self.recover_segment(i)?;
            }
        }
        let Some(first_segment) = self.segments.get(first) else { return Ok(options.log_start_offset) };
        let base_offset = first_segment.base_offset;
        self.load_producers_until(options, base_offset)?;
        let mut next_offset = base_offset;
        for i in first..self.segments.len() {
            debug!("{}: recovering unflushed segment {}", self.name, self.segments[i].base_offset);
            let base_offset = self.segments[i].base_offset;
            self.producers.set_map_end_offset(base_offset);
            self.unsynced.files.extend(self.producers.take_snapshot()?);
            let (end, damaged) = self.recover_segment(i)?;
            next_offset = end;
            self.producers.set_map_end_offset(next_offset);
            if damaged {
                self.drop_segments_after(i, options.now_ms)?;
                break;
            }
        }
        self.unsynced.files.extend(self.producers.take_snapshot()?);
        Ok(next_offset)
    }

    /// Scans one segment; the offset after it, and whether it had to be cut.
    fn recover_segment(&mut self, index: usize) -> Result<(i64, bool)> {
        let place = self.place.clone();
        let interval = self.config.index_interval_bytes;
        let Self { segments, producers, epochs, .. } = self;
        let segment = &mut segments[index];
        let base_offset = segment.base_offset;
        let recovered = segment.recover(&place, interval, |meta, scan| {
            if meta.leader_epoch() >= 0 && epochs.latest().is_none_or(|e| meta.leader_epoch() > e.epoch) {
                epochs.assign(meta.leader_epoch(), meta.base_offset)?;
            }
            if let Some(completed) = producers.replay(meta, || scan.marker(meta))? {
                let last_stable_offset = producers.last_stable_offset(&completed);
                if completed.aborted {
                    txn_index::append(
                        &place.dir,
                        base_offset,
                        &AbortedTxn::of(&completed, last_stable_offset),
                    )?;
                }
                producers.complete(&completed);
            }
            producers.set_map_end_offset(meta.last_offset + 1);
            Ok(())
        })?;
        if let Some(damage) = &recovered.damage {
            warn!(
                "{}: {} is corrupt at byte {} (offset {}): {}; the last {} bytes were cut off",
                self.name,
                self.segments[index].path(&place).display(),
                damage.position,
                recovered.next_offset,
                damage.reason,
                damage.bytes
            );
        }
        // The active segment gets its last time entry when it is rolled or closed.
        if index + 1 < self.segments.len() {
            self.segments[index].seal(&place)?;
        }
        Ok((recovered.next_offset, recovered.damage.is_some()))
    }

    fn drop_segments_after(&mut self, index: usize, now_ms: i64) -> Result<()> {
        let later: Vec<Segment> = self.segments.drain(index + 1..).collect();
        for segment in later {
            warn!(
                "{}: dropping {} ({} bytes), which follows the corruption",
                self.name,
                segment.path(&self.place).display(),
                segment.size
            );
            self.mark_segment_deleted(&segment, now_ms)?;
        }
        Ok(())
    }

    /// The checkpoint says the log begins where no segment reaches: somebody removed files.
    fn start_beyond_end(&mut self, options: &OpenOptions, next_offset: i64) -> Result<()> {
        let start = options.log_start_offset;
        warn!(
            "{}: deleting all segments because the log end offset ({next_offset}) is smaller than the log start offset ({start}); were segment files deleted from the file system?",
            self.name
        );
        let all: Vec<Segment> = self.segments.drain(..).collect();
        for segment in all {
            self.mark_segment_deleted(&segment, options.now_ms)?;
        }
        self.epochs.clear()?;
        self.producers.truncate_fully(start)
    }

    /// The producer state at the end of the log, from the latest snapshot and the batches after it.
    fn load_producers(&mut self, options: &OpenOptions, next_offset: i64) -> Result<()> {
        let has_records = self.segments.iter().any(|s| s.size > 0);
        if options.clean && self.producers.latest_snapshot().is_none() && has_records {
            // Written by a broker that kept no snapshots: nothing to know. An empty one saves the scan next time.
            self.producers.set_map_end_offset(next_offset);
        } else {
            self.load_producers_until(options, next_offset)?;
        }
        self.unsynced.files.extend(self.producers.take_snapshot()?);
        Ok(())
    }

    fn load_producers_until(&mut self, options: &OpenOptions, offset: i64) -> Result<()> {
        let log_start = options.log_start_offset.max(self.segments.front().map_or(0, |s| s.base_offset));
        self.producers.reload(log_start, offset, options.now_ms)?;
        self.replay_producers(offset)
    }

    /// Producer state after a truncation.
    pub(super) fn rebuild_producers(&mut self, offset: i64, now_ms: i64) -> Result<()> {
        self.producers.reload(self.log_start_offset, offset, now_ms)?;
        self.replay_producers(offset)?;
        self.unsynced.files.extend(self.producers.take_snapshot()?);
        Ok(())
    }

    /// Reads batches from where the producer state ends up to `offset`.
    fn replay_producers(&mut self, offset: i64) -> Result<()> {
        let from = self.producers.map_end_offset();
        if from >= offset {
            return Ok(());
        }
        let first = self.segment_for(from).unwrap_or(0);
        let Self { segments, producers, place, name, .. } = self;
        for segment in segments.iter().skip(first) {
            if segment.base_offset >= offset || segment.size == 0 {
                continue;
            }
            let Some(start) = segment.find_batch(place, from.max(segment.base_offset))? else { continue };
            let (file, path) = (segment.file(place)?, segment.path(place));
            let mut scan = Scan::headers(&file, &path, start.position, segment.size);
            loop {
                let meta = match scan.next()? {
                    Ok(Some(meta)) if meta.base_offset < offset => meta,
                    Ok(_) => break,
                    Err(reason) => {
                        warn!(
                            "{}: {} is corrupt at byte {}: {reason}; producers after it are not known",
                            name,
                            path.display(),
                            scan.position()
                        );
                        break;
                    }
                };
                if let Some(completed) = producers.replay(&meta, || scan.marker(&meta))? {
                    producers.complete(&completed);
                }
            }
        }
        self.producers.set_map_end_offset(offset);
        Ok(())
    }
}

/// Removes what deletions left, finishes or undoes swaps of the cleaner, and lists the rest.
fn clean_directory(dir: &Path) -> Result<Listing> {
    let mut names = list_names(dir)?;
    for name in names.iter().filter(|n| n.ends_with(DELETED_SUFFIX)) {
        disk::remove_if_exists(&dir.join(name))?;
    }
    let leftovers = |n: &String| n.ends_with(SWAP_SUFFIX) || n.ends_with(CLEANED_SUFFIX);
    if names.iter().any(leftovers) {
        finish_swaps(dir, &names)?;
        names = list_names(dir)?;
    }
    let mut listing = Listing::default();
    for name in &names {
        let Some(base_offset) = offset_of(name) else { continue };
        if name.len() == 20 + LOG_SUFFIX.len() && name.ends_with(LOG_SUFFIX) {
            listing.logs.insert(base_offset, disk::len_of(&dir.join(name))?.unwrap_or(0));
        } else if name.ends_with(SNAPSHOT_SUFFIX) {
            listing.snapshots.insert(base_offset);
        }
    }
    let index =
        |n: &&String| [INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX].iter().any(|s| n.ends_with(s));
    for name in names.iter().filter(index) {
        if offset_of(name).is_some_and(|base| !listing.logs.contains_key(&base)) {
            warn!(
                "found an orphaned index file {}, with no corresponding log file; removing it",
                dir.join(name).display()
            );
            disk::remove_if_exists(&dir.join(name))?;
        }
    }
    Ok(listing)
}

/// A `.swap` log is complete: the segments it replaces go, it takes its name. A `.cleaned` one is not: it goes, and
/// with it `.swap` files of the same unfinished split (KAFKA-6264).
fn finish_swaps(dir: &Path, names: &[String]) -> Result<()> {
    let cleaned: Vec<_> = names.iter().filter(|n| n.ends_with(CLEANED_SUFFIX)).collect();
    let min_cleaned = cleaned.iter().filter_map(|n| offset_of(n)).min().unwrap_or(i64::MAX);
    for name in &cleaned {
        disk::remove_if_exists(&dir.join(name))?;
    }
    let (valid, invalid): (Vec<&String>, Vec<&String>) = names
        .iter()
        .filter(|n| n.ends_with(SWAP_SUFFIX))
        .partition(|n| offset_of(n).is_some_and(|o| o < min_cleaned));
    for name in invalid {
        disk::remove_if_exists(&dir.join(name))?;
    }
    let log_swap = format!("{LOG_SUFFIX}{SWAP_SUFFIX}");
    for name in valid.iter().filter(|n| n.ends_with(&log_swap)) {
        let Some(base_offset) = offset_of(name) else { continue };
        let end = end_of_swap(&dir.join(name), base_offset)?;
        info!("found log file {} from an interrupted swap; completing the swap", dir.join(name).display());
        for old in names.iter().filter(|n| offset_of(n).is_some_and(|o| o >= base_offset && o < end)) {
            let segment_file = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX]
                .iter()
                .any(|s| old.ends_with(s));
            if segment_file {
                disk::remove_if_exists(&dir.join(old))?;
            }
        }
    }
    for name in valid {
        let live = name.strip_suffix(SWAP_SUFFIX).unwrap_or(name);
        disk::rename(&dir.join(name), &dir.join(live))?;
    }
    disk::sync_dir(dir)
}

/// The offset after the last batch of a swap file.
fn end_of_swap(path: &Path, base_offset: i64) -> Result<i64> {
    let file = disk::open_rw(path, false)?;
    let size = file.metadata().map_err(LogError::io("stat", path))?.len();
    let mut scan = Scan::headers(&file, path, 0, size);
    let mut end = base_offset + 1;
    while let Ok(Some(meta)) = scan.next()? {
        end = meta.last_offset + 1;
    }
    Ok(end)
}

fn list_names(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).map_err(LogError::io("list", dir))?;
    let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interrupted swap is completed, an interrupted cleaning is undone, orphans and deleted files go.
    #[test]
    fn leftovers_are_dealt_with() {
        let dir = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(dir.path().join(name), "").unwrap();
        touch("00000000000000000000.log.deleted");
        touch("00000000000000000007.timeindex");
        touch("00000000000000000000.log.swap");
        touch("00000000000000000000.index.swap");
        touch("00000000000000000000.log");
        touch("00000000000000000000.index");
        touch("00000000000000000005.log");
        touch("00000000000000000009.log.cleaned");
        let listing = clean_directory(dir.path()).unwrap();
        assert_eq!(listing.logs.keys().copied().collect::<Vec<_>>(), [0, 5]);
        assert_eq!(
            list_names(dir.path()).unwrap(),
            ["00000000000000000000.index", "00000000000000000000.log", "00000000000000000005.log"]
        );
    }
}
