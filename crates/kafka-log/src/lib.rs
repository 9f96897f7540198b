//! Partition logs on disk in Kafka's formats: segments, indexes, producer state, epochs, recovery, retention, checkpoints.
//!
//! Reading order: [`config`] (what a topic may set), [`log`] (one partition), `log_dirs` (all of them), then the files:
//! `segment`, `index`, `producers`, `epochs`, `checkpoint`, `dir_files`. Files are opened through one bounded
//! [`FileCache`]: no log holds a file open.
//!
//! A directory written here opens in Kafka 2.7 and 3.9 in ZooKeeper mode, and theirs here. Not here: who leads, what
//! clients may see (`kafka-replica`), what records mean (`kafka-proto`).

mod checkpoint;
mod cleaner;
pub mod config;
mod dir_files;
mod disk;
mod epochs;
mod error;
mod file_cache;
mod index;
pub mod log;
mod log_dirs;
mod names;
mod producers;
mod scan;
mod segment;
#[cfg(test)]
mod testing;
mod txn_index;

pub use checkpoint::OffsetCheckpoint;
pub use cleaner::{Cleaned, CleanerOptions, clean_log};
pub use config::{ConfigError, LogConfig};
pub use dir_files::{CleanShutdown, DirLock, MetaProperties};
pub use epochs::{EpochEndOffset, EpochEntry, UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET};
pub use error::{LogError, ProducerError, Result};
pub use file_cache::FileCache;
pub use log::{
    ActiveProducer, AppendInfo, FlushJob, Flushed, Log, LogPosition, OpenOptions, ReadInfo, TimestampOffset,
};
pub use log_dirs::{LogDirs, LogDirsOptions, LogHandle};
pub use names::{DirKind, TopicPartition};
pub use producers::{AppendOrigin, ProducerBatch};
pub use txn_index::AbortedTxn;
