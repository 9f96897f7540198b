//! `mntr`: one `zk_<key>` a line. Keys are those of 3.9.3 that are measured here.

use std::fmt::{Display, Write as _};

use zk_node::stats::{Distribution, ServerStats, Summary};

use super::environment::{VERSION, file_descriptors};
use super::render::java_double;

/// What `mntr` needs beside the counters.
pub(crate) struct Gauges {
    pub(crate) mode: &'static str,
    pub(crate) connections: usize,
    pub(crate) outstanding: usize,
    pub(crate) uptime_ms: u64,
    pub(crate) nodes: usize,
    pub(crate) watches: usize,
    pub(crate) ephemerals: usize,
    pub(crate) data_bytes: u64,
    pub(crate) sessions: usize,
    pub(crate) startup: Startup,
    /// `None` on a server alone.
    pub(crate) quorum: Option<QuorumGauges>,
}

/// What a server of an ensemble adds.
pub(crate) struct QuorumGauges {
    pub(crate) peer_state: String,
    pub(crate) quorum_size: usize,
    /// `None` unless it leads.
    pub(crate) leader: Option<LeaderGauges>,
}

/// `LeaderZooKeeperServer.registerMetrics`.
pub(crate) struct LeaderGauges {
    pub(crate) learners: usize,
    pub(crate) synced_followers: usize,
    pub(crate) synced_non_voting_followers: usize,
    pub(crate) synced_observers: usize,
    pub(crate) pending_syncs: usize,
    pub(crate) uptime_ms: u64,
}

/// How long the start took; measured once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Startup {
    pub(crate) snapshot_load_ms: u64,
    pub(crate) txns_load_ms: u64,
    pub(crate) txns_loaded: u64,
    pub(crate) init_ms: u64,
}

pub(crate) fn mntr(g: &Gauges, s: &ServerStats) -> String {
    let mut out = Lines::default();
    out.line("version", VERSION);
    out.line("server_state", g.mode);
    if let Some(quorum) = &g.quorum {
        out.line("peer_state", &quorum.peer_state);
    }
    gauges(&mut out, g, s);
    if let Some(quorum) = &g.quorum {
        quorum_gauges(&mut out, quorum, s);
    }
    counters(&mut out, s);
    summaries(&mut out, g, s);
    out.0
}

fn quorum_gauges(out: &mut Lines, quorum: &QuorumGauges, s: &ServerStats) {
    out.line("quorum_size", quorum.quorum_size);
    let Some(leader) = &quorum.leader else {
        // Learners of learners: there are none.
        return out.line("synced_observers", 0);
    };
    let size = |v: Option<u64>| v.map_or("-1".to_owned(), |v| v.to_string());
    out.line("learners", leader.learners);
    out.line("synced_followers", leader.synced_followers);
    out.line("synced_non_voting_followers", leader.synced_non_voting_followers);
    out.line("synced_observers", leader.synced_observers);
    out.line("pending_syncs", leader.pending_syncs);
    out.line("leader_uptime", leader.uptime_ms);
    out.line("last_proposal_size", size(s.proposal_sizes.last));
    out.line("max_proposal_size", size(s.proposal_sizes.max));
    out.line("min_proposal_size", size(s.proposal_sizes.min));
}

fn gauges(out: &mut Lines, g: &Gauges, s: &ServerStats) {
    let size = |v: Option<u64>| v.map_or("-1".to_owned(), |v| v.to_string());
    let (open, max) = file_descriptors();
    out.line("avg_latency", java_double(s.latency.avg()));
    out.line("max_latency", s.latency.max());
    out.line("min_latency", s.latency.min());
    out.line("packets_received", s.packets_received);
    out.line("packets_sent", s.packets_sent);
    out.line("num_alive_connections", g.connections);
    out.line("outstanding_requests", g.outstanding);
    out.line("uptime", g.uptime_ms);
    out.line("znode_count", g.nodes);
    out.line("watch_count", g.watches);
    out.line("ephemerals_count", g.ephemerals);
    out.line("approximate_data_size", g.data_bytes);
    out.line("global_sessions", g.sessions);
    // A single server has no local sessions: each is logged.
    out.line("local_sessions", 0);
    if let Some(open) = open {
        out.line("open_file_descriptor_count", open);
    }
    if let Some(max) = max {
        out.line("max_file_descriptor_count", max);
    }
    out.line("last_client_response_size", size(s.response_sizes.last));
    out.line("max_client_response_size", size(s.response_sizes.max));
    out.line("min_client_response_size", size(s.response_sizes.min));
    out.line("auth_failed_count", s.auth_failed);
}

