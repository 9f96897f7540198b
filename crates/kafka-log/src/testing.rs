//! Helpers of this crate's tests: batches, logs in temporary directories, what a log holds.

use std::path::Path;
use std::sync::Arc;

use kafka_proto::records::builder::{BatchBuilder, BatchOptions};
use kafka_proto::records::reader::RecordReader;
use kafka_proto::records::{BatchIter, Compression};

use crate::config::LogConfig;
use crate::disk;
use crate::file_cache::FileCache;
use crate::log::{Log, OpenOptions, ReadInfo};
use crate::names::TopicPartition;

/// A record as a model keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rec {
    pub offset: i64,
    pub timestamp: i64,
    pub value: Vec<u8>,
}

/// A batch of records with these timestamps and values.
pub(crate) fn batch(records: &[(i64, &[u8])]) -> Vec<u8> {
    batch_with(records, BatchOptions::default())
}

pub(crate) fn batch_with(records: &[(i64, &[u8])], options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (timestamp, value) in records {
        builder.append(*timestamp, None, Some(value), &[]).unwrap();
    }
    builder.finish().unwrap()
}

/// A batch of an idempotent producer.
pub(crate) fn idempotent(producer_id: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    let options = BatchOptions {
        producer_id,
        producer_epoch: epoch,
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    batch_with(&vec![(1000, b"v".as_slice()); count], options)
}

pub(crate) fn transactional(producer_id: i64, sequence: i32) -> Vec<u8> {
    let options = BatchOptions {
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence,
        transactional: true,
        compression: Compression::Lz4,
        ..BatchOptions::default()
    };
    batch_with(&[(1000, b"txn")], options)
}

pub(crate) fn config(overrides: &[(&str, &str)]) -> Arc<LogConfig> {
    Arc::new(LogConfig::default().with_overrides(overrides.iter().copied()).unwrap())
}

/// Options for a log in `root/t-0`, after a crash, nothing known from checkpoints.
pub(crate) fn options(root: &Path, config: &Arc<LogConfig>) -> OpenOptions {
    OpenOptions {
        dir: root.join("t-0"),
        partition: TopicPartition::new("t", 0),
        config: config.clone(),
        cache: Arc::new(FileCache::new(4)),
        log_start_offset: 0,
        recovery_point: 0,
        high_watermark: None,
        clean: false,
        producer_id_expiration_ms: 86_400_000,
        now_ms: 0,
        random: 1,
    }
}

/// The records of a read, whole batches only.
pub(crate) fn records_of(read: &ReadInfo) -> Vec<Rec> {
    let Some(region) = &read.records else { return Vec::new() };
    let mut bytes = vec![0; region.len];
    let got = disk::read_at(&region.file, &mut bytes, region.offset).unwrap();
    assert_eq!(got, region.len, "the region lies within the file");
    let mut records = Vec::new();
    for batch in BatchIter::new(&bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let rec = |r: kafka_proto::records::record::Record<'_>| Rec {
            offset: r.offset,
            timestamp: r.timestamp,
            value: r.value.unwrap_or_default().to_vec(),
        };
        records.extend(RecordReader::new(1 << 20).collect(&batch, rec).unwrap());
    }
    records
}

/// Every record from `offset` to the end of the log.
pub(crate) fn all_from(log: &Log, mut offset: i64) -> Vec<Rec> {
    let mut records = Vec::new();
    while offset < log.log_end_offset() {
        let got = records_of(&log.read(offset, 1 << 20, true, log.log_end_offset()).unwrap());
        let Some(last) = got.last() else { break };
        let next = last.offset + 1;
        records.extend(got.into_iter().filter(|r| r.offset >= offset));
        offset = next;
    }
    records
}

/// The files of a directory with a suffix, by name.
pub(crate) fn files(dir: &Path, suffix: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_name().to_str().unwrap().ends_with(suffix))
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect();
    found.sort();
    found
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
