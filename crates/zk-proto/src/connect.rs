//! The handshake that opens a session or takes one up again.

use bytes::Bytes;

use crate::jute::{Reader, WireError, Writer};

/// First frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    pub protocol_version: i32,
    pub last_zxid_seen: i64,
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session_id: i64,
    pub passwd: Bytes,
    /// `None`: the client is older than 3.4 and does not know the field; the reply leaves it out too.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            protocol_version: r.i32()?,
            last_zxid_seen: r.i64()?,
            timeout_ms: r.i32()?,
            session_id: r.i64()?,
            passwd: r.bytes()?.unwrap_or_default(),
            read_only: if r.is_empty() { None } else { Some(r.bool()?) },
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.protocol_version);
        w.i64(self.last_zxid_seen);
        w.i32(self.timeout_ms);
        w.i64(self.session_id);
        w.buffer(Some(&self.passwd));
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// First frame of a server. `timeout_ms` 0 refuses the session: expired, unknown, or a wrong password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    pub protocol_version: i32,
    pub timeout_ms: i32,
    pub session_id: i64,
    pub passwd: Bytes,
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The refusal: timeout 0, session 0, 16 zero bytes.
    pub fn refused(read_only: Option<bool>) -> Self {
        Self {
            protocol_version: 0,
            timeout_ms: 0,
            session_id: 0,
            passwd: Bytes::from_static(&[0; 16]),
            read_only,
        }
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            protocol_version: r.i32()?,
            timeout_ms: r.i32()?,
            session_id: r.i64()?,
            passwd: r.bytes()?.unwrap_or_default(),
            read_only: if r.is_empty() { None } else { Some(r.bool()?) },
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.protocol_version);
        w.i32(self.timeout_ms);
        w.i64(self.session_id);
        w.buffer(Some(&self.passwd));
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modern_reply_takes_37_bytes() {
        let mut w = Writer::new();
        ConnectResponse::refused(Some(false)).encode(&mut w);
        assert_eq!(w.len(), 37);
        assert_eq!(
            ConnectResponse::decode(&mut Reader::new(w.as_slice())),
            Ok(ConnectResponse::refused(Some(false)))
        );
    }

    #[test]
    fn the_read_only_flag_is_left_out_for_old_clients() {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 7,
            timeout_ms: 10_000,
            session_id: 3,
            passwd: Bytes::from_static(b"0123456789abcdef"),
            read_only: None,
        };
        let mut w = Writer::new();
        request.encode(&mut w);
        assert_eq!(w.len(), 44);
        assert_eq!(ConnectRequest::decode(&mut Reader::new(w.as_slice())), Ok(request));
    }
}
