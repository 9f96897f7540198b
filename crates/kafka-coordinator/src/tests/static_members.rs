//! Static membership (KIP-345, KIP-814).

use kafka_proto::ErrorCode;

use super::*;
use crate::error::AppendError;
use crate::{GroupState, LeavingMember, MemberRef};

/// Two static members, "a" leading, in a stable group; their member ids.
fn stable_statics(world: &mut World) -> (String, String) {
    let first = world.join_static("a");
    let a = world.joined(first);
    let own = a.member_id.clone();
    world.sync(&a, &[(&own, "all")]);
    let second = world.join_static("b");
    let mut rejoin = world.join_request(&own);
    rejoin.instance_id = Some("a".into());
    let first = world.join(rejoin);
    let (a, b) = (world.joined(first), world.joined(second));
    world.sync(&b, &[]);
    world.sync(&a, &[(&a.member_id, "one"), (&b.member_id, "two")]);
    assert_eq!(world.shard.describe("g").state, GroupState::Stable);
    (a.member_id, b.member_id)
}

/// A restart costs no rebalance: same generation, same assignment, new id on record.
#[test]
fn a_returning_follower_takes_its_old_place() {
    let mut world = World::new();
    let (_, b) = stable_statics(&mut world);
    let token = world.join_static("b");
    let back = world.joined(token);
    assert_eq!((back.error, back.generation_id), (None, 2));
    assert_ne!(back.member_id, b);
    assert_eq!(world.shard.describe("g").state, GroupState::Stable);
    let sync = world.sync(&back, &[]);
    assert_eq!(world.synced(sync).assignment, "two");

    let fenced = MemberRef { member_id: b.clone(), instance_id: Some("b".into()), generation_id: 2 };
    assert_eq!(world.heartbeat(&fenced), ErrorCode::FencedInstanceId as i16);
    world.reload();
    assert_eq!(world.heartbeat(&fenced), ErrorCode::FencedInstanceId as i16);
}

/// A returning leader is told that it leads, and not to assign.
#[test]
fn a_returning_leader_skips_the_assignment() {
    let mut world = World::new();
    stable_statics(&mut world);
    let token = world.join_static("a");
    let back = world.joined(token);
    assert!(back.skip_assignment);
    assert_eq!(back.leader, back.member_id);
    assert_eq!(back.members.len(), 2);
}

/// Before JoinGroup 9 the old leader's id is shown, so that nobody assigns.
#[test]
fn an_old_client_that_returns_is_shown_the_old_leader() {
    let mut world = World::new();
    let (a, _) = stable_statics(&mut world);
    let mut request = world.join_request("");
    request.instance_id = Some("a".into());
    request.can_skip_assignment = false;
    let token = world.join(request);
    let back = world.joined(token);
    assert!(!back.skip_assignment);
    assert_eq!((back.leader.as_str(), back.members.len()), (a.as_str(), 0));
}

/// If the new id cannot be recorded, the old one is put back.
#[test]
fn a_return_that_cannot_be_recorded_is_undone() {
    let mut world = World::new();
    let (_, b) = stable_statics(&mut world);
    world.refuses = Some(AppendError::NotEnoughReplicas);
    let token = world.join_static("b");
    let refused = world.joined(token);
    assert_eq!((refused.error, refused.member_id.as_str()), (Some(ErrorCode::CoordinatorNotAvailable), ""));
    let old = MemberRef { member_id: b, instance_id: Some("b".into()), generation_id: 2 };
    assert_eq!(world.heartbeat(&old), 0);
}

/// A return between join and assignment starts the rebalance anew: the leader knows the old id only.
#[test]
fn a_return_before_the_assignment_rebalances() {
    let mut world = World::new();
    let first = world.join_static("a");
    let a = world.joined(first);
    let token = world.join_static("a");
    assert_eq!(world.joined(token).generation_id, a.generation_id + 1, "alone, it need not wait");
}

/// Whoever waits under the old id is fenced at once.
#[test]
fn a_twin_is_fenced_while_it_waits() {
    let mut world = World::new();
    let (a, b) = stable_statics(&mut world);
    let mut request = world.join_request(&a);
    request.instance_id = Some("a".into());
    let waiting = world.join(request);
    assert!(!world.is_answered(waiting));
    let twin = world.join_static("a");
    assert_eq!(world.joined(waiting).error, Some(ErrorCode::FencedInstanceId));
    let mut request = world.join_request(&b);
    request.instance_id = Some("b".into());
    world.join(request);
    assert_eq!(world.joined(twin).generation_id, 3);
}

/// A static member that is away keeps its place through a rebalance, until its session ends.
#[test]
fn a_static_member_that_is_away_keeps_its_place() {
    let mut world = World::new();
    let (a, _) = stable_statics(&mut world);
    let mut request = world.join_request(&a);
    request.instance_id = Some("a".into());
    request.session_timeout_ms = 1_000_000;
    request.rebalance_timeout_ms = 9_000;
    let token = world.join(request);
    // Member b's session (10 s) outlasts nothing: its rebalance timeout of 60 s counts for the group.
    world.advance(9_999);
    assert!(!world.is_answered(token));
    world.advance(1);
    assert_eq!(world.joined(token).members.len(), 1, "b's session ended first");
}

/// An administrator removes a static member by its name.
#[test]
fn a_static_member_is_removed_by_name() {
    let mut world = World::new();
    stable_statics(&mut world);
    let by_name = |name: &str| LeavingMember {
        member_id: String::new(),
        instance_id: Some(name.into()),
        reason: Some("gone".into()),
    };
    let leaving = [by_name("b"), by_name("nobody")];
    let outcome = world.run(|shard, now, effects| shard.leave(now, "g", &leaving, effects));
    assert_eq!(outcome, Ok(vec![Ok(()), Err(ErrorCode::UnknownMemberId)]));
    assert_eq!(world.shard.describe("g").members.len(), 1);
}
