//! Consumer groups and their offsets, replicated by records in an internal topic.
//!
//! A **core**: no sockets, files, threads, clock or randomness. Time ([`Now`]), fresh member id
//! suffixes and the outcome of appends come in; replies and records to append go out as [`Effect`]s.
//!
//! # How it is driven
//!
//! One [`Shard`] holds every group whose records live in one partition of `__consumer_offsets`
//! ([`partition_for`]). For each partition this broker leads, the shell
//!
//! 1. feeds the log's records to a [`Loader`] and gets a [`Shard`] ([`Loader::finish`]);
//! 2. calls a method of the shard per request (`join`, `sync`, `heartbeat`, `commit`, …) and runs the
//!    effects **in order, before the next call**: [`Effect::Append`] goes to the partition's log,
//!    [`Effect::Reply`] to the request with that [`Token`];
//! 3. reports each append with [`Shard::on_appended`] once it is acknowledged (or refused); only then
//!    does the reply that depends on it leave the core;
//! 4. calls [`Shard::on_tick`] when [`Shard::next_deadline`] has come;
//! 5. calls [`Shard::unload`] when the partition's leadership is lost: whatever is parked is answered.
//!
//! Whether a request may reach a shard at all (still loading, not the coordinator, a bad group id) is
//! decided by [`admit`].
//!
//! # The life of a group
//!
//! ```text
//!            join                  all joined / timeout               leader's sync stored
//!   Empty ─────────► PreparingRebalance ─────────► CompletingRebalance ─────────► Stable
//!     ▲                  │     ▲  ▲                        │                        │
//!     └──────────────────┘     │  └────────────────────────┘                        │
//!      nobody left             └────────────────────────────────────────────────────┘
//!                                join, leave, expiry, changed subscription
//!   any ──► Dead: deleted, expired or moved to another coordinator
//! ```
//!
//! Source of truth: `GroupCoordinator.scala`, `GroupMetadata.scala`, `GroupMetadataManager.scala` of
//! Apache Kafka 3.9; 2.7.1 differs only where noted.

pub mod config;
pub mod effect;
pub mod error;
pub mod group;
pub mod load;
pub mod partitioner;
pub mod records;
pub mod request;
pub mod shard;
pub mod subscription;

#[cfg(test)]
mod tests;

pub use config::GroupConfig;
pub use effect::{AppendId, Effect, JoinReply, JoinedMember, Now, Reply, SyncReply, Token};
pub use error::AppendError;
pub use group::{CommittedOffset, GroupOverview, GroupState, GroupSummary, MemberSummary};
pub use load::{BatchInfo, Loader};
pub use partitioner::partition_for;
pub use records::Record;
pub use request::{
    CommitRequest, GroupOp, JoinRequest, LeavingMember, MemberRef, OffsetToCommit, Protocol, ShardStatus,
    SyncRequest, admit,
};
pub use shard::{FetchedOffset, Shard};
