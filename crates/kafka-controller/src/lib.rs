//! The controller of a ZooKeeper-mode cluster: a core that decides, and reads and writes znodes through its shell.
//!
//! For: winning the election on `/controller`, loading the cluster's state, giving new partitions a leader, electing
//! leaders when brokers come and go, deleting topics; also the JSON of every znode ([`zkdata`]), replica placement
//! ([`assignment`]) and topic names ([`names`]), which the broker's request handlers use as well.
//! Not for: sockets, threads, clocks. Not here yet: reassignment, preferred election, ISR changes asked for by leaders,
//! failed log directories, controlled shutdown.
//!
//! # How a shell drives it
//!
//! One [`Controller`] a broker, from start to stop, whether it is active or not. The shell owns the ZooKeeper session.
//!
//! ```text
//! session connects ─► shell registers the broker in /brokers/ids ─► step(SessionEstablished)
//! Effect::Zk { token, op } ─► shell sends op (in the order of the effects) ─► step(Zk { token, result })
//! a watch fires ─► step(Watch { path })            every ~250 ms, or at next_deadline_ms ─► step(Tick)
//! connection is back within the session ─► step(Connected)
//! session expires ─► step(SessionExpired), *before* anything of the next session ─► register again ─► SessionEstablished
//! ```
//!
//! ```
//! use kafka_controller::{Controller, ControllerConfig, Effect, Event};
//!
//! let mut controller = Controller::new(ControllerConfig::kafka_3_9(0), 42);
//! let mut effects = Vec::new();
//! controller.step(1_700_000_000_000, Event::SessionEstablished, &mut effects);
//! assert!(matches!(effects[0], Effect::Zk { .. }));
//! ```
//!
//! Effects are plain data, to be carried out in their order. The answer to a ZooKeeper operation may be
//! [`zk::ZkError::ConnectionLoss`]: the core repeats the operation itself and sorts out whether the first one had happened.
//! [`Effect::LeaderAndIsr`], [`Effect::UpdateMetadata`] and [`Effect::StopReplica`] name the brokers they are for; today
//! the shell carries out those for itself, later the others go over the network. Another broker in the ensemble is
//! reported once as [`Effect::ForeignBrokers`].
//!
//! Every write is fenced: one multi with a check of `/controller_epoch`. If the check fails, the controller resigns
//! before it does anything else.
//!
//! Reading order: [`zk`] and [`io`] (what goes in and out), `context` (what it knows), `machine` (the step loop, then
//! one file a concern).

pub mod assignment;
mod context;
pub mod io;
mod machine;
pub mod names;
pub mod zk;
pub mod zkdata;

pub use context::{PartitionStatus, TopicPartition};
pub use io::{Effect, Event, LiveBroker, PartitionDecision, StopReplicaPartition, Token};
pub use machine::{Controller, ControllerConfig, Phase};
