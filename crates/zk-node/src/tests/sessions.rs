//! Handshakes, expiry, limits, reaping.

use bytes::Bytes;
use zk_proto::{ConnectResponse, ErrorCode, EventKind, Request, Writer};

use super::harness::{Got, Harness, create, create_request, delete, exists};
use crate::{CloseReason, Input, Options};

#[test]
fn timeouts_are_negotiated_into_the_servers_range() {
    for (asked, given) in [(1, 4000), (-1, 4000), (i32::MAX, 40_000), (10_000, 10_000)] {
        let mut h = Harness::new(Options::default());
        let conn = h.open();
        let mut w = Writer::new();
        zk_proto::ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: asked,
            session_id: 0,
            passwd: Bytes::from_static(&[0; 16]),
            read_only: None,
        }
        .encode(&mut w);
        h.step(Input::Frame { conn, frame: w.as_slice() });
        assert_eq!(h.next(conn), None, "a session is told when it is durable");
        h.sync_log();
        let Some(Got::Connected(response)) = h.next(conn) else { panic!("not connected") };
        assert_eq!((response.timeout_ms, response.read_only), (given, None), "asked for {asked}");
        assert_eq!(response.session_id >> 56, 0);
    }
}

#[test]
fn a_session_goes_on_over_a_new_connection_with_its_password_only() {
    let mut h = Harness::new(Options::default());
    let (old, session) = h.connect();
    h.send(old, 1, &create("/e", 1));
    h.sync_log();
    let thief = h.open();
    h.handshake(thief, session.session_id, &[7; 16], 0);
    assert_eq!(h.next(thief), Some(Got::Connected(ConnectResponse::refused(Some(false)))));
    assert_eq!(h.closed.get(&thief), Some(&CloseReason::SessionRefused { session: session.session_id }));
    assert!(!h.closed.contains_key(&old), "a wrong password disturbs nobody");

    let new = h.open();
    h.handshake(new, session.session_id, &session.passwd, 0);
    let Some(Got::Connected(again)) = h.next(new) else { panic!("not connected") };
    assert_eq!((again.session_id, again.passwd), (session.session_id, session.passwd));
    assert_eq!(h.closed.get(&old), Some(&CloseReason::SessionMoved { session: session.session_id }));
    h.step(Input::Closed { conn: old });
    h.send(new, 2, &exists("/e", false));
    assert_eq!(h.reply(new), (2, ErrorCode::Ok));
}

#[test]
fn a_client_that_has_seen_more_than_this_server_is_sent_away_without_an_answer() {
    let mut h = Harness::new(Options::default());
    let conn = h.open();
    h.handshake(conn, 0, &[0; 16], 99);
    assert_eq!(h.next(conn), None);
    assert_eq!(h.closed.get(&conn), Some(&CloseReason::ClientAhead { seen: 99, ours: 0 }));
}

#[test]
fn silence_expires_a_session_and_takes_its_ephemerals() {
    let mut h = Harness::new(Options::default());
    let ((silent, session), (watcher, _)) = (h.connect(), h.connect());
    h.send(silent, 1, &create("/e", 1));
    h.sync_log();
    h.send(watcher, 1, &exists("/e", true));
    h.reply(watcher);
    for _ in 0..8 {
        h.pass(2000);
        h.send(watcher, -2, &Request::Ping);
        h.reply(watcher);
    }
    assert!(h.node.tree().node("/e").is_some(), "the expiry is not durable yet");
    h.sync_log();
    assert_eq!(h.event(watcher), (EventKind::NodeDeleted, "/e".to_owned()));
    let expired = CloseReason::SessionExpired { session: session.session_id, timeout_ms: 10_000 };
    assert_eq!(h.closed.get(&silent), Some(&expired));
    let again = h.open();
    h.handshake(again, session.session_id, &session.passwd, 0);
    assert_eq!(h.next(again), Some(Got::Connected(ConnectResponse::refused(Some(false)))));
}

#[test]
fn closing_a_session_is_answered_and_takes_its_ephemerals() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    h.send(conn, 1, &create("/e", 1));
    h.send(conn, 2, &Request::CloseSession);
    h.send(conn, 3, &create("/late", 0));
    h.sync_log();
    assert_eq!((h.reply(conn), h.reply(conn), h.next(conn)), ((1, ErrorCode::Ok), (2, ErrorCode::Ok), None));
    assert_eq!(h.closed.get(&conn), Some(&CloseReason::SessionClosed));
    assert!(h.node.tree().node("/e").is_none() && h.node.tree().node("/late").is_none());
    assert!(h.node.tree().sessions().is_empty());
}

