//! When to say again what nobody has answered.

/// Apache backs off to `fastleader.maxNotificationInterval` (a minute), which leaves a server that comes late alone
/// for as long. A notification costs some hundred bytes.
pub(super) const RESEND_MAX_MS: u64 = 1_600;

/// Doubles the time between two broadcasts, each varied by up to a quarter so that servers fall out of step.
#[derive(Debug)]
pub(super) struct Resend {
    min_ms: u64,
    max_ms: u64,
    interval_ms: u64,
    at_ms: u64,
    random: u64,
}

impl Resend {
    pub(super) fn new(min_ms: u64, max_ms: u64, seed: u64) -> Self {
        let min_ms = min_ms.max(1);
        let max_ms = max_ms.min(RESEND_MAX_MS).max(min_ms);
        Self { min_ms, max_ms, interval_ms: min_ms, at_ms: 0, random: seed }
    }

    /// An election begins with a broadcast.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.interval_ms = self.min_ms;
        self.sent(now_ms);
    }

    /// Everybody has just been told.
    pub(super) fn sent(&mut self, now_ms: u64) {
        let jitter = self.next_random() % (self.interval_ms / 4 + 1);
        self.at_ms = now_ms.saturating_add(self.interval_ms + jitter);
    }

    /// Whether it is time; the next time is then further off.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.at_ms;
        if due {
            self.interval_ms = (self.interval_ms * 2).min(self.max_ms);
        }
        due
    }

    /// SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
