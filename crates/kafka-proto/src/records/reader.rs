//! Reads the records of a batch of any magic, decompressing into a buffer that is kept between batches.

use std::ops::ControlFlow;

use super::batch::Batch;
use super::compress::decompress;
use super::legacy::for_each_message;
use super::record::{Headers, Record, RecordIter};
use super::{Compression, NO_SEQUENCE, RecordsError};

/// What the buffer is shrunk to, so that one huge batch does not hold memory for ever.
const SCRATCH_KEEP: usize = 1 << 20;

/// A reader with its decompression buffer. Cheap to make; worth keeping per connection or thread.
#[derive(Debug)]
pub struct RecordReader {
    limit: usize,
    scratch: Vec<u8>,
}

impl RecordReader {
    /// `decompressed_bytes_max` caps what one batch may decompress to.
    pub fn new(decompressed_bytes_max: usize) -> RecordReader {
        RecordReader { limit: decompressed_bytes_max, scratch: Vec::new() }
    }

    /// Hands every record of `batch` to `visit`, in order, until it breaks or fails. Records borrow from the batch or
    /// from the reader's buffer. Checksums are not looked at ([`Batch::check_crc`]).
    ///
    /// # Errors
    /// Malformed records, what decompression says, and whatever `visit` returns.
    pub fn for_each<E: From<RecordsError>>(
        &mut self,
        batch: &Batch<'_>,
        mut visit: impl FnMut(Record<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.release();
        let Some(header) = batch.v2() else {
            return for_each_message(batch, self.limit, &mut self.scratch, &mut |message| {
                visit(Record {
                    offset: message.offset,
                    timestamp: message.timestamp,
                    sequence: NO_SEQUENCE,
                    key: message.key,
                    value: message.value,
                    headers: Headers::default(),
                    size_bytes: message.entry.size_bytes(),
                })
            });
        };
        let header = *header;
        for record in RecordIter::new(&header, self.records(batch)?)? {
            if visit(record?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Every record of `batch`, copied out by `map`. For tests and for batches known to be small.
    ///
    /// # Errors
    /// As [`RecordReader::for_each`].
    pub fn collect<T>(
        &mut self,
        batch: &Batch<'_>,
        mut map: impl FnMut(Record<'_>) -> T,
    ) -> Result<Vec<T>, RecordsError> {
        let mut all = Vec::new();
        self.for_each(batch, |record| {
            all.push(map(record));
            Ok::<_, RecordsError>(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    /// The records of a batch of magic 2 as one run of bytes, decompressed if need be.
    pub(super) fn records<'a>(&'a mut self, batch: &Batch<'a>) -> Result<&'a [u8], RecordsError> {
        let codec = batch.require_compression()?;
        if codec == Compression::None {
            return Ok(batch.records_bytes());
        }
        self.release();
        decompress(codec, 2, batch.records_bytes(), self.limit, &mut self.scratch)?;
        Ok(&self.scratch)
    }

    pub(super) fn parts(&mut self) -> (usize, &mut Vec<u8>) {
        (self.limit, &mut self.scratch)
    }

    /// Gives a large buffer back. Done before every batch; whoever keeps a reader does it after the last one too.
    pub fn release(&mut self) {
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_KEEP);
    }
}
