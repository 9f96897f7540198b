//! Reads protocol values from one frame.
//!
//! Bytes and records are slices of the frame, without a copy: keeping one keeps the frame alive.
//! Strings are copied, because topic and group names outlive the frame they came in.

use bytes::Bytes;

use super::{Uuid, WireError};

/// The smallest budget a frame gets: small requests need not be counted closely.
const BUDGET_FLOOR: usize = 1 << 20;
/// Heap bytes granted for each byte of the frame. Real requests stay below four; the worst
/// well-formed ones would take forty (an OffsetFetch of empty groups).
const BUDGET_FACTOR: usize = 8;
/// No single request may take more than this, however large its frame.
const BUDGET_CEILING: usize = 512 << 20;

/// The heap a frame of `len` bytes may take when decoded, unless the caller says otherwise.
pub fn default_budget(len: usize) -> usize {
    len.saturating_mul(BUDGET_FACTOR).saturating_add(BUDGET_FLOOR).min(BUDGET_CEILING)
}

type Result<T> = std::result::Result<T, WireError>;

/// A cursor over one frame.
#[derive(Debug, Clone)]
pub struct Reader {
    buf: Bytes,
    pos: usize,
    budget: usize,
}

/// One tagged field being read: its number and where its content must end.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    pub number: u32,
    end: usize,
}

impl Reader {
    /// A reader over `buf` with the default budget.
    pub fn new(buf: Bytes) -> Self {
        let budget = default_budget(buf.len());
        Self::with_budget(buf, budget)
    }

    /// A reader over `buf` whose decoded values may take `budget` bytes of heap
    /// (strings and array storage; slices of the frame are free).
    pub fn with_budget(buf: Bytes, budget: usize) -> Self {
        Self { buf, pos: 0, budget }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.buf.len() - self.pos
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// What is left of the heap budget.
    pub fn budget_left(&self) -> usize {
        self.budget
    }

    /// The unread rest, as a slice of the frame.
    pub fn rest(&self) -> Bytes {
        self.buf.slice(self.pos..)
    }

    fn advance(&mut self, n: usize) -> Result<usize> {
        let remaining = self.remaining();
        if n > remaining {
            return Err(WireError::Truncated { at: self.pos, needed: n, remaining });
        }
        let start = self.pos;
        self.pos += n;
        Ok(start)
    }

    fn array_of_bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let start = self.advance(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.buf[start..start + N]);
        Ok(out)
    }

