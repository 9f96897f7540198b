//! A znode's metadata: as clients see it ([`Stat`]) and as it is stored ([`StatPersisted`]).

use crate::jute::{Reader, WireError, Writer};

/// What clients see. `cversion` counts changes of the child list, not creations as the stored form does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    /// Session that owns an ephemeral node; 0 for every other kind.
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    pub const BYTES: usize = 68;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime_ms: r.i64()?,
            mtime_ms: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            data_length: r.i32()?,
            num_children: r.i32()?,
            pzxid: r.i64()?,
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i64(self.czxid);
        w.i64(self.mzxid);
        w.i64(self.ctime_ms);
        w.i64(self.mtime_ms);
        w.i32(self.version);
        w.i32(self.cversion);
        w.i32(self.aversion);
        w.i64(self.ephemeral_owner);
        w.i32(self.data_length);
        w.i32(self.num_children);
        w.i64(self.pzxid);
    }
}

/// What snapshots hold. `cversion` counts child creations; `ephemeral_owner` also encodes containers and TTLs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatPersisted {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    /// Raw owner: session id, `i64::MIN` for a container, `0xff…` with the TTL (zookeeper `EphemeralType`).
    pub ephemeral_owner: i64,
    pub pzxid: i64,
}

impl StatPersisted {
    pub const BYTES: usize = 60;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime_ms: r.i64()?,
            mtime_ms: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            pzxid: r.i64()?,
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i64(self.czxid);
        w.i64(self.mzxid);
        w.i64(self.ctime_ms);
        w.i64(self.mtime_ms);
        w.i32(self.version);
        w.i32(self.cversion);
        w.i32(self.aversion);
        w.i64(self.ephemeral_owner);
        w.i64(self.pzxid);
    }
}
