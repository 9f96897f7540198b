//! Which watches the server holds for this session, so that another server can be told after a reconnect.
//!
//! Paths are the server's (with chroot). A watch is noted when its reply comes and forgotten when it fires.

use std::collections::BTreeSet;

use zk_proto::{EventKind, SetWatchesRequest};

/// The server refuses larger frames; Java's client splits at the same size.
const SET_WATCHES_BYTES_MAX: usize = 128 << 10;

/// Which watches of a path to remove (`Watcher.WatcherType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum WatchType {
    Children = 1,
    /// Set by `get_data` and `exists`.
    Data = 2,
    Any = 3,
}

/// How a watch that stays is added (`AddWatchMode`), from 3.6 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum AddWatchMode {
    /// For the node and its list of children.
    Persistent = 0,
    /// For the node and everything below it; no children events.
    PersistentRecursive = 1,
}

#[derive(Debug, Default)]
pub(crate) struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    pub(crate) fn add_data(&mut self, path: String) {
        self.data.insert(path);
    }

    /// On a node that is not there.
    pub(crate) fn add_exist(&mut self, path: String) {
        self.exist.insert(path);
    }

    pub(crate) fn add_child(&mut self, path: String) {
        self.child.insert(path);
    }

    pub(crate) fn add_persistent(&mut self, path: String, mode: AddWatchMode) {
        match mode {
            AddWatchMode::Persistent => self.persistent.insert(path),
            AddWatchMode::PersistentRecursive => self.recursive.insert(path),
        };
    }

    pub(crate) fn has_persistent(&self) -> bool {
        !self.persistent.is_empty() || !self.recursive.is_empty()
    }

    /// Forgets the one-shot watches an event used up.
    pub(crate) fn fired(&mut self, kind: EventKind, path: &str) {
        match kind {
            EventKind::NodeCreated | EventKind::NodeDataChanged => {
                self.data.remove(path);
                self.exist.remove(path);
            }
            EventKind::NodeChildrenChanged => {
                self.child.remove(path);
            }
            EventKind::NodeDeleted => {
                self.data.remove(path);
                self.exist.remove(path);
                self.child.remove(path);
            }
            _ => {}
        }
    }

    /// Forgets the watches the server removed on request, and returns the events that tell so: the server sends none.
    pub(crate) fn removed(&mut self, kind: WatchType, path: &str) -> Vec<EventKind> {
        let mut events = Vec::new();
        if kind != WatchType::Data && self.child.remove(path) {
            events.push(EventKind::ChildWatchRemoved);
        }
        if kind != WatchType::Children && (self.data.remove(path) | self.exist.remove(path)) {
            events.push(EventKind::DataWatchRemoved);
        }
        // `|` on purpose: both lists lose the path.
        if kind == WatchType::Any && (self.persistent.remove(path) | self.recursive.remove(path)) {
            events.push(EventKind::PersistentWatchRemoved);
        }
        events
    }

    /// Forgets all persistent watches and returns their paths.
    pub(crate) fn take_persistent(&mut self) -> BTreeSet<String> {
        let mut paths = std::mem::take(&mut self.persistent);
        paths.append(&mut self.recursive);
        paths
    }

    /// Everything that is still set, in requests of bounded size. Each is for setWatches2 if it has persistent
    /// watches, else for setWatches, which every release knows.
    pub(crate) fn to_requests(&self, relative_zxid: i64) -> Vec<SetWatchesRequest> {
        type Field = fn(&mut SetWatchesRequest) -> &mut Vec<String>;
        let lists: [(&BTreeSet<String>, Field); 5] = [
            (&self.data, |r| &mut r.data),
            (&self.exist, |r| &mut r.exist),
            (&self.child, |r| &mut r.child),
            (&self.persistent, |r| &mut r.persistent),
            (&self.recursive, |r| &mut r.persistent_recursive),
        ];
        let mut requests: Vec<SetWatchesRequest> = Vec::new();
        let mut bytes = usize::MAX;
        for (paths, field) in lists {
            for path in paths {
                if bytes > SET_WATCHES_BYTES_MAX {
                    requests.push(SetWatchesRequest { relative_zxid, ..SetWatchesRequest::default() });
                    bytes = 0;
                }
                let request = requests.last_mut().expect("one was pushed for the first path");
                field(request).push(path.clone());
                bytes += path.len() + 4;
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_node_uses_up_every_one_shot_watch_but_no_persistent_one() {
        let mut watches = Watches::default();
        watches.add_data("/a".into());
        watches.add_child("/a".into());
        watches.add_persistent("/a".into(), AddWatchMode::PersistentRecursive);
        watches.fired(EventKind::NodeDeleted, "/a");
        let left = watches.to_requests(5);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].persistent_recursive, ["/a"]);
        assert!(left[0].data.is_empty() && left[0].child.is_empty());
    }

    #[test]
    fn removal_tells_what_was_there() {
        let mut watches = Watches::default();
        watches.add_exist("/a".into());
        watches.add_child("/a".into());
        assert_eq!(watches.removed(WatchType::Data, "/a"), [EventKind::DataWatchRemoved]);
        assert_eq!(watches.removed(WatchType::Any, "/a"), [EventKind::ChildWatchRemoved]);
        assert!(watches.to_requests(0).is_empty());
    }

    #[test]
    fn many_watches_are_split_into_frames_a_server_takes() {
        let mut watches = Watches::default();
        for i in 0..20_000 {
            watches.add_data(format!("/some/path/{i}"));
        }
        let requests = watches.to_requests(9);
        assert!(requests.len() > 1);
        assert_eq!(requests.iter().map(|r| r.data.len()).sum::<usize>(), 20_000);
        assert!(requests.iter().all(|r| r.relative_zxid == 9));
    }
}
