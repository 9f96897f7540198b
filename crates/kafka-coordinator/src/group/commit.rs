//! OffsetCommit: check, append, make visible once acknowledged.

use std::sync::Arc;

use crate::effect::{Reply, Token};
use kafka_proto::ErrorCode;

use crate::error::AppendError;
use crate::records;
use crate::request::{CommitRequest, MemberRef, OffsetToCommit};
use crate::shard::Pending;

use super::{CommittedOffset, Group, GroupState, Step};

/// Offsets on their way into the log.
#[derive(Debug)]
pub(crate) struct OffsetsToStore {
    pub group: Arc<str>,
    pub token: Token,
    /// One for each offset of the request; `Ok` for those that were appended.
    pub outcomes: Vec<Result<(), ErrorCode>>,
    pub offsets: Vec<(Arc<str>, i32, CommittedOffset)>,
}

impl OffsetsToStore {
    /// What the client is told once the append is settled.
    pub fn outcomes_after(&self, outcome: Result<(), AppendError>) -> Vec<Result<(), ErrorCode>> {
        let stored = outcome.map_err(AppendError::for_commit);
        self.outcomes.iter().map(|own| own.and(stored)).collect()
    }
}

impl Group {
    /// Answers when the offsets are in the log.
    pub(crate) fn on_commit(&mut self, step: &mut Step<'_>, token: Token, request: CommitRequest) {
        if let Err(error) =
            self.check_commit(&request.member).and_then(|()| self.admit_commit(step, &request.member))
        {
            step.reply(token, Reply::Commit(vec![Err(error); request.offsets.len()]));
            return;
        }
        let mut to_store =
            OffsetsToStore { group: self.id.clone(), token, outcomes: Vec::new(), offsets: Vec::new() };
        let mut topic: Arc<str> = "".into();
        for offset in request.offsets {
            if utf16_len_exceeds(&offset.metadata, step.config.offset_metadata_max) {
                to_store.outcomes.push(Err(ErrorCode::OffsetMetadataTooLarge));
                continue;
            }
            if *topic != *offset.topic {
                topic = offset.topic.as_str().into();
            }
            to_store.outcomes.push(Ok(()));
            to_store.offsets.push((topic.clone(), offset.partition, committed_offset(step, offset)));
        }
        if to_store.offsets.is_empty() {
            step.reply(token, Reply::Commit(to_store.outcomes));
        } else {
            self.store_offsets(step, to_store);
        }
    }

    /// Members commit for their generation; without members anybody may, that is how consumers with
    /// partitions of their own choice and administrators store offsets.
    fn check_commit(&self, member: &MemberRef) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if self.state == GroupState::Empty && member.generation_id < 0 {
            return Ok(());
        }
        if member.generation_id < 0 && member.member_id.is_empty() && member.instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&member.member_id, member.instance_id.as_deref())?;
        if member.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(())
    }

    fn admit_commit(&mut self, step: &Step<'_>, member: &MemberRef) -> Result<(), ErrorCode> {
        match self.state {
            GroupState::Empty => Ok(()),
            // Members that hear of the rebalance commit once more before they give up their partitions.
            GroupState::Stable | GroupState::PreparingRebalance => {
                self.touch(step, &member.member_id);
                Ok(())
            }
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Dead => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    fn store_offsets(&mut self, step: &mut Step<'_>, to_store: OffsetsToStore) {
        let records: Result<Vec<_>, _> = to_store
            .offsets
            .iter()
            .map(|(topic, partition, offset)| records::offset_record(&self.id, topic, *partition, offset))
            .collect();
        let Ok(records) = records else {
            let outcomes = to_store.outcomes_after(Err(AppendError::TooLarge));
            step.reply(to_store.token, Reply::Commit(outcomes));
            return;
        };
        let partitions: Vec<_> = to_store.offsets.iter().map(|(topic, p, _)| (topic.clone(), *p)).collect();
        let append = step.append(records, Pending::Commit(to_store));
        for (topic, partition) in &partitions {
            self.offsets.stage(append, topic, *partition);
        }
    }
}

fn committed_offset(step: &Step<'_>, offset: OffsetToCommit) -> CommittedOffset {
    let now_ms = step.now.wall_ms;
    CommittedOffset {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata,
        commit_timestamp_ms: offset.commit_timestamp_ms.unwrap_or(now_ms),
        expire_timestamp_ms: offset.retention_ms.map(|retention_ms| now_ms.saturating_add(retention_ms)),
    }
}

/// Java counts UTF-16 code units; there are never more of them than bytes.
fn utf16_len_exceeds(text: &str, max: usize) -> bool {
    text.len() > max && text.encode_utf16().count() > max
}
