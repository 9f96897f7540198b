//! Random wire bytes straight from the schema: an independent reading of it.
//!
//! The generated code is compiled from the schema; this walks it. A mistake in one is a disagreement in the
//! tests. What comes out is in the one form an encoder would choose: shortest varints, -1 for null, tagged
//! fields in order and left out at their defaults.

use crate::schema::{Field, Message, Type};

/// Elements of all arrays of one sample together, so that nesting cannot explode.
const ELEMENTS_MAX: usize = 400;

/// A source of random 64-bit numbers.
pub type Random<'a> = &'a mut dyn FnMut() -> u64;

/// A random body of `message` in `version`.
pub fn sample(message: &Message, version: i16, random: Random<'_>) -> Vec<u8> {
    let mut sampler = Sampler {
        message,
        version,
        flexible: message.is_flexible(version),
        random: Some(random),
        elements_left: ELEMENTS_MAX,
    };
    let mut out = Vec::new();
    sampler.fields(&mut out, &message.fields);
    out
}

/// The body of `message` in `version` with every field at its default.
pub fn defaults(message: &Message, version: i16) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sampler =
        Sampler { message, version, flexible: message.is_flexible(version), random: None, elements_left: 0 };
    sampler.fields(&mut out, &message.fields);
    out
}

struct Sampler<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    /// Without it, everything has its default.
    random: Option<Random<'a>>,
    elements_left: usize,
}

impl Sampler<'_> {
    fn next(&mut self) -> u64 {
        self.random.as_mut().map_or(0, |random| random())
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.is_some() && self.next().is_multiple_of(n)
    }

    fn fields(&mut self, out: &mut Vec<u8>, fields: &[Field]) {
        let version = self.version;
        let here = |f: &&Field| f.versions.contains(version);
        for field in fields.iter().filter(here).filter(|f| f.tag.is_none()) {
            self.value(out, field);
        }
        if self.flexible {
            let tagged = fields.iter().filter(here).filter(|f| f.tag.is_some());
            self.tagged(out, tagged.collect());
        }
    }

    fn tagged(&mut self, out: &mut Vec<u8>, mut fields: Vec<&Field>) {
        fields.sort_by_key(|f| f.tag);
        let mut count = 0;
        let mut content = Vec::new();
        for field in fields {
            let mut value = Vec::new();
            self.value(&mut value, field);
            if value == self.default_bytes(field) {
                continue;
            }
            count += 1;
            uvarint(&mut content, field.tag.unwrap_or_default());
            uvarint(&mut content, value.len() as u32);
            content.extend(value);
        }
        uvarint(out, count);
        out.extend(content);
    }

    fn default_bytes(&self, field: &Field) -> Vec<u8> {
        let mut plain = Sampler { random: None, elements_left: 0, ..*self };
        let mut out = Vec::new();
        plain.value(&mut out, field);
        out
    }

    fn value(&mut self, out: &mut Vec<u8>, field: &Field) {
        let compact = self.flexible && !field.never_compact;
        if field.nullable.is_some_and(|n| n.contains(self.version)) {
            let null = match self.random {
                Some(_) => self.one_in(4),
                None => field.default_is_null(),
            };
            if null {
                return null_value(out, &field.ty, compact);
            }
            if matches!(field.ty, Type::Struct(_)) {
                out.push(1);
            }
        }
        self.typed(out, &field.ty, compact, field.default.as_deref());
    }

    fn typed(&mut self, out: &mut Vec<u8>, ty: &Type, compact: bool, default: Option<&str>) {
        match ty {
            Type::Bool => {
                let value = match self.random {
                    Some(_) => self.one_in(2),
                    None => default == Some("true"),
                };
                out.push(u8::from(value));
            }
            Type::Int8 => out.extend((self.int(default) as i8).to_be_bytes()),
            Type::Int16 | Type::Uint16 => out.extend((self.int(default) as i16).to_be_bytes()),
            Type::Int32 => out.extend((self.int(default) as i32).to_be_bytes()),
            Type::Int64 => out.extend(self.int(default).to_be_bytes()),
            Type::Float64 => out.extend((self.int(None) as f64).to_be_bytes()),
            Type::Uuid => {
                let zero = self.random.is_none() || self.one_in(4);
                let (hi, lo) = if zero { (0, 0) } else { (self.next(), self.next()) };
                out.extend(hi.to_be_bytes());
                out.extend(lo.to_be_bytes());
            }
            Type::String => self.text(out, compact),
            Type::Bytes | Type::Records => {
                let len = self.small(40);
                length(out, Some(len), compact, true);
                for _ in 0..len {
                    out.push(self.next() as u8);
                }
            }
            Type::Struct(name) => self.structure(out, name),
            Type::Array(item) => {
                let len = self.small(4).min(self.elements_left);
                self.elements_left -= len;
                length(out, Some(len), compact, true);
                for _ in 0..len {
                    self.typed(out, item, compact, None);
                }
            }
        }
    }

    fn structure(&mut self, out: &mut Vec<u8>, name: &str) {
        let message = self.message;
        if let Some(found) = message.struct_named(name) {
            self.fields(out, &found.fields);
        }
    }

    /// Mostly small, at times the extremes.
    fn int(&mut self, default: Option<&str>) -> i64 {
        let plain = match default {
            None | Some("null") => 0,
            Some("0x7fffffff") => i64::from(i32::MAX),
            Some(text) => text.parse().unwrap_or(0),
        };
        if self.random.is_none() {
            return plain;
        }
        match self.next() % 6 {
            0 => plain,
            1 => -1,
            2 => i64::MAX >> (self.next() % 63),
            3 => i64::MIN >> (self.next() % 63),
            4 => (self.next() % 300) as i64,
            _ => self.next() as i64,
        }
    }

    /// A length below `n`; one in fifty is long enough for a varint of two bytes.
    fn small(&mut self, n: u64) -> usize {
        if self.random.is_none() {
            return 0;
        }
        let span = if self.one_in(50) { 300 } else { n };
        (self.next() % span) as usize
    }

    fn text(&mut self, out: &mut Vec<u8>, compact: bool) {
        const LETTERS: [char; 8] = ['a', 'Z', '0', '-', '.', 'é', '日', '🦀'];
        let len = self.small(12);
        let mut text = String::new();
        for _ in 0..len {
            text.push(LETTERS[(self.next() % 8) as usize]);
        }
        length(out, Some(text.len()), compact, false);
        out.extend(text.as_bytes());
    }
}

fn null_value(out: &mut Vec<u8>, ty: &Type, compact: bool) {
    match ty {
        Type::Struct(_) => out.push(0xff),
        Type::String => length(out, None, compact, false),
        _ => length(out, None, compact, true),
    }
}

fn length(out: &mut Vec<u8>, len: Option<usize>, compact: bool, wide: bool) {
    match len {
        _ if compact => uvarint(out, len.map_or(0, |n| n as u32 + 1)),
        _ if wide => out.extend(len.map_or(-1, |n| n as i32).to_be_bytes()),
        _ => out.extend(len.map_or(-1, |n| n as i16).to_be_bytes()),
    }
}

fn uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
