//! The primitive types of the Kafka protocol: how they are read, how they are written.
//!
//! The reader is concrete on purpose (no generic buffer): everything generated from the schema is
//! compiled once, in this crate. It guards two invariants against hostile bytes: nothing is allocated
//! for a count that the remaining bytes cannot hold, and one request cannot grow beyond its
//! [`Reader::with_budget`] however well-formed it is.

mod error;
mod reader;
mod uuid;
mod writer;

pub use error::WireError;
pub use reader::{Reader, Tag, default_budget};
pub use uuid::Uuid;
pub use writer::{Chunk, FileRegion, Frame, Records, TagsMark, ValueMark, Writer};

/// The error for a field that holds something the requested version cannot carry.
///
/// The original refuses the same way: dropping the value in silence would change what the request
/// means. Fields marked `ignorable` in the schema are dropped instead.
pub fn absent(is_default: bool, field: &'static str, version: i16) -> Result<(), WireError> {
    if is_default { Ok(()) } else { Err(WireError::NotInVersion { field, version }) }
}
