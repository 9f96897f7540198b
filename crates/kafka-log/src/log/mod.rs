//! A partition's log: segments, producers, epochs, and the offsets that bound them.
//!
//! A plain struct without locks, threads or clock; time comes as an argument. Appends and rolls do not sync:
//! [`Log::prepare_flush`] gives a job that syncs files outside whatever lock the owner holds, and
//! [`Log::complete_flush`] then moves the recovery point.
//!
//! Invariants: `log_start_offset ≤ high_watermark ≤ next_offset`; `recovery_point ≤ next_offset`; segments are
//! ascending and the last one is active; what lies below the recovery point is on disk.

mod append;
mod compaction;
#[cfg(test)]
mod crash_tests;
mod flush;
#[cfg(test)]
mod model_tests;
mod open;
mod producers;
mod read;
mod retention;
#[cfg(test)]
mod tests;
mod timestamps;
mod truncate;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_proto::wire::Uuid;

pub use append::AppendInfo;
pub use flush::{FlushJob, Flushed};
pub use open::OpenOptions;
pub use producers::ActiveProducer;
pub use read::{LogPosition, ReadInfo};
pub use timestamps::TimestampOffset;

use crate::config::LogConfig;
use crate::dir_files;
use crate::epochs::{EpochEndOffset, EpochEntry, LeaderEpochCache};
use crate::error::{LogError, Result};
use crate::index::Place;
use crate::names::TopicPartition;
use crate::producers::ProducerState;
use crate::segment::Segment;

/// Batches at the end of the log whose place is remembered, so that readers near the end need no search.
const RECENT_BATCHES_MAX: usize = 32;

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    partition: TopicPartition,
    /// `topic-partition`, for messages.
    name: String,
    place: Place,
    config: Arc<LogConfig>,
    topic_id: Option<Uuid>,
    segments: VecDeque<Segment>,
    log_start_offset: i64,
    /// Log end offset: the next append's first offset.
    next_offset: i64,
    high_watermark: i64,
    recovery_point: i64,
    epochs: LeaderEpochCache,
    producers: ProducerState,
    recent: VecDeque<RecentBatch>,
    unsynced: Unsynced,
    deleted: VecDeque<DeletedFiles>,
    last_flush_ms: i64,
    /// Counts truncations, so that a flush begun before one does not move the recovery point after it.
    truncations: u64,
    /// Spreads `segment.jitter.ms`.
    random: u64,
    offline: bool,
}

/// Place of a batch near the end of the active segment.
#[derive(Debug, Clone, Copy)]
struct RecentBatch {
    last_offset: i64,
    position: u64,
    size: u32,
}

/// Files besides segments that the next flush has to sync.
#[derive(Debug, Default)]
struct Unsynced {
    /// Names were added to the partition's directory.
    dir: bool,
    /// The partition's directory itself is new.
    parent: bool,
    files: Vec<PathBuf>,
}

/// Files renamed for deletion, to be removed at `due_ms`.
#[derive(Debug)]
struct DeletedFiles {
    due_ms: i64,
    paths: Vec<PathBuf>,
}

impl Log {
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.place.dir
    }

    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Takes effect with the next append or pass.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// Notes the topic's id (`partition.metadata`); refuses another one than the log already has.
    pub fn assign_topic_id(&mut self, id: Uuid) -> Result<()> {
        match self.topic_id {
            Some(known) if known == id => Ok(()),
            Some(known) => Err(LogError::BadFile {
                path: self.place.dir.join(dir_files::PARTITION_METADATA),
                reason: format!(
                    "Tried to assign topic ID {id} to log for topic partition {}, but log already contained topic ID {known}",
                    self.name
                ),
            }),
            None => {
                let path = dir_files::write_topic_id(&self.place.dir, id)?;
                self.unsynced.files.push(path);
                self.unsynced.dir = true;
                self.topic_id = Some(id);
                Ok(())
            }
        }
    }

    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The next append's first offset.
    pub fn log_end_offset(&self) -> i64 {
        self.next_offset
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Everything below has been synced to disk.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Sets the high watermark, kept within the log; returns what it is now.
    pub fn set_high_watermark(&mut self, offset: i64) -> i64 {
        self.high_watermark = offset.clamp(self.log_start_offset, self.next_offset);
        self.producers.on_high_watermark(self.high_watermark);
        self.high_watermark
    }

    /// Up to where `read_committed` may read: the high watermark, or the first transaction not known to be over.
    pub fn last_stable_offset(&self) -> i64 {
        let unstable = self.producers.first_unstable_offset();
        unstable
            .map_or(self.high_watermark, |first| first.max(self.log_start_offset).min(self.high_watermark))
    }

    /// The newest leader epoch known, with the offset it starts at.
    pub fn latest_epoch(&self) -> Option<(i32, i64)> {
        self.epochs.latest().map(|e| (e.epoch, e.start_offset))
    }

    /// All leader epochs known, ascending.
    pub fn epoch_entries(&self) -> &[EpochEntry] {
        self.epochs.entries()
    }

    /// The epoch a record at `offset` was written in.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        self.epochs.epoch_for_offset(offset)
    }

    /// A new leader's epoch starts at the end of the log; call on becoming leader, also of an empty log.
    pub fn assign_epoch_start(&mut self, leader_epoch: i32) -> Result<()> {
        self.check_online()?;
        self.epochs.assign(leader_epoch, self.next_offset)
    }

    /// Answer to OffsetForLeaderEpoch; both −1 if unknown.
    pub fn epoch_end_offset(&self, leader_epoch: i32) -> EpochEndOffset {
        self.epochs.end_offset_for(leader_epoch, self.next_offset)
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.size).sum()
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// First offsets of the segments, ascending.
    pub fn segment_base_offsets(&self) -> impl Iterator<Item = i64> {
        self.segments.iter().map(|s| s.base_offset)
    }

    /// Whether an earlier disk error keeps the log from being written.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    fn check_online(&self) -> Result<()> {
        if self.offline { Err(LogError::Offline { path: self.place.dir.clone() }) } else { Ok(()) }
    }

    /// Runs what may leave files in an unknown state if the disk fails; then the log is offline.
    fn guarded<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.check_online()?;
        let result = f(self);
        if result.as_ref().is_err_and(LogError::is_disk_failure) {
            self.offline = true;
        }
        result
    }

    fn active(&self) -> &Segment {
        self.segments.back().expect("a log has at least one segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has at least one segment")
    }

    /// Index of the segment that would hold `offset`: the last one whose base is not above it.
    fn segment_for(&self, offset: i64) -> Option<usize> {
        self.segments.partition_point(|s| s.base_offset <= offset).checked_sub(1)
    }

    fn next_jitter(&mut self) -> i64 {
        // A step of SplitMix64: any spread will do.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.config.segment_jitter(mixed ^ (mixed >> 27))
    }

    /// Checks what must hold between operations; for tests and simulation.
    pub fn check(&self) {
        assert!(self.log_start_offset <= self.high_watermark, "{self:?}");
        assert!(self.high_watermark <= self.next_offset, "{self:?}");
        assert!(self.recovery_point <= self.next_offset, "{self:?}");
        assert!(!self.segments.is_empty());
        assert!(
            self.segments
                .iter()
                .zip(self.segments.iter().skip(1))
                .all(|(a, b)| a.base_offset < b.base_offset)
        );
        assert!(self.active().base_offset <= self.next_offset);
    }
}
