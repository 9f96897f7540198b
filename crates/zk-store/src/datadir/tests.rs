//! A directory's life: fresh, restarted, damaged, purged.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use zk_proto::{StatPersisted, Writer};

use super::*;
use crate::snapshot::{SnapshotPart, SnapshotTail, encode_node};
use crate::txnlog::testing::{payload, read_all, write_log};

mod damage;
mod interruptions;

fn root() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(root: &TempDir) -> DataDir {
    DataDir::open(&DataDirOptions::new(root.path())).expect("opened")
}

/// A snapshot whose root node's czxid is its zxid, to tell them apart.
fn write_snapshot(dir: &DataDir, zxid: i64) -> DiskFile {
    let mut w = dir.begin_snapshot(zxid, Compression::None, &[], [].into_iter()).expect("begun");
    let mut nodes = Writer::new();
    encode_node(&mut nodes, "", None, -1, &StatPersisted { czxid: zxid, ..StatPersisted::default() });
    w.nodes(nodes.as_slice()).expect("written");
    w.finish(SnapshotTail::default()).expect("finished")
}

/// What the caller would hold after recovery: the snapshot it came from, and the transactions.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    snapshot: Option<i64>,
    txns: Vec<i64>,
}

fn recover(dir: &DataDir, options: &RecoverOptions) -> Result<(Recovery, State), StoreError> {
    let mut state = State::default();
    let recovery = dir.recover(options, &mut |event| {
        match event {
            RecoveryEvent::Reset => state = State::default(),
            RecoveryEvent::Part(SnapshotPart::Node { stat, .. }) => state.snapshot = Some(stat.czxid),
            RecoveryEvent::Part(_) => {}
            RecoveryEvent::Txn { entry, payload: bytes } => {
                assert_eq!(bytes, payload(entry.header.zxid));
                state.txns.push(entry.header.zxid);
            }
        }
        Ok(())
    })?;
    Ok((recovery, state))
}

fn recovered(dir: &DataDir) -> (Recovery, State) {
    recover(dir, &RecoverOptions::default()).expect("recovered")
}

#[test]
fn a_fresh_directory_is_an_empty_database_that_wants_a_snapshot() {
    let root = root();
    let dir = open(&root);
    let (recovery, state) = recovered(&dir);
    assert_eq!((recovery.last_zxid, recovery.needs_snapshot), (0, true));
    assert_eq!(state, State::default());
}

#[test]
fn without_autocreate_an_empty_database_needs_the_initialize_file() {
    let root = root();
    let dir = open(&root);
    let options = RecoverOptions { db_autocreate: false, ..RecoverOptions::default() };
    let (recovery, _) = recover(&dir, &options).expect("recovered");
    assert_eq!((recovery.last_zxid, recovery.needs_snapshot), (-1, false));
    fs::write(root.path().join("initialize"), b"").expect("written");
    let (recovery, _) = recover(&dir, &options).expect("recovered");
    assert_eq!((recovery.last_zxid, recovery.needs_snapshot), (0, true));
    assert!(!root.path().join("initialize").exists(), "it counts once");
}

#[test]
fn the_newest_snapshot_and_what_came_after_make_the_state() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=4);
    write_snapshot(&dir, 2);
    write_log(dir.log_dir(), 5..=6);
    let (recovery, state) = recovered(&dir);
    assert_eq!(state, State { snapshot: Some(2), txns: vec![3, 4, 5, 6] });
    assert_eq!((recovery.last_zxid, recovery.txns, recovery.torn), (6, 4, None));
    assert!(!recovery.needs_snapshot);
}

#[test]
fn a_snapshot_alone_gives_its_name_as_the_last_zxid() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0x2_0000_0000);
    assert_eq!(recovered(&dir).0.last_zxid, 0x2_0000_0000);
}

