//! The broker's shell: listeners, connections, one file per API, maintenance, and the glue to ZooKeeper.
//!
//! Reading order: `config` (what is asked for), `startup` (how it comes up and goes down), `broker` (the shared state),
//! `net` (sockets) → `api` (requests) → `kafka-replica` (partitions); beside them `image` (what is known of the cluster),
//! `controller` and `topics` (who changes it), `maintenance`.
//!
//! What decides is not here but in the cores: `kafka-controller`, `kafka-replica`, `kafka-coordinator`. To add an API see `api`.

pub mod api;
mod authorized;
pub mod broker;
pub mod clock;
pub mod config;
pub mod context;
mod controller;
mod fetch_session;
mod groups;
pub mod image;
mod last_session;
mod maintenance;
mod net;
mod partitions;
mod producer_ids;
mod registration;
mod startup;
mod tasks;
mod topic_configs;
pub mod topics;

pub use config::Config;
pub use startup::{Handle, StartError, start};
