//! The broker settings that groups depend on.

/// Limits and delays of group coordination, named after the broker's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`, 6 s. Shorter sessions would let a client flood the broker with heartbeats.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`, 30 min. Longer ones leave partitions of a dead member unread.
    pub session_timeout_max_ms: i32,
    /// `group.max.size`, unlimited by default.
    pub group_size_max: usize,
    /// `group.initial.rebalance.delay.ms`, 3 s: how long the first member of an empty group waits for others.
    pub initial_rebalance_delay_ms: i32,
    /// `offset.metadata.max.bytes`, 4096, counted in UTF-16 code units as Kafka does.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, 7 days: offsets of an empty group older than this are dropped.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`, 10 min.
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            group_size_max: i32::MAX as usize,
            initial_rebalance_delay_ms: 3_000,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}
