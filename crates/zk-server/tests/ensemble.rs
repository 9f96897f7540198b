//! Three servers in one process: they elect, agree, and go on without one of them.

#![allow(clippy::unwrap_used)]

mod support;

use support::trio::Trio;
use support::{Client, create, data, get};

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
