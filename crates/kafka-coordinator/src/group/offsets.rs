//! The offsets of one group: committed, on their way into the log, and part of open transactions.
//!
//! An offset becomes visible only when its record is acknowledged. Records carry their place in the
//! log, so that acknowledgements, transactions' ends and loading may come in any order: what stands
//! later in the log wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::effect::AppendId;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// -1 where unknown.
    pub leader_epoch: i32,
    pub metadata: String,
    pub commit_timestamp_ms: i64,
    /// Only where the client asked for its own retention (OffsetCommit 2–4).
    pub expire_timestamp_ms: Option<i64>,
}

/// A committed offset and where the batch that carries it begins in `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Logged {
    batch_offset: i64,
    committed: CommittedOffset,
}

type ByPartition<T> = BTreeMap<Arc<str>, BTreeMap<i32, T>>;

/// A topic and a partition of it.
pub type TopicPartition = (Arc<str>, i32);

/// All offsets of one group.
#[derive(Debug, Default)]
pub struct Offsets {
    committed: ByPartition<Logged>,
    /// Appends under way that carry the partition.
    pending: ByPartition<Vec<AppendId>>,
    /// By producer id: offsets committed in a transaction whose end is not known yet.
    transactional: BTreeMap<i64, ByPartition<Logged>>,
}

