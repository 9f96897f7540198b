//! A server's disk in memory: what survives a crash, and the commands that are not done yet.

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::quorum::Config;
use zk_proto::txn::TxnEntry;
use zk_proto::{Acl, StatPersisted};
use zk_tree::{SnapshotCursor, SnapshotHead, Tree, TreeBuilder, TreeConfig};
use zk_zab::{Entry, Stable, Store, Stored};

/// The super user's password is `test`.
fn tree_config() -> TreeConfig {
    let mut config = TreeConfig::default();
    config.auth.super_digest = Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".to_owned());
    config
}

/// A whole tree as data.
#[derive(Debug, Clone)]
pub(super) struct Image {
    head: SnapshotHead,
    nodes: Vec<(String, Option<Bytes>, i64, StatPersisted)>,
}

impl Image {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut nodes = Vec::new();
        tree.snapshot_chunk(&mut SnapshotCursor::default(), usize::MAX, &mut |path, data, acl, stat| {
            nodes.push((path.to_owned(), data.cloned(), acl, *stat));
        });
        Self { head: tree.snapshot_head(), nodes }
    }

    fn tree(&self, zxid: i64) -> Tree {
        let mut builder = TreeBuilder::new(tree_config());
        for (id, timeout_ms) in &self.head.sessions {
            builder.session(*id, *timeout_ms);
        }
        for (id, list) in &self.head.acls {
            let list: &[Acl] = list;
            builder.acl(*id, list);
        }
        for (path, data, acl, stat) in &self.nodes {
            builder.node(path, data.clone(), *acl, *stat).unwrap();
        }
        builder.finish(zxid).unwrap()
    }

    /// What servers must agree on: all nodes but those each server keeps for itself.
    pub(super) fn shared(&self) -> Vec<String> {
        let own = |path: &str| path.starts_with("/zookeeper/");
        let nodes = self.nodes.iter().filter(|(path, ..)| !own(path));
        let lines = nodes.map(|(path, data, _, stat)| format!("{path:?} {data:?} {stat:?}"));
        lines.chain(self.head.sessions.iter().map(|s| format!("{s:?}"))).collect()
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Store(Store),
    Install { zxid: i64, image: Image },
}

/// What is answered when a command is done.
pub(super) enum Done {
    Stored(Stored),
    Reloaded(Box<Tree>, Stored),
}

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) accepted_epoch: i64,
    pub(super) current_epoch: i64,
    pub(super) snapshot: Option<(i64, Image)>,
    pub(super) log: Vec<Entry>,
    pub(super) config: Config,
    pub(super) seen: Option<Config>,
    pub(super) queue: VecDeque<Command>,
    /// Nothing is carried out.
    pub(super) is_stuck: bool,
}

impl Disk {
    pub(super) fn new(config: Config) -> Self {
        Self {
            accepted_epoch: 0,
            current_epoch: 0,
            snapshot: None,
            log: Vec::new(),
            config,
            seen: None,
            queue: VecDeque::new(),
            is_stuck: false,
        }
    }

    pub(super) fn tree(&self) -> Tree {
        let (from, mut tree) = match &self.snapshot {
            Some((zxid, image)) => (*zxid, image.tree(*zxid)),
            None => (0, Tree::new(tree_config())),
        };
        for entry in self.log.iter().filter(|entry| entry.zxid > from) {
            let TxnEntry { header, txn, .. } = TxnEntry::decode(&entry.payload).unwrap();
            tree.apply(&header, &txn, &mut Vec::new());
        }
        tree
    }

    pub(super) fn last(&self) -> i64 {
        let snapshot = self.snapshot.as_ref().map_or(0, |(zxid, _)| *zxid);
        self.log.last().map_or(snapshot, |entry| entry.zxid.max(snapshot))
    }

    pub(super) fn recent(&self) -> Vec<Entry> {
        self.log[self.log.len().saturating_sub(100)..].to_vec()
    }

    pub(super) fn stable(&self) -> Stable {
        Stable {
            accepted_epoch: self.accepted_epoch,
            current_epoch: self.current_epoch,
            last_zxid: Some(self.last()),
            recent: self.recent(),
            config: self.config.clone(),
            last_seen_config: self.seen.clone(),
        }
    }

    pub(super) fn void(&self) -> Done {
        Done::Reloaded(
            Box::new(self.tree()),
            Stored::Void { last_zxid: Some(self.last()), recent: self.recent() },
        )
    }

    /// Carries out the next command, and the appends that follow an append with it.
    pub(super) fn step(&mut self) -> Option<Done> {
        if self.is_stuck {
            return None;
        }
        Some(match self.queue.pop_front()? {
            Command::Store(Store::Append(entry)) => {
                self.log.push(entry);
                while let Some(Command::Store(Store::Append(entry))) = self.queue.front() {
                    self.log.push(entry.clone());
                    self.queue.pop_front();
                }
                Done::Stored(Stored::Durable { zxid: self.last() })
            }
            Command::Store(Store::AcceptedEpoch { epoch }) => {
                self.accepted_epoch = epoch;
                Done::Stored(Stored::AcceptedEpoch { epoch })
            }
            Command::Store(Store::CurrentEpoch { epoch }) => {
                self.current_epoch = epoch;
                Done::Stored(Stored::CurrentEpoch { epoch })
            }
            Command::Store(Store::Truncate { zxid }) => {
                self.log.retain(|entry| entry.zxid <= zxid);
                let stored = Stored::Truncated { last_zxid: self.last(), recent: self.recent() };
                Done::Reloaded(Box::new(self.tree()), stored)
            }
            Command::Install { zxid, image } => {
                self.snapshot = Some((zxid, image));
                self.log.clear();
                Done::Reloaded(Box::new(self.tree()), Stored::SnapshotInstalled { zxid })
            }
        })
    }
}
