//! One znode.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use zk_proto::{Stat, StatPersisted};

use crate::config::TreeConfig;
use crate::owner::Owner;

/// A znode as the tree holds it.
#[derive(Debug)]
pub struct Node {
    /// Its full path, the same allocation as the key it is found by. The root's is empty.
    pub(crate) path: Arc<str>,
    /// Null and empty are different things on the wire.
    pub(crate) data: Option<Bytes>,
    /// Number of its list in the [`crate::acl::AclTable`].
    pub(crate) acl: i64,
    pub(crate) stat: StatPersisted,
    /// Full paths of the children. They share a prefix, so this is the order of their names.
    children: BTreeSet<Arc<str>>,
    /// Its part of the tree's digest.
    pub(crate) digest: u32,
}

impl Node {
    pub(crate) fn new(path: Arc<str>, data: Option<Bytes>, acl: i64, stat: StatPersisted) -> Self {
        Self { path, data, acl, stat, children: BTreeSet::new(), digest: 0 }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    pub fn stat_persisted(&self) -> &StatPersisted {
        &self.stat
    }

    pub fn child_count(&self) -> usize {
        self.children.len()
    }

    /// Full paths of the children in order of their names.
    pub(crate) fn children(&self) -> &BTreeSet<Arc<str>> {
        &self.children
    }

    pub(crate) fn add_child(&mut self, path: Arc<str>) {
        self.children.insert(path);
    }

    pub(crate) fn remove_child(&mut self, path: &str) {
        self.children.remove(path);
    }

    /// The Stat clients see. Their cversion counts both ends of a child's life: each creation twice, less the
    /// children that are still there (`DataNode.copyStat`).
    pub fn stat(&self, config: &TreeConfig) -> Stat {
        client_stat(&self.stat, self.data.as_ref().map_or(0, Bytes::len), self.child_count(), config)
    }
}

fn client_stat(stored: &StatPersisted, data_bytes: usize, children: usize, config: &TreeConfig) -> Stat {
    // Data is capped by the frame size and children by memory; saturating is for the type's sake.
    let num_children = i32::try_from(children).unwrap_or(i32::MAX);
    Stat {
        czxid: stored.czxid,
        mzxid: stored.mzxid,
        ctime_ms: stored.ctime_ms,
        mtime_ms: stored.mtime_ms,
        version: stored.version,
        cversion: stored.cversion.wrapping_mul(2).wrapping_sub(num_children),
        aversion: stored.aversion,
        ephemeral_owner: Owner::client_view(stored.ephemeral_owner, config),
        data_length: i32::try_from(data_bytes).unwrap_or(i32::MAX),
        num_children,
        pzxid: stored.pzxid,
    }
}
