//! The settings a node works by. Which key of zoo.cfg each comes from is `zk-server`'s business.

/// Limits, times and switches; see the configuration reference for what each costs.
#[derive(Debug, Clone)]
pub struct Options {
    pub tick_ms: i64,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    /// Connections from one address, 0 = no limit.
    pub max_client_cnxns: u32,
    /// Connections in all, 0 = no limit.
    pub max_cnxns: u32,
    pub sessionless_timeout_ms: u64,
    /// Requests in progress above which a connection with one of its own is not read.
    pub global_outstanding_limit: usize,
    pub snap_count: u32,
    pub snap_size_limit_bytes: u64,
    pub reconfig_enabled: bool,
    /// `standaloneEnabled`: an ensemble keeps two voters at least.
    pub standalone_enabled: bool,
    /// `readonlymode.enabled`: serve reads, to clients that ask for it, while there is no leader.
    pub read_only_enabled: bool,
    pub container_check_interval_ms: u64,
    pub container_max_per_minute: u32,
    pub container_max_never_used_ms: u64,
    /// Chooses the points between snapshots; servers of one ensemble should differ.
    pub seed: u64,
    /// The top byte of session ids made here.
    pub server_id: u8,
}

impl Default for Options {
    /// Apache's defaults for a tick of 2 s.
    fn default() -> Self {
        Self {
            tick_ms: 2000,
            min_session_timeout_ms: 4000,
            max_session_timeout_ms: 40_000,
            max_client_cnxns: 60,
            max_cnxns: 0,
            sessionless_timeout_ms: 10_000,
            global_outstanding_limit: 1000,
            snap_count: 100_000,
            snap_size_limit_bytes: 4 << 30,
            reconfig_enabled: false,
            standalone_enabled: true,
            read_only_enabled: false,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_max_never_used_ms: 0,
            seed: 0,
            server_id: 0,
        }
    }
}
