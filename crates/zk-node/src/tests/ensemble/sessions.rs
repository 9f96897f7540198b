//! Sessions in an ensemble: they move, they expire, they end, wherever they are.

use zk_proto::quorum::{Packet, PacketKind};
use zk_proto::{CreateMode, ErrorCode, EventKind, OpCode, Request, Response};
use zk_zab::Input as ZabInput;

use super::world::World;
use crate::tests::harness::{create, exists, get, set};
use crate::{CloseReason, Phase};

const EPHEMERAL: i32 = CreateMode::Ephemeral.flags();

#[test]
fn ids_say_where_a_session_began() {
    let mut w = World::started(3, 1);
    for sid in 1..=4 {
        let (_, session) = w.connect(sid);
        assert_eq!(session >> 56, sid);
    }
    for sid in 1..=4 {
        assert_eq!(w.member(sid).node().tree().sessions().len(), 4);
    }
}

#[test]
fn a_session_goes_on_at_any_server_and_leaves_the_one_before() {
    let mut w = World::started(3, 1);
    let (mut conn, session) = w.connect(1);
    assert_eq!(w.ask(conn, 1, &create("/mine", EPHEMERAL)), ErrorCode::Ok);
    for (xid, sid) in [(2, 2), (3, 3), (4, 4), (5, 1), (6, 1)] {
        let (old, before) = (conn, w.clients[&conn].at);
        conn = w.reconnect(sid, session);
        w.settle();
        assert_eq!(w.connected(conn).session_id, session);
        assert_eq!(w.ask(conn, xid, &set("/mine", b"x")), ErrorCode::Ok, "at server {sid}");
        w.send(old, 99, &set("/mine", b"stale"));
        w.settle();
        let closed = w.clients[&old].closed.clone();
        assert_eq!(closed, Some(CloseReason::SessionMoved { session }), "at server {before}");
        assert_eq!(w.next(old), None, "no answer is better than a wrong one");
    }
    assert_eq!(w.body_of(conn, 7, &get("/mine", false), OpCode::GetData), &b"x"[..]);
    w.check_equal();
}

#[test]
fn what_was_asked_elsewhere_never_answers_what_is_asked_here() {
    let mut w = World::started(3, 0);
    let followers = w.followers();
    let (old, session) = w.connect(followers[0]);
    // On its way when the session moves; the new connection counts its cxids anew, as kazoo does.
    for sid in &followers {
        w.stick_disk(*sid, true);
    }
    w.send(old, 1, &create("/first", 0));
    w.settle();
    let new = w.reconnect(followers[1], session);
    w.settle();
    assert_eq!(w.connected(new).session_id, session);
    w.send(new, 1, &create("/first", 0));
    w.settle();
    assert_eq!(w.next(new), None);
    for sid in &followers {
        w.stick_disk(*sid, false);
    }
    assert_eq!(w.reply(new), (1, ErrorCode::NodeExists), "its own answer, not the other's");
    assert_eq!(w.ask(new, 2, &create("/second", 0)), ErrorCode::Ok);
    w.check_equal();
}

#[test]
fn the_same_holds_for_a_second_connection_to_the_same_server() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let (old, session) = w.connect(follower);
    w.hold(follower, true);
    w.send(old, 1, &create("/first", 0));
    w.gone(old);
    let new = w.reconnect(follower, session);
    assert!(!w.member(follower).takes_frames(new), "nothing is read before the leader has spoken");
    w.hold(follower, false);
    assert_eq!(w.connected(new).session_id, session);
    assert_eq!(w.ask(new, 1, &create("/first", 0)), ErrorCode::NodeExists);
}

#[test]
fn unknown_sessions_are_refused_by_whoever_leads() {
    let mut w = World::started(3, 0);
    for sid in 1..=3 {
        let conn = w.reconnect(sid, 0x77);
        w.settle();
        assert_eq!(w.connected(conn).timeout_ms, 0);
        assert_eq!(w.clients[&conn].closed, Some(CloseReason::SessionRefused { session: 0x77 }));
    }
}

#[test]
fn a_question_without_an_answer_ends_in_time() {
    let mut w = World::started(3, 0);
    let (follower, leader) = (w.followers()[0], w.leader().unwrap());
    let (_, session) = w.connect(leader);
    w.hold(follower, true);
    let conn = w.reconnect(follower, session);
    let phase = w.member(follower).node().connection(conn).unwrap().phase();
    assert_eq!(phase, Phase::Renewing { session });
    w.until("the connection is given up", |w| w.clients[&conn].closed.is_some());
}

