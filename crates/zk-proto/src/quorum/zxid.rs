//! A zxid is an epoch (high 32 bits) and a counter within it (low 32 bits).
//!
//! The only place that knows the split.

/// The last counter of an epoch; a leader that reaches it steps down.
pub const COUNTER_MAX: i64 = 0xffff_ffff;

pub const fn epoch(zxid: i64) -> i64 {
    zxid >> 32
}

pub const fn counter(zxid: i64) -> i64 {
    zxid & COUNTER_MAX
}

/// The zxid with that counter in that epoch; counter 0 is the new epoch itself, before its first transaction.
pub const fn of(epoch: i64, counter: i64) -> i64 {
    epoch << 32 | counter & COUNTER_MAX
}

/// Whether `next` may directly follow `last`: the next counter, or the first one of a later epoch.
pub const fn follows(last: i64, next: i64) -> bool {
    next == last + 1 && epoch(next) == epoch(last) || epoch(next) > epoch(last) && counter(next) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_begins_with_counter_one_and_steps_by_one() {
        assert!(follows(0x1_0000_0001, 0x1_0000_0002));
        assert!(follows(0x1_0000_0007, 0x3_0000_0001));
        assert!(follows(of(2, 0), of(2, 1)));
        assert!(!follows(of(1, 1), of(1, 3)));
        assert!(!follows(of(1, 1), of(2, 2)));
        assert!(!follows(of(1, COUNTER_MAX), of(2, 0)), "a counter never wraps into the next epoch");
        assert!(!follows(of(2, 1), of(1, 1)));
    }
}
