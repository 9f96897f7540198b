//! Reading keys and writing what is left.

use std::fs::File;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use kafka_proto::records::batch::{BATCH_OVERHEAD, BatchHeader, LOG_OVERHEAD, compute_crc};
use kafka_proto::records::builder::{BatchBuilder, BatchOptions};
use kafka_proto::records::reader::RecordReader;
use kafka_proto::records::{Batch, RecordsError, TimestampType};

use super::CleanerOptions;
use super::key_map::KeyMap;
use super::plan::{CleaningPlan, SourceSegment};
use crate::disk;
use crate::error::{LogError, Result};
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::names::{
    CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_file,
};
use crate::scan::{BatchMeta, Scan};

/// A segment in `.cleaned` files, synced.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub base_offset: i64,
    pub size: u64,
}

/// Reads the keys of the dirty part into `keys`; returns the offset up to which they are all there.
pub(super) fn read_keys(plan: &CleaningPlan, keys: &mut KeyMap, options: &CleanerOptions) -> Result<i64> {
    let mut reader = RecordReader::new(options.decompressed_bytes_max);
    for segment in plan.segments.iter().filter(|s| s.base_offset >= plan.first_dirty) {
        let mut full = false;
        for_each_batch(segment, |meta, bytes| {
            if is_control(meta) || is_aborted(plan, meta) {
                return Ok(ControlFlow::Continue(()));
            }
            let batch = parse(segment, meta, bytes)?;
            let read = reader.for_each(&batch, |record| {
                if record.offset < plan.log_start_offset {
                    return Ok(ControlFlow::Continue(()));
                }
                full = record.key.is_some_and(|key| !keys.insert(key, record.offset));
                Ok::<_, RecordsError>(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            read.map_err(|e| corrupt(segment, meta, &e))?;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if full {
            // Keys of part of a segment do no harm: they are the latest known. But it is not clean yet; unless it
            // is the first, which then must do, or no pass would ever get on.
            let first = segment.base_offset <= plan.first_dirty;
            return Ok(if first { next_base(plan, segment) } else { segment.base_offset });
        }
    }
    Ok(plan.first_uncleanable)
}

fn next_base(plan: &CleaningPlan, segment: &SourceSegment) -> i64 {
    plan.segments
        .iter()
        .map(|s| s.base_offset)
        .find(|base| *base > segment.base_offset)
        .unwrap_or(plan.first_uncleanable)
}

/// Writes a run of segments as one, without outdated records.
pub(super) fn rewrite(
    plan: &CleaningPlan,
    group: &[SourceSegment],
    keys: &KeyMap,
    options: &CleanerOptions,
    now_ms: i64,
) -> Result<Rewritten> {
    let base_offset = group.first().map_or(0, |s| s.base_offset);
    let mut out = Output::create(plan, base_offset)?;
    let mut reader = RecordReader::new(options.decompressed_bytes_max);
    let tombstones_go_before_ms = plan.tombstones_go_before_ms();
    for segment in group {
        let rules =
            Rules { plan, keys, keep_tombstones: segment.modified_ms > tombstones_go_before_ms, now_ms };
        for_each_batch(segment, |meta, bytes| {
            let batch = parse(segment, meta, bytes)?;
            batch.check_crc().map_err(|e| corrupt(segment, meta, &e))?;
            match rules.filter(&batch, meta, &mut reader).map_err(|e| corrupt(segment, meta, &e))? {
                Kept::All => out.append(bytes)?,
                Kept::Some(rebuilt) => out.append(&rebuilt)?,
                Kept::None => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let modified_ms = group.last().map_or(0, |s| s.modified_ms);
    out.finish(group, modified_ms)
}

/// What of a batch stays.
enum Kept {
    All,
    Some(Vec<u8>),
    None,
}

/// Which records stay.
struct Rules<'a> {
    plan: &'a CleaningPlan,
    keys: &'a KeyMap,
    keep_tombstones: bool,
    now_ms: i64,
}

impl Rules<'_> {
    fn filter(
        &self,
        batch: &Batch<'_>,
        meta: &BatchMeta,
        reader: &mut RecordReader,
    ) -> std::result::Result<Kept, RecordsError> {
        let Some(header) = meta.v2.filter(|h| !h.is_control()) else { return Ok(Kept::All) };
        let aborted = is_aborted(self.plan, meta);
        let keep_tombstones =
            header.delete_horizon_ms().map_or(self.keep_tombstones, |horizon| self.now_ms < horizon);
        let mut builder = BatchBuilder::new(options_of(&header)?);
        let (mut seen, mut kept) = (0, 0);
        reader.for_each(batch, |record| {
            seen += 1;
            let stays = !aborted
                && record.offset >= self.plan.log_start_offset
                && record.key.is_some_and(|key| self.keys.is_latest(key, record.offset))
                && (record.value.is_some() || keep_tombstones);
            if stays {
                kept += 1;
                builder.append_record(record.offset, &record)?;
            }
            Ok::<_, RecordsError>(ControlFlow::Continue(()))
        })?;
        let last_of_producer = header.has_producer_id()
            && self.plan.producers.get(&header.producer_id) == Some(&header.last_offset());
        Ok(match kept {
            0 if seen == 0 && last_of_producer => Kept::All,
            0 if last_of_producer => Kept::Some(emptied(&header)),
            0 => Kept::None,
            kept if kept == seen => Kept::All,
            _ => Kept::Some(with_offsets_of(&header, builder.finish()?)),
        })
    }
}

fn options_of(header: &BatchHeader) -> std::result::Result<BatchOptions, RecordsError> {
    let compression = header.compression().ok_or_else(|| {
        RecordsError::UnsupportedCompression(format!("codec bits {}", header.attributes & 7))
    })?;
    Ok(BatchOptions {
        base_offset: header.base_offset,
        partition_leader_epoch: header.partition_leader_epoch,
        compression,
        log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(header.max_timestamp),
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.is_transactional(),
        control: false,
    })
}

/// Gives a rebuilt batch the offsets (and with them the sequences) of the original.
fn with_offsets_of(original: &BatchHeader, mut batch: Vec<u8>) -> Vec<u8> {
    if let Ok(mut header) = BatchHeader::parse(&batch) {
        header.last_offset_delta = original.last_offset_delta;
        header.write(&mut batch);
        header.crc = compute_crc(&batch);
        header.write(&mut batch);
    }
    batch
}

/// A batch without records, kept for its producer's sake.
fn emptied(original: &BatchHeader) -> Vec<u8> {
    let mut batch = vec![0; BATCH_OVERHEAD];
    let mut header = BatchHeader {
        batch_length: (BATCH_OVERHEAD - LOG_OVERHEAD) as i32,
        attributes: original.attributes & !7 & !0x40,
        base_timestamp: -1,
        records_count: 0,
        ..*original
    };
    header.write(&mut batch);
    header.crc = compute_crc(&batch);
    header.write(&mut batch);
    batch
}

/// `.cleaned` files being written.
struct Output<'a> {
    plan: &'a CleaningPlan,
    base_offset: i64,
    path: PathBuf,
    file: std::io::BufWriter<File>,
    size: u64,
    bytes_since_index: u64,
    largest: TimeEntry,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
}

impl<'a> Output<'a> {
    fn create(plan: &'a CleaningPlan, base_offset: i64) -> Result<Self> {
        let path = cleaned(plan, base_offset, LOG_SUFFIX);
        let file = File::create(&path).map_err(LogError::io("create", &path))?;
        Ok(Self {
            plan,
            base_offset,
            file: std::io::BufWriter::with_capacity(1 << 18, file),
            path,
            size: 0,
            bytes_since_index: 0,
            largest: TimeEntry { timestamp: -1, offset: base_offset },
            offsets: Vec::new(),
            times: Vec::new(),
        })
    }

    /// The same index rule as `Segment::index_batch`.
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let meta = BatchMeta::parse(bytes, self.size).ok().flatten();
        let Some(meta) = meta else { return Ok(()) };
        self.file.write_all(bytes).map_err(LogError::io("write", &self.path))?;
        if meta.max_timestamp > self.largest.timestamp {
            self.largest = TimeEntry { timestamp: meta.max_timestamp, offset: meta.last_offset };
        }
        if self.bytes_since_index > u64::from(self.plan.index_interval_bytes) {
            self.offsets.push(OffsetEntry { offset: meta.last_offset, position: self.size as u32 });
            self.push_time();
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += u64::from(meta.size);
        self.size = meta.end();
        Ok(())
    }

    fn push_time(&mut self) {
        if self.largest.timestamp > self.times.last().map_or(-1, |t| t.timestamp) {
            self.times.push(self.largest);
        }
    }

    fn finish(mut self, group: &[SourceSegment], modified_ms: i64) -> Result<Rewritten> {
        self.push_time();
        let plan = self.plan;
        write_synced(
            &cleaned(plan, self.base_offset, INDEX_SUFFIX),
            &encode(&self.offsets, self.base_offset),
        )?;
        write_synced(
            &cleaned(plan, self.base_offset, TIME_INDEX_SUFFIX),
            &encode(&self.times, self.base_offset),
        )?;
        let mut aborted = Vec::new();
        for segment in group {
            let path = segment_file(&plan.place.dir, segment.base_offset, TXN_INDEX_SUFFIX);
            aborted.extend(disk::read_small(&path, u64::MAX)?.unwrap_or_default());
        }
        if !aborted.is_empty() {
            write_synced(&cleaned(plan, self.base_offset, TXN_INDEX_SUFFIX), &aborted)?;
        }
        let file = self.file.into_inner().map_err(|e| LogError::io("write", &self.path)(e.into_error()))?;
        // Tombstones are timed by it.
        let modified = UNIX_EPOCH + Duration::from_millis(modified_ms.max(0).unsigned_abs());
        file.set_modified(modified)
            .and_then(|()| file.sync_all())
            .map_err(LogError::io("sync", &self.path))?;
        Ok(Rewritten { base_offset: self.base_offset, size: self.size })
    }
}

fn cleaned(plan: &CleaningPlan, base_offset: i64, suffix: &str) -> PathBuf {
    disk::with_suffix(&segment_file(&plan.place.dir, base_offset, suffix), CLEANED_SUFFIX)
}

fn write_synced(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    disk::write_unsynced(path, bytes)?;
    disk::sync_file_at(path)
}

fn encode<E: IndexEntry>(entries: &[E], base_offset: i64) -> Vec<u8> {
    let mut bytes = vec![0; entries.len() * E::SIZE];
    for (entry, out) in entries.iter().zip(bytes.chunks_exact_mut(E::SIZE)) {
        entry.encode(base_offset, out);
    }
    bytes
}

fn is_control(meta: &BatchMeta) -> bool {
    meta.v2.is_some_and(|h| h.is_control())
}

fn is_aborted(plan: &CleaningPlan, meta: &BatchMeta) -> bool {
    meta.v2.filter(|h| h.is_transactional() && !h.is_control()).is_some_and(|h| {
        let within = |t: &crate::txn_index::AbortedTxn| {
            t.producer_id == h.producer_id
                && t.first_offset <= h.base_offset
                && h.base_offset <= t.last_offset
        };
        plan.aborted.iter().any(within)
    })
}

fn parse<'b>(segment: &SourceSegment, meta: &BatchMeta, bytes: &'b [u8]) -> Result<Batch<'b>> {
    let batch = Batch::parse_first(bytes).map_err(|e| corrupt(segment, meta, &e))?;
    batch.ok_or_else(|| LogError::Corrupt {
        path: segment.path.clone(),
        position: meta.position,
        reason: "batch is cut".into(),
    })
}

fn corrupt(segment: &SourceSegment, meta: &BatchMeta, e: &RecordsError) -> LogError {
    LogError::Corrupt { path: segment.path.clone(), position: meta.position, reason: e.to_string() }
}

fn for_each_batch(
    segment: &SourceSegment,
    mut f: impl FnMut(&BatchMeta, &[u8]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut scan = Scan::headers(&segment.file, &segment.path, 0, segment.size);
    let mut bytes = Vec::new();
    loop {
        let position = scan.position();
        let meta = match scan.next()? {
            Ok(Some(meta)) => meta,
            Ok(None) => return Ok(()),
            Err(reason) => return Err(LogError::Corrupt { path: segment.path.clone(), position, reason }),
        };
        bytes.resize(meta.size as usize, 0);
        let got = disk::read_at(&segment.file, &mut bytes, meta.position)
            .map_err(LogError::io("read", &segment.path))?;
        if f(&meta, &bytes[..got])?.is_break() {
            return Ok(());
        }
    }
}
