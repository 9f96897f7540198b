use kafka_proto::records::Batch;
use kafka_proto::records::builder::{BatchOptions, end_transaction_marker};

use super::*;
use crate::error::ProducerError;
use crate::producers::AppendOrigin;
use crate::testing::*;
use crate::txn_index::AbortedTxn;

fn append(log: &mut Log, records: &[(i64, &[u8])]) -> AppendInfo {
    log.append_as_leader(&batch(records), 0, AppendOrigin::Client, 0).unwrap()
}

/// Only offset and epoch of a batch change on the way to disk; the rest are the bytes that were handed in.
#[test]
fn golden_bytes_of_an_append() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    let given = batch(&[(5, b"a"), (6, b"bc")]);
    append(&mut log, &[(1, b"first")]);
    let start = log.size_bytes() as usize;
    log.append_as_leader(&given, 7, AppendOrigin::Client, 0).unwrap();
    let mut expect = given.clone();
    expect[..8].copy_from_slice(&1i64.to_be_bytes());
    expect[12..16].copy_from_slice(&7i32.to_be_bytes());
    let stored = std::fs::read(log.dir().join("00000000000000000000.log")).unwrap();
    assert_eq!(stored[start..], expect);
    Batch::parse_first(&stored[start..]).unwrap().unwrap().check_crc().unwrap();
    assert_eq!(
        std::fs::read_to_string(log.dir().join("leader-epoch-checkpoint")).unwrap(),
        "0\n2\n0 0\n7 1\n"
    );
}

/// A new partition is a directory with an empty log file, and nothing else until there is something to say.
#[test]
fn a_new_log_is_cheap() {
    let root = tempfile::tempdir().unwrap();
    let log = Log::create(options(root.path(), &config(&[]))).unwrap();
    let names: Vec<_> = files(log.dir(), "").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["00000000000000000000.log"]);
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.high_watermark()), (0, 0, 0));
}

/// Reads begin at a batch, end at the bound or the byte limit, and refuse offsets outside the log.
#[test]
fn read_limits() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    for i in 0..10 {
        append(&mut log, &[(i, b"0123456789"), (i, b"0123456789")]);
    }
    let one = log.size_bytes() as usize / 10;
    let read = |offset, max, min_one, bound| log.read(offset, max, min_one, bound).unwrap();
    let len = |r: &ReadInfo| r.records.as_ref().map_or(0, |r| r.len);
    assert_eq!(len(&read(0, 1 << 20, false, 20)), 10 * one);
    assert_eq!(records_of(&read(5, 1 << 20, false, 20))[0].offset, 4, "the batch that holds the offset");
    assert_eq!(len(&read(0, 1 << 20, false, 6)), 3 * one);
    assert_eq!(len(&read(0, 1 << 20, false, 7)), 3 * one, "a batch that crosses the bound is not seen");
    assert_eq!(len(&read(6, 1 << 20, false, 6)), 0);
    assert_eq!(len(&read(0, 10, true, 20)), one);
    let cut = read(0, 10, false, 20);
    assert!(len(&cut) == 10 && cut.first_batch_incomplete);
    assert_eq!(len(&read(20, 1 << 20, true, 20)), 0);
    for outside in [-1, 21] {
        assert!(matches!(
            log.read(outside, 1, true, 20),
            Err(LogError::OffsetOutOfRange { start: 0, end: 20, .. })
        ));
    }
    let from = log.position_of(4).unwrap();
    assert_eq!(log.bytes_between(&from, &log.position_of(20).unwrap()), 8 * one as u64);
}

/// Rolled by size, by the records' clock, by the wall clock when they have none, and by a full index.
#[test]
fn rolls_when_it_should() {
    let roll_count = |overrides: &[(&str, &str)], times: &[(i64, i64)]| {
        let root = tempfile::tempdir().unwrap();
        let mut log = Log::create(options(root.path(), &config(overrides))).unwrap();
        for (timestamp, now) in times {
            log.append_as_leader(&batch(&[(*timestamp, &[7; 100])]), 0, AppendOrigin::Client, *now).unwrap();
        }
        log.check();
        log.segment_count()
    };
    assert_eq!(roll_count(&[("segment.bytes", "400")], &[(0, 0); 6]), 3, "two batches of 168 bytes fit");
    assert_eq!(roll_count(&[("segment.ms", "10")], &[(100, 0), (110, 0), (111, 0), (500, 0)]), 3);
    assert_eq!(roll_count(&[("segment.ms", "10")], &[(-1, 0), (-1, 10), (-1, 11)]), 2);
    assert_eq!(roll_count(&[("index.interval.bytes", "0"), ("segment.index.bytes", "36")], &[(0, 0); 6]), 2);
}

