//! A snapshot taken while writes go on, and the log behind it, give the same tree as the log alone.

use zk_proto::txn::Txn;

use super::harness::{Server, image};
use super::programs::Programs;
use crate::*;

struct Parts {
    head: SnapshotHead,
    nodes: Vec<(String, Option<bytes::Bytes>, i64, zk_proto::StatPersisted)>,
}

fn rebuild(parts: &Parts) -> Tree {
    let mut builder = TreeBuilder::new(TreeConfig::default());
    for (id, timeout_ms) in &parts.head.sessions {
        builder.session(*id, *timeout_ms);
    }
    for (id, list) in &parts.head.acls {
        builder.acl(*id, list);
    }
    for (path, data, acl, stat) in &parts.nodes {
        builder.node(path, data.clone(), *acl, *stat).expect("parents come first");
    }
    builder.finish(parts.head.last_zxid).expect("it has a root")
}

/// Runs a program; from step `start` on a snapshot is written, one small piece after each step.
fn snapshot_during(seed: u64, start: usize) -> (Server, Parts) {
    let mut program = Programs::new(seed);
    let mut server = Server::new();
    let mut parts: Option<Parts> = None;
    let mut cursor = SnapshotCursor::default();
    for step in 0..200 {
        server.session_id = program.session();
        let request = program.request();
        let _ = server.run(request);
        if step == start {
            parts = Some(Parts { head: server.tree.snapshot_head(), nodes: Vec::new() });
        }
        if let Some(parts) = &mut parts {
            server.tree.snapshot_chunk(&mut cursor, program.below(2), &mut |path, data, acl, stat| {
                parts.nodes.push((path.to_owned(), data.cloned(), acl, *stat));
            });
        }
    }
    let mut parts = parts.expect("the program is longer than that");
    server.tree.snapshot_chunk(&mut cursor, usize::MAX, &mut |path, data, acl, stat| {
        parts.nodes.push((path.to_owned(), data.cloned(), acl, *stat));
    });
    assert!(cursor.is_done());
    (server, parts)
}

#[test]
fn replay_repairs_whatever_the_snapshot_caught_half_of() {
    for seed in 0..400 {
        let (server, parts) = snapshot_during(seed, 20 + seed as usize % 60);
        let mut tree = rebuild(&parts);
        tree.check();
        let mut last_digest = None;
        for decision in server.log.iter().filter(|d| d.header.zxid > parts.head.last_zxid) {
            tree.apply(&decision.header, &decision.txn, &mut Vec::new());
            last_digest = decision.digest.or(last_digest);
        }
        tree.check();
        assert_eq!(image(&tree), image(&server.tree), "seed {seed}");
        assert_eq!(last_digest.map(|d| d.tree_digest), Some(tree.digest()), "seed {seed}");
    }
}

#[test]
fn replaying_a_whole_log_twice_changes_nothing() {
    for seed in 0..100 {
        let (server, _) = snapshot_during(seed, 50);
        let mut tree = Tree::new(TreeConfig::default());
        for decision in &server.log {
            tree.apply(&decision.header, &decision.txn, &mut Vec::new());
        }
        assert_eq!(image(&tree), image(&server.tree), "seed {seed}");
        let Some(last) = server.log.last() else { continue };
        // A transaction that was the last one before a crash is replayed over its own effect.
        if !matches!(last.txn, Txn::Multi(_)) {
            tree.apply(&last.header, &last.txn, &mut Vec::new());
            assert_eq!(image(&tree), image(&server.tree), "seed {seed}");
        }
    }
}

