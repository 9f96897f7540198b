//! The schema as read: messages, structs, fields, versions.

/// A range of versions, both ends included. Open ranges ("3+") end at [`Versions::OPEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub lo: i16,
    pub hi: i16,
}

impl Versions {
    pub const OPEN: i16 = i16::MAX;

    pub fn contains(self, version: i16) -> bool {
        (self.lo..=self.hi).contains(&version)
    }

    pub fn covers(self, other: Self) -> bool {
        self.lo <= other.lo && other.hi <= self.hi
    }

    pub fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        (both.lo <= both.hi).then_some(both)
    }

    /// The smallest range that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Header,
    /// A record of an internal topic, or a blob inside another message.
    Data,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    String,
    Bytes,
    Records,
    Uuid,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    /// The struct this field holds, directly or in an array.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(item) => item.struct_name(),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub versions: Versions,
    pub ty: Type,
    /// The versions that may hold null.
    pub nullable: Option<Versions>,
    /// As written after "=".
    pub default: Option<String>,
    pub tag: Option<u32>,
    pub ignorable: bool,
    /// Never in compact form, even in flexible versions.
    pub never_compact: bool,
}

impl Field {
    /// Whether the default is null. Records without a default are null, as in the original.
    pub fn default_is_null(&self) -> bool {
        match self.default.as_deref() {
            Some(text) => text == "null" || text == "None",
            None => self.ty == Type::Records,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub name: String,
    pub kind: Kind,
    pub api: Option<i16>,
    pub versions: Versions,
    /// First version with compact forms and tagged fields.
    pub flexible_from: Option<i16>,
    /// The newest version was not final in the original.
    pub latest_unstable: bool,
    pub fields: Vec<Field>,
    pub structs: Vec<Struct>,
}

impl Message {
    pub fn struct_named(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|s| s.name == name)
    }

    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }

    /// The API's name: the message's without "Request" or "Response".
    pub fn api_name(&self) -> &str {
        self.name.strip_suffix("Request").or_else(|| self.name.strip_suffix("Response")).unwrap_or(&self.name)
    }
}
