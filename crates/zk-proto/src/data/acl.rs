//! Access control entries: who may do what with one znode.

use crate::jute::{Reader, WireError, Writer};

/// Permission bits of an [`Acl`].
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// An identity: `world:anyone`, `digest:user:hash`, `ip:10.0.0.0/8`, …
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub scheme: String,
    pub id: String,
}

impl Id {
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Self {
        Self { scheme: scheme.into(), id: id.into() }
    }

    /// `world:anyone`, which everybody is.
    pub fn anyone() -> Self {
        Self::new("world", "anyone")
    }

    pub fn is_anyone(&self) -> bool {
        self.scheme == "world" && self.id == "anyone"
    }

    /// A null scheme reads as empty: no provider has that name, so the entry is refused as invalid later. A null id
    /// reads as empty where Apache does not look at it; kazoo sends `auth` so.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let scheme = r.string_opt()?.unwrap_or_default();
        let id = match scheme.as_str() {
            "world" | "digest" | "ip" => r.string()?,
            _ => r.string_opt()?.unwrap_or_default(),
        };
        Ok(Self { scheme, id })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.string(&self.scheme);
        w.string(&self.id);
    }
}

/// One entry of a znode's access control list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    pub id: Id,
}

impl Acl {
    /// Fewest bytes an entry takes on the wire: perms and two empty strings.
    pub const BYTES_MIN: usize = 12;

    pub fn new(perms: i32, id: Id) -> Self {
        Self { perms, id }
    }

    /// `OPEN_ACL_UNSAFE`: everything for everybody, the usual list.
    pub fn open() -> Vec<Self> {
        vec![Self::new(perms::ALL, Id::anyone())]
    }

    /// `READ_ACL_UNSAFE`: everybody may read.
    pub fn read_only() -> Vec<Self> {
        vec![Self::new(perms::READ, Id::anyone())]
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { perms: r.i32()?, id: Id::decode(r)? })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.perms);
        self.id.encode(w);
    }

    /// A list; null reads as empty (both are refused where a list is required).
    pub fn decode_list(r: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        r.vec(Self::BYTES_MIN, Self::decode)
    }

    pub fn encode_list(list: &[Self], w: &mut Writer) {
        w.vec(list, |w, acl| acl.encode(w));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_id_is_read_where_nobody_looks_at_it() {
        let read = |scheme: &str| {
            let mut w = Writer::new();
            w.string(scheme);
            w.string_opt(None);
            Id::decode(&mut Reader::new(w.as_slice()))
        };
        assert_eq!(read("auth"), Ok(Id::new("auth", "")));
        assert_eq!(read("unknown"), Ok(Id::new("unknown", "")));
        for scheme in ["world", "digest", "ip"] {
            assert_eq!(read(scheme), Err(WireError::UnexpectedNull), "{scheme}");
        }
    }
}
