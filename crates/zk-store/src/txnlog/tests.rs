//! The log against damage of every kind.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::testing::{options, payload, payload_of, read_all, write_log, zxids};
use super::{TxnLog, TxnLogOptions, TxnLogReader, last_logged_zxid, truncation_steps};
use crate::error::StoreError;
use crate::steps::run_all;

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Adler-32 as RFC 1950 defines it, so that the file's checksums are not judged by the code that made them.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

/// Three transactions in one file without space ahead: the file's bytes and where each entry begins.
fn three_records(dir: &TempDir) -> (PathBuf, Vec<u8>, Vec<u64>) {
    let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
    for zxid in [0x1_0000_0001, 0x1_0000_0002, 0x1_0000_0003] {
        log.append(&payload(zxid)).expect("appended");
    }
    log.sync().expect("synced");
    let path = dir.path().join("log.100000001");
    let bytes = fs::read(&path).expect("read");
    let offsets = read_all(dir.path(), 0).expect("whole").0.iter().map(|r| r.offset).collect();
    (path, bytes, offsets)
}

#[test]
fn a_log_lies_on_disk_as_apache_lays_it() {
    let dir = dir();
    let (_, bytes, offsets) = three_records(&dir);
    let mut expect = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    for zxid in 1..=3u8 {
        let mut entry =
            vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, zxid, 0, 0, 0, 0, 0, 0, 0, 3];
        entry.extend(b"\0\0\0\x05\0\0\0\x02/n\0\0\0\x03ddd\0\0\0\x01");
        expect.extend([0; 4]);
        expect.extend(adler32(&entry).to_be_bytes());
        expect.extend((entry.len() as u32).to_be_bytes());
        expect.extend(entry);
        expect.push(b'B');
    }
    assert_eq!(bytes, expect);
    assert_eq!(offsets, [16, 78, 140]);
}

#[test]
fn space_ahead_is_zeros_and_reads_as_the_end() {
    let dir = dir();
    write_log(dir.path(), 1..=5);
    let bytes = fs::read(dir.path().join("log.1")).expect("read");
    assert_eq!(bytes.len(), 64 << 10);
    let (records, torn) = read_all(dir.path(), 0).expect("whole");
    assert_eq!((records.len(), torn), (5, None));
    let end = records[4].end as usize;
    assert!(bytes[end..].iter().all(|b| *b == 0));
}

#[test]
fn space_ahead_grows_by_whole_steps() {
    let dir = dir();
    let mut log = TxnLog::open(dir.path(), options(16 << 10)).expect("opened");
    let length = || fs::metadata(dir.path().join("log.1")).map(|m| m.len()).unwrap_or(0);
    for (zxid, expect) in [(1, 16 << 10), (2, 32 << 10), (3, 48 << 10), (4, 48 << 10)] {
        log.append(&payload_of(zxid, 10 << 10)).expect("appended");
        log.sync().expect("synced");
        assert_eq!(length(), expect, "after transaction {zxid}");
    }
    log.roll().expect("rolled");
    assert!(length() < 48 << 10, "what was not used is given back");
    assert_eq!(zxids(dir.path(), 0), [1, 2, 3, 4]);
}

/// A flipped bit in the last record reads as a torn tail, before it as corruption at the record's offset.
#[test]
fn a_flipped_bit_anywhere_is_found_where_it_is() {
    let dir = dir();
    let (path, bytes, offsets) = three_records(&dir);
    for at in 16..bytes.len() {
        for bit in [0, 7] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            fs::write(&path, &damaged).expect("written");
            let hit = offsets.iter().rposition(|o| *o <= at as u64).expect("behind the header");
            match (read_all(dir.path(), 0), hit) {
                (Ok((records, Some(torn))), 2) => {
                    assert_eq!((records.len(), torn.offset), (2, offsets[2]), "byte {at} bit {bit}");
                    assert!(torn.arrived, "byte {at} bit {bit}: it was whole before");
                }
                (Err(StoreError::Corrupt { offset, .. }), 0 | 1) => {
                    assert_eq!(offset, offsets[hit], "byte {at} bit {bit}");
                }
                (other, _) => panic!("byte {at} bit {bit}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_gives_the_whole_records_before() {
    let dir = dir();
    let (path, bytes, offsets) = three_records(&dir);
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).expect("written");
        let (records, torn) = read_all(dir.path(), 0).expect("a torn tail is no error");
        let ends: Vec<u64> = offsets[1..].iter().copied().filter(|end| *end <= length as u64).collect();
        assert_eq!(records.len(), ends.len(), "{length} bytes");
        let clean = length as u64 == *ends.last().unwrap_or(&16);
        // Zeros alone may be space ahead: the first four bytes of a checksum always are.
        let only_zeros =
            length > 16 && bytes[*ends.last().unwrap_or(&16) as usize..length].iter().all(|b| *b == 0);
        assert_eq!(torn.is_some(), !clean && !only_zeros, "{length} bytes");
        assert!(torn.is_none_or(|torn| !torn.arrived), "{length} bytes");
    }
}

#[test]
fn a_broken_header_is_named() {
    let dir = dir();
    let (path, bytes, _) = three_records(&dir);
    for (at, offset) in [(0, 0), (3, 0), (7, 4)] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).expect("written");
        let got = read_all(dir.path(), 0);
        assert!(
            matches!(got, Err(StoreError::Corrupt { offset: o, .. }) if o == offset),
            "byte {at}: {got:?}"
        );
    }
}

