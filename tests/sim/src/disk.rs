//! One server's disk: what is synced, what is on its way, and what a crash leaves of it.
//!
//! Commands are carried out in order, consecutive appends in one group commit. A crash keeps everything reported
//! done, a prefix of the batch under way, nothing else; a torn last entry is cut at recovery, which is the same.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use fastrand::Rng;
use zk_proto::StatPersisted;
use zk_proto::quorum::Config;
use zk_proto::quorum::zxid;
use zk_proto::txn::TxnEntry;
use zk_tree::{AclList, SnapshotCursor, SnapshotHead, Tree, TreeBuilder, TreeConfig};
use zk_zab::{Entry, LinkId};

use crate::bugs::{self, Bug};

/// Entries in one group commit.
const BATCH_MAX: usize = 64;

/// One node of a snapshot.
#[derive(Debug, Clone)]
pub struct ImageNode {
    pub path: String,
    pub data: Option<Bytes>,
    pub acl: i64,
    pub stat: StatPersisted,
}

/// A snapshot: in a file, or on its way to a learner.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub zxid: i64,
    pub sessions: Vec<(i64, i32)>,
    pub acls: Vec<(i64, AclList)>,
    pub nodes: Vec<ImageNode>,
    /// For the oracle: see [`Disk::history`].
    pub history: Vec<i64>,
}

impl Image {
    pub fn begin(head: SnapshotHead) -> Self {
        let SnapshotHead { last_zxid: zxid, sessions, acls } = head;
        Self { zxid, sessions, acls, ..Self::default() }
    }

    /// The next nodes of a tree that may have changed since the last call; true at the end.
    pub fn read(tree: &Tree, cursor: &mut SnapshotCursor, max: usize, nodes: &mut Vec<ImageNode>) -> bool {
        tree.snapshot_chunk(cursor, max, &mut |path, data, acl, stat| {
            nodes.push(ImageNode { path: path.to_owned(), data: data.cloned(), acl, stat: *stat });
        })
    }

    /// All of a tree that stands still.
    pub fn of(tree: &Tree) -> Self {
        let mut image = Self::begin(tree.snapshot_head());
        Self::read(tree, &mut SnapshotCursor::default(), usize::MAX, &mut image.nodes);
        image
    }

    pub fn build(&self, config: &TreeConfig) -> Tree {
        let mut builder = TreeBuilder::new(config.clone());
        for (id, timeout_ms) in &self.sessions {
            builder.session(*id, *timeout_ms);
        }
        for (id, list) in &self.acls {
            builder.acl(*id, list);
        }
        for node in &self.nodes {
            builder.node(&node.path, node.data.clone(), node.acl, node.stat).expect("parents come first");
        }
        builder.finish(self.zxid).expect("a root comes first")
    }
}

/// Work for the disk.
#[derive(Debug, Clone)]
pub enum Command {
    Append(Entry),
    AcceptedEpoch(i64),
    CurrentEpoch(i64),
    Truncate(i64),
    /// A local snapshot.
    Snapshot(Rc<Image>),
    /// A leader's snapshot, in the place of everything there was.
    Install(Rc<Image>),
    ReadLog {
        link: LinkId,
        after: i64,
        upto: i64,
    },
}

/// What was done.
#[derive(Debug)]
pub enum Done {
    Durable { zxid: i64, count: u64 },
    AcceptedEpoch(i64),
    CurrentEpoch(i64),
    Truncated { zxid: i64, is_whole: bool },
    Snapshot,
    Installed(i64),
    Read { link: LinkId, entries: Option<Vec<Entry>> },
}

