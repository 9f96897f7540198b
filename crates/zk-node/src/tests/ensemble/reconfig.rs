//! Members join and leave, and everybody shows the same configuration.

use zk_proto::quorum::{Config, Sid};
use zk_proto::{ErrorCode, OpCode, Request, Response};
use zk_tree::tree::CONFIG_NODE;

use super::world::{World, config};
use crate::tests::harness::{create, get};
use crate::{ConnId, Options, Role};

fn world(voters: i64, observers: i64) -> World {
    let mut w = World::with(voters, observers, Options::default(), true);
    w.start_all();
    w
}

fn shown(w: &World, sid: Sid) -> String {
    let data = w.member(sid).node().tree().node(CONFIG_NODE).unwrap().data().unwrap().clone();
    String::from_utf8(data.to_vec()).unwrap()
}

fn reconfig(joining: Option<&str>, leaving: Option<&str>) -> Request {
    Request::Reconfig {
        joining: joining.map(str::to_owned),
        leaving: leaving.map(str::to_owned),
        new_members: None,
        current_config_id: -1,
    }
}

fn superuser(w: &mut World, sid: Sid) -> ConnId {
    let (conn, _) = w.connect(sid);
    let auth = Request::Auth { kind: 0, scheme: "digest".into(), auth: Some("super:test".into()) };
    assert_eq!(w.ask(conn, -4, &auth), ErrorCode::Ok);
    conn
}

#[test]
fn the_configuration_is_shown_from_the_start() {
    for reconfig_enabled in [false, true] {
        let mut w = World::with(3, 1, Options::default(), reconfig_enabled);
        w.start_all();
        for sid in 1..=4 {
            let text = shown(&w, sid);
            let lines = config(3, 1).to_string();
            assert_eq!(text.rsplit_once('\n').unwrap().0, lines.rsplit_once('\n').unwrap().0);
        }
        let version = Config::parse(&shown(&w, w.leader().unwrap())).unwrap().version;
        assert_eq!(version, if reconfig_enabled { 0x1_0000_0000 } else { 0 });
    }
}

#[test]
fn a_server_leaves_and_another_joins() {
    let mut w = world(3, 0);
    let follower = w.followers()[0];
    let conn = superuser(&mut w, follower);
    let gone = *w.followers().iter().find(|sid| **sid != follower).unwrap();
    w.send(conn, 1, &reconfig(None, Some(&gone.to_string())));
    w.settle();
    let Response::Data { data, stat } = w.body(conn, OpCode::Reconfig) else { panic!("data") };
    let text = String::from_utf8(data.unwrap().to_vec()).unwrap();
    let left = Config::parse(&text).unwrap();
    assert!(!left.members.contains_key(&gone));
    assert_eq!((stat.mzxid, stat.version), (left.version, -1));
    assert_eq!(shown(&w, follower), text);
    assert_eq!(w.ask(conn, 2, &create("/two", 0)), ErrorCode::Ok);
    w.crash(gone);

    w.add(4, Config::parse(&format!("{text}\nserver.4=z4:2888:3888:observer;0.0.0.0:2181")).unwrap());
    w.start(4);
    w.until("it serves", |w| w.all_serve());
    let joining = "server.4=z4:2888:3888:participant;2181";
    assert_eq!(w.ask(conn, 3, &reconfig(Some(joining), None)), ErrorCode::Ok);
    w.until("it votes", |w| matches!(w.member(4).role(), Role::Following { .. } | Role::Leading { .. }));
    assert!(shown(&w, 4).contains("server.4=z4:2888:3888:participant;0.0.0.0:2181"));
    w.check_equal();
}

#[test]
fn it_is_refused_without_the_right_or_the_switch() {
    let mut w = world(3, 0);
    let (conn, _) = w.connect(w.followers()[0]);
    assert_eq!(w.ask(conn, 1, &reconfig(None, Some("1"))), ErrorCode::NoAuth);
    let mut w = World::started(3, 0);
    let (conn, _) = w.connect(w.followers()[0]);
    assert_eq!(w.ask(conn, 1, &reconfig(None, Some("1"))), ErrorCode::ReconfigDisabled);
    assert_eq!(w.ask(conn, 2, &get(CONFIG_NODE, false)), ErrorCode::Ok);
}

#[test]
fn a_quorum_of_the_new_members_must_be_there() {
    let mut w = world(3, 0);
    let (leader, followers) = (w.leader().unwrap(), w.followers());
    let conn = superuser(&mut w, leader);
    w.crash(followers[0]);
    w.pass(500);
    let strangers = "server.8=z8:2888:3888:participant;2181,server.9=z9:2888:3888:participant;2181";
    let refused = reconfig(Some(strangers), Some(&followers[0].to_string()));
    assert_eq!(w.ask(conn, 1, &refused), ErrorCode::NewConfigNoQuorum);
    assert_eq!(w.ask(conn, 2, &create("/on", 0)), ErrorCode::Ok);
    assert!(w.has(followers[1], "/on"));
}

#[test]
fn one_at_a_time() {
    let mut w = world(3, 1);
    let (leader, followers) = (w.leader().unwrap(), w.followers());
    let conn = superuser(&mut w, leader);
    for sid in &followers {
        w.stick_disk(*sid, true);
    }
    w.send(conn, 1, &reconfig(None, Some("4")));
    w.send(conn, 2, &reconfig(None, Some("4")));
    w.settle();
    assert_eq!(w.next(conn), None);
    for sid in &followers {
        w.stick_disk(*sid, false);
    }
    assert_eq!((w.reply(conn), w.reply(conn)), ((1, ErrorCode::Ok), (2, ErrorCode::ReconfigInProgress)));
    assert!(!shown(&w, leader).contains("server.4"));
}
