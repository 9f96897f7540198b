//! What a peer wants done, as data, to be carried out in order.

use bytes::Bytes;
use thiserror::Error;
use zk_proto::quorum::{Config, Notification, Packet, Sid};

use crate::input::LinkId;
use crate::options::Entry;

/// One thing to do. None depends on the success of another.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    // --- the election mesh
    /// A vote for that server. Only the newest for each server matters.
    Notify {
        to: Sid,
        notification: Notification,
    },

    // --- the link to the leader
    /// Connect to that server's quorum port; answered by `LeaderConnected` or `LeaderClosed`.
    DialLeader {
        sid: Sid,
    },
    SendLeader {
        packet: Packet,
    },
    /// Close the link to the leader, or stop dialling. Nothing of it may be heard afterwards, neither packets on their
    /// way nor its end; a snapshot that was coming in is answered all the same.
    HangUp,
    /// The next bytes from the leader are a snapshot: build a tree of it, store it, and answer with
    /// `Stored::SnapshotInstalled` or `Stored::Void`, exactly one of them, also when the link breaks or `HangUp`
    /// comes first. A stream that stalls for initLimit ticks is given up by whoever reads it. Packets follow the
    /// stream; they may be handed over before the snapshot is on disk.
    ReceiveSnapshot {
        zxid: i64,
    },

    // --- learners' links
    SendLearner {
        link: LinkId,
        packet: Packet,
    },
    /// Send the tree as it is now or later (fuzzy), after what has been sent before and before what is sent after.
    /// Answered by `SnapshotSent`.
    StreamSnapshot {
        link: LinkId,
    },
    /// Read the entries after that zxid, up to the other, from the log on disk (`DataDir::read_after`); answered by
    /// `LogRead`.
    ReadLog {
        link: LinkId,
        after: i64,
        /// It is on disk.
        upto: i64,
    },
    CloseLearner {
        link: LinkId,
        reason: CloseReason,
    },

    // --- the disk
    Store(Store),

    // --- the node above
    /// What this server is from now on. `Looking` ends everything of the role before.
    Role(Role),
    /// Committed: apply it. In zxid order; the leader's own proposals come without their bytes.
    Deliver {
        zxid: i64,
        payload: Option<Bytes>,
    },
    /// The leader asks for a sign of life: answer with `Input::ToLeader` and a PING of this zxid, its data the
    /// sessions heard of since the last one.
    AnswerPing {
        zxid: i64,
    },
    /// From a learner, for the node: REQUEST, REVALIDATE, or the sessions in its PING.
    FromLearner {
        link: LinkId,
        sid: Sid,
        packet: Packet,
    },
    /// From the leader, for the node: REVALIDATE or SYNC.
    FromLeader {
        packet: Packet,
    },
    /// A learner is gone: sessions it owned are nobody's until they turn up again.
    LearnerGone {
        link: LinkId,
    },
    /// A configuration is proposed: keep it as last seen. The one that counts already, if the last seen one turns out
    /// never to have been committed.
    ConfigSeen {
        config: Config,
    },
    /// A configuration counts from now on.
    ConfigActive {
        config: Config,
    },
}

/// Work for the disk, in order. What comes later may rely on what came before: an epoch is written only after every
/// entry before it has been synced (Z-4643, Z-4785), and a truncation after every append before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Store {
    /// Log it; answered by `Durable`.
    Append(Entry),
    AcceptedEpoch {
        epoch: i64,
    },
    CurrentEpoch {
        epoch: i64,
    },
    /// Remove everything after that zxid and load the tree anew; answered by `Truncated`, or by `Void` if it cannot be
    /// done, because the oldest snapshot is newer: the history then stays as it is, and this server asks for a
    /// snapshot.
    Truncate {
        zxid: i64,
    },
}

/// What a server is in its ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// No leader is known; clients are not served.
    Looking,
    /// Serving as leader of this epoch: the first transaction is counter 1 of it.
    Leading {
        epoch: i64,
    },
    /// Serving behind that leader.
    Following {
        leader: Sid,
    },
    Observing {
        leader: Sid,
    },
}

/// Why a leader closes a learner's link, in words for its log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseReason {
    #[error("it sent {what}")]
    Protocol { what: String },
    #[error("nothing was heard of it for {ms} ms (syncLimit)")]
    Silent { ms: u64 },
    #[error("it has not acknowledged zxid 0x{zxid:x} for {ms} ms (syncLimit)")]
    Lagging { zxid: i64, ms: u64 },
    #[error(
        "its history (epoch {epoch}, zxid 0x{zxid:x}) is newer than this leader's, which has no quorum yet"
    )]
    Ahead { epoch: i64, zxid: i64 },
    #[error("its configuration 0x{theirs:x} is newer than this leader's 0x{ours:x}")]
    NewerConfig { theirs: i64, ours: i64 },
    #[error("this server does not lead any more")]
    NotLeading,
    #[error("it connected again")]
    Replaced,
    #[error("{0} connections of learners are open already")]
    TooMany(usize),
}
