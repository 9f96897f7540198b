//! Down-conversion for old fetchers.

use super::*;
use crate::records::legacy::for_each_message;
use crate::records::{BatchBuilder, BatchOptions};

type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn v2(options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    builder.append(100, Some(b"k0"), Some(b"v0"), &[(b"h", Some(b"x"))]).unwrap();
    builder.append(300, None, Some(b"v1"), &[]).unwrap();
    builder.append(200, Some(b""), None, &[]).unwrap();
    builder.finish().unwrap()
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let mut reader = RecordReader::new(1 << 20);
    let mut iter = BatchIter::new(bytes);
    let mut all = Vec::new();
    for batch in iter.by_ref() {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        all.extend(
            reader
                .collect(&batch, |r| {
                    (r.offset, r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec))
                })
                .unwrap(),
        );
    }
    assert!(iter.remaining().is_empty());
    all
}

fn expected(base: i64, timestamps: [i64; 3]) -> Vec<Row> {
    vec![
        (base, timestamps[0], Some(b"k0".to_vec()), Some(b"v0".to_vec())),
        (base + 1, timestamps[1], None, Some(b"v1".to_vec())),
        (base + 2, timestamps[2], Some(Vec::new()), None),
    ]
}

#[test]
fn every_codec_but_zstd_reaches_both_old_formats() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let batch = v2(BatchOptions { base_offset: 50, compression, ..BatchOptions::default() });
        for magic in [0, 1] {
            let old = down_convert(&batch, magic, 0, &mut RecordReader::new(1 << 20)).unwrap();
            let first = BatchIter::new(&old).next().unwrap().unwrap();
            assert_eq!((first.magic(), first.compression()), (magic, Some(compression)));
            let timestamps = if magic == 0 { [-1; 3] } else { [100, 300, 200] };
            assert_eq!(rows(&old), expected(50, timestamps), "{compression:?} to magic {magic}");
            if compression != Compression::None {
                assert_eq!(first.last_offset(), 52, "a wrapper carries the last offset");
                assert_eq!(first.max_timestamp(), if magic == 0 { -1 } else { 300 });
            }
        }
    }
}

#[test]
fn inner_offsets_are_relative_in_magic_1_and_absolute_in_magic_0() {
    let batch =
        v2(BatchOptions { base_offset: 50, compression: Compression::Gzip, ..BatchOptions::default() });
    for (magic, inner) in [(0, vec![50, 51, 52]), (1, vec![0, 1, 2])] {
        let old = down_convert(&batch, magic, 0, &mut RecordReader::new(1 << 20)).unwrap();
        let wrapper = BatchIter::new(&old).next().unwrap().unwrap();
        let mut seen = Vec::new();
        for_each_message(&wrapper, 1 << 20, &mut Vec::new(), &mut |m| {
            m.entry.check_crc()?;
            seen.push(m.entry.last_offset());
            Ok::<_, RecordsError>(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!(seen, inner);
    }
}

#[test]
fn append_time_becomes_the_time_of_every_message() {
    for compression in [Compression::None, Compression::Lz4] {
        let batch = v2(BatchOptions { compression, log_append_time: Some(999), ..BatchOptions::default() });
        let old = down_convert(&batch, 1, 0, &mut RecordReader::new(1 << 20)).unwrap();
        assert_eq!(
            BatchIter::new(&old).next().unwrap().unwrap().timestamp_type(),
            TimestampType::LogAppendTime
        );
        assert_eq!(rows(&old), expected(0, [999; 3]));
    }
}

#[test]
fn control_batches_vanish_and_older_messages_are_left_out_when_uncompressed() {
    let marker = crate::records::builder::end_transaction_marker(3, 5, 9, 0, true, 1).unwrap();
    let run =
        [v2(BatchOptions::default()), marker, v2(BatchOptions { base_offset: 4, ..BatchOptions::default() })]
            .concat();
    let old = down_convert(&run, 1, 2, &mut RecordReader::new(1 << 20)).unwrap();
    assert_eq!(rows(&old).iter().map(|r| r.0).collect::<Vec<_>>(), [2, 4, 5, 6]);
}

#[test]
fn zstd_is_refused_with_its_own_code() {
    let batch = v2(BatchOptions { compression: Compression::Zstd, ..BatchOptions::default() });
    assert_eq!(down_convert(&batch, 1, 0, &mut RecordReader::new(1 << 20)).unwrap_err().error_code(), 76);
}

#[test]
fn what_lies_before_a_zstd_batch_is_converted() {
    let first = v2(BatchOptions { base_offset: 50, ..BatchOptions::default() });
    let zstd =
        v2(BatchOptions { base_offset: 53, compression: Compression::Zstd, ..BatchOptions::default() });
    let both = [first, zstd].concat();
    let old = down_convert(&both, 1, 50, &mut RecordReader::new(1 << 20)).unwrap();
    assert_eq!(rows(&old), expected(50, [100, 300, 200]));
}
