//! The same for record batches: whatever is accepted can be read through, and converted.

use std::ops::ControlFlow;

use kafka_proto::records::convert::down_convert;
use kafka_proto::records::legacy::MessageSetBuilder;
use kafka_proto::records::{BatchBuilder, BatchIter, BatchOptions, Compression, RecordReader, RecordsError};

/// What one batch may decompress to here; a broker would allow more.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// Feeds arbitrary bytes to everything that reads records. Nothing may panic, and no batch may
/// yield more bytes than the cap.
pub fn fuzz_records(data: &[u8]) {
    let mut reader = RecordReader::new(DECOMPRESSED_MAX);
    let mut batches = BatchIter::new(data);
    for batch in &mut batches {
        let Ok(batch) = batch else {
            break;
        };
        let _ = batch.check_crc();
        let _ = (batch.base_offset(), batch.last_offset(), batch.compression());
        let mut bytes = 0;
        let _ = reader.for_each(&batch, |record| {
            bytes += record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
            assert_eq!(record.headers.iter().count(), record.headers.len());
            Ok::<_, RecordsError>(ControlFlow::Continue(()))
        });
        let cap = DECOMPRESSED_MAX.max(batch.size_bytes());
        assert!(bytes <= cap, "{bytes} bytes of records");
    }
    assert!(batches.valid_bytes() <= data.len());
    for magic in [0, 1] {
        let _ = down_convert(data, magic, 0, &mut reader);
    }
}

/// Valid record data of every format and codec, to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let mut seeds = Vec::new();
    for compression in [None, Gzip, Snappy, Lz4, Zstd] {
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
        for i in 0..5 {
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"v")), (b"n", Option::None)];
            let value = b"value ".repeat(i);
            builder.append(1000 + i as i64, Some(b"key"), Some(&value), headers).expect("small records fit");
        }
        seeds.push(builder.finish().expect("small batches fit"));
        if compression == Zstd {
            continue;
        }
        for magic in [0, 1] {
            let mut set =
                MessageSetBuilder::new(magic, compression, Option::None).expect("old sets have this codec");
            for i in 0..3 {
                set.append(i, 1000, Some(b"key"), Some(b"value")).expect("small messages fit");
            }
            let mut out = Vec::new();
            set.finish_into(&mut out).expect("small sets fit");
            seeds.push(out);
        }
    }
    seeds
}
