//! Builds record batches of magic 2.
//!
//! For: batches this process originates (offsets, transaction markers, converted and recompressed batches) and
//! clients. Offsets must ascend. The result is a complete batch with its checksum.

use super::batch::{BATCH_OVERHEAD, BatchHeader, LOG_OVERHEAD, write_crc};
use super::compress::compress;
use super::record::{Headers, Record};
use super::varint::{varint_len, varlong_len, write_varint, write_varlong};
use super::{
    Compression, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, RecordsError,
    TimestampType,
};

/// What a batch says about itself apart from its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Epoch of the leader that writes it; −1 for none.
    pub partition_leader_epoch: i32,
    /// Codec of the records.
    pub compression: Compression,
    /// `Some(t)`: LogAppendTime, and `t` is the batch's max timestamp, whatever the records say.
    pub log_append_time: Option<i64>,
    /// −1 for none.
    pub producer_id: i64,
    /// −1 for none.
    pub producer_epoch: i16,
    /// −1 for none.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub transactional: bool,
    /// Holds control records.
    pub control: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            base_offset: 0,
            partition_leader_epoch: NO_LEADER_EPOCH,
            compression: Compression::None,
            log_append_time: None,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
        }
    }
}

/// Collects records and yields the batch.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records uncompressed.
    buffer: Vec<u8>,
    base_timestamp: i64,
    max_timestamp: i64,
    last_offset: Option<i64>,
    count: i32,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder {
            options,
            buffer: vec![0; BATCH_OVERHEAD],
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            last_offset: None,
            count: 0,
        }
    }

    /// Records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// True before the first record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Largest timestamp so far.
    pub fn max_timestamp(&self) -> i64 {
        self.options.log_append_time.unwrap_or(self.max_timestamp)
    }

    /// Appends a record at the next offset.
    ///
    /// # Errors
    /// As [`BatchBuilder::append_at`].
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), RecordsError> {
        let offset = self.last_offset.map_or(self.options.base_offset, |last| last + 1);
        self.append_at(offset, timestamp, key, value, headers)
    }

    /// Appends a record at `offset`.
    ///
    /// # Errors
    /// [`RecordsError::InvalidRecord`] if the offset does not ascend or is too far from the base,
    /// [`RecordsError::InvalidTimestamp`] for a negative timestamp other than −1, [`RecordsError::TooLarge`].
    pub fn append_at(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), RecordsError> {
        if headers.is_empty() {
            return self.append_raw(offset, timestamp, key, value, 0, &[]);
        }
        let mut raw = Vec::new();
        for (key, value) in headers {
            write_sized(&mut raw, Some(key));
            write_sized(&mut raw, *value);
        }
        self.append_raw(offset, timestamp, key, value, headers.len(), &raw)
    }

    /// Appends a record read from elsewhere at `offset`, headers included.
    ///
    /// # Errors
    /// As [`BatchBuilder::append_at`].
    pub fn append_record(&mut self, offset: i64, record: &Record<'_>) -> Result<(), RecordsError> {
        let headers: Headers<'_> = record.headers;
        self.append_raw(offset, record.timestamp, record.key, record.value, headers.len(), headers.raw())
    }

    fn append_raw(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        headers: &[u8],
    ) -> Result<(), RecordsError> {
        if self.last_offset.is_some_and(|last| offset <= last) {
            return Err(RecordsError::InvalidRecord(format!(
                "offset {offset} does not follow {:?}",
                self.last_offset
            )));
        }
        if timestamp < 0 && timestamp != NO_TIMESTAMP {
            return Err(RecordsError::InvalidTimestamp(format!("negative timestamp {timestamp}")));
        }
        let offset_delta = i32::try_from(offset - self.options.base_offset).ok().filter(|delta| *delta >= 0);
        let offset_delta = offset_delta.ok_or_else(|| {
            RecordsError::InvalidRecord(format!(
                "offset {offset} does not fit a batch that starts at {}",
                self.options.base_offset
            ))
        })?;
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let sized = |part: Option<&[u8]>| part.map_or(1, |p| varint_len(p.len() as i32) + p.len());
        let body = 1
            + varlong_len(timestamp_delta)
            + varint_len(offset_delta)
            + sized(key)
            + sized(value)
            + varint_len(header_count as i32)
            + headers.len();
        if self.buffer.len() + body + 5 > i32::MAX as usize {
            return Err(RecordsError::TooLarge(self.buffer.len() + body));
        }
        let out = &mut self.buffer;
        out.reserve(body + 5);
        write_varint(out, body as i32);
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varint(out, offset_delta);
        write_sized(out, key);
        write_sized(out, value);
        write_varint(out, header_count as i32);
        out.extend_from_slice(headers);
        self.last_offset = Some(offset);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        Ok(())
    }

    /// The finished batch. An empty builder yields a header with no records and a last offset delta of −1, which no
    /// log accepts; callers check [`BatchBuilder::is_empty`].
    ///
    /// # Errors
    /// [`RecordsError::TooLarge`], or the codec's failure.
    pub fn finish(self) -> Result<Vec<u8>, RecordsError> {
        let options = self.options;
        let mut batch = self.buffer;
        if options.compression != Compression::None {
            let mut compressed = Vec::with_capacity(BATCH_OVERHEAD + batch.len() / 2);
            compressed.resize(BATCH_OVERHEAD, 0);
            compress(options.compression, 2, &batch[BATCH_OVERHEAD..], &mut compressed)?;
            batch = compressed;
        }
        let batch_length =
            i32::try_from(batch.len() - LOG_OVERHEAD).map_err(|_| RecordsError::TooLarge(batch.len()))?;
        let timestamp_type = if options.log_append_time.is_some() {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        };
        let last_offset_delta = self.last_offset.map_or(-1, |last| (last - options.base_offset) as i32);
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes: BatchHeader::make_attributes(
                options.compression,
                timestamp_type,
                options.transactional,
                options.control,
            ),
            last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: options.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.count,
        };
        header.write(&mut batch);
        write_crc(&mut batch);
        Ok(batch)
    }
}

fn write_sized(out: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        Some(bytes) => {
            write_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
        None => write_varint(out, -1),
    }
}

/// A control batch that ends a transaction (`EndTransactionMarker`): one record, version 0 of key and value.
///
/// # Errors
/// None in practice; a batch of one small record always fits.
pub fn end_transaction_marker(
    base_offset: i64,
    timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    commit: bool,
    coordinator_epoch: i32,
) -> Result<Vec<u8>, RecordsError> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        producer_id,
        producer_epoch,
        transactional: true,
        control: true,
        ..BatchOptions::default()
    });
    let key = [0, 0, 0, u8::from(commit)];
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    builder.append(timestamp, Some(&key), Some(&value), &[])?;
    builder.finish()
}
