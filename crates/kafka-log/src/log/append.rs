//! Appending: offsets and epoch are put into a 16-byte prefix of each batch, the rest goes to disk untouched.

use std::io::IoSlice;

use kafka_proto::records::batch::{ASSIGNED_PREFIX, BATCH_OVERHEAD, BatchHeader, BatchIter};
use tracing::{debug, info};

use super::{Log, RECENT_BATCHES_MAX, RecentBatch};
use crate::error::{LogError, Result};
use crate::producers::{AppendOrigin, CompletedTxn, ProducerBatch, ProducerEntry};
use crate::scan::{BatchMeta, EndTxnMarker};
use crate::segment::Segment;
use crate::txn_index::{self, AbortedTxn};

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    pub first_offset: i64,
    pub last_offset: i64,
    /// −1 if no record has one; of a duplicate, that of the original batch.
    pub max_timestamp: i64,
    pub log_start_offset: i64,
    /// Bytes written; 0 for a duplicate.
    pub bytes: usize,
    /// The batch is one of the producer's last five, nothing was written, the offsets are the original's.
    pub duplicate: bool,
    /// A new segment was begun; the old one should be flushed soon.
    pub rolled: bool,
    /// `flush.messages` is reached: the caller flushes before it acknowledges.
    pub flush_due: bool,
}

/// A batch with the offset it gets.
struct Placed<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
    prefix: [u8; ASSIGNED_PREFIX],
}

/// What producers look like after the append.
#[derive(Default)]
struct ProducerChanges {
    updates: Vec<(i64, ProducerEntry, Option<i64>)>,
    completed: Vec<CompletedTxn>,
}

impl Log {
    /// Appends validated batches of magic 2 (one or more, nothing else in `batches`) as the leader of
    /// `leader_epoch`: gives them offsets from the log's end on. Whether the records make sense, their checksums and
    /// timestamps are the caller's to check before.
    ///
    /// # Errors
    /// `Producer` and `BatchTooLargeForSegment` leave the log as it was; after a disk error it is offline.
    pub fn append_as_leader(
        &mut self,
        batches: &[u8],
        leader_epoch: i32,
        origin: AppendOrigin,
        now_ms: i64,
    ) -> Result<AppendInfo> {
        self.guarded(|log| log.append(batches, Some(leader_epoch), origin, now_ms))
    }

    /// Appends batches fetched from the leader, with the offsets and epochs they carry.
    pub fn append_as_follower(&mut self, batches: &[u8], now_ms: i64) -> Result<AppendInfo> {
        self.guarded(|log| log.append(batches, None, AppendOrigin::Replication, now_ms))
    }

    fn append(
        &mut self,
        batches: &[u8],
        leader_epoch: Option<i32>,
        origin: AppendOrigin,
        now_ms: i64,
    ) -> Result<AppendInfo> {
        let placed = self.place_batches(batches, leader_epoch)?;
        let (Some(first), Some(last)) = (placed.first(), placed.last()) else {
            return Err(self.malformed("no batch in the append"));
        };
        let (first_offset, last_offset) = (first.header.base_offset, last.header.last_offset());
        let max_timestamp = placed.iter().map(|p| p.header.max_timestamp).max().unwrap_or(-1);
        if batches.len() as u64 > u64::from(self.config.segment_bytes) {
            return Err(LogError::BatchTooLargeForSegment {
                partition: self.name.clone(),
                size: batches.len(),
                max: self.config.segment_bytes,
            });
        }
        let changes = match self.examine_producers(&placed, origin)? {
            Ok(changes) => changes,
            Err(original) => return Ok(self.duplicate_of(&original)),
        };
        let rolled = self.maybe_roll(batches.len(), first_offset, last_offset, max_timestamp, now_ms)?;
        self.assign_epochs(&placed)?;
        self.write(&placed, batches.len())?;
        self.next_offset = last_offset + 1;
        self.apply_producers(changes)?;
        let unflushed = self.next_offset - self.recovery_point;
        Ok(AppendInfo {
            first_offset,
            last_offset,
            max_timestamp,
            log_start_offset: self.log_start_offset,
            bytes: batches.len(),
            duplicate: false,
            rolled,
            flush_due: unflushed >= self.config.flush_messages,
        })
    }

