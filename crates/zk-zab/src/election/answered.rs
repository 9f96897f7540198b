//! What a server that looks has answered to whom, so that two of them never answer each other for ever.
//!
//! It happens when they disagree on who votes: one answers a round that is lower, the other whoever is no voter. An
//! answer that was given needs not be given again at once, unless it was to something else.

use std::collections::BTreeMap;

use zk_proto::quorum::{Notification, Sid};

use super::Vote;

/// More than the servers of any ensemble; what does not fit is answered and not remembered.
const ANSWERED_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Answered {
    again_ms: u64,
    last: BTreeMap<Sid, (u64, i64, Vote)>,
}

impl Answered {
    pub(super) fn new(again_ms: u64) -> Self {
        Self { again_ms, last: BTreeMap::new() }
    }

    /// A vote of this server's own has changed: whoever asks is told.
    pub(super) fn clear(&mut self) {
        self.last.clear();
    }

    /// Whether that has not been answered just now; if so, it is from here on.
    pub(super) fn is_news(&mut self, now_ms: u64, from: Sid, notification: &Notification) -> bool {
        let (round, vote) = (notification.round, Vote::of(notification));
        if let Some((at_ms, last_round, last_vote)) = self.last.get(&from)
            && (*last_round, *last_vote) == (round, vote)
            && now_ms < at_ms + self.again_ms
        {
            return false;
        }
        if self.last.len() < ANSWERED_MAX || self.last.contains_key(&from) {
            self.last.insert(from, (now_ms, round, vote));
        }
        true
    }
}
