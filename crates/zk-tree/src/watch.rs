//! Watches: who wants to know about which path.
//!
//! Two tables, as in Apache: *data* holds data, exist and persistent watches, *child* holds child watches and
//! persistent ones once more. A deletion looks into both and tells each watcher once. Recursive watches stand in
//! the data table only, which is why they never hear of NodeChildrenChanged. One-shot watches are used up when
//! they fire, even if the ACL then keeps the event from the watcher (`WatchManager`, `NIOServerCnxn.process`).

mod table;

use std::sync::Arc;

use zk_proto::{Acl, ErrorCode, EventKind, SetWatchesRequest};

use crate::event::{ChangeKind, TreeEvent};
use crate::tree::Tree;
use table::{Modes, WatchTable};

/// A watcher: the connection to tell.
pub type WatcherId = u64;

/// The one-shot watches reads leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// getData, and exists whether the node is there or not.
    Data,
    /// getChildren and getChildren2.
    Child,
}

/// Which watches checkWatches and removeWatches mean (`Watcher.WatcherType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherType {
    Children,
    Data,
    Any,
    Persistent,
    PersistentRecursive,
}

impl WatcherType {
    fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            1 => Self::Children,
            2 => Self::Data,
            3 => Self::Any,
            4 => Self::Persistent,
            5 => Self::PersistentRecursive,
            _ => return None,
        })
    }
}

/// Numbers of `wchs`. Like Apache's they speak of the data table only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchSummary {
    pub connections: usize,
    pub paths: usize,
    pub watches: usize,
}

/// All watches of one server.
#[derive(Debug, Default)]
pub struct WatchManager {
    data: WatchTable,
    child: WatchTable,
}

impl WatchManager {
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves a one-shot watch.
    pub fn add(&mut self, path: &str, watcher: WatcherId, kind: WatchKind) {
        match kind {
            WatchKind::Data => self.data.add(path, watcher, Modes::STANDARD),
            WatchKind::Child => self.child.add(path, watcher, Modes::STANDARD),
        }
    }

    /// addWatch: mode 0 is persistent, 1 persistent recursive; Apache answers others with a marshalling error.
    pub fn add_watch(&mut self, path: &str, watcher: WatcherId, mode: i32) -> Result<(), ErrorCode> {
        match mode {
            0 => self.add_persistent(path, watcher),
            1 => self.data.add(path, watcher, Modes::RECURSIVE),
            _ => return Err(ErrorCode::MarshallingError),
        }
        Ok(())
    }

    fn add_persistent(&mut self, path: &str, watcher: WatcherId) {
        self.data.add(path, watcher, Modes::PERSISTENT);
        self.child.add(path, watcher, Modes::PERSISTENT);
    }

    /// Takes up the watches of a client that reconnected, and tells it through `out` what it missed. These
    /// events carry zxid -1 and pass no ACL check (`DataTree.setWatches`).
    pub fn set_watches(
        &mut self,
        tree: &Tree,
        request: &SetWatchesRequest,
        watcher: WatcherId,
        mut out: impl FnMut(EventKind, &str),
    ) {
        let since = request.relative_zxid;
        for path in &request.data {
            match tree.node(path).map(|node| node.stat_persisted().mzxid) {
                None => out(EventKind::NodeDeleted, path),
                Some(mzxid) if mzxid > since => out(EventKind::NodeDataChanged, path),
                Some(_) => self.data.add(path, watcher, Modes::STANDARD),
            }
        }
        for path in &request.exist {
            match tree.node(path) {
                Some(_) => out(EventKind::NodeCreated, path),
                None => self.data.add(path, watcher, Modes::STANDARD),
            }
        }
        for path in &request.child {
            match tree.node(path).map(|node| node.stat_persisted().pzxid) {
                None => out(EventKind::NodeDeleted, path),
                Some(pzxid) if pzxid > since => out(EventKind::NodeChildrenChanged, path),
                Some(_) => self.child.add(path, watcher, Modes::STANDARD),
            }
        }
        for path in &request.persistent {
            self.add_persistent(path, watcher);
        }
        for path in &request.persistent_recursive {
            self.data.add(path, watcher, Modes::RECURSIVE);
        }
    }

