//! Headers: golden bytes, lying sizes, sequence arithmetic.

use super::*;

fn header() -> BatchHeader {
    BatchHeader {
        base_offset: 42,
        batch_length: 49,
        partition_leader_epoch: 3,
        crc: 0,
        attributes: BatchHeader::make_attributes(Compression::Lz4, TimestampType::LogAppendTime, true, false),
        last_offset_delta: 4,
        base_timestamp: 1_000,
        max_timestamp: 2_000,
        producer_id: 7,
        producer_epoch: 1,
        base_sequence: i32::MAX - 1,
        records_count: 5,
    }
}

fn batch_bytes() -> Vec<u8> {
    let mut bytes = vec![0; BATCH_OVERHEAD];
    header().write(&mut bytes);
    write_crc(&mut bytes);
    bytes
}

#[test]
fn a_header_survives_a_round_trip_and_its_accessors_agree() {
    let bytes = batch_bytes();
    let parsed = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(BatchHeader { crc: 0, ..parsed }, header());
    assert_eq!(parsed.size_bytes(), 61);
    assert_eq!((parsed.last_offset(), parsed.next_offset()), (46, 47));
    assert_eq!(parsed.compression(), Some(Compression::Lz4));
    assert_eq!(parsed.timestamp_type(), TimestampType::LogAppendTime);
    assert!(parsed.is_transactional() && !parsed.is_control());
    assert_eq!(parsed.last_sequence(), 2, "sequences wrap from 2^31-1 to 0");
}

#[test]
fn the_checksum_covers_attributes_to_end_but_not_offset_and_epoch() {
    let mut bytes = batch_bytes();
    set_assigned(&mut bytes, 99, 12);
    let batch = Batch::parse_first(&bytes).unwrap().unwrap();
    batch.check_crc().unwrap();
    assert_eq!((batch.base_offset(), batch.partition_leader_epoch()), (Some(99), 12));
    assert_eq!(batch.v2().unwrap().assigned_prefix(99, 12), bytes[..16]);
    bytes[60] ^= 1;
    let error = Batch::parse_first(&bytes).unwrap().unwrap().check_crc().unwrap_err();
    assert_eq!(error.error_code(), 2);
}

#[test]
fn changing_the_timestamp_type_recomputes_the_checksum() {
    let mut bytes = batch_bytes();
    set_max_timestamp(&mut bytes, TimestampType::CreateTime, 5);
    let batch = Batch::parse_first(&bytes).unwrap().unwrap();
    batch.check_crc().unwrap();
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::CreateTime, 5));
}

#[test]
fn iteration_ends_before_an_incomplete_entry_and_says_where() {
    let one = batch_bytes();
    let mut run = [one.clone(), one.clone()].concat();
    run.extend_from_slice(&one[..30]);
    let mut iter = BatchIter::new(&run);
    assert_eq!(iter.by_ref().map(|b| b.unwrap().last_offset()).collect::<Vec<_>>(), [46, 46]);
    assert_eq!(iter.valid_bytes(), 122);
    assert_eq!(iter.remaining().len(), 30);
}

#[test]
fn lying_sizes_and_magics_are_refused_once() {
    let mut short = batch_bytes();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert!(matches!(BatchIter::new(&short).next(), Some(Err(RecordsError::InvalidSize { size: 48, .. }))));
    let mut negative = batch_bytes();
    negative[8..12].copy_from_slice(&(-1i32).to_be_bytes());
    let mut iter = BatchIter::new(&negative);
    assert!(matches!(iter.next(), Some(Err(RecordsError::InvalidSize { size: -1, .. }))));
    assert!(iter.next().is_none());
    let mut magic = batch_bytes();
    magic[MAGIC_OFFSET] = 3;
    assert!(matches!(
        BatchIter::new(&magic).next(),
        Some(Err(RecordsError::UnsupportedMagic { magic: 3, .. }))
    ));
}

#[test]
fn legacy_entries_are_read_through_the_same_iterator() {
    let mut entry = Vec::new();
    entry.extend_from_slice(&9i64.to_be_bytes());
    entry.extend_from_slice(&22i32.to_be_bytes());
    let mut body = vec![1u8, 0x08];
    body.extend_from_slice(&777i64.to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes());
    entry.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    entry.extend_from_slice(&body);
    let batch = BatchIter::new(&entry).next().unwrap().unwrap();
    batch.check_crc().unwrap();
    assert_eq!(
        (batch.magic(), batch.last_offset(), batch.base_offset(), batch.max_timestamp()),
        (1, 9, Some(9), 777)
    );
    assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((batch.producer_id(), batch.partition_leader_epoch(), batch.records_count()), (-1, -1, None));
}

#[test]
fn extreme_fields_do_not_overflow() {
    let mut h = header();
    h.base_offset = i64::MAX;
    h.last_offset_delta = i32::MIN;
    h.base_sequence = i32::MIN;
    assert!(h.last_offset() < i64::MAX);
    let _ = h.last_sequence();
    h.last_offset_delta = i32::MAX;
    assert_eq!(h.next_offset(), i64::MAX);
    assert_eq!(decrement_sequence(1, 3), i32::MAX - 1);
}