/// One unsynced write of several blocks, of which one never reached the disk though a later one did.
#[test]
fn a_missing_block_in_the_last_write_is_a_torn_tail() {
    let dir = dir();
    let mut log = TxnLog::open(dir.path(), options(64 << 10)).expect("opened");
    for zxid in 1..=8 {
        log.append(&payload_of(zxid, 2000)).expect("appended");
    }
    log.sync().expect("synced");
    let path = dir.path().join("log.1");
    let whole = fs::read(&path).expect("read");
    let ends: Vec<u64> = read_all(dir.path(), 0).expect("whole").0.iter().map(|r| r.end).collect();
    // The second record ends in the first missing block, the fourth begins before the second one.
    for (block, kept) in [(1, 1), (2, 3)] {
        let mut bytes = whole.clone();
        bytes[block * 4096..(block + 1) * 4096].fill(0);
        fs::write(&path, &bytes).expect("written");
        let (records, torn) = read_all(dir.path(), 0).expect("torn, not corrupt");
        assert_eq!(records.len(), kept);
        let torn = torn.expect("the tail is torn");
        assert_eq!((torn.offset, torn.arrived), (ends[kept - 1], false));
    }
}

/// The last record of one write, of which any sector may be missing; or a bit is wrong though none is.
#[test]
fn a_missing_sector_is_told_from_a_changed_bit() {
    let dir = dir();
    let mut log = TxnLog::open(dir.path(), options(64 << 10)).expect("opened");
    log.append(&payload(1)).and_then(|()| log.append(&payload_of(2, 3000))).expect("appended");
    log.sync().expect("synced");
    let path = dir.path().join("log.1");
    let whole = fs::read(&path).expect("read");
    let last = read_all(dir.path(), 0).expect("whole").0[1].clone();
    let arrived = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        read_all(dir.path(), 0).expect("no corruption").1.expect("torn").arrived
    };
    for sector in last.offset / 512..=(last.end - 1) / 512 {
        let mut bytes = whole.clone();
        let (from, to) = ((sector * 512).max(last.offset), ((sector + 1) * 512).min(last.end));
        bytes[from as usize..to as usize].fill(0);
        assert!(!arrived(&bytes), "sector {sector}");
    }
    for at in (last.offset..last.end).step_by(101) {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 0x10;
        assert!(arrived(&bytes), "byte {at}");
    }
}

/// Zeros in the data of a damaged, acknowledged record must not pass for a missing block.
#[test]
fn damage_near_zeros_in_the_data_is_still_corruption() {
    let dir = dir();
    let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
    let zeros = {
        let mut payload = payload_of(1, 20_000).to_vec();
        payload.iter_mut().filter(|b| **b == b'd').for_each(|b| *b = 0);
        payload
    };
    log.append(&zeros).and_then(|()| log.append(&payload(2))).and_then(|()| log.sync()).expect("written");
    let path = dir.path().join("log.1");
    let whole = fs::read(&path).expect("read");
    for at in (16..whole.len() - 60).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).expect("written");
        let got = read_all(dir.path(), 0);
        assert!(matches!(got, Err(StoreError::Corrupt { offset: 16, .. })), "byte {at}: {got:?}");
    }
}

#[test]
fn zeros_that_are_no_block_are_corruption() {
    let dir = dir();
    let (path, mut bytes, offsets) = three_records(&dir);
    bytes[offsets[1] as usize..offsets[1] as usize + 12].fill(0);
    fs::write(&path, &bytes).expect("written");
    let got = read_all(dir.path(), 0);
    assert!(matches!(got, Err(StoreError::Corrupt { offset, .. }) if offset == offsets[1]), "{got:?}");
}

