//! Walking the record batches of a segment file without loading it.
//!
//! [`Scan`] yields what each batch's header says; the checksum is computed only when asked for, in pieces, so that a
//! lying length cannot make us allocate. Formats v0 to v2.

use std::fs::File;
use std::path::Path;

use kafka_proto::records::NO_TIMESTAMP;
use kafka_proto::records::batch::{BATCH_OVERHEAD, BatchHeader, EntryFrame, MAGIC_OFFSET};

use crate::disk;
use crate::error::{LogError, Result};

/// Enough for headers and small batches between two index entries.
const WINDOW_SMALL: usize = 8 << 10;
/// For recovery, which reads every byte.
const WINDOW_LARGE: usize = 1 << 20;
/// Where the checksum of magic 2 begins.
const ATTRIBUTES_OFFSET: usize = 21;
/// A control record is far smaller than this.
const MARKER_BYTES_MAX: usize = 256;

/// What is known of a batch from its header, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchMeta {
    pub position: u64,
    pub size: u32,
    pub magic: i8,
    /// Of magic 2 exact; of older messages the offset of the (last) message.
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub v2: Option<BatchHeader>,
    crc: u32,
}

impl BatchMeta {
    /// `bytes` begin at the batch and hold its header.
    pub fn parse(bytes: &[u8], position: u64) -> std::result::Result<Option<Self>, String> {
        let Some(frame) = EntryFrame::peek(bytes).map_err(|e| e.to_string())? else { return Ok(None) };
        let size = u32::try_from(frame.size_bytes).map_err(|_| "batch too large".to_owned())?;
        if frame.magic == 2 {
            if bytes.len() < BATCH_OVERHEAD {
                return Ok(None);
            }
            let header = BatchHeader::parse(bytes).map_err(|e| e.to_string())?;
            if header.last_offset_delta < 0 || header.base_offset < 0 {
                return Err(format!(
                    "offsets {} + {} are not valid",
                    header.base_offset, header.last_offset_delta
                ));
            }
            return Ok(Some(Self::of(&header, position)));
        }
        let timestamp = match frame.magic {
            1 => match bytes.get(18..26) {
                Some(b) => i64::from_be_bytes(b.try_into().expect("eight bytes")),
                None => return Ok(None),
            },
            _ => NO_TIMESTAMP,
        };
        let crc = u32::from_be_bytes(bytes[12..16].try_into().expect("four bytes"));
        Ok(Some(Self {
            position,
            size,
            magic: frame.magic,
            base_offset: frame.offset,
            last_offset: frame.offset,
            max_timestamp: timestamp,
            v2: None,
            crc,
        }))
    }

    /// Of a batch of magic 2 that lies at `position`.
    pub fn of(header: &BatchHeader, position: u64) -> Self {
        Self {
            position,
            size: header.size_bytes() as u32,
            magic: 2,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            crc: header.crc,
            v2: Some(*header),
        }
    }

    pub fn end(&self) -> u64 {
        self.position + u64::from(self.size)
    }

    pub fn leader_epoch(&self) -> i32 {
        self.v2.map_or(-1, |h| h.partition_leader_epoch)
    }
}

/// The end marker of a transaction in a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndTxnMarker {
    pub abort: bool,
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads the first record of a control batch; `records` is what follows the batch's header. `None` for control
    /// records that end no transaction, and for batches emptied by compaction.
    pub fn parse(records: &[u8]) -> Option<Self> {
        let mut r = Varints(records);
        r.next()?; // length
        r.bytes(1)?; // attributes
        r.next()?; // timestamp delta
        r.next()?; // offset delta
        let key_len = usize::try_from(r.next()?).ok()?;
        let key = r.bytes(key_len)?;
        let kind = i16::from_be_bytes(key.get(2..4)?.try_into().ok()?);
        let value_len = usize::try_from(r.next()?).ok()?;
        let value = r.bytes(value_len)?;
        let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
        matches!(kind, 0 | 1).then_some(Self { abort: kind == 0, coordinator_epoch })
    }
}

struct Varints<'a>(&'a [u8]);

impl<'a> Varints<'a> {
    /// A zigzag varint.
    fn next(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// A walk over the batches in `[position, end)` of a file.
pub(crate) struct Scan<'f> {
    file: &'f File,
    path: &'f Path,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
    capacity: usize,
}

impl<'f> Scan<'f> {
    /// For headers only.
    pub fn headers(file: &'f File, path: &'f Path, position: u64, end: u64) -> Self {
        Self { file, path, position, end, window: Vec::new(), window_start: 0, capacity: WINDOW_SMALL }
    }

