//! Kafka's wire protocol: frames, the API table, every message, and record batches.
//!
//! Reading order:
//! - [`wire`]: the primitive types, [`wire::Reader`] with its memory budget, [`wire::Writer`] whose output is a
//!   list of chunks (bytes, or a range of a log file for sendfile);
//! - [`messages`]: one module an API, [`messages::ApiKey`], the [`messages::Message`] and [`messages::Request`]
//!   traits. `FetchRequest::decode(&mut reader, version)`, `response.encode(&mut writer, version)`;
//!   `messages::data` has the records of internal topics and the consumer protocol;
//! - [`frame`]: request and response headers, whole frames;
//! - [`error`]: the error codes;
//! - [`records`]: record batches v2, message sets v0 and v1, compression, conversion.
//!
//! Nothing here waits, opens files or knows a broker. No input can make it panic, or allocate more than
//! the budget of the reader.

pub mod wire;

pub mod messages;

pub mod frame;

pub mod error;

pub mod records;

pub use error::ErrorCode;
