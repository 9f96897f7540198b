//! The committed state: every znode, the sessions, the counters about them.
//!
//! Invariants ([`Tree::check`]): every node but the root has its parent; a parent's child set holds exactly
//! its children; ephemerals, containers and TTL nodes are listed by kind; the digest is the sum of the nodes'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::{Acl, StatPersisted};

use crate::acl::{AclList, AclTable, OPEN_ACL_ID};
use crate::config::TreeConfig;
use crate::digest::node_digest;
use crate::node::Node;
use crate::owner::Owner;
use crate::quota::QuotaIndex;
use crate::table::NodeTable;

pub(crate) const ZOOKEEPER: &str = "/zookeeper";
pub(crate) const QUOTA: &str = "/zookeeper/quota";
/// Where an ensemble's configuration is shown.
pub const CONFIG_NODE: &str = "/zookeeper/config";

/// The tree of znodes and what belongs to it.
#[derive(Debug)]
pub struct Tree {
    pub(crate) config: TreeConfig,
    pub(crate) nodes: NodeTable,
    pub(crate) acls: AclTable,
    /// Ephemeral paths by session. An entry stays, empty, until its session closes, as Apache's `dump` shows.
    pub(crate) ephemerals: BTreeMap<i64, BTreeSet<Arc<str>>>,
    pub(crate) containers: BTreeSet<Arc<str>>,
    pub(crate) ttl_nodes: BTreeSet<Arc<str>>,
    /// Committed sessions and their timeouts in milliseconds.
    pub(crate) sessions: BTreeMap<i64, i32>,
    pub(crate) quotas: QuotaIndex,
    pub(crate) digest: u64,
    /// Bytes of paths and data, for `mntr`.
    pub(crate) data_size_bytes: u64,
    pub(crate) last_zxid: i64,
}

impl Tree {
    /// A new tree with the nodes that always exist: `/`, `/zookeeper`, `/zookeeper/quota`, `/zookeeper/config`.
    pub fn new(config: TreeConfig) -> Self {
        let mut tree = Self::empty(config);
        let empty = || Some(Bytes::new());
        for path in ["", ZOOKEEPER, QUOTA] {
            tree.insert(Arc::from(path), empty(), OPEN_ACL_ID, StatPersisted::default());
        }
        tree.add_config_node();
        tree
    }

    /// A tree without even a root, to be filled from a snapshot.
    pub(crate) fn empty(config: TreeConfig) -> Self {
        Self {
            config,
            nodes: NodeTable::default(),
            acls: AclTable::default(),
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            ttl_nodes: BTreeSet::new(),
            sessions: BTreeMap::new(),
            quotas: QuotaIndex::default(),
            digest: 0,
            data_size_bytes: 1, // the root is also called "/"
            last_zxid: 0,
        }
    }

    /// Adds `/zookeeper/config` if a snapshot from before 3.5 left it out. Everybody may read it, nobody but
    /// the super user may write it (ZOOKEEPER-2014).
    pub fn add_config_node(&mut self) {
        if self.nodes.contains_key(ZOOKEEPER) && !self.nodes.contains_key(CONFIG_NODE) {
            let acl = self.acls.intern(&Acl::read_only());
            let stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
            self.insert(Arc::from(CONFIG_NODE), Some(Bytes::new()), acl, stat);
        }
    }

    pub fn config(&self) -> &TreeConfig {
        &self.config
    }

    /// zxid of the last transaction applied.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// A new leader's epoch begins at a zxid no transaction has.
    pub fn set_last_zxid(&mut self, zxid: i64) {
        self.last_zxid = zxid;
    }

    /// Digest of the nodes, as Apache puts it into transactions and snapshots.
    pub fn digest(&self) -> i64 {
        self.digest as i64
    }

