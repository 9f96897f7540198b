//! A member of an ensemble finds its directory whole, damaged, half synchronised or gone.

use std::collections::BTreeMap;

use super::*;
use crate::steps::run_all;

const E1: i64 = 1 << 32;
const E2: i64 = 2 << 32;

/// Snapshots 0 and (1, 2), two log files up to (1, 5), epochs 1.
fn member(root: &TempDir) -> DataDir {
    let dir = open(root);
    write_snapshot(&dir, 0);
    write_log(dir.log_dir(), E1 + 1..=E1 + 3);
    write_snapshot(&dir, E1 + 2);
    let mut log = dir.open_log(crate::txnlog::testing::options(4096)).expect("opened");
    log.append(&payload(E1 + 4)).and_then(|()| log.append(&payload(E1 + 5))).expect("appended");
    log.sync().expect("synced");
    dir.set_accepted_epoch(1).and_then(|()| dir.set_current_epoch(1)).expect("written");
    dir
}

fn start(dir: &DataDir, options: &RecoverOptions) -> (MemberRecovery, State) {
    let mut state = State::default();
    let found = dir.recover_or_set_aside(options, &mut |event| {
        match event {
            RecoveryEvent::Reset => state = State::default(),
            RecoveryEvent::Part(SnapshotPart::Node { stat, .. }) => state.snapshot = Some(stat.czxid),
            RecoveryEvent::Part(_) => {}
            RecoveryEvent::Txn { entry, .. } => state.txns.push(entry.header.zxid),
        }
        Ok(())
    });
    (found.expect("a member starts"), state)
}

fn started(dir: &DataDir) -> (MemberRecovery, State) {
    start(dir, &RecoverOptions::default())
}

/// Names and contents of the plain files below a directory.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a name");
            (name, fs::read(entry.path()).expect("read"))
        })
        .collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= 0x20;
    fs::write(path, bytes).expect("written");
}

fn assert_untrusted(found: &(MemberRecovery, State)) {
    let (member, state) = found;
    assert!(member.distrust.is_some());
    assert_eq!((member.last_zxid(), member.recovery.needs_snapshot), (None, true));
    assert_eq!(*state, State::default());
}

/// A leader's snapshot arrives in the untrusted directory.
fn receive(dir: &DataDir, zxid: i64) {
    let mut w = dir.begin_snapshot(zxid, Compression::None, &[], [].into_iter()).expect("begun");
    let mut nodes = Writer::new();
    encode_node(&mut nodes, "", None, -1, &StatPersisted { czxid: zxid, ..StatPersisted::default() });
    w.nodes(nodes.as_slice()).expect("written");
    dir.install_snapshot(w, SnapshotTail::default()).expect("installed");
}

#[test]
fn a_whole_history_is_trusted() {
    let root = root();
    let dir = member(&root);
    let (found, state) = started(&dir);
    assert_eq!((found.last_zxid(), found.epochs), (Some(E1 + 5), Epochs { accepted: 1, current: 1 }));
    assert_eq!(state, State { snapshot: Some(E1 + 2), txns: vec![E1 + 3, E1 + 4, E1 + 5] });
}

#[test]
fn a_torn_tail_is_cut_and_trusted() {
    let root = root();
    let dir = member(&root);
    let path = dir.log_dir().join("log.100000004");
    let end = read_all(dir.log_dir(), 0).expect("whole").0[4].end as usize;
    let mut bytes = fs::read(&path).expect("read");
    bytes[end..end + 7].fill(0xee);
    fs::write(&path, bytes).expect("written");
    let (found, _) = started(&dir);
    assert_eq!(found.last_zxid(), Some(E1 + 5));
    assert!(found.recovery.torn.is_some());
}

/// What can be damaged, each with the file it is reported for.
type Harm = fn(&DataDir) -> PathBuf;

