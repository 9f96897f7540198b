//! Headers of record batches and iteration over a run of them.
//!
//! For: reading what a batch says about itself (offsets, timestamps, producer, codec, checksum) without looking at
//! its records. Not for: the records ([`super::record`], [`super::legacy`]).
//!
//! Invariant: a [`Batch`] that exists has all the bytes its size field declares, at least its format's header, and a
//! magic of 0, 1 or 2. Whether the *values* make sense (counts, deltas, checksum) is asked separately, because a
//! fetching follower and a recovering log tolerate different things than a leader on produce.

use super::{
    Compression, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, RecordsError,
    TimestampType,
};

/// Bytes of `offset` and `size`, which the size field does not count (`Records.LOG_OVERHEAD`).
pub const LOG_OVERHEAD: usize = 12;
/// Bytes needed to learn the magic of an entry.
pub const HEADER_UP_TO_MAGIC: usize = 17;
/// Index of the magic byte in every format.
pub const MAGIC_OFFSET: usize = 16;
/// Bytes of a magic 2 header; the records follow.
pub const BATCH_OVERHEAD: usize = 61;
/// Bytes at the front of a magic 2 batch that a leader rewrites without touching the checksum:
/// base offset, length, partition leader epoch.
pub const ASSIGNED_PREFIX: usize = 16;

const CRC_OFFSET: usize = 17;
const ATTRIBUTES_OFFSET: usize = 21;
const LAST_OFFSET_DELTA_OFFSET: usize = 23;
const BASE_TIMESTAMP_OFFSET: usize = 27;
const MAX_TIMESTAMP_OFFSET: usize = 35;
const PRODUCER_ID_OFFSET: usize = 43;
const PRODUCER_EPOCH_OFFSET: usize = 51;
const BASE_SEQUENCE_OFFSET: usize = 53;
const RECORDS_COUNT_OFFSET: usize = 57;

/// Smallest size field of a magic 0 message: crc, magic, attributes, key and value lengths.
const LEGACY_MIN_SIZE_V0: i32 = 14;
/// Magic 1 adds a timestamp.
const LEGACY_MIN_SIZE_V1: i32 = 22;

const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

pub(super) fn be_i64(b: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(b[at..at + 8].try_into().expect("a slice of eight bytes"))
}
pub(super) fn be_i32(b: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(b[at..at + 4].try_into().expect("a slice of four bytes"))
}
pub(super) fn be_i16(b: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(b[at..at + 2].try_into().expect("a slice of two bytes"))
}

