//! Reads a partition of `__consumer_offsets` from its start to its end. Blocking.

use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use kafka_coordinator::{BatchInfo, Loader};
use kafka_log::LogError;
use kafka_proto::records::record::ControlRecord;
use kafka_proto::records::{Batch, BatchIter, RecordReader, RecordsError};
use kafka_replica::Partition;
use thiserror::Error;
use tracing::error;

/// What one batch may decompress to; group records are small.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Why a partition cannot be loaded.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("reading the log failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the log is damaged after offset {offset}: {error}")]
    Damaged { offset: i64, error: RecordsError },
}

/// Feeds every record to a loader. A batch whose records cannot be read is reported and left out, as
/// single records are; a log without a next batch ends the loading.
pub(super) fn load(partition: &Partition, buffer_bytes: usize) -> Result<Loader, LoadError> {
    let mut loader = Loader::new(partition.index());
    let mut reader = RecordReader::new(DECOMPRESSED_BYTES_MAX);
    let mut buffer = Vec::new();
    let mut offset = partition.snapshot().log_start_offset;
    loop {
        let max_bytes = u32::try_from(buffer_bytes).unwrap_or(u32::MAX);
        let read = {
            let log = partition.log().lock();
            log.read(offset, max_bytes, true, log.log_end_offset())?
        };
        let Some(region) = read.records else { return Ok(loader) };
        buffer.resize(region.len, 0);
        region.file.read_exact_at(&mut buffer, region.offset)?;
        let before = offset;
        for batch in BatchIter::new(&buffer) {
            let batch = batch.map_err(|error| LoadError::Damaged { offset, error })?;
            if let Err(error) = feed(&mut loader, &mut reader, &batch) {
                error!(
                    "{}: the batch before offset {} cannot be read and is left out: {error}",
                    partition.name(),
                    batch.last_offset()
                );
            }
            offset = batch.last_offset() + 1;
        }
        if offset == before {
            // Less than one batch: the end, as far as it is written.
            return Ok(loader);
        }
    }
}

fn feed(loader: &mut Loader, reader: &mut RecordReader, batch: &Batch<'_>) -> Result<(), RecordsError> {
    let producer_id = batch.producer_id();
    if batch.is_control() {
        return reader.for_each(batch, |record| {
            match ControlRecord::parse(&record)? {
                ControlRecord::Commit { .. } => loader.on_marker(producer_id, true),
                ControlRecord::Abort { .. } => loader.on_marker(producer_id, false),
                ControlRecord::Other(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        });
    }
    let mut info = None;
    reader.for_each(batch, |record| {
        // The first record's offset: compaction may have removed the ones before it.
        let info = *info.get_or_insert(BatchInfo {
            base_offset: record.offset,
            transaction_of: batch.is_transactional().then_some(producer_id),
        });
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        loader.on_record(info, record.offset, copy(record.key), copy(record.value));
        Ok(ControlFlow::Continue(()))
    })
}
