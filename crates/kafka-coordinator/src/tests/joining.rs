//! Joining, syncing, leaving, expiring.

use kafka_proto::ErrorCode;

use super::*;
use crate::error::AppendError;
use crate::{GroupConfig, GroupState};

/// The first member leads, gets everybody's subscription, and its assignment makes the group stable.
#[test]
fn a_single_member_becomes_a_stable_group() {
    let mut world = World::new();
    let token = world.join_as("");
    let joined = world.joined(token);
    assert_eq!(joined.error, None);
    assert_eq!((joined.generation_id, joined.leader.as_str()), (1, joined.member_id.as_str()));
    assert!(joined.member_id.starts_with("c-uuid"));
    assert_eq!(joined.protocol_name.as_deref(), Some(ASSIGNOR));
    assert_eq!(joined.members.len(), 1);
    let sync = world.sync(&joined, &[(&joined.member_id, "all")]);
    assert_eq!(world.synced(sync).assignment, "all");
    assert_eq!(world.shard.describe("g").state, GroupState::Stable);
    assert_eq!(world.heartbeat(&member_of(&joined)), 0);
}

/// KIP-394: the id comes first, and costs no rebalance if it is never used.
#[test]
fn a_new_member_is_given_its_id_first() {
    let mut world = World::new();
    let mut request = world.join_request("");
    request.member_id_required = true;
    let token = world.join(request);
    let refused = world.joined(token);
    assert_eq!(refused.error, Some(ErrorCode::MemberIdRequired));
    assert!(!refused.member_id.is_empty());
    let token = world.join_as(&refused.member_id);
    assert_eq!(world.joined(token).error, None);

    let token = world.join_as("never-given-out");
    assert_eq!(world.joined(token).error, Some(ErrorCode::UnknownMemberId));
}

/// An id that was given out and never used holds a rebalance up no longer than its session.
#[test]
fn an_unused_id_expires() {
    let mut world = World::new();
    let first = world.stable_single();
    let mut request = world.join_request("");
    request.member_id_required = true;
    world.join(request);
    let rejoin = world.join_as(&first.member_id);
    assert!(!world.is_answered(rejoin), "the coordinator waits for the announced member");
    world.advance(10_000);
    assert_eq!(world.joined(rejoin).error, None);
}

/// The initial delay gathers members, and is prolonged while more come.
#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut world = World::with(GroupConfig::default());
    let first = world.join_as("");
    world.advance(2_000);
    let second = world.join_as("");
    world.advance(1_500);
    assert!(!world.is_answered(first), "the second member prolonged the wait");
    world.advance(3_000);
    assert_eq!(world.joined(first).generation_id, 1);
    assert_eq!(world.joined(second).generation_id, 1);
    assert_eq!(world.joined(first).members.len(), 2);
    assert_eq!(world.joined(second).members.len(), 0, "followers do not get subscriptions");
}

/// A newcomer makes the others join again, and they learn of it by their heartbeats.
#[test]
fn members_learn_of_a_rebalance_by_heartbeat() {
    let mut world = World::new();
    let first = world.stable_single();
    let second = world.join_as("");
    assert!(!world.is_answered(second));
    assert_eq!(world.heartbeat(&member_of(&first)), ErrorCode::RebalanceInProgress as i16);
    let again = world.join_as(&first.member_id);
    assert_eq!(world.joined(again).generation_id, 2);
    assert_eq!(world.joined(second).generation_id, 2);
    assert_eq!(world.heartbeat(&member_of(&first)), ErrorCode::IllegalGeneration as i16);
}

/// Whoever does not join within the rebalance timeout is out.
#[test]
fn a_member_that_does_not_rejoin_is_removed() {
    let mut world = World::new();
    let (first, _silent) = world.stable_pair();
    let again = world.join_as(&first.member_id);
    for _ in 0..12 {
        world.advance(5_000);
    }
    let joined = world.joined(again);
    assert_eq!((joined.generation_id, joined.members.len()), (3, 1));
}

