//! Message sets of magic 0 and 1: reading messages and compressed wrappers, and building both.
//!
//! A wrapper is a message whose value is a compressed message set. Its offset is that of the *last* message inside.
//! Inside magic 1, offsets are relative (KIP-31) and the wrapper's append time counts for all (KIP-32); inside
//! magic 0 they are absolute.

use std::ops::ControlFlow;

use super::batch::{Batch, LOG_OVERHEAD, MAGIC_OFFSET, be_i32, be_i64};
use super::compress::{compress, decompress};
use super::{Compression, NO_TIMESTAMP, RecordsError, TimestampType};

/// Index of the key's length in a message of magic 0; magic 1 has a timestamp before it.
const KEY_SIZE_OFFSET_V0: usize = 18;
const KEY_SIZE_OFFSET_V1: usize = 26;

/// One message, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds; the wrapper's if that is an append time; −1 for magic 0.
    pub timestamp: i64,
    /// `None` is null.
    pub key: Option<&'a [u8]>,
    /// `None` is null.
    pub value: Option<&'a [u8]>,
    /// The message as it lies in its (inner) message set, for checking its own magic and checksum.
    pub entry: Batch<'a>,
}

type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Key and value of an entry of magic 0 or 1.
fn key_and_value<'a>(entry: &Batch<'a>) -> Result<KeyAndValue<'a>, RecordsError> {
    let bytes = entry.bytes();
    let mut at = if entry.magic() == 0 { KEY_SIZE_OFFSET_V0 } else { KEY_SIZE_OFFSET_V1 };
    let key = read_sized(bytes, &mut at, "message key")?;
    let value = read_sized(bytes, &mut at, "message value")?;
    Ok((key, value))
}

fn read_sized<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    what: &'static str,
) -> Result<Option<&'a [u8]>, RecordsError> {
    let truncated = |needed| RecordsError::Truncated { what, needed, available: bytes.len() };
    let start = *at + 4;
    if start > bytes.len() {
        return Err(truncated(start));
    }
    let len = be_i32(bytes, *at);
    *at = start;
    let Ok(len) = usize::try_from(len) else { return Ok(None) };
    let slice =
        bytes.get(start..start.saturating_add(len)).ok_or_else(|| truncated(start.saturating_add(len)))?;
    *at = start + len;
    Ok(Some(slice))
}

