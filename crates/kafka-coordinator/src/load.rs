//! Rebuilds a shard from the records of its partition.
//!
//! The shell reads the log from its start to its end and passes every record. What counts is the last
//! record of each key. Offsets committed in a transaction count once its commit marker is seen, at
//! the place where they were written; those of a transaction still open stay hidden.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_proto::messages::data::group_metadata::GroupMetadataValue;
use kafka_proto::wire::WireError;

use crate::config::GroupConfig;
use crate::effect::{Effect, Now};
use crate::group::Offsets;
use crate::records::{self, Key};
use crate::shard::Shard;

/// Facts of the batch a record came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchInfo {
    /// The batch's base offset.
    pub base_offset: i64,
    /// The producer whose transaction the batch belongs to; `None` for plain appends.
    pub transaction_of: Option<i64>,
}

#[derive(Debug, Default)]
struct LoadingGroup {
    metadata: Option<GroupMetadataValue>,
    offsets: Offsets,
}

/// A shard being loaded.
#[derive(Debug)]
pub struct Loader {
    partition: i32,
    groups: BTreeMap<Arc<str>, LoadingGroup>,
    /// Groups with offsets in each producer's open transaction.
    open: BTreeMap<i64, BTreeSet<Arc<str>>>,
    skipped: u64,
}

impl Loader {
    /// `partition` is the partition of `__consumer_offsets`.
    pub fn new(partition: i32) -> Self {
        Loader { partition, groups: BTreeMap::new(), open: BTreeMap::new(), skipped: 0 }
    }

    /// The next record. One that cannot be read is reported with its offset and left out; refusing the
    /// whole partition would take every group of it down.
    pub fn on_record(&mut self, batch: BatchInfo, offset: i64, key: Option<Bytes>, value: Option<Bytes>) {
        if let Err(error) = self.replay(batch, key, value) {
            self.skipped += 1;
            tracing::error!(
                partition = self.partition, offset, %error,
                "a record of __consumer_offsets cannot be read and is left out; the group or offset it describes keeps its older value"
            );
        }
    }

    fn replay(
        &mut self,
        batch: BatchInfo,
        key: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<(), ReplayError> {
        match records::parse_key(key.ok_or(ReplayError::NoKey)?)? {
            Key::Offset { group, topic, partition } => {
                self.replay_offset(batch, group.into(), topic.into(), partition, value)?;
            }
            Key::Group { group } => {
                let metadata = value.map(records::parse_group_value).transpose()?;
                self.groups.entry(group.into()).or_default().metadata = metadata;
            }
            Key::Unknown { version } => {
                tracing::warn!(
                    partition = self.partition,
                    version,
                    "skipped a record of __consumer_offsets with an unknown key version; it may be left over from an upgrade that was undone"
                );
            }
        }
        Ok(())
    }

    fn replay_offset(
        &mut self,
        batch: BatchInfo,
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        value: Option<Bytes>,
    ) -> Result<(), WireError> {
        let committed = value.map(records::parse_offset_value).transpose()?;
        let offsets = &mut self.groups.entry(group.clone()).or_default().offsets;
        match (batch.transaction_of, committed) {
            (None, Some(committed)) => offsets.apply(&topic, partition, batch.base_offset, committed),
            (None, None) => offsets.forget_committed(&topic, partition),
            (Some(producer_id), Some(committed)) => {
                offsets.apply_transactional(producer_id, &topic, partition, batch.base_offset, committed);
                self.open.entry(producer_id).or_default().insert(group);
            }
            (Some(producer_id), None) => offsets.forget_transactional(producer_id, &topic, partition),
        }
        Ok(())
    }

    /// A commit (or abort) marker.
    pub fn on_marker(&mut self, producer_id: i64, commit: bool) {
        for group in self.open.remove(&producer_id).unwrap_or_default() {
            if let Some(loading) = self.groups.get_mut(&group) {
                loading.offsets.end_transaction(producer_id, commit);
            }
        }
    }

    /// The end of the log is reached: sessions start, requests may come.
    pub fn finish(self, now: Now, config: Arc<GroupConfig>, effects: &mut Vec<Effect>) -> Shard {
        if self.skipped > 0 {
            tracing::error!(
                partition = self.partition,
                records = self.skipped,
                "records of __consumer_offsets could not be read; see the messages above"
            );
        }
        let mut shard = Shard::new(self.partition, now, config);
        for (id, loading) in self.groups {
            if loading.metadata.is_some() || !loading.offsets.is_empty() {
                shard.restore(now, id, loading.metadata, loading.offsets, effects);
            }
        }
        shard
    }
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("the record has no key")]
    NoKey,
    #[error(transparent)]
    Wire(#[from] WireError),
}