fn counters(out: &mut Lines, s: &ServerStats) {
    out.line("bytes_received_count", s.bytes_received);
    out.line("response_bytes", s.response_bytes);
    out.line("watch_bytes", s.watch_bytes);
    out.line("connection_request_count", s.connection_requests);
    out.line("connection_revalidate_count", s.connection_revalidations);
    out.line("connection_rejected", s.connections_rejected);
    out.line("connection_drop_count", s.connections_dropped);
    out.line("sessionless_connections_expired", s.sessionless_connections_expired);
    out.line("stale_sessions_expired", s.sessions_expired);
    out.line("sync_processor_request_queued", s.appended);
    out.line("snapshot_error_count", s.snapshot_errors);
    out.line("digest_mismatches_count", s.digest_mismatches);
}

fn summaries(out: &mut Lines, g: &Gauges, s: &ServerStats) {
    let once = |value| {
        let mut summary = Summary::default();
        summary.add(value);
        summary
    };
    out.summary("fsynctime", &s.fsync_time);
    out.summary("snapshottime", &s.snapshot_time);
    out.summary("dbinittime", &once(g.startup.init_ms));
    out.summary("startup_txns_loaded", &once(g.startup.txns_loaded));
    out.summary("startup_txns_load_time", &once(g.startup.txns_load_ms));
    out.summary("startup_snap_load_time", &once(g.startup.snapshot_load_ms));
    out.summary("sync_processor_batch_size", &s.batch_size);
    out.summary("node_created_watch_count", &s.node_created_watches);
    out.summary("node_deleted_watch_count", &s.node_deleted_watches);
    out.summary("node_changed_watch_count", &s.node_changed_watches);
    out.summary("node_children_watch_count", &s.node_children_watches);
    out.distribution("readlatency", &s.read_latency);
    out.distribution("updatelatency", &s.update_latency);
    out.distribution("propagation_latency", &s.propagation_latency);
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "zk_{key}\t{value}");
    }

    fn summary(&mut self, name: &str, s: &Summary) {
        self.line(&format!("avg_{name}"), java_double(s.avg()));
        self.line(&format!("min_{name}"), s.min());
        self.line(&format!("max_{name}"), s.max());
        self.line(&format!("cnt_{name}"), s.count());
        self.line(&format!("sum_{name}"), s.sum());
    }

    fn distribution(&mut self, name: &str, d: &Distribution) {
        self.summary(name, d.summary());
        for (label, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            self.line(&format!("{label}_{name}"), d.percentile(share));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_key_tab_value_and_summaries_expand() {
        let mut stats = ServerStats::default();
        stats.fsync_time.add(3);
        let gauges = Gauges {
            mode: "standalone",
            connections: 2,
            outstanding: 0,
            uptime_ms: 9,
            nodes: 5,
            watches: 1,
            ephemerals: 0,
            data_bytes: 44,
            sessions: 2,
            startup: Startup::default(),
            quorum: None,
        };
        let text = mntr(&gauges, &stats);
        let expect = [
            "zk_server_state\tstandalone",
            "zk_avg_latency\t0.0",
            "zk_znode_count\t5",
            "zk_last_client_response_size\t-1",
            "zk_avg_fsynctime\t3.0",
            "zk_cnt_fsynctime\t1",
            "zk_p999_readlatency\t0",
        ];
        for line in expect {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.lines().all(|l| l.starts_with("zk_") && l.matches('\t').count() == 1));
    }
}