#[test]
fn only_the_leader_expires_sessions_and_everybody_closes_them() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let ((silent, session), (talking, _), (watcher, _)) =
        (w.connect(follower), w.connect(follower), w.connect(w.leader().unwrap()));
    assert_eq!(w.ask(silent, 1, &create("/gone", EPHEMERAL)), ErrorCode::Ok);
    assert_eq!(w.ask(watcher, 1, &exists("/gone", true)), ErrorCode::Ok);
    for _ in 0..8 {
        w.pass(2000);
        w.send(talking, -2, &Request::Ping);
        w.send(watcher, -2, &Request::Ping);
    }
    let expired = CloseReason::SessionExpired { session, timeout_ms: 10_000 };
    assert_eq!(w.clients[&silent].closed, Some(expired));
    assert_eq!(w.clients[&talking].closed, None, "its signs of life reach the leader");
    assert!((1..=3).all(|sid| !w.has(sid, "/gone")));
    let events: Vec<_> = w.clients[&watcher].got.iter().filter(|g| g.is_event()).collect();
    assert_eq!(events.len(), 1);
    w.check_equal();
}

#[test]
fn a_session_closed_at_one_server_is_over_at_all() {
    let mut w = World::started(3, 0);
    let followers = w.followers();
    let ((conn, session), (watcher, _)) = (w.connect(followers[0]), w.connect(followers[1]));
    assert_eq!(w.ask(conn, 1, &create("/e", EPHEMERAL)), ErrorCode::Ok);
    assert_eq!(w.ask(watcher, 1, &get("/e", true)), ErrorCode::Ok);
    assert_eq!(w.ask(conn, 2, &Request::CloseSession), ErrorCode::Ok);
    assert_eq!(w.clients[&conn].closed, Some(CloseReason::SessionClosed));
    assert_eq!(w.event(watcher), (EventKind::NodeDeleted, "/e".to_owned()));
    let again = w.reconnect(followers[1], session);
    w.settle();
    assert_eq!(w.connected(again).timeout_ms, 0, "it is gone");
    w.check_equal();
}

#[test]
fn ephemerals_outlive_the_server_their_session_was_at() {
    let mut w = World::started(3, 0);
    let followers = w.followers();
    let (conn, session) = w.connect(followers[0]);
    assert_eq!(w.ask(conn, 1, &create("/e", EPHEMERAL)), ErrorCode::Ok);
    w.crash(followers[0]);
    w.pass(3000);
    let conn = w.reconnect(followers[1], session);
    w.settle();
    assert_eq!(w.connected(conn).session_id, session);
    w.send(conn, 1, &Request::GetEphemerals { prefix: None });
    let Response::Children { children } = w.body(conn, OpCode::GetEphemerals) else { panic!("children") };
    assert_eq!(children, ["/e"]);
}

#[test]
fn sessions_get_a_whole_timeout_under_a_new_leader() {
    let mut w = World::started(3, 0);
    let leader = w.leader().unwrap();
    let (_, session) = w.connect(w.followers()[0]);
    w.pass(8000);
    w.crash(leader);
    w.until("another leads", |w| w.leader().is_some() && w.all_serve());
    w.pass(8000);
    let conn = w.reconnect(w.followers()[0], session);
    w.settle();
    assert_eq!(w.connected(conn).session_id, session);
}

#[test]
fn a_pings_answer_names_the_sessions_heard_of() {
    let mut w = World::started(3, 0);
    let (leader, follower) = (w.leader().unwrap(), w.followers()[0]);
    let (conn, session) = w.connect(follower);
    w.pass(2000);
    w.send(conn, -2, &Request::Ping);
    w.hold(follower, true);
    w.pass(1000);
    // What it would have said is held back: the leader counts from the last it has heard.
    let before = w.deadline(leader, session);
    w.hold(follower, false);
    w.pass(1000);
    assert!(w.deadline(leader, session) > before);
}

#[test]
fn touches_of_unknown_sessions_make_none() {
    let mut w = World::started(3, 0);
    let (leader, follower) = (w.leader().unwrap(), w.followers()[0]);
    let link = w.member(leader).peer().unwrap().link_of(follower).unwrap();
    let mut data = 0x99i64.to_be_bytes().to_vec();
    data.extend(10_000i32.to_be_bytes());
    data.extend(b"cut");
    let packet = Packet::with_data(PacketKind::Ping, 0, data);
    w.tell(leader, ZabInput::FromLearner { link, packet });
    assert!(!w.member(leader).node().sessions().is_open(0x99));
}
