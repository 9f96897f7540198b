//! What a crash or a power cut leaves behind: cut files, flipped bits, lost small files.

use super::*;
use crate::producers::AppendOrigin;
use crate::testing::*;

/// A log of several segments with three producers, and the end of each batch.
fn build(root: &Path) -> (Log, Vec<Rec>) {
    let config = config(&[("segment.bytes", "2000"), ("index.interval.bytes", "256")]);
    let mut log = Log::create(options(root, &config)).unwrap();
    for i in 0..60 {
        let bytes = match i % 3 {
            0 => idempotent(i % 2, 0, (i / 6 * 4) as i32, 4),
            1 => batch(&[(i, &vec![i as u8; 40 + i as usize])]),
            _ => batch(&[(500 - i, b"x"), (500 + i, b"y")]),
        };
        log.append_as_leader(&bytes, (i / 20) as i32, AppendOrigin::Client, 0).unwrap();
    }
    let records = all_from(&log, 0);
    (log, records)
}

fn reopen(root: &Path, recovery_point: i64) -> Log {
    let config = config(&[("segment.bytes", "2000"), ("index.interval.bytes", "256")]);
    let mut options = options(root, &config);
    options.recovery_point = recovery_point;
    Log::open(options).unwrap()
}

/// Rebuilt from the log alone, indexes, snapshots and epochs are byte for byte what appending wrote.
#[test]
fn rebuilt_files_are_identical() {
    let root = tempfile::tempdir().unwrap();
    let (mut log, records) = build(root.path());
    log.close(0).unwrap();
    let dir = log.dir().to_owned();
    drop(log);
    let suffixes = [".index", ".timeindex", ".snapshot", "checkpoint"];
    let written: Vec<_> = suffixes.iter().map(|s| files(&dir, s)).collect();
    assert!(written.iter().all(|w| !w.is_empty()));
    for (name, _) in written.concat() {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    let mut log = reopen(root.path(), 0);
    assert_eq!(all_from(&log, 0), records);
    log.close(0).unwrap();
    for (suffix, written) in suffixes.iter().zip(written) {
        assert_eq!(files(&dir, suffix), written, "{suffix}");
    }
}

/// Cut at any byte, or with any bit flipped, the log ends before the damage; everything before is there.
#[test]
fn damaged_tails() {
    let root = tempfile::tempdir().unwrap();
    let (mut log, records) = build(root.path());
    log.flush(log.log_end_offset(), 0).unwrap();
    let dir = log.dir().to_owned();
    drop(log);
    let logs = files(&dir, ".log");
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let copy = tempfile::tempdir().unwrap();
        let broken = copy.path().join("t-0");
        copy_dir(&dir, &broken);
        let (name, bytes) = &logs[rng.usize(logs.len().saturating_sub(3)..logs.len())];
        let at = rng.usize(..bytes.len());
        let mut damaged = bytes.clone();
        match round % 3 {
            0 => damaged.truncate(at),
            1 => damaged[at] ^= 1 << rng.u8(..8),
            _ => damaged[at..].fill(0),
        }
        std::fs::write(broken.join(name), &damaged).unwrap();
        if round % 2 == 0 {
            lose_small_files(&broken, &mut rng);
        }
        let log = reopen(copy.path(), 0);
        log.check();
        let expect = records_before(&records, name, bytes, at);
        let got = all_from(&log, 0);
        // Offset and epoch lie outside the checksum: a flipped bit there may go unnoticed or cut earlier.
        let in_prefix = damaged.len() == bytes.len();
        let intact = expect.iter().zip(&got).take_while(|(a, b)| a == b).count();
        assert!(
            intact == expect.len() || (in_prefix && intact + 4 >= expect.len()),
            "round {round}: {name} at {at}"
        );
        let mut log = log;
        let next = log.append_as_leader(&batch(&[(1, b"on")]), 9, AppendOrigin::Client, 0).unwrap();
        assert_eq!(next.first_offset + 1, log.log_end_offset());
        log.close(0).unwrap();
    }
}

