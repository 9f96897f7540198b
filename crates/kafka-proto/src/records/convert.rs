//! Rewrites batches into an older format for old fetchers (`RecordsUtil.downConvert`).
//!
//! Headers are dropped, control batches skipped, codec and timestamp type kept. The other direction, message sets
//! into batches of magic 2 on produce, is part of [`super::validate`], which has to look at every record anyway.

use std::ops::ControlFlow;

use super::batch::{Batch, BatchIter};
use super::legacy::MessageSetBuilder;
use super::{Compression, RecordReader, RecordsError, TimestampType};

/// Converts the complete batches in `batches` to `to_magic` (0 or 1); those of an older or the same magic are copied.
///
/// `first_offset` is what the fetcher asked for: older messages of *uncompressed* batches are left out, because an old
/// consumer does not expect them, while it does skip the front of a compressed wrapper itself.
///
/// # Errors
/// [`RecordsError::UnsupportedCompression`] if the first batch is compressed with zstd, which no older format knows
/// (KIP-110); malformed batches. A later one of zstd ends the result: the old client gets what it can read, and the
/// error when it asks for the rest (`LazyDownConversionRecordsSend`).
pub fn down_convert(
    batches: &[u8],
    to_magic: i8,
    first_offset: i64,
    reader: &mut RecordReader,
) -> Result<Vec<u8>, RecordsError> {
    let mut out = Vec::with_capacity(batches.len());
    for batch in BatchIter::new(batches) {
        let batch = batch?;
        if batch.is_control() {
            continue;
        }
        if batch.require_compression()? == Compression::Zstd {
            if !out.is_empty() {
                break;
            }
            return Err(RecordsError::UnsupportedCompression(
                "down-conversion of zstandard-compressed batches is not supported".into(),
            ));
        }
        if batch.magic() <= to_magic {
            out.extend_from_slice(batch.bytes());
        } else {
            convert_batch(&batch, to_magic, first_offset, reader, &mut out)?;
        }
    }
    Ok(out)
}

fn convert_batch(
    batch: &Batch<'_>,
    to_magic: i8,
    first_offset: i64,
    reader: &mut RecordReader,
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let append_time = batch.timestamp_type() == TimestampType::LogAppendTime;
    let log_append_time = append_time.then(|| batch.max_timestamp());
    let mut builder = MessageSetBuilder::new(to_magic, batch.require_compression()?, log_append_time)?;
    reader.for_each(batch, |record| {
        if batch.is_compressed() || record.offset >= first_offset {
            builder.append(record.offset, record.timestamp, record.key, record.value)?;
        }
        Ok::<_, RecordsError>(ControlFlow::Continue(()))
    })?;
    builder.finish_into(out)
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