/// The votes decide between the protocols all members share.
#[test]
fn the_protocol_with_most_votes_wins() {
    let mut world = World::with(GroupConfig::default());
    let mut tokens = Vec::new();
    for names in [["a", "b"], ["b", "a"], ["b", "a"]] {
        let mut request = world.join_request("");
        let metadata = request.protocols[0].metadata.clone();
        request.protocols = names
            .iter()
            .map(|name| crate::Protocol { name: (*name).into(), metadata: metadata.clone() })
            .collect();
        tokens.push(world.join(request));
    }
    let stranger = world.join_as("");
    assert_eq!(world.joined(stranger).error, Some(ErrorCode::InconsistentGroupProtocol));
    world.advance(10_000);
    assert_eq!(world.joined(tokens[0]).protocol_name.as_deref(), Some("b"));
}

/// Syncs of followers wait for the leader, and for its assignment to be in the log.
#[test]
fn the_assignment_is_handed_out_once_it_is_stored() {
    let mut world = World::new();
    let first = world.stable_single();
    let second_token = world.join_as("");
    let first_token = world.join_as(&first.member_id);
    let (first, second) = (world.joined(first_token), world.joined(second_token));
    world.acknowledges = false;
    let follower = world.sync(&second, &[]);
    let leader = world.sync(&first, &[(&first.member_id, "one")]);
    assert!(!world.is_answered(follower) && !world.is_answered(leader));
    world.acknowledge_next(None);
    assert_eq!(world.synced(leader).assignment, "one");
    assert_eq!(world.synced(follower).assignment, "", "a forgotten member gets an empty assignment");
}

