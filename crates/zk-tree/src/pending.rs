//! Changes that are decided but not applied yet (`ZooKeeperServer.outstandingChanges`).
//!
//! decide looks at the tree through them, so that a request is judged by the state its transaction will meet.
//! An entry goes when its transaction is applied. A multi that fails takes its own entries back, exactly.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use zk_proto::{ErrorCode, StatPersisted};

use crate::acl::AclList;
use crate::digest::node_digest;
use crate::tree::{Tree, canonical};

/// A node as it will be.
#[derive(Debug, Clone)]
pub(crate) struct PendingNode {
    pub path: Arc<str>,
    pub stat: StatPersisted,
    pub child_count: usize,
    pub acl: Option<AclList>,
    pub data: Option<Bytes>,
    digest: u32,
}

impl PendingNode {
    /// A node that begins.
    pub fn new(path: Arc<str>, stat: StatPersisted, acl: Option<AclList>, data: Option<Bytes>) -> Self {
        Self { path, stat, child_count: 0, acl, data, digest: 0 }
    }
}

#[derive(Debug, Clone)]
struct Change {
    zxid: i64,
    /// `None`: the node will be gone.
    node: Option<PendingNode>,
}

/// The changes in flight.
#[derive(Debug, Default)]
pub struct Pending {
    /// Latest change of each path.
    by_path: HashMap<Arc<str>, Change, RandomState>,
    /// Every change in order, to know when the latest of a path is applied.
    order: VecDeque<(i64, Arc<str>)>,
    /// The tree's digest after the last change; meaningful while there are any.
    digest: u64,
    /// While a multi is decided: what its changes replaced, oldest first.
    undo: Option<Undo>,
}

#[derive(Debug)]
struct Undo {
    replaced: Vec<(Arc<str>, Option<Change>)>,
    order_len: usize,
    digest: u64,
}

impl Pending {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Number of changes in flight.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Forgets the changes of transactions up to `zxid`; to be called after each apply.
    pub fn on_applied(&mut self, zxid: i64) {
        while self.order.front().is_some_and(|(change_zxid, _)| *change_zxid <= zxid) {
            let Some((change_zxid, path)) = self.order.pop_front() else { return };
            if self.by_path.get(&path).is_some_and(|change| change.zxid == change_zxid) {
                self.by_path.remove(&path);
            }
        }
    }

    /// Forgets everything, when leadership ends.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The node at `path` as the next transaction will find it.
    pub(crate) fn node(&self, tree: &Tree, path: &str) -> Result<PendingNode, ErrorCode> {
        let path = canonical(path);
        if !self.by_path.is_empty()
            && let Some(change) = self.by_path.get(path)
        {
            return change.node.clone().ok_or(ErrorCode::NoNode);
        }
        let node = tree.node(path).ok_or(ErrorCode::NoNode)?;
        Ok(PendingNode {
            path: node.path.clone(),
            stat: node.stat,
            child_count: node.child_count(),
            acl: tree.acl_of(node),
            data: node.data.clone(),
            digest: node.digest,
        })
    }

    pub(crate) fn exists(&self, tree: &Tree, path: &str) -> bool {
        let path = canonical(path);
        match self.by_path.get(path) {
            Some(change) => change.node.is_some(),
            None => tree.node(path).is_some(),
        }
    }

    /// Ephemerals a session will own, sorted.
    pub(crate) fn ephemerals_of(&self, tree: &Tree, session_id: i64) -> Vec<Arc<str>> {
        let committed = tree.ephemerals.get(&session_id).into_iter().flatten();
        let mut paths: Vec<Arc<str>> = committed.filter(|path| self.exists(tree, path)).cloned().collect();
        let owned = |change: &&Change| {
            change.node.as_ref().is_some_and(|node| node.stat.ephemeral_owner == session_id)
        };
        paths.extend(
            self.by_path.values().filter(owned).filter_map(|c| c.node.as_ref()).map(|n| n.path.clone()),
        );
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Digest of the tree once all changes are applied.
    pub(crate) fn digest(&self, tree: &Tree) -> u64 {
        if self.order.is_empty() { tree.digest } else { self.digest }
    }

    /// Records a new or changed node. `before` is its digest so far, from [`Pending::node`]; new nodes have 0.
    pub(crate) fn put(&mut self, tree: &Tree, zxid: i64, mut node: PendingNode) {
        let before = node.digest;
        if tree.config.digest_enabled {
            node.digest = node_digest(&node.path, node.data.as_deref(), &node.stat);
        }
        self.digest = move_digest(self.digest(tree), before, node.digest);
        self.record(node.path.clone(), Change { zxid, node: Some(node) });
    }

    /// Records that a node will be gone.
    pub(crate) fn delete(&mut self, tree: &Tree, zxid: i64, node: PendingNode) {
        self.digest = move_digest(self.digest(tree), node.digest, 0);
        self.record(node.path, Change { zxid, node: None });
    }

    fn record(&mut self, path: Arc<str>, change: Change) {
        self.order.push_back((change.zxid, path.clone()));
        match &mut self.undo {
            None => {
                self.by_path.insert(path, change);
            }
            Some(undo) => {
                let replaced = self.by_path.insert(path.clone(), change);
                undo.replaced.push((path, replaced));
            }
        }
    }

    /// From here on changes can be taken back together.
    pub(crate) fn begin_multi(&mut self) {
        self.undo = Some(Undo { replaced: Vec::new(), order_len: self.order.len(), digest: self.digest });
    }

    pub(crate) fn commit_multi(&mut self) {
        self.undo = None;
    }

    /// Takes back what was recorded since [`Pending::begin_multi`].
    pub(crate) fn roll_back_multi(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for (path, replaced) in undo.replaced.into_iter().rev() {
            match replaced {
                Some(change) => self.by_path.insert(path, change),
                None => self.by_path.remove(&path),
            };
        }
        self.order.truncate(undo.order_len);
        self.digest = undo.digest;
    }
}

fn move_digest(total: u64, before: u32, after: u32) -> u64 {
    total.wrapping_sub(u64::from(before)).wrapping_add(u64::from(after))
}
