//! What a leader checks on produce, and what it rewrites (`LogValidator`, `UnifiedLog.analyzeAndValidateRecords`,
//! `ProduceRequest.validateRecords`).
//!
//! The log keeps magic 2 only, so the result is always one batch of magic 2. It is the producer's own bytes, borrowed,
//! unless the codec, the format, the timestamps or the inner offsets force a rewrite. Every record is looked at, as
//! Kafka does: counts, keys on compacted topics and timestamps are promises to consumers. Uncompressed batches are
//! read in place, compressed ones through the reader's buffer; nothing is allocated per record.
//!
//! Offsets are not assigned here: base offset and leader epoch lie outside the checksum, and the log patches them
//! when it knows them.
//!
//! Invariant: a [`Validated`] batch has a correct checksum, `last_offset_delta + 1 == records_count` for clients, its
//! max timestamp is that of its records (or the append time), and it is not larger than the topic allows.

use std::borrow::Cow;
use std::ops::ControlFlow;

use thiserror::Error;

use super::batch::{Batch, BatchHeader, BatchIter, set_max_timestamp};
use super::legacy::for_each_message;
use super::record::RecordIter;
use super::{
    BatchBuilder, BatchOptions, Compression, NO_TIMESTAMP, RecordReader, RecordsError, TimestampType,
};

/// Per-record complaints kept for one batch; more help nobody and would make a small hostile batch a large reply.
const RECORD_ERRORS_MAX: usize = 1000;

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request: everything is checked.
    Client,
    /// The broker itself (group offsets, transaction markers): may write control batches and any base offset.
    Coordinator,
}

/// `compression.type` of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetCompression {
    /// Keep what the producer used.
    Producer,
    /// Store with this codec, recompressing what comes otherwise.
    Codec(Compression),
}

