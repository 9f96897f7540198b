//! Roles come and go: what belonged to one does not reach into the next.

use zk_proto::{CreateMode, ErrorCode, Request};
use zk_zab::Input as ZabInput;

use super::world::World;
use crate::tests::harness::{create, delete, exists, get};
use crate::{CloseReason, Options, Role};

fn read_only() -> Options {
    Options { read_only_enabled: true, ..Options::default() }
}

#[test]
fn nobody_is_served_while_there_is_no_leader() {
    let mut w = World::new(3, 0);
    w.start(1);
    w.pass(10_000);
    assert_eq!(w.member(1).role(), Role::Looking);
    let conn = w.open(1);
    w.handshake(conn, 0, 0, true);
    assert_eq!(w.clients[&conn].closed, Some(CloseReason::NotServing));
}

#[test]
fn a_new_leader_ends_every_connection_and_answers_nothing_twice() {
    let mut w = World::started(3, 0);
    let (leader, followers) = (w.leader().unwrap(), w.followers());
    let ((at_follower, session), (at_leader, _)) = (w.connect(followers[0]), w.connect(leader));
    for sid in &followers {
        w.stick_disk(*sid, true);
    }
    w.send(at_follower, 1, &create("/from-follower", 0));
    w.send(at_follower, 2, &exists("/from-follower", false));
    w.send(at_leader, 1, &create("/from-leader", 0));
    w.settle();
    w.crash(leader);
    for sid in &followers {
        w.stick_disk(*sid, false);
    }
    w.until("another leads", |w| w.leader().is_some() && w.all_serve());
    assert!(matches!(w.clients[&at_follower].closed, Some(CloseReason::RoleChanged { .. })));
    assert_eq!(w.next(at_follower), None, "what becomes of it is for the client to find out");
    // Both followers had them in their logs, so they are history now.
    assert!(w.has(followers[0], "/from-follower") && w.has(followers[1], "/from-leader"));
    w.start(leader);
    w.until("it is back", |w| w.all_serve());
    w.check_equal();
    let conn = w.reconnect(leader, session);
    w.settle();
    assert_eq!(w.connected(conn).session_id, session);
    assert_eq!(w.ask(conn, 3, &delete("/from-follower")), ErrorCode::Ok);
    w.check_equal();
}

#[test]
fn a_leader_without_followers_stops_serving_and_forgets_what_it_proposed() {
    let mut w = World::started(3, 0);
    let (leader, followers) = (w.leader().unwrap(), w.followers());
    let (conn, _) = w.connect(leader);
    w.isolate(leader);
    w.send(conn, 1, &create("/lost", 0));
    w.until("the others have a leader", |w| {
        followers.iter().any(|sid| Some(*sid) == w.leader_among(&followers))
    });
    w.until("it has noticed", |w| w.member(leader).role() == Role::Looking);
    assert_eq!(w.next(conn), None);
    assert!(matches!(w.clients[&conn].closed, Some(CloseReason::RoleChanged { was: "leader" })));
    let (other, _) = w.connect(followers[0]);
    assert_eq!(w.ask(other, 1, &create("/kept", 0)), ErrorCode::Ok);
    w.join(leader);
    w.until("it follows", |w| w.all_serve());
    assert!(!w.has(leader, "/lost"), "it was truncated");
    w.check_equal();
}

#[test]
fn a_server_that_was_away_too_long_gets_a_snapshot_that_is_fuzzy() {
    let mut w = World::started(3, 0);
    let (away, leader) = (w.followers()[0], w.leader().unwrap());
    w.crash(away);
    let (conn, _) = w.connect(leader);
    for n in 0..700 {
        assert_eq!(w.ask(conn, n, &create(&format!("/{n}"), 0)), ErrorCode::Ok);
    }
    w.forget_history(away);
    w.forget_log(leader);
    w.start(away);
    w.until("it follows", |w| w.all_serve());
    assert!(w.servers[&away].disk.snapshot.is_some());
    assert_eq!(w.ask(conn, 1000, &create("/after", 0)), ErrorCode::Ok);
    w.check_equal();
    assert!(w.servers[&away].cancelled_snapshots > 0, "nobody writes down a tree that is replaced");
}

