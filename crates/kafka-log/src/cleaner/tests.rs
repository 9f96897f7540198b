use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kafka_proto::records::Compression;
use kafka_proto::records::builder::{BatchBuilder, BatchOptions, end_transaction_marker};
use kafka_proto::records::reader::RecordReader;
use parking_lot::Mutex;

use super::*;
use crate::log::{Log, OpenOptions};
use crate::producers::AppendOrigin;
use crate::testing::{config, files, options};

const SMALL: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "600"),
    ("index.interval.bytes", "100"),
    ("delete.retention.ms", "0"),
];

fn keyed(records: &[(&str, Option<&str>)], options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        builder.append(1000, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    builder.finish().unwrap()
}

fn open_options(root: &Path) -> OpenOptions {
    options(root, &config(SMALL))
}

fn put(log: &LogHandle, records: &[(&str, Option<&str>)]) {
    let options = BatchOptions { compression: Compression::Lz4, ..BatchOptions::default() };
    let mut log = log.lock();
    log.append_as_leader(&keyed(records, options), 0, AppendOrigin::Client, 0).unwrap();
    let end = log.log_end_offset();
    log.set_high_watermark(end);
}

/// Offset, key and value of everything in the log.
fn dump(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let mut records = Vec::new();
    for (_, bytes) in files(log.dir(), ".log") {
        for batch in kafka_proto::records::BatchIter::new(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let text = |b: Option<&[u8]>| b.map(|b| String::from_utf8_lossy(b).into_owned());
            let all = RecordReader::new(1 << 20)
                .collect(&batch, |r| (r.offset, text(r.key).unwrap_or_default(), text(r.value)));
            records.extend(all.unwrap());
        }
    }
    records
}

fn latest(records: &[(i64, String, Option<String>)]) -> BTreeMap<String, (i64, Option<String>)> {
    records.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

/// Compaction keeps the latest value of every key at its offset, drops the others, and goes on where it stopped.
#[test]
fn keeps_the_latest() {
    let root = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Log::create(open_options(root.path())).unwrap()));
    let mut rng = fastrand::Rng::with_seed(3);
    let mut first_dirty = 0;
    for round in 0..4 {
        for i in 0..60 {
            let (a, b) = (format!("k{}", rng.u8(..20)), format!("k{}", rng.u8(..20)));
            put(&log, &[(&a, Some(&format!("{round}-{i}"))), (&b, Some("padding padding padding"))]);
        }
        let before = latest(&dump(&log.lock()));
        let size = log.lock().size_bytes();
        let done = clean_log(&log, first_dirty, &CleanerOptions::default(), 0).unwrap().unwrap();
        first_dirty = done.clean_up_to;
        let records = dump(&log.lock());
        assert_eq!(latest(&records), before, "round {round}");
        let below: Vec<_> =
            records.iter().filter(|(offset, ..)| *offset < first_dirty).map(|(_, key, _)| key).collect();
        let distinct: std::collections::BTreeSet<_> = below.iter().collect();
        assert_eq!(below.len(), distinct.len(), "one record a key below the clean offset");
        assert!(log.lock().size_bytes() < size);
        log.lock().check();
    }
    assert!(clean_log(&log, first_dirty, &CleanerOptions::default(), 0).unwrap().is_none());
    // What is left is read, searched and recovered like any log.
    let end = log.lock().log_end_offset();
    let records = dump(&log.lock());
    let read = log.lock().read(0, 1 << 20, true, end).unwrap();
    assert!(crate::testing::records_of(&read)[0].offset == records[0].0);
    drop(log);
    let mut log = Log::open(open_options(root.path())).unwrap();
    assert_eq!((log.log_end_offset(), dump(&log)), (end, records));
    log.close(0).unwrap();
}

/// A tombstone outlives the records it deletes by `delete.retention.ms`, then goes itself.
#[test]
fn tombstones_go_last() {
    let root = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Log::create(open_options(root.path())).unwrap()));
    put(&log, &[("gone", Some("x")), ("stays", Some("y"))]);
    put(&log, &[("gone", None)]);
    log.lock().roll(0).unwrap();
    put(&log, &[("other", Some("z"))]);
    let done = clean_log(&log, 0, &CleanerOptions::default(), 0).unwrap().unwrap();
    let keys = |log: &LogHandle| dump(&log.lock()).into_iter().map(|(_, key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(&log), ["stays", "gone", "other"]);
    log.lock().roll(0).unwrap();
    clean_log(&log, done.clean_up_to, &CleanerOptions::default(), 0).unwrap().unwrap();
    assert_eq!(keys(&log), ["stays", "other"]);
}

