//! Requests that are answered in a special way.

use bytes::Bytes;
use zk_proto::{
    ErrorCode, EventKind, MultiOp, MultiResult, OpCode, Request, Response, SetWatchesRequest, Writer,
};
use zk_proto::{
    RequestHeader,
    txn::{Txn, TxnEntry, kind},
};

use super::harness::{Got, Harness, create, delete, exists, get, multi_create, set};
use crate::{CloseReason, Input, Options};

fn raw(h: &mut Harness, conn: crate::ConnId, xid: i32, op: i32, body: &[u8]) {
    let mut w = Writer::new();
    RequestHeader { xid, op }.encode(&mut w);
    w.raw(body);
    h.step(Input::Frame { conn, frame: w.as_slice() });
}

#[test]
fn operations_nobody_may_send_are_refused_with_zxid_minus_one_and_closed() {
    for op in [9999, 0, -1, -10, OpCode::DeleteContainer.code(), OpCode::Check.code(), OpCode::Sasl.code()] {
        let mut h = Harness::new(Options::default());
        let (conn, _) = h.connect();
        raw(&mut h, conn, 7, op, b"\0\0\0\x02/a");
        let got = h.next(conn);
        assert!(
            matches!(got, Some(Got::Reply { xid: 7, zxid: -1, err: ErrorCode::Unimplemented, .. })),
            "{op}: {got:?}"
        );
        assert_eq!(h.closed.get(&conn), Some(&CloseReason::UnknownOperation { op }));
    }
}

#[test]
fn a_body_that_cannot_be_read_is_answered_and_the_connection_kept() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    raw(&mut h, conn, 1, OpCode::GetData.code(), &i32::MAX.to_be_bytes());
    raw(&mut h, conn, 2, OpCode::Create.code(), &(-7i32).to_be_bytes());
    assert_eq!(h.reply(conn), (1, ErrorCode::MarshallingError));
    assert_eq!(h.reply(conn), (2, ErrorCode::MarshallingError));
    let before = h.node.tree().last_zxid();
    raw(&mut h, conn, 3, OpCode::Multi.code(), b"\0\0");
    h.sync_log();
    assert_eq!(h.reply(conn), (3, ErrorCode::MarshallingError));
    assert_eq!(h.node.tree().last_zxid(), before + 1, "a multi has its zxid before it is read");
    h.send(conn, 4, &create("/a", 0));
    h.sync_log();
    assert_eq!(h.reply(conn), (4, ErrorCode::Ok));
    assert_eq!(h.complaints, [conn], "told once, however many there are");
}

#[test]
fn failed_authentication_is_answered_and_closes() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    let auth = |scheme: &str| Request::Auth { kind: 0, scheme: scheme.into(), auth: Some("u:p".into()) };
    h.send(conn, -4, &auth("digest"));
    assert_eq!(h.reply(conn), (-4, ErrorCode::Ok));
    h.send(conn, 1, &Request::WhoAmI);
    let Response::ClientInfos(infos) = h.body(conn, OpCode::WhoAmI) else { panic!("not whoAmI") };
    let who: Vec<_> = infos.iter().map(|i| (i.auth_scheme.as_str(), i.user.as_str())).collect();
    assert_eq!(who, [("ip", "10.0.0.1"), ("digest", "u")]);
    h.send(conn, -4, &auth("nonsense"));
    assert_eq!(h.reply(conn), (-4, ErrorCode::AuthFailed));
    assert!(matches!(h.closed.get(&conn), Some(CloseReason::AuthFailed { .. })));
    h.send(conn, 2, &exists("/", false));
    assert_eq!(h.next(conn), None, "a closing connection is not served");
}

#[test]
fn a_refused_multi_is_answered_item_by_item_and_logged_as_a_multi() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    let bad = MultiOp::Delete { path: "/nope".into(), version: -1 };
    let ops = vec![multi_create("/m1"), bad, multi_create("/m2")];
    h.send(conn, 1, &Request::Multi(ops));
    h.send(conn, 2, &exists("/m1", false));
    h.sync_log();
    let expect = [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency];
    assert_eq!(h.body(conn, OpCode::Multi), Response::Multi(expect.map(MultiResult::Error).to_vec()));
    assert_eq!(h.reply(conn), (2, ErrorCode::NoNode));
    let logged = TxnEntry::decode(h.durable.last().unwrap()).unwrap();
    assert_eq!(logged.header.kind, kind::MULTI);
    let Txn::Multi(items) = logged.txn else { panic!("not a multi") };
    assert_eq!(items.iter().map(|i| i.kind).collect::<Vec<_>>(), [kind::CREATE, kind::ERROR, kind::ERROR]);
}

#[test]
fn set_watches_tells_what_was_missed_before_it_answers() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    for path in ["/kept", "/changed", "/gone"] {
        h.send(conn, 1, &create(path, 0));
    }
    h.sync_log();
    let seen = h.node.tree().last_zxid();
    h.send(conn, 2, &set("/changed", b"x"));
    h.send(conn, 3, &delete("/gone"));
    h.sync_log();
    h.got.clear();
    let data = ["/kept", "/changed", "/gone"].map(str::to_owned).to_vec();
    let request = SetWatchesRequest { relative_zxid: seen, data, ..SetWatchesRequest::default() };
    h.send(conn, -8, &Request::SetWatches(request));
    assert_eq!(h.event(conn), (EventKind::NodeDataChanged, "/changed".to_owned()));
    assert_eq!(h.event(conn), (EventKind::NodeDeleted, "/gone".to_owned()));
    assert_eq!(h.reply(conn), (-8, ErrorCode::Ok));
    h.send(conn, 4, &set("/kept", b"y"));
    h.sync_log();
    assert_eq!(h.event(conn), (EventKind::NodeDataChanged, "/kept".to_owned()));
}