const HARMS: [(&str, Harm); 15] = [
    ("a bit in the middle of the log", |dir| {
        let path = dir.log_dir().join("log.100000001");
        flip(&path, 120);
        path
    }),
    ("a bit in the last transaction", |dir| {
        let path = dir.log_dir().join("log.100000004");
        let last = read_all(dir.log_dir(), E1 + 5).expect("whole").0[0].offset;
        flip(&path, last as usize + 30);
        path
    }),
    ("a bit in the newest snapshot, and the log before it is gone", |dir| {
        flip(&dir.snap_dir().join("snapshot.100000002"), 40);
        let log = dir.log_dir().join("log.100000001");
        fs::remove_file(log).expect("removed");
        dir.log_dir().join("log.100000004")
    }),
    ("a bit in the newest snapshot, and no log", |dir| {
        flip(&dir.snap_dir().join("snapshot.100000002"), 40);
        for log in list_logs(dir.log_dir()).expect("listed") {
            fs::remove_file(log.path).expect("removed");
        }
        dir.snap_dir().to_owned()
    }),
    ("a newest snapshot cut short, and no log that leads to it", |dir| {
        let path = dir.snap_dir().join("snapshot.100000009");
        fs::write(&path, b"ZKSN").expect("written");
        path
    }),
    ("all snapshots gone", |dir| {
        for snapshot in list_snapshots(dir.snap_dir()).expect("listed") {
            fs::remove_file(snapshot.path).expect("removed");
        }
        dir.log_dir().to_owned()
    }),
    ("a log file gone from the middle", |dir| {
        write_log(dir.log_dir(), [E1 + 8]);
        dir.log_dir().join("log.100000008")
    }),
    ("the newest log file emptied", |dir| {
        fs::write(dir.log_dir().join("log.100000004"), b"").expect("written");
        dir.log_dir().to_owned()
    }),
    ("the newest log file lost", |dir| {
        fs::remove_file(dir.log_dir().join("log.100000004")).expect("removed");
        dir.log_dir().to_owned()
    }),
    ("all log files lost", |dir| {
        for log in list_logs(dir.log_dir()).expect("listed") {
            fs::remove_file(log.path).expect("removed");
        }
        dir.log_dir().to_owned()
    }),
    ("a header that is none", |dir| {
        let path = dir.log_dir().join("log.100000004");
        flip(&path, 0);
        path
    }),
    ("an epoch that is no number", |dir| {
        let path = dir.snap_dir().join("currentEpoch");
        fs::write(&path, b"\xff\x01").expect("written");
        path
    }),
    ("a promise older than the history", |dir| {
        let path = dir.snap_dir().join("acceptedEpoch");
        fs::write(&path, "0").expect("written");
        path
    }),
    ("a promise that is gone", |dir| {
        let path = dir.snap_dir().join("acceptedEpoch");
        fs::remove_file(&path).expect("removed");
        path
    }),
    ("an installation that cannot be finished", |dir| {
        fs::write(dir.installing(), "snapshot.7").expect("written");
        dir.installing()
    }),
];

#[test]
fn damage_is_set_aside_whole_and_heals_through_a_leader() {
    for (what, harm) in HARMS {
        let root = root();
        let dir = member(&root);
        let file = harm(&dir);
        let before = contents(dir.snap_dir());
        let found = started(&dir);
        assert_untrusted(&found);
        let distrust = found.0.distrust.expect("untrusted");
        let damage = distrust.damage.unwrap_or_else(|| panic!("{what}: {}", distrust.why));
        assert_eq!(damage.file, file, "{what}: {}", distrust.why);
        assert_eq!(damage.moved_to, [root.path().join("damaged-1")], "{what}");
        let (aside, left) = (contents(&damage.moved_to[0]), contents(dir.snap_dir()));
        // An empty file holds nothing to keep.
        for (name, bytes) in before.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let kept = aside.get(name).or(left.get(name).filter(|_| name.ends_with("Epoch")));
            if !name.ends_with("acceptedEpoch") || what != "a promise older than the history" {
                assert_eq!(kept, Some(bytes), "{what}: {name}");
            }
        }
        assert!(left.keys().all(|name| name.ends_with("Epoch") || name == "untrusted"), "{what}: {left:?}");

        // Still untrusted after a restart, then synchronised, then trusted.
        drop(dir);
        let dir = open(&root);
        assert_untrusted(&started(&dir));
        write_snapshot(&dir, 0);
        receive(&dir, E2 + 7);
        write_log(dir.log_dir(), [E2 + 8]);
        dir.set_accepted_epoch(2).and_then(|()| dir.set_current_epoch(2)).expect("written");
        dir.mark_trusted().expect("synchronised");
        let (found, state) = started(&dir);
        assert_eq!((found.last_zxid(), found.distrust), (Some(E2 + 8), None), "{what}");
        assert_eq!(state, State { snapshot: Some(E2 + 7), txns: vec![E2 + 8] }, "{what}");
    }
}

#[test]
fn a_single_server_refuses_what_a_member_sets_aside() {
    for (what, harm) in HARMS {
        let root = root();
        let dir = member(&root);
        harm(&dir);
        let before = contents(dir.snap_dir());
        // Of these, a single server takes notice only of what stands in its own way.
        let starts = ["epoch", "promise", "cut short", "lost", "emptied", "last transaction"]
            .iter()
            .any(|word| what.contains(word));
        assert_eq!(recover(&dir, &RecoverOptions::default()).is_ok(), starts, "{what}");
        if !what.contains("emptied") && !what.contains("last transaction") {
            assert_eq!(contents(dir.snap_dir()), before, "{what}");
        }
    }
}