    /// Nodes as Apache counts them: the root under both its names, so 5 in a new tree.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    pub fn data_size_bytes(&self) -> u64 {
        self.data_size_bytes
    }

    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// Committed sessions: id to timeout in milliseconds.
    pub fn sessions(&self) -> &BTreeMap<i64, i32> {
        &self.sessions
    }

    /// Ephemeral paths by session, for `dump`.
    pub fn ephemerals(&self) -> &BTreeMap<i64, BTreeSet<Arc<str>>> {
        &self.ephemerals
    }

    /// The node at a path; `/` and the empty path are the root.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(canonical(path))
    }

    /// The list of a node. `None`: everybody may do everything. A number the table does not know (possible
    /// only between a fuzzy snapshot and the end of its replay) is an empty permission, not an open one.
    pub(crate) fn acl_of(&self, node: &Node) -> Option<AclList> {
        if node.acl == OPEN_ACL_ID {
            return None;
        }
        Some(self.acls.get(node.acl).cloned().unwrap_or_else(nobody))
    }

    /// As [`Tree::acl_of`], borrowed.
    pub(crate) fn acl_ref(&self, node: &Node) -> Option<&[Acl]> {
        if node.acl == OPEN_ACL_ID {
            return None;
        }
        Some(self.acls.get(node.acl).map_or(&NOBODY, |list| list))
    }

    /// Puts a node under its parent, which may be missing only for the root.
    pub(crate) fn insert(&mut self, path: Arc<str>, data: Option<Bytes>, acl: i64, stat: StatPersisted) {
        if let Some((parent, _)) = zk_proto::path::split(&path)
            && let Some(parent) = self.nodes.get_mut(parent)
        {
            parent.add_child(path.clone());
        }
        self.data_size_bytes += size_of_node(&path, data.as_ref());
        self.list_by_owner(&path, stat.ephemeral_owner);
        let mut node = Node::new(path.clone(), data, acl, stat);
        if self.config.digest_enabled {
            node.digest = node_digest(&path, node.data.as_deref(), &node.stat);
            self.digest = self.digest.wrapping_add(u64::from(node.digest));
        }
        self.nodes.insert(path, node);
    }

    fn list_by_owner(&mut self, path: &Arc<str>, owner: i64) {
        match Owner::classify(owner, &self.config) {
            Owner::None => {}
            Owner::Session(id) => {
                self.ephemerals.entry(id).or_default().insert(path.clone());
            }
            Owner::Container => {
                self.containers.insert(path.clone());
            }
            Owner::TtlMs(_) => {
                self.ttl_nodes.insert(path.clone());
            }
        }
    }

    /// Takes a node away; its parent is left to the caller.
    pub(crate) fn remove(&mut self, path: &str) -> Option<Node> {
        let node = self.nodes.remove(path)?;
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        self.data_size_bytes = self.data_size_bytes.saturating_sub(size_of_node(path, node.data.as_ref()));
        match Owner::classify(node.stat.ephemeral_owner, &self.config) {
            Owner::None => {}
            Owner::Session(id) => {
                if let Some(paths) = self.ephemerals.get_mut(&id) {
                    paths.remove(path);
                }
            }
            Owner::Container => {
                self.containers.remove(path);
            }
            Owner::TtlMs(_) => {
                self.ttl_nodes.remove(path);
            }
        }
        Some(node)
    }

    /// Paths that servers should ask to delete: containers without children that once had one, and TTL nodes
    /// without children or change for their time. At most `limit`, in order of paths (`ContainerManager`).
    ///
    /// `never_used_ms_max` also lists containers that never had a child for so long; 0 keeps them for ever.
    pub fn reap_candidates(&self, now_ms: i64, never_used_ms_max: i64, limit: usize) -> Vec<Arc<str>> {
        let idle_ms = |node: &Node| now_ms.saturating_sub(node.stat.mtime_ms);
        let container_is_due = |node: &Node| {
            node.stat.cversion > 0 || (never_used_ms_max != 0 && idle_ms(node) > never_used_ms_max)
        };
        let ttl_is_due = |node: &Node| match Owner::classify(node.stat.ephemeral_owner, &self.config) {
            Owner::TtlMs(ttl) => ttl != 0 && idle_ms(node) > ttl,
            _ => false,
        };
        let nodes = |paths: &BTreeSet<Arc<str>>| -> Vec<&Node> {
            paths.iter().filter_map(|p| self.nodes.get(p)).filter(|n| n.child_count() == 0).collect()
        };
        let containers = nodes(&self.containers).into_iter().filter(|node| container_is_due(node));
        let ttl_nodes = nodes(&self.ttl_nodes).into_iter().filter(|node| ttl_is_due(node));
        containers.chain(ttl_nodes).take(limit).map(|node| node.path.clone()).collect()
    }

    /// Checks the invariants in the header of this file; for tests and simulation.
    pub fn check(&self) {
        let mut digest = 0u64;
        let mut children_seen = 0;
        for (path, node) in self.nodes.iter() {
            assert_eq!(path, &node.path);
            digest = digest.wrapping_add(u64::from(node.digest));
            if self.config.digest_enabled {
                assert_eq!(
                    node.digest,
                    node_digest(path, node.data.as_deref(), &node.stat),
                    "digest of {path:?}"
                );
            }
            for child in node.children() {
                assert!(self.nodes.contains_key(child), "{child} is listed but not there");
                assert_eq!(zk_proto::path::split(child).map(|(parent, _)| parent), Some(&**path));
                children_seen += 1;
            }
            if let Owner::Session(id) = Owner::classify(node.stat.ephemeral_owner, &self.config) {
                assert!(
                    self.ephemerals.get(&id).is_some_and(|paths| paths.contains(path)),
                    "{path} is not listed"
                );
            }
        }
        assert_eq!(children_seen + 1, self.nodes.len(), "a node has no parent");
        assert_eq!(digest, self.digest);
        for path in self.ephemerals.values().flatten().chain(&self.containers).chain(&self.ttl_nodes) {
            assert!(self.nodes.contains_key(path), "{path} is listed but not there");
        }
    }
}

static NOBODY: [Acl; 1] = [Acl { perms: 0, id: zk_proto::Id { scheme: String::new(), id: String::new() } }];

fn nobody() -> AclList {
    Arc::from(NOBODY.as_slice())
}

/// The root is stored under the empty path.
pub(crate) fn canonical(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

pub(crate) fn size_of_node(path: &str, data: Option<&Bytes>) -> u64 {
    (path.len() + data.map_or(0, Bytes::len)) as u64
}
