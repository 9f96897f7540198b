//! Which server to try next, and when.

use std::time::Duration;

/// Between two rounds through a list in which nobody served us; the same order of size as Java's client waits.
const PAUSE_MS: std::ops::Range<u64> = 100..1000;

#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<String>,
    next: usize,
    /// Tried since one was of use.
    tried: usize,
    rng: fastrand::Rng,
}

impl Hosts {
    /// `hosts` is not empty; the order is drawn by lot, so that clients spread over the ensemble.
    pub(super) fn new(mut hosts: Vec<String>, mut rng: fastrand::Rng) -> Self {
        debug_assert!(!hosts.is_empty(), "a client without servers");
        rng.shuffle(&mut hosts);
        Self { hosts, next: 0, tried: 0, rng }
    }

    /// The next server and how long to wait before trying it.
    pub(super) fn next(&mut self) -> (String, Duration) {
        let host = self.hosts[self.next].clone();
        self.next = (self.next + 1) % self.hosts.len();
        let round_done = self.tried > 0 && self.tried.is_multiple_of(self.hosts.len());
        self.tried += 1;
        let pause_ms = if round_done { self.rng.u64(PAUSE_MS) } else { 0 };
        (host, Duration::from_millis(pause_ms))
    }

    /// The last one held the session for a while: the others are tried at once.
    pub(super) fn was_useful(&mut self) {
        self.tried = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_tried_before_a_pause_is_made() {
        let mut hosts = Hosts::new(vec!["a".into(), "b".into(), "c".into()], fastrand::Rng::with_seed(1));
        let mut round: Vec<_> = (0..3).map(|_| hosts.next()).collect();
        assert!(round.iter().all(|(_, pause)| pause.is_zero()));
        assert!(!hosts.next().1.is_zero());
        hosts.was_useful();
        assert!(hosts.next().1.is_zero());
        round.sort();
        assert_eq!(round.into_iter().map(|(host, _)| host).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
