//! Batches that Kafka 3.9.1's `MemoryRecordsBuilder` wrote, one per format and codec: read back in full, and where no
//! codec has a say in the bytes, written the same.

use super::batch::Batch;
use super::builder::end_transaction_marker;
use super::convert::down_convert;
use super::legacy::MessageSetBuilder;
use super::{BatchBuilder, BatchOptions, Compression, RecordReader};

const TIME: i64 = 1_700_000_000_000;

const GOLDEN: &[(i8, Compression, &str)] = &[
    (
        0,
        Compression::None,
        "000000000000000a000000252e1b3e930000000000046b6579300000001376616c75652076616c75652076616c75652030000000000000000b000000217995390e0000ffffffff0000001376616c75652076616c75652076616c75652031000000000000000c00000012f12f60680000000000046b657932ffffffff",
    ),
    (
        0,
        Compression::Gzip,
        "000000000000000c00000060759083f70001ffffffff000000521f8b08000000000000ff636000032e2056d593b69b0ce6b164a7561a0069e1b2c49cd2540564d200a29e811b88152ba75af23130fc0702ec8a0da18a798058e8a37e4206dc742390260084d6e8e47c000000",
    ),
    (
        0,
        Compression::Snappy,
        "000000000000000c0000007cd5b0bf890002ffffffff0000006e82534e415050590000000001000000010000005a7c00000901200a000000252e1b3e93050f38046b6579300000001376616c7565202e060001170101380b000000217995390e0000ffffffff562d000031012a640000000c00000012f12f60680000000000046b657932ffffffff",
    ),
    (
        0,
        Compression::Lz4,
        "000000000000000c00000077570762d80003ffffffff0000006904224d1860401a5a00000012000100910a000000252e1b3e930f00f800046b6579300000001376616c7565200600001700000200ff000b000000217995390e0000ffffffff2d000310312a00c10000000c00000012f12f60680e0090046b657932ffffffff00000000",
    ),
    (
        1,
        Compression::None,
        "000000000000000a0000002d566538bd01000000018bcfe56800000000046b6579300000001376616c75652076616c75652076616c75652030000000000000000b00000029389120a701000000018bcfe56864ffffffff0000001376616c75652076616c75652076616c75652031000000000000000c0000001a44f624b501000000018bcfe568c8000000046b657932ffffffff",
    ),
    (
        1,
        Compression::Gzip,
        "000000000000000c000000718afa40f001010000018bcfe568c8ffffffff0000005b1f8b08000000000000ff63608003ddb0548bbd8c400663f7f9a719201196ecd44a03202d5c9698539aaa804c1a403581d46b5a4c54580ed798f21f08b06b32846a62026229976f2a5be19a4e406d3302690600789b92e894000000",
    ),
    (
        1,
        Compression::Snappy,
        "000000000000000c0000008d775ea42c01020000018bcfe568c8ffffffff0000007782534e4150505900000000010000000100000063940100001901342d566538bd01000000018bcfe568011838046b6579300000001376616c7565202e06000117010101301429389120a70111391064ffffffff563500003101322c000000020000001a44f624b5153530c8000000046b657932ffffffff",
    ),
    (
        1,
        Compression::Lz4,
        "000000000000000c0000008bafc9b3a301030000018bcfe568c8ffffffff0000007504224d186040826600000016000100e02d566538bd01000000018bcfe5681800f800046b6579300000001376616c75652006000017000002000030005029389120a709000139005f64ffffffff35000310313200c5000000020000001a44f624b53500d0c8000000046b657932ffffffff00000000",
    ),
    (
        2,
        Compression::None,
        "000000000000000a0000007d0000000802183c9ce50000000000020000018bcfe568000000018bcfe568c8000000000000004d0003000000050000000348000000086b6579302676616c75652076616c75652076616c756520300402680278026e013400c80102012676616c75652076616c75652076616c75652031001600900304086b6579320100",
    ),
    (
        2,
        Compression::Gzip,
        "000000000000000a0000007400000008027019cb150001000000020000018bcfe568000000018bcfe568c8000000000000004d000300000005000000031f8b08000000000000fff3606060e0c84ead34502b4bcc294d5540260d589832982a98f2184d184e303231625161c820c630819905648011230300413d9ad14c000000",
    ),
    (
        2,
        Compression::Snappy,
        "000000000000000a0000007c0000000802316dce260002000000020000018bcfe568000000018bcfe568c8000000000000004d0003000000050000000382534e41505059000000000100000001000000374c3c48000000086b6579302676616c7565202e060038300402680278026e013400c80102014a22003431001600900304086b6579320100",
    ),
    (
        2,
        Compression::Lz4,
        "000000000000000a000000770000000802212f5c370003000000020000018bcfe568000000018bcfe568c8000000000000004d0003000000050000000304224d1860408237000000f80148000000086b6579302676616c7565200600ff00300402680278026e013400c8010201220000e031001600900304086b657932010000000000",
    ),
    (
        2,
        Compression::Zstd,
        "000000000000000a0000007400000008024d8d51930004000000020000018bcfe568000000018bcfe568c8000000000000004d0003000000050000000328b52ffd0058bc0100d40248000000086b6579302676616c756520300402680278026e013400c801020131001600900304086b65793201000200452555b80206010000",
    ),
];

