//! A seeded world in which whole ensembles of the real cores live, fail and heal.
//!
//! Everything that decides is the product: [`zk_node::Member`] with [`zk_zab::Peer`] inside, the tree, the codecs.
//! Everything that waits is made here: clock, network, disks, processes, clients. One seed decides all of it, so a
//! failure replays exactly.
//!
//! ```text
//! shape ─► world ─► safety phase (faults, load) ─► liveness phase (healed: elect, synchronise, serve) ─► verify
//! ```
//!
//! Reading order: [`shape`] (what a seed decides), [`world`] with [`queue`], the parts [`net`], [`disk`], [`server`],
//! [`client`], [`faults`]; what is held against them: [`oracle`] after every step and [`verify`] at the end; [`run`].

// Made to fail loudly: this crate is a test.
#![allow(clippy::unwrap_used)]

pub mod shape;

pub mod queue;
pub mod world;

pub mod disk;
pub mod net;
pub mod server;

pub mod bugs;
pub mod client;
pub mod faults;

pub mod history;
pub mod oracle;
pub mod verify;

pub mod counts;
pub mod run;
pub mod transcript;
