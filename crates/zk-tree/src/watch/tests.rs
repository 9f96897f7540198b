use std::sync::Arc;

use zk_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnHeader, kind};

use super::*;
use crate::config::TreeConfig;

type Told = Vec<(WatcherId, EventKind, String)>;

fn fire(watches: &mut WatchManager, kind: ChangeKind, path: &str) -> Told {
    let event = TreeEvent { kind, path: Arc::from(path), acl: None, parent_acl: None };
    let mut told = Vec::new();
    watches.on_event(&event, |w, kind, path, _| told.push((w, kind, path.to_owned())));
    watches.data.check();
    watches.child.check();
    told
}

fn told(entries: &[(WatcherId, EventKind, &str)]) -> Told {
    entries.iter().map(|(w, kind, path)| (*w, *kind, (*path).to_owned())).collect()
}

#[test]
fn a_one_shot_watch_fires_once() {
    let mut watches = WatchManager::new();
    watches.add("/a", 1, WatchKind::Data);
    watches.add("/a", 1, WatchKind::Data);
    watches.add("/a", 2, WatchKind::Data);
    assert_eq!(
        fire(&mut watches, ChangeKind::DataChanged, "/a"),
        told(&[(1, EventKind::NodeDataChanged, "/a"), (2, EventKind::NodeDataChanged, "/a")])
    );
    assert_eq!(fire(&mut watches, ChangeKind::DataChanged, "/a"), []);
}

#[test]
fn a_creation_tells_exist_watchers_and_the_parents_child_watchers() {
    let mut watches = WatchManager::new();
    watches.add("/a", 1, WatchKind::Data);
    watches.add("/", 2, WatchKind::Child);
    assert_eq!(
        fire(&mut watches, ChangeKind::Created, "/a"),
        told(&[(1, EventKind::NodeCreated, "/a"), (2, EventKind::NodeChildrenChanged, "/")])
    );
}

#[test]
fn a_deletion_tells_each_watcher_once() {
    let mut watches = WatchManager::new();
    watches.add("/a/b", 1, WatchKind::Data);
    watches.add("/a/b", 1, WatchKind::Child);
    watches.add("/a/b", 2, WatchKind::Child);
    watches.add("/a", 3, WatchKind::Child);
    assert_eq!(
        fire(&mut watches, ChangeKind::Deleted, "/a/b"),
        told(&[
            (1, EventKind::NodeDeleted, "/a/b"),
            (2, EventKind::NodeDeleted, "/a/b"),
            (3, EventKind::NodeChildrenChanged, "/a"),
        ])
    );
    assert!(watches.is_empty());
}

#[test]
fn persistent_watches_stay_and_hear_everything_about_their_node() {
    let mut watches = WatchManager::new();
    watches.add_watch("/a", 1, 0).expect("mode 0 exists");
    for _ in 0..2 {
        assert_eq!(fire(&mut watches, ChangeKind::Created, "/a"), told(&[(1, EventKind::NodeCreated, "/a")]));
        assert_eq!(
            fire(&mut watches, ChangeKind::Created, "/a/b"),
            told(&[(1, EventKind::NodeChildrenChanged, "/a")])
        );
        assert_eq!(fire(&mut watches, ChangeKind::Deleted, "/a"), told(&[(1, EventKind::NodeDeleted, "/a")]));
    }
}

#[test]
fn recursive_watches_hear_of_the_subtree_but_never_of_children_changed() {
    let mut watches = WatchManager::new();
    watches.add_watch("/a", 1, 1).expect("mode 1 exists");
    watches.add_watch("/", 2, 1).expect("mode 1 exists");
    assert_eq!(
        fire(&mut watches, ChangeKind::Created, "/a/b/c"),
        told(&[(1, EventKind::NodeCreated, "/a/b/c"), (2, EventKind::NodeCreated, "/a/b/c")])
    );
    assert_eq!(
        fire(&mut watches, ChangeKind::DataChanged, "/ab"),
        told(&[(2, EventKind::NodeDataChanged, "/ab")])
    );
    assert_eq!(watches.remove("/", 2, 5), Ok(()));
    assert_eq!(fire(&mut watches, ChangeKind::DataChanged, "/ab"), []);
}