#[test]
fn a_node_deleted_and_made_again_before_the_snapshot_reached_it() {
    let mut server = Server::new();
    server.create("/p", 0).expect("new");
    let head = server.tree.snapshot_head();
    server.delete("/p", -1).expect("no children");
    server.create("/p", 0).expect("new again");
    server.create("/p/child", 0).expect("new");
    let mut nodes = Vec::new();
    let mut cursor = SnapshotCursor::default();
    server.tree.snapshot_chunk(&mut cursor, usize::MAX, &mut |path, data, acl, stat| {
        nodes.push((path.to_owned(), data.cloned(), acl, *stat));
    });
    let mut tree = rebuild(&Parts { head, nodes });
    for decision in &server.log[1..] {
        tree.apply(&decision.header, &decision.txn, &mut Vec::new());
        tree.check();
    }
    assert_eq!(image(&tree), image(&server.tree));
}

#[test]
fn a_parents_counters_never_go_back() {
    let mut server = Server::new();
    server.create("/p", 0).expect("new");
    for path in ["/p/a", "/p/b", "/p/c"] {
        server.create(path, 0).expect("new");
    }
    server.delete("/p/c", -1).expect("there");
    let counters =
        |tree: &Tree| tree.node("/p").map(|p| (p.stat_persisted().cversion, p.stat_persisted().pzxid));
    assert_eq!(counters(&server.tree), Some((3, 5)));
    // The snapshot is newer than these two of its log.
    for decision in [&server.log[1], &server.log[4]] {
        let mut older = decision.clone();
        older.header.zxid = 2;
        server.tree.apply(&older.header, &older.txn, &mut Vec::new());
        assert_eq!(counters(&server.tree), Some((3, 5)));
    }
}

#[test]
fn a_snapshot_lists_parents_before_children_in_order_of_names() {
    let mut server = Server::new();
    for path in ["/b", "/a", "/a/c", "/a/b", "/a/b/z", "/a-"] {
        server.create(path, 0).expect("new");
    }
    let mut paths = Vec::new();
    let mut cursor = SnapshotCursor::default();
    while !server.tree.snapshot_chunk(&mut cursor, 2, &mut |path, _, _, _| paths.push(path.to_owned())) {}
    let expect = [
        "",
        "/a",
        "/a/b",
        "/a/b/z",
        "/a/c",
        "/a-",
        "/b",
        "/zookeeper",
        "/zookeeper/config",
        "/zookeeper/quota",
    ];
    assert_eq!(paths, expect);
}

#[test]
fn damaged_parts_are_refused() {
    let stat = zk_proto::StatPersisted::default();
    let mut builder = TreeBuilder::new(TreeConfig::default());
    assert!(matches!(builder.node("/a", None, -1, stat), Err(BuildError::NoParent { .. })));
    assert_eq!(builder.node("", None, -1, stat), Ok(()));
    assert!(matches!(builder.node("", None, -1, stat), Err(BuildError::Twice { .. })));
    assert!(matches!(builder.node("a", None, -1, stat), Err(BuildError::NoParent { .. })));
    let nothing = TreeBuilder::new(TreeConfig::default()).finish(0);
    assert_eq!(nothing.map(|_| ()), Err(BuildError::NoRoot));
}

#[test]
fn an_unknown_list_permits_nobody_until_replay_finds_it() {
    let mut builder = TreeBuilder::new(TreeConfig::default());
    let stat = zk_proto::StatPersisted::default();
    builder.node("", None, -1, stat).expect("the root comes first");
    builder.node("/a", None, 7, stat).expect("its parent is there");
    let mut tree = builder.finish(10).expect("it has a root");
    assert_eq!(tree.get_data("/a", &[]).map(|_| ()), Err(zk_proto::ErrorCode::NoAuth));
    let header = zk_proto::txn::TxnHeader { client_id: 1, cxid: 1, zxid: 11, time: 0, kind: 1 };
    let create = Txn::Create(zk_proto::txn::CreateTxn {
        path: "/a".into(),
        data: None,
        acl: zk_proto::Acl::open(),
        ephemeral: false,
        parent_cversion: 1,
    });
    tree.apply(&header, &create, &mut Vec::new());
    assert!(tree.get_data("/a", &[]).is_ok());
    assert_eq!(tree.node("").map(|root| root.stat_persisted().cversion), Some(1));
}
