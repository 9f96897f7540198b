//! `….snapshot` files: the producer state at an offset, in Kafka's format.
//!
//! int16 version 1, CRC-32C of the rest, then an array of entries; only the last batch of a producer is kept.
//! A file that is torn or not understood is an inner error: the caller deletes it and reads the log instead.

use std::path::Path;

use super::{ProducerBatch, ProducerEntry, RecentBatches};
use crate::disk;
use crate::error::Result;

const VERSION: i16 = 1;
const HEADER_SIZE: usize = 6;
const ENTRY_SIZE: usize = 46;
/// Ten million producers.
const FILE_BYTES_MAX: u64 = (ENTRY_SIZE as u64) * 10_000_000;

/// The file's bytes; producers in ascending order, so that equal states give equal files.
pub(super) fn encode<'a>(entries: impl Iterator<Item = (i64, &'a ProducerEntry)>) -> Vec<u8> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by_key(|(id, _)| *id);
    let mut out = Vec::with_capacity(HEADER_SIZE + 4 + entries.len() * ENTRY_SIZE);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for (id, entry) in entries {
        let last = entry.batches.last();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&entry.producer_epoch.to_be_bytes());
        out.extend_from_slice(&entry.last_sequence().to_be_bytes());
        out.extend_from_slice(&entry.last_offset().to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
        out.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&out[HEADER_SIZE..]);
    out[2..HEADER_SIZE].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Reads a file; the inner error says why it cannot be used.
pub(super) fn read(path: &Path) -> Result<std::result::Result<Vec<(i64, ProducerEntry)>, String>> {
    let bytes = disk::read_small(path, FILE_BYTES_MAX)?.unwrap_or_default();
    Ok(decode(&bytes))
}

fn decode(bytes: &[u8]) -> std::result::Result<Vec<(i64, ProducerEntry)>, String> {
    if bytes.len() < HEADER_SIZE + 4 {
        return Err(format!("only {} bytes", bytes.len()));
    }
    let version = i16::from_be_bytes([bytes[0], bytes[1]]);
    if version != VERSION {
        return Err(format!("unknown version {version}"));
    }
    let stored = u32::from_be_bytes(bytes[2..6].try_into().expect("four bytes"));
    let computed = crc32c::crc32c(&bytes[HEADER_SIZE..]);
    if stored != computed {
        return Err(format!("stored crc {stored:#010x}, computed {computed:#010x}"));
    }
    let count = u32::from_be_bytes(bytes[6..10].try_into().expect("four bytes")) as usize;
    let body = &bytes[HEADER_SIZE + 4..];
    if body.len() != count.saturating_mul(ENTRY_SIZE) {
        return Err(format!("{count} entries announced in {} bytes", body.len()));
    }
    Ok(body.chunks_exact(ENTRY_SIZE).map(decode_entry).collect())
}

fn decode_entry(b: &[u8]) -> (i64, ProducerEntry) {
    let long = |at: usize| i64::from_be_bytes(b[at..at + 8].try_into().expect("eight bytes"));
    let int = |at: usize| i32::from_be_bytes(b[at..at + 4].try_into().expect("four bytes"));
    let last_offset = long(14);
    let mut batches = RecentBatches::default();
    if last_offset >= 0 {
        batches.push(ProducerBatch {
            last_sequence: int(10),
            last_offset,
            offset_delta: int(22),
            timestamp: long(26),
        });
    }
    let txn = long(38);
    let entry = ProducerEntry {
        batches,
        producer_epoch: i16::from_be_bytes([b[8], b[9]]),
        coordinator_epoch: int(34),
        last_timestamp: long(26),
        current_txn_first_offset: (txn >= 0).then_some(txn),
    };
    (long(0), entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's bytes, and back; damage anywhere is noticed.
    #[test]
    fn golden_bytes_and_damage() {
        let mut batches = RecentBatches::default();
        batches.push(ProducerBatch { last_sequence: 4, last_offset: 9, offset_delta: 2, timestamp: 77 });
        let entry = ProducerEntry {
            batches,
            producer_epoch: 3,
            coordinator_epoch: -1,
            last_timestamp: 77,
            current_txn_first_offset: None,
        };
        let bytes = encode([(1000, &entry)].into_iter());
        let mut expect = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 3, 0, 0, 0, 4];
        expect.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 77, 255, 255, 255, 255]);
        expect.extend([255; 8]);
        let crc = crc32c::crc32c(&expect[6..]);
        expect[2..6].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(bytes, expect);
        assert_eq!(decode(&bytes).unwrap(), [(1000, entry)]);
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(decode(&bad).is_err(), "flipped byte {i}");
            assert!(decode(&bytes[..i]).is_err(), "cut at {i}");
        }
    }
}
