//! Quotas are counted where they were set, and enforced when asked for.

use bytes::Bytes;
use zk_proto::{CreateRequest, ErrorCode, Request};

use super::harness::{Server, create_request};
use crate::*;

fn set_quota(server: &mut Server, limits: &str) {
    let data = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    for (path, text) in [
        ("/zookeeper/quota/a", ""),
        ("/zookeeper/quota/a/zookeeper_limits", limits),
        ("/zookeeper/quota/a/zookeeper_stats", "count=0,bytes=0"),
    ] {
        let create = CreateRequest { data: data(text), ..create_request(path, 0) };
        server.run(Request::Create(create)).expect("quota nodes are plain nodes");
    }
}

fn stats(tree: &Tree) -> Bytes {
    let view = tree.get_data("/zookeeper/quota/a/zookeeper_stats", &[]).expect("it was made");
    view.data().cloned().expect("it holds text")
}

#[test]
fn counters_start_from_a_count_and_follow_every_write() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    server.create("/a/b", 0).expect("new");
    set_quota(&mut server, "count=10,bytes=-1");
    assert_eq!(stats(&server.tree), "count=2,bytes=8");
    server.create("/a/c", 0).expect("new");
    assert_eq!(stats(&server.tree), "count=3,bytes=12");
    server.set("/a/c", "1234567", -1).expect("there");
    assert_eq!(stats(&server.tree), "count=3,bytes=15");
    server.create("/ab", 0).expect("new");
    server.delete("/a/c", -1).expect("there");
    assert_eq!(stats(&server.tree), "count=2,bytes=8");
    assert_eq!(server.stat("/zookeeper/quota/a/zookeeper_stats").map(|s| s.version), Ok(0));
    server.delete("/zookeeper/quota/a/zookeeper_limits", -1).expect("there");
    server.create("/a/d", 0).expect("new");
    assert_eq!(stats(&server.tree), "count=2,bytes=8", "no longer under quota");
}

#[test]
fn hard_limits_refuse_only_when_enforced() {
    for enforce_quota in [false, true] {
        let mut server = Server::with(TreeConfig { enforce_quota, ..TreeConfig::default() });
        server.create("/a", 0).expect("new");
        set_quota(&mut server, "count=-1,bytes=-1=;byteHardLimit=6;countHardLimit=2");
        let set = server.set("/a", "1234567", -1).map(|_| ());
        let first = server.run(Request::Create(CreateRequest { data: None, ..create_request("/a/b", 0) }));
        let second = server.run(Request::Create(CreateRequest { data: None, ..create_request("/a/c", 0) }));
        if enforce_quota {
            assert_eq!(set, Err(ErrorCode::QuotaExceeded));
            first.expect("the second node of two");
            assert_eq!(second, Err(ErrorCode::QuotaExceeded));
            server.set("/a", "", -1).expect("less is always possible");
        } else {
            set.and(first.map(|_| ())).and(second.map(|_| ())).expect("limits are only counted");
        }
    }
}

#[test]
fn a_quota_on_the_root_is_ignored() {
    let mut server = Server::new();
    server.create("/zookeeper/quota/zookeeper_limits", 0).expect("a plain node");
    server.create("/a", 0).expect("new");
}

#[test]
fn quotas_are_found_again_after_a_restart() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    set_quota(&mut server, "count=10,bytes=-1");
    let mut builder = TreeBuilder::new(TreeConfig::default());
    let head = server.tree.snapshot_head();
    for (id, list) in &head.acls {
        builder.acl(*id, list);
    }
    server.tree.snapshot_chunk(&mut SnapshotCursor::default(), usize::MAX, &mut |path, data, acl, stat| {
        builder.node(path, data.cloned(), acl, *stat).expect("parents come first");
    });
    server.tree = builder.finish(head.last_zxid).expect("it has a root");
    server.create("/a/b", 0).expect("new");
    assert_eq!(stats(&server.tree), "count=2,bytes=8");
}
