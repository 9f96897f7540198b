//! What was acknowledged is there after a crash, a stop, and a snapshot.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use support::{Client, create, create_with, data, get, serve};
use zk_proto::{ErrorCode, Request, Response};

fn files(dir: &Path, prefix: &str) -> usize {
    let entries = fs::read_dir(dir.join("version-2")).unwrap();
    entries.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(prefix)).count()
}

#[test]
fn everything_acknowledged_survives_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..4 {
        let server = serve(dir.path(), "");
        let mut client = Client::connect(server.address());
        for (path, value) in &expected {
            assert_eq!(&data(client.call(&get(path))), value, "round {round}");
        }
        for n in 0..20 {
            let (path, value) = (format!("/r{round}-{n}"), vec![n; 50]);
            client.call(&create(&path, &value)).unwrap();
            expected.push((path, value));
        }
        for n in 0..50 {
            // On their way when the server goes; they may be there or not.
            client.send(&create(&format!("/lost{round}-{n}"), b""));
        }
        server.abort();
    }
}

#[test]
fn a_stop_answers_what_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    let mut client = Client::connect(server.address());
    let request = create("/a", b"x");
    client.send(&request);
    let answered = client.receive(&request).unwrap();
    server.stop();
    server.wait().unwrap();
    assert!(answered.is_ok());
    let server = serve(dir.path(), "");
    assert_eq!(data(Client::connect(server.address()).call(&get("/a"))), b"x");
}

#[test]
fn a_session_and_its_ephemerals_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    let mut client = Client::connect(server.address());
    client.call(&create_with("/e", b"", 1)).unwrap();
    server.abort();
    let server = serve(dir.path(), "");
    let mut again = Client::renew(server.address(), client.session.session_id, &client.session.passwd);
    assert_eq!(again.session.session_id, client.session.session_id);
    assert!(again.call(&get("/e")).is_ok());
    again.call(&Request::CloseSession).unwrap();
    let mut other = Client::connect(server.address());
    assert_eq!(other.call(&get("/e")), Err(ErrorCode::NoNode));
}

#[test]
fn snapshots_are_taken_while_serving_and_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "snapCount=40\n");
    let mut client = Client::connect(server.address());
    let mut made = 0;
    while files(dir.path(), "snapshot.") < 4 {
        client.call(&create(&format!("/n{made}"), b"v")).unwrap();
        made += 1;
        assert!(made < 100_000, "no snapshots are taken");
    }
    server.stop();
    server.wait().unwrap();
    // The first snapshot is older than any log; the last one's log begins with the next transaction.
    assert!(files(dir.path(), "log.") >= 3);
    let server = serve(dir.path(), "");
    let mut client = Client::connect(server.address());
    let root = client.call(&Request::GetChildren { path: "/".into(), watch: false });
    let Ok(Response::Children { children }) = root else { panic!("{root:?}") };
    assert_eq!(children.len(), made + 1);
}

/// The thread that writes a snapshot holds the directory too, and must be gone when the server says it has ended.
#[test]
fn a_server_that_ends_amid_snapshots_leaves_its_directory_free() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..30 {
        let server = serve(dir.path(), "snapCount=2\n");
        let mut client = Client::connect(server.address());
        for n in 0..10 {
            client.call(&create(&format!("/r{round}-{n}"), b"v")).unwrap();
        }
        server.stop();
        server.wait().unwrap();
    }
}

#[test]
fn autopurge_keeps_the_newest_snapshots_and_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(
        dir.path(),
        "snapCount=20
",
    );
    let mut client = Client::connect(server.address());
    let mut made = 0;
    while files(dir.path(), "snapshot.") < 5 {
        client.call(&create(&format!("/n{made}"), b"v")).unwrap();
        made += 1;
        assert!(made < 100_000, "no snapshots are taken");
    }
    server.stop();
    server.wait().unwrap();
    let server = serve(dir.path(), "autopurge.purgeInterval=1\n");
    // The purge runs beside the requests; each of these waits for the server.
    let mut client = Client::connect(server.address());
    let purged = (0..100_000).any(|_| {
        client.call(&get("/n0")).unwrap();
        files(dir.path(), "snapshot.") == 3
    });
    assert!(purged);
    server.abort();
    let server = serve(dir.path(), "");
    let last = get(&format!("/n{}", made - 1));
    assert_eq!(data(Client::connect(server.address()).call(&last)), b"v");
}

#[test]
fn the_first_start_leaves_a_snapshot_beside_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    Client::connect(server.address());
    server.abort();
    assert_eq!((files(dir.path(), "snapshot."), files(dir.path(), "log.")), (1, 1));
}

#[test]
fn logs_and_snapshots_may_lie_apart() {
    let (dir, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let more = format!("dataLogDir={}\n", logs.path().display());
    let server = serve(dir.path(), &more);
    Client::connect(server.address()).call(&create("/a", b"x")).unwrap();
    server.abort();
    assert_eq!((files(dir.path(), "log."), files(logs.path(), "log.")), (0, 1));
    let server = serve(dir.path(), &more);
    assert_eq!(data(Client::connect(server.address()).call(&get("/a"))), b"x");
}
