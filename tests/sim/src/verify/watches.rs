//! Watches: each fires before its session can see the change, none is lost, none fires for nothing.

use std::collections::BTreeMap;

use zk_proto::{ErrorCode, EventKind, Request};

use crate::broken;
use crate::history::{Outcome, Seen};
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    Data,
    Exist,
    Child,
}

/// What changed, by path, ascending.
#[derive(Debug, Default)]
pub struct Changes {
    data: BTreeMap<String, Vec<(i64, EventKind)>>,
    child: BTreeMap<String, Vec<(i64, EventKind)>>,
}

impl Changes {
    pub fn add(&mut self, zxid: i64, kind: EventKind, path: &str) {
        self.data.entry(path.to_owned()).or_default().push((zxid, kind));
        if kind == EventKind::NodeDeleted {
            self.child.entry(path.to_owned()).or_default().push((zxid, kind));
        }
        if kind != EventKind::NodeDataChanged {
            let parent = zk_proto::path::split(path).map_or("/", |(parent, _)| parent);
            let parent = if parent.is_empty() { "/" } else { parent };
            let changes = self.child.entry(parent.to_owned()).or_default();
            changes.push((zxid, EventKind::NodeChildrenChanged));
        }
    }

    fn of(&self, watch: Watch, path: &str) -> &[(i64, EventKind)] {
        let table = if watch == Watch::Child { &self.child } else { &self.data };
        table.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    fn between(&self, watch: Watch, path: &str, after: i64, upto: i64) -> Option<(i64, EventKind)> {
        self.of(watch, path).iter().find(|(zxid, _)| *zxid > after && *zxid <= upto).copied()
    }

    fn exists_at(&self, path: &str, zxid: i64) -> bool {
        let last = self.of(Watch::Data, path).iter().rev().find(|(z, _)| *z <= zxid);
        last.is_some_and(|(_, kind)| *kind != EventKind::NodeDeleted)
    }

    /// Follows one client's watches through all it saw.
    pub fn check_client(&self, world: &World, client: usize) {
        let mut follower = Follower { changes: self, client, watches: BTreeMap::new(), fired: Vec::new() };
        for seen in &world.history.seen[client] {
            follower.see(world, seen);
        }
    }
}

struct Follower<'a> {
    changes: &'a Changes,
    client: usize,
    /// By path, with the zxid the watch has seen.
    watches: BTreeMap<(Watch, String), i64>,
    /// Events since the last answer: the change lies between what the watch had seen and what the answer shows.
    fired: Vec<(Watch, String, i64)>,
}

impl Follower<'_> {
    fn see(&mut self, world: &World, seen: &Seen) {
        match seen {
            Seen::NewSession => {
                self.watches.clear();
                self.fired.clear();
            }
            Seen::Pong { zxid } => self.shows(*zxid),
            Seen::Event { kind, path } => self.fired(*kind, path),
            Seen::Answer { op } => {
                let op = &world.history.ops[*op];
                let Outcome::Answered { zxid, err, .. } = op.outcome else { return };
                self.shows(zxid);
                self.leave(&op.request, err, zxid);
            }
            Seen::WatchesSet { zxid, data, exist, child } => {
                self.justified(*zxid);
                for (watch, paths) in [(Watch::Data, data), (Watch::Exist, exist), (Watch::Child, child)] {
                    for path in paths {
                        self.set_again(watch, path, *zxid);
                    }
                }
            }
        }
    }

    /// The session is shown that state: what changed up to it must have been told.
    fn shows(&mut self, zxid: i64) {
        self.justified(zxid);
        for ((watch, path), since) in &self.watches {
            if let Some((changed, kind)) = self.changes.between(*watch, path, *since, zxid) {
                broken!(
                    "WatchBeforeData",
                    "client {} is shown 0x{zxid:x}; its {watch:?} watch on {path} of 0x{since:x} was not told of \
                     {kind:?} at 0x{changed:x}",
                    self.client
                );
            }
        }
    }

    fn justified(&mut self, zxid: i64) {
        for (watch, path, since) in self.fired.drain(..) {
            if self.changes.between(watch, &path, since, zxid).is_none() {
                broken!(
                    "WatchForNothing",
                    "client {}'s {watch:?} watch on {path} fired; nothing changed from 0x{since:x} to 0x{zxid:x}",
                    self.client
                );
            }
        }
    }

    fn leave(&mut self, request: &Request, err: i32, zxid: i64) {
        let watch = match request {
            Request::GetData { path, watch: true } if err == 0 => (Watch::Data, path),
            Request::Exists { path, watch: true } if err == 0 => (Watch::Data, path),
            Request::Exists { path, watch: true } if err == ErrorCode::NoNode.code() => (Watch::Exist, path),
            Request::GetChildren { path, watch: true } if err == 0 => (Watch::Child, path),
            _ => return,
        };
        self.watches.entry((watch.0, watch.1.clone())).or_insert(zxid);
    }

    fn fired(&mut self, kind: EventKind, path: &str) {
        let watches: &[Watch] = match kind {
            EventKind::NodeChildrenChanged => &[Watch::Child],
            EventKind::NodeDeleted => &[Watch::Data, Watch::Exist, Watch::Child],
            _ => &[Watch::Data, Watch::Exist],
        };
        let mut was_set = false;
        for watch in watches {
            if let Some(since) = self.watches.remove(&(*watch, path.to_owned())) {
                was_set = true;
                self.fired.push((*watch, path.to_owned(), since));
            }
        }
        if !was_set {
            broken!("WatchForNothing", "client {} hears {kind:?} on {path} and watches nothing", self.client);
        }
    }

    /// Events for what was missed have come before the answer; what is left is armed anew.
    fn set_again(&mut self, watch: Watch, path: &str, zxid: i64) {
        let Some(since) = self.watches.get_mut(&(watch, path.to_owned())) else { return };
        let missed = match watch {
            Watch::Exist => self.changes.exists_at(path, zxid),
            _ => self.changes.between(watch, path, *since, zxid).is_some(),
        };
        if missed {
            broken!("WatchLost", "client {}: {watch:?} on {path} missed a change by 0x{zxid:x}", self.client);
        }
        *since = (*since).max(zxid);
    }
}