#[test]
fn reads_go_on_without_a_leader_for_whoever_asked() {
    let mut w = World::with(3, 0, read_only(), false);
    w.start_all();
    let (writer, session) = w.connect(1);
    assert_eq!(w.ask(writer, 1, &create("/a", 0)), ErrorCode::Ok);
    let zxid = w.member(1).node().tree().last_zxid();
    w.crash(2);
    w.crash(3);
    w.until("it serves reads", |w| w.member(1).role() == Role::ReadOnly);
    let refused = w.open(1);
    w.handshake(refused, 0, 0, false);
    assert_eq!(w.clients[&refused].closed, Some(CloseReason::NotReadOnlyClient));
    let global = w.open(1);
    w.handshake(global, session, 0, true);
    assert_eq!(w.clients[&global].closed, Some(CloseReason::NotWithoutLeader { session }));

    let conn = w.open(1);
    w.handshake(conn, 0, 0, true);
    let response = w.connected(conn);
    assert_eq!((response.read_only, response.timeout_ms), (Some(true), 10_000));
    assert_eq!(w.ask(conn, 1, &get("/a", true)), ErrorCode::Ok);
    assert_eq!(w.ask(conn, 2, &create("/b", 0)), ErrorCode::NotReadOnly);
    assert_eq!(w.ask(conn, 3, &Request::Sync { path: "/".into() }), ErrorCode::NotReadOnly);
    assert_eq!(w.member(1).node().tree().last_zxid(), zxid, "Z-3526");
    let closing = w.open(1);
    w.handshake(closing, 0, 0, true);
    w.connected(closing);
    assert_eq!(w.ask(closing, 1, &Request::CloseSession), ErrorCode::Ok);
    assert_eq!(w.clients[&closing].closed, Some(CloseReason::SessionClosed));
    assert_eq!(w.member(1).node().tree().last_zxid(), zxid);

    w.start(2);
    w.start(3);
    w.until("all serve", |w| w.leader().is_some() && w.all_serve());
    assert!(matches!(w.clients[&conn].closed, Some(CloseReason::RoleChanged { was: "read-only" })));
    let back = w.reconnect(1, response.session_id);
    w.settle();
    assert_eq!(w.connected(back).timeout_ms, 0, "the ensemble does not know it");
    w.check_equal();
}

#[test]
fn read_only_sessions_expire_where_they_are() {
    let mut w = World::with(3, 0, read_only(), false);
    w.start(1);
    w.until("it serves reads", |w| w.member(1).role() == Role::ReadOnly);
    let conn = w.open(1);
    w.handshake(conn, 0, 0, true);
    w.connected(conn);
    w.pass(14_000);
    assert!(matches!(w.clients[&conn].closed, Some(CloseReason::SessionExpired { .. })));
    assert_eq!(w.member(1).node().tree().last_zxid(), 0);
    w.tell(1, ZabInput::MeshDown { sid: 2 });
}

#[test]
fn only_the_leader_reaps_containers() {
    let mut w = World::started(3, 0);
    let (conn, _) = w.connect(w.followers()[0]);
    let mut container = crate::tests::harness::create_request("/c", CreateMode::Container.flags());
    container.kind = zk_proto::CreateKind::Container;
    assert_eq!(w.ask(conn, 1, &Request::Create(container)), ErrorCode::Ok);
    assert_eq!(w.ask(conn, 2, &create("/c/child", 0)), ErrorCode::Ok);
    assert_eq!(w.ask(conn, 3, &delete("/c/child")), ErrorCode::Ok);
    for _ in 0..70 {
        w.pass(1000);
        w.send(conn, -2, &Request::Ping);
    }
    assert!((1..=3).all(|sid| !w.has(sid, "/c")));
    w.check_equal();
}

#[test]
fn a_whole_ensemble_comes_back_from_its_disks() {
    let mut w = World::started(3, 1);
    let (conn, session) = w.connect(4);
    assert_eq!(w.ask(conn, 1, &create("/e", CreateMode::Ephemeral.flags())), ErrorCode::Ok);
    for sid in 1..=4 {
        w.crash(sid);
    }
    w.start_all();
    w.until("all serve", |w| w.leader().is_some() && w.all_serve());
    w.check_equal();
    let conn = w.reconnect(2, session);
    w.settle();
    assert_eq!(w.connected(conn).session_id, session);
    assert_eq!(w.ask(conn, 1, &delete("/e")), ErrorCode::Ok);
    w.check_equal();
}
