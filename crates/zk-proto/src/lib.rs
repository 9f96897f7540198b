//! ZooKeeper's wire and disk records in jute encoding.

pub mod jute;
