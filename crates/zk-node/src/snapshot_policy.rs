//! When a snapshot is due: after a number of transactions or log bytes, at a point chosen anew each time.
//!
//! The point is random in the upper half, as `SyncRequestProcessor.shouldSnapshot` has it, so that the servers
//! of an ensemble do not all write a snapshot at the same moment.

/// Counts what was appended since the last snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotPolicy {
    snap_count: u64,
    /// 0 = no limit.
    size_limit_bytes: u64,
    random: SplitMix,
    count: u64,
    bytes: u64,
    count_due: u64,
    bytes_due: u64,
}

impl SnapshotPolicy {
    pub(crate) fn new(snap_count: u32, size_limit_bytes: u64, seed: u64) -> Self {
        let mut policy = Self {
            snap_count: u64::from(snap_count.max(2)),
            size_limit_bytes,
            random: SplitMix(seed),
            count: 0,
            bytes: 0,
            count_due: 0,
            bytes_due: 0,
        };
        policy.restart();
        policy
    }

    /// Counts one transaction; true when a snapshot is due, which starts the count again.
    pub(crate) fn appended(&mut self, bytes: usize) -> bool {
        self.count += 1;
        self.bytes += bytes as u64;
        let due = self.count > self.count_due || (self.size_limit_bytes > 0 && self.bytes > self.bytes_due);
        if due {
            self.restart();
        }
        due
    }

    fn restart(&mut self) {
        (self.count, self.bytes) = (0, 0);
        let half = self.snap_count / 2;
        self.count_due = half + self.random.below(half);
        let half = self.size_limit_bytes / 2;
        self.bytes_due = half + self.random.below(half);
    }
}

/// SplitMix64: small, and the same on every platform.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// A number in 0..bound; 0 for a bound of 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_lies_in_the_upper_half_and_moves() {
        let mut policy = SnapshotPolicy::new(100, 0, 7);
        let mut gaps = Vec::new();
        for _ in 0..20 {
            let gap = (1..).find(|_| policy.appended(1_000_000)).unwrap();
            assert!((51..=100).contains(&gap), "{gap}");
            gaps.push(gap);
        }
        gaps.dedup();
        assert!(gaps.len() > 5, "{gaps:?}");
    }

    #[test]
    fn size_alone_makes_one_due() {
        let mut policy = SnapshotPolicy::new(1_000_000, 1000, 1);
        let gap = (1..).find(|_| policy.appended(100)).unwrap();
        assert!((6..=10).contains(&gap), "{gap}");
    }
}
