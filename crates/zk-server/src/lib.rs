//! The coordination server's shell: configuration, listeners, connections, other servers, threads, four-letter words.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use zk_server::{Config, SystemProperties, start};
//!
//! let config = Config::from_file("zoo.cfg".as_ref(), &SystemProperties::new())?;
//! let server = start(config)?;
//! println!("serving on {}", server.address());
//! server.wait()?;
//! # Ok(()) }
//! ```
//!
//! What decides anything is in `zk-node` and `zk-zab`; here their effects are carried out. Threads: one for the node,
//! all connections and all links to other servers; one for the disk (append, fsync, report, and whatever replaces the
//! history); one for each snapshot while it is written.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod config_files;
mod error;

mod handle;
mod server;

mod complaints;
mod intake;
mod link;
mod listener;

mod ensemble;

mod disk;
mod log_thread;
mod purge;
mod recovery;
mod snapshots;

mod clock;
mod four_letter;

pub use config::{
    Config, ConfigError, ConfigFiles, DocumentedKey, Ensemble, SystemProperties, documented_keys,
};
pub use error::{ServerError, StartError};
pub use four_letter::Whitelist;
pub use handle::{Handle, start};
