//! Deleting groups and offsets: by request, by age, with their topics.
//!
//! Tombstones are appended first; only once they are acknowledged does the group forget, and then only
//! what stands before them in the log: a commit made meanwhile survives.

use std::sync::Arc;

use kafka_proto::ErrorCode;

use crate::effect::{AppendId, Reply, Token};
use crate::error::AppendError;
use crate::records;
use crate::shard::Pending;

use super::offsets::TopicPartition;
use super::{CONSUMER_PROTOCOL_TYPE, Group, GroupState, Step};

/// Keeps a batch far below `max.message.bytes`, however many partitions a group has read.
const TOMBSTONES_PER_BATCH: usize = 1000;

/// Tombstones on their way into the log.
#[derive(Debug)]
pub(crate) struct Forgetting {
    pub group: Arc<str>,
    partitions: Vec<TopicPartition>,
    /// The generation of the group that goes with its last offset.
    whole: Option<i32>,
    ending: Ending,
}

/// Who waits for tombstones.
#[derive(Debug, Clone)]
enum Ending {
    /// Nobody: what is lost is found and expired again.
    Nobody,
    DeleteGroup(Token),
    DeleteOffsets(Token, Vec<Result<(), ErrorCode>>),
}

impl Forgetting {
    /// The request that waits, and what it is told.
    pub fn reply(&self, outcome: Result<(), AppendError>) -> Option<(Token, Reply)> {
        let outcome = outcome.map_err(AppendError::for_commit);
        match &self.ending {
            Ending::Nobody => None,
            Ending::DeleteGroup(token) => Some((*token, Reply::DeleteGroup(outcome))),
            Ending::DeleteOffsets(token, outcomes) => {
                Some((*token, Reply::DeleteOffsets(outcome.map(|()| outcomes.clone()))))
            }
        }
    }
}

impl Group {
    /// DeleteGroups: only a group without members.
    pub(crate) fn on_delete(&mut self, step: &mut Step<'_>, token: Token) {
        let refusal = match self.state {
            GroupState::Empty => {
                tracing::info!(group = %self.id, "the group is deleted by request");
                self.pending_members.clear();
                let all = self.offsets.logged_partitions();
                self.forget(step, all, Some(self.generation_id), Ending::DeleteGroup(token));
                return;
            }
            GroupState::Dead => ErrorCode::GroupIdNotFound,
            _ => ErrorCode::NonEmptyGroup,
        };
        step.reply(token, Reply::DeleteGroup(Err(refusal)));
    }