/// If the log refuses the assignment, everybody is told and the group starts over.
#[test]
fn a_failed_append_of_the_assignment_restarts_the_rebalance() {
    let mut world = World::new();
    let token = world.join_as("");
    let joined = world.joined(token);
    world.refuses = Some(AppendError::NotEnoughReplicas);
    let sync = world.sync(&joined, &[]);
    assert_eq!(world.synced(sync).error, Some(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.shard.describe("g").state, GroupState::PreparingRebalance);
    world.refuses = None;
    let again = world.join_as(&joined.member_id);
    assert_eq!(world.joined(again).generation_id, 2);
}

/// A session that expires takes the member out; the rest shares its work.
#[test]
fn a_silent_member_expires() {
    let mut world = World::new();
    let (first, second) = world.stable_pair();
    world.advance(6_000);
    assert_eq!(world.heartbeat(&member_of(&first)), 0);
    world.advance(6_000);
    assert_eq!(world.heartbeat(&member_of(&first)), ErrorCode::RebalanceInProgress as i16);
    assert_eq!(world.heartbeat(&member_of(&second)), ErrorCode::UnknownMemberId as i16);
    let again = world.join_as(&first.member_id);
    assert_eq!(world.joined(again).members.len(), 1);
}

/// A member that joined and never syncs does not block the group for ever.
#[test]
fn a_member_that_never_syncs_is_removed_after_the_rebalance_timeout() {
    let mut world = World::new();
    let first = world.stable_single();
    let second = world.join_as("");
    let first_token = world.join_as(&first.member_id);
    let (first, second) = (world.joined(first_token), world.joined(second));
    let sync = world.sync(&second, &[]);
    for _ in 0..12 {
        world.advance(5_000);
        world.heartbeat(&member_of(&first));
    }
    assert_eq!(world.synced(sync).error, Some(ErrorCode::RebalanceInProgress));
    assert_eq!(world.heartbeat(&member_of(&first)), ErrorCode::UnknownMemberId as i16);
}

/// The last member to leave makes the group empty, and that is on record.
#[test]
fn a_group_everybody_left_is_empty() {
    let mut world = World::new();
    let joined = world.stable_single();
    let before = world.log.len();
    world.leave(&joined.member_id);
    assert_eq!(world.shard.describe("g").state, GroupState::Empty);
    assert_eq!(world.log.len(), before + 1);
    world.reload();
    assert_eq!(world.shard.describe("g").state, GroupState::Empty);
    assert_eq!(world.shard.group("g").unwrap().generation_id(), 2);
}

/// A member that leaves while its request waits is answered.
#[test]
fn leaving_answers_what_the_member_waits_for() {
    let mut world = World::new();
    let (first, second) = world.stable_pair();
    let again = world.join_as(&first.member_id);
    world.leave(&first.member_id);
    assert_eq!(world.joined(again).error, Some(ErrorCode::UnknownMemberId));
    assert_eq!(world.heartbeat(&member_of(&second)), ErrorCode::RebalanceInProgress as i16);
}

/// A lost join reply is given again without a rebalance; a leader that asks again wants one.
#[test]
fn a_lost_reply_is_given_again() {
    let mut world = World::new();
    let (first, second) = world.stable_pair();
    let follower = world.join_as(&second.member_id);
    assert_eq!(world.joined(follower).generation_id, second.generation_id);
    let leader = world.join_as(&first.member_id);
    assert!(!world.is_answered(leader));
    assert_eq!(world.shard.describe("g").state, GroupState::PreparingRebalance);
}

/// A second join under the same id answers the first, so that no connection waits for ever.
#[test]
fn a_superseded_join_is_answered() {
    let mut world = World::new();
    let (first, _) = world.stable_pair();
    let once = world.join_as(&first.member_id);
    let twice = world.join_as(&first.member_id);
    assert_eq!(world.joined(once).error, Some(ErrorCode::RebalanceInProgress));
    assert!(!world.is_answered(twice));
}

/// `group.max.size` keeps newcomers out.
#[test]
fn a_full_group_refuses_newcomers() {
    let mut world = World::with(GroupConfig {
        initial_rebalance_delay_ms: 0,
        group_size_max: 1,
        ..GroupConfig::default()
    });
    world.stable_single();
    let token = world.join_as("");
    assert_eq!(world.joined(token).error, Some(ErrorCode::GroupMaxSizeReached));
}

/// Session timeouts outside the broker's limits are refused before a group is made.
#[test]
fn session_timeouts_have_limits() {
    let mut world = World::new();
    for timeout_ms in [5_999, 1_800_001, -1] {
        let mut request = world.join_request("");
        request.session_timeout_ms = timeout_ms;
        let token = world.join(request);
        assert_eq!(world.joined(token).error, Some(ErrorCode::InvalidSessionTimeout));
    }
    assert!(world.shard.group("g").is_none());
}

/// A refused first join leaves no trace of a group.
#[test]
fn a_refused_join_leaves_no_group_behind() {
    let mut world = World::new();
    let mut request = world.join_request("");
    request.protocols.clear();
    let token = world.join(request);
    assert_eq!(world.joined(token).error, Some(ErrorCode::InconsistentGroupProtocol));
    assert_eq!(world.shard.list().count(), 0);
}

/// A sync for a generation that is over gets no assignment of the current one.
#[test]
fn a_sync_of_an_old_generation_is_refused() {
    let mut world = World::new();
    let old = world.stable_single();
    let newcomer = world.join_as("");
    let again = world.join_as(&old.member_id);
    let (leader, follower) = (world.joined(again), world.joined(newcomer));
    world.sync(&leader, &[(&leader.member_id, "one"), (&follower.member_id, "two")]);
    let sync = world.sync(&old, &[]);
    assert_eq!(world.synced(sync).error, Some(ErrorCode::IllegalGeneration));
}

/// An assignment whose acknowledgement comes when the group has moved on is an old story.
#[test]
fn an_assignment_that_is_stored_too_late_is_not_handed_out() {
    let mut world = World::new();
    let token = world.join_as("");
    let first = world.joined(token);
    world.acknowledges = false;
    let late = world.sync(&first, &[(&first.member_id, "old")]);
    let newcomer = world.join_as("");
    assert_eq!(world.synced(late).error, Some(ErrorCode::RebalanceInProgress));
    let again = world.join_as(&first.member_id);
    let follower = world.sync(&world.joined(newcomer), &[]);
    assert!(world.acknowledge_next(None));
    assert!(!world.is_answered(follower));
    assert_eq!(world.shard.describe("g").state, GroupState::CompletingRebalance);
    let leader = world.joined(again);
    world.sync(&leader, &[(&leader.member_id, "new")]);
    world.acknowledge_next(None);
    assert_eq!(world.synced(follower).error, None);
}
