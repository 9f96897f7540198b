//! A vote: which server should lead, and the history that speaks for it.

use zk_proto::quorum::{Config, Notification, Sid};

/// What a server without a history says in the places of a vote's numbers; older than any history. Apache ignores
/// votes of this zxid since 3.6.
pub(super) const NO_HISTORY: i64 = -1;

/// The end of a server's own history: what it stands for election with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastLogged {
    /// max(last record of the log, newest complete snapshot).
    pub zxid: i64,
    /// The current epoch on disk.
    pub epoch: i64,
}

/// The server voted for, and its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vote {
    pub leader: Sid,
    pub zxid: i64,
    /// The epoch the history belongs to; once the leader's epoch is known, that one (ZOOKEEPER-1732).
    pub peer_epoch: i64,
}

impl Vote {
    /// Of who may not stand: an observer's.
    pub(super) const NOBODY: Self = Self { leader: i64::MIN, zxid: i64::MIN, peer_epoch: i64::MIN };

    pub(super) fn of(notification: &Notification) -> Self {
        let Notification { leader, zxid, peer_epoch, .. } = *notification;
        Self { leader, zxid, peer_epoch }
    }

    /// The newest history first, and among equals the largest number.
    fn rank(self) -> (i64, i64, Sid) {
        (self.peer_epoch, self.zxid, self.leader)
    }

    /// `FastLeaderElection.totalOrderPredicate`. A server of weight 0 never wins.
    pub(super) fn beats(self, other: Self, config: &Config) -> bool {
        let weightless = !config.groups.is_empty() && config.weight(self.leader) == 0;
        !weightless && self.rank() > other.rank()
    }
}
