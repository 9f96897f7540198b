//! Histories whole, with holes, and with holes that do not show.

use tempfile::TempDir;

use super::*;
use crate::txnlog::testing::{payload, write_log};

const E1: i64 = 1 << 32;
const E2: i64 = 2 << 32;
const E4: i64 = 4 << 32;

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn zxids(entries: Entries) -> Vec<i64> {
    entries
        .into_iter()
        .map(|(zxid, bytes)| {
            assert_eq!(bytes, payload(zxid));
            zxid
        })
        .collect()
}

fn newest(dir: &TempDir, snapshots: &[i64], count: usize) -> Vec<i64> {
    zxids(recent(dir.path(), snapshots.to_vec(), count, usize::MAX).expect("readable"))
}

fn behind(dir: &TempDir, snapshots: &[i64], after: i64, upto: i64) -> Option<Vec<i64>> {
    read_after(dir.path(), snapshots, after, upto, u64::MAX).expect("readable").map(zxids)
}

#[test]
fn the_newest_entries_come_from_as_many_files_as_it_takes() {
    let dir = dir();
    write_log(dir.path(), 1..=3);
    write_log(dir.path(), 4..=6);
    write_log(dir.path(), 7..=7);
    for count in 0..=9 {
        let expect: Vec<i64> = (1..=7).filter(|zxid| zxid + count as i64 > 7).collect();
        assert_eq!(newest(&dir, &[0], count), expect, "{count}");
    }
    let bytes = payload(1).len();
    let limited = recent(dir.path(), vec![0], 9, 2 * bytes + 1).expect("readable");
    assert_eq!(zxids(limited), [6, 7]);
}

#[test]
fn the_newest_entries_never_span_a_gap() {
    let between_files = dir();
    write_log(between_files.path(), 1..=3);
    write_log(between_files.path(), 5..=6);
    assert_eq!(newest(&between_files, &[0], 9), [5, 6]);

    let inside = dir();
    write_log(inside.path(), [E1 + 1, E1 + 2]);
    // Written as Apache would: one file though the epoch's beginning is missing.
    let second = crate::names::log_name(E2 + 2);
    write_log(inside.path(), [E2 + 2, E2 + 3]);
    assert!(inside.path().join(second).exists());
    assert_eq!(newest(&inside, &[0], 9), [E2 + 2, E2 + 3]);
}

#[test]
fn a_damaged_older_file_ends_the_newest_entries() {
    let dir = dir();
    write_log(dir.path(), 1..=3);
    write_log(dir.path(), 4..=6);
    let older = dir.path().join("log.1");
    let mut bytes = std::fs::read(&older).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&older, bytes).expect("written");
    assert_eq!(newest(&dir, &[0], 9), [4, 5, 6]);
}

#[test]
fn a_snapshot_newer_than_the_log_leaves_no_entries_to_serve() {
    let dir = dir();
    write_log(dir.path(), 1..=3);
    assert_eq!(newest(&dir, &[0, 3], 9), [1, 2, 3]);
    assert_eq!(newest(&dir, &[0, 4], 9), [0i64; 0]);
    assert_eq!(behind(&dir, &[0, 4], 1, 3), None);
}

