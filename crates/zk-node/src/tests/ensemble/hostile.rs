//! What a learner must not be able to do: stop its leader, or leave its own clients without an answer.

use bytes::Bytes;
use fastrand::Rng;
use zk_proto::quorum::{Packet, PacketKind, Sid};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, OpCode, Request, Writer};
use zk_zab::Input as ZabInput;

use super::world::World;
use crate::leader::request_data;
use crate::tests::harness::create;

fn request(w: &mut World, from: Sid, data: Bytes) {
    let leader = w.leader().unwrap();
    let link = w.member(leader).peer().unwrap().link_of(from).unwrap();
    let packet = Packet::with_data(PacketKind::Request, -1, data);
    w.tell(leader, ZabInput::FromLearner { link, packet });
    w.settle();
}

fn last_txn(w: &World) -> TxnEntry {
    TxnEntry::decode(&w.servers[&1].disk.log.last().unwrap().payload).unwrap()
}

#[test]
fn what_cannot_be_read_is_refused_with_a_transaction() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let (_, session) = w.connect(follower);
    for op in [OpCode::Create, OpCode::Multi, OpCode::SetData, OpCode::CreateSession, OpCode::Reconfig] {
        request(&mut w, follower, request_data(session, 7, op.code(), &[0, 0, 1]));
        let entry = last_txn(&w);
        assert_eq!((entry.header.client_id, entry.header.cxid), (session, 7), "{op:?}");
        assert_eq!(entry.txn, Txn::Error { err: ErrorCode::MarshallingError.code() }, "{op:?}");
    }
    w.check_equal();
}

#[test]
fn a_bare_check_and_a_reapers_delete_are_refused_and_answered() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let (_, session) = w.connect(follower);
    for op in [OpCode::Check, OpCode::DeleteContainer] {
        request(&mut w, follower, request_data(session, 8, op.code(), b"\0\0\0\x01/"));
        assert_eq!(last_txn(&w).txn, Txn::Error { err: ErrorCode::Unimplemented.code() });
    }
}

#[test]
fn nobody_acts_for_a_session_that_is_not_its_own() {
    let mut w = World::started(3, 0);
    let followers = w.followers();
    let (_, session) = w.connect(followers[0]);
    let mut body = Writer::new();
    create("/x", 0).encode(&mut body);
    let op = OpCode::Create.code();
    request(&mut w, followers[1], request_data(session, 1, op, body.as_slice()));
    assert_eq!(last_txn(&w).txn, Txn::Error { err: ErrorCode::SessionMoved.code() });
    for nobody in [0, 0x1234] {
        request(&mut w, followers[1], request_data(nobody, 1, op, body.as_slice()));
        assert_eq!(last_txn(&w).txn, Txn::Error { err: ErrorCode::SessionExpired.code() });
    }
    assert!(!w.has(1, "/x"));
    request(&mut w, followers[1], request_data(0, 1, OpCode::CreateSession.code(), &[0, 0, 1, 0]));
    assert_eq!(last_txn(&w).txn, Txn::Error { err: ErrorCode::SessionExpired.code() });
    w.check_equal();
}

#[test]
fn nonsense_is_left_out_and_the_leader_goes_on() {
    let mut w = World::started(3, 0);
    let follower = w.followers()[0];
    let before = w.member(follower).node().tree().last_zxid();
    request(&mut w, follower, Bytes::from_static(b"cut off"));
    for op in [999, -7, OpCode::GetData.code(), OpCode::Auth.code(), OpCode::Notification.code()] {
        request(&mut w, follower, request_data(1, 1, op, b"junk"));
    }
    let leader = w.leader().unwrap();
    let link = w.member(leader).peer().unwrap().link_of(follower).unwrap();
    let packet = Packet::with_data(PacketKind::Revalidate, -1, &b"short"[..]);
    w.tell(leader, ZabInput::FromLearner { link, packet });
    w.settle();
    assert_eq!(w.member(follower).node().tree().last_zxid(), before);
    let (conn, _) = w.connect(follower);
    assert_eq!(w.ask(conn, 1, &create("/on", 0)), ErrorCode::Ok);
}

#[test]
fn a_request_that_a_follower_cannot_read_never_leaves_it() {
    let mut w = World::started(3, 0);
    let (conn, _) = w.connect(w.followers()[0]);
    let before = w.member(1).node().tree().last_zxid();
    for op in [OpCode::Create, OpCode::Multi] {
        w.send_raw(conn, 5, op, b"\0\0");
        w.settle();
        assert_eq!(w.reply(conn), (5, ErrorCode::MarshallingError));
    }
    assert_eq!(w.member(1).node().tree().last_zxid(), before);
    assert_eq!(w.ask(conn, 6, &Request::Sync { path: "/".into() }), ErrorCode::Ok);
}

/// Bytes that were requests once.
fn mutated(rng: &mut Rng, session: i64) -> Bytes {
    let ops = OpCode::ALL;
    let op = ops[rng.usize(..ops.len())].code();
    let mut body = Writer::new();
    create("/some/path", rng.i32(-1..9)).encode(&mut body);
    let mut data = request_data(session, rng.i32(..), op, body.as_slice()).to_vec();
    for _ in 0..rng.usize(..6) {
        let at = rng.usize(..data.len());
        data[at] = rng.u8(..);
    }
    data.truncate(rng.usize(..=data.len()));
    Bytes::from(data)
}

#[test]
fn junk_from_learners_and_leaders_hurts_nobody() {
    let mut w = World::started(3, 0);
    let mut rng = Rng::with_seed(7);
    let (leader, follower) = (w.leader().unwrap(), w.followers()[0]);
    let (_, session) = w.connect(follower);
    for n in 0..3000 {
        let kinds = [PacketKind::Request, PacketKind::Revalidate, PacketKind::Ping];
        let kind = kinds[rng.usize(..3)];
        let link = w.member(leader).peer().unwrap().link_of(follower).unwrap();
        let packet = Packet::with_data(kind, -1, mutated(&mut rng, session));
        w.tell(leader, ZabInput::FromLearner { link, packet });
        if n % 7 == 0 {
            let kind = if rng.bool() { PacketKind::Revalidate } else { PacketKind::Sync };
            let packet = Packet::with_data(kind, 0, mutated(&mut rng, session));
            w.tell(follower, ZabInput::FromLeader { packet });
        }
        if n % 50 == 0 {
            w.settle();
        }
    }
    w.settle();
    let (conn, _) = w.connect(w.followers()[1]);
    assert_eq!(w.ask(conn, 1, &create("/still-here", 0)), ErrorCode::Ok);
    w.check_equal();
}
