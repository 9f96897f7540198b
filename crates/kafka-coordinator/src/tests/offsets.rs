//! Committing, fetching, expiring and deleting offsets.

use kafka_proto::ErrorCode;

use super::*;
use crate::effect::{Reply, Token};
use crate::error::AppendError;
use crate::{CommitRequest, GroupConfig, MemberRef, OffsetToCommit};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn offset(partition: i32, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: "t".into(),
        partition,
        offset,
        leader_epoch: 5,
        metadata: "m".into(),
        commit_timestamp_ms: None,
        retention_ms: None,
    }
}

fn nobody() -> MemberRef {
    MemberRef { member_id: String::new(), instance_id: None, generation_id: -1 }
}

impl World {
    pub fn commit(&mut self, member: MemberRef, offsets: Vec<OffsetToCommit>) -> Token {
        let token = self.token();
        let request = CommitRequest { group_id: "g".into(), member, offsets };
        self.run(|shard, now, effects| shard.commit(now, token, request, effects));
        token
    }

    pub fn committed(&self, token: Token) -> Vec<Result<(), ErrorCode>> {
        match self.replies.get(&token) {
            Some(Reply::Commit(outcomes)) => outcomes.clone(),
            other => panic!("no commit reply: {other:?}"),
        }
    }

    pub fn fetch(&self, partition: i32) -> Option<i64> {
        let topics = [("t".to_owned(), vec![partition])];
        let fetched = self.shard.fetch_offsets("g", Some(&topics), false);
        fetched[0].1[0].committed.as_ref().unwrap().as_ref().map(|committed| committed.offset)
    }

    fn delete_offsets(&mut self, partitions: Vec<i32>) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let token = self.token();
        let topics = [("t".to_owned(), partitions)];
        self.run(|shard, now, effects| shard.delete_offsets(now, token, "g", &topics, effects));
        match self.replies.get(&token) {
            Some(Reply::DeleteOffsets(outcome)) => outcome.clone(),
            other => panic!("no reply: {other:?}"),
        }
    }

    fn delete_group(&mut self) -> Result<(), ErrorCode> {
        let token = self.token();
        self.run(|shard, now, effects| shard.delete_group(now, token, "g", effects));
        match self.replies.get(&token) {
            Some(Reply::DeleteGroup(outcome)) => *outcome,
            other => panic!("no reply: {other:?}"),
        }
    }
}

/// A consumer without a group protocol stores offsets, and they survive a reload.
#[test]
fn anybody_commits_to_a_group_without_members() {
    let mut world = World::new();
    let token = world.commit(nobody(), vec![offset(0, 10), offset(1, 20)]);
    assert_eq!(world.committed(token), vec![Ok(()), Ok(())]);
    assert_eq!(world.log.len(), 1, "one batch a request");
    assert_eq!((world.fetch(0), world.fetch(1), world.fetch(2)), (Some(10), Some(20), None));
    world.reload();
    assert_eq!((world.fetch(0), world.fetch(1)), (Some(10), Some(20)));
    let all = world.shard.fetch_offsets("g", None, true);
    assert_eq!(all[0].1.len(), 2);
    let first = all[0].1[0].committed.clone().unwrap().unwrap();
    assert_eq!((first.leader_epoch, first.metadata.as_str()), (5, "m"));
}

/// With members, only they commit, and only for their generation.
#[test]
fn only_members_commit_to_a_group_with_members() {
    let mut world = World::new();
    let joined = world.stable_single();
    let member = member_of(&joined);
    let refused = |world: &mut World, member| {
        let token = world.commit(member, vec![offset(0, 1)]);
        world.committed(token)[0].unwrap_err()
    };
    assert_eq!(refused(&mut world, nobody()), ErrorCode::UnknownMemberId);
    let old = MemberRef { generation_id: 0, ..member.clone() };
    assert_eq!(refused(&mut world, old), ErrorCode::IllegalGeneration);
    let stranger = MemberRef { member_id: "x".into(), ..member.clone() };
    assert_eq!(refused(&mut world, stranger), ErrorCode::UnknownMemberId);

    let token = world.commit(member.clone(), vec![offset(0, 7)]);
    assert_eq!(world.committed(token), vec![Ok(())]);

    let newcomer = world.join_as("");
    let token = world.commit(member.clone(), vec![offset(0, 8)]);
    assert_eq!(world.committed(token), vec![Ok(())], "members commit once more before they rejoin");
    let again = world.join_as(&joined.member_id);
    let next = member_of(&world.joined(again));
    assert_eq!(refused(&mut world, next), ErrorCode::RebalanceInProgress);
    assert!(world.is_answered(newcomer));
}

/// A commit with a generation for a group nobody knows comes from a life before.
#[test]
fn a_commit_of_a_forgotten_generation_is_refused() {
    let mut world = World::new();
    let member = MemberRef { member_id: "m".into(), instance_id: None, generation_id: 4 };
    let token = world.commit(member, vec![offset(0, 1)]);
    assert_eq!(world.committed(token), vec![Err(ErrorCode::IllegalGeneration)]);
    assert!(world.shard.group("g").is_none());
}

