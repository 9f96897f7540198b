//! Produce rules, batch by batch.

use super::*;
use crate::records::batch::{BATCH_OVERHEAD, write_crc};
use crate::records::legacy::MessageSetBuilder;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;
const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn options() -> ValidateOptions<'static> {
    ValidateOptions {
        topic: "t",
        partition: 0,
        now_ms: NOW,
        origin: Origin::Client,
        compacted: false,
        compression: TargetCompression::Producer,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        message_bytes_max: 1 << 20,
    }
}

/// Timestamp, key, value.
type Row<'a> = (i64, Option<&'a [u8]>, &'a [u8]);

fn batch_with(options: BatchOptions, records: &[Row<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (timestamp, key, value) in records {
        builder.append(*timestamp, *key, Some(value), &[(b"h", None)]).unwrap();
    }
    builder.finish().unwrap()
}

fn batch(compression: Compression) -> Vec<u8> {
    batch_with(
        BatchOptions { compression, ..BatchOptions::default() },
        &[(NOW, Some(b"a"), b"1"), (NOW + 5, None, b"2"), (NOW + 1, Some(b""), b"")],
    )
}

fn run<'a>(records: &'a [u8], options: &ValidateOptions<'_>) -> Result<Validated<'a>, ValidateError> {
    validate(records, options, &mut RecordReader::new(1 << 22)).map(|v| v.expect("there is a batch"))
}

fn values(bytes: &[u8]) -> Vec<(i64, i64, Option<Vec<u8>>, usize)> {
    let batch = Batch::parse_first(bytes).unwrap().unwrap();
    assert_eq!(batch.size_bytes(), bytes.len());
    batch.check_crc().unwrap();
    RecordReader::new(1 << 22)
        .collect(&batch, |r| (r.offset, r.timestamp, r.key.map(<[u8]>::to_vec), r.headers.len()))
        .unwrap()
}

/// Changes one header field of a batch and makes the checksum right again.
fn edited(mut bytes: Vec<u8>, at: usize, field: &[u8]) -> Vec<u8> {
    bytes[at..at + field.len()].copy_from_slice(field);
    write_crc(&mut bytes);
    bytes
}

#[test]
fn a_good_batch_is_kept_as_it_is_with_every_codec() {
    for codec in ALL {
        let bytes = batch(codec);
        let validated = run(&bytes, &options()).unwrap();
        assert!(matches!(validated.batch, Cow::Borrowed(_)), "{codec:?}");
        assert_eq!(validated.header.max_timestamp, NOW + 5);
        assert_eq!(validated.offset_delta_of_max_timestamp(), Some(2));
        assert_eq!(validated.source_compression, codec);
    }
}

#[test]
fn a_topic_codec_recompresses_and_keeps_every_record() {
    for from in ALL {
        for to in ALL {
            let bytes = batch(from);
            let validated =
                run(&bytes, &ValidateOptions { compression: TargetCompression::Codec(to), ..options() })
                    .unwrap();
            assert_eq!(validated.rebuilt, from != to);
            assert_eq!(validated.header.compression(), Some(to));
            assert_eq!(values(&validated.batch), values(&bytes), "{from:?} to {to:?}");
        }
    }
}

#[test]
fn append_time_is_stamped_and_the_checksum_follows() {
    for codec in ALL {
        let bytes = batch(codec);
        let validated =
            run(&bytes, &ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..options() })
                .unwrap();
        assert_eq!((validated.header.max_timestamp, validated.log_append_time), (NOW, Some(NOW)));
        assert!(values(&validated.batch).iter().all(|r| r.1 == NOW));
    }
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    let bytes = edited(batch(Compression::None), 35, &7i64.to_be_bytes());
    let validated = run(&bytes, &options()).unwrap();
    assert!(!validated.rebuilt);
    assert_eq!(validated.header.max_timestamp, NOW + 5);
    values(&validated.batch);
}

#[test]
fn lying_headers_are_invalid_records() {
    let good = || batch(Compression::None);
    for (what, bytes) in [
        ("base offset", edited(good(), 0, &5i64.to_be_bytes())),
        ("negative delta", edited(good(), 23, &(-1i32).to_be_bytes())),
        ("delta beside count", edited(good(), 23, &7i32.to_be_bytes())),
        ("no records", edited(edited(good(), 57, &0i32.to_be_bytes()), 23, &(-1i32).to_be_bytes())),
        ("one record too many", edited(edited(good(), 57, &4i32.to_be_bytes()), 23, &3i32.to_be_bytes())),
        ("one record too few", edited(edited(good(), 57, &2i32.to_be_bytes()), 23, &1i32.to_be_bytes())),
        ("control", edited(good(), 21, &0x20i16.to_be_bytes())),
        ("sequence", edited(good(), 43, &1i64.to_be_bytes())),
    ] {
        let error = run(&bytes, &options()).unwrap_err();
        assert_eq!(error.error_code(), 87, "{what}: {error}");
    }
    let undefined = edited(good(), 21, &5i16.to_be_bytes());
    assert_eq!(run(&undefined, &options()).unwrap_err().error_code(), 76);
    let mut corrupt = good();
    corrupt[BATCH_OVERHEAD] ^= 1;
    assert_eq!(run(&corrupt, &options()).unwrap_err().error_code(), 2);
    let two = [good(), good()].concat();
    assert_eq!(run(&two, &options()).unwrap_err().error_code(), 87);
    let large = ValidateOptions { message_bytes_max: good().len() - 1, ..options() };
    assert_eq!(run(&good(), &large).unwrap_err().error_code(), 10);
}