    fn charge(&mut self, wanted: usize) -> Result<()> {
        match self.budget.checked_sub(wanted) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(WireError::OverBudget { wanted, left: self.budget }),
        }
    }

    /// One byte; anything but zero is true, as in the original.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array_of_bytes()?))
    }

    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array_of_bytes()?))
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array_of_bytes()?))
    }

    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array_of_bytes()?))
    }

    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array_of_bytes()?))
    }

    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_be_bytes(self.array_of_bytes()?))
    }

    pub fn uuid(&mut self) -> Result<Uuid> {
        Ok(Uuid(self.array_of_bytes()?))
    }

    /// An unsigned varint of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32> {
        let at = self.pos;
        let mut value: u32 = 0;
        for shift in [0u32, 7, 14, 21, 28] {
            let byte = self.array_of_bytes::<1>()?[0];
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::VarintTooLong { at })
    }

    /// A length: `None` is null. Compact lengths are one more than the length, zero is null;
    /// a plain length below zero is null, whatever its value, as in the original.
    fn length(&mut self, compact: bool, wide: bool) -> Result<Option<usize>> {
        if compact {
            let n = self.uvarint()?;
            return Ok(n.checked_sub(1).map(|n| n as usize));
        }
        let n = if wide { self.i32()? } else { i32::from(self.i16()?) };
        Ok(usize::try_from(n).ok())
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T> {
        value.ok_or(WireError::UnexpectedNull { at: self.pos })
    }

    /// Refuses null unless `nullable`: some fields may be null in some versions only.
    fn nullable<T>(&self, value: Option<T>, nullable: bool) -> Result<Option<T>> {
        if value.is_none() && !nullable {
            return Err(WireError::UnexpectedNull { at: self.pos });
        }
        Ok(value)
    }

    fn text(&mut self, compact: bool) -> Result<Option<String>> {
        let Some(len) = self.length(compact, false)? else {
            return Ok(None);
        };
        let start = self.advance(len)?;
        // Malformed UTF-8 becomes U+FFFD: the original reads strings so, and some clients
        // do put binary data into offset metadata.
        let text = String::from_utf8_lossy(&self.buf[start..start + len]).into_owned();
        self.charge(text.len())?;
        Ok(Some(text))
    }

    fn slice(&mut self, compact: bool) -> Result<Option<Bytes>> {
        let Some(len) = self.length(compact, true)? else {
            return Ok(None);
        };
        let start = self.advance(len)?;
        Ok(Some(self.buf.slice(start..start + len)))
    }

    pub fn string(&mut self, compact: bool) -> Result<String> {
        let value = self.text(compact)?;
        self.not_null(value)
    }

    pub fn opt_string(&mut self, compact: bool, nullable: bool) -> Result<Option<String>> {
        let value = self.text(compact)?;
        self.nullable(value, nullable)
    }

    /// Bytes or records, as a slice of the frame.
    pub fn bytes(&mut self, compact: bool) -> Result<Bytes> {
        let value = self.slice(compact)?;
        self.not_null(value)
    }

    pub fn opt_bytes(&mut self, compact: bool, nullable: bool) -> Result<Option<Bytes>> {
        let value = self.slice(compact)?;
        self.nullable(value, nullable)
    }

    /// Exactly `len` bytes without a length before them.
    pub fn raw(&mut self, len: usize) -> Result<Bytes> {
        let start = self.advance(len)?;
        Ok(self.buf.slice(start..start + len))
    }

    /// An array whose elements take at least `min_wire` bytes each and are read by `read`.
    pub fn array<T>(
        &mut self,
        compact: bool,
        min_wire: usize,
        read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let value = self.opt_array(compact, true, min_wire, read)?;
        self.not_null(value)
    }

    /// As [`Reader::array`], null allowed if `nullable`.
    pub fn opt_array<T>(
        &mut self,
        compact: bool,
        nullable: bool,
        min_wire: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let len = self.length(compact, true)?;
        let Some(count) = self.nullable(len, nullable)? else {
            return Ok(None);
        };
        self.admit(count, min_wire, size_of::<T>())?;
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            out.push(read(self)?);
        }
        Ok(Some(out))
    }

    /// Refuses an array before anything is allocated for it.
    fn admit(&mut self, count: usize, min_wire: usize, size: usize) -> Result<()> {
        let remaining = self.remaining();
        if count.saturating_mul(min_wire) > remaining {
            return Err(WireError::ArrayTooLong { at: self.pos, count, remaining });
        }
        self.charge(count.saturating_mul(size))
    }

    /// The number and extent of the next tagged field.
    pub fn tag(&mut self) -> Result<Tag> {
        let number = self.uvarint()?;
        let size = self.uvarint()? as usize;
        let remaining = self.remaining();
        if size > remaining {
            return Err(WireError::Truncated { at: self.pos, needed: size, remaining });
        }
        Ok(Tag { number, end: self.pos + size })
    }

    /// Skips a tagged field this version does not know.
    pub fn skip_tag(&mut self, tag: Tag) {
        self.pos = tag.end;
    }

    /// Checks that the content of a known tagged field was as long as its size said.
    pub fn end_tag(&self, tag: Tag) -> Result<()> {
        if self.pos == tag.end {
            return Ok(());
        }
        Err(WireError::TagSize { tag: tag.number, at: self.pos, end: tag.end })
    }

    /// Skips all tagged fields of a struct that knows none. Each takes at least two bytes,
    /// so the loop is bounded by the frame.
    pub fn skip_tags(&mut self) -> Result<()> {
        for _ in 0..self.uvarint()? {
            let tag = self.tag()?;
            self.skip_tag(tag);
        }
        Ok(())
    }

    /// Whether a nullable struct follows: the original writes 1, and -1 for null.
    pub fn present(&mut self) -> Result<bool> {
        Ok(self.i8()? >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    /// Varints are at most five bytes and 32 bits; padding within that is accepted.
    #[test]
    fn uvarint_bounds() {
        let check = |bytes: &[u8], expect: Result<u32>| {
            assert_eq!(reader(bytes).uvarint(), expect, "{bytes:x?}");
        };
        check(&[0], Ok(0));
        check(&[0x80, 0x01], Ok(128));
        check(&[0x80, 0x00], Ok(0));
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX));
        let too_long = Err(WireError::VarintTooLong { at: 0 });
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f], too_long.clone());
        check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], too_long);
    }

    /// A count is checked against the bytes left before anything is allocated for it.
    #[test]
    fn lying_counts_allocate_nothing() {
        let err = reader(&[0x7f, 0xff, 0xff, 0xff]).array(false, 4, Reader::i32).unwrap_err();
        assert!(matches!(err, WireError::ArrayTooLong { count, .. } if count == 0x7fff_ffff));
        let err = reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).array(true, 1, |r| r.string(true)).unwrap_err();
        assert!(matches!(err, WireError::ArrayTooLong { .. }));
    }

    /// A well-formed array is refused when its decoded form exceeds the budget.
    #[test]
    fn budget_counts_elements_and_text() {
        let mut wire = vec![0, 0, 0, 100];
        wire.extend([0, 1, b'x'].repeat(100));
        let decode = |budget| {
            Reader::with_budget(Bytes::from(wire.clone()), budget).array(false, 2, |r| r.string(false))
        };
        let needed = 100 * size_of::<String>() + 100;
        assert_eq!(decode(needed).map(|v| v.len()), Ok(100));
        assert!(matches!(decode(needed - 1), Err(WireError::OverBudget { wanted: 1, left: 0 })));
    }

    /// Null is any negative length, and zero in the compact form.
    #[test]
    fn nulls() {
        assert_eq!(reader(&[0xff, 0xff]).opt_string(false, true), Ok(None));
        assert_eq!(reader(&[0x80, 0x00]).opt_string(false, true), Ok(None));
        assert_eq!(reader(&[0]).opt_string(true, true), Ok(None));
        assert!(matches!(reader(&[0]).opt_string(true, false), Err(WireError::UnexpectedNull { .. })));
        assert!(reader(&[0xff; 4]).bytes(false).is_err());
    }
}