/// Header of a record batch of magic 2, every field as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also after compaction removed it.
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch, −1 from producers.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec (bits 0–2), timestamp type (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Offset of the last record less the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas add to; the delete horizon if bit 6 is set (KIP-534).
    pub base_timestamp: i64,
    /// Largest timestamp, or the append time.
    pub max_timestamp: i64,
    /// −1 when not idempotent.
    pub producer_id: i64,
    /// −1 when not idempotent.
    pub producer_epoch: i16,
    /// Sequence of the first record, −1 when not idempotent.
    pub base_sequence: i32,
    /// Records in the batch.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. Only the header must be there; the records may be missing
    /// (see [`BatchHeader::size_bytes`]).
    ///
    /// # Errors
    /// [`RecordsError::Truncated`] below 61 bytes, [`RecordsError::UnsupportedMagic`] for another magic than 2,
    /// [`RecordsError::InvalidSize`] when the length field cannot even hold the header.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, RecordsError> {
        if bytes.len() < BATCH_OVERHEAD {
            return Err(RecordsError::Truncated {
                what: "record batch header",
                needed: BATCH_OVERHEAD,
                available: bytes.len(),
            });
        }
        let base_offset = be_i64(bytes, 0);
        let batch_length = be_i32(bytes, 8);
        let magic = bytes[MAGIC_OFFSET] as i8;
        if magic != 2 {
            return Err(RecordsError::UnsupportedMagic { offset: base_offset, magic });
        }
        let minimum = (BATCH_OVERHEAD - LOG_OVERHEAD) as i32;
        if batch_length < minimum {
            return Err(RecordsError::InvalidSize { offset: base_offset, size: batch_length, minimum });
        }
        Ok(BatchHeader {
            base_offset,
            batch_length,
            partition_leader_epoch: be_i32(bytes, 12),
            crc: be_i32(bytes, CRC_OFFSET) as u32,
            attributes: be_i16(bytes, ATTRIBUTES_OFFSET),
            last_offset_delta: be_i32(bytes, LAST_OFFSET_DELTA_OFFSET),
            base_timestamp: be_i64(bytes, BASE_TIMESTAMP_OFFSET),
            max_timestamp: be_i64(bytes, MAX_TIMESTAMP_OFFSET),
            producer_id: be_i64(bytes, PRODUCER_ID_OFFSET),
            producer_epoch: be_i16(bytes, PRODUCER_EPOCH_OFFSET),
            base_sequence: be_i32(bytes, BASE_SEQUENCE_OFFSET),
            records_count: be_i32(bytes, RECORDS_COUNT_OFFSET),
        })
    }

    /// Writes the header into the first 61 bytes of `out`.
    ///
    /// # Panics
    /// If `out` is shorter than [`BATCH_OVERHEAD`].
    pub fn write(&self, out: &mut [u8]) {
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[MAGIC_OFFSET] = 2;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
    }

    /// Bytes of the whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        LOG_OVERHEAD + self.batch_length.max(0) as usize
    }

    /// Offset of the last record. Saturates, so that a lying delta cannot overflow.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset that the batch after this one gets.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Codec of the records; `None` for undefined bits.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes)
    }

    /// True if any codec bit is set.
    pub fn is_compressed(&self) -> bool {
        self.attributes & 0x07 != 0
    }

    /// Who set the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        timestamp_type(self.attributes)
    }

    /// Part of a transaction (KIP-98).
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Holds control records (transaction markers, leader changes), which consumers do not see.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// When the tombstones and markers in it may be compacted away (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Comes from an idempotent or transactional producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence of the last record, wrapping from 2³¹−1 to 0; −1 when not idempotent.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }

    /// The first 16 bytes of the batch as a leader stores them: its own base offset and epoch, the length unchanged.
    /// None of them is under the checksum, so the rest of the batch goes to disk untouched.
    pub fn assigned_prefix(&self, base_offset: i64, partition_leader_epoch: i32) -> [u8; ASSIGNED_PREFIX] {
        let mut prefix = [0; ASSIGNED_PREFIX];
        prefix[0..8].copy_from_slice(&base_offset.to_be_bytes());
        prefix[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        prefix[12..16].copy_from_slice(&partition_leader_epoch.to_be_bytes());
        prefix
    }

    /// Attributes made of their parts.
    pub fn make_attributes(
        compression: Compression,
        timestamp_type: TimestampType,
        transactional: bool,
        control: bool,
    ) -> i16 {
        let mut bits = compression.attribute_bits();
        if timestamp_type == TimestampType::LogAppendTime {
            bits |= TIMESTAMP_TYPE_BIT;
        }
        if transactional {
            bits |= TRANSACTIONAL_BIT;
        }
        if control {
            bits |= CONTROL_BIT;
        }
        bits
    }
}

/// `sequence + increment` in the producer's sequence space, which wraps from 2³¹−1 to 0 (KIP-98).
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    (i64::from(sequence) + i64::from(increment)).rem_euclid(1 << 31) as i32
}

/// `sequence - decrement` in the producer's sequence space.
pub fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    increment_sequence(sequence, decrement.saturating_neg())
}

/// CRC-32C that the header of this magic 2 batch should carry. `batch` is exactly one batch.
pub fn compute_crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(ATTRIBUTES_OFFSET..).unwrap_or_default())
}

/// Rewrites base offset and leader epoch of the magic 2 batch at the front of `batch`, as a leader does on append.
///
/// # Panics
/// If `batch` is shorter than [`ASSIGNED_PREFIX`].
pub fn set_assigned(batch: &mut [u8], base_offset: i64, partition_leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&partition_leader_epoch.to_be_bytes());
}

/// Sets timestamp type and max timestamp of exactly one magic 2 batch and recomputes its checksum if either changed
/// (`DefaultRecordBatch.setMaxTimestamp`).
///
/// # Panics
/// If `batch` is shorter than [`BATCH_OVERHEAD`].
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) {
    let attributes = be_i16(batch, ATTRIBUTES_OFFSET);
    let bits = if timestamp_type == TimestampType::LogAppendTime {
        attributes | TIMESTAMP_TYPE_BIT
    } else {
        attributes & !TIMESTAMP_TYPE_BIT
    };
    if bits == attributes && be_i64(batch, MAX_TIMESTAMP_OFFSET) == max_timestamp {
        return;
    }
    batch[ATTRIBUTES_OFFSET..ATTRIBUTES_OFFSET + 2].copy_from_slice(&bits.to_be_bytes());
    batch[MAX_TIMESTAMP_OFFSET..MAX_TIMESTAMP_OFFSET + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    write_crc(batch);
}

/// Stores the checksum of exactly one magic 2 batch in its header.
pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = compute_crc(batch);
    batch[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_be_bytes());
}

pub(super) fn timestamp_type(attributes: i16) -> TimestampType {
    if attributes & TIMESTAMP_TYPE_BIT != 0 {
        TimestampType::LogAppendTime
    } else {
        TimestampType::CreateTime
    }
}

