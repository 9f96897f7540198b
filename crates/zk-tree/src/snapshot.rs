//! Writing the tree out in pieces while it changes, and building one from such pieces.
//!
//! The order is Apache's: sessions, access control lists, then nodes, parents before children. A cursor
//! remembers the last path written, not a position, so any change between two pieces is fine: what it misses
//! or catches half of, the replay from the head's zxid repairs.

use std::collections::{BTreeMap, btree_set};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use zk_proto::{Acl, StatPersisted};

use crate::acl::AclList;
use crate::config::TreeConfig;
use crate::node::Node;
use crate::tree::Tree;

/// What a snapshot begins with.
#[derive(Debug, Clone)]
pub struct SnapshotHead {
    /// Everything up to here is contained; replay starts behind it. It names the file.
    pub last_zxid: i64,
    /// Session ids and timeouts in milliseconds.
    pub sessions: Vec<(i64, i32)>,
    /// Lists by number.
    pub acls: Vec<(i64, AclList)>,
}

/// How far the writing has come.
#[derive(Debug, Clone, Default)]
pub struct SnapshotCursor {
    last: Option<Arc<str>>,
    done: bool,
}

impl SnapshotCursor {
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl Tree {
    pub fn snapshot_head(&self) -> SnapshotHead {
        SnapshotHead {
            last_zxid: self.last_zxid,
            sessions: self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms)).collect(),
            acls: self.acls.lists(),
        }
    }

    /// Hands the next `max_nodes` nodes to `f`: path (the root's is empty), data, number of the list, stat.
    /// Returns whether that was the end.
    pub fn snapshot_chunk(
        &self,
        cursor: &mut SnapshotCursor,
        max_nodes: usize,
        f: &mut impl FnMut(&str, Option<&Bytes>, i64, &StatPersisted),
    ) -> bool {
        let mut walk = match &cursor.last {
            _ if cursor.done => return true,
            None => Walk::from_root(self),
            Some(last) => Walk::behind(self, last),
        };
        for _ in 0..max_nodes.max(1) {
            let Some(node) = walk.next() else {
                cursor.done = true;
                return true;
            };
            f(&node.path, node.data.as_ref(), node.acl, &node.stat);
            cursor.last = Some(node.path.clone());
        }
        false
    }
}

/// Walks the tree in the order parents, then children by name; one lookup a node.
struct Walk<'a> {
    tree: &'a Tree,
    root: Option<&'a Node>,
    /// Children not yet visited of the last node and of its ancestors, the root's first.
    open: Vec<btree_set::Range<'a, Arc<str>>>,
}

impl<'a> Walk<'a> {
    fn from_root(tree: &'a Tree) -> Self {
        Self { tree, root: tree.nodes.get(""), open: Vec::new() }
    }

    /// Goes on behind `path`, which may be gone, and so may its ancestors.
    fn behind(tree: &'a Tree, path: &str) -> Self {
        let mut open: Vec<_> =
            tree.nodes.get(path).map(|node| node.children().range::<str, _>(..)).into_iter().collect();
        let mut at = path;
        while let Some((parent, _)) = zk_proto::path::split(at) {
            if let Some(node) = tree.nodes.get(parent) {
                open.push(node.children().range::<str, _>((Bound::Excluded(at), Bound::Unbounded)));
            }
            at = parent;
        }
        open.reverse();
        Self { tree, root: None, open }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Node;

    fn next(&mut self) -> Option<&'a Node> {
        let node = match self.root.take() {
            Some(root) => root,
            None => loop {
                match self.open.last_mut()?.next() {
                    Some(path) => break self.tree.nodes.get(path)?,
                    None => drop(self.open.pop()),
                }
            },
        };
        if node.child_count() > 0 {
            self.open.push(node.children().range::<str, _>(..));
        }
        Some(node)
    }
}

/// Why the parts of a snapshot do not make a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    #[error("snapshot is damaged: node {path} comes before its parent")]
    NoParent { path: String },
    #[error("snapshot is damaged: node {path:?} comes twice")]
    Twice { path: String },
    #[error("snapshot is damaged: it has no root node")]
    NoRoot,
}

/// Builds a tree from the parts of a snapshot, in the order they are stored in.
#[derive(Debug)]
pub struct TreeBuilder {
    tree: Tree,
}

impl TreeBuilder {
    pub fn new(config: TreeConfig) -> Self {
        Self { tree: Tree::empty(config) }
    }

    pub fn session(&mut self, id: i64, timeout_ms: i32) {
        self.tree.sessions.insert(id, timeout_ms);
    }

    /// A list with its number.
    pub fn acl(&mut self, id: i64, list: &[Acl]) {
        self.tree.acls.insert(id, Arc::from(list));
    }

    /// A node; the root (empty path) first, every other one after its parent.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), BuildError> {
        let tree = &mut self.tree;
        match zk_proto::path::split(path) {
            Some((parent, _)) if !tree.nodes.contains_key(parent) => {
                return Err(BuildError::NoParent { path: path.to_owned() });
            }
            None if !path.is_empty() => return Err(BuildError::NoParent { path: path.to_owned() }),
            _ => {}
        }
        if tree.nodes.contains_key(path) {
            return Err(BuildError::Twice { path: path.to_owned() });
        }
        tree.acls.retain(acl);
        tree.acls.reserve_ids(acl);
        tree.insert(Arc::from(path), data, acl, stat);
        Ok(())
    }

    /// The tree, ready for the replay of what comes after `last_zxid`.
    pub fn finish(mut self, last_zxid: i64) -> Result<Tree, BuildError> {
        if !self.tree.nodes.contains_key("") {
            return Err(BuildError::NoRoot);
        }
        self.tree.acls.purge_unused();
        self.tree.set_up_quotas();
        self.tree.last_zxid = last_zxid;
        Ok(self.tree)
    }

    /// Sessions read so far.
    pub fn sessions(&self) -> &BTreeMap<i64, i32> {
        &self.tree.sessions
    }
}