/// A roll leaves a sealed segment: both indexes, the last time entry, and a producer snapshot at the new base.
#[test]
fn a_roll_seals() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    append(&mut log, &[(55, b"x")]);
    log.roll(0).unwrap();
    log.roll(0).unwrap();
    assert_eq!(log.segment_count(), 2, "an empty segment is not rolled again");
    let sizes: Vec<_> = files(log.dir(), "").into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
    let name = |n: &str| format!("0000000000000000000{n}");
    assert_eq!(sizes[0], (name("0.index"), 0));
    assert_eq!(sizes[2], (name("0.timeindex"), 12));
    assert_eq!(sizes[4], (name("1.snapshot"), 10));
    assert!(log.flush_due(0).is_some());
    log.flush(log.log_end_offset(), 0).unwrap();
    assert_eq!((log.recovery_point(), log.flush_due(0)), (1, None));
}

/// A retry within the last five batches gets the original's offsets and writes nothing; also after a restart.
#[test]
fn duplicates_keep_their_offsets() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    let first = log.append_as_leader(&idempotent(9, 0, 0, 3), 0, AppendOrigin::Client, 0).unwrap();
    log.append_as_leader(&idempotent(9, 0, 3, 2), 0, AppendOrigin::Client, 0).unwrap();
    let again = log.append_as_leader(&idempotent(9, 0, 0, 3), 0, AppendOrigin::Client, 0).unwrap();
    assert!(again.duplicate && again.first_offset == first.first_offset && again.last_offset == 2);
    assert_eq!(log.log_end_offset(), 5);
    let gap = log.append_as_leader(&idempotent(9, 0, 8, 1), 0, AppendOrigin::Client, 0).unwrap_err();
    assert!(matches!(gap, LogError::Producer(ProducerError::OutOfOrderSequence { .. })));
    drop(log);
    let mut log = Log::open(options(root.path(), &config(&[]))).unwrap();
    let again = log.append_as_leader(&idempotent(9, 0, 3, 2), 0, AppendOrigin::Client, 0).unwrap();
    assert!(again.duplicate && again.first_offset == 3);
    assert_eq!(log.producer(9).unwrap().last_sequence, 4);
}

/// An open transaction bounds the stable offset; its abort is listed for readers, also after recovery.
#[test]
fn transactions() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    append(&mut log, &[(1, b"plain")]);
    log.append_as_leader(&transactional(9, 0), 0, AppendOrigin::Client, 0).unwrap();
    log.set_high_watermark(2);
    assert_eq!(log.last_stable_offset(), 1);
    let abort = end_transaction_marker(0, 5, 9, 0, false, 3).unwrap();
    log.append_as_leader(&abort, 0, AppendOrigin::Coordinator, 0).unwrap();
    log.set_high_watermark(3);
    assert_eq!(log.last_stable_offset(), 3);
    let expect = AbortedTxn { producer_id: 9, first_offset: 1, last_offset: 2, last_stable_offset: 3 };
    assert_eq!(log.aborted_transactions(0, 3).unwrap(), [expect]);
    drop(log);
    let log = Log::open(options(root.path(), &config(&[]))).unwrap();
    assert_eq!(log.aborted_transactions(0, 3).unwrap(), [expect]);
    assert_eq!(log.producer(9).unwrap().coordinator_epoch, 3);
}