/// What the topic demands.
#[derive(Debug, Clone, Copy)]
pub struct ValidateOptions<'a> {
    /// For error messages.
    pub topic: &'a str,
    /// For error messages.
    pub partition: i32,
    /// Wall clock, milliseconds.
    pub now_ms: i64,
    /// Who appends.
    pub origin: Origin,
    /// `cleanup.policy` includes `compact`: keys may not be null.
    pub compacted: bool,
    /// `compression.type`.
    pub compression: TargetCompression,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far CreateTime may lie behind the clock.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far CreateTime may lie before the clock.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`: largest batch, as sent and as stored.
    pub message_bytes_max: usize,
}

/// One batch of magic 2, ready for the log.
#[derive(Debug)]
pub struct Validated<'a> {
    /// The producer's bytes, or the rewritten ones.
    pub batch: Cow<'a, [u8]>,
    /// Its header.
    pub header: BatchHeader,
    /// The append time, for topics of that timestamp type; goes into the Produce response.
    pub log_append_time: Option<i64>,
    /// Codec the producer used.
    pub source_compression: Compression,
    /// True if records were converted from magic 0 or 1, recompressed or renumbered.
    pub rebuilt: bool,
}

impl Validated<'_> {
    /// Delta, from the base offset, of what the time index points to: the last offset, as Kafka keeps it per batch;
    /// `None` if no record has a timestamp.
    pub fn offset_delta_of_max_timestamp(&self) -> Option<i32> {
        (self.header.max_timestamp != NO_TIMESTAMP).then_some(self.header.last_offset_delta)
    }
}

/// One refused record of a batch (`batchIndexErrors`, Produce ≥ 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Index of the record in its batch.
    pub index: i32,
    /// Why.
    pub message: String,
}

/// Why a batch was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValidateError {
    /// The batch as a whole.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Larger than `max.message.bytes`.
    #[error("the record batch is {size} bytes, which exceeds the maximum configured value of {max}")]
    MessageTooLarge {
        /// Bytes of the batch.
        size: usize,
        /// `max.message.bytes`.
        max: usize,
    },
    /// Single records; none of the batch is appended.
    #[error("{message}")]
    Rejected {
        /// True if at least one was refused for its timestamp.
        timestamp: bool,
        /// Summary for the client.
        message: String,
        /// The refused records, at most 1000 of them.
        records: Vec<RecordError>,
    },
}

impl ValidateError {
    /// The Kafka error code of this refusal.
    pub fn error_code(&self) -> i16 {
        match self {
            ValidateError::Records(error) => error.error_code(),
            ValidateError::MessageTooLarge { .. } => 10,
            ValidateError::Rejected { timestamp: true, .. } => 32,
            ValidateError::Rejected { timestamp: false, .. } => 87,
        }
    }

    /// Refused records, for Produce ≥ 8.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            ValidateError::Rejected { records, .. } => records,
            _ => &[],
        }
    }
}

fn invalid(detail: String) -> RecordsError {
    RecordsError::InvalidRecord(detail)
}

/// What the version of a Produce request allows its records to be: from 3 on exactly one batch of magic 2, zstd from 7.
///
/// # Errors
/// [`RecordsError::InvalidRecord`], [`RecordsError::UnsupportedCompression`], or what the framing says.
pub fn check_produce_version(version: i16, records: &[u8]) -> Result<(), RecordsError> {
    if version < 3 {
        return Ok(());
    }
    let mut batches = BatchIter::new(records);
    let Some(first) = batches.next().transpose()? else {
        return Err(invalid(format!(
            "produce requests with version {version} must have at least one record batch per partition"
        )));
    };
    if first.magic() != 2 {
        return Err(invalid(format!(
            "produce requests with version {version} are only allowed to contain record batches with magic version 2"
        )));
    }
    if version < 7 && first.compression() == Some(Compression::Zstd) {
        return Err(RecordsError::UnsupportedCompression(format!(
            "produce requests with version {version} are not allowed to use ZStandard compression"
        )));
    }
    if batches.next().transpose()?.is_some() {
        return Err(invalid(format!(
            "produce requests with version {version} are only allowed to contain exactly one record batch per partition"
        )));
    }
    Ok(())
}

/// Checks the records of one partition of a Produce request and makes them the batch to store. An incomplete entry at
/// the end is cut off. `Ok(None)` if there is no complete entry at all.
///
/// # Errors
/// See [`ValidateError`].
pub fn validate<'a>(
    records: &'a [u8],
    options: &ValidateOptions<'_>,
    reader: &mut RecordReader,
) -> Result<Option<Validated<'a>>, ValidateError> {
    let mut first: Option<Batch<'a>> = None;
    let mut source = Compression::None;
    let mut entries = 0usize;
    for batch in BatchIter::new(records) {
        let batch = batch?;
        if batch.size_bytes() > options.message_bytes_max {
            return Err(ValidateError::MessageTooLarge {
                size: batch.size_bytes(),
                max: options.message_bytes_max,
            });
        }
        batch.check_crc()?;
        let codec = batch.require_compression()?;
        if codec != Compression::None {
            source = codec;
        }
        first.get_or_insert(batch);
        entries += 1;
    }
    let Some(first) = first else { return Ok(None) };
    if entries > 1 && (first.magic() == 2 || source != Compression::None) {
        return Err(invalid("compressed outer record has more than one batch".into()).into());
    }
    let target = match options.compression {
        TargetCompression::Producer => source,
        TargetCompression::Codec(codec) => codec,
    };
    let validated = match first.v2() {
        Some(header) => validate_v2(&first, *header, target, options, reader)?,
        None => convert_up(records, &first, source, target, options, reader)?,
    };
    if validated.batch.len() > options.message_bytes_max {
        return Err(ValidateError::MessageTooLarge {
            size: validated.batch.len(),
            max: options.message_bytes_max,
        });
    }
    Ok(Some(validated))
}

/// What a header may say (`LogValidator.validateBatch`).
fn check_header(header: &BatchHeader, origin: Origin) -> Result<(), RecordsError> {
    if origin != Origin::Client {
        return Ok(());
    }
    if header.base_offset != 0 {
        return Err(invalid(format!(
            "the base offset of the record batch should be 0, but it is {}",
            header.base_offset
        )));
    }
    if header.last_offset_delta < 0 {
        return Err(invalid(format!(
            "batch has an invalid offset range: [{}, {}]",
            header.base_offset,
            header.last_offset()
        )));
    }
    if header.records_count <= 0 {
        return Err(invalid(format!("invalid reported count for record batch: {}", header.records_count)));
    }
    if header.last_offset_delta != header.records_count - 1 {
        return Err(invalid(format!(
            "inconsistent batch offset range [{}, {}] and count of records {}",
            header.base_offset,
            header.last_offset(),
            header.records_count
        )));
    }
    if header.is_control() {
        return Err(invalid("clients are not allowed to write control records".into()));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(invalid(format!(
            "invalid sequence number {} in record batch with producer id {}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

fn validate_v2<'a>(
    batch: &Batch<'a>,
    header: BatchHeader,
    target: Compression,
    options: &ValidateOptions<'_>,
    reader: &mut RecordReader,
) -> Result<Validated<'a>, ValidateError> {
    check_header(&header, options.origin)?;
    let source = batch.require_compression()?;
    // Control records are not compressed for a topic's sake.
    let in_place = source == target || (source == Compression::None && header.is_control());
    let bytes = reader.records(batch)?;
    let mut checker = Checker::new(options, header.timestamp_type());
    let mut consecutive = true;
    for (index, record) in RecordIter::new(&header, bytes)?.enumerate() {
        let record = record?;
        checker.check(index, record.offset, record.timestamp, record.key.is_some());
        consecutive &= record.offset == header.base_offset.wrapping_add(index as i64);
    }
    let max_timestamp = checker.finish()?;
    if in_place && (consecutive || source == Compression::None) {
        return Ok(kept(batch, header, source, max_timestamp, options));
    }
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: target,
        log_append_time: append_time(options),
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.is_transactional(),
        control: header.is_control(),
        ..BatchOptions::default()
    });
    for (index, record) in RecordIter::new(&header, bytes)?.enumerate() {
        builder.append_record(index as i64, &record?)?;
    }
    built(builder, source, options)
}

fn append_time(options: &ValidateOptions<'_>) -> Option<i64> {
    (options.timestamp_type == TimestampType::LogAppendTime).then_some(options.now_ms)
}

/// The producer's batch, its timestamp fields corrected if they must be.
fn kept<'a>(
    batch: &Batch<'a>,
    header: BatchHeader,
    source: Compression,
    max_timestamp: i64,
    options: &ValidateOptions<'_>,
) -> Validated<'a> {
    let log_append_time = append_time(options);
    let max_timestamp = log_append_time.unwrap_or(max_timestamp);
    if header.timestamp_type() == options.timestamp_type && header.max_timestamp == max_timestamp {
        return Validated {
            batch: Cow::Borrowed(batch.bytes()),
            header,
            log_append_time,
            source_compression: source,
            rebuilt: false,
        };
    }
    let mut bytes = batch.bytes().to_vec();
    set_max_timestamp(&mut bytes, options.timestamp_type, max_timestamp);
    let header = BatchHeader::parse(&bytes).expect("a valid header stays one when its timestamp changes");
    Validated {
        batch: Cow::Owned(bytes),
        header,
        log_append_time,
        source_compression: source,
        rebuilt: false,
    }
}

fn built<'a>(
    builder: BatchBuilder,
    source: Compression,
    options: &ValidateOptions<'_>,
) -> Result<Validated<'a>, ValidateError> {
    let bytes = builder.finish()?;
    let header = BatchHeader::parse(&bytes)?;
    Ok(Validated {
        batch: Cow::Owned(bytes),
        header,
        log_append_time: append_time(options),
        source_compression: source,
        rebuilt: true,
    })
}

/// Message sets of magic 0 or 1 become one batch of magic 2.
fn convert_up<'a>(
    records: &'a [u8],
    first: &Batch<'a>,
    source: Compression,
    target: Compression,
    options: &ValidateOptions<'_>,
    reader: &mut RecordReader,
) -> Result<Validated<'a>, ValidateError> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: target,
        log_append_time: append_time(options),
        ..BatchOptions::default()
    });
    let (limit, scratch) = reader.parts();
    for entry in BatchIter::new(records) {
        let entry = entry?;
        if entry.magic() != first.magic() {
            return Err(invalid(format!(
                "batch magic {} is not the same as the first batch's magic byte {}",
                entry.magic(),
                first.magic()
            ))
            .into());
        }
        let mut checker = Checker::new(options, entry.timestamp_type());
        let mut index = 0usize;
        for_each_message(&entry, limit, scratch, &mut |message| {
            // A plain message is its own entry and was checked with it.
            if entry.is_compressed() {
                message.entry.check_crc()?;
            }
            if message.entry.magic() != entry.magic() {
                checker.refuse(
                    index,
                    false,
                    format!("magic {} does not match outer magic {}", message.entry.magic(), entry.magic()),
                );
            } else {
                checker.check(index, message.offset, message.timestamp, message.key.is_some());
            }
            if checker.errors.is_empty() {
                let offset = i64::from(builder.count());
                builder.append_at(offset, message.timestamp, message.key, message.value, &[])?;
            }
            index += 1;
            Ok::<_, ValidateError>(ControlFlow::Continue(()))
        })?;
        checker.finish()?;
    }
    built(builder, source, options)
}

/// The checks of single records, and what they add up to.
struct Checker<'o> {
    options: &'o ValidateOptions<'o>,
    batch_timestamp_type: TimestampType,
    max_timestamp: i64,
    errors: Vec<RecordError>,
    error_count: usize,
    timestamp_error: bool,
}

impl<'o> Checker<'o> {
    fn new(options: &'o ValidateOptions<'_>, batch_timestamp_type: TimestampType) -> Checker<'o> {
        Checker {
            options,
            batch_timestamp_type,
            max_timestamp: NO_TIMESTAMP,
            errors: Vec::new(),
            error_count: 0,
            timestamp_error: false,
        }
    }

    #[inline]
    fn check(&mut self, index: usize, offset: i64, timestamp: i64, has_key: bool) {
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if self.options.compacted && !has_key {
            let (topic, partition) = (self.options.topic, self.options.partition);
            self.refuse(index, false, format!("Compacted topic cannot accept message without key in topic partition {topic}-{partition}."));
        } else if self.options.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
            self.check_create_time(index, offset, timestamp);
        } else if self.batch_timestamp_type == TimestampType::LogAppendTime {
            self.refuse(
                index,
                true,
                "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."
                    .into(),
            );
        }
    }

    #[inline]
    fn check_create_time(&mut self, index: usize, offset: i64, timestamp: i64) {
        let o = self.options;
        // Wrapping as Java's: with the default limit of i64::MAX nothing is out of range.
        let behind = o.now_ms.wrapping_sub(timestamp);
        if behind > o.timestamp_before_max_ms || behind.wrapping_neg() > o.timestamp_after_max_ms {
            let (from, to) = (
                o.now_ms.wrapping_sub(o.timestamp_before_max_ms),
                o.now_ms.wrapping_add(o.timestamp_after_max_ms),
            );
            self.refuse(
                index,
                true,
                format!("Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within [{from}, {to}]"),
            );
        }
    }

    #[cold]
    fn refuse(&mut self, index: usize, timestamp: bool, message: String) {
        self.error_count += 1;
        self.timestamp_error |= timestamp;
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(RecordError { index: index as i32, message });
        }
    }

    /// The largest timestamp, or the refusal of the batch.
    fn finish(self) -> Result<i64, ValidateError> {
        if self.errors.is_empty() {
            return Ok(self.max_timestamp);
        }
        let message = if self.timestamp_error {
            "One or more records have been rejected due to invalid timestamp".to_string()
        } else {
            let shown: Vec<&str> = self.errors.iter().take(3).map(|e| e.message.as_str()).collect();
            format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: {shown:?}",
                self.error_count
            )
        };
        Err(ValidateError::Rejected { timestamp: self.timestamp_error, message, records: self.errors })
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
