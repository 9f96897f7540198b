//! Creates of every kind, and the order in which they are refused.

use zk_proto::txn::{Txn, kind};
use zk_proto::{Acl, CreateKind, CreateRequest, ErrorCode, Request};

use super::harness::{Server, create, create_request};
use crate::*;

#[test]
fn a_new_tree_is_apaches() {
    let mut server = Server::new();
    assert_eq!(server.children("/"), ["zookeeper"]);
    assert_eq!(server.children("/zookeeper"), ["config", "quota"]);
    assert_eq!(server.tree.node_count(), 5);
    assert_eq!(server.tree.data_size_bytes(), 44);
    // Taken from a log of Apache 3.9.3: a fresh tree and one createSession.
    server.run(Request::CreateSession { timeout_ms: 4000 }).expect("sessions are not refused");
    assert_eq!(server.tree.digest(), 0x51c6_d660);
    assert_eq!(server.log[0].digest.map(|d| d.tree_digest), Some(0x51c6_d660));
}

#[test]
fn a_plain_create_counts_in_its_parent() {
    let mut server = Server::new();
    assert_eq!(server.create("/a", 0).as_deref(), Ok("/a"));
    assert_eq!(server.create("/a/b", 0).as_deref(), Ok("/a/b"));
    let parent = server.stat("/a").expect("just made");
    assert_eq!((parent.version, parent.cversion, parent.num_children, parent.pzxid), (0, 1, 1, 2));
    assert_eq!((parent.czxid, parent.ctime_ms, parent.data_length), (1, 1001, 4));
    server.delete("/a/b", -1).expect("no children");
    let parent = server.stat("/a").expect("still there");
    assert_eq!((parent.cversion, parent.num_children, parent.pzxid), (2, 0, 3));
}