#[test]
fn sessions_outlive_a_crash_for_a_whole_timeout() {
    let mut h = Harness::new(Options::default());
    let (conn, session) = h.connect();
    h.send(conn, 1, &create("/e", 1));
    h.sync_log();
    let mut h = Harness::over(Options::default(), Default::default(), &h.durable);
    h.pass(9_000);
    let again = h.open();
    h.handshake(again, session.session_id, &session.passwd, 0);
    assert!(matches!(h.next(again), Some(Got::Connected(r)) if r.session_id == session.session_id));
    h.step(Input::Closed { conn: again });
    h.pass(16_000);
    h.sync_log();
    assert!(h.node.tree().node("/e").is_none());
}

#[test]
fn limits_on_connections_hold_at_every_moment() {
    let mut h = Harness::new(Options { max_client_cnxns: 2, max_cnxns: 3, ..Options::default() });
    let first = h.open_from("10.0.0.1:1");
    h.open_from("10.0.0.1:2");
    let third = h.open_from("[::ffff:10.0.0.1]:3");
    assert!(matches!(h.closed.get(&third), Some(CloseReason::TooManyFromAddress { max: 2, .. })));
    h.open_from("10.0.0.2:1");
    let fifth = h.open_from("10.0.0.3:1");
    assert_eq!(h.closed.get(&fifth), Some(&CloseReason::TooManyConnections { max: 3 }));
    h.step(Input::Closed { conn: first });
    let sixth = h.open_from("10.0.0.1:4");
    assert!(!h.closed.contains_key(&sixth));
}

#[test]
fn a_connection_without_a_session_is_given_up() {
    let mut h = Harness::new(Options::default());
    let conn = h.open();
    h.pass(9_500);
    assert!(h.closed.is_empty());
    h.pass(1_000);
    assert_eq!(h.closed.get(&conn), Some(&CloseReason::NoSession { after_ms: 10_000 }));
}

#[test]
fn strangers_are_named() {
    let mut h = Harness::new(Options::default());
    let conn = h.open();
    h.step(Input::Frame { conn, frame: b"\0\x12\0\x03\0\0\0\x01\0\x07console" });
    assert!(matches!(h.closed.get(&conn), Some(CloseReason::Malformed { what }) if what.contains("Kafka")));
    let conn = h.open();
    h.step(Input::Frame { conn, frame: b"\0\0\0\0\0" });
    assert!(
        matches!(h.closed.get(&conn), Some(CloseReason::Malformed { what }) if what.contains("handshake"))
    );
}

#[test]
fn an_empty_container_is_reaped_after_its_children() {
    let mut h = Harness::new(Options::default());
    let (conn, _) = h.connect();
    let mut container = create_request("/c", 4);
    container.kind = zk_proto::CreateKind::Container;
    h.send(conn, 1, &Request::Create(container));
    h.sync_log();
    let keep_alive = |h: &mut Harness| {
        for _ in 0..31 {
            h.pass(2_000);
            h.send(conn, -2, &Request::Ping);
            h.sync_log();
        }
    };
    keep_alive(&mut h);
    assert!(h.node.tree().node("/c").is_some(), "it never had a child");
    h.send(conn, 2, &create("/c/x", 0));
    h.send(conn, 3, &delete("/c/x"));
    h.sync_log();
    keep_alive(&mut h);
    assert!(h.node.tree().node("/c").is_none());
}

#[test]
fn a_ttl_node_goes_when_it_was_not_touched_for_its_time() {
    let config = zk_tree::TreeConfig { extended_types_enabled: true, ..Default::default() };
    let mut h = Harness::over(Options::default(), config, &[]);
    let (conn, _) = h.connect();
    let mut ttl = create_request("/t", 5);
    (ttl.kind, ttl.ttl_ms) = (zk_proto::CreateKind::Ttl, 90_000);
    h.send(conn, 1, &Request::Create(ttl));
    h.sync_log();
    for (ms, expect) in [(61_000, true), (61_000, false)] {
        for _ in 0..ms / 1000 {
            h.pass(1000);
            h.send(conn, -2, &Request::Ping);
        }
        h.sync_log();
        assert_eq!(h.node.tree().node("/t").is_some(), expect);
    }
}

#[test]
fn a_snapshot_is_asked_for_in_the_upper_half_of_the_count() {
    let mut h = Harness::new(Options { snap_count: 20, ..Options::default() });
    let (conn, _) = h.connect();
    for n in 0..100 {
        h.send(conn, n, &create("/s", 2));
    }
    assert!((5..=9).contains(&h.snapshots), "{}", h.snapshots);
}