#[test]
fn a_torn_tail_before_another_file_is_harmless_only_if_nothing_is_missing() {
    let tear = |dir: &TempDir| {
        let path = dir.path().join("log.1");
        let end = read_all(dir.path(), 0).expect("whole").0[2].end as usize;
        let mut bytes = fs::read(&path).expect("read");
        bytes[end..end + 20].fill(7);
        fs::write(&path, bytes).expect("written");
    };
    let continued = dir();
    write_log(continued.path(), 1..=3);
    tear(&continued);
    write_log(continued.path(), 4..=5);
    assert_eq!(zxids(continued.path(), 0), [1, 2, 3, 4, 5]);

    let broken = dir();
    write_log(broken.path(), 1..=3);
    tear(&broken);
    write_log(broken.path(), 5..=6);
    assert!(matches!(read_all(broken.path(), 0), Err(StoreError::Corrupt { .. })));
}

#[test]
fn missing_transactions_are_refused_unless_accepted() {
    let dir = dir();
    write_log(dir.path(), 1..=3);
    write_log(dir.path(), 7..=8);
    let got = read_all(dir.path(), 0);
    assert!(matches!(got, Err(StoreError::Gap { after: 3, found: 7, .. })), "{got:?}");
    let mut reader = TxnLogReader::open(dir.path(), 0).expect("opened").accept_gaps(true);
    let mut seen = Vec::new();
    while let Some(record) = reader.next_record().expect("gaps are accepted") {
        seen.push(record.zxid);
    }
    assert_eq!(seen, [1, 2, 3, 7, 8]);
}

#[test]
fn a_new_epoch_is_no_gap() {
    let dir = dir();
    write_log(dir.path(), [0x1_0000_0001, 0x1_0000_0002]);
    write_log(dir.path(), [0x3_0000_0001]);
    assert_eq!(zxids(dir.path(), 0x1_0000_0002), [0x1_0000_0002, 0x3_0000_0001]);
    assert_eq!(last_logged_zxid(dir.path()).expect("readable"), Some(0x3_0000_0001));
}

#[test]
fn reading_begins_in_the_file_that_may_hold_the_transaction() {
    let dir = dir();
    write_log(dir.path(), 1..=3);
    write_log(dir.path(), 4..=6);
    write_log(dir.path(), 7..=9);
    for from in 1..=10 {
        assert_eq!(zxids(dir.path(), from), (from..=9).collect::<Vec<_>>(), "from {from}");
    }
}

#[test]
fn a_full_file_makes_way_for_the_next() {
    let dir = dir();
    let limited = TxnLogOptions { size_limit_bytes: Some(100), ..options(4096) };
    let mut log = TxnLog::open(dir.path(), limited).expect("opened");
    for zxid in 1..=5 {
        log.append(&payload(zxid)).expect("appended");
        log.sync().expect("synced");
    }
    let names: Vec<_> =
        crate::names::list_logs(dir.path()).expect("listed").into_iter().map(|l| l.zxid).collect();
    assert_eq!(names, [1, 3, 5]);
    assert_eq!(zxids(dir.path(), 0), [1, 2, 3, 4, 5]);
}

#[test]
fn truncation_keeps_everything_up_to_the_zxid() {
    for keep in 0..=9 {
        let dir = dir();
        write_log(dir.path(), 1..=3);
        write_log(dir.path(), 4..=6);
        write_log(dir.path(), 7..=9);
        run_all(&truncation_steps(dir.path(), keep).expect("planned")).expect("truncated");
        assert_eq!(zxids(dir.path(), 0), (1..=keep).collect::<Vec<_>>());
        write_log(dir.path(), keep + 1..=keep + 2);
        assert_eq!(zxids(dir.path(), 0), (1..=keep + 2).collect::<Vec<_>>());
    }
}

#[test]
fn a_file_with_transactions_is_never_begun_again() {
    let dir = dir();
    write_log(dir.path(), 1..=2);
    let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
    assert!(matches!(log.append(&payload(1)), Err(StoreError::Io { .. })));
    assert!(matches!(log.append(&payload(2)), Err(StoreError::Poisoned(_))));
    fs::write(dir.path().join("log.5"), b"ZK").expect("written");
    let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
    log.append(&payload(5)).and_then(|()| log.sync()).expect("the file held nothing");
}

#[test]
fn what_is_no_transaction_or_out_of_order_is_not_logged() {
    let dir = dir();
    let mut log = TxnLog::open(dir.path(), options(0)).expect("opened");
    assert!(matches!(log.append(b"short"), Err(StoreError::NotATransaction(_))));
    log.append(&payload(2)).expect("appended");
    assert!(matches!(log.append(&payload(2)), Err(StoreError::NotATransaction(_))));
    log.append(&payload(3)).expect("the refusal harmed nothing");
    assert_eq!(log.sync().expect("synced").durable_zxid, Some(3));
}
