//! What can be wrong with record bytes, and the wire code a broker answers for it.

use thiserror::Error;

/// Why record bytes were refused. Every variant blames the bytes (or their sender), never this process.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordsError {
    /// Fewer bytes than a header or a declared size needs.
    #[error("records end too early: {what} needs {needed} bytes, {available} are there")]
    Truncated {
        /// The structure that was cut.
        what: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// A size field no valid batch can have.
    #[error("record batch at offset {offset} has size {size}, less than the {minimum} bytes of its header")]
    InvalidSize {
        /// The offset field of the batch.
        offset: i64,
        /// The size it declares.
        size: i32,
        /// The least it may be.
        minimum: i32,
    },
    /// A magic byte outside 0–2, or not the one expected here.
    #[error("record batch at offset {offset} has magic {magic}, which is not supported here")]
    UnsupportedMagic {
        /// The offset field of the batch.
        offset: i64,
        /// The magic byte found.
        magic: i8,
    },
    /// The stored checksum is not that of the bytes.
    #[error(
        "record batch at offset {offset} is corrupt: stored crc {stored:#010x}, computed {computed:#010x}"
    )]
    CrcMismatch {
        /// The offset field of the batch.
        offset: i64,
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// The checksum may be right but the content contradicts itself or the rules.
    #[error("invalid record: {0}")]
    InvalidRecord(String),
    /// A timestamp a producer may not send.
    #[error("invalid timestamp: {0}")]
    InvalidTimestamp(String),
    /// Codec bits with no codec, or a codec that this format or request may not use.
    #[error("unsupported compression: {0}")]
    UnsupportedCompression(String),
    /// Idempotent or transactional data in a format that cannot carry it.
    #[error("{0}")]
    UnsupportedForMessageFormat(String),
    /// Compressed bytes that their codec refuses.
    #[error("{codec} data is corrupt: {detail}")]
    CorruptCompression {
        /// Codec named in the attributes.
        codec: &'static str,
        /// The codec's complaint.
        detail: String,
    },
    /// Compressed bytes that grow beyond what the caller allows (a decompression bomb).
    #[error("{codec} data decompresses to more than the {limit} bytes allowed")]
    TooLargeDecompressed {
        /// Codec named in the attributes.
        codec: &'static str,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// What would have to be built is larger than a batch's 32-bit size field can say.
    #[error("record batch would take {0} bytes, more than its size field can say")]
    TooLarge(usize),
}

impl RecordsError {
    /// The Kafka error code of this refusal (`org.apache.kafka.common.protocol.Errors`).
    pub fn error_code(&self) -> i16 {
        match self {
            RecordsError::Truncated { .. }
            | RecordsError::InvalidSize { .. }
            | RecordsError::UnsupportedMagic { .. }
            | RecordsError::CrcMismatch { .. }
            | RecordsError::CorruptCompression { .. } => 2,
            RecordsError::InvalidRecord(_) => 87,
            RecordsError::InvalidTimestamp(_) => 32,
            RecordsError::UnsupportedCompression(_) => 76,
            RecordsError::UnsupportedForMessageFormat(_) => 43,
            RecordsError::TooLargeDecompressed { .. } | RecordsError::TooLarge(_) => 10,
        }
    }
}
