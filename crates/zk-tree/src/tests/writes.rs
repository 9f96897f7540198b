//! setData, delete, setACL and what they refuse.

use bytes::Bytes;
use zk_proto::txn::{SetDataTxn, Txn, kind};
use zk_proto::{ErrorCode, Request, Writer};

use super::harness::{Server, create};
use crate::*;

#[test]
fn versions_are_checked_and_logged_absolute() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    assert_eq!(server.set("/a", "x", 1), Err(ErrorCode::BadVersion));
    let stat = server.set("/a", "xyz", 0).expect("the current version");
    assert_eq!((stat.version, stat.data_length, stat.mzxid, stat.czxid), (1, 3, 3, 1));
    server.set("/a", "", -1).expect("any version");
    let last = server.log.last().expect("just decided");
    let expect = SetDataTxn { path: "/a".into(), data: Some(Bytes::new()), version: 2 };
    assert_eq!(last.txn, Txn::SetData(expect));
}

#[test]
fn refused_writes_take_a_zxid_and_change_nothing() {
    let mut server = Server::new();
    let before = server.tree.digest();
    assert_eq!(server.set("/no", "", -1), Err(ErrorCode::NoNode));
    assert_eq!(server.tree.last_zxid(), 1);
    assert_eq!(server.tree.digest(), before);
    assert_eq!(server.log[0].header.kind, kind::ERROR);
    assert!(server.events.is_empty());
}

#[test]
fn deletes_refuse_parents_roots_and_wrong_versions() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    server.create("/a/b", 0).expect("new");
    let mut check = |path: &str, version: i32, expect: ErrorCode| {
        assert_eq!(server.delete(path, version), Err(expect), "{path}");
    };
    check("/a", -1, ErrorCode::NotEmpty);
    check("/a", 5, ErrorCode::BadVersion);
    check("/a/b", 1, ErrorCode::BadVersion);
    check("/x", -1, ErrorCode::NoNode);
    check("/x/y", -1, ErrorCode::NoNode);
    check("/", -1, ErrorCode::BadArguments);
    check("/zookeeper", -1, ErrorCode::BadArguments);
    check("/zookeeper/quota", -1, ErrorCode::BadArguments);
    check("/zookeeper/config", -1, ErrorCode::BadArguments);
    check("a", -1, ErrorCode::BadArguments);
    check("", -1, ErrorCode::BadArguments);
    check("/a/b\0", -1, ErrorCode::BadArguments);
    check("/a/", -1, ErrorCode::NoNode);
}

#[test]
fn the_root_has_two_names() {
    let mut server = Server::new();
    let stat = server.set("/", "root", -1).expect("the root is a node");
    assert_eq!(stat.data_length, 4);
    assert_eq!(server.stat("/"), server.stat(""));
    assert_eq!(server.set("", "root", -1), Err(ErrorCode::BadArguments), "but writes check the path");
    assert_eq!(&*server.events[0].path, "");
}

#[test]
fn invalid_paths_are_bad_arguments_before_anything_is_looked_up() {
    let mut server = Server::new();
    assert_eq!(server.set("/no//x", "", -1), Err(ErrorCode::BadArguments));
    let acl = Request::SetAcl { path: "/no/".into(), acl: Vec::new(), version: -1 };
    assert_eq!(server.run(acl), Err(ErrorCode::BadArguments));
}

#[test]
fn reconfig_is_disabled_or_not_for_one_server() {
    let mut server = Server::new();
    let reconfig =
        Request::Reconfig { joining: None, leaving: None, new_members: None, current_config_id: -1 };
    assert_eq!(server.run(reconfig.clone()), Err(ErrorCode::ReconfigDisabled));
    let ctx = DecideCtx {
        zxid: 9,
        time_ms: 0,
        session_id: 1,
        cxid: 1,
        auth: &[],
        session: Ok(()),
        reconfig_enabled: true,
        ensemble: None,
    };
    let decision = decide(&server.tree, &mut server.pending, &ctx, reconfig);
    assert_eq!(decision.error, Some(ErrorCode::Unimplemented));
}

#[test]
fn a_bare_check_is_unimplemented() {
    let mut server = Server::new();
    let check = Request::Check { path: "/".into(), version: -1 };
    assert_eq!(server.run(check), Err(ErrorCode::Unimplemented));
}

#[test]
fn replies_have_the_shape_of_their_operation() {
    let mut server = Server::new();
    let body = |result: &TxnResult| {
        let mut w = Writer::new();
        reply::write(&mut w, result).map(|()| w.len())
    };
    let created = server.run(create("/a", 0)).expect("new");
    assert_eq!(body(&created), Ok(6));
    let set = server.run(Request::SetData { path: "/a".into(), data: None, version: -1 }).expect("there");
    assert_eq!(body(&set), Ok(68));
    let deleted = server.run(Request::Delete { path: "/a".into(), version: -1 }).expect("there");
    assert_eq!(body(&deleted), Ok(0));
    assert_eq!(body(&TxnResult::Error(-101)), Err(ErrorCode::NoNode));
}

#[test]
fn events_name_the_change_and_who_may_know() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    server.set("/a", "x", -1).expect("there");
    server.delete("/a", -1).expect("there");
    let kinds: Vec<_> = server.events.iter().map(|e| (e.kind, &*e.path)).collect();
    assert_eq!(
        kinds,
        [(ChangeKind::Created, "/a"), (ChangeKind::DataChanged, "/a"), (ChangeKind::Deleted, "/a")]
    );
    assert!(server.events.iter().all(|event| event.acl.is_some()));
    assert_eq!(server.events[0].parent_acl, None, "the root is open");
}
