//! A partition as this broker holds it: log, role, in-sync set, high watermark, and who waits for it to move.
//!
//! A [`Partition`] is a plain struct with short locks, run on the caller's own task: an append costs no thread hop.
//! What an append sets in motion (waking fetches and produces) runs after the lock is released. No clock and no
//! executor of its own: times are arguments, waiting is a [`Waiter`] that any executor can poll.
//!
//! Not here: which partitions there are and who leads them (`kafka-controller`), and the wire (`kafka-broker`).
//!
//! ```text
//!              become_leader              become_leader (higher epoch)
//!   Offline ──────────────────► Leader ─────────────┐
//!      ▲                        │  ▲                │
//!      └──────── resign ────────┘  └────────────────┘
//! ```

mod error;
mod partition;
mod waiter;

pub use error::ReplicaError;
pub use partition::{
    Appended, EpochEnd, FoundOffset, Isolation, OffsetQuery, Partition, ReadOutcome, ReadSpec, Snapshot,
};
pub use waiter::{Wait, Waiter};
