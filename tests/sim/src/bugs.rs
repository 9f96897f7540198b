//! Bugs that ZooKeeper once had, put back one at a time, so that it is seen that the simulation would find them.
//!
//! None of them touches a core: each is a driver, a disk or a network that does what the buggy release did at that
//! border: reports too early, reorders, drops, keeps what should go, restores from the wrong place.

use fastrand::Rng;
use zk_proto::quorum::{Config, Notification, Packet, PacketKind, PeerState, Role, Sid};
use zk_proto::txn::{Txn, TxnEntry, TxnHeader, kind};
use zk_zab::Entry;

use crate::faults::FaultKind;
use crate::shape::member;

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $issue:literal),* $(,)?) => {
        /// A historic bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[$doc])* $name),* }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Where it is told of.
            pub fn issue(self) -> &'static str {
                match self { $(Self::$name => $issue),* }
            }
        }
    };
}

bugs! {
    /// A learner with more than the leader keeps it: TRUNC becomes an empty DIFF.
    HighestZxidAbsent = "ZOOKEEPER-1154",
    /// Truncation removes one transaction too many.
    TruncationTooLong = "ZOOKEEPER-1156, ZOOKEEPER-1489",
    /// TRUNC cuts what is in memory; the log keeps what nobody committed.
    UncommittedLogKept = "ZOOKEEPER-2832",
    /// A restarted server stands for what was in its memory and not in its log.
    VoteFromMemory = "ZOOKEEPER-2845",
    /// A snapshot from the leader counts before it is on disk.
    SnapshotOnlyInMemory = "ZOOKEEPER-3642",
    /// After a broken stream, half a tree stays.
    HalfSnapshotKept = "ZOOKEEPER-2872",
    /// What follows a snapshot before NEWLEADER is in memory only.
    NewLeaderTooEarly = "ZOOKEEPER-3104",
    /// After TRUNC memory stays ahead of the log.
    TruncationOnlyOnDisk = "ZOOKEEPER-5094",
    /// A snapshot taken amid a multi claims all of it.
    PartialMulti = "ZOOKEEPER-3127",
    /// A snapshot lists sessions as they were before.
    StaleSessionsInSnapshot = "ZOOKEEPER-3144",
    /// A closeSession replayed on a fuzzy snapshot leaves the parent's pzxid behind.
    StalePzxid = "ZOOKEEPER-3145",
    /// A snapshot lists access control as it was before.
    StaleAclsInSnapshot = "ZOOKEEPER-3306",
    /// NEWLEADER is acknowledged before the transactions of the DIFF are logged.
    AckBeforeDiffIsLogged = "ZOOKEEPER-3911, ZOOKEEPER-3023",
    /// The same with a log of its own pace: acknowledged when handed over.
    AsyncLogInSync = "ZOOKEEPER-4646",
    /// currentEpoch reaches the disk before the history it belongs to.
    EpochBeforeHistory = "ZOOKEEPER-4643",
    /// After a disk error the log goes on with a hole.
    HoleAfterDiskError = "ZOOKEEPER-4882",
    /// A reconnecting client asks for everything since ever.
    WatchesOfLongAgo = "ZOOKEEPER-1412",
    /// A reconnecting client's watches are taken for up to date.
    WatchesMissed = "ZOOKEEPER-1412 (server side)",
    /// Sessions are not restored from the snapshot.
    SessionsForgotten = "ZOOKEEPER-1367",
    /// acceptedEpoch is told before it is on disk.
    EpochOnlyInMemory = "ZOOKEEPER-1653, ZOOKEEPER-2354",
    /// Who has found its leader goes on telling the epoch before.
    VoteNotUpdated = "ZOOKEEPER-1818, ZOOKEEPER-1732",
    /// Servers disagree on who may vote.
    ObserverElected = "ZOOKEEPER-764",
    /// The promised epoch is taken for the history's.
    AcceptedForCurrent = "ZOOKEEPER-335",
    /// Acknowledged before the fsync (forceSync=no).
    AckBeforeFsync = "forceSync=no",
    /// A proposal counts as acknowledged when it is sent.
    CommitWithoutQuorum = "commit without quorum",
    /// The log is purged up to its end, not up to the oldest snapshot.
    PurgeTooMuch = "ZOOKEEPER-3231",
    /// A full disk leaves a snapshot that ends early.
    SnapshotOnFullDisk = "ZOOKEEPER-3082",
    /// A log file that was only just begun forbids the start.
    EmptyLog = "ZOOKEEPER-2332",
    /// Without its snapshots a log is taken for the whole history.
    SnapshotsMissing = "ZOOKEEPER-2325, ZOOKEEPER-3644",
    /// A server that has lost its disk votes as a new one.
    AmnesiacVote = "lost disk",
    /// Flipped bits are not noticed.
    ChecksumIgnored = "flipped bit",
}

