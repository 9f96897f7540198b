//! Records inside a batch of magic 2, borrowed from the (decompressed) bytes without an allocation per record.
//!
//! Invariant: a [`Record`] that exists is well formed to the last header byte; its length field matches what was
//! read. (Kafka's leader skips that last check for compressed batches it does not rewrite; its consumers then fail
//! on them. Here such a batch is refused on produce.)

use super::batch::{BatchHeader, increment_sequence};
use super::varint::{read_varint, read_varlong};
use super::{NO_SEQUENCE, RecordsError, TimestampType};

/// One record. Also the common form in which records of magic 0 and 1 are handed out (no headers then).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds; the batch's append time if its type is LogAppendTime; −1 for magic 0.
    pub timestamp: i64,
    /// Sequence of the record, −1 when not idempotent.
    pub sequence: i32,
    /// `None` is null, which is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// `None` is null: a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Key-value pairs beside the record (KIP-82).
    pub headers: Headers<'a>,
    /// Bytes the record takes in its batch, uncompressed, length field included.
    pub size_bytes: usize,
}

/// The headers of a record, checked when the record was read and decoded when they are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keys (UTF-8 by convention, not checked) and values, in order; duplicates are allowed.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let (bytes, mut at) = (self.bytes, 0);
        (0..self.count).map_while(move |_| {
            let key = read_sized(bytes, &mut at)??;
            Some((key, read_sized(bytes, &mut at)?))
        })
    }

    /// The headers as they lie in the record, after their count.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.bytes
    }
}

/// A varint length and that many bytes; `Some(None)` for a negative length (null), `None` if they are not there.
#[inline]
fn read_sized<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let len = read_varint(bytes, at)?;
    if len < 0 {
        return Some(None);
    }
    let end = at.checked_add(len as usize)?;
    let slice = bytes.get(*at..end)?;
    *at = end;
    Some(Some(slice))
}

/// Walks the records of one batch. Yields exactly as many as the header declares, or an error: too few bytes, bytes
/// left over, a malformed record. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    bytes: &'a [u8],
    position: usize,
    base_offset: i64,
    base_timestamp: i64,
    base_sequence: i32,
    log_append_time: Option<i64>,
    remaining: i32,
}

impl<'a> RecordIter<'a> {
    /// `records` are the bytes after the header, decompressed if the batch is compressed.
    ///
    /// # Errors
    /// [`RecordsError::InvalidRecord`] for a negative count.
    pub fn new(header: &BatchHeader, records: &'a [u8]) -> Result<RecordIter<'a>, RecordsError> {
        if header.records_count < 0 {
            return Err(RecordsError::InvalidRecord(format!(
                "found invalid record count {} in magic v2 batch",
                header.records_count
            )));
        }
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        Ok(RecordIter {
            bytes: records,
            position: 0,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            base_sequence: header.base_sequence,
            log_append_time: append_time.then_some(header.max_timestamp),
            remaining: header.records_count,
        })
    }

    fn read(&mut self) -> Result<Record<'a>, RecordsError> {
        let start = self.position;
        let body_len = read_varint(self.bytes, &mut self.position).ok_or_else(|| malformed("length"))?;
        let body_start = self.position;
        let body_end = usize::try_from(body_len)
            .ok()
            .and_then(|len| body_start.checked_add(len))
            .filter(|&end| end <= self.bytes.len());
        let Some(body_end) = body_end else {
            return Err(RecordsError::InvalidRecord(format!(
                "record declares {body_len} bytes, {} are left in the batch",
                self.bytes.len() - body_start
            )));
        };
        let body = &self.bytes[body_start..body_end];
        self.position = body_end;
        self.read_body(body, body_end - start)
    }

    fn read_body(&self, body: &'a [u8], size_bytes: usize) -> Result<Record<'a>, RecordsError> {
        // Index 0 is the record's attributes, which nothing uses yet.
        let mut at = 1;
        let timestamp_delta = read_varlong(body, &mut at).ok_or_else(|| malformed("timestamp delta"))?;
        let offset_delta = read_varint(body, &mut at).ok_or_else(|| malformed("offset delta"))?;
        let key = read_sized(body, &mut at).ok_or_else(|| malformed("key"))?;
        let value = read_sized(body, &mut at).ok_or_else(|| malformed("value"))?;
        let headers = read_headers(body, &mut at)?;
        if at != body.len() {
            return Err(RecordsError::InvalidRecord(format!(
                "record declares {} bytes but its fields take {at}",
                body.len()
            )));
        }
        Ok(Record {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self.log_append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            sequence: if self.base_sequence < 0 {
                NO_SEQUENCE
            } else {
                increment_sequence(self.base_sequence, offset_delta)
            },
            key,
            value,
            headers,
            size_bytes,
        })
    }
}

fn read_headers<'a>(body: &'a [u8], at: &mut usize) -> Result<Headers<'a>, RecordsError> {
    let declared = read_varint(body, at).ok_or_else(|| malformed("header count"))?;
    // A header takes two bytes at least, so a count beyond the bytes left is a lie that need not be walked.
    let count = usize::try_from(declared).ok().filter(|&count| count <= body.len() - *at);
    let Some(count) = count else {
        return Err(RecordsError::InvalidRecord(format!(
            "found invalid number of record headers {declared}"
        )));
    };
    let start = *at;
    for _ in 0..count {
        read_sized(body, at).flatten().ok_or_else(|| malformed("header key"))?;
        read_sized(body, at).ok_or_else(|| malformed("header value"))?;
    }
    Ok(Headers { count, bytes: &body[start..*at] })
}

fn malformed(field: &'static str) -> RecordsError {
    RecordsError::InvalidRecord(format!("found invalid record structure: {field} is malformed or cut"))
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        self.remaining -= 1;
        let mut result = self.read();
        if self.remaining == 0 && result.is_ok() && self.position != self.bytes.len() {
            let left = self.bytes.len() - self.position;
            result = Err(RecordsError::InvalidRecord(format!(
                "{left} bytes are left after the declared number of records"
            )));
        }
        if result.is_err() {
            self.remaining = 0;
        }
        Some(result)
    }
}

/// What a control record says, by the type in its key (`version i16 · type i16`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRecord {
    /// The transaction of the batch's producer is aborted.
    Abort {
        /// Epoch of the transaction coordinator that wrote the marker.
        coordinator_epoch: i32,
    },
    /// The transaction is committed.
    Commit {
        /// As above.
        coordinator_epoch: i32,
    },
    /// A type of KRaft's, or of the future; its number.
    Other(i16),
}

impl ControlRecord {
    /// Reads a record of a control batch (`ControlRecordType`, `EndTransactionMarker`).
    ///
    /// # Errors
    /// [`RecordsError::InvalidRecord`] if key or marker are too short.
    pub fn parse(record: &Record<'_>) -> Result<ControlRecord, RecordsError> {
        let kind = match record.key {
            Some(&[_, _, high, low, ..]) => i16::from_be_bytes([high, low]),
            _ => {
                return Err(RecordsError::InvalidRecord("control record without a key of four bytes".into()));
            }
        };
        if kind != 0 && kind != 1 {
            return Ok(ControlRecord::Other(kind));
        }
        let coordinator_epoch = match record.value {
            Some(&[_, _, a, b, c, d, ..]) => i32::from_be_bytes([a, b, c, d]),
            _ => {
                return Err(RecordsError::InvalidRecord(
                    "end transaction marker without a coordinator epoch".into(),
                ));
            }
        };
        Ok(if kind == 0 {
            ControlRecord::Abort { coordinator_epoch }
        } else {
            ControlRecord::Commit { coordinator_epoch }
        })
    }
}
