//! The znodes by path, in many small maps.
//!
//! One map of half a million nodes stops the server for a fifth of a second when it grows, for then every node moves.
//! Cut into shards by a hash of the path, each growth moves a 256th of them. Not for order: children know their own.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::node::Node;

const SHARDS: usize = 256;

type Shard = HashMap<Arc<str>, Node, RandomState>;

/// See the module's header.
#[derive(Debug)]
pub(crate) struct NodeTable {
    shards: Box<[Shard]>,
    /// Picks the shard; the maps hash by seeds of their own.
    picker: RandomState,
    len: usize,
}

impl Default for NodeTable {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            picker: RandomState::default(),
            len: 0,
        }
    }
}

impl NodeTable {
    fn index(&self, path: &str) -> usize {
        self.picker.hash_one(path) as usize % SHARDS
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.shards[self.index(path)].get(path)
    }

    pub(crate) fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        let index = self.index(path);
        self.shards[index].get_mut(path)
    }

    pub(crate) fn contains_key(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// Adds a node under its path; returns the one it replaces.
    pub(crate) fn insert(&mut self, path: Arc<str>, node: Node) -> Option<Node> {
        let index = self.index(&path);
        let replaced = self.shards[index].insert(path, node);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    pub(crate) fn remove(&mut self, path: &str) -> Option<Node> {
        let index = self.index(path);
        let removed = self.shards[index].remove(path);
        self.len -= usize::from(removed.is_some());
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Every node, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.shards.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use zk_proto::StatPersisted;

    use super::*;

    #[test]
    fn nodes_are_found_counted_and_replaced_across_shards() {
        let mut table = NodeTable::default();
        let node = |path: &Arc<str>| Node::new(path.clone(), None, -1, StatPersisted::default());
        let paths: Vec<Arc<str>> = (0..1000).map(|n| format!("/n{n}").into()).collect();
        for path in &paths {
            assert!(table.insert(path.clone(), node(path)).is_none());
        }
        assert!(table.insert(paths[0].clone(), node(&paths[0])).is_some());
        assert_eq!((table.len(), table.iter().count()), (1000, 1000));
        assert!(table.shards.iter().filter(|shard| !shard.is_empty()).count() > SHARDS / 2, "they spread");
        assert!(paths.iter().all(|path| table.get(path).is_some_and(|node| node.path() == &**path)));
        assert!(table.remove("/n7").is_some() && table.remove("/n7").is_none());
        assert_eq!(table.len(), 999);
    }
}
