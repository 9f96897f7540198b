//! Topic and directory ids, printed as the original prints them.

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A 16-byte id. Its text form is URL-safe base64 without padding, 22 characters
/// (`partition.metadata`, `kafka-topics.sh --describe`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "No id": what fields hold when nothing was assigned.
    pub const ZERO: Self = Self([0; 16]);

    /// A random (version 4) id. The original never hands out ids whose text starts with `-`
    /// (they read like options on a command line) nor its reserved ones.
    pub fn random() -> Self {
        loop {
            let id = Self(uuid::Uuid::new_v4().into_bytes());
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        // 21 groups of six bits hold 126 bits; the last two are padded on the right.
        for i in 0..21 {
            let index = (value >> (122 - 6 * i)) & 0x3f;
            write!(f, "{}", char::from(ALPHABET[index as usize]))?;
        }
        let last = (value & 0x3) << 4;
        write!(f, "{}", char::from(ALPHABET[last as usize]))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 22 base64 characters: {0:?}")]
pub struct ParseUuidError(pub String);

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUuidError(text.chars().take(64).collect());
        if text.len() != 22 {
            return Err(error());
        }
        let mut value: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|a| *a == c).ok_or_else(error)? as u128;
            value = match i {
                21 => (value << 2) | (digit >> 4),
                _ => (value << 6) | digit,
            };
        }
        Ok(Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text form is that of RFC 4648's URL-safe alphabet, and reads back.
    #[test]
    fn text_round_trip() {
        let id = Uuid(*b"\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\xff\xbe");
        assert_eq!(id.to_string(), "ABCDEFGHIJKLMNOPQRT_vg");
        assert_eq!("ABCDEFGHIJKLMNOPQRT_vg".parse(), Ok(id));
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let random = Uuid::random();
        assert_eq!(random.to_string().parse(), Ok(random));
        assert!("short".parse::<Uuid>().is_err());
        assert!("ABCDEFGHIJKLMNOPQRT/vg".parse::<Uuid>().is_err());
    }
}
