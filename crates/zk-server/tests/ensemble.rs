//! Three servers in one process: they elect, agree, and go on without one of them.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use support::trio::{self, Trio};
use support::{Client, create, create_with, data, dial, get, word};
use zk_proto::Request;
use zk_server::{Config, SystemProperties};

/// Shows the servers' logs with `RUST_LOG` set.
fn logs() {
    if std::env::var_os("RUST_LOG").is_some() {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
    }
}

/// Everybody has the same last transaction and as many znodes.
fn agree(trio: &Trio, sids: &[i64]) {
    trio.until("all have the same state", |trio| {
        let states: Vec<_> = sids.iter().map(|sid| trio.state(*sid)).collect();
        states.iter().all(|state| *state == states[0])
    });
}

fn has(client: &mut Client, path: &str, expect: &[u8]) {
    assert_eq!(data(client.call(&get(path))), expect, "{path}");
}

#[test]
fn three_servers_elect_a_leader_and_go_on_without_it() {
    logs();
    let mut trio = Trio::new(3, 0, "");
    trio.start_all();
    let leader = trio.leader();
    for sid in 1..=3 {
        trio.client(sid).call(&create(&format!("/from-{sid}"), b"x")).unwrap();
    }
    agree(&trio, &[1, 2, 3]);
    trio.abort(leader);
    let second = trio.leader();
    assert_ne!(second, leader);
    let rest: Vec<i64> = (1..=3).filter(|sid| *sid != leader).collect();
    for sid in &rest {
        trio.client(*sid).call(&create(&format!("/again-{sid}"), b"y")).unwrap();
    }
    trio.start(leader);
    trio.leader();
    agree(&trio, &[1, 2, 3]);
    let mut client = trio.client(leader);
    for sid in 1..=3 {
        has(&mut client, &format!("/from-{sid}"), b"x");
    }
    for sid in rest {
        has(&mut client, &format!("/again-{sid}"), b"y");
    }
}

#[test]
fn observers_and_servers_that_come_late_are_brought_up_to_date() {
    logs();
    let mut trio = Trio::new(3, 1, "snapCount=20\n");
    for sid in [1, 2] {
        trio.start(sid);
    }
    assert_eq!(trio.leader(), 2, "the higher number of the first majority");
    let mut client = trio.client(1);
    for n in 0..1000 {
        client.call(&create(&format!("/n{n}"), b"some data")).unwrap();
    }
    trio.start(3);
    trio.start(4);
    assert_eq!(trio.leader(), 2, "who leads goes on leading");
    agree(&trio, &[1, 2, 3, 4]);
    assert_eq!((trio.mode(3).as_deref(), trio.mode(4).as_deref()), (Some("follower"), Some("observer")));
    let mut observer = trio.client(4);
    has(&mut observer, "/n999", b"some data");
    observer.call(&create("/through-the-observer", b"z")).unwrap();
    let log = std::fs::read_dir(trio.server(3).dir.join("version-2")).unwrap();
    let names: Vec<String> = log.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|n| n.starts_with("snapshot.1000")), "it got a snapshot: {names:?}");
    trio.abort(1);
    trio.start(1);
    trio.leader();
    agree(&trio, &[1, 2, 3, 4]);
    has(&mut trio.client(1), "/through-the-observer", b"z");
}

#[test]
fn a_majority_is_needed_and_words_say_so() {
    logs();
    let mut trio = Trio::new(3, 0, "4lw.commands.whitelist=*\n");
    trio.start(1);
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    let ask = |trio: &Trio, sid: i64, w: &str| word(trio.server(sid).client, w);
    for w in ["srvr", "stat", "mntr", "conf", "cons", "dump", "dirs", "wchs", "srst"] {
        assert_eq!(ask(&trio, 1, w), not_serving, "{w}");
    }
    assert_eq!((ask(&trio, 1, "ruok"), ask(&trio, 1, "isro")), ("imok".to_owned(), "null".to_owned()));
    trio.start(3);
    assert_eq!(trio.leader(), 3);
    assert_eq!(ask(&trio, 1, "isro"), "rw");
    let conf = ask(&trio, 1, "conf");
    let expect = format!(
        "serverId=1\ninitLimit=20\nsyncLimit=10\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType=0\nmembership: \n",
        trio.server(1).election,
        trio.server(1).quorum
    );
    assert!(conf.contains(&expect), "{conf}");
    assert!(conf.ends_with(":participant\nversion=0"), "{conf}");
    let mut client = trio.client(1);
    client.call(&create("/a", b"x")).unwrap();
    let mntr = ask(&trio, 3, "mntr");
    for line in [
        "zk_server_state\tleader",
        "zk_peer_state\tleading - broadcast",
        "zk_quorum_size\t3",
        "zk_learners\t1",
        "zk_synced_followers\t1",
        "zk_synced_observers\t0",
        "zk_pending_syncs\t0",
    ] {
        assert!(mntr.lines().any(|l| l == line), "{line} is missing in\n{mntr}");
    }
    assert!(ask(&trio, 3, "srvr").contains("\nMode: leader\nNode count: 6\nProposal sizes last/min/max: "));
    let mntr = ask(&trio, 1, "mntr");
    assert!(mntr.contains("zk_peer_state\tfollowing - broadcast\n"), "{mntr}");
    let dump = ask(&trio, 1, "dump");
    assert!(dump.starts_with("SessionTracker dump:\nGlobal Sessions(1):\n0x1"), "{dump}");
    trio.stop(3);
    trio.until("the follower notices", |trio| trio.mode(1).is_none());
    assert_eq!(ask(&trio, 1, "srvr"), not_serving);
}

