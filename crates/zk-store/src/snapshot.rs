//! Snapshots: the whole state in one file.
//!
//! `snapshot.<zxid>[.gz|.snappy]` is: `ZKSN`, version i32 = 2, database id i64 = -1; the sessions; the ACL cache; the
//! nodes, parents before children, ended by the path `"/"`; a seal. From 3.6 a [`ZxidDigest`] and a seal, from 3.9
//! the last processed zxid and a seal. A seal is the Adler-32 of everything before it (earlier seals included) as
//! i64, then the string `"/"`. Readers take the zxid from the file's name. Every part is of the uncompressed bytes.
//!
//! Snapshots are fuzzy: transactions go on being applied while one is written, so what is in it may be newer than its
//! name, and replay from the name's zxid must be idempotent.

mod checked;
mod compression;
mod reader;
mod snappy_java;
mod stream;
mod writer;

pub use compression::Compression;
pub use reader::{SnapshotPart, SnapshotTail, looks_valid, read_snapshot};
pub use stream::{SNAPSHOT_PART_BYTES_MAX, SnapshotStream, StreamError, stream_end, stream_head};
pub use writer::{SnapshotWriter, encode_node};

pub(crate) use writer::{is_temporary, temporary_name};

pub(crate) const MAGIC: [u8; 4] = *b"ZKSN";
pub(crate) const VERSION: i32 = 2;
pub(crate) const DB_ID: i64 = -1;
/// The path that ends the nodes, and the string in every seal.
pub(crate) const END_PATH: &str = "/";

/// The tree's digest at some zxid, which replay compares when it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZxidDigest {
    /// 0 in an empty one: no transaction was applied yet.
    pub zxid: i64,
    pub version: i32,
    pub digest: i64,
}

#[cfg(test)]
mod tests;
