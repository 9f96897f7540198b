//! Atomic broadcast among the servers of one ensemble: who leads, what is committed, in which order.
//!
//! A core without sockets, files, threads, clock or randomness; it never sees a znode. Transactions are bytes with
//! a zxid. The layer above ([`zk-node`]) calls [`Peer::step`] with what happened and carries out the [`Effect`]s in
//! order:
//!
//! ```text
//! Looking ──election──► Leading:   discovery ─► synchronisation ─► broadcast
//!    ▲                  Following: discovery ─► synchronisation ─► broadcast
//!    │                  Observing: the same without a vote
//!    └──── quorum lost, link lost, a newer configuration ◄──┘
//! ```
//!
//! No effect is conditional: what may be said only after an fsync is held back until [`Stored`] says so. The disk
//! carries out [`Store`] commands in their order and answers in that order.

mod configs;
mod effect;
mod election;
mod history;
mod input;
mod leader;
mod learner;
mod marker;
mod options;
mod parked;
mod peer;
mod replica;
mod status;
mod txn;

pub use effect::{CloseReason, Effect, Role, Store};
pub use input::{Input, LinkId, Stored};
pub use options::{Entry, Options, Stable};
pub use peer::Peer;
pub use status::{LearnerStatus, Phase, Status};