#[test]
fn a_damaged_log_heals_from_the_others() {
    logs();
    let mut trio = Trio::new(3, 0, "");
    trio.start_all();
    trio.leader();
    let mut client = trio.client(1);
    for n in 0..50 {
        client.call(&create(&format!("/n{n}"), b"some data")).unwrap();
    }
    agree(&trio, &[1, 2, 3]);
    trio.stop(2);
    let version = trio.server(2).dir.join("version-2");
    let log = std::fs::read_dir(&version).unwrap().map(|e| e.unwrap().path());
    let log = log.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("log.")).max().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[300] ^= 0x40;
    std::fs::write(&log, bytes).unwrap();
    trio.start(2);
    trio.leader();
    agree(&trio, &[1, 2, 3]);
    has(&mut trio.client(2), "/n49", b"some data");
    let aside = trio.server(2).dir.join("damaged-1");
    let aside_too = version.join("damaged-1");
    assert!(aside.exists() || aside_too.exists(), "what was damaged is kept");
    // It is whole again: with one other server it makes a majority, also after a restart.
    trio.stop(2);
    trio.stop(3);
    trio.start(2);
    trio.leader();
    has(&mut trio.client(2), "/n49", b"some data");
}

#[test]
fn the_servers_move_to_a_file_of_their_own() {
    logs();
    let mut trio = Trio::new(3, 0, "reconfigEnabled=true\n");
    for sid in 1..=3 {
        let path = trio.root().join(format!("zoo{sid}.cfg"));
        std::fs::write(&path, trio.zoo_cfg(sid)).unwrap();
        trio.start_with(sid, Config::from_file(&path, &SystemProperties::new()).unwrap());
    }
    trio.leader();
    let path = trio.root().join("zoo1.cfg");
    let dynamic = trio.root().join("zoo1.cfg.dynamic.100000000");
    trio.until("zoo.cfg points to the dynamic file", |_| {
        std::fs::read_to_string(&path).unwrap().contains("dynamicConfigFile=")
    });
    let text = std::fs::read_to_string(&dynamic).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.starts_with("server.1=127.0.0.1:") && !text.contains("version"), "{text}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("server."));
    assert_eq!(std::fs::read_to_string(trio.root().join("zoo1.cfg.bak")).unwrap(), trio.zoo_cfg(1));
    trio.until("the proposal is forgotten", |trio| !trio.root().join("zoo1.cfg.dynamic.next").exists());
    trio.client(1).call(&create("/a", b"x")).unwrap();
    trio.stop(1);
    trio.start_with(1, Config::from_file(&path, &SystemProperties::new()).unwrap());
    trio.leader();
    has(&mut trio.client(1), "/a", b"x");
}

