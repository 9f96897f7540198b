//! What a server measures of itself: counters, latencies, one connection's figures.
//!
//! The names follow Apache's metrics (`ServerStats`, `ServerMetrics`, `ServerCnxn`), so that `mntr` and
//! `stat` mean the same here. Only what is really measured has a field.

/// Smallest, largest, sum and count of a series of whole numbers (milliseconds, sizes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Summary {
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn min(&self) -> u64 {
        self.min
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// Mean rounded to four decimals, 0 of nothing, as `AvgMinMaxCounter.getAvg`.
    pub fn avg(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sum as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }

    /// Mean cut to a whole number, as the per-connection figures have it.
    pub fn whole_avg(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

/// Buckets up to 15 are exact, above that each power of two is cut in eight: an error of at most 1/8.
const EXACT: u64 = 16;
const CUTS: u64 = 8;
const BUCKETS: usize = (EXACT + (64 - 4) * CUTS) as usize;

/// A [`Summary`] that also knows its distribution.
#[derive(Debug, Clone)]
pub struct Distribution {
    summary: Summary,
    buckets: Box<[u64; BUCKETS]>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { summary: Summary::default(), buckets: Box::new([0; BUCKETS]) }
    }
}

impl Distribution {
    pub fn add(&mut self, value: u64) {
        self.summary.add(value);
        self.buckets[bucket(value)] += 1;
    }

    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The smallest value that at least `share` (0 to 1) of the series does not exceed, within 1/8.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.summary.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return lower_bound(at).min(self.summary.max);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let power = u64::from(value.ilog2());
    let cut = (value >> (power - 3)) & (CUTS - 1);
    (EXACT + (power - 4) * CUTS + cut) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    let at = bucket as u64;
    if at < EXACT {
        return at;
    }
    let (power, cut) = ((at - EXACT) / CUTS + 4, (at - EXACT) % CUTS);
    (CUTS + cut) << (power - 3)
}

/// Sizes of replies or proposals: last, smallest, largest; `None` before the first (shown as −1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseSizes {
    pub last: Option<u64>,
    pub min: Option<u64>,
    pub max: Option<u64>,
}

impl ResponseSizes {
    pub(crate) fn add(&mut self, size: u64) {
        self.last = Some(size);
        self.min = Some(self.min.map_or(size, |min| min.min(size)));
        self.max = Some(self.max.map_or(size, |max| max.max(size)));
    }
}

/// One server's figures since start or `srst`.
#[derive(Debug, Clone, Default)]
pub struct ServerStats {
    /// Milliseconds from reading a request to its reply.
    pub latency: Summary,
    pub read_latency: Distribution,
    pub update_latency: Distribution,
    /// Milliseconds from the decision on a write to its application.
    pub propagation_latency: Distribution,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub bytes_received: u64,
    pub response_bytes: u64,
    pub watch_bytes: u64,
    pub response_sizes: ResponseSizes,
    /// Session requests, new and renewed.
    pub connection_requests: u64,
    pub connection_revalidations: u64,
    /// Connections refused for a limit.
    pub connections_rejected: u64,
    /// Connections that the client let go without closing its session.
    pub connections_dropped: u64,
    pub sessionless_connections_expired: u64,
    pub sessions_expired: u64,
    pub auth_failed: u64,
    /// Transactions handed to the log.
    pub appended: u64,
    /// Of the transactions proposed as leader.
    pub proposal_sizes: ResponseSizes,
    /// Commits after which this server's data differed from the leader's digest.
    pub digest_mismatches: u64,
    /// Nothing happens here on a server that is alone.
    pub ensemble: EnsembleStats,
    /// Transactions per fsync.
    pub batch_size: Summary,
    /// Milliseconds per fsync.
    pub fsync_time: Summary,
    /// Milliseconds per snapshot.
    pub snapshot_time: Summary,
    pub snapshot_errors: u64,
    /// Watches fired at once, by kind of event.
    pub node_created_watches: Summary,
    pub node_deleted_watches: Summary,
    pub node_changed_watches: Summary,
    pub node_children_watches: Summary,
}

/// One server's part in its ensemble, under Apache's names (`ServerMetrics`).
#[derive(Debug, Clone, Default)]
pub struct EnsembleStats {
    /// `looking_count`: how often it began to look for a leader.
    pub looking: u64,
    /// `unavailable_time`: milliseconds from then until it served again.
    pub unavailable_time: Summary,
    /// `proposal_count` and `commit_count`, as leader.
    pub proposals: u64,
    pub commits: u64,
    /// `learner_proposal_received_count` and `learner_commit_received_count`.
    pub learner_proposals: u64,
    pub learner_commits: u64,
    /// `revalidate_count`: sessions that learners asked this leader about.
    pub revalidations: u64,
    /// `request_forwarded`, ours: requests of clients handed to the leader.
    pub forwarded: u64,
    /// `snap_count` and `diff_count`: how learners were brought into step.
    pub snapshots_sent: u64,
    pub diffs_sent: u64,
}

impl ServerStats {
    pub(crate) fn answered(&mut self, is_write: bool, latency_ms: u64) {
        self.latency.add(latency_ms);
        if is_write {
            self.update_latency.add(latency_ms);
        } else {
            self.read_latency.add(latency_ms);
        }
    }
}

/// One connection's figures since it was opened or `crst`.
#[derive(Debug, Clone)]
pub struct ConnectionStats {
    pub received: u64,
    pub sent: u64,
    /// Four letters of the last answered operation, `NA` before it.
    pub last_op: &'static str,
    /// −1 before the first ordinary request.
    pub last_cxid: i64,
    /// −1 before the first reply.
    pub last_zxid: i64,
    /// Monotonic milliseconds of the last reply.
    pub last_response_ms: u64,
    pub last_latency_ms: u64,
    pub latency: Summary,
}

impl Default for ConnectionStats {
    fn default() -> Self {
        Self {
            received: 0,
            sent: 0,
            last_op: "NA",
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_ms: 0,
            latency: Summary::default(),
        }
    }
}

impl ConnectionStats {
    /// Special xids (ping, auth, setWatches) are negative and do not replace the client's last real one.
    pub(crate) fn answered(&mut self, op: &'static str, xid: i32, zxid: i64, start_ms: u64, end_ms: u64) {
        if xid >= 0 {
            self.last_cxid = i64::from(xid);
        }
        self.last_zxid = zxid;
        self.last_op = op;
        self.last_response_ms = end_ms;
        self.last_latency_ms = end_ms.saturating_sub(start_ms);
        self.latency.add(self.last_latency_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_knows_its_extremes_and_rounds_its_mean() {
        let mut s = Summary::default();
        assert_eq!((s.min(), s.max(), s.avg()), (0, 0, 0.0));
        for v in [5, 1, 4] {
            s.add(v);
        }
        assert_eq!((s.min(), s.max(), s.sum(), s.count()), (1, 5, 10, 3));
        assert_eq!((s.avg(), s.whole_avg()), (3.3333, 3));
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for at in 0..BUCKETS {
            assert_eq!(bucket(lower_bound(at)), at, "bucket {at}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_exact_for_small_values_and_near_for_large_ones() {
        let mut d = Distribution::default();
        for v in 0..=9 {
            d.add(v);
        }
        d.add(1000);
        assert_eq!(d.percentile(0.5), 5);
        let top = d.percentile(1.0);
        assert!((875..=1000).contains(&top), "{top}");
        assert_eq!(Distribution::default().percentile(0.99), 0);
    }
}
