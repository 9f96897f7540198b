//! What reaches a peer from outside.

use zk_proto::quorum::{Config, Notification, Packet, Sid};

use crate::options::Entry;

/// A learner's connection to this server as its leader, named by the shell; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Something happened. Milliseconds of a clock that never goes back come with every call.
#[derive(Debug)]
pub enum Input {
    /// Time has passed; to be called at least every 50 ms while looking, ten times a tick otherwise.
    Tick,

    // --- the election mesh
    Notification {
        from: Sid,
        notification: Notification,
    },
    /// The connection to that server broke or was refused: it cannot be heard before it is connected again.
    MeshDown {
        sid: Sid,
    },
    /// The connection to that server stands; what was last to be said to it is sent again.
    MeshUp {
        sid: Sid,
    },

    // --- learners' links to this server, accepted at any time
    LearnerConnected {
        link: LinkId,
    },
    FromLearner {
        link: LinkId,
        packet: Packet,
    },
    LearnerClosed {
        link: LinkId,
    },
    /// The answer to [`crate::Effect::ReadLog`]: every entry between, or `None` if the log does not provably reach
    /// back to `after`, has a gap, or would give too much (`snapshotSizeFactor`).
    LogRead {
        link: LinkId,
        entries: Option<Vec<Entry>>,
    },

    /// The stream asked for by [`crate::Effect::StreamSnapshot`] has left this server. Until then the learner is not
    /// expected to say anything; a stream that stalls is closed by whoever writes it.
    SnapshotSent {
        link: LinkId,
    },

    // --- this server's link to its leader
    LeaderConnected,
    FromLeader {
        packet: Packet,
    },
    /// The link broke, or could not be made.
    LeaderClosed,

    // --- the disk, in the order of the commands
    Stored(Stored),

    // --- from the node above
    /// The next transaction, its zxid one after the last; only while broadcasting as leader. `reconfig` is the
    /// configuration it brings, if it is a reconfig, its version the transaction's zxid; there is at most one that
    /// is not committed. Nothing follows the last counter of an epoch: the peer steps down once that is committed.
    Propose {
        entry: Entry,
        reconfig: Option<Box<Config>>,
    },
    /// A packet of the node's own for the leader: REQUEST, REVALIDATE, or the answer to a PING.
    ToLeader {
        packet: Packet,
    },
    /// A packet of the node's own for a learner: REVALIDATE, SYNC. It keeps its place among the commits.
    ToLearner {
        link: LinkId,
        packet: Packet,
    },
}

/// What the disk has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Every entry up to this zxid is on disk.
    Durable {
        zxid: i64,
    },
    AcceptedEpoch {
        epoch: i64,
    },
    CurrentEpoch {
        epoch: i64,
    },
    /// The log ends at `last_zxid` and the tree above has been loaded from disk anew; `recent` as in
    /// [`crate::Stable`].
    Truncated {
        last_zxid: i64,
        recent: Vec<Entry>,
    },
    /// The snapshot received from the leader is the tree above, and is on disk, complete and synced.
    SnapshotInstalled {
        zxid: i64,
    },
    /// Receiving or storing the snapshot failed, or truncating did; the tree above is void until it is loaded from
    /// disk, which the shell does before it reports this.
    Void {
        last_zxid: Option<i64>,
        recent: Vec<Entry>,
    },
}