#[test]
fn nonsense_on_the_ports_between_servers_hurts_nobody() {
    logs();
    let mut trio = Trio::new(3, 0, "");
    trio.start_all();
    let leader = trio.leader();
    let mut client = trio.client(1);
    let packet = |kind: i32, zxid: i64, data: &[u8]| {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(zxid.to_be_bytes());
        bytes.extend((data.len() as i32).to_be_bytes());
        bytes.extend(data);
        bytes.extend((-1i32).to_be_bytes());
        bytes
    };
    let hostile: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 64],
        [&11i32.to_be_bytes()[..], &0i64.to_be_bytes(), &i32::MAX.to_be_bytes()].concat(),
        packet(99, 0, b""),
        packet(11, 0, b"short"),
        packet(3, 7, b""),
        packet(2, 0x7fff_ffff_ffff_ffff, b"junk"),
        packet(1, -1, b"junk"),
        packet(11, -1, &[0xff; 20]),
    ];
    for sid in 1..=3 {
        for port in [trio.server(sid).quorum, trio.server(sid).election] {
            for bytes in &hostile {
                let mut stream = dial(SocketAddr::from(([127, 0, 0, 1], port)));
                stream.write_all(bytes).unwrap();
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
        client.call(&create(&format!("/after-{sid}"), b"x")).unwrap();
    }
    assert_eq!(trio.leader(), leader);
    agree(&trio, &[1, 2, 3]);
}

#[test]
fn one_server_line_may_be_an_ensemble() {
    logs();
    let mut trio = Trio::new(1, 0, "standaloneEnabled=false\n");
    trio.start(1);
    assert_eq!(trio.leader(), 1);
    trio.client(1).call(&create("/a", b"x")).unwrap();
    trio.abort(1);
    trio.start(1);
    trio.leader();
    has(&mut trio.client(1), "/a", b"x");
}

fn reconfig(joining: Option<String>, leaving: Option<&str>) -> Request {
    let leaving = leaving.map(str::to_owned);
    Request::Reconfig { joining, leaving, new_members: None, current_config_id: -1 }
}

#[test]
fn a_server_joins_and_another_leaves_and_ports_move() {
    logs();
    let mut trio = Trio::new(4, 0, "reconfigEnabled=true\nskipACL=yes\n");
    let start = |trio: &mut Trio, sid: i64| {
        let path = trio.root().join(format!("zoo{sid}.cfg"));
        // Three know each other; the fourth knows all.
        let is_known = |line: &&str| sid == 4 || !line.starts_with("server.4=");
        let text: Vec<String> = trio.zoo_cfg(sid).lines().filter(is_known).map(str::to_owned).collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        trio.start_with(sid, Config::from_file(&path, &SystemProperties::new()).unwrap());
    };
    for sid in 1..=3 {
        start(&mut trio, sid);
    }
    let leader = trio.leader();
    let mut client = trio.client(leader);
    client.call(&create("/a", b"x")).unwrap();
    start(&mut trio, 4);
    trio.leader();
    agree(&trio, &[1, 2, 3, 4]);
    let joins = |trio: &Trio, election: u16| {
        let (client, quorum) = (trio.server(4).client, trio.server(4).quorum);
        format!("server.4=127.0.0.1:{quorum}:{election}:participant;{client}")
    };
    let election = trio.server(4).election;
    client.call(&reconfig(Some(joins(&trio, election)), None)).unwrap();
    let conf = |trio: &Trio, sid: i64| word(trio.server(sid).client, "conf");
    for sid in 1..=4 {
        trio.until("everybody knows the fourth", |trio| conf(trio, sid).contains("\nserver.4=127.0.0.1:"));
    }
    trio.until("it votes", |trio| word(trio.server(4).client, "mntr").contains("zk_quorum_size\t4\n"));
    let path = trio.root().join("zoo2.cfg");
    trio.until("zoo.cfg points to the newest file", |_| {
        let text = std::fs::read_to_string(&path).unwrap();
        let dynamic = text.lines().find_map(|l| l.strip_prefix("dynamicConfigFile=")).unwrap_or_default();
        std::fs::read_to_string(dynamic).is_ok_and(|text| text.contains("server.4="))
    });

    let moved = trio::free_port();
    client.call(&reconfig(Some(joins(&trio, moved)), None)).unwrap();
    trio.until("the election port moves", |_| {
        std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], moved))).is_ok()
    });
    assert!(std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], election))).is_err());

    let leaving = if leader == 1 { "2" } else { "1" };
    client.call(&reconfig(None, Some(leaving))).unwrap();
    trio.until("three are left", |trio| {
        word(trio.server(leader).client, "mntr").contains("zk_quorum_size\t3\n")
    });
    client.call(&create("/b", b"y")).unwrap();
    let mut fourth = trio.client(4);
    has(&mut fourth, "/b", b"y");
}

#[test]
fn readers_are_served_without_a_majority_if_they_ask_for_it() {
    logs();
    let mut trio = Trio::new(3, 0, "readonlymode.enabled=true\n4lw.commands.whitelist=*\n");
    trio.start_all();
    let leader = trio.leader();
    trio.client(1).call(&create("/a", b"x")).unwrap();
    agree(&trio, &[1, 2, 3]);
    let kept = if leader == 1 { 2 } else { 1 };
    for sid in (1..=3).filter(|sid| *sid != kept) {
        trio.stop(sid);
    }
    trio.until("read-only", |trio| trio.mode(kept).as_deref() == Some("read-only"));
    let ask = |w: &str| word(trio.server(kept).client, w);
    assert_eq!(ask("isro"), "ro");
    assert!(ask("srvr").contains("\nREAD-ONLY mode; serving only read-only clients\n"));
    let mut reader = Client::read_only(trio.server(kept).client);
    has(&mut reader, "/a", b"x");
    assert!(reader.call(&create("/b", b"")).is_err());
    for sid in (1..=3).filter(|sid| *sid != kept) {
        trio.start(sid);
    }
    trio.leader();
    trio.client(kept).call(&create("/b", b"")).unwrap();
}