#[test]
fn a_plain_create_answers_no_stat_and_the_others_do() {
    let check = |create_kind: CreateKind, flags: i32, txn_kind: i32, with_stat: bool| {
        let mut server = Server::new();
        let request = CreateRequest { kind: create_kind, ..create_request("/a", flags) };
        match server.run(Request::Create(request)) {
            Ok(TxnResult::Created { stat, .. }) => assert_eq!(stat.is_some(), with_stat, "{create_kind:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.log[0].header.kind, txn_kind);
    };
    check(CreateKind::Create, 0, kind::CREATE, false);
    check(CreateKind::Create2, 0, kind::CREATE2, true);
    check(CreateKind::Container, 4, kind::CREATE_CONTAINER, true);
}

#[test]
fn a_sequence_number_is_the_parents_count_of_creations() {
    let mut server = Server::new();
    server.create("/q", 0).expect("new");
    assert_eq!(server.create("/q/n-", 2).as_deref(), Ok("/q/n-0000000000"));
    server.create("/q/other", 0).expect("new");
    server.delete("/q/other", -1).expect("there");
    assert_eq!(server.create("/q/n-", 3).as_deref(), Ok("/q/n-0000000002"));
    assert_eq!(server.create("/q/", 2).as_deref(), Ok("/q/0000000003"));
    assert_eq!(server.create("/", 2).as_deref(), Ok("/0000000001"));
}

#[test]
fn refusals_come_in_apaches_order() {
    let mut server = Server::new();
    server.create("/e", 1).expect("new");
    server.create("/a", 0).expect("new");
    let mut check = |request: CreateRequest, expect: ErrorCode| {
        let decision = server.decide(Request::Create(request.clone()));
        assert_eq!(decision.error, Some(expect), "{request:?}");
        assert_eq!(decision.header.kind, kind::ERROR);
        assert_eq!(decision.txn, Txn::Error { err: expect.code() });
        assert_eq!(decision.digest, None);
        server.apply_next();
    };
    check(create_request("/x", 7), ErrorCode::BadArguments);
    check(create_request("/x", 5), ErrorCode::Unimplemented);
    check(create_request("x", 0), ErrorCode::BadArguments);
    check(create_request("/x\0", 0), ErrorCode::BadArguments);
    // An empty ACL is found before a missing parent, a missing parent before a bad path.
    check(CreateRequest { acl: Vec::new(), ..create_request("/no/x", 0) }, ErrorCode::InvalidAcl);
    check(create_request("/no/x//", 0), ErrorCode::NoNode);
    check(create_request("/a/", 0), ErrorCode::BadArguments);
    check(create_request("/a/..", 0), ErrorCode::BadArguments);
    check(create_request("/a", 0), ErrorCode::NodeExists);
    check(create_request("/", 0), ErrorCode::NodeExists);
    check(create_request("/e/x", 0), ErrorCode::NoChildrenForEphemerals);
}

#[test]
fn a_missing_session_matters_after_the_flags() {
    let mut server = Server::new();
    let gone = Err(ErrorCode::UnknownSession);
    let mut check = |flags: i32, session, expect: ErrorCode| {
        assert_eq!(server.decide_with(create("x", flags), session).error, Some(expect));
    };
    check(9, gone, ErrorCode::BadArguments);
    check(0, gone, ErrorCode::UnknownSession);
    check(1, gone, ErrorCode::SessionExpired);
    check(0, Err(ErrorCode::SessionMoved), ErrorCode::SessionMoved);
}

#[test]
fn ttl_nodes_need_extended_types_and_a_ttl_in_range() {
    let config = TreeConfig { extended_types_enabled: true, ..TreeConfig::default() };
    let mut server = Server::with(config);
    let ttl = |path: &str, flags, ttl_ms| {
        Request::Create(CreateRequest { kind: CreateKind::Ttl, ttl_ms, ..create_request(path, flags) })
    };
    for refused in
        [ttl("/t", 5, 0), ttl("/t", 5, 1 << 40), ttl("/t", 0, 100), ttl("/t", 0, -1), create("/t", 5)]
    {
        assert_eq!(server.run(refused), Err(ErrorCode::BadArguments));
    }
    server.run(ttl("/t", 5, 1000)).expect("valid");
    server.run(ttl("/t-", 6, 1000)).expect("valid");
    assert_eq!(server.stat("/t").map(|s| s.ephemeral_owner), Ok(0), "clients see no owner");
    let made_at = server.stat("/t").expect("there").mtime_ms;
    assert!(server.tree.reap_candidates(made_at + 1000, 0, 10).is_empty());
    assert_eq!(&*server.tree.reap_candidates(made_at + 1001, 0, 10)[0], "/t");
    server.create("/t/child", 0).expect("TTL nodes may have children");
    assert!(!server.tree.reap_candidates(i64::MAX, 0, 10).iter().any(|path| &**path == "/t"));
}

#[test]
fn containers_go_after_their_last_child_but_not_before_their_first() {
    let mut server = Server::new();
    let container = CreateRequest { kind: CreateKind::Container, ..create_request("/c", 4) };
    server.run(Request::Create(container)).expect("new");
    assert_eq!(server.stat("/c").map(|s| s.ephemeral_owner), Ok(0));
    assert!(server.tree.reap_candidates(i64::MAX, 0, 10).is_empty());
    assert_eq!(server.tree.reap_candidates(i64::MAX, 1, 10).len(), 1, "unless that takes too long");
    server.create("/c/x", 0).expect("new");
    assert!(server.tree.reap_candidates(i64::MAX, 0, 10).is_empty());
    assert_eq!(server.run(Request::DeleteContainer { path: "/c".into() }), Err(ErrorCode::NotEmpty));
    server.delete("/c/x", -1).expect("there");
    assert_eq!(&*server.tree.reap_candidates(0, 0, 10)[0], "/c");
    server.run(Request::DeleteContainer { path: "/c".into() }).expect("empty");
    assert_eq!(server.log.last().map(|d| d.header.kind), Some(kind::DELETE_CONTAINER));
    server.create("/c", 0).expect("free again");
    let plain = server.run(Request::DeleteContainer { path: "/c".into() });
    assert_eq!(plain, Err(ErrorCode::BadVersion), "a plain node is never reaped");
}

#[test]
fn a_create_operation_with_container_flags_makes_a_plain_node() {
    let mut server = Server::new();
    server.create("/c", 4).expect("new");
    server.create("/c/x", 0).expect("new");
    server.delete("/c/x", -1).expect("there");
    assert!(server.tree.reap_candidates(i64::MAX, 1, 10).is_empty());
}

#[test]
fn null_and_empty_data_stay_apart() {
    let mut server = Server::new();
    server.run(Request::Create(CreateRequest { data: None, ..create_request("/null", 0) })).expect("new");
    let empty = CreateRequest { data: Some(Default::default()), ..create_request("/empty", 0) };
    server.run(Request::Create(empty)).expect("new");
    let data = |path: &str| server.tree.get_data(path, &[]).expect("open").data().cloned();
    assert_eq!(data("/null"), None);
    assert_eq!(data("/empty"), Some(Default::default()));
}

#[test]
fn equal_lists_share_one_entry_of_the_table() {
    let mut server = Server::new();
    for path in ["/a", "/b", "/c"] {
        server.create(path, 0).expect("new");
    }
    assert_eq!(server.tree.acl_count(), 2, "the config node's and the open one");
    let acl = Acl::read_only();
    server.run(Request::SetAcl { path: "/a".into(), acl, version: -1 }).expect("open");
    for path in ["/b", "/c"] {
        server.delete(path, -1).expect("there");
    }
    assert_eq!(server.tree.acl_count(), 1);
}
