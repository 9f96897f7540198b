use kafka_log::{LogDirs, LogDirsOptions, TopicPartition};
use kafka_proto::error::ErrorCode;
use kafka_proto::records::{BatchBuilder, BatchOptions};

use super::*;

const ME: i32 = 1;

struct Fixture {
    partition: Arc<Partition>,
    reader: RecordReader,
    _dir: tempfile::TempDir,
}

fn fixture(overrides: &[(&str, &str)]) -> Fixture {
    let dir = tempfile::tempdir().expect("a directory");
    let logs = LogDirs::prepare(LogDirsOptions::new(vec![dir.path().to_owned()])).expect("prepared");
    let config = LogConfig::default().with_overrides(overrides.iter().copied()).expect("valid");
    let log = logs.get_or_create(&TopicPartition::new("t", 0), &Arc::new(config), None, 0).expect("created");
    Fixture {
        partition: Partition::new("t".into(), 0, ME, log),
        reader: RecordReader::new(1 << 20),
        _dir: dir,
    }
}

fn batch(records: usize, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for n in 0..records {
        builder.append(1000 + n as i64, Some(b"k"), Some(b"v"), &[]).expect("fits");
    }
    builder.finish().expect("built")
}

impl Fixture {
    fn append(&mut self, records: usize, acks_all: bool) -> Result<Appended, ErrorCode> {
        self.append_bytes(&batch(records, BatchOptions::default()), acks_all)
    }

    fn append_bytes(&mut self, bytes: &[u8], acks_all: bool) -> Result<Appended, ErrorCode> {
        let appended = self.partition.append(bytes, Origin::Client, acks_all, 5000, &mut self.reader);
        appended.map(|a| a.expect("a whole batch")).map_err(|e| e.code())
    }

    fn read(&self, offset: i64, epoch: i32, last_fetched_epoch: i32) -> Result<ReadOutcome, ErrorCode> {
        let spec = ReadSpec {
            offset,
            max_bytes: 1 << 20,
            min_one: true,
            isolation: Isolation::HighWatermark,
            current_leader_epoch: epoch,
            last_fetched_epoch,
        };
        self.partition.read(&spec).map_err(|e| e.code())
    }
}