#[test]
fn entries_behind_a_zxid_are_served_if_the_log_reaches_back_to_it() {
    let dir = dir();
    write_log(dir.path(), E1 + 3..=E1 + 5);
    write_log(dir.path(), [E1 + 6, E2 + 1, E2 + 2]);
    let upto = E2 + 2;
    assert_eq!(behind(&dir, &[0], E1 + 5, upto), Some(vec![E1 + 6, E2 + 1, E2 + 2]));
    assert_eq!(behind(&dir, &[0], E1 + 6, upto), Some(vec![E2 + 1, E2 + 2]), "across the epoch");
    assert_eq!(behind(&dir, &[0], E2, upto), Some(vec![E2 + 1, E2 + 2]), "at its beginning");
    assert_eq!(behind(&dir, &[0], E1 + 2, upto).map(|e| e.len()), Some(6), "only the neighbour is needed");
    assert_eq!(behind(&dir, &[0], upto, upto), Some(vec![]));
    assert_eq!(behind(&dir, &[0], E1 + 1, upto), None, "the log does not reach back");
    assert_eq!(behind(&dir, &[0], E1 + 7, upto), None, "never logged here");
    assert_eq!(behind(&dir, &[0], upto + 1, upto), None, "newer than all there is");
    assert_eq!(behind(&dir, &[0], E1 + 4, E2 + 1), Some(vec![E1 + 5, E1 + 6, E2 + 1]), "not beyond");
    assert_eq!(behind(&dir, &[0], E1 + 4, E2 + 3), None, "the log is shorter than the caller believes");
}

#[test]
fn the_limit_is_of_payload_bytes() {
    let dir = dir();
    write_log(dir.path(), 1..=4);
    let two = 2 * payload(1).len() as u64;
    let read = |after, max| read_after(dir.path(), &[0], after, 4, max).expect("readable").map(zxids);
    assert_eq!(read(2, two), Some(vec![3, 4]));
    assert_eq!(read(2, two - 1), None);
}

#[test]
fn a_gap_is_never_served() {
    let in_epoch = dir();
    write_log(in_epoch.path(), 1..=3);
    write_log(in_epoch.path(), 5..=6);
    assert_eq!(behind(&in_epoch, &[0], 2, 6), None);
    assert_eq!(behind(&in_epoch, &[0], 4, 6), Some(vec![5, 6]));

    let epoch_cut = dir();
    write_log(epoch_cut.path(), [E1 + 1, E1 + 2]);
    write_log(epoch_cut.path(), [E2 + 2, E2 + 3]);
    assert_eq!(behind(&epoch_cut, &[0], E1 + 1, E2 + 3), None);
    assert_eq!(behind(&epoch_cut, &[0], E2, E2 + 3), None);
}

/// Apache keeps its old log when it is sent a snapshot; at the very beginning of an epoch no zxid tells.
#[test]
fn a_hole_behind_a_received_snapshot_is_not_overlooked() {
    let dir = dir();
    write_log(dir.path(), E1 + 1..=E1 + 5);
    write_log(dir.path(), E2 + 1..=E2 + 2);
    assert_eq!(behind(&dir, &[0, E2], E1 + 4, E2 + 2), None);
    assert_eq!(behind(&dir, &[0, E2], E1 + 5, E2 + 2), None);
    assert_eq!(behind(&dir, &[0, E2], E2, E2 + 2), Some(vec![E2 + 1, E2 + 2]));
    assert_eq!(newest(&dir, &[0, E2], 9), [E2 + 1, E2 + 2]);
    assert_eq!(newest(&dir, &[0, E2 + 1], 9).len(), 7, "a snapshot of what is logged says nothing");
}

#[test]
fn an_epoch_without_transactions_is_passed_over() {
    let dir = dir();
    write_log(dir.path(), [E1 + 1]);
    write_log(dir.path(), [E4 + 1]);
    assert_eq!(behind(&dir, &[0], E2, E4 + 1), Some(vec![E4 + 1]));
    assert_eq!(behind(&dir, &[0], E1 + 1, E4 + 1), Some(vec![E4 + 1]));
    // Without anything before, only a snapshot of that very zxid proves that nothing is missing.
    let late = self::dir();
    write_log(late.path(), [E4 + 1]);
    assert_eq!(behind(&late, &[0], E2, E4 + 1), None);
    assert_eq!(behind(&late, &[0, E2], E2, E4 + 1), Some(vec![E4 + 1]));
    assert_eq!(behind(&late, &[0], 0, E4 + 1), Some(vec![E4 + 1]), "from the empty database on");
}
