//! What can be wrong with a message. Read errors blame the peer's bytes, write errors the caller's values.

/// A message that cannot be read from, or written to, the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the value does.
    #[error("truncated at byte {at}: {needed} more bytes are needed, {remaining} are left")]
    Truncated { at: usize, needed: usize, remaining: usize },
    /// A length below zero where null is not allowed.
    #[error("null at byte {at} where the version does not allow it")]
    UnexpectedNull { at: usize },
    /// An array that claims more elements than the remaining bytes can hold.
    #[error("array at byte {at} claims {count} elements, {remaining} bytes are left")]
    ArrayTooLong { at: usize, count: usize, remaining: usize },
    /// The decoded form would take more memory than this request may.
    #[error("decoding needs {wanted} more bytes of memory, the request's budget has {left} left")]
    OverBudget { wanted: usize, left: usize },
    /// A varint of more than 32 (or 64) bits.
    #[error("varint at byte {at} is too long")]
    VarintTooLong { at: usize },
    /// A tagged field whose content is not as long as its size says.
    #[error("tagged field {tag} ends at byte {at}, its size says {end}")]
    TagSize { tag: u32, at: usize, end: usize },
    /// The version is outside what the schema knows for this message.
    #[error("{message} has no version {version} (known: {min} to {max})")]
    UnsupportedVersion { message: &'static str, version: i16, min: i16, max: i16 },
    /// The API key is none we know.
    #[error("unknown API key {0}")]
    UnknownApi(i16),
    /// A frame length that is negative, or above the caller's limit.
    #[error("frame of {len} bytes, the limit is {limit}")]
    FrameSize { len: i64, limit: usize },
    /// Writing: a field is set that the version does not have.
    #[error("{field} is set, but version {version} cannot carry it")]
    NotInVersion { field: &'static str, version: i16 },
    /// Writing: null where the version does not allow it.
    #[error("null where the version does not allow it")]
    NullNotAllowed,
    /// Writing: a string, array or frame longer than its length field can say.
    #[error("{what} of {len} does not fit its length field")]
    TooLong { what: &'static str, len: usize },
}
