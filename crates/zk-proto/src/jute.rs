//! Jute, ZooKeeper's encoding: big-endian integers, length-prefixed buffers, counted vectors.
//!
//! Reading never trusts a length: a count or size is checked against the bytes that are really there
//! before anything is allocated, so hostile input costs at most the memory of its own frame.

use bytes::Bytes;
use thiserror::Error;

/// Why bytes could not be read as the record they claim to be. The sender is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// The record needs more bytes than the input holds.
    #[error("record is cut off: {needed} bytes needed, {left} left")]
    Truncated { needed: usize, left: usize },
    /// A length or count is below -1, or larger than the bytes that follow could hold.
    #[error("impossible length {0}")]
    BadLength(i32),
    /// A string is not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// A field that must be present is null.
    #[error("required field is null")]
    UnexpectedNull,
    /// A discriminant (operation, transaction type, flags) has no meaning here.
    #[error("unknown {what} {value}")]
    Unknown { what: &'static str, value: i32 },
}

/// Reads records from a byte slice, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) =
            self.rest.split_at_checked(n).ok_or(WireError::Truncated { needed: n, left: self.rest.len() })?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns exactly N bytes"))
    }

    pub fn bool(&mut self) -> Result<bool, WireError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A length-prefixed byte buffer; `None` for null (-1).
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        match self.i32()? {
            -1 => Ok(None),
            len => match usize::try_from(len) {
                Ok(n) => self.take(n).map(Some),
                Err(_) => Err(WireError::BadLength(len)),
            },
        }
    }

    /// As [`Reader::buffer`], copied out of the frame so that it does not pin it.
    pub fn bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        Ok(self.buffer()?.map(Bytes::copy_from_slice))
    }

    /// A nullable string.
    pub fn string_opt(&mut self) -> Result<Option<String>, WireError> {
        self.buffer()?
            .map(|b| std::str::from_utf8(b).map(str::to_owned).map_err(|_| WireError::NotUtf8))
            .transpose()
    }

    /// A string that must be there.
    pub fn string(&mut self) -> Result<String, WireError> {
        self.string_opt()?.ok_or(WireError::UnexpectedNull)
    }

    /// A counted vector; `None` for null (-1). `item_bytes_min` is the fewest bytes one item can take.
    pub fn vec_opt<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let count = self.i32()?;
        if count == -1 {
            return Ok(None);
        }
        let n = usize::try_from(count).map_err(|_| WireError::BadLength(count))?;
        if n > self.rest.len() / item_bytes_min.max(1) {
            return Err(WireError::BadLength(count));
        }
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    /// A counted vector in which null reads as empty.
    pub fn vec<T>(
        &mut self,
        item_bytes_min: usize,
        item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        Ok(self.vec_opt(item_bytes_min, item)?.unwrap_or_default())
    }
}

/// Appends records to a growing buffer.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    buf: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(n: usize) -> Self {
        Self { buf: Vec::with_capacity(n) }
    }

    pub fn len(&self) -> usize {
        self.buf.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.buf
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.buf
    }

    pub fn into_bytes(self) -> Bytes {
        self.buf.into()
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    pub fn bool(&mut self, v: bool) {
        self.buf.push(u8::from(v));
    }

    pub fn i32(&mut self, v: i32) {
        self.raw(&v.to_be_bytes());
    }

    pub fn i64(&mut self, v: i64) {
        self.raw(&v.to_be_bytes());
    }

    /// A length or count. Nothing we hold comes near 2 GiB: frames are capped far below.
    pub fn len_prefix(&mut self, n: usize) {
        self.i32(i32::try_from(n).expect("records are capped far below 2 GiB"));
    }

    pub fn buffer(&mut self, v: Option<&[u8]>) {
        match v {
            None => self.i32(-1),
            Some(b) => {
                self.len_prefix(b.len());
                self.raw(b);
            }
        }
    }

    pub fn string(&mut self, v: &str) {
        self.buffer(Some(v.as_bytes()));
    }

    pub fn string_opt(&mut self, v: Option<&str>) {
        self.buffer(v.map(str::as_bytes));
    }

    pub fn vec<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.len_prefix(items.len());
        for it in items {
            item(self, it);
        }
    }

    /// Reserves four bytes for a frame length; [`Writer::end_frame`] fills them in.
    pub fn begin_frame(&mut self) -> usize {
        let at = self.buf.len();
        self.i32(0);
        at
    }

    pub fn end_frame(&mut self, at: usize) {
        let len = i32::try_from(self.buf.len() - at - 4).expect("frames are capped far below 2 GiB");
        self.buf[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lying_count_is_refused_before_anything_is_allocated() {
        let bytes = i32::MAX.to_be_bytes();
        let got = Reader::new(&bytes).vec(4, Reader::i32);
        assert_eq!(got, Err(WireError::BadLength(i32::MAX)));
    }

    #[test]
    fn null_and_empty_buffers_stay_apart() {
        let mut w = Writer::new();
        w.buffer(None);
        w.buffer(Some(b""));
        let mut r = Reader::new(w.as_slice());
        assert_eq!(r.buffer(), Ok(None));
        assert_eq!(r.buffer(), Ok(Some(&b""[..])));
    }

    #[test]
    fn a_buffer_longer_than_its_frame_is_truncated() {
        let mut w = Writer::new();
        w.i32(10);
        w.raw(b"abc");
        assert_eq!(Reader::new(w.as_slice()).buffer(), Err(WireError::Truncated { needed: 10, left: 3 }));
    }
}