/// Hands every message of an entry of magic 0 or 1 to `visit`, in order: the message itself, or those in its wrapper.
///
/// `limit` caps the decompressed bytes; `scratch` is cleared and used for them.
///
/// # Errors
/// Malformed messages or wrappers (empty, nested, with an impossible offset), what decompression says, and whatever
/// `visit` returns.
///
/// # Panics
/// If `entry` is of magic 2.
pub fn for_each_message<E: From<RecordsError>>(
    entry: &Batch<'_>,
    limit: usize,
    scratch: &mut Vec<u8>,
    visit: &mut dyn FnMut(Message<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    assert!(entry.magic() < 2, "a batch of magic 2 has records, not messages");
    let codec = entry.require_compression()?;
    let (key, value) = key_and_value(entry)?;
    if codec == Compression::None {
        let message = Message {
            offset: entry.last_offset(),
            timestamp: entry.max_timestamp(),
            key,
            value,
            entry: *entry,
        };
        return visit(message).map(drop);
    }
    if codec == Compression::Zstd {
        return Err(
            RecordsError::InvalidRecord(format!("zstd in a message set of magic {}", entry.magic())).into()
        );
    }
    let Some(value) = value else {
        return Err(RecordsError::InvalidRecord(format!(
            "compressed message set with null value (magic {})",
            entry.magic()
        ))
        .into());
    };
    scratch.clear();
    decompress(codec, entry.magic(), value, limit, scratch)?;
    visit_inner(entry, scratch, visit)
}

fn visit_inner<E: From<RecordsError>>(
    wrapper: &Batch<'_>,
    inner: &[u8],
    visit: &mut dyn FnMut(Message<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let base = inner_base_offset(wrapper, inner)?;
    for entry in super::BatchIter::new(inner) {
        let entry = entry?;
        if entry.magic() > 1 {
            return Err(RecordsError::InvalidRecord(format!(
                "inner message of magic {} in a wrapper of magic {}",
                entry.magic(),
                wrapper.magic()
            ))
            .into());
        }
        if entry.is_compressed() {
            return Err(RecordsError::InvalidRecord("inner messages must not be compressed".into()).into());
        }
        let (key, value) = key_and_value(&entry)?;
        let from_wrapper = entry.magic() == 1 && wrapper.timestamp_type() == TimestampType::LogAppendTime;
        let message = Message {
            offset: entry.last_offset().wrapping_add(base),
            timestamp: if from_wrapper { wrapper.max_timestamp() } else { entry.max_timestamp() },
            key,
            value,
            entry,
        };
        if visit(message)?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// What to add to inner offsets: nothing in magic 0; in magic 1 the wrapper's offset less the last inner one, except
/// that some versions of librdkafka produce wrappers with offset 0.
fn inner_base_offset(wrapper: &Batch<'_>, inner: &[u8]) -> Result<i64, RecordsError> {
    let mut last = None;
    for entry in super::BatchIter::new(inner) {
        last = Some(entry?.last_offset());
    }
    let Some(last) = last else {
        return Err(RecordsError::InvalidRecord("compressed message set with no inner messages".into()));
    };
    let outer = wrapper.last_offset();
    if wrapper.magic() == 0 || outer == 0 {
        return Ok(0);
    }
    if outer < last {
        return Err(RecordsError::InvalidRecord(format!(
            "wrapper offset {outer} is less than the last inner offset {last} and not zero"
        )));
    }
    Ok(outer.wrapping_sub(last))
}

/// Builds message sets: plain messages one after the other, or one wrapper around all.
#[derive(Debug, Clone)]
pub struct MessageSetBuilder {
    magic: i8,
    compression: Compression,
    log_append_time: Option<i64>,
    timestamp_type: TimestampType,
    base_offset: Option<i64>,
    last_offset: i64,
    max_timestamp: i64,
    buffer: Vec<u8>,
}

impl MessageSetBuilder {
    /// `magic` is 0 or 1. `log_append_time` is the time every message gets, if that is the set's timestamp type.
    ///
    /// # Errors
    /// [`RecordsError::UnsupportedCompression`] for zstd, [`RecordsError::UnsupportedMagic`] for magic 2.
    pub fn new(
        magic: i8,
        compression: Compression,
        log_append_time: Option<i64>,
    ) -> Result<MessageSetBuilder, RecordsError> {
        if !(0..=1).contains(&magic) {
            return Err(RecordsError::UnsupportedMagic { offset: 0, magic });
        }
        if compression == Compression::Zstd {
            return Err(RecordsError::UnsupportedCompression(format!(
                "zstd is not supported for magic {magic}"
            )));
        }
        let timestamp_type =
            if log_append_time.is_some() { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        Ok(MessageSetBuilder {
            magic,
            compression,
            log_append_time,
            timestamp_type,
            base_offset: None,
            last_offset: -1,
            max_timestamp: NO_TIMESTAMP,
            buffer: Vec::new(),
        })
    }

    /// Appends a message; offsets must ascend.
    ///
    /// # Errors
    /// [`RecordsError::TooLarge`].
    pub fn append(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), RecordsError> {
        let base = *self.base_offset.get_or_insert(offset);
        let relative = self.magic == 1 && self.compression != Compression::None;
        let timestamp = self.log_append_time.unwrap_or(timestamp);
        let inner_offset = if relative { offset.wrapping_sub(base) } else { offset };
        write_message(
            &mut self.buffer,
            self.magic,
            inner_offset,
            timestamp,
            Compression::None,
            self.timestamp_type,
            key,
            value,
        )?;
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    /// True before the first message.
    pub fn is_empty(&self) -> bool {
        self.base_offset.is_none()
    }

    /// Appends the finished set to `out`; an empty set is no bytes.
    ///
    /// # Errors
    /// [`RecordsError::TooLarge`], or the codec's failure.
    pub fn finish_into(self, out: &mut Vec<u8>) -> Result<(), RecordsError> {
        if self.compression == Compression::None || self.buffer.is_empty() {
            out.extend_from_slice(&self.buffer);
            return Ok(());
        }
        let mut value = Vec::with_capacity(self.buffer.len() / 2);
        compress(self.compression, self.magic, &self.buffer, &mut value)?;
        let timestamp = self.log_append_time.unwrap_or(self.max_timestamp);
        write_message(
            out,
            self.magic,
            self.last_offset,
            timestamp,
            self.compression,
            self.timestamp_type,
            None,
            Some(&value),
        )
    }
}

#[allow(clippy::too_many_arguments)] // the fields of a message, in their order
fn write_message(
    out: &mut Vec<u8>,
    magic: i8,
    offset: i64,
    timestamp: i64,
    compression: Compression,
    timestamp_type: TimestampType,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(), RecordsError> {
    let start = out.len();
    let size =
        6 + if magic == 1 { 8 } else { 0 } + 8 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let size_field = i32::try_from(size).map_err(|_| RecordsError::TooLarge(size))?;
    out.reserve(LOG_OVERHEAD + size);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&size_field.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let time_bit = if magic == 1 && timestamp_type == TimestampType::LogAppendTime { 0x08 } else { 0 };
    out.extend_from_slice(&[magic as u8, compression.attribute_bits() as u8 | time_bit]);
    if magic == 1 {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    for part in [key, value] {
        out.extend_from_slice(&part.map_or(-1, |p| p.len() as i32).to_be_bytes());
        out.extend_from_slice(part.unwrap_or_default());
    }
    let crc = crc32fast::hash(&out[start + MAGIC_OFFSET..]);
    out[start + LOG_OVERHEAD..start + MAGIC_OFFSET].copy_from_slice(&crc.to_be_bytes());
    debug_assert_eq!((be_i64(out, start), out.len() - start), (offset, LOG_OVERHEAD + size));
    Ok(())
}