#[test]
fn null_keys_on_a_compacted_topic_are_named_by_index() {
    for codec in ALL {
        let bytes = batch(codec);
        let error = run(&bytes, &ValidateOptions { compacted: true, ..options() }).unwrap_err();
        assert_eq!(error.error_code(), 87);
        assert_eq!(
            error.record_errors().iter().map(|e| e.index).collect::<Vec<_>>(),
            [1],
            "an empty key is a key"
        );
        assert!(error.record_errors()[0].message.contains("without key in topic partition t-0"));
    }
}

#[test]
fn create_times_too_far_off_are_refused_and_append_time_from_a_producer_too() {
    let limited = ValidateOptions { timestamp_before_max_ms: 10, timestamp_after_max_ms: 3, ..options() };
    let error = run(&batch(Compression::Lz4), &limited).unwrap_err();
    assert_eq!(error.error_code(), 32);
    assert_eq!(error.record_errors().iter().map(|e| e.index).collect::<Vec<_>>(), [1]);
    let stamped =
        batch_with(BatchOptions { log_append_time: Some(5), ..BatchOptions::default() }, &[(5, None, b"")]);
    let append_topic = ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..options() };
    assert_eq!(run(&stamped, &append_topic).unwrap_err().error_code(), 32);
    let untimed = batch_with(BatchOptions::default(), &[(-1, None, b"")]);
    let validated = run(&untimed, &limited).unwrap();
    assert_eq!(validated.offset_delta_of_max_timestamp(), None);
}

