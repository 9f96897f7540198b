//! What this server has logged, as far as it matters to others: the newest committed entries and the tail that is
//! not known to be committed.
//!
//! Invariant: both parts together are contiguous (rule 5; Z-4925: a gap would be served to learners as a DIFF).

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::quorum::zxid;

use crate::options::Entry;

#[derive(Debug)]
pub(crate) struct History {
    /// `commitLogCount`.
    capacity: usize,
    committed: VecDeque<Entry>,
    /// The zxid right before the first entry of `committed`, where it is known.
    base: Option<i64>,
    last_committed: i64,
    pending: VecDeque<Entry>,
}

impl History {
    /// `recent` are the newest entries up to `last`, all applied.
    pub(crate) fn new(capacity: usize, last: i64, recent: Vec<Entry>) -> Self {
        let mut history = Self {
            capacity,
            committed: VecDeque::new(),
            base: Some(last),
            last_committed: last,
            pending: VecDeque::new(),
        };
        history.reset(last, recent);
        history
    }

    /// What is on disk ends there, and all of it is applied.
    pub(crate) fn reset(&mut self, last: i64, mut recent: Vec<Entry>) {
        self.pending.clear();
        self.committed.clear();
        self.last_committed = last;
        self.base = Some(last);
        // A snapshot newer than the log, or a gap in it: only what is contiguous up to `last` can be served.
        if recent.last().is_some_and(|entry| entry.zxid == last) {
            let gap = recent.windows(2).rposition(|pair| !zxid::follows(pair[0].zxid, pair[1].zxid));
            let start = gap.map_or(0, |at| at + 1).max(recent.len().saturating_sub(self.capacity));
            self.base = start.checked_sub(1).filter(|_| gap.is_none()).map(|at| recent[at].zxid);
            self.committed = recent.drain(start..).collect();
            if self.base.is_none() {
                self.base = self.committed.front().and_then(|first| predecessor(first.zxid));
            }
            if self.committed.is_empty() {
                self.base = Some(last);
            }
        }
    }

    /// The last entry logged, committed or not, or the snapshot's zxid if that is later.
    pub(crate) fn last(&self) -> i64 {
        self.pending.back().map_or(self.last_committed, |entry| entry.zxid)
    }

    pub(crate) fn last_committed(&self) -> i64 {
        self.last_committed
    }

    /// Logged and not known to be committed, in order.
    pub(crate) fn pending(&self) -> &VecDeque<Entry> {
        &self.pending
    }

    pub(crate) fn committed(&self) -> &VecDeque<Entry> {
        &self.committed
    }

    pub(crate) fn base(&self) -> Option<i64> {
        self.base
    }

    /// The caller has refused gaps and duplicates.
    pub(crate) fn push(&mut self, entry: Entry) {
        assert!(
            zxid::follows(self.last(), entry.zxid),
            "rule 5: 0x{:x} does not follow 0x{:x}",
            entry.zxid,
            self.last()
        );
        self.pending.push_back(entry);
    }

    /// The first of the tail is committed; `None` if there is none.
    pub(crate) fn commit_next(&mut self) -> Option<(i64, Bytes)> {
        let entry = self.pending.pop_front()?;
        let (zxid, payload) = (entry.zxid, entry.payload.clone());
        if self.committed.is_empty() {
            self.base = Some(self.last_committed);
        }
        self.last_committed = zxid;
        self.committed.push_back(entry);
        while self.committed.len() > self.capacity {
            self.base = self.committed.pop_front().map(|entry| entry.zxid);
        }
        Some((zxid, payload))
    }

    pub(crate) fn check(&self) {
        let all: Vec<i64> = self.committed.iter().chain(&self.pending).map(|entry| entry.zxid).collect();
        for pair in all.windows(2) {
            assert!(zxid::follows(pair[0], pair[1]), "rule 5: a gap from 0x{:x} to 0x{:x}", pair[0], pair[1]);
        }
        if let Some(last) = self.committed.back() {
            assert_eq!(last.zxid, self.last_committed, "the ring ends with what was committed last");
        }
        if let (Some(base), Some(first)) = (self.base, self.committed.front()) {
            assert!(zxid::follows(base, first.zxid), "the ring does not begin after 0x{base:x}");
        }
        assert!(self.committed.len() <= self.capacity, "the ring is bounded");
    }
}

/// The zxid before that one, if it is known without a look at the log: not across epochs.
fn predecessor(of: i64) -> Option<i64> {
    (zxid::counter(of) > 1).then(|| of - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(zxids: &[i64]) -> Vec<Entry> {
        zxids.iter().map(|zxid| Entry { zxid: *zxid, payload: Bytes::new() }).collect()
    }

    #[test]
    fn only_what_is_contiguous_up_to_the_end_is_kept() {
        let history = History::new(10, 7, entries(&[1, 2, 5, 6, 7]));
        assert_eq!(history.committed().iter().map(|e| e.zxid).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(history.base(), Some(4));
        history.check();
        let newer_snapshot = History::new(10, 9, entries(&[6, 7]));
        assert!(newer_snapshot.committed().is_empty());
        assert_eq!(newer_snapshot.base(), Some(9));
        newer_snapshot.check();
    }

    #[test]
    fn the_ring_is_bounded_and_knows_what_came_before_it() {
        let mut history = History::new(3, 0, Vec::new());
        for zxid in zxid::of(1, 1)..=zxid::of(1, 5) {
            history.push(Entry { zxid, payload: Bytes::new() });
        }
        assert_eq!((history.last(), history.last_committed()), (zxid::of(1, 5), 0));
        while history.commit_next().is_some() {
            history.check();
        }
        assert_eq!(history.committed().len(), 3);
        assert_eq!(history.base(), Some(zxid::of(1, 2)));
    }

    #[test]
    #[should_panic(expected = "rule 5")]
    fn a_gap_is_never_logged() {
        History::new(3, 5, Vec::new()).push(Entry { zxid: 7, payload: Bytes::new() });
    }
}