    /// OffsetDelete (KIP-496): while consumers are in the group, only of topics none of them reads.
    pub(crate) fn on_delete_offsets(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        partitions: &[TopicPartition],
    ) {
        let has_members = match self.state {
            GroupState::Empty => Ok(false),
            GroupState::Dead => Err(ErrorCode::GroupIdNotFound),
            _ if self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE) => Ok(true),
            _ => Err(ErrorCode::NonEmptyGroup),
        };
        let has_members = match has_members {
            Ok(has_members) => has_members,
            Err(error) => return step.reply(token, Reply::DeleteOffsets(Err(error))),
        };
        let outcomes: Vec<Result<(), ErrorCode>> = partitions
            .iter()
            .map(|(topic, _)| match has_members && self.may_be_subscribed_to(topic) {
                true => Err(ErrorCode::GroupSubscribedToTopic),
                false => Ok(()),
            })
            .collect();
        let admitted = partitions.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        let admitted = admitted.map(|(partition, _)| partition.clone()).collect();
        self.forget_offsets(step, admitted, Ending::DeleteOffsets(token, outcomes));
    }

    /// The periodic check of `offsets.retention.check.interval.ms`.
    pub(crate) fn on_retention_check(&mut self, step: &mut Step<'_>) {
        let expired = self.expired_offsets(step);
        if !expired.is_empty() {
            tracing::info!(group = %self.id, partitions = expired.len(), "offsets expired");
        }
        self.forget_offsets(step, expired, Ending::Nobody);
    }

    /// The topics are gone for good.
    pub(crate) fn on_partitions_deleted(&mut self, step: &mut Step<'_>, partitions: &[TopicPartition]) {
        self.forget_offsets(step, partitions.to_vec(), Ending::Nobody);
    }

    /// KIP-211: a group with members keeps the offsets of the topics it reads; an empty one counts from
    /// when it became empty; one that only stores offsets counts from each commit.
    fn expired_offsets(&self, step: &Step<'_>) -> Vec<TopicPartition> {
        let (now_ms, retention_ms) = (step.now.wall_ms, step.config.offsets_retention_ms);
        let never_in_use = |_: &str| false;
        match &self.protocol_type {
            Some(_) if self.state == GroupState::Empty => {
                let since_ms = self.state_since_ms;
                let base = |offset: &super::CommittedOffset| since_ms.unwrap_or(offset.commit_timestamp_ms);
                self.offsets.expired(now_ms, retention_ms, base, never_in_use)
            }
            Some(kind) if kind == CONSUMER_PROTOCOL_TYPE && self.state == GroupState::Stable => {
                let Some(topics) = &self.subscribed_topics else { return Vec::new() };
                self.offsets.expired(now_ms, retention_ms, |o| o.commit_timestamp_ms, |t| topics.contains(t))
            }
            None => self.offsets.expired(now_ms, retention_ms, |o| o.commit_timestamp_ms, never_in_use),
            Some(_) => Vec::new(),
        }
    }

    /// An empty group goes with its last offset.
    fn forget_offsets(&mut self, step: &mut Step<'_>, mut partitions: Vec<TopicPartition>, ending: Ending) {
        partitions.retain(|(topic, partition)| self.offsets.is_logged(topic, *partition));
        partitions.sort();
        partitions.dedup();
        let is_last = self.state == GroupState::Empty
            && self.pending_members.is_empty()
            && !self.offsets.has_open_transactions()
            && self.offsets.logged_partitions() == partitions;
        let whole = is_last.then_some(self.generation_id);
        self.forget(step, partitions, whole, ending);
    }

    fn forget(
        &mut self,
        step: &mut Step<'_>,
        partitions: Vec<TopicPartition>,
        whole: Option<i32>,
        ending: Ending,
    ) {
        // Generation 0 means that no record of the group itself was ever written.
        let group_tombstone =
            whole.filter(|generation| *generation > 0).and_then(|_| records::group_tombstone(&self.id).ok());
        let mut last = Forgetting { group: self.id.clone(), partitions, whole, ending };
        // The last batch is acknowledged after all before it, so the story ends with it.
        while last.partitions.len() > TOMBSTONES_PER_BATCH {
            let partitions = last.partitions.drain(..TOMBSTONES_PER_BATCH).collect();
            let some = Forgetting { group: self.id.clone(), partitions, whole: None, ending: Ending::Nobody };
            let tombstones = self.tombstones(&some.partitions);
            step.append(tombstones, Pending::Forget(some));
        }
        let mut tombstones = self.tombstones(&last.partitions);
        tombstones.extend(group_tombstone);
        if !tombstones.is_empty() {
            step.append(tombstones, Pending::Forget(last));
            return;
        }
        if let Some((token, reply)) = last.reply(Ok(())) {
            step.reply(token, reply);
        }
        self.bury(step, last);
    }

    fn tombstones(&self, partitions: &[TopicPartition]) -> Vec<records::Record> {
        let one =
            |(topic, partition): &TopicPartition| records::offset_tombstone(&self.id, topic, *partition).ok();
        partitions.iter().filter_map(one).collect()
    }

    /// The tombstones are in the log.
    pub(crate) fn on_forgotten(
        &mut self,
        step: &mut Step<'_>,
        append: AppendId,
        batch_offset: i64,
        forgetting: Forgetting,
    ) {
        for (topic, partition) in &forgetting.partitions {
            self.offsets.bury(append, batch_offset, topic, *partition);
        }
        self.bury(step, forgetting);
    }

    /// Unless it came to life again meanwhile.
    fn bury(&mut self, step: &mut Step<'_>, forgetting: Forgetting) {
        let is_unchanged = self.state == GroupState::Empty && forgetting.whole == Some(self.generation_id);
        if is_unchanged && self.offsets.is_empty() && self.pending_members.is_empty() {
            tracing::info!(group = %self.id, generation = self.generation_id, "nothing is left of the group; it is forgotten");
            self.become_state(GroupState::Dead, step.now);
        }
    }
}

/// Shares one name between the partitions of a topic.
pub(crate) fn topic_partitions(topics: &[(String, Vec<i32>)]) -> Vec<TopicPartition> {
    topics
        .iter()
        .flat_map(|(topic, partitions)| {
            let name: Arc<str> = topic.as_str().into();
            partitions.iter().map(move |partition| (name.clone(), *partition))
        })
        .collect()
}