#[test]
fn gaps_between_inner_offsets_force_a_rebuild_of_compressed_batches() {
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: Compression::Gzip, ..BatchOptions::default() });
    builder.append_at(0, 1, None, None, &[]).unwrap();
    builder.append_at(3, 1, None, None, &[]).unwrap();
    let bytes = edited(builder.finish().unwrap(), 23, &1i32.to_be_bytes());
    let validated = run(&bytes, &options()).unwrap();
    assert!(validated.rebuilt);
    assert_eq!(values(&validated.batch).iter().map(|r| r.0).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn message_sets_become_one_batch_of_magic_2() {
    for magic in [0, 1] {
        for codec in &ALL[..4] {
            let mut set = MessageSetBuilder::new(magic, *codec, None).unwrap();
            set.append(0, NOW, Some(b"a"), Some(b"1")).unwrap();
            set.append(1, NOW + 7, None, Some(b"2")).unwrap();
            let mut bytes = Vec::new();
            set.finish_into(&mut bytes).unwrap();
            bytes.extend_from_slice(&[0, 0, 0]);
            let validated = run(&bytes, &options()).unwrap();
            let (first, second) = if magic == 0 { (-1, -1) } else { (NOW, NOW + 7) };
            assert_eq!(values(&validated.batch), [(0, first, Some(b"a".to_vec()), 0), (1, second, None, 0)]);
            assert_eq!((validated.header.compression(), validated.rebuilt), (Some(*codec), true));
            assert_eq!(validated.header.max_timestamp, second);
        }
    }
}

#[test]
fn a_wrapper_with_a_corrupt_inner_message_is_refused() {
    let mut inner = Vec::new();
    let mut set = MessageSetBuilder::new(1, Compression::None, None).unwrap();
    set.append(0, NOW, None, Some(b"payload")).unwrap();
    set.finish_into(&mut inner).unwrap();
    let last = inner.len() - 1;
    inner[last] ^= 1;
    let mut gz = Vec::new();
    crate::records::compress::compress(Compression::Gzip, 1, &inner, &mut gz).unwrap();
    let mut wrapper = vec![0u8; 12];
    wrapper[8..12].copy_from_slice(&(22 + gz.len() as i32).to_be_bytes());
    let mut body = vec![1u8, 1];
    body.extend_from_slice(&NOW.to_be_bytes());
    body.extend_from_slice(&(-1i32).to_be_bytes());
    body.extend_from_slice(&(gz.len() as i32).to_be_bytes());
    body.extend_from_slice(&gz);
    wrapper.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    wrapper.extend_from_slice(&body);
    assert_eq!(run(&wrapper, &options()).unwrap_err().error_code(), 2);
}

#[test]
fn the_request_version_limits_format_and_codec() {
    let code = |version, bytes: &[u8]| check_produce_version(version, bytes).map_err(|e| e.error_code());
    assert_eq!(code(2, b""), Ok(()));
    assert_eq!(code(3, b""), Err(87));
    assert_eq!(code(3, &batch(Compression::Lz4)), Ok(()));
    assert_eq!(code(6, &batch(Compression::Zstd)), Err(76));
    assert_eq!(code(7, &batch(Compression::Zstd)), Ok(()));
    assert_eq!(code(9, &[batch(Compression::None), batch(Compression::None)].concat()), Err(87));
    let mut set = Vec::new();
    let mut builder = MessageSetBuilder::new(1, Compression::None, None).unwrap();
    builder.append(0, 0, None, None).unwrap();
    builder.finish_into(&mut set).unwrap();
    assert_eq!(code(3, &set), Err(87));
}

#[test]
fn a_bomb_in_a_batch_is_refused_within_the_reader_s_limit() {
    for codec in &ALL[1..] {
        let bytes = batch_with(
            BatchOptions { compression: *codec, ..BatchOptions::default() },
            &[(NOW, None, &vec![0; 8 << 20])],
        );
        let error = validate(&bytes, &options(), &mut RecordReader::new(1 << 20)).unwrap_err();
        assert_eq!(error.error_code(), 10, "{codec:?}: {error}");
    }
}

#[test]
fn the_coordinator_may_write_control_records_uncompressed() {
    let marker = crate::records::builder::end_transaction_marker(0, NOW, 9, 2, false, 4).unwrap();
    let topic = ValidateOptions {
        origin: Origin::Coordinator,
        compression: TargetCompression::Codec(Compression::Zstd),
        compacted: true,
        ..options()
    };
    let validated = run(&marker, &topic).unwrap();
    assert!(!validated.rebuilt);
    let batch = Batch::parse_first(&validated.batch).unwrap().unwrap();
    let control =
        RecordReader::new(100).collect(&batch, |r| crate::records::record::ControlRecord::parse(&r)).unwrap();
    assert_eq!(control, [Ok(crate::records::record::ControlRecord::Abort { coordinator_epoch: 4 })]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is built is validated, recompressed to any codec and read back the same.
    #[test]
    fn built_batches_survive(
        rows in prop::collection::vec((0i64..1 << 41, prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), prop::option::of(prop::collection::vec(any::<u8>(), 0..200))), 1..40),
        from in 0usize..5, to in 0usize..5,
    ) {
        let mut builder = BatchBuilder::new(BatchOptions { compression: ALL[from], producer_id: 4, producer_epoch: 0, base_sequence: 9, ..BatchOptions::default() });
        for (timestamp, key, value) in &rows {
            builder.append(*timestamp, key.as_deref(), value.as_deref(), &[(b"k", value.as_deref())]).unwrap();
        }
        let bytes = builder.finish().unwrap();
        let validated = run(&bytes, &ValidateOptions { compression: TargetCompression::Codec(ALL[to]), ..options() }).unwrap();
        let batch = Batch::parse_first(&validated.batch).unwrap().unwrap();
        let got = RecordReader::new(1 << 22)
            .collect(&batch, |r| {
                let headers: Vec<_> = r.headers.iter().map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))).collect();
                (r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec), headers, r.sequence)
            })
            .unwrap();
        let want: Vec<_> = rows.iter().enumerate()
            .map(|(i, (t, k, v))| (*t, k.clone(), v.clone(), vec![(b"k".to_vec(), v.clone())], 9 + i as i32))
            .collect();
        prop_assert_eq!(got, want);
    }

    /// Hostile bytes with a right checksum never panic, whatever the rules.
    #[test]
    fn mutated_batches_never_panic(
        codec in 0usize..5, magic in 0i8..3, flips in prop::collection::vec((0usize..400, any::<u8>()), 0..6), cut in 0usize..400, compacted: bool,
    ) {
        let mut bytes = Vec::new();
        if magic == 2 {
            bytes = batch(ALL[codec]);
        } else if codec < 4 {
            let mut set = MessageSetBuilder::new(magic, ALL[codec], None).unwrap();
            set.append(0, NOW, Some(b"a"), Some(b"1")).unwrap();
            set.append(1, NOW, None, None).unwrap();
            set.finish_into(&mut bytes).unwrap();
        }
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        }
        bytes.truncate(bytes.len().saturating_sub(cut % 7));
        if bytes.len() > 61 && bytes[16] == 2 {
            write_crc(&mut bytes);
        } else if bytes.len() > 30 {
            let crc = crc32fast::hash(&bytes[16..]);
            bytes[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        let mut reader = RecordReader::new(1 << 16);
        let _ = validate(&bytes, &ValidateOptions { compacted, ..options() }, &mut reader);
        let _ = crate::records::convert::down_convert(&bytes, 0, 0, &mut reader);
    }
}