#[test]
fn a_leader_may_be_told_to_serve_nobody() {
    logs();
    let mut trio = Trio::new(3, 0, "leaderServes=no\n");
    trio.start_all();
    trio.until("two serve", |trio| (1..=3).filter(|sid| trio.mode(*sid).is_some()).count() == 2);
    let follower = (1..=3).find(|sid| trio.mode(*sid).is_some()).unwrap();
    trio.client(follower).call(&create("/a", b"x")).unwrap();
    let leader = (1..=3).find(|sid| trio.mode(*sid).is_none()).unwrap();
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    assert_eq!(word(trio.server(leader).client, "srvr"), not_serving);
    assert!(Client::try_connect(trio.server(leader).client).is_err());
}

/// Each server in turn, as an upgrade does it: clients of the others go on, those of the restarted one come back.
#[test]
fn servers_are_restarted_in_turn() {
    logs();
    let mut trio = Trio::new(3, 0, "");
    trio.start_all();
    trio.leader();
    for sid in 1..=3 {
        let elsewhere = sid % 3 + 1;
        let mut client = trio.client(sid);
        let (session, passwd) = (client.session.session_id, client.session.passwd.clone());
        client.call(&create_with(&format!("/mine-{sid}"), b"", 1)).unwrap();
        trio.stop(sid);
        trio.leader();
        let mut moved = Client::renew(trio.server(elsewhere).client, session, &passwd);
        assert_eq!(moved.session.session_id, session, "the session moves");
        has(&mut moved, &format!("/mine-{sid}"), b"");
        trio.start(sid);
        trio.leader();
    }
    agree(&trio, &[1, 2, 3]);
}

/// Writes go on while a snapshot and what follows it are sent.
#[test]
fn an_empty_server_joins_under_load() {
    logs();
    let mut trio = Trio::new(3, 0, "4lw.commands.whitelist=*\nsnapCount=500\ncommitLogCount=50\n");
    trio.start(1);
    trio.start(2);
    let leader = trio.leader();
    let mut client = trio.client(leader);
    for n in 0..500 {
        client.call(&create(&format!("/n{n}"), &[7; 3000])).unwrap();
    }
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let mut client = trio.client(1);
        let stop = &stop;
        let writer = scope.spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                client.call(&create(&format!("/w{n}"), b"under load")).unwrap();
                client.call(&Request::Delete { path: format!("/n{}", n % 500), version: -1 }).ok();
                n += 1;
            }
            n
        });
        trio.start(3);
        trio.until("it follows", |trio| trio.mode(3).as_deref() == Some("follower"));
        trio.abort(3);
        trio.start(3);
        trio.until("it follows again", |trio| trio.mode(3).as_deref() == Some("follower"));
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    agree(&trio, &[1, 2, 3]);
    has(&mut trio.client(3), &format!("/w{}", written - 1), b"under load");
    // Digests of the same moments are the same on all servers.
    for _ in 0..300 {
        client.call(&create_with("/s-", b"", 2)).unwrap();
    }
    agree(&trio, &[1, 2, 3]);
    let digests = |sid: i64| {
        let text = word(trio.server(sid).client, "hash");
        text.lines().map(str::to_owned).rev().take(2).collect::<Vec<_>>()
    };
    assert!(
        digests(3).len() == 2 && digests(1) == digests(3) && digests(2) == digests(3),
        "{:?}",
        digests(3)
    );
}

#[test]
fn an_empty_database_is_one_only_if_the_operator_says_so() {
    logs();
    let mut trio = Trio::new(3, 0, "db.autocreate=false\n");
    for sid in 1..=3 {
        std::fs::write(trio.server(sid).dir.join("initialize"), "").unwrap();
        trio.start(sid);
    }
    trio.leader();
    trio.client(1).call(&create("/a", b"x")).unwrap();
    agree(&trio, &[1, 2, 3]);
    trio.stop(2);
    std::fs::remove_dir_all(trio.server(2).dir.join("version-2")).unwrap();
    let other = if trio.leader() == 1 { 3 } else { 1 };
    trio.stop(other);
    // One with a history and one without are no majority: the leader is found when the third is back.
    trio.start(2);
    trio.start(other);
    trio.leader();
    has(&mut trio.client(2), "/a", b"x");
}
