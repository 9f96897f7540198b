//! Kafka's framing, API table, generated messages and record batches.

pub mod records;