#[test]
fn modes_on_one_path_are_told_apart() {
    let mut watches = WatchManager::new();
    watches.add("/a", 1, WatchKind::Data);
    watches.add_watch("/a", 1, 0).expect("mode 0 exists");
    let check = |watches: &WatchManager, kind: i32, found: bool| {
        assert_eq!(watches.check("/a", 1, kind).is_ok(), found, "type {kind}");
    };
    check(&watches, 1, false);
    check(&watches, 2, true);
    check(&watches, 3, true);
    check(&watches, 4, true);
    check(&watches, 5, false);
    assert_eq!(watches.remove("/a", 1, 4), Ok(()));
    assert_eq!(watches.remove("/a", 1, 4), Err(ErrorCode::NoWatcher));
    check(&watches, 2, true);
    assert_eq!(watches.remove("/a", 1, 3), Ok(()));
    assert_eq!(watches.remove("/a", 1, 3), Err(ErrorCode::NoWatcher));
    assert_eq!(watches.check("/a", 1, 9), Err(ErrorCode::MarshallingError));
    assert_eq!(watches.add_watch("/a", 1, 2), Err(ErrorCode::MarshallingError));
}

#[test]
fn a_closed_connection_leaves_nothing_behind() {
    let mut watches = WatchManager::new();
    for path in ["/a", "/b"] {
        watches.add(path, 1, WatchKind::Data);
        watches.add(path, 2, WatchKind::Child);
        watches.add_watch(path, 1, 1).expect("mode 1 exists");
    }
    assert_eq!(watches.count(), 4);
    assert_eq!(watches.summary(), WatchSummary { connections: 1, paths: 2, watches: 2 });
    assert_eq!(watches.by_path()[0], (Arc::from("/a"), vec![1]));
    assert_eq!(watches.by_watcher(), [(1, vec![Arc::from("/a"), Arc::from("/b")])]);
    watches.remove_watcher(1);
    watches.remove_watcher(2);
    assert!(watches.is_empty());
    assert_eq!(watches.summary(), WatchSummary::default());
    watches.data.check();
}

#[test]
fn set_watches_tells_what_was_missed_and_takes_up_the_rest() {
    let mut tree = Tree::new(TreeConfig::default());
    let mut apply = |zxid: i64, kind: i32, txn: Txn| {
        let header = TxnHeader { client_id: 1, cxid: 0, zxid, time: 0, kind };
        tree.apply(&header, &txn, &mut Vec::new());
    };
    let create = |path: &str| {
        Txn::Create(CreateTxn {
            path: path.into(),
            data: None,
            acl: Acl::open(),
            ephemeral: false,
            parent_cversion: -1,
        })
    };
    apply(1, kind::CREATE, create("/old"));
    apply(2, kind::CREATE, create("/changed"));
    apply(4, kind::SET_DATA, Txn::SetData(SetDataTxn { path: "/changed".into(), data: None, version: 1 }));
    apply(5, kind::CREATE, create("/changed/child"));

    let paths = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let request = SetWatchesRequest {
        relative_zxid: 3,
        data: paths(&["/old", "/changed", "/gone"]),
        exist: paths(&["/old", "/gone"]),
        child: paths(&["/old", "/changed", "/gone"]),
        persistent: paths(&["/p"]),
        persistent_recursive: paths(&["/r"]),
    };
    let mut watches = WatchManager::new();
    let mut got = Vec::new();
    watches.set_watches(&tree, &request, 9, |kind, path| got.push((kind, path.to_owned())));
    let expect = [
        (EventKind::NodeDataChanged, "/changed"),
        (EventKind::NodeDeleted, "/gone"),
        (EventKind::NodeCreated, "/old"),
        (EventKind::NodeChildrenChanged, "/changed"),
        (EventKind::NodeDeleted, "/gone"),
    ];
    assert_eq!(got, expect.map(|(kind, path)| (kind, path.to_owned())));
    assert_eq!(watches.check("/old", 9, 2), Ok(()));
    assert_eq!(watches.check("/old", 9, 1), Ok(()));
    assert_eq!(watches.check("/gone", 9, 2), Ok(()));
    assert_eq!(watches.check("/changed", 9, 3), Err(ErrorCode::NoWatcher));
    assert_eq!(watches.check("/p", 9, 4), Ok(()));
    assert_eq!(watches.check("/r", 9, 5), Ok(()));
}
