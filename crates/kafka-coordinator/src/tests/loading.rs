//! Loading what Kafka wrote, and giving a shard up.

use bytes::Bytes;
use kafka_proto::ErrorCode;

use super::*;
use crate::load::{BatchInfo, Loader};
use crate::records::{self, Record};
use crate::{CommittedOffset, GroupConfig, GroupState};

fn committed(offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: None,
    }
}

struct Feed {
    loader: Loader,
    next_offset: i64,
}

impl Feed {
    fn new() -> Self {
        Feed { loader: Loader::new(0), next_offset: 0 }
    }

    fn put(&mut self, transaction_of: Option<i64>, record: Record) -> &mut Self {
        let info = BatchInfo { base_offset: self.next_offset, transaction_of };
        self.loader.on_record(info, self.next_offset, Some(record.key), record.value);
        self.next_offset += 1;
        self
    }

    fn commit(&mut self, transaction_of: Option<i64>, partition: i32, offset: i64) -> &mut Self {
        self.put(transaction_of, records::offset_record("g", "t", partition, &committed(offset)).unwrap())
    }

    fn marker(&mut self, producer_id: i64, commit: bool) -> &mut Self {
        self.loader.on_marker(producer_id, commit);
        self.next_offset += 1;
        self
    }

    fn finish(self) -> World {
        let mut world = World::new();
        world.shard = self.loader.finish(world.now, world.config.clone(), &mut Vec::new());
        world.shard.check();
        world
    }
}

/// Only offsets of committed transactions count, at the place where they were written.
#[test]
fn only_committed_transactions_are_applied() {
    let mut feed = Feed::new();
    feed.commit(Some(1), 0, 10).commit(Some(2), 1, 20).commit(Some(3), 2, 30).commit(Some(1), 3, 40);
    feed.commit(None, 3, 41);
    feed.marker(1, true).marker(2, false);
    let world = feed.finish();
    assert_eq!(world.fetch(0), Some(10), "committed");
    assert_eq!(world.fetch(1), None, "aborted");
    assert_eq!(world.fetch(2), None, "still open");
    assert_eq!(world.fetch(3), Some(41), "a plain commit written later wins");
    let topics = [("t".to_owned(), vec![2])];
    let stable = world.shard.fetch_offsets("g", Some(&topics), true);
    assert_eq!(stable[0].1[0].committed, Err(ErrorCode::UnstableOffsetCommit));
}

/// A marker that arrives after loading ends the transaction just the same.
#[test]
fn a_transaction_may_end_after_loading() {
    let mut feed = Feed::new();
    feed.commit(Some(3), 2, 30);
    let mut world = feed.finish();
    world.shard.on_transaction_ended(3, true);
    assert_eq!(world.fetch(2), Some(30));
}

/// Tombstones and later records replace earlier ones.
#[test]
fn the_last_record_of_a_key_counts() {
    let mut feed = Feed::new();
    feed.commit(None, 0, 1).commit(None, 0, 2).commit(None, 1, 1);
    feed.put(None, records::offset_tombstone("g", "t", 1).unwrap());
    let world = feed.finish();
    assert_eq!((world.fetch(0), world.fetch(1)), (Some(2), None));
}

/// A record that cannot be read is left out; everything else is loaded.
#[test]
fn unreadable_records_do_not_stop_the_loading() {
    let mut feed = Feed::new();
    feed.commit(None, 0, 1);
    feed.put(None, Record { key: Bytes::from_static(&[0, 1, 0, 9]), value: None });
    feed.put(None, Record { key: Bytes::from_static(&[0, 77]), value: None });
    let mut bad_value = records::offset_record("g", "t", 0, &committed(9)).unwrap();
    bad_value.value = Some(Bytes::from_static(&[0, 9, 1]));
    feed.put(None, bad_value);
    feed.loader.on_record(BatchInfo { base_offset: 9, transaction_of: None }, 9, None, None);
    feed.commit(None, 1, 2);
    let world = feed.finish();
    assert_eq!((world.fetch(0), world.fetch(1)), (Some(1), Some(2)));
}

/// A stable group comes back stable, with the same members, assignments and generation.
#[test]
fn a_stable_group_survives_a_reload() {
    let mut world = World::new();
    let (first, second) = world.stable_pair();
    let before = world.shard.describe("g");
    world.reload();
    assert_eq!(world.shard.describe("g"), before);
    assert_eq!(world.heartbeat(&member_of(&first)), 0);
    world.advance(6_000);
    assert_eq!(world.heartbeat(&member_of(&first)), 0);
    world.advance(6_000);
    assert_eq!(
        world.heartbeat(&member_of(&second)),
        ErrorCode::UnknownMemberId as i16,
        "it sent nothing since"
    );
}

/// Whatever waits when the leadership goes is answered, so that clients look for the new coordinator.
#[test]
fn unloading_answers_everybody() {
    let mut world = World::new();
    let (first, second) = world.stable_pair();
    let join = world.join_as(&first.member_id);
    assert!(!world.is_answered(join));
    world.reload();
    assert_eq!(world.joined(join).error, Some(ErrorCode::NotCoordinator));
    assert_eq!(world.joined(join).member_id, first.member_id);

    let first_join = world.join_as(&first.member_id);
    let second_join = world.join_as(&second.member_id);
    assert!(world.is_answered(first_join));
    let follower = world.joined(second_join);
    let sync = world.sync(&follower, &[]);
    world.acknowledges = false;
    world.reload();
    assert_eq!(world.synced(sync).error, Some(ErrorCode::NotCoordinator));
}

/// A group that is larger than the limit rebalances after loading, so that some can leave in order.
#[test]
fn a_group_above_the_limit_rebalances_after_loading() {
    let mut world = World::new();
    let (first, second) = world.stable_pair();
    world.config =
        GroupConfig { group_size_max: 1, initial_rebalance_delay_ms: 0, ..GroupConfig::default() }.into();
    world.reload();
    assert_eq!(world.shard.describe("g").state, GroupState::PreparingRebalance);
    let join = world.join_as(&second.member_id);
    let late = world.join_as(&first.member_id);
    assert_eq!(world.joined(late).error, Some(ErrorCode::GroupMaxSizeReached));
    assert_eq!(world.joined(join).members.len(), 1);
}