/// Timestamps are found by record, not by batch, in whatever order they were written.
#[test]
fn offsets_by_timestamp() {
    let root = tempfile::tempdir().unwrap();
    let config = config(&[("index.interval.bytes", "0"), ("segment.bytes", "500")]);
    let mut log = Log::create(options(root.path(), &config)).unwrap();
    for i in 0..20 {
        append(&mut log, &[(i * 10, &[1; 50]), (i * 10 + 5, &[1; 50])]);
    }
    append(&mut log, &[(42, b"late")]);
    let check = |timestamp, expect: Option<(i64, i64)>| {
        let found = log.offset_for_timestamp(timestamp).unwrap().map(|f| (f.timestamp, f.offset));
        assert_eq!(found, expect, "{timestamp}");
    };
    check(0, Some((0, 0)));
    check(1, Some((5, 1)));
    check(101, Some((105, 21)));
    check(195, Some((195, 39)));
    check(196, None);
    let max = log.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((max.timestamp, max.offset, max.leader_epoch), (195, 39, 0));
    assert_eq!(log.offsets_before(-1, 2, 0).unwrap()[0], 41);
    assert_eq!(log.offsets_before(-2, 5, 0).unwrap(), [0]);
}

/// Retention deletes whole segments from the front, by time, size and log start, never past the high watermark.
#[test]
fn retention() {
    let build = |overrides: &[(&str, &str)]| {
        let root = tempfile::tempdir().unwrap();
        let mut all = vec![("segment.bytes", "200"), ("retention.ms", "-1")];
        all.extend_from_slice(overrides);
        let mut log = Log::create(options(root.path(), &config(&all))).unwrap();
        for i in 0..10 {
            append(&mut log, &[(i * 10, &[1; 100])]);
        }
        (root, log)
    };
    let (_root, mut log) = build(&[("retention.ms", "50")]);
    assert_eq!(log.delete_old_segments(1000).unwrap(), 0, "nothing is above the high watermark");
    log.set_high_watermark(10);
    assert_eq!(log.delete_old_segments(100).unwrap(), 5);
    assert_eq!((log.log_start_offset(), all_from(&log, 5).len()), (5, 5));
    assert_eq!(log.delete_old_segments(10_000).unwrap(), 5, "the active segment too, if it is old");
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segment_count()), (10, 10, 1));
    log.check();

    let (_root, mut log) = build(&[("retention.bytes", "500")]);
    log.set_high_watermark(10);
    let size = log.size_bytes();
    assert_eq!(log.delete_old_segments(0).unwrap() as u64, (size - 500) / (size / 10));

    let (_root, mut log) = build(&[("cleanup.policy", "compact"), ("retention.bytes", "0")]);
    log.set_high_watermark(10);
    assert_eq!(log.delete_records_before(4).unwrap(), 4);
    assert!(matches!(log.read(3, 1, true, 10), Err(LogError::OffsetOutOfRange { .. })));
    assert!(matches!(log.delete_records_before(11), Err(LogError::OffsetOutOfRange { .. })));
    assert_eq!(log.delete_old_segments(0).unwrap(), 4);
    assert_eq!(log.segment_base_offsets().next(), Some(4));
}

/// Deleted segments are renamed at once and removed after the delay; readers that hold them can finish.
#[test]
fn deletion_is_delayed() {
    let root = tempfile::tempdir().unwrap();
    let config = config(&[("segment.bytes", "200"), ("file.delete.delay.ms", "100")]);
    let mut log = Log::create(options(root.path(), &config)).unwrap();
    for i in 0..4 {
        append(&mut log, &[(i, &[1; 100])]);
    }
    log.set_high_watermark(4);
    let held = log.read(0, 1 << 20, true, 4).unwrap();
    log.delete_records_before(2).unwrap();
    log.delete_old_segments(1).unwrap();
    assert_eq!(files(log.dir(), ".log.deleted").len(), 2);
    log.purge_deleted(100).unwrap();
    assert_eq!(files(log.dir(), ".deleted").len(), 7, "log, index and time index of two, and a snapshot");
    log.purge_deleted(101).unwrap();
    assert_eq!(files(log.dir(), ".deleted").len(), 0);
    assert!(!log.has_deleted_files());
    assert_eq!(records_of(&held).len(), 1);
}