/// Too much metadata refuses its partition only; the limit counts UTF-16 units as Java does.
#[test]
fn metadata_has_a_limit() {
    let mut world = World::with(GroupConfig { offset_metadata_max: 4, ..GroupConfig::default() });
    let with =
        |partition, metadata: &str| OffsetToCommit { metadata: metadata.into(), ..offset(partition, 1) };
    let token =
        world.commit(nobody(), vec![with(0, "12345"), with(1, "ääää"), with(2, "\u{1F600}\u{1F600}x")]);
    let too_large = Err(ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(world.committed(token), vec![too_large, Ok(()), too_large]);
    let token = world.commit(nobody(), vec![with(0, "12345")]);
    assert_eq!(world.committed(token), vec![too_large]);
}

/// Nothing is visible before it is acknowledged, and a failed append never is.
#[test]
fn an_offset_is_visible_once_acknowledged() {
    let mut world = World::new();
    world.acknowledges = false;
    let first = world.commit(nobody(), vec![offset(0, 1)]);
    let second = world.commit(nobody(), vec![offset(0, 2)]);
    assert_eq!(world.fetch(0), None);
    let topics = [("t".to_owned(), vec![0])];
    let stable = world.shard.fetch_offsets("g", Some(&topics), true);
    assert_eq!(stable[0].1[0].committed, Err(ErrorCode::UnstableOffsetCommit));
    world.acknowledge_next(None);
    assert_eq!((world.fetch(0), world.is_answered(first), world.is_answered(second)), (Some(1), true, false));
    world.acknowledge_next(Some(AppendError::TimedOut));
    assert_eq!(world.committed(second), vec![Err(ErrorCode::RequestTimedOut)]);
    assert_eq!(world.fetch(0), Some(1));
    world.reload();
    assert_eq!(world.fetch(0), Some(2), "the record is in the log all the same");
}

/// Deleting a group writes tombstones, also for what is on its way, and answers once they are stored.
#[test]
fn a_deleted_group_stays_deleted() {
    let mut world = World::new();
    assert_eq!(world.delete_group(), Err(ErrorCode::GroupIdNotFound));
    let joined = world.stable_single();
    assert_eq!(world.delete_group(), Err(ErrorCode::NonEmptyGroup));
    let token = world.commit(member_of(&joined), vec![offset(0, 1)]);
    assert!(world.is_answered(token));
    world.leave(&joined.member_id);
    world.acknowledges = false;
    world.commit(nobody(), vec![offset(1, 1)]);
    let token = world.token();
    world.run(|shard, now, effects| shard.delete_group(now, token, "g", effects));
    assert!(!world.is_answered(token));
    while world.acknowledge_next(None) {}
    assert_eq!(world.replies.get(&token), Some(&Reply::DeleteGroup(Ok(()))));
    assert!(world.shard.group("g").is_none());
    world.reload();
    assert!(world.shard.group("g").is_none());
}

/// KIP-496: offsets of topics nobody reads can be deleted while the group lives.
#[test]
fn offsets_are_deleted_unless_their_topic_is_in_use() {
    let mut world = World::new();
    assert_eq!(world.delete_offsets(vec![0]), Err(ErrorCode::GroupIdNotFound));
    let joined = world.stable_single();
    world
        .commit(member_of(&joined), vec![offset(0, 1), OffsetToCommit { topic: "u".into(), ..offset(0, 1) }]);
    assert_eq!(world.delete_offsets(vec![0]), Ok(vec![Err(ErrorCode::GroupSubscribedToTopic)]));
    let token = world.token();
    world.run(|shard, now, effects| {
        shard.delete_offsets(now, token, "g", &[("u".to_owned(), vec![0])], effects)
    });
    assert_eq!(world.replies.get(&token), Some(&Reply::DeleteOffsets(Ok(vec![Ok(())]))));
    world.leave(&joined.member_id);
    assert_eq!(world.delete_offsets(vec![0, 9]), Ok(vec![Ok(()), Ok(())]));
    world.reload();
    assert_eq!(world.fetch(0), None);
}

/// Offsets of a simple consumer expire with their own age, then the group is forgotten.
#[test]
fn offsets_without_a_group_expire() {
    let mut world = World::new();
    world.commit(nobody(), vec![offset(0, 1)]);
    world.advance(6 * DAY_MS);
    world.commit(nobody(), vec![offset(1, 1)]);
    world.advance(DAY_MS + 600_000);
    assert_eq!((world.fetch(0), world.fetch(1)), (None, Some(1)));
    world.advance(7 * DAY_MS);
    assert!(world.shard.group("g").is_none());
    world.reload();
    assert!(world.shard.group("g").is_none());
}

/// KIP-211: an empty group's offsets count from when it became empty, not from the commit.
#[test]
fn offsets_of_an_empty_group_expire_after_it_became_empty() {
    let mut world = World::new();
    let joined = world.stable_single();
    world.commit(member_of(&joined), vec![offset(0, 1)]);
    for _ in 0..(10 * DAY_MS / 9_000) {
        world.advance(9_000);
        assert_eq!(world.heartbeat(&member_of(&joined)), 0);
    }
    assert_eq!(world.fetch(0), Some(1), "the group reads the topic");
    world.leave(&joined.member_id);
    world.advance(6 * DAY_MS);
    assert_eq!(world.fetch(0), Some(1));
    world.advance(DAY_MS + 600_000);
    assert!(world.shard.group("g").is_none());
}

/// A client's own retention (OffsetCommit 2–4) beats the broker's.
#[test]
fn a_clients_own_retention_counts() {
    let mut world = World::new();
    let short = OffsetToCommit { retention_ms: Some(60_000), ..offset(0, 1) };
    world.commit(nobody(), vec![short, offset(1, 1)]);
    world.advance(600_000);
    assert_eq!((world.fetch(0), world.fetch(1)), (None, Some(1)));
}

/// The offsets of a deleted topic go with it.
#[test]
fn offsets_of_deleted_partitions_are_dropped() {
    let mut world = World::new();
    world.commit(nobody(), vec![offset(0, 1), offset(1, 1)]);
    world.run(|shard, now, effects| shard.on_partitions_deleted(now, &[("t".to_owned(), vec![0])], effects));
    world.reload();
    assert_eq!((world.fetch(0), world.fetch(1)), (None, Some(1)));
}
