//! The groups of one partition of `__consumer_offsets`.
//!
//! Finds the group, lets it act, then settles: timers that are due fire, the wake time is noted, a
//! group with nothing left is dropped. Invariant: every group's wake time stands in `timers`.

mod appended;
mod in_flight;
mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_proto::ErrorCode;
use kafka_proto::messages::data::group_metadata::GroupMetadataValue;

pub(crate) use in_flight::{InFlight, Pending};
pub use query::FetchedOffset;

use crate::config::GroupConfig;
use crate::effect::{AppendId, Effect, JoinReply, Now, Reply, SyncReply, Token};
use crate::group::{Group, GroupState, NEVER, Offsets, Step, topic_partitions};
use crate::records::Record;
use crate::request::{CommitRequest, JoinRequest, LeavingMember, MemberRef, SyncRequest};

/// A group and the wake time noted for it.
#[derive(Debug)]
struct Slot {
    group: Group,
    armed_ms: i64,
}

/// All groups of one partition. The crate's head tells how to drive it.
#[derive(Debug)]
pub struct Shard {
    partition: i32,
    config: Arc<GroupConfig>,
    groups: BTreeMap<Arc<str>, Slot>,
    /// Groups by wake time.
    timers: BTreeSet<(i64, Arc<str>)>,
    retention_check_ms: i64,
    in_flight: InFlight,
}

impl Step<'_> {
    /// Hands out records to append; `pending` says what follows.
    pub(crate) fn append(&mut self, records: Vec<Record>, pending: Pending) -> AppendId {
        let id = self.in_flight.register(pending);
        self.effects.push(Effect::Append { id, timestamp_ms: self.now.wall_ms, records });
        id
    }
}

impl Shard {
    /// A shard without groups; [`crate::Loader`] fills one from the log.
    pub fn new(partition: i32, now: Now, config: Arc<GroupConfig>) -> Self {
        let retention_check_ms =
            now.mono_ms.saturating_add(config.offsets_retention_check_interval_ms.max(1));
        Shard {
            partition,
            config,
            groups: BTreeMap::new(),
            timers: BTreeSet::new(),
            retention_check_ms,
            in_flight: InFlight::default(),
        }
    }

