//! Transaction logs.
//!
//! A file `log.<zxid of its first transaction>` is: `ZKLG`, version i32 = 2, database id i64 = 0, then entries of
//! checksum i64 (Adler-32 of the payload alone), length i32, payload, and the byte `B`. It is filled ahead with
//! zeros, so an entry with checksum and length 0 is the end (`FileTxnLog.java`, whose own comment on what the
//! checksum covers is wrong).

mod file_reader;
mod history;
mod reader;
mod torn;
mod truncate;
mod writer;

pub use file_reader::{LogEnd, LogFileReader, LogRecord, LogStep};
pub use history::Entries;
pub(crate) use history::{Recent, read_after, recent};
pub use reader::{TxnLogReader, last_logged_zxid};
pub use torn::TornTail;
pub(crate) use truncate::{cut_torn_tail, truncation_steps};
pub use writer::{SyncReport, TxnLog, TxnLogOptions};

pub(crate) const MAGIC: [u8; 4] = *b"ZKLG";
pub(crate) const VERSION: i32 = 2;
/// Magic, version, database id.
pub(crate) const FILE_HEADER_BYTES: u64 = 16;
/// Checksum and length.
pub(crate) const ENTRY_HEADER_BYTES: u64 = 12;
/// Behind every payload: tells a whole entry from a partial one.
pub(crate) const END_OF_RECORD: u8 = b'B';

pub(crate) fn checksum(payload: &[u8]) -> i64 {
    i64::from(simd_adler32::adler32(&payload))
}

/// Whether `next` may directly follow `prev`: one more in the same epoch, or the first of a later epoch
/// (ZOOKEEPER-4925). Every leader's first transaction has counter 1 (`Leader.lead`).
pub(crate) use zk_proto::quorum::zxid::follows;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
