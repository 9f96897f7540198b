//! Writes protocol values into a list of chunks.
//!
//! Small values gather in one buffer; large record batches are passed on as the `Bytes` they are, and a
//! range of a log file as a [`FileRegion`] for sendfile. Lengths count all of them, so a frame's
//! prefix is right before a single file byte has been read.

use std::fs::File;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Uuid, WireError};

/// Records up to this size are copied into the buffer: one chunk less to send.
const COPY_MAX_BYTES: usize = 4096;

type Result<T> = std::result::Result<T, WireError>;

/// A range of a file, to be sent without passing through memory.
#[derive(Debug, Clone)]
pub struct FileRegion {
    pub file: Arc<File>,
    /// First byte of the range in the file.
    pub offset: u64,
    /// Bytes in the range.
    pub len: usize,
}

impl PartialEq for FileRegion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.offset, self.len) == (other.offset, other.len)
    }
}

/// The records field of a response.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Records {
    /// Null on the wire.
    #[default]
    None,
    Bytes(Bytes),
    File(FileRegion),
}

impl Records {
    /// Bytes of records; null counts as none.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::File(region) => region.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the field is null (an empty batch list is not).
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl From<Option<Bytes>> for Records {
    fn from(value: Option<Bytes>) -> Self {
        value.map_or(Self::None, Self::Bytes)
    }
}

/// A part of a frame, in sending order.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    Bytes(Bytes),
    File(FileRegion),
}