    /// The partition of `__consumer_offsets`.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    pub(crate) fn restore(
        &mut self,
        now: Now,
        id: Arc<str>,
        metadata: Option<GroupMetadataValue>,
        offsets: Offsets,
        effects: &mut Vec<Effect>,
    ) {
        let group = Group::restore(id.clone(), metadata, offsets, now);
        self.groups.insert(id.clone(), Slot { group, armed_ms: NEVER });
        self.with_group(now, &id, effects, |group, step| group.on_loaded(step));
    }

    /// Lets a group act, if it exists, and settles it.
    fn with_group<R>(
        &mut self,
        now: Now,
        id: &str,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Group, &mut Step<'_>) -> R,
    ) -> Option<R> {
        let slot = self.groups.get_mut(id)?;
        let mut step = Step { now, config: &self.config, in_flight: &mut self.in_flight, effects };
        let result = act(&mut slot.group, &mut step);
        slot.group.on_tick(&mut step);

        let is_over = slot.group.state() == GroupState::Dead || slot.group.is_blank();
        let wake_ms = if is_over { NEVER } else { slot.group.wake_at_ms() };
        if wake_ms != slot.armed_ms {
            let armed_ms = std::mem::replace(&mut slot.armed_ms, wake_ms);
            self.rearm(id, armed_ms, wake_ms);
        }
        if is_over {
            self.groups.remove(id);
        }
        Some(result)
    }

    fn rearm(&mut self, id: &str, old_ms: i64, new_ms: i64) {
        let name: Arc<str> = id.into();
        if old_ms != NEVER {
            self.timers.remove(&(old_ms, name.clone()));
        }
        if new_ms != NEVER {
            self.timers.insert((new_ms, name));
        }
    }

    fn ensure_group(&mut self, now: Now, id: &str) {
        if !self.groups.contains_key(id) {
            let name: Arc<str> = id.into();
            self.groups.insert(name.clone(), Slot { group: Group::new(name, now), armed_ms: NEVER });
        }
    }

    /// JoinGroup. The reply may wait for the whole rebalance.
    pub fn join(&mut self, now: Now, token: Token, request: JoinRequest, effects: &mut Vec<Effect>) {
        let limits = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        if !limits.contains(&request.session_timeout_ms) {
            let reply = JoinReply::refused(request.member_id, ErrorCode::InvalidSessionTimeout);
            effects.push(Effect::Reply { token, reply: Reply::Join(reply) });
            return;
        }
        if request.member_id.is_empty() {
            self.ensure_group(now, &request.group_id);
        }
        let (group_id, member_id) = (request.group_id.clone(), request.member_id.clone());
        if self
            .with_group(now, &group_id, effects, |group, step| group.on_join(step, token, request))
            .is_none()
        {
            let reply = JoinReply::refused(member_id, ErrorCode::UnknownMemberId);
            effects.push(Effect::Reply { token, reply: Reply::Join(reply) });
        }
    }

    /// SyncGroup. The reply may wait for the leader's assignment to be stored.
    pub fn sync(&mut self, now: Now, token: Token, request: SyncRequest, effects: &mut Vec<Effect>) {
        let group_id = request.group_id.clone();
        if self
            .with_group(now, &group_id, effects, |group, step| group.on_sync(step, token, request))
            .is_none()
        {
            let reply = SyncReply::refused(ErrorCode::UnknownMemberId);
            effects.push(Effect::Reply { token, reply: Reply::Sync(reply) });
        }
    }

    /// Heartbeat, answered at once.
    pub fn heartbeat(
        &mut self,
        now: Now,
        group_id: &str,
        member: &MemberRef,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.with_group(now, group_id, effects, |group, step| group.on_heartbeat(step, member))
            .unwrap_or(Err(ErrorCode::UnknownMemberId))
    }

    /// LeaveGroup, answered at once: one outcome for each member, in order.
    pub fn leave(
        &mut self,
        now: Now,
        group_id: &str,
        leaving: &[LeavingMember],
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        self.with_group(now, group_id, effects, |group, step| group.on_leave(step, leaving))
            .unwrap_or_else(|| Ok(vec![Err(ErrorCode::UnknownMemberId); leaving.len()]))
    }

    /// OffsetCommit. The reply waits for the append.
    pub fn commit(&mut self, now: Now, token: Token, request: CommitRequest, effects: &mut Vec<Effect>) {
        if request.member.generation_id < 0 {
            // Not a managed group: it comes to life with its first offset.
            self.ensure_group(now, &request.group_id);
        }
        let (group_id, count) = (request.group_id.clone(), request.offsets.len());
        if self
            .with_group(now, &group_id, effects, |group, step| group.on_commit(step, token, request))
            .is_none()
        {
            let reply = Reply::Commit(vec![Err(ErrorCode::IllegalGeneration); count]);
            effects.push(Effect::Reply { token, reply });
        }
    }

    /// DeleteGroups, for one group. The reply waits for the tombstones.
    pub fn delete_group(&mut self, now: Now, token: Token, group_id: &str, effects: &mut Vec<Effect>) {
        if self.with_group(now, group_id, effects, |group, step| group.on_delete(step, token)).is_none() {
            let reply = Reply::DeleteGroup(Err(ErrorCode::GroupIdNotFound));
            effects.push(Effect::Reply { token, reply });
        }
    }

    /// OffsetDelete. The reply waits for the tombstones.
    pub fn delete_offsets(
        &mut self,
        now: Now,
        token: Token,
        group_id: &str,
        topics: &[(String, Vec<i32>)],
        effects: &mut Vec<Effect>,
    ) {
        let partitions = topic_partitions(topics);
        let act = |group: &mut Group, step: &mut Step<'_>| group.on_delete_offsets(step, token, &partitions);
        if self.with_group(now, group_id, effects, act).is_none() {
            let reply = Reply::DeleteOffsets(Err(ErrorCode::GroupIdNotFound));
            effects.push(Effect::Reply { token, reply });
        }
    }

    /// Partitions of the cluster were deleted: nobody needs their offsets.
    pub fn on_partitions_deleted(
        &mut self,
        now: Now,
        topics: &[(String, Vec<i32>)],
        effects: &mut Vec<Effect>,
    ) {
        let partitions = topic_partitions(topics);
        for id in self.group_ids() {
            self.with_group(now, &id, effects, |group, step| group.on_partitions_deleted(step, &partitions));
        }
    }

    /// The transaction's marker is in the log: its offsets take effect, or never do.
    pub fn on_transaction_ended(&mut self, producer_id: i64, commit: bool) {
        for slot in self.groups.values_mut() {
            slot.group.offsets_mut().end_transaction(producer_id, commit);
        }
    }

    /// When [`Shard::on_tick`] has something to do, on the monotonic clock.
    pub fn next_deadline(&self) -> i64 {
        let first = self.timers.first().map_or(NEVER, |(wake_ms, _)| *wake_ms);
        first.min(self.retention_check_ms)
    }

    /// Does what is due by now.
    pub fn on_tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let due: Vec<Arc<str>> = self
            .timers
            .iter()
            .take_while(|(wake_ms, _)| *wake_ms <= now.mono_ms)
            .map(|(_, name)| name.clone())
            .collect();
        for name in due {
            // Settling is what fires the timers.
            self.with_group(now, &name, effects, |_, _| ());
        }
        if self.retention_check_ms <= now.mono_ms {
            let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
            self.retention_check_ms = now.mono_ms.saturating_add(interval_ms);
            for id in self.group_ids() {
                self.with_group(now, &id, effects, |group, step| group.on_retention_check(step));
            }
        }
    }

    fn group_ids(&self) -> Vec<Arc<str>> {
        self.groups.keys().cloned().collect()
    }
}
