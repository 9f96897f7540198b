//! Starts that fail, clients that misbehave, a disk that fails.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read, Write};

use support::{Client, config, create, create_with, data, dial, get, serve, try_serve, word};
use zk_proto::{ErrorCode, Request};
use zk_server::{ServerError, start};

#[test]
fn a_taken_port_is_one_clear_line() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(one.path(), "");
    let mut config = config(two.path(), "");
    config.client_port = server.address().port();
    let error = start(config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("port {} is taken", server.address().port())), "{error}");
    assert!(error.contains("choose another clientPort") && !error.contains('\n'), "{error}");
}

#[test]
fn a_directory_in_use_is_one_clear_line_and_free_after_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    let error = try_serve(dir.path(), "").unwrap_err().to_string();
    assert!(
        error.contains("in use by another process") && error.contains("choose another dataDir"),
        "{error}"
    );
    server.stop();
    server.wait().unwrap();
    serve(dir.path(), "");
}

#[test]
fn a_directory_that_cannot_be_made_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = try_serve(&file, "").unwrap_err().to_string();
    assert!(error.contains("file") && error.contains("dataDir") && !error.contains('\n'), "{error}");
}

#[test]
fn when_the_log_cannot_be_written_nothing_is_acknowledged_and_the_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    // The first write creates the log file, in a directory that is gone.
    fs::remove_dir_all(dir.path().join("version-2")).unwrap();
    let mut stream = dial(server.address());
    let mut w = zk_proto::Writer::new();
    let at = w.begin_frame();
    let passwd = bytes::Bytes::from_static(&[0; 16]);
    zk_proto::ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 10_000,
        session_id: 0,
        passwd,
        read_only: Some(false),
    }
    .encode(&mut w);
    w.end_frame(at);
    stream.write_all(w.as_slice()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "a session that is not on disk must not be told");
    let error = server.wait().unwrap_err();
    assert!(matches!(&error, ServerError::Log(why) if why.contains("log.")), "{error}");
}

#[test]
fn malformed_bytes_close_their_own_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    let mut good = Client::connect(server.address());
    good.call(&create("/a", b"x")).unwrap();
    let hostile: &[&[u8]] = &[
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\x7f\xff\xff\xff",
        b"\0\x10\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0",
        b"\0\0\0\x05abcde",
        b"\0\0\0\x10\0\x12\0\x03\0\0\0\x01\0\x06client",
    ];
    for bytes in hostile {
        let mut stream = dial(server.address());
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{bytes:?} was answered");
        assert_eq!(data(good.call(&get("/a"))), b"x");
    }
}

#[test]
fn frames_up_to_the_limit_are_taken_and_one_byte_more_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "jute.maxbuffer=100000\n");
    // Header, path, length, one ACL entry and flags around the data.
    let around = 8 + (4 + 2) + 4 + (4 + 4 + 4 + 5 + 4 + 6) + 4;
    let mut client = Client::connect(server.address());
    client.call(&create("/a", &vec![7; 100_000 - around])).unwrap();
    assert_eq!(data(client.call(&get("/a"))).len(), 100_000 - around);
    let request = create("/b", &vec![7; 100_001 - around]);
    client.send(&request);
    assert!(client.receive(&request).is_err(), "closed without an answer");
    assert_eq!(Client::connect(server.address()).call(&get("/b")), Err(ErrorCode::NoNode));
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "");
    let mut good = Client::connect(server.address());
    good.call(&create("/big", &vec![1; 1_000_000])).unwrap();
    let mut deaf = Client::connect(server.address());
    // Far more replies than socket buffers and the bound hold; requests stop being read long before.
    deaf.stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let mut w = zk_proto::Writer::new();
    for xid in 0..2_000 {
        let at = w.begin_frame();
        zk_proto::RequestHeader { xid, op: 4 }.encode(&mut w);
        get("/big").encode(&mut w);
        w.end_frame(at);
    }
    let _ = deaf.stream.write_all(w.as_slice());
    assert_eq!(data(good.call(&get("/big"))).len(), 1_000_000);
    let stat = word(server.address(), "ruok");
    assert_eq!(stat, "imok");
}

#[test]
fn pipelined_requests_come_back_in_order_across_reads_and_pauses() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "globalOutstandingLimit=10\n");
    let mut client = Client::connect(server.address());
    let request = create_with("/s-", b"0123456789", 2);
    for _ in 0..3_000 {
        client.send(&request);
    }
    for n in 0..3_000 {
        let answer = client.receive(&request).unwrap();
        let expect = zk_proto::Response::Path { path: format!("/s-{n:010}") };
        assert_eq!(answer, Ok(expect));
    }
    client.call(&Request::CloseSession).unwrap();
    assert!(client.receive(&request).is_err(), "closed after the answer");
}

#[test]
fn connections_from_one_address_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "maxClientCnxns=2\n");
    let _one = Client::connect(server.address());
    let _two = Client::connect(server.address());
    let mut third = dial(server.address());
    let mut answer = Vec::new();
    let _ = third.read_to_end(&mut answer);
    assert!(answer.is_empty());
}