impl Offsets {
    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(topic)?.get(&partition).map(|logged| &logged.committed)
    }

    /// Everything committed, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.committed.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(p, logged)| (topic, *p, &logged.committed))
        })
    }

    /// No offset, not even one on its way.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty() && self.transactional.is_empty()
    }

    /// Whether the partition's offset may be about to change (KIP-447, `require_stable`).
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        let holds = |partitions: Option<&BTreeMap<i32, Logged>>| {
            partitions.is_some_and(|p| p.contains_key(&partition))
        };
        self.is_pending(topic, partition)
            || self.transactional.values().any(|offsets| holds(offsets.get(topic)))
    }

    fn is_pending(&self, topic: &str, partition: i32) -> bool {
        self.pending.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub(crate) fn stage(&mut self, append: AppendId, topic: &Arc<str>, partition: i32) {
        let appends = self.pending.entry(topic.clone()).or_default().entry(partition).or_default();
        if appends.last() != Some(&append) {
            appends.push(append);
        }
    }

    /// The append failed, or is acknowledged and applied. False if the partition was deleted meanwhile.
    pub(crate) fn unstage(&mut self, append: AppendId, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.pending.get_mut(topic) else { return false };
        let Some(appends) = partitions.get_mut(&partition) else { return false };
        let Some(position) = appends.iter().position(|staged| *staged == append) else { return false };
        appends.remove(position);
        if appends.is_empty() {
            partitions.remove(&partition);
        }
        if partitions.is_empty() {
            self.pending.remove(topic);
        }
        true
    }

    /// Makes an acknowledged offset visible, unless a later one is visible already.
    pub(crate) fn apply(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        batch_offset: i64,
        committed: CommittedOffset,
    ) {
        let slot = self.committed.entry(topic.clone()).or_default();
        if slot.get(&partition).is_none_or(|current| current.batch_offset <= batch_offset) {
            slot.insert(partition, Logged { batch_offset, committed });
        }
    }

    /// Holds an offset back until its transaction ends.
    pub(crate) fn apply_transactional(
        &mut self,
        producer_id: i64,
        topic: &Arc<str>,
        partition: i32,
        batch_offset: i64,
        committed: CommittedOffset,
    ) {
        let offsets = self.transactional.entry(producer_id).or_default();
        offsets.entry(topic.clone()).or_default().insert(partition, Logged { batch_offset, committed });
    }

    /// A tombstone inside a transaction takes back what the same transaction wrote.
    pub(crate) fn forget_transactional(&mut self, producer_id: i64, topic: &str, partition: i32) {
        let Some(offsets) = self.transactional.get_mut(&producer_id) else { return };
        remove_from(offsets, topic, partition);
        if offsets.is_empty() {
            self.transactional.remove(&producer_id);
        }
    }

    /// The transaction's marker is in the log: its offsets count, or never happened.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let Some(offsets) = self.transactional.remove(&producer_id) else { return };
        if !commit {
            return;
        }
        for (topic, partitions) in offsets {
            for (partition, logged) in partitions {
                self.apply(&topic, partition, logged.batch_offset, logged.committed);
            }
        }
    }

    /// A tombstone is in the log: what stands before it is gone, also what is acknowledged later.
    pub(crate) fn bury(&mut self, append: AppendId, batch_offset: i64, topic: &str, partition: i32) {
        let is_gone = |logged: &mut Logged| logged.batch_offset < batch_offset;
        remove_if(&mut self.committed, topic, partition, is_gone);
        self.transactional.retain(|_, offsets| {
            remove_if(offsets, topic, partition, is_gone);
            !offsets.is_empty()
        });
        remove_if(&mut self.pending, topic, partition, |appends: &mut Vec<AppendId>| {
            appends.retain(|staged| *staged > append);
            appends.is_empty()
        });
    }

    /// Whether the log may hold a record of the partition outside open transactions.
    pub(crate) fn is_logged(&self, topic: &str, partition: i32) -> bool {
        self.get(topic, partition).is_some() || self.is_pending(topic, partition)
    }

    pub(crate) fn has_open_transactions(&self) -> bool {
        !self.transactional.is_empty()
    }

    /// A tombstone read from the log. Open transactions that wrote later are not touched.
    pub(crate) fn forget_committed(&mut self, topic: &str, partition: i32) {
        remove_from(&mut self.committed, topic, partition);
    }

    /// Every partition the log may hold a record of outside open transactions.
    pub(crate) fn logged_partitions(&self) -> Vec<TopicPartition> {
        let mut all: Vec<TopicPartition> =
            partitions_of(&self.committed).chain(partitions_of(&self.pending)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Partitions whose retention has passed: after their own expiry time where they have one, otherwise
    /// `retention_ms` after `base(offset)`. Partitions with a commit under way are left alone.
    pub(crate) fn expired(
        &self,
        now_ms: i64,
        retention_ms: i64,
        base: impl Fn(&CommittedOffset) -> i64,
        is_in_use: impl Fn(&str) -> bool,
    ) -> Vec<TopicPartition> {
        self.iter()
            .filter(|(topic, partition, _)| !is_in_use(topic) && !self.is_pending(topic, *partition))
            .filter(|(_, _, committed)| match committed.expire_timestamp_ms {
                Some(expire_ms) => now_ms >= expire_ms,
                None => now_ms.saturating_sub(base(committed)) >= retention_ms,
            })
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect()
    }
}

fn partitions_of<T>(map: &ByPartition<T>) -> impl Iterator<Item = TopicPartition> {
    map.iter()
        .flat_map(|(topic, partitions)| partitions.keys().map(move |partition| (topic.clone(), *partition)))
}

fn remove_from<T>(map: &mut ByPartition<T>, topic: &str, partition: i32) {
    remove_if(map, topic, partition, |_: &mut T| true);
}

fn remove_if<T>(map: &mut ByPartition<T>, topic: &str, partition: i32, is_gone: impl FnOnce(&mut T) -> bool) {
    let Some(partitions) = map.get_mut(topic) else { return };
    if partitions.get_mut(&partition).is_some_and(is_gone) {
        partitions.remove(&partition);
    }
    if partitions.is_empty() {
        map.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
        }
    }

    /// A transaction's offset that stands earlier in the log than a plain commit must not undo it.
    #[test]
    fn the_later_record_wins_whatever_arrives_first() {
        let topic: Arc<str> = "t".into();
        let mut offsets = Offsets::default();
        offsets.apply_transactional(7, &topic, 0, 10, offset(100));
        assert!(offsets.is_unstable("t", 0));
        assert_eq!(offsets.get("t", 0), None);
        offsets.apply(&topic, 0, 11, offset(50));
        offsets.end_transaction(7, true);
        assert_eq!(offsets.get("t", 0).map(|o| o.offset), Some(50));
        assert!(!offsets.is_unstable("t", 0));
    }

    /// An aborted transaction leaves nothing behind.
    #[test]
    fn an_aborted_transaction_never_happened() {
        let topic: Arc<str> = "t".into();
        let mut offsets = Offsets::default();
        offsets.apply_transactional(7, &topic, 0, 10, offset(100));
        offsets.end_transaction(7, false);
        assert!(offsets.is_empty());
    }

    /// A tombstone between append and acknowledgement must not be undone by the acknowledgement; what
    /// stands after it in the log lives.
    #[test]
    fn a_tombstone_takes_what_stands_before_it() {
        let topic: Arc<str> = "t".into();
        let mut offsets = Offsets::default();
        offsets.apply(&topic, 1, 3, offset(1));
        offsets.apply(&topic, 2, 9, offset(2));
        offsets.stage(AppendId(1), &topic, 0);
        offsets.stage(AppendId(3), &topic, 0);
        for partition in 0..3 {
            offsets.bury(AppendId(2), 5, "t", partition);
        }
        assert!(!offsets.unstage(AppendId(1), "t", 0));
        assert!(offsets.unstage(AppendId(3), "t", 0));
        assert_eq!(offsets.get("t", 1), None);
        assert_eq!(offsets.get("t", 2).map(|o| o.offset), Some(2));
    }
}