#[test]
fn readable_epochs_survive_unreadable_ones_are_zero() {
    let check = |accepted: &str, current: &str, expect: Epochs| {
        let root = root();
        let dir = member(&root);
        flip(&dir.log_dir().join("log.100000001"), 120);
        fs::write(dir.snap_dir().join("acceptedEpoch"), accepted).expect("written");
        fs::write(dir.snap_dir().join("currentEpoch"), current).expect("written");
        let found = started(&dir);
        assert_untrusted(&found);
        assert_eq!(found.0.epochs, expect, "{accepted:?} {current:?}");
        assert_eq!(started(&dir).0.epochs, expect, "after a restart too");
    };
    check("7", "5", Epochs { accepted: 7, current: 5 });
    check("x", "5", Epochs { accepted: 5, current: 5 });
    check("7", "", Epochs { accepted: 7, current: 0 });
    check("\u{0}", "-3", Epochs { accepted: 0, current: 0 });
}

#[test]
fn setting_aside_stopped_anywhere_never_makes_a_vote_of_what_is_left() {
    let plan = |dir: &DataDir| {
        let mark = crate::datadir::trust::Mark { moving_to: Some(1), why: "a bit".into() };
        let mut steps = vec![dir.mark_step(&mark)];
        steps.extend(dir.set_aside_plan(1, &["acceptedEpoch", "currentEpoch"]).expect("planned"));
        steps
    };
    let steps = plan(&member(&root())).len();
    for done in 1..=steps {
        let root = root();
        let dir = member(&root);
        let before = contents(dir.snap_dir());
        run_all(&plan(&dir)[..done]).expect("carried out");
        drop(dir);
        let dir = open(&root);
        let found = started(&dir);
        assert_untrusted(&found);
        assert_eq!(found.0.distrust.expect("untrusted").why, "a bit");
        let mut all = contents(&root.path().join("damaged-1"));
        assert_eq!(all.len(), before.len() - 2, "{done} of {steps}");
        all.extend(contents(dir.snap_dir()).into_iter().filter(|(name, _)| name.ends_with("Epoch")));
        assert_eq!(all, before, "{done} of {steps}");
    }
}

#[test]
fn both_directories_are_set_aside_and_numbers_count_up() {
    let (data, logs) = (root(), root());
    let options = DataDirOptions { log_dir: Some(logs.path().into()), ..DataDirOptions::new(data.path()) };
    let dir = DataDir::open(&options).expect("opened");
    for round in [1, 2] {
        write_snapshot(&dir, 0);
        write_log(dir.log_dir(), E1 + 1..=E1 + 3);
        flip(&dir.log_dir().join("log.100000001"), 120);
        let damage = started(&dir).0.distrust.and_then(|distrust| distrust.damage).expect("damaged");
        let name = format!("damaged-{round}");
        assert_eq!(damage.moved_to, [data.path().join(&name), logs.path().join(&name)]);
        assert!(damage.moved_to[0].join("snapshot.0").exists());
        assert!(damage.moved_to[1].join("log.100000001").exists());
        assert_eq!(damage.offset, Some(78));
        dir.remove_mark().expect("removed");
    }
}

/// What came from a leader but not to the end counts for nothing, and is no damage to keep either.
#[test]
fn a_restart_in_the_middle_of_synchronisation_begins_anew() {
    let root = root();
    let dir = member(&root);
    flip(&dir.log_dir().join("log.100000001"), 120);
    assert_untrusted(&started(&dir));
    receive(&dir, E2 + 7);
    write_log(dir.log_dir(), [E2 + 8]);
    drop(dir);
    let dir = open(&root);
    assert_untrusted(&started(&dir));
    assert_eq!(
        contents(dir.snap_dir()).keys().collect::<Vec<_>>(),
        ["acceptedEpoch", "currentEpoch", "untrusted"]
    );
    assert!(!root.path().join("damaged-2").exists());
    let alone = recover(&dir, &RecoverOptions::default());
    assert!(matches!(alone, Err(StoreError::Untrusted { .. })), "{alone:?}");
    assert!(
        matches!(dir.mark_trusted(), Err(StoreError::LogsWithoutSnapshot { .. })),
        "nothing was received"
    );
}

#[test]
fn a_mark_that_cannot_be_read_throws_nothing_away() {
    for text in ["", "moving", "moving x\n", "\u{1}\u{2}"] {
        let root = root();
        let dir = member(&root);
        fs::write(dir.snap_dir().join("untrusted"), text).expect("written");
        assert_untrusted(&started(&dir));
        assert!(root.path().join("damaged-1/log.100000001").exists(), "{text:?}");
    }
}

