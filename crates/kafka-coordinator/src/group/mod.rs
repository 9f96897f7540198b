//! One group: its state, its members, its offsets.
//!
//! This file holds the state and the small moves every operation is made of; the operations are beside
//! it, one file each. Invariants ([`Group::check`]): a group with members has a leader among them, of
//! a protocol type, with at least one protocol that all support; nobody waits for a join outside
//! `PreparingRebalance` (except a static member whose return is being stored), nor for a sync outside
//! `CompletingRebalance`.

mod commit;
mod heartbeat;
mod join;
mod leave;
mod member;
mod offsets;
mod protocols;
mod rebalance;
mod remove;
mod restore;
mod static_join;
mod summary;
mod sync;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use commit::OffsetsToStore;
pub use member::Member;
pub use offsets::{CommittedOffset, Offsets};
pub(crate) use remove::{Forgetting, topic_partitions};
pub(crate) use static_join::StaticReturn;
pub use summary::{GroupOverview, GroupSummary, MemberSummary};
pub(crate) use sync::AssignmentToStore;

use crate::config::GroupConfig;
use crate::effect::{Effect, JoinReply, Now, Reply, SyncReply, Token};
use crate::request::Protocol;
use crate::shard::InFlight;
use kafka_proto::ErrorCode;

/// Where a group is in its life; the module's head has the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members; lives on for its offsets.
    Empty,
    /// Waiting for members to (re)join.
    PreparingRebalance,
    /// Waiting for the leader's assignment to arrive and be stored.
    CompletingRebalance,
    /// Everybody has, or can fetch, an assignment.
    Stable,
    /// Deleted, expired or moved away; about to be forgotten.
    Dead,
}

impl GroupState {
    /// The name clients and tools see.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }

    fn may_follow(self, from: GroupState) -> bool {
        use GroupState::*;
        match self {
            Empty => from == PreparingRebalance,
            PreparingRebalance => matches!(from, Stable | CompletingRebalance | Empty),
            CompletingRebalance => from == PreparingRebalance,
            Stable => from == CompletingRebalance,
            Dead => true,
        }
    }
}

/// What an operation on a group may use besides the group.
pub(crate) struct Step<'a> {
    pub now: Now,
    pub config: &'a GroupConfig,
    pub in_flight: &'a mut InFlight,
    pub effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply { token, reply });
    }
}

/// A running wait for members to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JoinWait {
    deadline_ms: i64,
    /// Only the first rebalance of an empty group: it waits its whole delay even when everybody is
    /// there, and again when more came, as long as time remains.
    initial: Option<InitialWait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InitialWait {
    delay_ms: i64,
    remaining_ms: i64,
}

/// One group.
#[derive(Debug)]
pub struct Group {
    id: Arc<str>,
    state: GroupState,
    /// Wall clock; unknown for groups whose record has no such field.
    state_since_ms: Option<i64>,
    generation_id: i32,
    protocol_type: Option<String>,
    protocol_name: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Instance id to current member id.
    static_members: BTreeMap<String, String>,
    /// Member ids given out but not yet used, with the deadline until which they are kept.
    pending_members: BTreeMap<String, i64>,
    /// Members whose sync for this generation has not come.
    pending_syncs: BTreeSet<String>,
    /// How many members support each protocol.
    protocol_support: BTreeMap<String, usize>,
    /// How many members wait for a join reply.
    joining: usize,
    /// Known only for groups of the `consumer` protocol type whose subscriptions could be read.
    subscribed_topics: Option<BTreeSet<String>>,
    /// Somebody joined during the initial wait; it may be prolonged.
    new_member_added: bool,
    join_wait: Option<JoinWait>,
    sync_deadline_ms: Option<i64>,
    /// No deadline of the group is earlier. May be too early, never too late.
    wake_at_ms: i64,
    offsets: Offsets,
}

/// The protocol type of Kafka's consumers; the only one whose subscriptions the coordinator can read.
pub(crate) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// A wake time that never comes.
pub(crate) const NEVER: i64 = i64::MAX;

impl Group {
    /// A group nobody has joined yet.
    pub(crate) fn new(id: Arc<str>, now: Now) -> Self {
        Group {
            id,
            state: GroupState::Empty,
            state_since_ms: Some(now.wall_ms),
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            protocol_support: BTreeMap::new(),
            joining: 0,
            subscribed_topics: None,
            new_member_added: false,
            join_wait: None,
            sync_deadline_ms: None,
            wake_at_ms: NEVER,
            offsets: Offsets::default(),
        }
    }

    pub fn state(&self) -> GroupState {
        self.state
    }

    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    pub(crate) fn offsets_mut(&mut self) -> &mut Offsets {
        &mut self.offsets
    }

    /// Nothing would be lost if the group were forgotten: it was only looked at.
    pub(crate) fn is_blank(&self) -> bool {
        self.state == GroupState::Empty
            && self.generation_id == 0
            && self.pending_members.is_empty()
            && self.offsets.is_empty()
    }