impl Chunk {
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(region) => region.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a writer wrote.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Frame {
    pub chunks: Vec<Chunk>,
    /// Bytes of all chunks together.
    pub len: usize,
}

impl Frame {
    /// The frame in one piece, or `None` if a part of it lies in a file.
    pub fn to_bytes(&self) -> Option<Bytes> {
        if let [Chunk::Bytes(only)] = self.chunks.as_slice() {
            return Some(only.clone());
        }
        let mut out = BytesMut::with_capacity(self.len);
        for chunk in &self.chunks {
            match chunk {
                Chunk::Bytes(bytes) => out.extend_from_slice(bytes),
                Chunk::File(_) => return None,
            }
        }
        Some(out.freeze())
    }
}

enum Part {
    Own(BytesMut),
    Passed(Chunk),
}

/// Collects one frame (or one record).
#[derive(Default)]
pub struct Writer {
    parts: Vec<Part>,
    /// Bytes in `parts`.
    flushed: usize,
    tail: BytesMut,
}

/// Where the count of a struct's tagged fields stands, to be raised as they are written.
#[must_use]
#[derive(Debug)]
pub struct TagsMark(usize);

/// Where the content of a tagged field began.
#[must_use]
#[derive(Debug)]
pub struct ValueMark(usize);

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self { tail: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// Bytes written so far, files included.
    pub fn len(&self) -> usize {
        self.flushed + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunks, in order.
    pub fn finish(mut self) -> Frame {
        self.flush();
        let freeze = |part| match part {
            Part::Own(buf) => Chunk::Bytes(buf.freeze()),
            Part::Passed(chunk) => chunk,
        };
        Frame { chunks: self.parts.into_iter().map(freeze).collect(), len: self.flushed }
    }

    /// The frame with its first four bytes, written as a placeholder, set to the length of what follows.
    pub fn finish_frame(mut self) -> Result<Frame> {
        let len = self.len().saturating_sub(4);
        let prefix = i32::try_from(len).map_err(|_| WireError::TooLong { what: "frame", len })?;
        let head = match self.parts.first_mut() {
            Some(Part::Own(buf)) => buf,
            _ => &mut self.tail,
        };
        head[..4].copy_from_slice(&prefix.to_be_bytes());
        Ok(self.finish())
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.flushed += self.tail.len();
            let buf = self.tail.split();
            self.parts.push(Part::Own(buf));
        }
    }

    fn pass(&mut self, chunk: Chunk) {
        self.flush();
        self.flushed += chunk.len();
        self.parts.push(Part::Passed(chunk));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    pub fn bool(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    pub fn uvarint(&mut self, value: u32) {
        let (bytes, n) = uvarint_bytes(value);
        self.raw(&bytes[..n]);
    }

    fn length(&mut self, len: Option<usize>, compact: bool, wide: bool) -> Result<()> {
        let what = if wide { "array or bytes" } else { "string" };
        let too_long = || WireError::TooLong { what, len: len.unwrap_or(0) };
        let max = if wide { i32::MAX } else { i32::from(i16::MAX) };
        let signed = match len {
            None => -1,
            Some(n) => i32::try_from(n).map_err(|_| too_long())?,
        };
        if signed > max {
            return Err(too_long());
        }
        if compact {
            self.uvarint(signed.wrapping_add(1) as u32);
        } else if wide {
            self.i32(signed);
        } else {
            self.i16(signed as i16);
        }
        Ok(())
    }

    fn nullable(is_null: bool, nullable: bool) -> Result<()> {
        if is_null && !nullable {
            return Err(WireError::NullNotAllowed);
        }
        Ok(())
    }

    pub fn string(&mut self, value: &str, compact: bool) -> Result<()> {
        self.length(Some(value.len()), compact, false)?;
        self.raw(value.as_bytes());
        Ok(())
    }

    pub fn opt_string(&mut self, value: Option<&str>, compact: bool, nullable: bool) -> Result<()> {
        match value {
            Some(value) => self.string(value, compact),
            None => {
                Self::nullable(true, nullable)?;
                self.length(None, compact, false)
            }
        }
    }

    pub fn bytes(&mut self, value: &[u8], compact: bool) -> Result<()> {
        self.length(Some(value.len()), compact, true)?;
        self.raw(value);
        Ok(())
    }

    pub fn opt_bytes(&mut self, value: Option<&[u8]>, compact: bool, nullable: bool) -> Result<()> {
        match value {
            Some(value) => self.bytes(value, compact),
            None => {
                Self::nullable(true, nullable)?;
                self.length(None, compact, true)
            }
        }
    }

    /// The records of a request: passed on without a copy when they are large.
    pub fn opt_record_bytes(&mut self, value: Option<&Bytes>, compact: bool, nullable: bool) -> Result<()> {
        Self::nullable(value.is_none(), nullable)?;
        self.length(value.map(Bytes::len), compact, true)?;
        match value {
            Some(bytes) if bytes.len() > COPY_MAX_BYTES => self.pass(Chunk::Bytes(bytes.clone())),
            Some(bytes) => self.raw(bytes),
            None => {}
        }
        Ok(())
    }

    /// The records of a response: null, bytes or a range of a file.
    pub fn records(&mut self, value: &Records, compact: bool, nullable: bool) -> Result<()> {
        match value {
            Records::None => self.opt_record_bytes(None, compact, nullable),
            Records::Bytes(bytes) => self.opt_record_bytes(Some(bytes), compact, nullable),
            Records::File(region) => {
                self.length(Some(region.len), compact, true)?;
                if region.len > 0 {
                    self.pass(Chunk::File(region.clone()));
                }
                Ok(())
            }
        }
    }

    /// The length before the elements of an array.
    pub fn array_len(&mut self, len: usize, compact: bool) -> Result<()> {
        self.length(Some(len), compact, true)
    }

    /// The length before the elements of an array that may be null.
    pub fn opt_array_len(&mut self, len: Option<usize>, compact: bool, nullable: bool) -> Result<()> {
        Self::nullable(len.is_none(), nullable)?;
        self.length(len, compact, true)
    }

    /// Says whether a nullable struct follows.
    pub fn present(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    /// An empty set of tagged fields.
    pub fn no_tags(&mut self) {
        self.raw(&[0]);
    }

    /// Begins a set of tagged fields. The schema has fewer than 128 in a struct and none of them
    /// holds records, so the count is one byte and stays in the buffer.
    pub fn begin_tags(&mut self) -> TagsMark {
        self.raw(&[0]);
        TagsMark(self.tail.len() - 1)
    }

    /// Begins one tagged field; its content follows, then [`Writer::end_tag`].
    pub fn begin_tag(&mut self, tags: &TagsMark, number: u32) -> ValueMark {
        self.tail[tags.0] += 1;
        self.uvarint(number);
        ValueMark(self.tail.len())
    }

    /// Puts the size of the content in front of it.
    pub fn end_tag(&mut self, mark: ValueMark) -> Result<()> {
        let start = mark.0;
        let size = self.tail.len() - start;
        let encoded =
            u32::try_from(size).map_err(|_| WireError::TooLong { what: "tagged field", len: size })?;
        let (bytes, n) = uvarint_bytes(encoded);
        self.raw(&bytes[..n]);
        self.tail[start..].rotate_right(n);
        Ok(())
    }
}

fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut out = [0; 5];
    let mut n = 0;
    while value >= 0x80 {
        out[n] = (value as u8) | 0x80;
        value >>= 7;
        n += 1;
    }
    out[n] = value as u8;
    (out, n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tagged field's size stands before its content, however many bytes the size takes.
    #[test]
    fn tagged_sizes() {
        let mut w = Writer::new();
        let tags = w.begin_tags();
        let mark = w.begin_tag(&tags, 3);
        w.raw(&[7; 200]);
        w.end_tag(mark).unwrap();
        let out = w.finish().to_bytes().unwrap();
        assert_eq!(&out[..5], &[1, 3, 0xc8, 0x01, 7]);
        assert_eq!(out.len(), 4 + 200);
    }

    /// The prefix counts copied bytes, passed bytes and file regions.
    #[test]
    fn frame_prefix_counts_files() {
        let file = Arc::new(File::open("/dev/null").unwrap());
        let region = FileRegion { file, offset: 10, len: 100_000 };
        let mut w = Writer::new();
        w.i32(0);
        w.records(&Records::File(region.clone()), false, true).unwrap();
        w.records(&Records::Bytes(Bytes::from(vec![1; 5000])), true, true).unwrap();
        w.i16(9);
        let frame = w.finish_frame().unwrap();
        let expect = 4 + 100_000 + 2 + 5000 + 2;
        assert_eq!(frame.len, 4 + expect);
        assert_eq!(frame.chunks.len(), 5);
        let Chunk::Bytes(head) = &frame.chunks[0] else {
            panic!("the head is bytes");
        };
        assert_eq!(head[..4], (expect as i32).to_be_bytes());
        assert_eq!(frame.chunks[1], Chunk::File(region));
        assert_eq!(frame.to_bytes(), None);
    }

    /// What does not fit its length field is refused.
    #[test]
    fn long_strings() {
        let long = "x".repeat(32_768);
        assert!(Writer::new().string(&long, false).is_err());
        assert!(Writer::new().string(&long, true).is_err());
        assert!(Writer::new().string(&long[1..], true).is_ok());
        assert_eq!(Writer::new().opt_string(None, true, false), Err(WireError::NullNotAllowed));
    }
}