    /// For reading every byte.
    pub fn all(file: &'f File, path: &'f Path, position: u64, end: u64) -> Self {
        Self { capacity: WINDOW_LARGE, ..Self::headers(file, path, position, end) }
    }

    /// Where the next batch begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next batch; `Ok(None)` at the end. Bytes that are no batch, or not all of one, are an inner error that
    /// says why.
    pub fn next(&mut self) -> Result<std::result::Result<Option<BatchMeta>, String>> {
        if self.position >= self.end {
            return Ok(Ok(None));
        }
        let position = self.position;
        let bytes = self.at(position, BATCH_OVERHEAD)?;
        let have = bytes.len();
        let meta = match BatchMeta::parse(bytes, position) {
            Ok(Some(meta)) => meta,
            Ok(None) => return Ok(Err(format!("only {have} bytes of a batch header are there"))),
            Err(reason) => return Ok(Err(reason)),
        };
        if meta.end() > self.end {
            let missing = meta.end() - self.end;
            return Ok(Err(format!("the last {missing} bytes of a batch of {} are missing", meta.size)));
        }
        self.position = meta.end();
        Ok(Ok(Some(meta)))
    }

    /// Compares the checksum of a batch with its bytes.
    pub fn check_crc(&mut self, meta: &BatchMeta) -> Result<std::result::Result<(), String>> {
        let computed = if meta.magic == 2 {
            let mut crc = 0;
            self.for_each_piece(meta.position + ATTRIBUTES_OFFSET as u64, meta.end(), |piece| {
                crc = crc32c::crc32c_append(crc, piece);
            })?;
            crc
        } else {
            let mut crc = crc32fast::Hasher::new();
            self.for_each_piece(meta.position + MAGIC_OFFSET as u64, meta.end(), |piece| crc.update(piece))?;
            crc.finalize()
        };
        let stored = meta.crc;
        Ok(if computed == stored {
            Ok(())
        } else {
            Err(format!("stored crc {stored:#010x}, computed {computed:#010x}"))
        })
    }

    /// The end marker in a control batch.
    pub fn marker(&mut self, meta: &BatchMeta) -> Result<Option<EndTxnMarker>> {
        if !meta.v2.is_some_and(|h| h.is_control()) {
            return Ok(None);
        }
        let records = meta.position + BATCH_OVERHEAD as u64;
        let len = (meta.end() - records).min(MARKER_BYTES_MAX as u64) as usize;
        Ok(EndTxnMarker::parse(self.at(records, len)?))
    }

    fn for_each_piece(&mut self, mut from: u64, to: u64, mut f: impl FnMut(&[u8])) -> Result<()> {
        while from < to {
            let want = (to - from).min(self.capacity as u64) as usize;
            let piece = self.at(from, want)?;
            if piece.is_empty() {
                break;
            }
            f(piece);
            from += piece.len() as u64;
        }
        Ok(())
    }

    /// Up to `want` bytes at `position` (at most the window's capacity), fewer only at the end.
    fn at(&mut self, position: u64, want: usize) -> Result<&[u8]> {
        let want = want.min(self.capacity).min((self.end.saturating_sub(position)) as usize);
        let window_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || position + want as u64 > window_end {
            let len = self.capacity.min((self.end - position.min(self.end)) as usize);
            self.window.resize(len, 0);
            let got = disk::read_at(self.file, &mut self.window, position)
                .map_err(LogError::io("read", self.path))?;
            self.window.truncate(got);
            self.window_start = position;
        }
        let from = (position - self.window_start) as usize;
        let to = (from + want).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit and an abort marker as Kafka writes them.
    #[test]
    fn reads_end_markers() {
        let record = |kind: u8| {
            let mut bytes = vec![32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 7, 0];
            bytes[0] = (bytes.len() as u8 - 1) * 2;
            bytes
        };
        let check = |kind, abort| {
            assert_eq!(
                EndTxnMarker::parse(&record(kind)),
                Some(EndTxnMarker { abort, coordinator_epoch: 7 })
            );
        };
        check(0, true);
        check(1, false);
        assert_eq!(EndTxnMarker::parse(&record(2)), None, "a leader change ends no transaction");
        for cut in 0..15 {
            assert_eq!(EndTxnMarker::parse(&record(1)[..cut]), None, "cut at {cut}");
        }
    }
}
