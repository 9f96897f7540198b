//! What a peer is told at its start: settings and what its disk holds.

use bytes::Bytes;
use zk_proto::quorum::{Config, Sid, zxid};

/// Settings, times in milliseconds. Which key of zoo.cfg each comes from is `zk-server`'s business.
#[derive(Debug, Clone)]
pub struct Options {
    pub sid: Sid,
    pub tick_ms: u64,
    /// Ticks for connecting and synchronising.
    pub init_limit: u64,
    /// Ticks without a word, or with a proposal without its ack, until a link is given up.
    pub sync_limit: u64,
    /// `commitLogCount`: committed transactions kept in memory for learners that are a little behind.
    pub commit_log_count: usize,
    /// Without it no configuration is ever kept or activated.
    pub reconfig_enabled: bool,
    /// `fastleader.minNotificationInterval`, also how long a winner waits for a better vote.
    pub notification_min_ms: u64,
    /// `fastleader.maxNotificationInterval`.
    pub notification_max_ms: u64,
    /// The last counter of an epoch; smaller than `zxid::COUNTER_MAX` only where the roll-over is tried out
    /// (`zookeeper.testingonly.initialZxid` serves that purpose on Apache). The node above proposes nothing after it.
    pub counter_max: i64,
    /// Varies back-offs between servers.
    pub seed: u64,
}

impl Options {
    /// Apache's sample configuration, for a server with that number.
    pub fn new(sid: Sid) -> Self {
        Self {
            sid,
            tick_ms: 2000,
            init_limit: 10,
            sync_limit: 5,
            commit_log_count: 500,
            reconfig_enabled: false,
            notification_min_ms: 200,
            notification_max_ms: 60_000,
            counter_max: zxid::COUNTER_MAX,
            seed: 0,
        }
    }
}

/// A transaction: its zxid and the bytes that are logged and sent (header, record, digest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub zxid: i64,
    pub payload: Bytes,
}

/// What the disk holds when the peer starts.
#[derive(Debug, Clone)]
pub struct Stable {
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// max(last record of the log, newest complete snapshot), 0 for a fresh database. `None`: the history is damaged
    /// or gone, so this server has no vote and counts in no quorum until a leader whose quorum formed without it has
    /// synchronised it.
    pub last_zxid: Option<i64>,
    /// The newest logged transactions, all applied to the tree, at most `commit_log_count`, without gaps.
    pub recent: Vec<Entry>,
    /// The configuration this server was started with.
    pub config: Config,
    /// A later one it has seen proposed (`*.dynamic.next`), not known to be committed.
    pub last_seen_config: Option<Config>,
}
