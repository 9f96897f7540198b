//! The znode tree: decide, apply, ACLs, quotas, watches, sessions, digest.
//!
//! A core without I/O, clock or randomness. A write goes through it in three steps:
//!
//! ```text
//! decide(&tree, &mut pending, &ctx, request) -> Decision{header, txn, digest, error}   on the leader, in zxid order
//!     (the decision is logged, agreed on, made durable)
//! tree.apply(&header, &txn, &mut events) -> TxnResult                                  on every server, in zxid order
//! pending.on_applied(zxid)                                                             on the leader
//! watches.on_event(&event, may_read, notify)                                           for each event
//! reply::write(&mut w, &header, &txn, &result) -> Result<(), ErrorCode>                the answer's body
//! ```
//!
//! Reading order: [`tree`] and [`node`] (the state), [`decide`] with [`pending`], [`apply`] with [`event`] and
//! [`reply`], [`reads`], [`watch`], [`session`], [`snapshot`]; [`acl`], [`auth`], [`owner`], [`quota`] and
//! [`digest`] are what they lean on.
//!
//! What other rooms call:
//!
//! ```text
//! Tree         new(TreeConfig) · apply · last_zxid · digest · node_count · ephemeral_count · data_size_bytes
//!   reads      exists · get_data · get_children -> NodeView{data(), stat(), child_names()} · get_acl
//!              get_all_children_number · ephemerals_of(session, prefix) · multi_read
//!   sessions   sessions(): id to timeout_ms, as committed; the living side is Sessions
//!   reaping    reap_candidates(now_ms, never_used_ms_max, limit): paths for Request::DeleteContainer
//!   snapshot   snapshot_head() · snapshot_chunk(&mut SnapshotCursor, max_nodes, f) -> done; TreeBuilder back
//! DecideCtx    who asks, zxid, time; its `session` is what Sessions::check said
//! refuse       the error transaction of a request that could not even be read
//! AuthRules    authenticate (an AuthPacket) · permits (READ before an event is sent) · client_infos (whoAmI)
//! WatchManager add after a read · add_watch · set_watches · check · remove · remove_watcher · on_event · dumps
//! Sessions     create · track · touch · check · set_owner · set_closing · remove · expire; session::password
//! ```

pub mod config;

pub mod node;
mod table;
pub mod tree;

pub mod decide;
pub mod pending;

pub mod apply;
pub mod event;
pub mod reply;

pub mod reads;
pub mod snapshot;
pub mod watch;

pub mod session;

pub mod acl;
pub mod auth;
pub mod digest;
pub mod owner;
pub mod quota;

pub use acl::AclList;
pub use apply::TxnResult;
pub use auth::AuthRules;
pub use config::TreeConfig;
pub use decide::{DecideCtx, Decision, EnsembleView, decide, refuse};
pub use event::{ChangeKind, TreeEvent};
pub use pending::Pending;
pub use reads::NodeView;
pub use session::Sessions;
pub use snapshot::{BuildError, SnapshotCursor, SnapshotHead, TreeBuilder};
pub use tree::Tree;
pub use watch::{WatchKind, WatchManager, WatcherId};

#[cfg(test)]
mod tests;