/// Changes what a learner is about to read from its leader.
pub fn from_leader(bug: Option<Bug>, packet: &mut Packet) {
    if bug == Some(Bug::HighestZxidAbsent) && packet.kind == PacketKind::Trunc {
        packet.kind = PacketKind::Diff;
    }
}

/// Changes a vote on its way out.
pub fn vote(bug: Option<Bug>, sid: Sid, vote: &mut Notification) {
    if bug == Some(Bug::VoteNotUpdated) && vote.state != PeerState::Looking {
        vote.peer_epoch -= sid % 2;
    }
}

/// What a server reads from its configuration file.
pub fn config(bug: Option<Bug>, sid: Sid, config: &Config) -> Config {
    let mut config = config.clone();
    if bug == Some(Bug::ObserverElected) && sid % 2 == 1 {
        let observers: Vec<Sid> =
            config.members.iter().filter(|(_, m)| m.role == Role::Observer).map(|(sid, _)| *sid).collect();
        for sid in observers {
            config.members.insert(sid, member(sid, Role::Participant));
        }
    }
    config
}

/// An entry as a replay reads it.
pub fn replayed(bug: Option<Bug>, entry: &Entry) -> Entry {
    if bug == Some(Bug::StalePzxid)
        && let Ok(mut txn) = TxnEntry::decode(&entry.payload)
        && matches!(txn.txn, Txn::CloseSession { .. })
    {
        txn.txn = Txn::CloseSession { paths: None };
        return Entry { zxid: entry.zxid, payload: txn.encode() };
    }
    entry.clone()
}

/// A record whose bits are not what they were, and nobody knows.
pub fn flipped(entry: &Entry) -> Entry {
    let header = TxnEntry::decode(&entry.payload).map(|txn| txn.header);
    let Ok(header) = header else { return entry.clone() };
    let header = TxnHeader { kind: kind::ERROR, ..header };
    let txn = TxnEntry { header, txn: Txn::Error { err: -1 }, digest: None };
    Entry { zxid: entry.zxid, payload: txn.encode() }
}

/// Whether the transaction is a multi.
pub fn is_multi(entry: &Entry) -> bool {
    TxnEntry::decode(&entry.payload).is_ok_and(|txn| txn.header.kind == kind::MULTI)
}

/// A world in which it is likely to matter.
pub fn suits(bug: Bug, shape: &mut crate::shape::Shape, rng: &mut Rng) {
    match bug {
        Bug::PartialMulti
        | Bug::StaleAclsInSnapshot
        | Bug::StaleSessionsInSnapshot
        | Bug::StalePzxid
        | Bug::SessionsForgotten => {
            shape.snap_count = 10;
            shape.piece_ms = 10;
            shape.closes = 100;
        }
        Bug::SnapshotOnFullDisk => shape.snap_count = 10,
        Bug::ObserverElected if shape.config.voters().count() == shape.config.members.len() => {
            let sid = shape.config.members.len() as i64 + 1;
            shape.config.members.insert(sid, member(sid, Role::Observer));
        }
        Bug::SnapshotOnlyInMemory | Bug::HalfSnapshotKept | Bug::NewLeaderTooEarly => {
            shape.commit_log_count = 2;
            shape.snap_count = 10;
            shape.snapshots_kept = 1;
            shape.piece_ms = shape.tick_ms / 12;
        }
        Bug::AmnesiacVote => {
            shape.faults =
                vec![FaultKind::LostDisk, FaultKind::KillLeader, FaultKind::PowerCut, FaultKind::Isolate];
        }
        _ => {}
    }
    shape.bug = Some(bug);
    shape.fsync_ms = (1, rng.u64(10..=shape.tick_ms / 5));
    if bug == Bug::EpochBeforeHistory {
        // The moment between the two is short.
        (shape.commit_log_count, shape.safety_ms) = (100, 60_000);
        shape.fsync_ms = (shape.tick_ms / 5, shape.tick_ms / 2);
        shape.faults =
            vec![FaultKind::PowerCut, FaultKind::KillLeader, FaultKind::PowerCutAll, FaultKind::Isolate];
    }
}
