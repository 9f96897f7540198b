//! Telling a torn tail from a corrupt middle.
//!
//! A crash leaves the last, unacknowledged write cut short: whatever the bytes at that place are, no whole record
//! follows them. If one does, acknowledged transactions stand behind the damage, and cutting there would lose them:
//! that is corruption.
//!
//! One crash looks like it and is not: the blocks of a single unsynced write may reach the disk in any order, so a
//! block can be missing with whole records behind it. A missing block is a hole in the file, or reads as zeros to the
//! end of its page where a record's head or end mark should be. No flipped bit looks like that: checksum, length and
//! mark are never zero.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use zk_proto::txn::{TXN_HEADER_BYTES, payload_zxid};

use super::file_reader::split_entry_head;
use super::{END_OF_RECORD, ENTRY_HEADER_BYTES, checksum};
use crate::error::StoreError;

/// How far behind damage records are looked for. An unsynced write is far smaller.
const SCAN_BYTES_MAX: u64 = 64 << 20;

/// The unit in which file contents reach the disk.
const PAGE_BYTES: u64 = 4096;

/// The unit a disk writes as a whole.
const SECTOR_BYTES: u64 = 512;

/// The end of a log that a crash left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    pub path: PathBuf,
    /// Behind the last whole record: where the file is to be cut. 0: not even the header is whole.
    pub offset: u64,
    /// How many bytes of unfinished writes lie there.
    pub bytes: u64,
    pub why: String,
    /// The write had reached the disk to its last byte, and was changed afterwards: it may have been acknowledged.
    pub arrived: bool,
}

/// An entry that cannot be taken.
pub(super) struct Damage<'a> {
    pub path: &'a Path,
    /// Where the entry begins.
    pub offset: u64,
    /// The last whole record's.
    pub last_zxid: Option<i64>,
    pub why: String,
    /// Where the entry's end mark should stand, if its head says so.
    pub mark_at: Option<u64>,
}

impl Damage<'_> {
    /// What the bytes from the entry on are: `None` for zeros only, else a torn tail or an error.
    pub(super) fn judge(self, file: &File) -> Result<Option<TornTail>, StoreError> {
        let Self { path, offset, .. } = self;
        let Some(data_end) = data_end(file, offset).map_err(StoreError::io("read", path))? else {
            return Ok(None);
        };
        let bytes = data_end - offset;
        let mut scanned = vec![0; bytes.min(SCAN_BYTES_MAX) as usize];
        file.read_exact_at(&mut scanned, offset).map_err(StoreError::io("read", path))?;
        let behind = match find_record(&scanned, self.last_zxid) {
            Some(found) if !self.block_missing(file, &scanned[..found as usize]) => {
                format!("a whole record follows at offset {}", offset + found)
            }
            None if bytes > SCAN_BYTES_MAX => format!("{bytes} bytes follow, more than one write leaves"),
            _ => {
                let arrived = self.arrived(&scanned);
                return Ok(Some(TornTail { path: path.to_owned(), offset, bytes, why: self.why, arrived }));
            }
        };
        Err(StoreError::corrupt(path, offset, format!("{}; {behind}", self.why)))
    }

    /// Whether the entry, `bytes` up to the last one that is not zero, was once there as a whole. A crash leaves out
    /// whole sectors and nothing smaller: an entry that ends where its head says and lacks none has arrived, and so has
    /// one whose payload is right though its length or end mark is not.
    fn arrived(&self, bytes: &[u8]) -> bool {
        const HEAD: usize = ENTRY_HEADER_BYTES as usize;
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return false };
        let Some((_mark, payload)) = rest.split_last() else { return false };
        if payload.len() >= TXN_HEADER_BYTES && split_entry_head(head).0 == checksum(payload) {
            return true;
        }
        let ends_at = self.offset + bytes.len() as u64 - 1;
        let first = (SECTOR_BYTES - self.offset % SECTOR_BYTES) as usize;
        let (first, rest) = bytes.split_at(first.min(bytes.len()));
        // The checksum's upper half is zero in any case.
        let missing = |sector: &[u8]| sector.len() > 4 && sector.iter().all(|b| *b == 0);
        self.mark_at == Some(ends_at) && !missing(first) && !rest.chunks(SECTOR_BYTES as usize).any(missing)
    }

    /// Whether a block that never reached the disk explains the damage. `before` is what lies between the entry's
    /// begin and the next whole record.
    fn block_missing(&self, file: &File, before: &[u8]) -> bool {
        let end = self.offset + before.len() as u64;
        let zeros = |from: u64, to: u64| {
            to <= end
                && before[(from - self.offset) as usize..(to - self.offset) as usize].iter().all(|b| *b == 0)
        };
        let page_end = |at: u64| (at + 1).next_multiple_of(PAGE_BYTES);
        let head_missing = page_end(self.offset) - self.offset >= ENTRY_HEADER_BYTES
            && zeros(self.offset, page_end(self.offset));
        let mark_missing = self.mark_at.is_some_and(|at| {
            let page = at - at % PAGE_BYTES;
            page > self.offset && zeros(page, page_end(at))
        });
        let hole = rustix::fs::seek(file, SeekFrom::Hole(self.offset)).is_ok_and(|hole| hole < end);
        head_missing || mark_missing || hole
    }
}

/// Behind the last byte from `offset` on that is not zero. Holes and blocks filled ahead are skipped unread.
fn data_end(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let file_bytes = file.metadata()?.len();
    let mut end = None;
    let mut at = offset;
    let mut chunk = vec![0; 256 << 10];
    while at < file_bytes {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => at, // not every file system knows: read it all
        };
        let n = chunk.len().min((file_bytes - at) as usize);
        file.read_exact_at(&mut chunk[..n], at)?;
        if let Some(last) = chunk[..n].iter().rposition(|b| *b != 0) {
            end = Some(at + last as u64 + 1);
        }
        at += n as u64;
    }
    Ok(end)
}

/// The first place behind the start of `bytes` where a whole, later record stands.
fn find_record(bytes: &[u8], last_zxid: Option<i64>) -> Option<u64> {
    (1..bytes.len()).find(|at| is_record(&bytes[*at..], last_zxid)).map(|at| at as u64)
}

fn is_record(bytes: &[u8], last_zxid: Option<i64>) -> bool {
    const HEAD: usize = ENTRY_HEADER_BYTES as usize;
    // The checksum is 32 bits in an i64: most offsets end here.
    if bytes.len() < HEAD + TXN_HEADER_BYTES + 1 || bytes[..4] != [0; 4] {
        return false;
    }
    let head: &[u8; HEAD] = bytes[..HEAD].try_into().expect("the length was checked");
    let (sum, length) = split_entry_head(head);
    let Ok(length) = usize::try_from(length) else { return false };
    if length < TXN_HEADER_BYTES || length > bytes.len() - HEAD - 1 || bytes[HEAD + length] != END_OF_RECORD {
        return false;
    }
    let payload = &bytes[HEAD..HEAD + length];
    payload_zxid(payload).is_ok_and(|zxid| zxid > last_zxid.unwrap_or(0)) && checksum(payload) == sum
}