/// A producer's last batch stays as an empty one, aborted records neither stay nor hide committed ones.
#[test]
fn producers_and_transactions() {
    let root = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Log::create(open_options(root.path())).unwrap()));
    let idempotent =
        BatchOptions { producer_id: 5, producer_epoch: 0, base_sequence: 0, ..BatchOptions::default() };
    let txn = BatchOptions {
        producer_id: 6,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    let append = |bytes: &[u8], origin| log.lock().append_as_leader(bytes, 0, origin, 0).unwrap();
    append(&keyed(&[("a", Some("old"))], idempotent), AppendOrigin::Client);
    put(&log, &[("a", Some("committed")), ("b", Some("committed"))]);
    append(&keyed(&[("b", Some("aborted"))], txn), AppendOrigin::Client);
    append(&end_transaction_marker(0, 1, 6, 0, false, 0).unwrap(), AppendOrigin::Coordinator);
    log.lock().roll(0).unwrap();
    put(&log, &[("c", Some("active"))]);
    clean_log(&log, 0, &CleanerOptions::default(), 0).unwrap().unwrap();
    let values: Vec<_> =
        dump(&log.lock()).into_iter().filter_map(|(offset, _, value)| Some((offset, value?))).collect();
    let data: Vec<_> =
        values.iter().filter(|(offset, _)| *offset != 4).map(|(o, v)| (*o, v.as_str())).collect();
    assert_eq!(data, [(1, "committed"), (2, "committed"), (5, "active")]);
    drop(log);
    let log = Log::open(open_options(root.path())).unwrap();
    assert_eq!(log.producer(5).unwrap().last_sequence, 0, "known from the emptied batch");
    assert_eq!(log.log_end_offset(), 6);
}

/// With memory for few keys a pass stops early and the next goes on; nothing is lost.
#[test]
fn little_memory() {
    let root = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Log::create(open_options(root.path())).unwrap()));
    for i in 0..200 {
        put(&log, &[(&format!("key-{}", i % 50), Some(&format!("value {i}")))]);
    }
    let before = latest(&dump(&log.lock()));
    let options = CleanerOptions { key_bytes_max: 500, ..CleanerOptions::default() };
    let (mut first_dirty, mut passes) = (0, 0);
    while let Some(done) = clean_log(&log, first_dirty, &options, 0).unwrap() {
        assert!(done.clean_up_to > first_dirty);
        first_dirty = done.clean_up_to;
        passes += 1;
    }
    assert!(passes > 2);
    assert_eq!(latest(&dump(&log.lock())), before);
}

/// What is appended, deleted or truncated while a pass runs wins over the pass.
#[test]
fn a_changed_log_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Log::create(open_options(root.path())).unwrap()));
    for i in 0..40 {
        put(&log, &[("k", Some(&format!("value value value {i}")))]);
    }
    let plan = log.lock().plan_cleaning(0, 0).unwrap().unwrap();
    let keys = KeyMap::new(1 << 20);
    let group = plan.groups(plan.first_uncleanable)[0];
    let rewritten = rewrite::rewrite(&plan, group, &keys, &CleanerOptions::default(), 0).unwrap();
    log.lock().truncate_to(1, 0).unwrap();
    assert!(!log.lock().swap_in(&plan, group, rewritten, 0).unwrap());
    assert_eq!(dump(&log.lock()).len(), 1);
    assert!(files(log.lock().dir(), ".cleaned").is_empty());
}

/// The pass over all logs picks the dirty ones and remembers how far it came.
#[test]
fn the_pass_remembers() {
    let root = tempfile::tempdir().unwrap();
    let dirs = LogDirs::prepare(crate::log_dirs::LogDirsOptions::new(vec![root.path().to_owned()])).unwrap();
    let compacted = config(SMALL);
    let log = dirs.get_or_create(&TopicPartition::new("c", 0), &compacted, None, 0).unwrap();
    dirs.get_or_create(&TopicPartition::new("d", 0), &config(&[]), None, 0).unwrap();
    for i in 0..40 {
        put(&log, &[("k", Some(&format!("value value value {i}")))]);
    }
    assert_eq!(dirs.clean_pass(&CleanerOptions::default(), 0), 1);
    assert_eq!(dirs.clean_pass(&CleanerOptions::default(), 0), 0);
    let text = std::fs::read_to_string(root.path().join("cleaner-offset-checkpoint")).unwrap();
    let active = log.lock().segment_base_offsets().last().unwrap();
    assert_eq!(text, format!("0\n1\nc 0 {active}\n"));
    dirs.delete_pass(i64::MAX);
    assert!(files(log.lock().dir(), ".deleted").is_empty());
}