#[test]
fn recovery_tells_the_newest_transactions_those_before_the_snapshot_too() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=4);
    write_snapshot(&dir, 4);
    write_log(dir.log_dir(), 5..=6);
    for (recent_max, expect) in [(0, vec![]), (2, vec![5, 6]), (3, vec![4, 5, 6]), (9, (1..=6).collect())] {
        let options = RecoverOptions { recent_max, ..RecoverOptions::default() };
        let recent = recover(&dir, &options).expect("recovered").0.recent;
        assert_eq!(recent, dir.recent(recent_max).expect("read"));
        assert_eq!(recent.into_iter().map(|(zxid, _)| zxid).collect::<Vec<_>>(), expect);
    }
}

#[test]
fn what_is_missing_before_the_snapshot_does_not_matter() {
    let root = root();
    let dir = open(&root);
    let (e1, e2) = (1 << 32, 2 << 32);
    write_log(dir.log_dir(), e1 + 1..=e1 + 3);
    write_snapshot(&dir, e2 + 1);
    write_log(dir.log_dir(), e2 + 2..=e2 + 3);
    assert_eq!(recovered(&dir).1.txns, [e2 + 2, e2 + 3]);
    // Without it, a whole epoch's beginning would be missing.
    write_snapshot(&dir, e1 + 2);
    fs::write(dir.snap_dir().join("snapshot.200000001"), b"cut").expect("written");
    let got = recover(&dir, &RecoverOptions::default());
    assert!(matches!(got, Err(StoreError::Gap { .. })), "{got:?}");
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one_and_the_log_between() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=4);
    let newest = write_snapshot(&dir, 3);
    let mut bytes = fs::read(&newest.path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest.path, bytes).expect("written");
    assert_eq!(recovered(&dir).1, State { snapshot: Some(0), txns: vec![1, 2, 3, 4] });
}

#[test]
fn an_older_snapshot_without_the_log_between_is_refused() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    let newest = write_snapshot(&dir, 3);
    write_log(dir.log_dir(), 4..=5);
    fs::write(&newest.path, b"cut").expect("written");
    let got = recover(&dir, &RecoverOptions::default());
    assert!(matches!(got, Err(StoreError::Gap { after: 0, found: 4, .. })), "{got:?}");
}

#[test]
fn transactions_without_a_snapshot_are_refused_unless_trusted() {
    let root = root();
    let dir = open(&root);
    write_log(dir.log_dir(), 7..=8);
    let got = recover(&dir, &RecoverOptions::default());
    assert!(matches!(got, Err(StoreError::LogsWithoutSnapshot { .. })), "{got:?}");
    let options = RecoverOptions { trust_empty_snapshot: true, ..RecoverOptions::default() };
    let (recovery, state) = recover(&dir, &options).expect("trusted");
    assert_eq!(state, State { snapshot: None, txns: vec![7, 8] });
    assert!(recovery.needs_snapshot);
}

#[test]
fn a_torn_tail_is_cut_once_and_the_log_goes_on() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=2);
    let path = dir.log_dir().join("log.1");
    let end = read_all(dir.log_dir(), 0).expect("whole").0[1].end;
    let mut bytes = fs::read(&path).expect("read");
    bytes[end as usize..end as usize + 9].fill(0xee);
    fs::write(&path, bytes).expect("written");
    let torn = recovered(&dir).0.torn.expect("torn");
    assert_eq!((torn.offset, torn.bytes), (end, 9));
    assert_eq!(path.metadata().expect("there").len(), end);
    assert_eq!(recovered(&dir).0.torn, None);
    write_log(dir.log_dir(), 3..=3);
    assert_eq!(recovered(&dir).1.txns, [1, 2, 3]);
}

#[test]
fn a_log_file_without_even_a_header_is_removed() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=2);
    fs::write(dir.log_dir().join("log.3"), b"").expect("written");
    assert_eq!(recovered(&dir).1.txns, [1, 2]);
    assert!(!dir.log_dir().join("log.3").exists());
}

#[test]
fn the_caller_can_refuse_a_transaction() {
    let root = root();
    let dir = open(&root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=2);
    let got = dir.recover(&RecoverOptions::default(), &mut |event| match event {
        RecoveryEvent::Txn { .. } => Err("no".into()),
        _ => Ok(()),
    });
    assert!(matches!(got, Err(StoreError::Refused { .. })));
}

