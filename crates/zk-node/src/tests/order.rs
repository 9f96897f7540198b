//! Durability before answers, and the order of answers.

use zk_proto::{ErrorCode, EventKind, OpCode, Request, Response};

use super::harness::{Harness, create, delete, exists, get, set};
use crate::{Input, Options};

#[test]
fn a_write_is_answered_only_when_it_is_durable() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    h.send(conn, 1, &create("/a", 0));
    assert_eq!(h.next(conn), None);
    h.sync_log();
    assert_eq!(h.reply(conn), (1, ErrorCode::Ok));
}

#[test]
fn a_read_waits_for_its_own_sessions_writes_only() {
    let mut h = Harness::new(Options::default());
    let ((writer, _), (other, _)) = (h.connect(), h.connect());
    h.send(writer, 1, &create("/a", 0));
    h.send(writer, 2, &exists("/a", false));
    h.send(other, 1, &exists("/a", false));
    assert_eq!(h.reply(other), (1, ErrorCode::NoNode), "others do not wait and do not see it");
    assert_eq!(h.next(writer), None);
    h.sync_log();
    assert_eq!((h.reply(writer), h.reply(writer)), ((1, ErrorCode::Ok), (2, ErrorCode::Ok)));
}

#[test]
fn answers_keep_the_order_of_requests_of_every_kind() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    h.send(conn, 1, &create("/a", 0));
    h.send(conn, -2, &Request::Ping);
    let auth = Request::Auth { kind: 0, scheme: "digest".into(), auth: Some("u:p".into()) };
    h.send(conn, -4, &auth);
    h.send(conn, 4, &get("/a", false));
    h.send(conn, 5, &Request::Sync { path: "/a".into() });
    h.send(conn, 6, &create("/a", 0));
    h.send(conn, 7, &delete("/a"));
    assert_eq!(h.next(conn), None, "all stand behind the first write");
    h.sync_log();
    let got: Vec<_> = (0..7).map(|_| h.reply(conn)).collect();
    let codes = [
        (1, ErrorCode::Ok),
        (-2, ErrorCode::Ok),
        (-4, ErrorCode::Ok),
        (4, ErrorCode::Ok),
        (5, ErrorCode::Ok),
        (6, ErrorCode::NodeExists),
        (7, ErrorCode::Ok),
    ];
    assert_eq!(got, codes);
}

#[test]
fn an_event_comes_before_the_answer_that_shows_its_change() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    h.send(conn, 1, &create("/a", 0));
    h.sync_log();
    h.reply(conn);
    h.send(conn, 2, &get("/a", true));
    h.reply(conn);
    h.send(conn, 3, &set("/a", b"new"));
    h.send(conn, 4, &get("/a", false));
    h.sync_log();
    assert_eq!(h.event(conn), (EventKind::NodeDataChanged, "/a".to_owned()));
    assert_eq!((h.reply(conn), h.reply(conn)), ((3, ErrorCode::Ok), (4, ErrorCode::Ok)));
}

#[test]
fn a_sync_waits_for_what_others_have_proposed() {
    let mut h = Harness::new(Options::default());
    let ((writer, _), (reader, _)) = (h.connect(), h.connect());
    h.send(writer, 1, &create("/a", 0));
    h.send(reader, 1, &Request::Sync { path: "/".into() });
    h.send(reader, 2, &exists("/a", false));
    h.send(writer, 2, &create("/b", 0));
    assert_eq!(h.next(reader), None);
    h.sync_some(1);
    assert_eq!(h.body(reader, OpCode::Sync), Response::Path { path: "/".into() });
    assert_eq!(h.reply(reader), (2, ErrorCode::Ok), "the second create is none of its business");
}

#[test]
fn refused_writes_take_a_zxid_and_are_logged() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    let before = h.node.tree().last_zxid();
    h.send(conn, 1, &delete("/nope"));
    h.send(conn, 2, &create("/a", 0));
    h.sync_log();
    assert_eq!((h.reply(conn), h.reply(conn)), ((1, ErrorCode::NoNode), (2, ErrorCode::Ok)));
    assert_eq!(h.node.tree().last_zxid(), before + 2);
}

#[test]
fn a_closed_connection_loses_its_answers_and_not_its_writes() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    h.send(conn, 1, &create("/a", 0));
    h.send(conn, 2, &get("/a", false));
    h.step(Input::Closed { conn });
    h.sync_log();
    assert_eq!(h.next(conn), None);
    assert!(h.node.tree().node("/a").is_some());
}

#[test]
fn too_much_in_progress_pauses_connections_that_have_a_share_in_it() {
    let mut h = Harness::new(Options { global_outstanding_limit: 2, ..Options::default() });
    let ((busy, _), (idle, _)) = (h.connect(), h.connect());
    for xid in 0..3 {
        h.send(busy, xid, &create(&format!("/{xid}"), 0));
    }
    assert!(!h.node.takes_frames(busy));
    assert!(h.node.takes_frames(idle));
    h.sync_log();
    assert!(h.node.takes_frames(busy));
}