#[test]
fn events_are_kept_from_who_may_not_read_the_node() {
    let mut h = Harness::new(Options::default());
    let ((owner, _), (stranger, _)) = (h.connect(), h.connect());
    h.send(stranger, 1, &exists("/secret", true));
    h.send(owner, 1, &exists("/secret", true));
    h.reply(stranger);
    h.reply(owner);
    h.send(owner, -4, &Request::Auth { kind: 0, scheme: "digest".into(), auth: Some("u:p".into()) });
    h.reply(owner);
    let mut secret = super::harness::create_request("/secret", 0);
    secret.acl = vec![zk_proto::Acl::new(31, zk_proto::Id::new("auth", ""))];
    h.send(owner, 2, &Request::Create(secret));
    h.sync_log();
    assert_eq!(h.event(owner), (EventKind::NodeCreated, "/secret".to_owned()));
    assert_eq!(h.next(stranger), None);
}

#[test]
fn watches_can_be_added_checked_and_removed() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    let path = || "/w".to_owned();
    h.send(conn, 1, &Request::AddWatch { path: path(), mode: 1 });
    h.send(conn, 2, &Request::CheckWatches { path: path(), kind: 5 });
    h.send(conn, 3, &Request::RemoveWatches { path: path(), kind: 1 });
    assert_eq!(h.body(conn, OpCode::AddWatch), Response::Error { err: 0 });
    assert_eq!(h.reply(conn), (2, ErrorCode::Ok));
    assert_eq!(h.reply(conn), (3, ErrorCode::NoWatcher));
    h.send(conn, 4, &create("/w", 0));
    h.send(conn, 5, &create("/w/c", 0));
    h.sync_log();
    assert_eq!(h.event(conn), (EventKind::NodeCreated, "/w".to_owned()));
    h.reply(conn);
    assert_eq!(h.event(conn), (EventKind::NodeCreated, "/w/c".to_owned()));
    h.reply(conn);
    h.send(conn, 6, &Request::RemoveWatches { path: path(), kind: 3 });
    h.send(conn, 7, &delete("/w/c"));
    h.sync_log();
    assert_eq!((h.reply(conn), h.reply(conn)), ((6, ErrorCode::Ok), (7, ErrorCode::Ok)));
}

#[test]
fn reconfig_and_ttl_nodes_are_refused_as_a_single_server_does() {
    for (enabled, expect) in [(false, ErrorCode::ReconfigDisabled), (true, ErrorCode::Unimplemented)] {
        let mut h = Harness::new(Options { reconfig_enabled: enabled, ..Options::default() });
        let (conn, _) = h.connect();
        let none = || Some(String::new());
        let reconfig = Request::Reconfig {
            joining: none(),
            leaving: none(),
            new_members: none(),
            current_config_id: -1,
        };
        h.send(conn, 1, &reconfig);
        h.sync_log();
        assert_eq!(h.reply(conn), (1, expect));
        assert!(h.closed.is_empty());
    }
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    let mut ttl = super::harness::create_request("/t", 5);
    (ttl.kind, ttl.ttl_ms) = (zk_proto::CreateKind::Ttl, 1000);
    h.send(conn, 1, &Request::Create(ttl));
    h.sync_log();
    assert_eq!(h.reply(conn), (1, ErrorCode::Unimplemented));
    assert!(h.closed.is_empty());
}

#[test]
fn reads_of_every_kind_answer_from_the_tree() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    for (path, flags) in [("/p", 0), ("/p/a", 0), ("/p/e", 1)] {
        h.send(conn, 1, &create(path, flags));
    }
    h.sync_log();
    h.got.clear();
    h.send(conn, 2, &get("/p", false));
    let Response::Data { data, stat } = h.body(conn, OpCode::GetData) else { panic!("not data") };
    assert_eq!((data, stat.num_children), (Some(Bytes::from_static(b"d")), 2));
    h.send(conn, 3, &Request::GetChildren2 { path: "/p".into(), watch: false });
    let Response::ChildrenStat { children, .. } = h.body(conn, OpCode::GetChildren2) else {
        panic!("no children")
    };
    assert_eq!(children, ["a", "e"]);
    h.send(conn, 4, &Request::GetEphemerals { prefix: None });
    assert_eq!(h.body(conn, OpCode::GetEphemerals), Response::Children { children: vec!["/p/e".into()] });
    h.send(conn, 5, &Request::GetAllChildrenNumber { path: "/p".into() });
    assert_eq!(h.body(conn, OpCode::GetAllChildrenNumber), Response::Count { total: 2 });
    h.send(conn, 6, &get("/nope", true));
    assert_eq!(h.reply(conn), (6, ErrorCode::NoNode));
    assert_eq!(h.node.watches().count(), 0, "a failed getData leaves no watch");
}
