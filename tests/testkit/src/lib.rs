//! Starts zoolog, the Apache originals and their tools for tests and measurements.
//!
//! Everything runs on loopback with ports of its own and ends with the value that holds it: a dropped
//! [`Server`] is killed. Nothing here asserts; a test says what must be true, this says how to get there.

pub mod disk;
pub mod ensemble;
pub mod ensemble_config;
pub mod ensemble_words;
pub mod originals;
pub mod server;
pub mod wait;
pub mod zoolog;

pub use ensemble::{Ensemble, Kind, Role};
pub use ensemble_config::{Settings, Site};
pub use ensemble_words::{Mode, Srvr};
pub use originals::{Kafka, ZooKeeper, java};
pub use server::Server;
pub use wait::{free_port, wait_until, wait_until_async};
pub use zoolog::Zoolog;
