//! Record batches: the bytes that producers send, logs store and consumers fetch.
//!
//! Three formats share one frame, `offset i64 · size i32 · …` with the magic byte at index 16:
//! message sets of magic 0 and 1 ([`legacy`]) and record batches of magic 2 ([`batch`], [`record`], [`builder`]).
//! Nothing here does I/O or reads a clock; sizes that arrive from outside are checked before they are used, and
//! every decompression is capped by an argument.
//!
//! Reading order: [`batch`] (headers and iteration), [`record`] (what is inside), [`builder`], [`compress`],
//! [`legacy`], [`reader`] (records of any format), [`convert`] (between formats), [`validate`] (what a leader checks
//! and rewrites on produce).

pub mod batch;
pub mod builder;
pub mod compress;
pub mod convert;
mod error;
pub mod legacy;
pub mod reader;
pub mod record;
pub mod validate;
mod varint;

pub use batch::{Batch, BatchHeader, BatchIter, LegacyHeader};
pub use builder::{BatchBuilder, BatchOptions};
pub use error::RecordsError;
pub use reader::RecordReader;
pub use record::{Headers, Record, RecordIter};
pub use varint::{varint_len, varlong_len};

/// Value of a timestamp field that says "no timestamp".
pub const NO_TIMESTAMP: i64 = -1;
/// Producer id of a batch that is neither idempotent nor transactional.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch that goes with [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence that goes with [`NO_PRODUCER_ID`].
pub const NO_SEQUENCE: i32 = -1;
/// Leader epoch of a batch that no leader has stamped yet.
pub const NO_LEADER_EPOCH: i32 = -1;

/// The compression codec in the low three bits of a batch's (or a message's) attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Records lie in the batch as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of the snappy-java library.
    Snappy,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard; batches of magic 2 only (KIP-110).
    Zstd,
}

impl Compression {
    /// The codec of an attributes field; `None` for the three values nobody has defined.
    pub fn from_attributes(attributes: i16) -> Option<Compression> {
        match attributes & 0x07 {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The bits that stand for this codec in an attributes field.
    pub fn attribute_bits(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// The name `compression.type` uses for it (`none`, also accepted as `uncompressed`).
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec called `name` in a configuration; `producer` is not a codec and yields `None`.
    pub fn from_name(name: &str) -> Option<Compression> {
        match name {
            "none" | "uncompressed" => Some(Compression::None),
            "gzip" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }
}

/// Who set a batch's timestamps (`message.timestamp.type`, bit 3 of the attributes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The leader, when it appended the batch.
    LogAppendTime,
}

#[cfg(test)]
mod golden_tests;
