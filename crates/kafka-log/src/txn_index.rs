//! The aborted transactions of a segment: `….txnindex`, 34 bytes each, created with the first abort.
//!
//! Read and written so that directories of transactional topics survive a move in both directions; a reader with
//! `read_committed` gets its list from here.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{LogError, Result};
use crate::names::{TXN_INDEX_SUFFIX, segment_file};
use crate::producers::CompletedTxn;

const ENTRY_SIZE: usize = 34;
/// A million aborts in one segment; more is damage.
const FILE_BYTES_MAX: u64 = (ENTRY_SIZE as u64) << 20;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Offset of the abort marker.
    pub last_offset: i64,
    /// Where the last stable offset stood once the marker was written.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    pub(crate) fn of(completed: &CompletedTxn, last_stable_offset: i64) -> Self {
        Self {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset,
        }
    }

    fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut out = [0; ENTRY_SIZE];
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (i, field) in fields.iter().enumerate() {
            out[2 + i * 8..10 + i * 8].copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Self {
        let field =
            |i: usize| i64::from_be_bytes(bytes[2 + i * 8..10 + i * 8].try_into().expect("eight bytes"));
        Self {
            producer_id: field(0),
            first_offset: field(1),
            last_offset: field(2),
            last_stable_offset: field(3),
        }
    }
}

pub(crate) fn path(dir: &Path, base_offset: i64) -> PathBuf {
    segment_file(dir, base_offset, TXN_INDEX_SUFFIX)
}

/// All entries, in the order of their markers; none without a file. A torn last entry is left out.
pub(crate) fn read(dir: &Path, base_offset: i64) -> Result<Vec<AbortedTxn>> {
    let bytes = disk::read_small(&path(dir, base_offset), FILE_BYTES_MAX)?.unwrap_or_default();
    Ok(bytes.chunks_exact(ENTRY_SIZE).map(AbortedTxn::decode).collect())
}

/// Whether the entries are ones this segment can have (`TransactionIndex.sanityCheck`).
pub(crate) fn is_sane(dir: &Path, base_offset: i64) -> Result<bool> {
    let whole = disk::len_of(&path(dir, base_offset))?.unwrap_or(0) % ENTRY_SIZE as u64 == 0;
    Ok(whole && read(dir, base_offset)?.iter().all(|txn| txn.last_offset >= base_offset))
}

pub(crate) fn append(dir: &Path, base_offset: i64, txn: &AbortedTxn) -> Result<()> {
    let path = path(dir, base_offset);
    let open = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    open.and_then(|mut f| f.write_all(&txn.encode())).map_err(LogError::io("write", &path))
}

/// Drops transactions whose marker lies at or after `offset`.
pub(crate) fn truncate_to(dir: &Path, base_offset: i64, offset: i64) -> Result<()> {
    let keep = read(dir, base_offset)?.iter().take_while(|txn| txn.last_offset < offset).count();
    let path = path(dir, base_offset);
    if disk::len_of(&path)?.is_none() {
        return Ok(());
    }
    let file = disk::open_rw(&path, false)?;
    file.set_len((keep * ENTRY_SIZE) as u64).map_err(LogError::io("truncate", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's bytes, there and back, and cut by offset.
    #[test]
    fn round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let txn = |first, last| AbortedTxn {
            producer_id: 7,
            first_offset: first,
            last_offset: last,
            last_stable_offset: last + 1,
        };
        append(dir.path(), 5, &txn(5, 9)).unwrap();
        append(dir.path(), 5, &txn(10, 14)).unwrap();
        let bytes = std::fs::read(dir.path().join("00000000000000000005.txnindex")).unwrap();
        assert_eq!(bytes.len(), 68);
        assert_eq!(bytes[..18], [0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(read(dir.path(), 5).unwrap(), [txn(5, 9), txn(10, 14)]);
        assert!(is_sane(dir.path(), 5).unwrap());
        truncate_to(dir.path(), 5, 14).unwrap();
        assert_eq!(read(dir.path(), 5).unwrap(), [txn(5, 9)]);
        assert_eq!(read(dir.path(), 6).unwrap(), []);
    }
}
