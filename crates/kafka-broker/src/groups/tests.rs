//! A led partition with a real log and no broker around it: loading, appending, replies, timers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use kafka_coordinator::{
    CommitRequest, GroupConfig, GroupState, JoinReply, JoinRequest, MemberRef, OffsetToCommit, Protocol,
    Reply, ShardStatus, SyncRequest,
};
use kafka_log::{LogConfig, LogDirs, LogDirsOptions, TopicPartition};
use kafka_proto::ErrorCode;
use kafka_proto::records::builder::end_transaction_marker;
use kafka_proto::records::validate::Origin;
use kafka_proto::records::{BatchBuilder, BatchOptions, Compression};
use kafka_replica::Partition;
use tokio::sync::Semaphore;

use super::led::Led;
use super::{OFFSETS_TOPIC, Settings};
use crate::clock;

const ME: i32 = 1;

struct Fixture {
    partition: Arc<Partition>,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let logs = LogDirs::prepare(LogDirsOptions::new(vec![dir.path().to_owned()])).expect("prepared");
    let config = LogConfig::default().with_overrides([("cleanup.policy", "compact")]).expect("valid");
    let log = logs
        .get_or_create(&TopicPartition::new(OFFSETS_TOPIC, 0), &Arc::new(config), None, 0)
        .expect("created");
    let partition = Partition::new(OFFSETS_TOPIC.into(), 0, ME, log);
    partition.become_leader(0, vec![ME]).expect("leads");
    Fixture { partition, _dir: dir }
}

impl Fixture {
    async fn lead(&self) -> Arc<Led> {
        let group = GroupConfig { initial_rebalance_delay_ms: 1, ..GroupConfig::default() };
        let settings = Settings {
            group: Arc::new(group),
            compression: Compression::None,
            commit_timeout: Duration::from_secs(5),
            load_buffer_bytes: 512,
        };
        let led = Led::new(Weak::new(), self.partition.clone(), Arc::new(settings));
        led.clone().start(Arc::new(Semaphore::new(1)));
        while led.status() == ShardStatus::Loading {
            tokio::task::yield_now().await;
        }
        led
    }

    fn append(&self, batch: &[u8]) {
        let appended = clock::with_record_reader(|reader| {
            self.partition.append(batch, Origin::Coordinator, true, clock::wall_ms(), reader)
        });
        appended.expect("appended").expect("a whole batch");
    }
}

fn join_request(member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 6_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"subscription") }],
        member_id_required: false,
        can_skip_assignment: true,
        fresh_uuid: "uuid".into(),
        reason: None,
    }
}

async fn settle(submitted: Result<tokio::sync::oneshot::Receiver<Reply>, ErrorCode>) -> Reply {
    submitted.expect("served").await.expect("answered")
}

async fn join(led: &Arc<Led>) -> JoinReply {
    let submitted =
        led.submit(|shard, now, token, effects| shard.join(now, token, join_request(""), effects));
    match settle(submitted).await {
        Reply::Join(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn commit_request(offset: i64, member: MemberRef) -> CommitRequest {
    let offset = OffsetToCommit {
        topic: "t".into(),
        partition: 0,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp_ms: None,
        retention_ms: None,
    };
    CommitRequest { group_id: "g".into(), member, offsets: vec![offset] }
}

fn fetch(led: &Arc<Led>, partition: i32) -> Option<i64> {
    let topics = [("t".to_owned(), vec![partition])];
    let fetched = led.read(|shard| shard.fetch_offsets("g", Some(&topics), false)).expect("served");
    fetched[0].1[0].committed.clone().expect("no error").map(|committed| committed.offset)
}

/// A group made, used and left; the next leader of the partition finds everything in the log.
#[tokio::test]
async fn a_group_lives_on_with_the_next_leader() {
    let fixture = fixture();
    let led = fixture.lead().await;
    let joined = join(&led).await;
    let member = MemberRef {
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation_id: joined.generation_id,
    };
    let sync = SyncRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all"))],
    };
    let synced = settle(led.submit(|shard, now, token, effects| shard.sync(now, token, sync, effects))).await;
    assert!(matches!(synced, Reply::Sync(reply) if reply.assignment == "all"));
    for offset in 1..=100 {
        let request = commit_request(offset, member.clone());
        let reply =
            settle(led.submit(|shard, now, token, effects| shard.commit(now, token, request, effects))).await;
        assert_eq!(reply, Reply::Commit(vec![Ok(())]));
    }
    led.close();
    assert_eq!(led.read(|_| ()), Err(ErrorCode::NotCoordinator));

    let next = fixture.lead().await;
    assert_eq!(fetch(&next, 0), Some(100));
    let summary = next.read(|shard| shard.describe("g")).expect("served");
    assert_eq!((summary.state, summary.members.len()), (GroupState::Stable, 1));
    let alive = next.act(|shard, now, effects| shard.heartbeat(now, "g", &member, effects));
    assert_eq!(alive, Ok(Ok(())));
}

/// Whoever waits when the lead is lost is sent to look for the new coordinator.
#[tokio::test]
async fn closing_answers_those_who_wait() {
    let fixture = fixture();
    let led = fixture.lead().await;
    let first = join(&led).await;
    assert_eq!(first.error, None);
    let second = JoinRequest { fresh_uuid: "another".into(), ..join_request("") };
    let waiting = led.submit(|shard, now, token, effects| shard.join(now, token, second, effects));
    led.close();
    match settle(waiting).await {
        Reply::Join(reply) => assert_eq!(reply.error, Some(ErrorCode::NotCoordinator)),
        other => panic!("{other:?}"),
    }
    assert!(led.submit(|_, _, _, _| panic!("closed")).is_err());
}

/// An append this broker may no longer make is refused as such.
#[tokio::test]
async fn a_commit_after_the_lead_is_lost_is_refused() {
    let fixture = fixture();
    let led = fixture.lead().await;
    fixture.partition.resign();
    let nobody = MemberRef { member_id: String::new(), instance_id: None, generation_id: -1 };
    let request = commit_request(1, nobody);
    let reply =
        settle(led.submit(|shard, now, token, effects| shard.commit(now, token, request, effects))).await;
    assert_eq!(reply, Reply::Commit(vec![Err(ErrorCode::NotCoordinator)]));
}

/// Offsets that Kafka committed in transactions: the marker decides.
#[tokio::test]
async fn transactional_offsets_count_once_committed() {
    let fixture = fixture();
    for (producer_id, partition, commit) in [(1, 0, Some(true)), (2, 1, Some(false)), (3, 2, None)] {
        let committed = kafka_coordinator::CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
        };
        let record =
            kafka_coordinator::records::offset_record("g", "t", partition, &committed).expect("short");
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            ..BatchOptions::default()
        });
        builder.append(0, Some(&record.key), record.value.as_deref(), &[]).expect("fits");
        fixture.append(&builder.finish().expect("built"));
        if let Some(commit) = commit {
            fixture.append(&end_transaction_marker(0, 0, producer_id, 0, commit, 0).expect("built"));
        }
    }
    let led = fixture.lead().await;
    assert_eq!((fetch(&led, 0), fetch(&led, 1), fetch(&led, 2)), (Some(7), None, None));
}