/// Truncation takes epochs, producers and high watermark back with it.
#[test]
fn truncation() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[("segment.bytes", "300")]))).unwrap();
    for i in 0..8 {
        let options =
            BatchOptions { producer_id: 4, producer_epoch: 0, base_sequence: i, ..BatchOptions::default() };
        let bytes = batch_with(&[(i64::from(i), &[3; 60])], options);
        log.append_as_leader(&bytes, i / 3, AppendOrigin::Client, 0).unwrap();
    }
    log.set_high_watermark(8);
    assert!(!log.truncate_to(8, 0).unwrap());
    assert!(log.truncate_to(5, 0).unwrap());
    log.check();
    assert_eq!((log.log_end_offset(), log.high_watermark(), log.latest_epoch()), (5, 5, Some((1, 3))));
    assert_eq!(log.producer(4).unwrap().last_sequence, 4);
    assert_eq!(all_from(&log, 0).len(), 5);
    let next =
        BatchOptions { producer_id: 4, producer_epoch: 0, base_sequence: 5, ..BatchOptions::default() };
    log.append_as_leader(&batch_with(&[(0, b"x")], next), 2, AppendOrigin::Client, 0).unwrap();
    assert_eq!(log.epoch_end_offset(1).end_offset, 5);
    log.truncate_fully_and_start_at(100, 0).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segment_count()), (100, 100, 1));
    assert!(log.producer(4).is_none());
    log.check();
}

/// A batch that cannot be stored is refused and leaves no trace.
#[test]
fn refused_appends_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[("segment.bytes", "100")]))).unwrap();
    let big = batch(&[(0, &[0; 200])]);
    assert!(matches!(
        log.append_as_leader(&big, 0, AppendOrigin::Client, 0),
        Err(LogError::BatchTooLargeForSegment { max: 100, .. })
    ));
    let whole = batch(&[(0, b"x")]);
    for bad in [&whole[..whole.len() - 1], &[], &[0; 80]] {
        assert!(matches!(
            log.append_as_leader(bad, 0, AppendOrigin::Client, 0),
            Err(LogError::MalformedBatch { .. })
        ));
    }
    assert_eq!((log.log_end_offset(), log.size_bytes(), log.is_offline()), (0, 0, false));
}

/// A follower keeps the leader's offsets and epochs.
#[test]
fn follower_appends() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    let at = |base_offset, partition_leader_epoch| BatchOptions {
        base_offset,
        partition_leader_epoch,
        ..BatchOptions::default()
    };
    let mut builder = kafka_proto::records::builder::BatchBuilder::new(at(4, 2));
    builder.append_at(4, 1, None, Some(b"x"), &[]).unwrap();
    let info = log.append_as_follower(&builder.finish().unwrap(), 0).unwrap();
    assert_eq!((info.first_offset, log.log_end_offset(), log.latest_epoch()), (4, 5, Some((2, 4))));
    let old = batch_with(&[(1, b"y")], at(0, 2));
    assert!(matches!(log.append_as_follower(&old, 0), Err(LogError::UnexpectedAppendOffset { next: 5, .. })));
}

/// A flush that was under way when the log was truncated does not move the recovery point past the new end.
#[test]
fn truncation_outdates_a_running_flush() {
    let root = tempfile::tempdir().unwrap();
    let mut log = Log::create(options(root.path(), &config(&[]))).unwrap();
    for i in 0..4 {
        append(&mut log, &[(i, b"x")]);
    }
    let job = log.prepare_flush(4).unwrap().unwrap();
    log.truncate_to(2, 0).unwrap();
    let done = job.run();
    log.complete_flush(done, 0).unwrap();
    assert_eq!(log.recovery_point(), 0);
    log.flush(log.log_end_offset(), 0).unwrap();
    assert_eq!(log.recovery_point(), 2);
    log.check();
}

/// `flush.messages` asks the caller to flush before it acknowledges.
#[test]
fn flush_interval() {
    let root = tempfile::tempdir().unwrap();
    let mut log =
        Log::create(options(root.path(), &config(&[("flush.messages", "3"), ("flush.ms", "10")]))).unwrap();
    assert!(!append(&mut log, &[(1, b"a"), (1, b"b")]).flush_due);
    assert!(append(&mut log, &[(1, b"c")]).flush_due);
    assert_eq!((log.flush_due(9), log.flush_due(10)), (None, Some(3)));
    log.flush(3, 10).unwrap();
    assert_eq!((log.recovery_point(), log.flush_due(100)), (3, None));
}
