//! Truncation and installation, stopped behind every step.

use super::*;
use crate::steps::run_all;
use crate::txnlog::Entries;

fn zxids(entries: Entries) -> Vec<i64> {
    entries.into_iter().map(|(zxid, _)| zxid).collect()
}

fn snapshots(dir: &DataDir) -> Vec<i64> {
    dir.snapshot_zxids().expect("listed")
}

/// Three log files up to 9, snapshots 0, 3, 6 and 8.
fn history(root: &TempDir) -> DataDir {
    let dir = open(root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=4);
    write_snapshot(&dir, 3);
    write_log(dir.log_dir(), 5..=7);
    write_snapshot(&dir, 6);
    write_snapshot(&dir, 8);
    let mut log = dir.open_log(crate::txnlog::testing::options(4096)).expect("opened");
    log.append(&payload(8)).and_then(|()| log.append(&payload(9))).and_then(|()| log.sync()).expect("logged");
    assert_eq!(dir.noted_zxid(), Some(9));
    dir
}

#[test]
fn truncation_removes_log_and_snapshots_behind_the_zxid() {
    for (zxid, kept, txns) in [
        (9, vec![8, 6, 3, 0], vec![9]),
        (8, vec![8, 6, 3, 0], vec![]),
        (7, vec![6, 3, 0], vec![7]),
        (5, vec![3, 0], vec![4, 5]),
        (2, vec![0], vec![1, 2]),
        (0, vec![0], vec![]),
    ] {
        let root = root();
        let dir = history(&root);
        let before = snapshots(&dir);
        let removed = dir.truncate(zxid).expect("truncated").snapshots;
        assert_eq!(snapshots(&dir), kept, "0x{zxid:x}");
        assert_eq!(removed.len(), before.len() - kept.len());
        let (recovery, state) = recovered(&dir);
        assert_eq!((recovery.last_zxid, state.txns), (zxid, txns));
        write_log(dir.log_dir(), zxid + 1..=zxid + 2);
        assert_eq!(recovered(&dir).0.last_zxid, zxid + 2, "the log goes on");
    }
}

/// ZOOKEEPER-5094.
#[test]
fn a_truncation_stopped_anywhere_leaves_a_prefix_of_the_history_that_reaches_the_zxid() {
    for zxid in [0, 2, 5, 7, 9] {
        let steps = history(&root()).truncation_plan(zxid).expect("planned").1.len();
        for done in 0..=steps {
            let root = root();
            let dir = history(&root);
            run_all(&dir.truncation_plan(zxid).expect("planned").1[..done]).expect("carried out");
            drop(dir);
            let dir = open(&root);
            let (recovery, state) = recovered(&dir);
            let last = recovery.last_zxid;
            assert!((zxid..=9).contains(&last), "to {zxid}, {done} of {steps}: {last}");
            let base = state.snapshot.expect("there is a snapshot");
            assert_eq!(state.txns, (base + 1..=last).collect::<Vec<_>>());
            assert!(dir.noted_zxid().is_some_and(|noted| noted <= last));
            // No snapshot holds what the log does not: history is served to others up to its very end.
            assert_eq!(dir.last_logged_zxid().expect("readable").unwrap_or(0), last);
            assert_eq!(zxids(dir.recent(100).expect("readable")), (1..=last).collect::<Vec<_>>());
            // The next try brings it to its end.
            dir.truncate(zxid).expect("truncated");
            assert_eq!(recovered(&dir).0.last_zxid, zxid);
        }
    }
}

#[test]
fn a_truncation_that_would_leave_no_history_is_refused_untouched() {
    let check = |prepare: &dyn Fn(&DataDir), zxid| {
        let root = root();
        let dir = open(&root);
        prepare(&dir);
        let files = |dir: &DataDir| {
            let mut names: Vec<_> = fs::read_dir(dir.snap_dir())
                .expect("listed")
                .map(|e| e.expect("entry").file_name())
                .collect();
            names.sort();
            names
        };
        let before = files(&dir);
        let got = dir.truncate(zxid);
        assert!(matches!(got, Err(StoreError::CannotTruncate { .. })), "{got:?}");
        assert_eq!(files(&dir), before);
    };
    let only_later_snapshots = |dir: &DataDir| {
        write_snapshot(dir, 6);
        write_log(dir.log_dir(), 4..=9);
    };
    check(&only_later_snapshots, 5);
    let older_one_is_damaged = |dir: &DataDir| {
        let damaged = write_snapshot(dir, 3).path;
        let mut bytes = fs::read(&damaged).expect("read");
        bytes[40] ^= 1;
        fs::write(&damaged, bytes).expect("written");
        only_later_snapshots(dir);
    };
    check(&older_one_is_damaged, 5);
    let never_had_it = |dir: &DataDir| {
        write_snapshot(dir, 0);
        write_log(dir.log_dir(), 1..=4);
        write_log(dir.log_dir(), (1 << 32) + 1..=(1 << 32) + 2);
    };
    check(&never_had_it, 6);
    let log_does_not_join = |dir: &DataDir| {
        write_snapshot(dir, 0);
        write_log(dir.log_dir(), 3..=6);
        write_snapshot(dir, 6);
    };
    check(&log_does_not_join, 5);
}

