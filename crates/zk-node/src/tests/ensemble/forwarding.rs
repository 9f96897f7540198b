//! Writes at servers that do not lead: sent on, answered in order, the same everywhere.

use zk_proto::txn::{Txn, TxnEntry, kind};
use zk_proto::{CreateKind, ErrorCode, EventKind, MultiOp, MultiResult, OpCode, Request, Response};

use super::world::World;
use crate::Options;
use crate::tests::harness::{create, create_request, delete, exists, get, set};

#[test]
fn a_write_at_any_server_reaches_all() {
    let mut w = World::started(3, 1);
    for (sid, path) in [(1, "/a"), (2, "/b"), (3, "/c"), (4, "/d")] {
        let (conn, _) = w.connect(sid);
        assert_eq!(w.ask(conn, 1, &create(path, 0)), ErrorCode::Ok);
        assert_eq!(w.ask(conn, 2, &create(path, 0)), ErrorCode::NodeExists);
        assert_eq!(w.ask(conn, 3, &exists(path, false)), ErrorCode::Ok);
    }
    w.settle();
    for sid in 1..=4 {
        for path in ["/a", "/b", "/c", "/d"] {
            assert!(w.has(sid, path), "{path} at server {sid}");
        }
    }
    w.check_equal();
}

#[test]
fn the_epoch_is_shown_before_its_first_transaction() {
    let mut w = World::started(3, 1);
    let leader = w.leader().unwrap();
    for sid in 1..=4 {
        assert_eq!(w.member(sid).node().tree().last_zxid(), 0x1_0000_0000);
        assert_eq!(w.servers[&sid].disk.last(), 0, "no transaction is behind it");
    }
    let (_, session) = w.connect(leader);
    w.crash(leader);
    w.until("a new epoch begins", |w| w.all_serve());
    // Whoever has seen it at the leader is welcome at a follower, before anything is written.
    let conn = w.open(w.followers()[0]);
    w.handshake(conn, session, 0x2_0000_0000, false);
    w.settle();
    assert_eq!(w.connected(conn).session_id, session);
}

#[test]
fn pipelined_requests_of_every_kind_are_answered_in_their_order() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let (conn, _) = w.connect(follower);
    w.hold(follower, true);
    w.send(conn, 1, &create("/a", 0));
    w.send(conn, 2, &exists("/a", false));
    w.send(conn, 3, &set("/a", b"x"));
    w.send(conn, 4, &Request::Sync { path: "/a".into() });
    w.send(conn, 5, &get("/a", false));
    w.send(conn, 6, &create("/a", 0));
    w.send(conn, -2, &Request::Ping);
    w.send(conn, 7, &delete("/a"));
    w.send(conn, 8, &exists("/a", false));
    w.settle();
    assert_eq!(w.next(conn), None, "all stand behind the first write");
    w.hold(follower, false);
    let got: Vec<_> = (0..9).map(|_| w.reply(conn)).collect();
    let expected = [
        (1, ErrorCode::Ok),
        (2, ErrorCode::Ok),
        (3, ErrorCode::Ok),
        (4, ErrorCode::Ok),
        (5, ErrorCode::Ok),
        (6, ErrorCode::NodeExists),
        (-2, ErrorCode::Ok),
        (7, ErrorCode::Ok),
        (8, ErrorCode::NoNode),
    ];
    assert_eq!(got, expected);
}

#[test]
fn reads_wait_for_their_own_session_only() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let ((writer, _), (other, _)) = (w.connect(follower), w.connect(follower));
    w.hold(follower, true);
    w.send(writer, 1, &create("/a", 0));
    w.send(other, 1, &exists("/a", false));
    assert_eq!(w.reply(other), (1, ErrorCode::NoNode), "others do not wait and do not see it");
    w.hold(follower, false);
    assert_eq!(w.reply(writer), (1, ErrorCode::Ok));
}

#[test]
fn a_sync_shows_what_was_written_elsewhere() {
    let mut w = World::started(3, 1);
    let leader = w.leader().unwrap();
    for (n, reader_at) in [w.followers()[0], 4].into_iter().enumerate() {
        let path = format!("/late{n}");
        let ((reader, _), (writer, _)) = (w.connect(reader_at), w.connect(leader));
        w.hold(reader_at, true);
        assert_eq!(w.ask(writer, 1, &create(&path, 0)), ErrorCode::Ok);
        assert_eq!(w.ask(reader, 1, &exists(&path, false)), ErrorCode::NoNode, "it is behind");
        w.send(reader, 2, &Request::Sync { path: "/".into() });
        w.send(reader, 3, &exists(&path, false));
        w.hold(reader_at, false);
        assert_eq!(w.body(reader, OpCode::Sync), Response::Path { path: "/".into() });
        assert_eq!(w.reply(reader), (3, ErrorCode::Ok));
    }
}

#[test]
fn a_sync_waits_for_what_is_proposed_and_not_committed() {
    let mut w = World::started(3, 0);
    let (leader, followers) = (w.leader().unwrap(), w.followers());
    let ((writer, _), (reader, _)) = (w.connect(leader), w.connect(followers[0]));
    for sid in &followers {
        w.stick_disk(*sid, true);
    }
    w.send(writer, 1, &create("/a", 0));
    w.settle();
    w.send(reader, 1, &Request::Sync { path: "/".into() });
    w.settle();
    assert_eq!(w.next(reader), None, "nobody but the leader has it on disk");
    assert_eq!(w.member(leader).node().pending_syncs(), 1);
    w.stick_disk(followers[1], false);
    assert_eq!(w.reply(reader), (1, ErrorCode::Ok));
    assert_eq!(w.reply(writer), (1, ErrorCode::Ok));
    assert!(w.has(followers[0], "/a"), "committed by the others");
    w.stick_disk(followers[0], false);
    w.check_equal();
}

