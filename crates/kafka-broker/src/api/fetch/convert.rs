//! Records for old clients: versions 0–1 read magic 0, versions 2–3 magic 1.
//!
//! The region is read and converted in memory; newer clients never come here. What bounds the memory is what bounds the
//! response (`fetch.max.bytes`).

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use kafka_log::LogConfig;
use kafka_proto::error::ErrorCode;
use kafka_proto::records::convert::down_convert;
use kafka_proto::wire::{FileRegion, Records};
use tracing::warn;

use super::Params;
use crate::clock;

/// The records of `region` in the form `params.version` understands; `limit` is what versions 0–2 can take at most.
pub fn for_version(
    region: FileRegion,
    config: &LogConfig,
    params: &Params,
    first_offset: i64,
    limit: usize,
) -> Result<Records, ErrorCode> {
    if params.version < 10 && config.compression_type == "zstd" {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    if params.version > 3 || params.replica.is_some() {
        return Ok(Records::File(region));
    }
    if !config.downconversion_enable {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let mut stored = vec![0; region.len];
    region.file.read_exact_at(&mut stored, region.offset).map_err(|error| {
        warn!("cannot read {} bytes to convert for an old client: {error}", region.len);
        ErrorCode::KafkaStorageError
    })?;
    let magic = if params.version <= 1 { 0 } else { 1 };
    let mut converted =
        clock::with_record_reader(|reader| down_convert(&stored, magic, first_offset, reader))
            .map_err(|error| ErrorCode::from_code(error.error_code()))?;
    if params.hard_limit() {
        converted.truncate(limit);
    }
    Ok(Records::Bytes(Bytes::from(converted)))
}
