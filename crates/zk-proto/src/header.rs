//! What stands before every request and every reply.

use crate::jute::{Reader, WireError, Writer};

/// Transaction ids a client uses for what is not an ordinary request.
pub mod xid {
    /// A watch event, sent by the server.
    pub const NOTIFICATION: i32 = -1;
    pub const PING: i32 = -2;
    pub const AUTH: i32 = -4;
    pub const SET_WATCHES: i32 = -8;
}

/// Before every request of an open session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// Chosen by the client, comes back in the reply.
    pub xid: i32,
    /// An operation, [`crate::OpCode`] if it is known.
    pub op: i32,
}

impl RequestHeader {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { xid: r.i32()?, op: r.i32()? })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.xid);
        w.i32(self.op);
    }
}

/// Before every reply and every event. A body follows only if `err` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    pub xid: i32,
    /// The last transaction the server had applied.
    pub zxid: i64,
    /// [`crate::ErrorCode`]
    pub err: i32,
}

impl ReplyHeader {
    pub const BYTES: usize = 16;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { xid: r.i32()?, zxid: r.i64()?, err: r.i32()? })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.xid);
        w.i64(self.zxid);
        w.i32(self.err);
    }
}