    fn become_state(&mut self, state: GroupState, now: Now) {
        assert!(state.may_follow(self.state), "group {}: {:?} cannot become {state:?}", self.id, self.state);
        self.state = state;
        self.state_since_ms = Some(now.wall_ms);
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Static members are checked by name first: an old id with a name that moved on is fenced, not unknown.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => {
                    tracing::info!(
                        group = %self.id, member = member_id, instance = instance_id, %current,
                        "fenced a static member: its group.instance.id is used by a newer member"
                    );
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn add_member(&mut self, member: Member, protocol_type: String) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type);
        }
        if let Some(instance_id) = &member.instance_id {
            let before = self.static_members.insert(instance_id.clone(), member.id.clone());
            assert!(before.is_none(), "a static member returns through replace_static_member");
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_protocols(&member.protocols);
        self.joining += usize::from(member.is_joining());
        self.pending_members.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Forgets a member (or an id given out but not used) and answers what it waited for. The caller
    /// decides whether the group rebalances.
    fn remove_member(&mut self, step: &mut Step<'_>, member_id: &str) {
        self.pending_members.remove(member_id);
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            self.sync_deadline_ms = None;
        }
        let Some(mut member) = self.members.remove(member_id) else { return };
        self.uncount_protocols(&member.protocols);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        if let Some(token) = member.take_join() {
            self.joining -= 1;
            // An empty member id makes the consumer join as a new one, if it is still there.
            step.reply(token, Reply::Join(JoinReply::refused("", ErrorCode::UnknownMemberId)));
        }
        if let Some(token) = member.take_sync() {
            step.reply(token, Reply::Sync(SyncReply::refused(ErrorCode::UnknownMemberId)));
        }
    }

    /// Takes over new metadata and lets the member wait for the next generation.
    fn update_member(&mut self, step: &mut Step<'_>, member_id: &str, update: MemberUpdate) {
        let member = self.members.get_mut(member_id).expect("the caller has found the member");
        let old = std::mem::replace(&mut member.protocols, update.protocols);
        member.rebalance_timeout_ms = update.rebalance_timeout_ms;
        member.session_timeout_ms = update.session_timeout_ms;
        let superseded = member.park_join(update.token);
        let new = member.protocols.clone();
        match superseded {
            // The client has given up on its earlier request; nothing reads this answer, but it is owed.
            Some(token) => {
                let reply = JoinReply::refused(member_id, ErrorCode::RebalanceInProgress);
                step.reply(token, Reply::Join(reply));
            }
            None => self.joining += 1,
        }
        self.uncount_protocols(&old);
        self.count_protocols(&new);
    }

    fn reply_join(&mut self, step: &mut Step<'_>, member_id: &str, reply: JoinReply) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(token) = member.take_join() {
            self.joining -= 1;
            step.reply(token, Reply::Join(reply));
        }
    }

    /// The group as a member that need not, or may not, assign sees it.
    fn joined_reply(&self, member_id: &str) -> JoinReply {
        JoinReply {
            error: None,
            member_id: member_id.to_owned(),
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if self.is_leader(member_id) { self.joined_members() } else { Vec::new() },
        }
    }
}

/// What a joining member brings along.
struct MemberUpdate {
    protocols: Vec<Protocol>,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
    token: Token,
}

impl Group {
    /// Panics if an invariant is broken. For tests and simulation.
    pub fn check(&self) {
        let id = &self.id;
        if self.members.is_empty() {
            assert!(
                !matches!(self.state, GroupState::Stable | GroupState::CompletingRebalance),
                "{id}: {:?} without members",
                self.state
            );
        } else {
            assert!(
                !matches!(self.state, GroupState::Empty | GroupState::Dead),
                "{id}: members while {:?}",
                self.state
            );
            let leader = self.leader.as_ref().expect("a group with members has a leader");
            assert!(self.members.contains_key(leader), "{id}: the leader is no member");
            assert!(!self.candidate_protocols().is_empty(), "{id}: no protocol is common to all");
            assert!(self.protocol_type.is_some(), "{id}: no protocol type");
        }
        self.check_waiting();
        self.check_indexes();
    }

    fn check_waiting(&self) {
        let id = &self.id;
        assert_eq!(
            self.joining,
            self.members.values().filter(|member| member.is_joining()).count(),
            "{id}: joining"
        );
        assert_eq!(
            self.join_wait.is_some(),
            self.state == GroupState::PreparingRebalance,
            "{id}: a join wait belongs to PreparingRebalance and only there"
        );
        for member in self.members.values() {
            let may_join = self.state == GroupState::PreparingRebalance
                || (self.state == GroupState::Stable && member.instance_id.is_some());
            assert!(may_join || !member.is_joining(), "{id}: {} joins while {:?}", member.id, self.state);
            assert!(
                self.state == GroupState::CompletingRebalance || !member.is_syncing(),
                "{id}: {} syncs while {:?}",
                member.id,
                self.state
            );
        }
    }

    fn check_indexes(&self) {
        let id = &self.id;
        let mut support: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            for protocol in &member.protocols {
                *support.entry(&protocol.name).or_default() += 1;
            }
            if let Some(instance) = &member.instance_id {
                assert_eq!(self.static_members.get(instance), Some(&member.id), "{id}: static index");
            }
            assert!(!self.pending_members.contains_key(&member.id), "{id}: a member is not pending");
        }
        let statics = self.members.values().filter(|member| member.instance_id.is_some()).count();
        assert_eq!(self.static_members.len(), statics, "{id}: static index");
        let counted: BTreeMap<&str, usize> =
            self.protocol_support.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counted, support, "{id}: protocol counts");
        assert!(
            self.pending_syncs.iter().all(|member| self.members.contains_key(member)),
            "{id}: pending syncs"
        );
        assert!(self.wake_at_ms <= self.earliest_deadline(), "{id}: a deadline would be missed");
    }
}
