//! ZooKeeper's wire and disk records in jute encoding.
//!
//! Reading order: [`jute`] (the encoding), then the words of the protocol ([`opcode`], [`error`], [`data`],
//! [`path`]), then the records: [`connect`] (handshake), [`header`], [`request`] with [`multi`],
//! [`response`], [`event`], and [`txn`] (what is logged and replicated).
//!
//! Every record is written in both directions, so that servers, clients and tests share one truth.
//! Nothing here decides anything: a decoded record is well formed, not valid.

pub mod jute;

pub mod data;
pub mod error;
pub mod opcode;
pub mod path;
pub mod quorum;

pub mod connect;
pub mod event;
pub mod header;
pub mod multi;
pub mod request;
pub mod response;
pub mod txn;

pub use connect::{ConnectRequest, ConnectResponse};
pub use data::{Acl, Id, Stat, StatPersisted, perms};
pub use error::ErrorCode;
pub use event::{EventKind, KeeperState, WatcherEvent};
pub use header::{ReplyHeader, RequestHeader};
pub use jute::{Reader, WireError, Writer};
pub use multi::{MultiOp, MultiReadOp, MultiResult};
pub use opcode::{CreateKind, CreateMode, OpCode};
pub use request::{CreateRequest, Request, SetWatchesRequest};
pub use response::{ClientInfo, Response};

#[cfg(test)]
mod roundtrip;