    /// checkWatches. `kind` is the raw watcher type; an unknown one is a marshalling error, as in Apache.
    pub fn check(&self, path: &str, watcher: WatcherId, kind: i32) -> Result<(), ErrorCode> {
        let found = match WatcherType::from_code(kind).ok_or(ErrorCode::MarshallingError)? {
            WatcherType::Children => self.child.contains(path, watcher, Modes::STANDARD),
            WatcherType::Data => self.data.contains(path, watcher, Modes::STANDARD),
            WatcherType::Persistent => self.data.contains(path, watcher, Modes::PERSISTENT),
            WatcherType::PersistentRecursive => self.data.contains(path, watcher, Modes::RECURSIVE),
            WatcherType::Any => {
                self.child.contains(path, watcher, Modes::ANY)
                    || self.data.contains(path, watcher, Modes::ANY)
            }
        };
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    /// removeWatches; takes away all watches of that kind the watcher has on the path.
    pub fn remove(&mut self, path: &str, watcher: WatcherId, kind: i32) -> Result<(), ErrorCode> {
        let removed = match WatcherType::from_code(kind).ok_or(ErrorCode::MarshallingError)? {
            WatcherType::Children => self.child.remove(path, watcher, Modes::STANDARD),
            WatcherType::Data => self.data.remove(path, watcher, Modes::STANDARD),
            WatcherType::Persistent => self.remove_from_both(path, watcher, Modes::PERSISTENT),
            WatcherType::PersistentRecursive => self.data.remove(path, watcher, Modes::RECURSIVE),
            WatcherType::Any => self.remove_from_both(path, watcher, Modes::ANY),
        };
        if removed { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    fn remove_from_both(&mut self, path: &str, watcher: WatcherId, modes: Modes) -> bool {
        let from_child = self.child.remove(path, watcher, modes);
        self.data.remove(path, watcher, modes) || from_child
    }

    /// The connection is gone.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        self.data.remove_watcher(watcher);
        self.child.remove_watcher(watcher);
    }

    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.child.is_empty()
    }

    /// Fires the watches a change concerns. `notify` gets watcher, kind, path, and the list of which the
    /// watcher needs READ (`None`: everybody may know); it decides with [`crate::AuthRules::permits`].
    pub fn on_event(
        &mut self,
        event: &TreeEvent,
        mut notify: impl FnMut(WatcherId, EventKind, &str, Option<&[Acl]>),
    ) {
        if self.is_empty() {
            return;
        }
        let path = if event.path.is_empty() { "/" } else { &event.path };
        let acl = event.acl.as_deref();
        match event.kind {
            ChangeKind::DataChanged => {
                self.data.trigger(path, |w| notify(w, EventKind::NodeDataChanged, path, acl));
                return;
            }
            ChangeKind::Created => self.data.trigger(path, |w| notify(w, EventKind::NodeCreated, path, acl)),
            ChangeKind::Deleted => {
                let mut told = Vec::new();
                self.data.trigger(path, |w| {
                    told.push(w);
                    notify(w, EventKind::NodeDeleted, path, acl);
                });
                self.child.trigger(path, |w| {
                    if !told.contains(&w) {
                        notify(w, EventKind::NodeDeleted, path, acl);
                    }
                });
            }
        }
        let parent = zk_proto::path::split(path).map_or("/", |(parent, _)| parent);
        let parent = if parent.is_empty() { "/" } else { parent };
        let acl = event.parent_acl.as_deref();
        self.child.trigger(parent, |w| notify(w, EventKind::NodeChildrenChanged, parent, acl));
    }

    /// `watch_count` of `mntr`: entries of both tables.
    pub fn count(&self) -> usize {
        self.data.watch_count() + self.child.watch_count()
    }

    pub fn summary(&self) -> WatchSummary {
        self.data.summary()
    }

    /// For `wchc`: watchers in order, each with its paths in order. Data table only, as the next.
    pub fn by_watcher(&self) -> Vec<(WatcherId, Vec<Arc<str>>)> {
        self.data.by_watcher()
    }

    /// For `wchp`: paths in order, each with its watchers in order.
    pub fn by_path(&self) -> Vec<(Arc<str>, Vec<WatcherId>)> {
        self.data.by_path()
    }
}

#[cfg(test)]
mod tests;