/// What a server finds when it starts.
pub struct Recovered {
    pub tree: Tree,
    /// `None`: damaged.
    pub last_zxid: Option<i64>,
    pub recent: Vec<Entry>,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Disk {
    /// Synced entries.
    pub log: Vec<Entry>,
    /// What the log begins after.
    pub base: i64,
    /// For the oracle: every transaction up to the end of the log, also those that only a snapshot holds.
    pub history: Vec<i64>,
    /// Oldest first.
    pub snapshots: Vec<Rc<Image>>,
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// What was there was set aside and no leader has replaced it yet.
    pub is_untrusted: bool,
    /// An entry that is not what was written; found at the next start.
    pub flipped: Option<i64>,
    pub config: Config,
    pub last_seen_config: Option<Config>,
    pub queue: VecDeque<Command>,
    /// Under way.
    pub batch: Vec<Command>,
    pub bug: Option<Bug>,
    /// What only a bug has.
    pub buggy: Buggy,
}

/// What a disk with a historic bug remembers.
#[derive(Debug, Default)]
pub struct Buggy {
    /// What a crash brings back in the place of a snapshot that was only in memory.
    before_snapshot: Option<Box<Disk>>,
    /// Entries that were only in memory.
    pub volatile: Vec<i64>,
    /// Entries the last crash lost, still in a memory that survived it.
    pub lost: Vec<Entry>,
    /// Where memory, and not the log, was cut.
    kept: Option<i64>,
    /// A log file was begun and got no record.
    pub has_empty_log: bool,
}

impl Disk {
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// max(last record of the log, newest snapshot): what a vote may claim.
    pub fn last_zxid(&self) -> i64 {
        let log = self.log.last().map_or(0, |e| e.zxid);
        log.max(self.snapshots.last().map_or(0, |s| s.zxid))
    }

    /// The same with what is on its way.
    pub fn last_zxid_written(&self) -> i64 {
        self.under_way().fold(self.last_zxid(), |last, command| match command {
            Command::Append(entry) => entry.zxid,
            Command::Truncate(zxid) => last.min(*zxid),
            Command::Install(image) => image.zxid,
            _ => last,
        })
    }

    fn under_way(&self) -> impl Iterator<Item = &Command> {
        self.batch.iter().chain(&self.queue)
    }

    /// The entry with that zxid, synced or on its way.
    pub fn entry(&self, zxid: i64) -> Option<&Entry> {
        if let Ok(at) = self.log.binary_search_by_key(&zxid, |e| e.zxid) {
            return Some(&self.log[at]);
        }
        self.under_way().find_map(|command| match command {
            Command::Append(entry) if entry.zxid == zxid => Some(entry),
            _ => None,
        })
    }

    /// The history after one zxid up to another, synced or on its way.
    pub fn zxids(&self, after: i64, upto: i64) -> Vec<i64> {
        let from = self.history.partition_point(|z| *z <= after);
        let mut found = self.history[from..].to_vec();
        for command in self.under_way() {
            match command {
                Command::Append(entry) if entry.zxid > after => found.push(entry.zxid),
                Command::Truncate(zxid) => found.retain(|z| z <= zxid),
                Command::Install(image) => {
                    found = image.history.iter().copied().filter(|z| *z > after).collect();
                }
                _ => {}
            }
        }
        found.retain(|z| *z <= upto);
        found
    }

    /// Takes the next batch, if none is under way.
    pub fn start(&mut self) -> bool {
        if !self.batch.is_empty() {
            return false;
        }
        while self.batch.len() < BATCH_MAX {
            let is_append = matches!(self.queue.front(), Some(Command::Append(_)));
            if !is_append && !self.batch.is_empty() {
                break;
            }
            let Some(command) = self.queue.pop_front() else { break };
            self.batch.push(command);
            if !is_append {
                break;
            }
        }
        !self.batch.is_empty()
    }

    /// The batch is done.
    pub fn finish(&mut self, snapshots_kept: usize, read_max: usize) -> Vec<Done> {
        let batch = std::mem::take(&mut self.batch);
        let mut done = Vec::new();
        let mut appended = 0;
        for command in batch {
            appended += u64::from(matches!(command, Command::Append(_)));
            done.extend(self.carry_out(command, snapshots_kept, read_max));
        }
        if appended > 0
            && let Some(last) = self.log.last()
        {
            done.push(Done::Durable { zxid: last.zxid, count: appended });
        }
        done
    }

    fn carry_out(&mut self, command: Command, snapshots_kept: usize, read_max: usize) -> Option<Done> {
        Some(match command {
            Command::Append(entry) => {
                self.history.push(entry.zxid);
                self.log.push(entry);
                return None;
            }
            Command::AcceptedEpoch(epoch) => {
                self.accepted_epoch = epoch;
                Done::AcceptedEpoch(epoch)
            }
            Command::CurrentEpoch(epoch) => {
                self.current_epoch = epoch;
                self.is_untrusted = false;
                Done::CurrentEpoch(epoch)
            }
            Command::Truncate(zxid) => Done::Truncated { zxid, is_whole: self.truncate(zxid) },
            Command::Snapshot(image) => {
                self.keep_snapshot(image, snapshots_kept);
                Done::Snapshot
            }
            Command::Install(image) => {
                let zxid = image.zxid;
                if self.bug == Some(Bug::SnapshotOnlyInMemory) {
                    self.buggy.before_snapshot = Some(Box::new(self.copy()));
                }
                self.log.clear();
                self.base = zxid;
                self.history.clone_from(&image.history);
                self.snapshots = vec![image];
                self.flipped = None;
                self.is_untrusted = false;
                Done::Installed(zxid)
            }
            Command::ReadLog { link, after, upto } => {
                Done::Read { link, entries: self.read(after, upto, read_max) }
            }
        })
    }

