//! One table of watches: by path for firing, by watcher for taking a connection's watches away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{WatchSummary, WatcherId};

/// Ways one watcher may watch one path; they add up (`WatchStats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes(u8);

impl Modes {
    /// Fires once.
    pub const STANDARD: Self = Self(1);
    pub const PERSISTENT: Self = Self(2);
    /// Also for everything below the path.
    pub const RECURSIVE: Self = Self(4);
    pub const ANY: Self = Self(7);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn is_none(self) -> bool {
        self.0 == 0
    }
}

#[derive(Debug, Default)]
pub(super) struct WatchTable {
    /// Watchers of a path, sorted.
    by_path: HashMap<Arc<str>, Vec<(WatcherId, Modes)>, RandomState>,
    /// An entry stays, perhaps empty, until its connection goes: `wchs` counts connections that way.
    by_watcher: HashMap<WatcherId, HashSet<Arc<str>, RandomState>, RandomState>,
    /// Recursive watches there are; without any, firing need not walk up the tree.
    recursive: usize,
}

impl WatchTable {
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    pub fn add(&mut self, path: &str, watcher: WatcherId, mode: Modes) {
        let path = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => Arc::from(path),
        };
        let watchers = self.by_path.entry(path.clone()).or_default();
        let added_recursive = match watchers.binary_search_by_key(&watcher, |(id, _)| *id) {
            Ok(at) => {
                let before = watchers[at].1;
                watchers[at].1 = before.with(mode);
                mode.has(Modes::RECURSIVE) && !before.has(Modes::RECURSIVE)
            }
            Err(at) => {
                watchers.insert(at, (watcher, mode));
                self.by_watcher.entry(watcher).or_default().insert(path);
                mode.has(Modes::RECURSIVE)
            }
        };
        self.recursive += usize::from(added_recursive);
    }

    pub fn contains(&self, path: &str, watcher: WatcherId, modes: Modes) -> bool {
        self.by_path.get(path).is_some_and(|watchers| {
            watchers.binary_search_by_key(&watcher, |(id, _)| *id).is_ok_and(|at| watchers[at].1.has(modes))
        })
    }

    /// Takes modes away; tells whether there was one of them.
    pub fn remove(&mut self, path: &str, watcher: WatcherId, modes: Modes) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else { return false };
        let Ok(at) = watchers.binary_search_by_key(&watcher, |(id, _)| *id) else { return false };
        let before = watchers[at].1;
        let after = before.without(modes);
        if before.has(Modes::RECURSIVE) && !after.has(Modes::RECURSIVE) {
            self.recursive -= 1;
        }
        if !after.is_none() {
            watchers[at].1 = after;
            return before != after;
        }
        watchers.remove(at);
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
        if let Some(paths) = self.by_watcher.get_mut(&watcher) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_watcher.remove(&watcher);
            }
        }
        true
    }

    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        for path in self.by_watcher.remove(&watcher).unwrap_or_default() {
            let Some(watchers) = self.by_path.get_mut(&path) else { continue };
            if let Ok(at) = watchers.binary_search_by_key(&watcher, |(id, _)| *id) {
                let (_, modes) = watchers.remove(at);
                self.recursive -= usize::from(modes.has(Modes::RECURSIVE));
            }
            if watchers.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    /// Fires what watches `path`, each watcher once, in order of their ids; one-shot watches are used up.
    pub fn trigger(&mut self, path: &str, mut fire: impl FnMut(WatcherId)) {
        if self.recursive > 0 {
            let mut fired = self.recursive_above(path);
            self.use_up(path, |watcher| fired.push(watcher));
            fired.sort_unstable();
            fired.dedup();
            fired.into_iter().for_each(fire);
        } else {
            self.use_up(path, &mut fire);
        }
    }

    fn use_up(&mut self, path: &str, mut fire: impl FnMut(WatcherId)) {
        let Some(watchers) = self.by_path.get_mut(path) else { return };
        let by_watcher = &mut self.by_watcher;
        watchers.retain_mut(|(watcher, modes)| {
            fire(*watcher);
            *modes = modes.without(Modes::STANDARD);
            if modes.is_none()
                && let Some(paths) = by_watcher.get_mut(watcher)
            {
                paths.remove(path);
            }
            !modes.is_none()
        });
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// Recursive watchers of the paths above.
    fn recursive_above(&self, path: &str) -> Vec<WatcherId> {
        let mut found = Vec::new();
        let mut at = path;
        while at != "/"
            && let Some((parent, _)) = zk_proto::path::split(at)
        {
            at = if parent.is_empty() { "/" } else { parent };
            let watchers = self.by_path.get(at).into_iter().flatten();
            found.extend(watchers.filter(|(_, modes)| modes.has(Modes::RECURSIVE)).map(|(id, _)| *id));
        }
        found
    }

    pub fn watch_count(&self) -> usize {
        self.by_path.values().map(Vec::len).sum()
    }

    pub fn summary(&self) -> WatchSummary {
        WatchSummary {
            connections: self.by_watcher.len(),
            paths: self.by_path.len(),
            watches: self.by_watcher.values().map(HashSet::len).sum(),
        }
    }

    pub fn by_watcher(&self) -> Vec<(WatcherId, Vec<Arc<str>>)> {
        let sorted = |paths: &HashSet<Arc<str>, RandomState>| {
            let mut paths: Vec<_> = paths.iter().cloned().collect();
            paths.sort_unstable();
            paths
        };
        let mut all: Vec<_> = self.by_watcher.iter().map(|(id, paths)| (*id, sorted(paths))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    pub fn by_path(&self) -> Vec<(Arc<str>, Vec<WatcherId>)> {
        let ids = |watchers: &[(WatcherId, Modes)]| watchers.iter().map(|(id, _)| *id).collect();
        let mut all: Vec<_> = self.by_path.iter().map(|(path, w)| (path.clone(), ids(w))).collect();
        all.sort_unstable();
        all
    }

    /// Both directions agree, and recursive watches are counted right.
    #[cfg(test)]
    pub fn check(&self) {
        let mut recursive = 0;
        for (path, watchers) in &self.by_path {
            assert!(!watchers.is_empty());
            assert!(watchers.is_sorted_by(|a, b| a.0 < b.0));
            for (watcher, modes) in watchers {
                assert!(!modes.is_none());
                assert!(self.by_watcher[watcher].contains(path));
                recursive += usize::from(modes.has(Modes::RECURSIVE));
            }
        }
        let listed: usize = self.by_watcher.values().map(HashSet::len).sum();
        assert_eq!(listed, self.watch_count());
        assert_eq!(recursive, self.recursive);
    }
}