#[test]
fn a_history_that_cannot_be_cut_is_replaced_by_the_leaders_snapshot() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 6);
    write_log(dir.log_dir(), 7..=9);
    dir.truncate(5).expect_err("no older snapshot");
    assert_eq!(recovered(&dir).0.last_zxid, 9, "nothing was touched");
    dir.install_snapshot(receive(&dir, 5), SnapshotTail::default()).expect("installed");
    assert_eq!(recovered(&dir).0.last_zxid, 5);
}

#[test]
fn an_epochs_beginning_is_a_place_to_cut_at() {
    let root = root();
    let dir = open(&root);
    let (e1, e2) = (1 << 32, 2 << 32);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), [e1 + 1, e1 + 2, e2 + 1]);
    dir.truncate(e2).expect("truncated");
    assert_eq!(recovered(&dir).0.last_zxid, e1 + 2);
}

/// A received snapshot; its root node's czxid tells it from one of the same name.
fn receive(dir: &DataDir, zxid: i64) -> SnapshotWriter {
    let mut w = dir.begin_snapshot(zxid, Compression::None, &[], [].into_iter()).expect("begun");
    let mut nodes = Writer::new();
    encode_node(&mut nodes, "", None, -1, &StatPersisted { czxid: 1000 + zxid, ..StatPersisted::default() });
    w.nodes(nodes.as_slice()).expect("written");
    w
}

/// The old history beside other snapshots of the received one's zxid.
fn old_history(root: &TempDir) -> DataDir {
    let dir = history(root);
    let mut w = dir.begin_snapshot(5, Compression::Gzip, &[], [].into_iter()).expect("begun");
    w.nodes(b"").expect("written");
    w.finish(SnapshotTail::default()).expect("finished");
    write_snapshot(&dir, 5);
    dir
}

#[test]
fn an_installed_snapshot_is_the_only_history() {
    for zxid in [5, 9, 12, 1 << 32] {
        let root = root();
        let dir = old_history(&root);
        let installed =
            dir.install_snapshot(receive(&dir, zxid), SnapshotTail::default()).expect("installed");
        assert_eq!(installed.path, dir.snap_dir().join(format!("snapshot.{zxid:x}")));
        let (recovery, state) = recovered(&dir);
        assert_eq!((recovery.last_zxid, recovery.recent), (zxid, vec![]));
        assert_eq!(state, State { snapshot: Some(1000 + zxid), txns: vec![] });
        assert_eq!(dir.last_logged_zxid().expect("readable"), None);
        write_log(dir.log_dir(), zxid + 1..=zxid + 2);
        assert_eq!(recovered(&dir).1.txns, [zxid + 1, zxid + 2]);
        assert_eq!(zxids(dir.recent(100).expect("readable")), [zxid + 1, zxid + 2]);
        assert_eq!(dir.read_after(4, zxid + 2, u64::MAX).expect("readable"), None, "before the snapshot");
    }
}

/// ZOOKEEPER-3104, ZOOKEEPER-3642.
#[test]
fn an_installation_stopped_anywhere_leaves_the_old_history_or_the_new() {
    for zxid in [5, 12] {
        let plan = |dir: &DataDir| {
            let complete = receive(dir, zxid).complete(SnapshotTail::default()).expect("complete");
            dir.installation_plan(&complete).expect("planned")
        };
        let steps = plan(&old_history(&root())).len();
        assert!(steps > 5, "marker, name, snapshots, logs, marker");
        for done in 0..=steps {
            for restart in [true, false] {
                let root = root();
                let mut dir = old_history(&root);
                run_all(&plan(&dir)[..done]).expect("carried out");
                if restart {
                    drop(dir);
                    dir = open(&root);
                }
                let (recovery, state) = recovered(&dir);
                if done == 0 {
                    assert_eq!((recovery.last_zxid, state.txns), (9, vec![9]), "the old history");
                    assert_eq!(zxids(dir.recent(100).expect("readable")), (1..=9).collect::<Vec<_>>());
                    continue;
                }
                assert_eq!(recovery.last_zxid, zxid, "{done} of {steps}");
                assert_eq!(state, State { snapshot: Some(1000 + zxid), txns: vec![] }, "{done} of {steps}");
                assert_eq!(dir.last_logged_zxid().expect("readable"), None);
                assert!(!dir.installing().exists());
                assert!(dir.noted_zxid().is_some_and(|noted| noted <= zxid));
                write_log(dir.log_dir(), [zxid + 1]);
                assert_eq!(recovered(&dir).1.txns, [zxid + 1]);
            }
        }
    }
}

#[test]
fn a_snapshot_received_in_part_is_nothing() {
    let root = root();
    let dir = old_history(&root);
    let half = receive(&dir, 12);
    std::mem::forget(half); // the process dies
    drop(dir);
    let dir = open(&root);
    assert_eq!(recovered(&dir).0.last_zxid, 9);
    assert!(!dir.snap_dir().join("tmp.snapshot.c").exists());
}

#[test]
fn an_installation_that_makes_no_sense_is_damage() {
    let root = root();
    let dir = history(&root);
    for text in ["", "snapshot.77", "../../etc/passwd", "log.1"] {
        fs::write(dir.installing(), text).expect("written");
        let got = recover(&dir, &RecoverOptions::default());
        assert!(matches!(got, Err(StoreError::Corrupt { .. })), "{text}: {got:?}");
    }
}
