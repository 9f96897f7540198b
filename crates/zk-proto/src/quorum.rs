//! What servers of one ensemble say to each other.
//!
//! [`packet`]: the stream between a learner and its leader. [`notification`]: votes on the election mesh.
//! [`config`]: who the servers are, as text in both and in `/zookeeper/config`. [`zxid`]: epoch and counter.

pub mod config;
pub mod notification;
pub mod packet;
pub mod zxid;

pub use config::{Config, ConfigError, Member, Role};
pub use notification::{Hello, Notification, PeerState};
pub use packet::{Packet, PacketKind};

/// A server's number: `myid`, the N of `server.N`.
pub type Sid = i64;