#[test]
fn a_sync_keeps_its_place_among_commits_that_come_together() {
    let mut w = World::started(3, 1);
    let (leader, followers) = (w.leader().unwrap(), w.followers());
    w.crash(followers[1]);
    for (n, sid) in [followers[0], 4].into_iter().enumerate() {
        let ((conn, session), (other, _)) = (w.connect(sid), w.connect(leader));
        // The follower has everything on disk: the leader's own disk then commits all of it at once.
        w.stick_disk(leader, true);
        w.send(other, 1, &create(&format!("/before{n}"), 0));
        w.send(conn, 1, &Request::Sync { path: "/".into() });
        w.settle();
        w.send(conn, 2, &create(&format!("/after{n}"), 0));
        w.settle();
        let moved = w.reconnect(sid, session);
        w.settle();
        assert_eq!(w.connected(moved).session_id, session);
        w.send(moved, 1, &create(&format!("/moved{n}"), 0));
        w.settle();
        assert_eq!((w.next(conn), w.next(moved)), (None, None));
        w.stick_disk(leader, false);
        assert_eq!(w.reply(moved), (1, ErrorCode::Ok), "behind its fence");
        let (still, _) = w.connect(sid);
        w.stick_disk(leader, true);
        w.send(other, 2, &create(&format!("/again{n}"), 0));
        w.send(still, 1, &Request::Sync { path: "/".into() });
        w.settle();
        w.send(still, 2, &create(&format!("/still{n}"), 0));
        w.settle();
        w.stick_disk(leader, false);
        assert_eq!((w.reply(still), w.reply(still)), ((1, ErrorCode::Ok), (2, ErrorCode::Ok)));
    }
    w.check_equal();
}

#[test]
fn an_event_comes_before_the_answer_that_shows_its_change() {
    let mut w = World::started(3, 0);
    let followers = w.followers();
    let ((watcher, _), (writer, _)) = (w.connect(followers[0]), w.connect(followers[1]));
    assert_eq!(w.ask(writer, 1, &create("/a", 0)), ErrorCode::Ok);
    assert_eq!(w.ask(watcher, 1, &get("/a", true)), ErrorCode::Ok);
    assert_eq!(w.ask(writer, 2, &set("/a", b"new")), ErrorCode::Ok);
    w.send(watcher, 2, &get("/a", false));
    assert_eq!(w.event(watcher), (EventKind::NodeDataChanged, "/a".to_owned()));
    assert_eq!(w.reply(watcher), (2, ErrorCode::Ok));
}

fn create2(path: &str) -> MultiOp {
    let mut request = create_request(path, 0);
    request.kind = CreateKind::Create2;
    MultiOp::Create(request)
}

#[test]
fn create2_in_a_multi_is_answered_as_asked_and_logged_as_plain() {
    let mut w = World::started(3, 1);
    for (n, sid) in [w.leader().unwrap(), w.followers()[0], 4].into_iter().enumerate() {
        let (conn, _) = w.connect(sid);
        let (one, two) = (format!("/plain{n}"), format!("/two{n}"));
        let ops = vec![MultiOp::Create(create_request(&one, 0)), create2(&two)];
        w.send(conn, 1, &Request::Multi(ops));
        w.settle();
        let Response::Multi(results) = w.body(conn, OpCode::Multi) else { panic!("a multi") };
        let [MultiResult::Create { path }, MultiResult::Create2 { path: path2, stat }] = &results[..] else {
            panic!("{results:?}")
        };
        assert_eq!((path, path2), (&one, &two));
        assert_eq!(stat.version, 0);
        let entry = w.servers[&sid].disk.log.last().unwrap();
        let Txn::Multi(items) = TxnEntry::decode(&entry.payload).unwrap().txn else { panic!("a multi") };
        assert!(items.iter().all(|item| item.kind == kind::CREATE), "Z-4026");
    }
    w.settle();
    w.check_equal();
}

#[test]
fn a_refused_multi_is_answered_by_item_wherever_it_was_asked() {
    let mut w = World::started(3, 0);
    let (conn, _) = w.connect(w.followers()[0]);
    let ops = vec![create2("/a"), MultiOp::Delete { path: "/nope".into(), version: -1 }];
    w.send(conn, 1, &Request::Multi(ops));
    w.settle();
    let Response::Multi(results) = w.body(conn, OpCode::Multi) else { panic!("a multi") };
    assert_eq!(results, [MultiResult::Error(ErrorCode::Ok), MultiResult::Error(ErrorCode::NoNode)]);
    assert!(!w.has(1, "/a"));
    w.check_equal();
}

#[test]
fn requests_on_their_way_to_the_leader_count_against_the_limits() {
    let mut w = World::with(3, 0, Options { global_outstanding_limit: 2, ..Options::default() }, false);
    w.start_all();
    let follower = w.followers()[0];
    let ((busy, _), (idle, _)) = (w.connect(follower), w.connect(follower));
    w.hold(follower, true);
    for xid in 1..=3 {
        w.send(busy, xid, &create(&format!("/{xid}"), 0));
    }
    assert!(!w.member(follower).takes_frames(busy));
    assert!(w.member(follower).takes_frames(idle));
    w.hold(follower, false);
    assert!(w.member(follower).takes_frames(busy));
}