const COMMIT_MARKER: &str = "0000000000000014000000420000000402412a64dd0030000000000000018bcfe568000000018bcfe56800000000000000004d0003ffffffff000000012000000008000000010c00000000000900";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal digits"))
        .collect()
}

/// Timestamp, key, value.
type Row = (i64, Option<&'static [u8]>, Option<&'static [u8]>);

fn rows() -> [Row; 3] {
    [
        (TIME, Some(b"key0"), Some(b"value value value 0")),
        (TIME + 100, None, Some(b"value value value 1")),
        (TIME + 200, Some(b"key2"), None),
    ]
}

fn options() -> BatchOptions {
    BatchOptions {
        base_offset: 10,
        partition_leader_epoch: 8,
        producer_id: 77,
        producer_epoch: 3,
        base_sequence: 5,
        ..BatchOptions::default()
    }
}

fn built(options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (index, (timestamp, key, value)) in rows().into_iter().enumerate() {
        let headers: &[(&[u8], Option<&[u8]>)] =
            if index == 0 { &[(b"h", Some(b"x")), (b"n", None)] } else { &[] };
        builder.append(timestamp, key, value, headers).expect("valid records");
    }
    builder.finish().expect("a small batch")
}

#[test]
fn every_golden_batch_is_read_in_full() {
    for (magic, codec, hex) in GOLDEN {
        let all = bytes(hex);
        let mut seen = Vec::new();
        for batch in super::BatchIter::new(&all) {
            let batch: Batch<'_> = batch.expect("a valid batch");
            batch.check_crc().expect("a valid checksum");
            assert_eq!((batch.magic(), batch.compression()), (*magic, Some(*codec)));
            let mut reader = RecordReader::new(1 << 16);
            let part = reader.collect(&batch, |r| {
                (
                    r.offset,
                    r.timestamp,
                    r.key.map(<[u8]>::to_vec),
                    r.value.map(<[u8]>::to_vec),
                    r.headers.len(),
                    r.sequence,
                )
            });
            seen.extend(part.expect("valid records"));
        }
        let want: Vec<_> = rows()
            .into_iter()
            .enumerate()
            .map(|(i, (timestamp, key, value))| {
                let headers = if *magic == 2 && i == 0 { 2 } else { 0 };
                let sequence = if *magic == 2 { 5 + i as i32 } else { -1 };
                let timestamp = if *magic == 0 { -1 } else { timestamp };
                (
                    10 + i as i64,
                    timestamp,
                    key.map(<[u8]>::to_vec),
                    value.map(<[u8]>::to_vec),
                    headers,
                    sequence,
                )
            })
            .collect();
        assert_eq!(seen, want, "magic {magic} {codec:?}");
    }
}

#[test]
fn uncompressed_bytes_are_the_same_as_java_s() {
    for (magic, codec, hex) in GOLDEN {
        if *codec != Compression::None {
            continue;
        }
        let ours = if *magic == 2 {
            built(options())
        } else {
            let mut set = MessageSetBuilder::new(*magic, Compression::None, None).expect("an old magic");
            for (index, (timestamp, key, value)) in rows().into_iter().enumerate() {
                set.append(10 + index as i64, timestamp, key, value).expect("a small message");
            }
            let mut out = Vec::new();
            set.finish_into(&mut out).expect("a small set");
            out
        };
        assert_eq!(ours, bytes(hex), "magic {magic}");
    }
    assert_eq!(end_transaction_marker(20, TIME, 77, 3, true, 9).expect("a small batch"), {
        let mut marker = bytes(COMMIT_MARKER);
        // Java stamped leader epoch 4; the log stamps ours.
        marker[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        marker
    });
}

#[test]
fn down_conversion_yields_java_s_message_sets() {
    for magic in [0, 1] {
        let old = down_convert(&built(options()), magic, 0, &mut RecordReader::new(1 << 16))
            .expect("a valid batch");
        let golden =
            GOLDEN.iter().find(|(m, c, _)| (*m, *c) == (magic, Compression::None)).expect("in the table");
        assert_eq!(old, bytes(golden.2));
    }
}
