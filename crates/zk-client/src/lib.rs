//! A ZooKeeper client: a session core without I/O and a thin tokio shell around it.
//!
//! ```no_run
//! # async fn example() -> Result<(), zk_client::ZkError> {
//! use zk_client::{ConnectOptions, CreateMode, ZkClient, open_acl};
//!
//! let (zk, mut events) = ZkClient::connect(ConnectOptions::new("host1:2181,host2:2181/app")).await?;
//! // Requests go out in the order of the calls, without waiting for each other:
//! let created = zk.create("/a", Some("x".into()), open_acl(), CreateMode::Persistent);
//! let read = zk.get_data("/a", true);
//! let (data, stat) = { created.await?; read.await? };
//! let event = events.recv().await; // session changes and watches
//! # Ok(()) }
//! ```
//!
//! What it does by itself: pings, reconnects to another server of the list, takes up the session again, sends
//! credentials and watches anew. What it leaves to the caller: retrying what failed with
//! [`ZkError::ConnectionLoss`] (the request may or may not have been carried out), and a new client after
//! [`ZkError::SessionExpired`].
//!
//! The invariants guarded: replies complete in the order of requests; an event is delivered before any reply that
//! could reveal its change; every queue is bounded, a full one refuses at the call.

mod chroot;
mod error;
mod event;
mod options;
mod watches;

mod core;
mod shell;

mod client;
mod reply;

pub mod op;

pub use client::ZkClient;
pub use error::{Result, ZkError};
pub use event::{Events, WatchEvent};
pub use options::{ConnectOptions, Session};
pub use reply::Reply;
pub use watches::{AddWatchMode, WatchType};

pub use zk_proto::{
    Acl, ClientInfo, CreateMode, ErrorCode, EventKind, Id, KeeperState, MultiOp, MultiReadOp, MultiResult,
    Request, Response, Stat, perms,
};

/// `world:anyone` with every permission, the usual ACL.
pub fn open_acl() -> Vec<Acl> {
    Acl::open()
}