#[test]
fn only_a_leader_appends_and_serves() {
    let mut f = fixture(&[]);
    assert_eq!(f.append(1, false), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(f.read(0, -1, -1).expect_err("no leader"), ErrorCode::NotLeaderOrFollower);
    f.partition.become_leader(3, vec![ME]).expect("leads");
    assert_eq!(f.append(3, true).expect("appended").last_offset, 2);
    f.partition.resign();
    assert_eq!(f.append(1, false), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn alone_in_sync_the_high_watermark_follows_the_log_end() {
    let mut f = fixture(&[]);
    f.partition.become_leader(0, vec![ME]).expect("leads");
    let appended = f.append(2, true).expect("appended");
    assert!(appended.acknowledged);
    assert_eq!((f.partition.snapshot().high_watermark, f.partition.snapshot().log_end_offset), (2, 2));
    assert!(f.read(0, 0, -1).expect("readable").region.is_some());
    assert!(f.read(2, 0, -1).expect("at the end").region.is_none());
    assert_eq!(f.read(3, 0, -1).expect_err("beyond"), ErrorCode::OffsetOutOfRange);
}

#[test]
fn a_broker_missing_from_the_isr_releases_what_waited_for_it() {
    let mut f = fixture(&[]);
    f.partition.become_leader(0, vec![ME, 2]).expect("leads");
    let appended = f.append(1, true).expect("appended");
    assert!(!appended.acknowledged);
    assert!(f.read(0, 0, -1).expect("nothing visible").region.is_none());
    let waiter = Waiter::new(1);
    f.partition.watch_acks(appended.last_offset, &waiter);
    assert!(matches!(f.partition.check_acks(0), Ok(false)));
    f.partition.become_leader(1, vec![ME]).expect("shrunk");
    assert!(matches!(f.partition.check_acks(0), Ok(true)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::Pin::new(&mut waiter.wait()).poll(&mut cx).is_ready());
}

#[test]
fn acks_all_needs_the_minimum_in_sync_set_others_do_not() {
    let mut f = fixture(&[("min.insync.replicas", "2")]);
    f.partition.become_leader(0, vec![ME]).expect("leads");
    assert_eq!(f.append(1, true), Err(ErrorCode::NotEnoughReplicas));
    assert!(f.append(1, false).is_ok());
}

#[test]
fn readers_with_a_wrong_epoch_are_fenced() {
    let mut f = fixture(&[]);
    f.partition.become_leader(5, vec![ME]).expect("leads");
    f.append(1, false).expect("appended");
    assert_eq!(f.read(0, 4, -1).expect_err("old"), ErrorCode::FencedLeaderEpoch);
    assert_eq!(f.read(0, 6, -1).expect_err("new"), ErrorCode::UnknownLeaderEpoch);
    assert!(f.read(0, 5, -1).is_ok());
    f.partition.become_leader(4, vec![ME]).expect("ignored");
    assert_eq!(f.partition.leadership(), Some((5, vec![ME])));
}

#[test]
fn a_reader_whose_log_parted_from_ours_is_told_where() {
    let mut f = fixture(&[]);
    f.partition.become_leader(1, vec![ME]).expect("leads");
    f.append(2, false).expect("appended");
    f.partition.become_leader(4, vec![ME]).expect("leads again");
    f.append(2, false).expect("appended");
    // Epoch 1 ended at 2: a reader that has it up to 3 must cut.
    assert_eq!(f.read(3, 4, 1).expect("read").diverging, Some(EpochEnd { epoch: 1, end_offset: 2 }));
    // Epoch 2 never was here.
    assert_eq!(f.read(3, 4, 2).expect("read").diverging, Some(EpochEnd { epoch: 1, end_offset: 2 }));
    assert_eq!(f.read(2, 4, 1).expect("read").diverging, None);
    assert_eq!(f.partition.epoch_end(1, -1).expect("known"), EpochEnd { epoch: 1, end_offset: 2 });
}

#[test]
fn a_batch_sent_twice_is_stored_once_and_answered_alike() {
    let mut f = fixture(&[]);
    f.partition.become_leader(0, vec![ME]).expect("leads");
    let options = BatchOptions { producer_id: 9, producer_epoch: 0, base_sequence: 0, ..Default::default() };
    let bytes = batch(3, options);
    let first = f.append_bytes(&bytes, true).expect("appended");
    let second = f.append_bytes(&bytes, true).expect("a duplicate");
    assert_eq!((first.first_offset, first.last_offset), (second.first_offset, second.last_offset));
    assert_eq!(f.partition.snapshot().log_end_offset, 3);
    let gap =
        batch(1, BatchOptions { base_sequence: 7, producer_id: 9, producer_epoch: 0, ..Default::default() });
    assert_eq!(f.append_bytes(&gap, true), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn offsets_are_found_by_end_and_by_time() {
    let mut f = fixture(&[]);
    f.partition.become_leader(2, vec![ME]).expect("leads");
    f.append(3, false).expect("appended");
    let find = |query| {
        f.partition
            .find_offset(query, Isolation::HighWatermark, -1)
            .expect("answered")
            .map(|found| found.offset)
    };
    assert_eq!(find(OffsetQuery::Latest), Some(3));
    assert_eq!(find(OffsetQuery::Earliest), Some(0));
    assert_eq!(find(OffsetQuery::Timestamp(1001)), Some(1));
    assert_eq!(find(OffsetQuery::Timestamp(9999)), None);
    assert_eq!(find(OffsetQuery::MaxTimestamp), Some(2));
}

#[test]
fn deleted_records_are_gone_at_once_and_compacted_topics_keep_theirs() {
    let mut f = fixture(&[]);
    f.partition.become_leader(0, vec![ME]).expect("leads");
    f.append(3, false).expect("appended");
    assert_eq!(f.partition.delete_records_before(2).map_err(|e| e.code()), Ok(2));
    assert_eq!(f.read(1, -1, -1).expect_err("deleted"), ErrorCode::OffsetOutOfRange);
    assert_eq!(f.partition.delete_records_before(-1).map_err(|e| e.code()), Ok(3));
    assert_eq!(f.partition.delete_records_before(9).map_err(|e| e.code()), Err(ErrorCode::OffsetOutOfRange));
    let f = fixture(&[("cleanup.policy", "compact")]);
    f.partition.become_leader(0, vec![ME]).expect("leads");
    assert_eq!(f.partition.delete_records_before(0).map_err(|e| e.code()), Err(ErrorCode::PolicyViolation));
}
