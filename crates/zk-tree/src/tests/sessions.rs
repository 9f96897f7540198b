//! Sessions in the tree: what they own goes with them.

use zk_proto::txn::{Txn, kind};
use zk_proto::{ErrorCode, MultiOp, Request};

use super::harness::{Server, create, create_request};
use crate::*;

#[test]
fn a_closing_session_takes_its_ephemerals_along() {
    let mut server = Server::new();
    server.run(Request::CreateSession { timeout_ms: 4000 }).expect("sessions are not refused");
    assert_eq!(server.tree.sessions().get(&0x100), Some(&4000));
    server.create("/p", 0).expect("new");
    server.create("/p/b", 1).expect("new");
    server.create("/p/a", 1).expect("new");
    assert_eq!(server.stat("/p/a").map(|s| s.ephemeral_owner), Ok(0x100));
    assert_eq!(server.tree.ephemeral_count(), 2);
    server.events.clear();
    server.run(Request::CloseSession).expect("never refused");
    let last = server.log.last().expect("just decided");
    assert_eq!(last.txn, Txn::CloseSession { paths: Some(vec!["/p/a".into(), "/p/b".into()]) });
    assert_eq!(last.header.kind, kind::CLOSE_SESSION);
    assert!(server.children("/p").is_empty());
    assert!(server.tree.sessions().is_empty());
    assert_eq!(server.events.len(), 2);
    assert_eq!(server.stat("/p").map(|s| (s.cversion, s.pzxid)), Ok((4, 5)));
}

#[test]
fn ephemerals_on_the_way_count() {
    let mut server = Server::new();
    server.create("/old", 1).expect("new");
    server.decide(Request::Delete { path: "/old".into(), version: -1 });
    server.decide(create("/new", 1));
    let close = server.decide(Request::CloseSession);
    assert_eq!(close.txn, Txn::CloseSession { paths: Some(vec!["/new".into()]) });
    let again = server.decide(create("/new", 0));
    assert_eq!(again.error, None, "the path is free behind the close");
    while server.apply_next().is_some() {}
    assert_eq!(server.children("/"), ["new", "zookeeper"]);
}

#[test]
fn a_close_without_a_list_deletes_what_the_session_owns() {
    // Logs of 3.5, and closeSessionTxn.enabled=false.
    let config = TreeConfig { close_session_txn_enabled: false, ..TreeConfig::default() };
    let mut server = Server::with(config);
    server.create("/e", 1).expect("new");
    server.run(Request::CloseSession).expect("never refused");
    assert_eq!(server.log.last().map(|d| &d.txn), Some(&Txn::CloseSession { paths: None }));
    assert_eq!(server.children("/"), ["zookeeper"]);
}

#[test]
fn ephemerals_are_listed_by_prefix() {
    let mut server = Server::new();
    server.create("/p", 0).expect("new");
    for path in ["/p/a", "/p/b", "/q"] {
        server.create(path, 1).expect("new");
    }
    let list = |prefix: Option<&str>| -> Vec<String> {
        server.tree.ephemerals_of(0x100, prefix).iter().map(|p| p.to_string()).collect()
    };
    assert_eq!(list(None), ["/p/a", "/p/b", "/q"]);
    assert_eq!(list(Some(" / ")), ["/p/a", "/p/b", "/q"]);
    assert_eq!(list(Some("/p")), ["/p/a", "/p/b"]);
    assert_eq!(list(Some("/x")), [] as [String; 0]);
    assert!(server.tree.ephemerals_of(0x200, None).is_empty());
}

#[test]
fn a_parent_of_a_closing_sessions_node_may_be_deleted_behind_the_close() {
    let mut server = Server::new();
    server.create("/p", 0).expect("new");
    server.create("/p/e", 1).expect("new");
    server.decide(Request::CloseSession);
    let delete = server.decide(Request::Delete { path: "/p".into(), version: -1 });
    assert_eq!(delete.error, None);
    while server.apply_next().is_some() {}
    assert_eq!(server.stat("/p"), Err(ErrorCode::NoNode));
}

#[test]
fn ephemerals_made_in_a_multi_are_owned_too() {
    let mut server = Server::new();
    server
        .run(Request::Multi(vec![MultiOp::Create(create_request("/e", 1))]))
        .expect("a multi is never refused as a whole");
    assert_eq!(server.tree.ephemerals_of(0x100, None).len(), 1);
}

#[test]
fn all_descendants_are_counted() {
    let mut server = Server::new();
    for path in ["/a", "/a/b", "/a/b/c", "/ab"] {
        server.create(path, 0).expect("new");
    }
    let count = |path: &str| server.tree.get_all_children_number(path, &[]);
    assert_eq!(count("/a"), Ok(2));
    assert_eq!(count("/ab"), Ok(0));
    assert_eq!(count("/"), Ok(7));
    assert_eq!(count("/x"), Err(ErrorCode::NoNode));
}
