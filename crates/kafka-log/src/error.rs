//! Everything that can go wrong with a partition's log, by whom to blame.
//!
//! Disk errors carry operation and path. What a producer did wrong is [`ProducerError`]; the broker maps it to a
//! wire code. Corruption met while opening is not an error: it is repaired and logged.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Result of this crate's operations.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// Why a log operation failed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk or the file system; the directory should be taken offline if `is_disk_failure`.
    #[error("cannot {op} {}: {source}", path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
    /// An earlier disk error left this log in an unknown state; it takes no more writes until reopened.
    #[error("log {} is offline after an earlier disk error; restart the broker once the disk is sound", path.display())]
    Offline { path: PathBuf },
    /// OFFSET_OUT_OF_RANGE.
    #[error("offset {offset} is outside {partition}, which holds {start} to {end} (exclusive)")]
    OffsetOutOfRange { partition: String, offset: i64, start: i64, end: i64 },
    /// RECORD_LIST_TOO_LARGE.
    #[error(
        "message batch size is {size} bytes in append to partition {partition}, which exceeds the maximum configured segment size of {max}"
    )]
    BatchTooLargeForSegment { partition: String, size: usize, max: u32 },
    /// What the producer sent breaks the idempotence or transaction rules.
    #[error("{0}")]
    Producer(#[from] ProducerError),
    /// Bytes handed to an append are not whole record batches; the caller had to validate them.
    #[error("malformed record batch in append to {partition}: {reason}")]
    MalformedBatch { partition: String, reason: String },
    /// A follower was handed offsets below its log end.
    #[error(
        "unexpected offset in append to {partition}: first offset {first} is less than the next offset {next}"
    )]
    UnexpectedAppendOffset { partition: String, first: i64, next: i64 },
    /// A file of the log does not hold what its format demands, in a place that no repair may touch.
    #[error("{} is corrupt at byte {position}: {reason}", path.display())]
    Corrupt { path: PathBuf, position: u64, reason: String },
    /// A name in a log directory that no partition has.
    #[error("Found directory {}, '{name}' is not in the form of topic-partition or topic-partition.uniqueId-delete (if marked for deletion). Kafka's log directories (and children) should only contain Kafka topic data; move it elsewhere", path.display())]
    NotAPartition { path: PathBuf, name: String },
    /// Another process uses the directory.
    #[error("Failed to acquire lock on file .lock in {}. A Kafka instance in another process is using this directory; stop it or choose another log.dirs", path.display())]
    DirLocked { path: PathBuf },
    /// A settings file of a log directory contradicts itself or cannot be read.
    #[error("{}: {reason}", path.display())]
    BadFile { path: PathBuf, reason: String },
    /// The partition has no log here.
    #[error("no log for {partition} in any log directory")]
    UnknownPartition { partition: String },
}

impl LogError {
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        let path = path.to_owned();
        move |source| LogError::Io { op, path, source }
    }

    /// Whether the directory the log lies in can no longer be trusted (KAFKA_STORAGE_ERROR to clients).
    pub fn is_disk_failure(&self) -> bool {
        matches!(self, LogError::Io { .. } | LogError::Offline { .. } | LogError::Corrupt { .. })
    }
}

/// A produce request that breaks the idempotence or transaction rules (KIP-98).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProducerError {
    /// INVALID_PRODUCER_EPOCH.
    #[error(
        "Epoch of producer {producer_id} at offset {offset} in {partition} is {epoch}, which is smaller than the last seen epoch {current}"
    )]
    InvalidEpoch { producer_id: i64, offset: i64, partition: String, epoch: i16, current: i16 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER within an epoch.
    #[error(
        "Out of order sequence number for producer {producer_id} at offset {offset} in partition {partition}: {sequence} (incoming seq. number), {last} (current end sequence number)"
    )]
    OutOfOrderSequence { producer_id: i64, offset: i64, partition: String, sequence: i32, last: i32 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a new epoch starts at sequence 0.
    #[error(
        "Invalid sequence number for new epoch of producer {producer_id} at offset {offset} in partition {partition}: {epoch} (request epoch), {sequence} (seq. number), {current} (current producer epoch)"
    )]
    NonZeroSequenceInNewEpoch {
        producer_id: i64,
        offset: i64,
        partition: String,
        epoch: i16,
        sequence: i32,
        current: i16,
    },
    /// INVALID_TXN_STATE.
    #[error(
        "Expected transactional write from producer {producer_id} at offset {offset} in partition {partition}"
    )]
    ExpectedTransactional { producer_id: i64, offset: i64, partition: String },
    /// TRANSACTION_COORDINATOR_FENCED.
    #[error(
        "Invalid coordinator epoch for producerId {producer_id} at offset {offset} in partition {partition}: {epoch} (zombie), {current} (current)"
    )]
    CoordinatorFenced { producer_id: i64, offset: i64, partition: String, epoch: i32, current: i32 },
}