    fn place_batches<'a>(&self, batches: &'a [u8], leader_epoch: Option<i32>) -> Result<Vec<Placed<'a>>> {
        let mut placed = Vec::with_capacity(1);
        let mut next = self.next_offset;
        let mut iter = BatchIter::new(batches);
        for batch in &mut iter {
            let batch = batch.map_err(|e| self.malformed(&e.to_string()))?;
            let Some(mut header) = batch.v2().copied() else {
                return Err(self.malformed("a batch of magic 0 or 1, which is to be converted first"));
            };
            if header.last_offset_delta < 0 || header.last_offset_delta == i32::MAX {
                return Err(self.malformed(&format!("last offset delta {}", header.last_offset_delta)));
            }
            match leader_epoch {
                Some(epoch) => {
                    header.base_offset = next;
                    header.partition_leader_epoch = epoch;
                }
                None if header.base_offset < next => {
                    return Err(LogError::UnexpectedAppendOffset {
                        partition: self.name.clone(),
                        first: header.base_offset,
                        next,
                    });
                }
                None => {}
            }
            next = header.next_offset();
            let prefix = header.assigned_prefix(header.base_offset, header.partition_leader_epoch);
            placed.push(Placed { header, bytes: batch.bytes(), prefix });
        }
        if !iter.remaining().is_empty() {
            return Err(
                self.malformed(&format!("{} bytes after the last whole batch", iter.remaining().len()))
            );
        }
        Ok(placed)
    }

    fn malformed(&self, reason: &str) -> LogError {
        LogError::MalformedBatch { partition: self.name.clone(), reason: reason.to_owned() }
    }

    /// Checks sequences and transactions. The inner error is the batch that the append repeats.
    fn examine_producers(
        &self,
        placed: &[Placed<'_>],
        origin: AppendOrigin,
    ) -> Result<std::result::Result<ProducerChanges, ProducerBatch>> {
        let mut changes = ProducerChanges::default();
        let mut open = Vec::new();
        for batch in placed.iter().filter(|p| p.header.has_producer_id()) {
            let header = &batch.header;
            if origin == AppendOrigin::Client
                && let Some(entry) = self.producers.entry(header.producer_id)
                && let Some(original) =
                    entry.find_duplicate(header.producer_epoch, header.base_sequence, header.last_sequence())
            {
                return Ok(Err(original));
            }
            let at = open.iter().position(|(id, _)| *id == header.producer_id).unwrap_or_else(|| {
                open.push((header.producer_id, self.producers.prepare(header.producer_id, origin)));
                open.len() - 1
            });
            let marker = header.is_control().then(|| EndTxnMarker::parse(&batch.bytes[BATCH_OVERHEAD..]));
            changes.completed.extend(open[at].1.batch(header, header.base_offset, marker)?);
        }
        changes.updates = open
            .into_iter()
            .map(|(id, append)| {
                let (entry, txn) = append.finish();
                (id, entry, txn)
            })
            .collect();
        Ok(Ok(changes))
    }

    fn duplicate_of(&self, original: &ProducerBatch) -> AppendInfo {
        debug!(
            "{}: batch ending at offset {} was sent again; answering with its offsets",
            self.name, original.last_offset
        );
        AppendInfo {
            first_offset: original.first_offset(),
            last_offset: original.last_offset,
            max_timestamp: original.timestamp,
            log_start_offset: self.log_start_offset,
            bytes: 0,
            duplicate: true,
            rolled: false,
            flush_due: false,
        }
    }

    fn assign_epochs(&mut self, placed: &[Placed<'_>]) -> Result<()> {
        for batch in placed {
            let epoch = batch.header.partition_leader_epoch;
            if self.epochs.latest().is_none_or(|latest| latest.epoch != epoch) {
                self.epochs.assign(epoch, batch.header.base_offset)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, placed: &[Placed<'_>], bytes: usize) -> Result<()> {
        let interval = self.config.index_interval_bytes;
        let segment = self.segments.back_mut().expect("a log has at least one segment");
        let mut position = segment.size;
        if let [one] = placed {
            segment.write(
                &self.place,
                &mut [IoSlice::new(&one.prefix), IoSlice::new(&one.bytes[ASSIGNED_PREFIX..])],
                bytes,
            )?;
        } else {
            let mut slices: Vec<IoSlice<'_>> = placed
                .iter()
                .flat_map(|p| [IoSlice::new(&p.prefix), IoSlice::new(&p.bytes[ASSIGNED_PREFIX..])])
                .collect();
            segment.write(&self.place, &mut slices, bytes)?;
        }
        for batch in placed {
            let meta = BatchMeta::of(&batch.header, position);
            segment.index_batch(&self.place, interval, &meta)?;
            if self.recent.len() == RECENT_BATCHES_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(RecentBatch { last_offset: meta.last_offset, position, size: meta.size });
            position = meta.end();
        }
        Ok(())
    }

    fn apply_producers(&mut self, changes: ProducerChanges) -> Result<()> {
        for (id, entry, txn) in changes.updates {
            self.producers.update(id, entry, txn);
        }
        for completed in changes.completed {
            let last_stable_offset = self.producers.last_stable_offset(&completed);
            if completed.aborted {
                let base_offset = self.active().base_offset;
                txn_index::append(
                    &self.place.dir,
                    base_offset,
                    &AbortedTxn::of(&completed, last_stable_offset),
                )?;
            }
            self.producers.complete(&completed);
        }
        self.producers.set_map_end_offset(self.next_offset);
        Ok(())
    }

    fn maybe_roll(
        &mut self,
        bytes: usize,
        first_offset: i64,
        last_offset: i64,
        max_timestamp: i64,
        now_ms: i64,
    ) -> Result<bool> {
        let config = self.config.clone();
        let segment = self.segments.back_mut().expect("a log has at least one segment");
        let full = !segment.has_room(bytes, last_offset, config.segment_bytes, config.segment_index_bytes);
        let limit_ms = config.segment_ms_max() - segment.roll_jitter_ms;
        let due =
            full || (segment.size > 0 && segment.waited_ms(&self.place, now_ms, max_timestamp)? > limit_ms);
        if !due {
            return Ok(false);
        }
        if self.active().size == 0 && self.active().base_offset == first_offset {
            // Nothing is won by replacing an empty segment with another at the same offset (KAFKA-6388).
            return Ok(false);
        }
        self.roll_at(first_offset, now_ms)?;
        Ok(true)
    }

    /// Begins a new segment at the log's end. An empty active segment stays as it is.
    pub fn roll(&mut self, now_ms: i64) -> Result<()> {
        self.guarded(|log| if log.active().size == 0 { Ok(()) } else { log.roll_at(log.next_offset, now_ms) })
    }

    pub(super) fn roll_at(&mut self, base_offset: i64, now_ms: i64) -> Result<()> {
        let base_offset = base_offset.max(self.next_offset);
        let place = self.place.clone();
        self.active_mut().seal(&place)?;
        let jitter = self.next_jitter();
        let preallocate = self.config.preallocate.then_some(self.config.segment_bytes);
        self.segments.push_back(Segment::create(&place, base_offset, now_ms, jitter, preallocate)?);
        self.recent.clear();
        self.unsynced.dir = true;
        // The snapshot's offset is the new segment's: recovery of that segment begins with it.
        self.producers.set_map_end_offset(base_offset);
        self.unsynced.files.extend(self.producers.take_snapshot()?);
        info!("{}: rolled new log segment at offset {base_offset}", self.name);
        Ok(())
    }
}
