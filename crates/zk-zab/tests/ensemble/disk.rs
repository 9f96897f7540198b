//! A disk in memory: what is durable, and what is still queued and dies with the process.

use std::collections::VecDeque;

use bytes::Bytes;
use zk_zab::{Entry, Stable, Store};

/// The tree of this world: the transactions applied, in order.
pub type Tree = Vec<(i64, Bytes)>;

#[derive(Debug, Clone)]
pub enum Command {
    Store(Store),
    /// A snapshot from the leader.
    Install {
        zxid: i64,
        tree: Tree,
    },
}

#[derive(Debug, Default)]
pub struct Disk {
    pub accepted: i64,
    pub current: i64,
    pub snapshot: Option<(i64, Tree)>,
    pub log: Vec<Entry>,
    pub queue: VecDeque<Command>,
    /// The history is broken until a leader has synchronised it.
    pub damaged: bool,
    /// What the configuration file says, and `*.dynamic.next`.
    pub config: Option<zk_proto::quorum::Config>,
    pub seen: Option<zk_proto::quorum::Config>,
}

impl Disk {
    pub fn last(&self) -> i64 {
        let logged = self.log.last().map_or(0, |entry| entry.zxid);
        logged.max(self.snapshot.as_ref().map_or(0, |(zxid, _)| *zxid))
    }

    /// The tree as recovery makes it: the snapshot and everything logged after it (rule 7).
    pub fn tree(&self) -> Tree {
        let (base, mut tree) = self.snapshot.clone().unwrap_or_default();
        tree.extend(self.log.iter().filter(|e| e.zxid > base).map(|e| (e.zxid, e.payload.clone())));
        tree
    }

    pub fn recent(&self, count: usize) -> Vec<Entry> {
        if self.log.last().map(|e| e.zxid) != Some(self.last()) {
            return Vec::new();
        }
        self.log[self.log.len().saturating_sub(count)..].to_vec()
    }

    /// The entries after `after`, if the log proves that it holds them all.
    pub fn read_after(&self, after: i64, upto: i64) -> Option<Vec<Entry>> {
        self.log.iter().any(|entry| entry.zxid == after).then(|| {
            self.log.iter().filter(|entry| entry.zxid > after && entry.zxid <= upto).cloned().collect()
        })
    }

    pub fn stable(&self, config: zk_proto::quorum::Config, count: usize) -> Stable {
        Stable {
            accepted_epoch: self.accepted,
            current_epoch: self.current,
            last_zxid: (!self.damaged).then(|| self.last()),
            recent: self.recent(count),
            config: self.config.clone().unwrap_or(config),
            last_seen_config: self.seen.clone(),
        }
    }

    /// Writes a snapshot of what is durable and drops the log before it, as purging does.
    pub fn compact(&mut self) {
        self.snapshot = Some((self.last(), self.tree()));
        self.log.clear();
    }
}