fn lose_small_files(dir: &Path, rng: &mut fastrand::Rng) {
    for suffix in [".index", ".timeindex", ".snapshot", "checkpoint"] {
        for (name, bytes) in files(dir, suffix) {
            match rng.u8(..4) {
                0 => std::fs::remove_file(dir.join(name)).unwrap(),
                1 => std::fs::write(dir.join(name), &bytes[..rng.usize(..=bytes.len())]).unwrap(),
                _ => {}
            }
        }
    }
}

/// The records of all whole batches before byte `at` of the file called `name`.
fn records_before(records: &[Rec], name: &str, bytes: &[u8], at: usize) -> Vec<Rec> {
    let mut end = crate::names::offset_of(name).unwrap();
    let mut position = 0;
    for batch in kafka_proto::records::BatchIter::new(bytes) {
        let batch = batch.unwrap();
        position += batch.size_bytes();
        if position > at {
            break;
        }
        end = batch.last_offset() + 1;
    }
    records.iter().filter(|r| r.offset < end).cloned().collect()
}

/// Below the recovery point nothing is read again: damage there is not recovery's business.
#[test]
fn recovery_begins_at_the_recovery_point() {
    let root = tempfile::tempdir().unwrap();
    let (mut log, records) = build(root.path());
    log.flush(log.log_end_offset(), 0).unwrap();
    let recovery_point = log.recovery_point();
    let dir = log.dir().to_owned();
    drop(log);
    let (name, mut bytes) = files(&dir, ".log").remove(0);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(dir.join(name), bytes).unwrap();
    let log = reopen(root.path(), recovery_point);
    assert_eq!(log.log_end_offset(), records.last().unwrap().offset + 1);
}

/// Segments after the damage are dropped, and the log goes on from there.
#[test]
fn later_segments_are_dropped() {
    let root = tempfile::tempdir().unwrap();
    let (log, _) = build(root.path());
    let (dir, count) = (log.dir().to_owned(), log.segment_count());
    let second = log.segment_base_offsets().nth(1).unwrap();
    drop(log);
    let path = dir.join(format!("{second:020}.log"));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x80;
    std::fs::write(&path, bytes).unwrap();
    let mut log = reopen(root.path(), 0);
    assert!(count > 3 && log.segment_count() == 2);
    assert!(log.latest_epoch().unwrap().1 <= log.log_end_offset());
    log.purge_deleted(i64::MAX).unwrap();
    assert_eq!(files(&dir, ".log").len(), 2);
    log.check();
}

/// A clean marker over a torn tail is not believed.
#[test]
fn a_lying_marker_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let (mut log, records) = build(root.path());
    log.close(0).unwrap();
    let dir = log.dir().to_owned();
    drop(log);
    let (name, bytes) = files(&dir, ".log").pop().unwrap();
    std::fs::write(dir.join(&name), &bytes[..bytes.len() - 3]).unwrap();
    let mut options = options(root.path(), &config(&[("segment.bytes", "2000")]));
    options.clean = true;
    options.recovery_point = records.last().unwrap().offset + 1;
    let log = Log::open(options).unwrap();
    assert!(log.log_end_offset() < records.last().unwrap().offset + 1);
    assert!(!all_from(&log, 0).is_empty());
}

/// Active indexes that Kafka preallocated and a crash left full of zeros are rebuilt.
#[test]
fn preallocated_indexes_are_rebuilt() {
    let root = tempfile::tempdir().unwrap();
    let (log, records) = build(root.path());
    let dir = log.dir().to_owned();
    let active = log.segment_base_offsets().last().unwrap();
    drop(log);
    let path = dir.join(format!("{active:020}.index"));
    let mut bytes = std::fs::read(&path).unwrap_or_default();
    bytes.resize(10 << 20, 0);
    std::fs::write(&path, bytes).unwrap();
    let log = reopen(root.path(), active);
    assert_eq!(all_from(&log, 0), records);
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
}