/// Header of one entry of a message set, magic 0 or 1: a message, or a wrapper around a compressed message set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyHeader {
    /// Offset of the message; of the *last* message inside for a wrapper.
    pub offset: i64,
    /// Bytes after this field.
    pub size: i32,
    /// CRC-32 (IEEE) from the magic to the end.
    pub crc: u32,
    /// 0 or 1.
    pub magic: i8,
    /// Codec (bits 0–2), timestamp type (bit 3, magic 1 only).
    pub attributes: i8,
    /// Milliseconds, [`NO_TIMESTAMP`] for magic 0.
    pub timestamp: i64,
}

impl LegacyHeader {
    fn parse(entry: &[u8]) -> Result<LegacyHeader, RecordsError> {
        let offset = be_i64(entry, 0);
        let size = be_i32(entry, 8);
        let magic = entry[MAGIC_OFFSET] as i8;
        let minimum = if magic == 0 { LEGACY_MIN_SIZE_V0 } else { LEGACY_MIN_SIZE_V1 };
        if size < minimum {
            return Err(RecordsError::InvalidSize { offset, size, minimum });
        }
        Ok(LegacyHeader {
            offset,
            size,
            crc: be_i32(entry, 12) as u32,
            magic,
            attributes: entry[17] as i8,
            timestamp: if magic == 0 { NO_TIMESTAMP } else { be_i64(entry, 18) },
        })
    }
}

/// One entry of a log: a magic 2 batch, or a message (possibly a compressed wrapper) of magic 0 or 1.
/// Borrows exactly the entry's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    V2(BatchHeader),
    Legacy(LegacyHeader),
}

impl<'a> Batch<'a> {
    /// The entry at the front of `bytes`; what follows it is left alone. `Ok(None)` when the entry is not complete,
    /// which at the end of a fetch answer or of a log under recovery is no error.
    ///
    /// # Errors
    /// [`RecordsError::InvalidSize`] and [`RecordsError::UnsupportedMagic`] for bytes that cannot become an entry.
    pub fn parse_first(bytes: &'a [u8]) -> Result<Option<Batch<'a>>, RecordsError> {
        let Some(frame) = EntryFrame::peek(bytes)? else { return Ok(None) };
        if frame.magic == 2 && frame.size_bytes < BATCH_OVERHEAD {
            let (size, minimum) =
                ((frame.size_bytes - LOG_OVERHEAD) as i32, (BATCH_OVERHEAD - LOG_OVERHEAD) as i32);
            return Err(RecordsError::InvalidSize { offset: frame.offset, size, minimum });
        }
        let Some(entry) = bytes.get(..frame.size_bytes) else { return Ok(None) };
        let kind = if frame.magic == 2 {
            Kind::V2(BatchHeader::parse(entry)?)
        } else {
            Kind::Legacy(LegacyHeader::parse(entry)?)
        };
        Ok(Some(Batch { bytes: entry, kind }))
    }

    /// The entry's bytes, header included, and nothing else.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the whole entry.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// 0, 1 or 2.
    pub fn magic(&self) -> i8 {
        match &self.kind {
            Kind::V2(_) => 2,
            Kind::Legacy(h) => h.magic,
        }
    }

    /// The magic 2 header, if it is one.
    pub fn v2(&self) -> Option<&BatchHeader> {
        match &self.kind {
            Kind::V2(h) => Some(h),
            Kind::Legacy(_) => None,
        }
    }

    /// The message set header, if it is one.
    pub fn legacy(&self) -> Option<&LegacyHeader> {
        match &self.kind {
            Kind::V2(_) => None,
            Kind::Legacy(h) => Some(h),
        }
    }

    /// Offset of the first record; `None` for a compressed wrapper of magic 0 or 1, which must be decompressed to
    /// know it ([`super::legacy`]).
    pub fn base_offset(&self) -> Option<i64> {
        match &self.kind {
            Kind::V2(h) => Some(h.base_offset),
            Kind::Legacy(h) if !self.is_compressed() => Some(h.offset),
            Kind::Legacy(_) => None,
        }
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        match &self.kind {
            Kind::V2(h) => h.last_offset(),
            Kind::Legacy(h) => h.offset,
        }
    }

    /// Largest timestamp inside, [`NO_TIMESTAMP`] for magic 0.
    pub fn max_timestamp(&self) -> i64 {
        match &self.kind {
            Kind::V2(h) => h.max_timestamp,
            Kind::Legacy(h) => h.timestamp,
        }
    }

    /// Attributes, widened for magic 0 and 1.
    pub fn attributes(&self) -> i16 {
        match &self.kind {
            Kind::V2(h) => h.attributes,
            Kind::Legacy(h) => i16::from(h.attributes),
        }
    }

    /// Codec; `None` for undefined bits.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes())
    }

