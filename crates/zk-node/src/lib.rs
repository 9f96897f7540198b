//! The life of a request on one coordination server: decide, record, apply, reply.
//!
//! A core without sockets, files, threads, clock or randomness. The shell calls [`Member::step`] with what
//! happened and carries out the [`Effect`]s in order. A server alone:
//!
//! ```text
//! Connected, Frame ──► step ──► Send, Close            reads are answered at once
//!                          └──► Append, Snapshot       writes are decided, recorded, and wait
//! Durable{zxid}    ──► step ──► Send, Close            applied, watches first, then the answer
//! Tick             ──► step ──► Append, Close          sessions expire, containers are reaped
//! ```
//!
//! In an ensemble the same, with [`zk_zab::Peer`] between: what is decided is proposed ([`mod@write`]), what is
//! committed is applied ([`commit`]), and a server that does not lead sends writes on and waits for their commits
//! ([`learner`], [`leader`]). What a server is at the moment, and what belongs to that alone, is in [`role`].
//!
//! No effect is conditional: what may be sent only after an fsync or a quorum is held back until an input says so.
//!
//! Promises kept here, on one server and across all of them: answers of one session in the order of its requests;
//! a read sees its own session's earlier writes; a watch event precedes every answer that shows its change.

#![allow(rustdoc::private_intra_doc_links)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod stats;

mod close;
mod connection;
mod effect;
mod input;
mod options;

mod clients;
mod node;
mod role;

mod handshake;
mod request;

mod read;
mod write;

mod commit;
mod tick;

mod leader;
mod learner;

mod snapshot_policy;

mod member;

pub use close::CloseReason;
pub use connection::{Connection, Phase};
pub use effect::{Effect, Effects, SentBytes};
pub use input::{ConnId, Durable, Input, Now};
pub use member::Member;
pub use node::Node;
pub use options::Options;
pub use role::Role;

#[cfg(test)]
mod tests;
