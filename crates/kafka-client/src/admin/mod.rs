//! What the command-line tools ask of a cluster, as methods of [`crate::KafkaClient`].
//!
//! Each goes to the broker that must answer it (controller, coordinator, leader), in whatever version is
//! agreed on, and is repeated while the answer says "not now" or "not me". What concerns one topic, partition or
//! group of several is not an error of the call: it stands beside that item in the result.

mod cluster;

mod topics;

mod partitions;

mod groups;

mod offsets;

mod configs;

pub use cluster::Cluster;
pub use offsets::CommittedOffset;
pub use partitions::{DeletedRecords, ListedOffset, PartitionName};

use std::sync::atomic::{AtomicU32, Ordering};

use kafka_proto::ErrorCode;

use crate::ClientError;

/// How often a call on several items is repeated because some of them said "not now".
const ITEM_RETRIES: u32 = 5;

/// Counts down the repeats of a call on several items.
struct Patience(AtomicU32);

impl Patience {
    fn new() -> Self {
        Self(AtomicU32::new(ITEM_RETRIES))
    }

    /// An error to retry on if one of `codes` is retriable and there is patience left; then
    /// the errors are handed to the caller as they are. A topic that does not exist is no reason: the
    /// code is retriable for producers that create topics, tools should say so at once.
    fn check(&self, codes: impl IntoIterator<Item = i16>, what: &str) -> Result<(), ClientError> {
        let mut codes = codes.into_iter().map(ErrorCode::from_code);
        let Some(code) = codes.find(|c| is_worth_waiting(*c)) else {
            return Ok(());
        };
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(());
        }
        self.0.store(left - 1, Ordering::Relaxed);
        Err(ClientError::Code { what: what.to_owned(), code, message: None })
    }
}

fn is_worth_waiting(code: ErrorCode) -> bool {
    code.is_retriable() && code != ErrorCode::UnknownTopicOrPartition
}
