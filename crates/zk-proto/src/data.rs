//! Values that requests, transactions and snapshots share (the jute module `org.apache.zookeeper.data`).

pub mod acl;
pub mod stat;

pub use acl::{Acl, Id, perms};
pub use stat::{Stat, StatPersisted};
