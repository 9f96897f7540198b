//! Atomic broadcast among the servers of one ensemble: who leads, what is committed, in which order.
//!
//! A core without sockets, files, threads, clock or randomness; it never sees a znode. Transactions are bytes with
//! a zxid. The layer above (`zk-node`) calls [`Peer::step`] with what happened and carries out the [`Effect`]s in
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
//! carries out [`Store`] commands in their order and answers in that order, each once; the links keep theirs.
//!
//! # Reading order
//!
//! [`Input`], [`Effect`] and [`Options`] are the contract. [`Peer`] owns the election and the role. What a server
//! holds in any role is `replica` (with `history`, `configs`); `leader` and `learner` are cut by phase: discovery,
//! synchronisation, broadcast.
//!
//! # Rules
//!
//! What models and bugs of this protocol have taught. Each is an assertion or a refusal in the code that names it, and
//! a test named after it in `tests/ensemble`; [`Peer::check`] asserts what holds between steps.
//!
//! 1. acceptedEpoch is on disk before ACKEPOCH; a smaller epoch is refused, an equal one answered with −1, which does
//!    not count (`learner::discovery`).
//! 2. History on disk, then currentEpoch, then ACK(NEWLEADER), then any other ACK (`learner::sync`).
//! 3. ACK(zxid) after the fsync of it and everything before it (`learner::broadcast`).
//! 4. The leader counts itself after its own fsync, and its NEWLEADER quorum includes itself (`leader::broadcast`,
//!    `leader::sync`).
//! 5. Commits in zxid order; within an epoch zxids step by one, the first has counter 1. Duplicates are dropped,
//!    anything else ends the role (`history`, `learner::broadcast`).
//! 6. The vote is what the disk holds: a role that has ended waits for the disk (`peer`, `replica`).
//! 7. A new leader's history is its whole log, committed by NEWLEADER's quorum (`leader`).
//! 8. After a failed or interrupted SNAP or TRUNC the tree is void until it is loaded again (`learner::sync`).
//! 9. TRUNC never crosses an epoch (`leader::sync`).
//! 10. A joiner gets outstanding proposals from the instant its sync point is fixed (`leader::sync`).
//! 11. What a snapshot names, the store sees to.
//! 12. Deterministic apply, the tree sees to.
//! 13. A disk that does not answer acknowledges nothing, and its server leaves the quorum (`leader::broadcast`).
//! 14. One reconfiguration at a time, a quorum of old and new, persisted when seen, active when committed
//!     (`configs`, `leader::reconfig`).
//!
//! A server whose history is damaged counts in no quorum until it is synchronised ([`Stable::last_zxid`]).
//!
//! # Where this differs from Apache
//!
//! - A silent link between two servers of this project is given up after 0.3 of syncLimit; they know each other
//!   by a mark behind what Apache reads of FOLLOWERINFO and LEADERINFO.
//! - A leader that meets a voter which has promised a later epoch gives way: that voter could never follow it.
//! - A leader whose voters have visibly changed their minds does not wait for initLimit.
//! - A vote that comes a moment before this server looks itself is not lost to it.
//! - A learner dials a leader that is not ready as often as initLimit allows, and a server that may become leader
//!   lets learners wait for it.
//! - Within an epoch a learner of this project is truncated where Apache sends a snapshot; one whose log cannot be
//!   truncated asks for a snapshot instead of exiting.
//! - A learner activates no configuration of NEWLEADER that may not be committed, and a leader sends none; while a
//!   reconfiguration is outstanding the epoch too needs a quorum of both configurations.
//! - currentEpoch never falls behind the log, whose first record of an epoch waits for it.

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