    /// Codec, or the refusal that undefined bits deserve.
    pub fn require_compression(&self) -> Result<Compression, RecordsError> {
        self.compression().ok_or_else(|| {
            RecordsError::UnsupportedCompression(format!("codec bits {}", self.attributes() & 7))
        })
    }

    /// True if any codec bit is set.
    pub fn is_compressed(&self) -> bool {
        self.attributes() & 0x07 != 0
    }

    /// Who set the timestamps (magic 0: nobody; reported as the producer).
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic() == 0 { TimestampType::CreateTime } else { timestamp_type(self.attributes()) }
    }

    /// Holds control records.
    pub fn is_control(&self) -> bool {
        self.v2().is_some_and(BatchHeader::is_control)
    }

    /// Part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.v2().is_some_and(BatchHeader::is_transactional)
    }

    /// Producer id, −1 for none.
    pub fn producer_id(&self) -> i64 {
        self.v2().map_or(NO_PRODUCER_ID, |h| h.producer_id)
    }

    /// Producer epoch, −1 for none.
    pub fn producer_epoch(&self) -> i16 {
        self.v2().map_or(NO_PRODUCER_EPOCH, |h| h.producer_epoch)
    }

    /// Sequence of the first record, −1 for none.
    pub fn base_sequence(&self) -> i32 {
        self.v2().map_or(NO_SEQUENCE, |h| h.base_sequence)
    }

    /// Leader epoch, −1 for none and for magic 0 and 1.
    pub fn partition_leader_epoch(&self) -> i32 {
        self.v2().map_or(NO_LEADER_EPOCH, |h| h.partition_leader_epoch)
    }

    /// Records the header declares; `None` for magic 0 and 1.
    pub fn records_count(&self) -> Option<i32> {
        self.v2().map(|h| h.records_count)
    }

    /// The bytes after the magic 2 header; empty for magic 0 and 1.
    pub fn records_bytes(&self) -> &'a [u8] {
        match &self.kind {
            Kind::V2(_) => &self.bytes[BATCH_OVERHEAD..],
            Kind::Legacy(_) => &[],
        }
    }

    /// Compares the stored checksum with that of the bytes.
    ///
    /// # Errors
    /// [`RecordsError::CrcMismatch`].
    pub fn check_crc(&self) -> Result<(), RecordsError> {
        let (stored, computed) = match &self.kind {
            Kind::V2(h) => (h.crc, compute_crc(self.bytes)),
            Kind::Legacy(h) => (h.crc, crc32fast::hash(&self.bytes[MAGIC_OFFSET..])),
        };
        if stored == computed {
            return Ok(());
        }
        Err(RecordsError::CrcMismatch { offset: be_i64(self.bytes, 0), stored, computed })
    }
}

/// What the first 17 bytes of an entry tell: enough to find the next one without reading this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryFrame {
    /// The offset field: base offset (magic 2) or last offset (magic 0 and 1).
    pub offset: i64,
    /// Bytes of the whole entry.
    pub size_bytes: usize,
    /// 0, 1 or 2.
    pub magic: i8,
}

impl EntryFrame {
    /// Reads the frame; `Ok(None)` below 17 bytes.
    ///
    /// # Errors
    /// [`RecordsError::InvalidSize`] or [`RecordsError::UnsupportedMagic`].
    pub fn peek(bytes: &[u8]) -> Result<Option<EntryFrame>, RecordsError> {
        if bytes.len() < LOG_OVERHEAD {
            return Ok(None);
        }
        let offset = be_i64(bytes, 0);
        let size = be_i32(bytes, 8);
        if size < LEGACY_MIN_SIZE_V0 {
            return Err(RecordsError::InvalidSize { offset, size, minimum: LEGACY_MIN_SIZE_V0 });
        }
        let Some(&magic) = bytes.get(MAGIC_OFFSET) else { return Ok(None) };
        let magic = magic as i8;
        if !(0..=2).contains(&magic) {
            return Err(RecordsError::UnsupportedMagic { offset, magic });
        }
        Ok(Some(EntryFrame { offset, size_bytes: LOG_OVERHEAD + size as usize, magic }))
    }
}

/// Walks the entries of a byte slice. Ends quietly before an incomplete last entry ([`BatchIter::valid_bytes`] says
/// where) and after the first error.
#[derive(Debug, Clone)]
pub struct BatchIter<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> BatchIter<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> BatchIter<'a> {
        BatchIter { bytes, position: 0, failed: false }
    }

    /// Bytes of the complete entries yielded so far; equals the input's length when nothing was left over.
    pub fn valid_bytes(&self) -> usize {
        self.position
    }

    /// Bytes not consumed yet.
    pub fn remaining(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<Batch<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match Batch::parse_first(&self.bytes[self.position..]) {
            Ok(Some(batch)) => {
                self.position += batch.size_bytes();
                Some(Ok(batch))
            }
            Ok(None) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