#[test]
fn epochs_are_checked_against_the_log_and_made_when_missing() {
    let root = root();
    let dir = open(&root);
    let read = |name: &str| fs::read_to_string(dir.snap_dir().join(name)).expect("written");
    assert_eq!(dir.load_epochs(0x3_0000_0009).expect("made"), Epochs { accepted: 3, current: 3 });
    assert_eq!((read("acceptedEpoch"), read("currentEpoch")), ("3".into(), "3".into()));

    dir.set_accepted_epoch(5).expect("written");
    assert_eq!(dir.load_epochs(0x3_0000_0009).expect("read"), Epochs { accepted: 5, current: 3 });
    assert!(matches!(dir.load_epochs(0x4_0000_0001), Err(StoreError::Epochs { .. })), "the log is ahead");
    fs::write(dir.snap_dir().join("currentEpoch.tmp"), "4").expect("written");
    assert_eq!(dir.load_epochs(0x4_0000_0001).expect("adopted"), Epochs { accepted: 5, current: 4 });

    dir.set_current_epoch(6).expect("written");
    assert!(matches!(dir.load_epochs(0), Err(StoreError::Epochs { .. })), "accepted is behind current");
    fs::write(dir.snap_dir().join("currentEpoch"), "six").expect("written");
    assert!(matches!(dir.load_epochs(0), Err(StoreError::NotANumber { .. })));
}

#[test]
fn a_directory_serves_one_process_at_a_time() {
    let root = root();
    let dir = open(&root);
    let second = DataDir::open(&DataDirOptions::new(root.path()));
    let Err(StoreError::InUse { pid, .. }) = second else { panic!("{second:?}") };
    assert_eq!(pid, Some(std::process::id()));
    drop(dir);
    open(&root);
}

#[test]
fn swapped_directories_are_refused() {
    let (data, logs) = (root(), root());
    let options =
        |data: &Path, logs: &Path| DataDirOptions { log_dir: Some(logs.into()), ..DataDirOptions::new(data) };
    let dir = DataDir::open(&options(data.path(), logs.path())).expect("opened");
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), 1..=1);
    drop(dir);
    DataDir::open(&options(data.path(), logs.path())).expect("as it was");
    let swapped = DataDir::open(&options(logs.path(), data.path()));
    assert!(matches!(swapped, Err(StoreError::Misplaced { .. })), "{swapped:?}");
}

#[test]
fn a_missing_directory_is_made_only_when_allowed() {
    let root = root();
    let options = DataDirOptions { autocreate: false, ..DataDirOptions::new(root.path().join("zk")) };
    assert!(matches!(DataDir::open(&options), Err(StoreError::MissingDir { .. })));
    DataDir::open(&DataDirOptions { autocreate: true, ..options }).expect("made");
}

#[test]
fn unfinished_snapshots_are_cleared_away_at_the_next_start() {
    let root = root();
    let dir = open(&root);
    let left_over = dir.snap_dir().join("tmp.snapshot.5");
    fs::write(&left_over, b"half").expect("written");
    drop(dir);
    open(&root);
    assert!(!left_over.exists());
}

#[test]
fn purge_keeps_what_the_oldest_kept_snapshot_needs() {
    let root = root();
    let dir = open(&root);
    for zxid in [0, 3, 5, 8, 9] {
        write_snapshot(&dir, zxid);
    }
    write_log(dir.log_dir(), 1..=2);
    write_log(dir.log_dir(), 3..=6); // holds 5, the oldest kept snapshot's zxid, and goes on beyond
    write_log(dir.log_dir(), 7..=10);
    assert!(matches!(dir.purge(2), Err(StoreError::RetainTooFew(2))));
    let removed = dir.purge(3).expect("purged");
    assert_eq!(removed.files.len(), 3, "two snapshots and one log: {removed:?}");
    assert_eq!(recovered(&dir).1, State { snapshot: Some(9), txns: vec![10] });
    assert_eq!(read_all(dir.log_dir(), 0).expect("whole").0.len(), 8);
    assert_eq!(dir.purge(3).expect("nothing left to do"), Removed::default());
}
