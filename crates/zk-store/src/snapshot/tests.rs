//! Snapshots of every release, whole and damaged.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use zk_proto::{Acl, StatPersisted, Writer};

use super::*;
use crate::error::StoreError;
use crate::names::list_snapshots;

const ZXID: i64 = 0x1_0000_0002;

fn stat(czxid: i64) -> StatPersisted {
    StatPersisted {
        czxid,
        mzxid: czxid,
        ctime_ms: 5,
        mtime_ms: 6,
        version: 1,
        cversion: 2,
        ..StatPersisted::default()
    }
}

fn full_tail() -> SnapshotTail {
    let digest = Some(ZxidDigest { zxid: ZXID, version: 2, digest: 0x51c6_d660 });
    SnapshotTail { digest, last_processed_zxid: Some(ZXID) }
}

fn write(dir: &Path, compression: Compression, tail: SnapshotTail) -> std::path::PathBuf {
    let acl = Acl::read_only();
    let acls = [(1i64, acl.as_slice())];
    let mut w =
        SnapshotWriter::create(dir, ZXID, compression, &[(0x77, 4000)], acls.into_iter()).expect("begun");
    let mut nodes = Writer::new();
    encode_node(&mut nodes, "", Some(b""), -1, &stat(0));
    w.nodes(nodes.as_slice()).expect("written");
    let mut nodes = Writer::new();
    encode_node(&mut nodes, "/a", None, 1, &stat(ZXID));
    w.nodes(nodes.as_slice()).expect("written");
    w.finish(tail).expect("finished").path
}

fn parts() -> Vec<SnapshotPart> {
    let node = |path: &str, data: Option<&'static [u8]>, acl, czxid| SnapshotPart::Node {
        path: path.into(),
        data: data.map(Bytes::from_static),
        acl,
        stat: stat(czxid),
    };
    vec![
        SnapshotPart::Session { id: 0x77, timeout_ms: 4000 },
        SnapshotPart::Acl { id: 1, list: Acl::read_only() },
        node("", Some(b""), -1, 0),
        node("/a", None, 1, ZXID),
    ]
}

fn read(path: &Path) -> Result<(Vec<SnapshotPart>, SnapshotTail), StoreError> {
    let mut parts = Vec::new();
    let tail = read_snapshot(path, &mut |part| {
        parts.push(part);
        Ok(())
    })?;
    Ok((parts, tail))
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

fn seal(bytes: &mut Vec<u8>) {
    let sum = adler32(bytes);
    bytes.extend([0; 4]);
    bytes.extend(sum.to_be_bytes());
    bytes.extend(b"\0\0\0\x01/");
}

/// The layout written out by hand, up to and with the first seal (what 3.5 writes).
fn golden_body() -> Vec<u8> {
    let mut b = b"ZKSN\0\0\0\x02".to_vec();
    b.extend([0xff; 8]);
    b.extend(b"\0\0\0\x01\0\0\0\0\0\0\0\x77\0\0\x0f\xa0");
    b.extend(b"\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone");
    for (head, zxid) in [
        (&b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"[..], 0i64),
        (&b"\0\0\0\x02/a\xff\xff\xff\xff\0\0\0\0\0\0\0\x01"[..], ZXID),
    ] {
        b.extend(head);
        b.extend(zxid.to_be_bytes());
        b.extend(zxid.to_be_bytes());
        b.extend(b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06");
        b.extend(b"\0\0\0\x01\0\0\0\x02\0\0\0\0");
        b.extend([0; 16]);
    }
    b.extend(b"\0\0\0\x01/");
    seal(&mut b);
    b
}

fn golden_3_9() -> Vec<u8> {
    let mut b = golden_body();
    b.extend(ZXID.to_be_bytes());
    b.extend(b"\0\0\0\x02\0\0\0\0\x51\xc6\xd6\x60");
    seal(&mut b);
    b.extend(ZXID.to_be_bytes());
    seal(&mut b);
    b
}

#[test]
fn a_snapshot_lies_on_disk_as_apache_3_9_lays_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = write(dir.path(), Compression::None, full_tail());
    assert_eq!(path.file_name().and_then(|n| n.to_str()), Some("snapshot.100000002"));
    assert_eq!(fs::read(&path).expect("read"), golden_3_9());
}

#[test]
fn every_combination_of_trailers_reads() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for digest in [None, full_tail().digest] {
        for last_processed_zxid in [None, Some(ZXID)] {
            let tail = SnapshotTail { digest, last_processed_zxid };
            let path = write(dir.path(), Compression::None, tail);
            assert_eq!(read(&path).expect("whole"), (parts(), tail));
        }
    }
}

#[test]
fn a_digest_as_text_reads_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("snapshot.1");
    let mut bytes = golden_body();
    bytes.extend(b"\0\0\0\0\0\0\0\x09\0\0\0\x01\0\0\0\x02ff");
    seal(&mut bytes);
    fs::write(&path, bytes).expect("written");
    let (_, tail) = read(&path).expect("whole");
    assert_eq!(tail.digest, Some(ZxidDigest { zxid: 9, version: 1, digest: 0xff }));
}

#[test]
fn compressed_snapshots_read_the_same() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for compression in [Compression::Gzip, Compression::Snappy] {
        let path = write(dir.path(), compression, full_tail());
        assert!(path.to_string_lossy().ends_with(compression.extension()));
        assert!(looks_valid(&path));
        assert_eq!(read(&path).expect("whole"), (parts(), full_tail()), "{compression:?}");
    }
}

/// Under compression some bits change nothing (two ways to say the same); then nothing may change.
#[test]
fn a_flipped_bit_anywhere_is_found_or_harmless() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let path = write(dir.path(), compression, full_tail());
        let bytes = fs::read(&path).expect("read");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).expect("written");
            match read(&path) {
                Err(_) => {}
                Ok(same) => {
                    assert_ne!(compression, Compression::None, "byte {at}");
                    assert_eq!(same, (parts(), full_tail()), "{compression:?} byte {at}");
                }
            }
        }
    }
}

#[test]
fn a_snapshot_cut_anywhere_is_refused_except_where_an_older_release_would_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("snapshot.1");
    let (bytes, body) = (golden_3_9(), golden_body().len());
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).expect("written");
        let older_form = length == body || length == body + 33;
        assert_eq!(read(&path).is_ok(), older_form, "{length} bytes");
    }
}

#[test]
fn an_unfinished_snapshot_is_never_seen() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut w = SnapshotWriter::create(dir.path(), 5, Compression::None, &[], [].into_iter()).expect("begun");
    w.nodes(b"anything").expect("written");
    assert!(list_snapshots(dir.path()).expect("listed").is_empty());
    drop(w);
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
}

#[test]
fn validity_is_seen_from_the_ends() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let check = |name: &str, bytes: &[u8], expect: bool| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        assert_eq!(looks_valid(&path), expect, "{name}");
    };
    check("snapshot.1", &golden_body(), true);
    check("snapshot.2", b"", false);
    check("snapshot.3", &golden_body()[..60], false);
    check("snapshot.4.gz", b"\x1f\x8b", true);
    check("snapshot.5.snappy", &golden_body(), false);
    check("snapshot.6.tmp", &golden_body(), false);
    assert!(!looks_valid(&dir.path().join("snapshot.7")));
}
