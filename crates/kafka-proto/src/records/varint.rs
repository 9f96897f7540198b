//! Zigzag varints as records of magic 2 use them.
//!
//! Strict where Java is not: a fifth (tenth) byte may only carry the bits that still fit, so every value has a
//! bounded length and nothing is silently cut off.

/// Reads a zigzag varint of at most 32 bits at `*at` and moves `*at` past it; `None` if it is cut or too long.
#[inline]
pub(super) fn read_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(((first >> 1) as i32) ^ -((first & 1) as i32));
    }
    let mut value = u32::from(first & 0x7f);
    let mut shift = 7;
    let mut position = *at + 1;
    loop {
        let byte = *bytes.get(position)?;
        position += 1;
        if shift == 28 && byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *at = position;
            return Some(((value >> 1) as i32) ^ -((value & 1) as i32));
        }
        shift += 7;
    }
}

/// Reads a zigzag varint of at most 64 bits; otherwise as [`read_varint`].
#[inline]
pub(super) fn read_varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0u64;
    let mut shift = 0;
    let mut position = *at;
    loop {
        let byte = *bytes.get(position)?;
        position += 1;
        if shift == 63 && byte > 0x01 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *at = position;
            return Some(((value >> 1) as i64) ^ -((value & 1) as i64));
        }
        shift += 7;
    }
}

/// Appends a zigzag varint.
#[inline]
pub(super) fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends a zigzag varint of up to 64 bits.
#[inline]
pub(super) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

#[inline]
fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that `value` takes as a zigzag varint.
pub fn varint_len(value: i32) -> usize {
    unsigned_len(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// Bytes that `value` takes as a 64-bit zigzag varint.
pub fn varlong_len(value: i64) -> usize {
    unsigned_len(((value << 1) ^ (value >> 63)) as u64)
}

fn unsigned_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_values() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(varint_len(value), bytes.len());
            assert_eq!(read_varint(bytes, &mut 0), Some(value));
        }
    }

    #[test]
    fn too_long_or_cut_is_refused() {
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f], &mut 0), None);
        assert_eq!(read_varint(&[0x80; 8], &mut 0), None);
        assert_eq!(read_varint(&[0x80], &mut 0), None);
        assert_eq!(read_varlong(&[0xff; 12], &mut 0), None);
        assert_eq!(read_varlong(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], &mut 0), None);
        assert_eq!(read_varlong(&[], &mut 0), None);
    }

    proptest! {
        #[test]
        fn round_trip(v32: i32, v64: i64) {
            let mut out = Vec::new();
            write_varint(&mut out, v32);
            write_varlong(&mut out, v64);
            prop_assert_eq!(out.len(), varint_len(v32) + varlong_len(v64));
            let mut at = 0;
            prop_assert_eq!(read_varint(&out, &mut at), Some(v32));
            prop_assert_eq!(read_varlong(&out, &mut at), Some(v64));
            prop_assert_eq!(at, out.len());
        }
    }
}