    /// As `zk_store::DataDir::truncate`: nothing is touched unless a snapshot and the log behind it reach that zxid.
    fn truncate(&mut self, zxid: i64) -> bool {
        let from = self.snapshots.iter().rev().map(|s| s.zxid).find(|z| *z <= zxid);
        let Some(from) = from.or((self.base == 0).then_some(0)) else { return false };
        let kept = self.log.iter().map(|e| e.zxid).filter(|z| *z <= zxid);
        if kept.last().unwrap_or(from).max(from) != zxid && zxid::counter(zxid) != 0 {
            return false;
        }
        if self.bug == Some(Bug::UncommittedLogKept) {
            self.buggy.kept = Some(zxid);
            return true;
        }
        self.cut(zxid);
        if self.bug == Some(Bug::TruncationTooLong) {
            self.log.pop();
            self.history.pop();
        }
        true
    }

    fn cut(&mut self, zxid: i64) {
        self.snapshots.retain(|s| s.zxid <= zxid);
        self.log.retain(|e| e.zxid <= zxid);
        self.history.retain(|z| *z <= zxid);
    }

    fn keep_snapshot(&mut self, image: Rc<Image>, kept: usize) {
        (self.buggy.before_snapshot, self.buggy.volatile) = (None, Vec::new());
        self.snapshots.retain(|s| s.zxid != image.zxid);
        self.snapshots.push(image);
        self.snapshots.sort_by_key(|s| s.zxid);
        if self.snapshots.len() > kept {
            self.snapshots.drain(..self.snapshots.len() - kept);
            self.base = self.snapshots[0].zxid;
            self.log.retain(|e| e.zxid > self.base && self.bug != Some(Bug::PurgeTooMuch));
        }
    }

    /// As `zk_store::DataDir::read_after`: everything between, if the log provably reaches back and has no gap.
    fn read(&self, after: i64, upto: i64, read_max: usize) -> Option<Vec<Entry>> {
        if after == upto {
            return Some(Vec::new());
        }
        if after > upto || self.snapshots.iter().any(|s| s.zxid > upto) {
            return None;
        }
        let at = self.log.partition_point(|e| e.zxid <= after);
        let entries: Vec<Entry> = self.log[at..].iter().filter(|e| e.zxid <= upto).cloned().collect();
        let before = at.checked_sub(1).map(|at| self.log[at].zxid);
        let first = entries.first()?.zxid;
        let same_epoch = zxid::epoch(first) == zxid::epoch(after);
        let reaches_back = match before {
            _ if same_epoch => first == after + 1,
            Some(before) if before == after => self.joins(after, first),
            Some(before) if zxid::counter(after) == 0 => self.joins(before, first),
            _ => self.snapshots.iter().any(|s| s.zxid == after) && self.joins(after, first),
        };
        let whole = entries.windows(2).all(|pair| self.joins(pair[0].zxid, pair[1].zxid));
        let ends = entries.last().is_some_and(|e| e.zxid == upto);
        (reaches_back && whole && ends && entries.len() <= read_max).then_some(entries)
    }

    fn joins(&self, last: i64, next: i64) -> bool {
        let between = |s: &Rc<Image>| last < s.zxid && s.zxid < next;
        let same_epoch = zxid::epoch(last) == zxid::epoch(next);
        zxid::follows(last, next) && (same_epoch || !self.snapshots.iter().any(between))
    }

    /// The process is gone, or the power.
    pub fn crash(&mut self, rng: &mut Rng) {
        let batch = std::mem::take(&mut self.batch);
        let kept = rng.usize(..=batch.len());
        self.crash_with_bug(batch.get(kept..).unwrap_or_default().to_vec());
        self.queue.clear();
        for command in batch.into_iter().take(kept) {
            match command {
                // First the snapshots after it go, then the log is cut from its end.
                Command::Truncate(zxid) => {
                    let mut somewhere = self.log.iter().map(|e| e.zxid).filter(|z| *z >= zxid);
                    let upto = somewhere.nth(rng.usize(..3)).unwrap_or(zxid);
                    if self.truncate(upto) {
                        self.snapshots.retain(|s| s.zxid <= zxid);
                    }
                }
                other => drop(self.carry_out(other, usize::MAX, 0)),
            }
        }
    }