#[test]
fn a_directory_without_any_trace_is_fresh() {
    let root = root();
    let dir = open(&root);
    let (found, _) = started(&dir);
    assert_eq!((found.last_zxid(), found.epochs), (Some(0), Epochs { accepted: 0, current: 0 }));
    assert!(found.recovery.needs_snapshot);
    write_snapshot(&dir, 0);
    assert_eq!(started(&dir).0.last_zxid(), Some(0));
    // Nothing was promised yet, so nothing can have been forgotten.
    fs::remove_dir_all(dir.snap_dir()).expect("wiped");
    drop(dir);
    assert_eq!(started(&open(&root)).0.last_zxid(), Some(0));
}

#[test]
fn a_wiped_history_is_noticed_unless_an_empty_one_is_meant() {
    let root = root();
    let dir = member(&root);
    started(&dir);
    fs::remove_dir_all(dir.snap_dir()).expect("wiped");
    drop(dir);
    let dir = open(&root);
    let found = started(&dir);
    assert_untrusted(&found);
    assert!(found.0.distrust.expect("untrusted").why.contains("zoolog.joined"));
    assert_untrusted(&started(&dir));
    fs::write(root.path().join("initialize"), b"").expect("written");
    let (found, _) = started(&dir);
    assert_eq!((found.last_zxid(), found.distrust), (Some(0), None));
    assert!(!root.path().join("initialize").exists(), "it counts once");
}

#[test]
fn without_autocreate_an_empty_database_waits_for_a_leader() {
    let options = RecoverOptions { db_autocreate: false, ..RecoverOptions::default() };
    let root = root();
    let dir = open(&root);
    assert_untrusted(&start(&dir, &options));
    // What a leader has not finished is not trusted either.
    receive(&dir, E2 + 7);
    assert_untrusted(&start(&dir, &options));
    fs::write(root.path().join("initialize"), b"").expect("written");
    assert_eq!(start(&dir, &options).0.last_zxid(), Some(0));
}

#[test]
fn an_epoch_behind_the_log_is_a_crash_in_synchronisation_and_no_damage() {
    let root = root();
    let dir = member(&root);
    write_log(dir.log_dir(), [E2 + 1]);
    dir.set_accepted_epoch(2).expect("written");
    let (found, _) = started(&dir);
    assert_eq!((found.last_zxid(), found.epochs), (Some(E2 + 1), Epochs { accepted: 2, current: 1 }));
    fs::write(dir.snap_dir().join("currentEpoch.tmp"), "2").expect("written");
    assert_eq!(started(&dir).0.epochs, Epochs { accepted: 2, current: 2 });
}

#[test]
fn a_single_servers_database_becomes_a_members() {
    let root = root();
    let dir = member(&root);
    for name in ["acceptedEpoch", "currentEpoch"] {
        fs::remove_file(dir.snap_dir().join(name)).expect("removed");
    }
    let (found, _) = started(&dir);
    assert_eq!((found.last_zxid(), found.epochs), (Some(E1 + 5), Epochs { accepted: 1, current: 1 }));
}

#[test]
fn a_snapshot_that_saw_more_than_the_log_still_holds_is_damage() {
    let saw = |zxid| {
        let root = root();
        let dir = member(&root);
        let mut w = dir.begin_snapshot(E1 + 5, Compression::None, &[], [].into_iter()).expect("begun");
        let mut nodes = Writer::new();
        encode_node(&mut nodes, "", None, -1, &StatPersisted::default());
        w.nodes(nodes.as_slice()).expect("written");
        w.finish(SnapshotTail { last_processed_zxid: Some(zxid), ..SnapshotTail::default() })
            .expect("finished");
        started(&dir).0.last_zxid()
    };
    assert_eq!(saw(E1 + 5), Some(E1 + 5));
    assert_eq!(saw(E2), Some(E1 + 5), "an epoch's beginning is no transaction");
    assert_eq!(saw(E1 + 6), None);
}

#[test]
fn a_damaged_snapshot_the_log_leads_past_costs_nothing() {
    let root = root();
    let dir = member(&root);
    flip(&dir.snap_dir().join("snapshot.100000002"), 40);
    let (found, state) = started(&dir);
    assert_eq!(found.last_zxid(), Some(E1 + 5));
    assert_eq!(state.snapshot, Some(0));
}

#[test]
fn a_refused_part_is_damage() {
    let root = root();
    let dir = member(&root);
    let found = dir.recover_or_set_aside(&RecoverOptions::default(), &mut |event| match event {
        RecoveryEvent::Txn { .. } => Err("no".into()),
        _ => Ok(()),
    });
    assert_eq!(found.expect("started").last_zxid(), None);
}
