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
//! ```text
//! Tree        new(TreeConfig) · apply · last_zxid · digest · config · node_count · ephemeral_count · data_size_bytes
//!   reads     exists(path, auth) -> Result<Stat, ErrorCode> · get_data(path, auth) -> Result<NodeView, _>
//!             get_children(path, auth) -> Result<NodeView, _> · get_acl(path, auth) -> Result<(Vec<Acl>, Stat), _>
//!             get_all_children_number(path, auth) · ephemerals_of(session, prefix) · multi_read(ops, auth)
//!             NodeView{data(), stat(), child_names()}
//!   sessions  sessions() -> &BTreeMap<i64, i32>: id -> timeout_ms, as committed
//!   snapshot  snapshot_head() -> SnapshotHead · snapshot_chunk(&mut SnapshotCursor, max_nodes, f) -> done
//!             TreeBuilder::new(config): session, acl, node (root first), finish(last_zxid) -> Tree
//!   reaping   reap_candidates(now_ms, limit) -> paths for Request::DeleteContainer
//! Pending     new() · on_applied(zxid) · clear() · is_empty()
//! decide      DecideCtx{zxid, time_ms, session_id, cxid, auth, session: Result<(), ErrorCode>, reconfig_enabled}
//!             refuse(&ctx, code) -> Decision: an error transaction (a multi that cannot be read, …)
//! WatchManager  add(path, watcher, WatchKind) · add_watch(path, mode, watcher) · set_watches(&tree, &req, watcher, out)
//!             check/remove(path, kind, watcher) -> Result<(), ErrorCode> · remove_watcher · on_event · summary and dumps
//! Sessions    new(server_id, tick_ms, now_ms) · create · track · touch · check(id, owner) · set_owner · set_closing
//!             remove · expire(now_ms) · password(id) · check_password(id, bytes)
//! auth        authenticate(&AuthRules, scheme, data, peer) -> Option<Vec<Id>> · client_infos(&[Id])
//! ```

pub mod config;

pub mod node;
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
pub use decide::{DecideCtx, Decision, decide, refuse};
pub use event::{ChangeKind, TreeEvent};
pub use pending::Pending;
pub use reads::NodeView;
pub use session::Sessions;
pub use snapshot::{BuildError, SnapshotCursor, SnapshotHead, TreeBuilder};
pub use tree::Tree;
pub use watch::{WatchKind, WatchManager, WatcherId};
