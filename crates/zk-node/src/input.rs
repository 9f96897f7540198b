//! What reaches a node from outside. Time comes with every call; nothing here reads a clock.

use std::net::SocketAddr;

use zk_tree::Tree;
use zk_zab::Stored;

/// The two clocks, read once for all inputs handled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970: what is written into transactions and Stats.
    pub wall_ms: i64,
    /// Milliseconds since any fixed point, never going back: deadlines and latencies.
    pub mono_ms: u64,
}

impl Now {
    /// The monotonic clock as the session table takes it.
    pub(crate) fn mono(self) -> i64 {
        i64::try_from(self.mono_ms).unwrap_or(i64::MAX)
    }
}

/// A connection, named by the shell; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Something happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A client connected. Answered by an [`crate::Effect::Close`] if there are too many.
    Connected { conn: ConnId, peer: SocketAddr },
    /// A whole frame, without its length.
    Frame { conn: ConnId, frame: &'a [u8] },
    /// The connection is gone; nothing can be sent any more.
    Closed { conn: ConnId },
    /// Time has passed; to be called about twice a tick.
    Tick,
    /// Every transaction up to `zxid` is on disk.
    Durable(Durable),
    /// For the ensemble: from the election mesh, the links between servers, the disk. Nobody's on a server that
    /// is alone.
    Zab(zk_zab::Input),
    /// The tree was built anew, from disk or from the leader's snapshot; `stored` says which, and reaches the
    /// ensemble: Truncated, SnapshotInstalled or Void.
    Reloaded { tree: Box<Tree>, stored: Stored },
}

/// One group commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    pub zxid: i64,
    /// Transactions in it.
    pub count: u64,
    pub fsync_ms: u64,
}
