//! Streams in every cut, from every hand.

use std::fs;

use super::*;
use crate::snapshot::{Compression, SnapshotTail, SnapshotWriter, encode_node};

const LIMIT: usize = 4096;

fn stat(czxid: i64) -> StatPersisted {
    StatPersisted { czxid, mzxid: czxid, ctime_ms: 5, mtime_ms: 6, version: 1, ..StatPersisted::default() }
}

fn nodes() -> Vec<u8> {
    let mut w = Writer::new();
    encode_node(&mut w, "", Some(b""), -1, &stat(0));
    encode_node(&mut w, "/a", None, 1, &stat(7));
    encode_node(&mut w, "/a/long", Some(&[b'x'; 1000]), -1, &stat(8));
    w.into_vec()
}

fn head() -> Vec<u8> {
    let acl = Acl::read_only();
    stream_head(&[(0x77, 4000), (0x78, 5000)], [(1i64, acl.as_slice()), (2, &[])].into_iter())
}

fn whole() -> Vec<u8> {
    [head(), nodes(), stream_end()].concat()
}

fn parts() -> Vec<SnapshotPart> {
    let node = |path: &str, data: Option<Vec<u8>>, acl, czxid| SnapshotPart::Node {
        path: path.into(),
        data: data.map(Bytes::from),
        acl,
        stat: stat(czxid),
    };
    vec![
        SnapshotPart::Session { id: 0x77, timeout_ms: 4000 },
        SnapshotPart::Session { id: 0x78, timeout_ms: 5000 },
        SnapshotPart::Acl { id: 1, list: Acl::read_only() },
        SnapshotPart::Acl { id: 2, list: vec![] },
        node("", Some(vec![]), -1, 0),
        node("/a", None, 1, 7),
        node("/a/long", Some(vec![b'x'; 1000]), -1, 8),
    ]
}

/// Pushes `bytes` in pieces of `piece` bytes; what came out, and what was left behind the stream's end.
fn push_all(bytes: &[u8], piece: usize) -> Result<(Vec<SnapshotPart>, Option<Vec<u8>>), StreamError> {
    let mut stream = SnapshotStream::new(LIMIT);
    let (mut got, mut behind) = (Vec::new(), None);
    for piece in bytes.chunks(piece) {
        let rest = stream.push(piece, &mut |part| {
            got.push(part);
            Ok(())
        })?;
        if let Some(rest) = rest {
            behind.get_or_insert_with(Vec::new).extend_from_slice(rest);
        }
        assert_eq!(behind.is_some(), stream.is_complete());
    }
    Ok((got, behind))
}

#[test]
fn the_parts_come_out_however_the_bytes_are_cut_and_packets_behind_stay() {
    let packets = b"\0\0\0\x0a packets follow";
    let bytes = [&whole()[..], packets].concat();
    for piece in (1..=70).chain([500, 1000, bytes.len() - packets.len(), bytes.len()]) {
        let (got, behind) = push_all(&bytes, piece).expect("a good stream");
        assert_eq!(got, parts(), "{piece}");
        assert_eq!(behind.as_deref(), Some(&packets[..]), "{piece}");
    }
}

#[test]
fn a_stream_that_stops_early_is_never_complete() {
    let bytes = whole();
    for length in 0..bytes.len() {
        let (got, behind) = push_all(&bytes[..length], 64).expect("nothing is wrong so far");
        assert_eq!(behind, None, "{length}");
        assert_eq!(got[..], parts()[..got.len()]);
    }
}

/// The bytes a file holds between header and first seal are the stream's up to the signature.
#[test]
fn it_is_the_body_of_a_snapshot_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let acl = Acl::read_only();
    let acls = [(1i64, acl.as_slice()), (2, &[])].into_iter();
    let sessions = [(0x77, 4000), (0x78, 5000)];
    let mut file = SnapshotWriter::create(dir.path(), 8, Compression::None, &sessions, acls).expect("begun");
    file.nodes(&nodes()).expect("written");
    let file = fs::read(file.finish(SnapshotTail::default()).expect("finished").path).expect("read");
    let stream = whole();
    let (body, signature) = stream.split_at(stream.len() - 14);
    assert_eq!(&file[16..file.len() - 13], body);
    assert_eq!(signature, b"\0\0\0\x0aBenWasHere");
}

#[test]
fn lengths_are_refused_on_their_word() {
    let check = |bytes: Vec<u8>, expect: &str| {
        let error = push_all(&bytes, 1).expect_err("hostile");
        assert!(error.to_string().contains(expect), "{error}");
    };
    let no_parts = stream_head(&[], [].into_iter());
    let after_nodes = |more: &[u8]| [&no_parts[..], more].concat();
    check((-1i32).to_be_bytes().to_vec(), "count -1");
    check([&[0; 4][..], &(-2i32).to_be_bytes()].concat(), "count -2");
    check(after_nodes(&i32::MAX.to_be_bytes()), "a string of 2147483647 bytes");
    check(after_nodes(&(-7i32).to_be_bytes()), "length -7");
    check(after_nodes(&(-1i32).to_be_bytes()), "null");
    check(after_nodes(b"\0\0\0\x02\xff\xff"), "UTF-8");
    check(after_nodes(&[b"\0\0\0\0", &5000i32.to_be_bytes()[..]].concat()), "a node of 5000 bytes");
    check(after_nodes(b"\0\0\0\x01/\0\0\0\x03Ben"), "signature \"Ben\"");
}

#[test]
fn a_list_without_end_is_refused_at_the_limit() {
    let mut w = Writer::new();
    w.i32(0);
    w.i32(1);
    w.i64(1);
    w.i32(i32::MAX);
    for _ in 0..1000 {
        Acl::read_only()[0].encode(&mut w);
    }
    let error = push_all(w.as_slice(), 100).expect_err("hostile");
    assert!(matches!(error, StreamError::TooLarge { what: "an access control list", .. }), "{error}");
}

#[test]
fn a_huge_count_alone_allocates_nothing_and_waits() {
    let mut stream = SnapshotStream::new(LIMIT);
    let count = i32::MAX.to_be_bytes();
    let got = stream.push(&count, &mut |_| Ok(()));
    assert_eq!(got, Ok(None));
    assert!(stream.pending.capacity() < 100);
}

#[test]
fn a_part_the_caller_refuses_ends_the_stream() {
    let mut stream = SnapshotStream::new(LIMIT);
    let bytes = whole();
    let got = stream.push(&bytes, &mut |part| match part {
        SnapshotPart::Node { .. } => Err("no parent".into()),
        _ => Ok(()),
    });
    assert_eq!(got, Err(StreamError::Refused { offset: head().len() as u64, why: "no parent".into() }));
}
