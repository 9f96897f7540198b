//! Transaction logs.
//!
//! A file `log.<zxid of its first transaction>` is: `ZKLG`, version i32 = 2, database id i64 = 0, then entries of
//! checksum i64 (Adler-32 of the payload alone), length i32, payload, and the byte `B`. It is filled ahead with
//! zeros, so an entry with checksum and length 0 is the end (`FileTxnLog.java`, whose own comment on what the
//! checksum covers is wrong).

mod file_reader;
mod reader;
mod torn;
mod truncate;
mod writer;

pub use file_reader::{LogEnd, LogFileReader, LogRecord, LogStep};
pub use reader::{TxnLogReader, last_logged_zxid};
pub use torn::TornTail;
pub(crate) use truncate::cut_torn_tail;
pub use truncate::truncate_log;
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
/// (ZOOKEEPER-4925). A later epoch may also begin with what a new leader found unfinished, so only the counter's
/// start is asked for.
pub(crate) fn follows(prev: i64, next: i64) -> bool {
    let (prev_epoch, next_epoch) = (prev >> 32, next >> 32);
    if next_epoch == prev_epoch {
        next == prev + 1
    } else {
        next_epoch > prev_epoch && next & 0xffff_ffff == 1
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