    fn copy(&self) -> Self {
        let (log, history, snapshots) = (self.log.clone(), self.history.clone(), self.snapshots.clone());
        Self { log, base: self.base, history, snapshots, ..Self::default() }
    }

    fn crash_with_bug(&mut self, lost: Vec<Command>) {
        let entry = |command: &Command| match command {
            Command::Append(entry) => Some(entry.clone()),
            _ => None,
        };
        let lost: Vec<Entry> = lost.iter().chain(&self.queue).map_while(entry).collect();
        match self.bug {
            Some(Bug::SnapshotOnlyInMemory) => {
                let Some(before) = self.buggy.before_snapshot.take() else { return };
                let after = self.snapshots.last().map_or(0, |s| s.zxid);
                let newer: Vec<Entry> = self.log.iter().filter(|e| e.zxid > after).cloned().collect();
                (self.log, self.base, self.snapshots) = (before.log, before.base, before.snapshots);
                self.history = before.history;
                self.history.extend(newer.iter().map(|e| e.zxid));
                self.log.extend(newer);
            }
            Some(Bug::NewLeaderTooEarly) => {
                let volatile = std::mem::take(&mut self.buggy.volatile);
                self.log.retain(|e| !volatile.contains(&e.zxid));
                self.history.retain(|z| !volatile.contains(z));
            }
            Some(Bug::VoteFromMemory) => self.buggy.lost = lost,
            Some(Bug::EmptyLog) => self.buggy.has_empty_log |= !lost.is_empty() && lost[0].zxid % 3 == 0,
            _ => {}
        }
    }

    /// Everything is put away: damaged, or simply gone.
    pub fn set_aside(&mut self) {
        self.log.clear();
        self.snapshots.clear();
        self.base = 0;
        self.history.clear();
        self.flipped = None;
        self.is_untrusted = true;
    }

    /// Its next start will find nothing to trust, or the last one did.
    pub fn is_damaged(&self) -> bool {
        self.is_untrusted || self.flipped.is_some_and(|z| self.log.iter().any(|e| e.zxid == z))
    }

    /// Newest snapshot, then the whole log, committed or not.
    pub fn recover(&mut self, config: &TreeConfig, recent_max: usize) -> Recovered {
        if self.is_damaged() {
            self.set_aside();
        }
        let uses = |_: &&Rc<Image>| self.bug != Some(Bug::SnapshotsMissing) || self.log.is_empty();
        let newest = self.snapshots.last().filter(uses);
        let mut tree = newest.map_or_else(|| Tree::new(config.clone()), |image| self.load(image, config));
        let from = newest.map_or(0, |image| image.zxid);
        let kept = self.buggy.kept.take();
        let upto = kept.unwrap_or(i64::MAX);
        for entry in self.log.iter().filter(|e| e.zxid > from && e.zxid <= upto) {
            apply(&mut tree, &bugs::replayed(self.bug, entry));
        }
        // History is written before the epoch it belongs to; a crash between the two leaves the log ahead.
        self.current_epoch = self.current_epoch.max(zxid::epoch(self.last_zxid()));
        self.accepted_epoch = self.accepted_epoch.max(self.current_epoch);
        let last_zxid = (!self.is_untrusted).then(|| kept.unwrap_or_else(|| self.last_zxid()));
        Recovered { tree, last_zxid, recent: self.recent(recent_max) }
    }

    fn load(&self, image: &Image, config: &TreeConfig) -> Tree {
        if self.bug == Some(Bug::SessionsForgotten) {
            return Image { sessions: Vec::new(), ..image.clone() }.build(config);
        }
        image.build(config)
    }

    fn recent(&self, max: usize) -> Vec<Entry> {
        let mut recent: Vec<Entry> = Vec::new();
        for entry in self.log.iter().rev().take(max) {
            if recent.last().is_some_and(|next: &Entry| !zxid::follows(entry.zxid, next.zxid)) {
                break;
            }
            recent.push(entry.clone());
        }
        recent.reverse();
        recent
    }
}

/// Applies one logged entry.
pub fn apply(tree: &mut Tree, entry: &Entry) {
    let txn = TxnEntry::decode(&entry.payload).expect("what was logged can be read");
    tree.apply(&txn.header, &txn.txn, &mut Vec::new());
}
