//! `QuorumPacket`, the unframed stream between a learner and its leader (`quorum/Learner`, `LearnerHandler`).
//!
//! Being unframed, a packet's end is known only from its own lengths: [`Packet::length`] walks them without
//! allocating, so that a lying length costs nothing.

use bytes::Bytes;

use crate::data::Id;
use crate::jute::{Reader, WireError, Writer};

/// The protocol every release from 3.4 to 3.9 speaks.
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// What a snapshot stream ends with.
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

/// More identities than any client has.
const IDS_MAX: usize = 1024;

macro_rules! kinds {
    ($($name:ident = $code:literal),* $(,)?) => {
        /// The number in front of a packet (`Leader.java`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum PacketKind { $($name = $code),* }

        impl PacketKind {
            pub fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    Request = 1, Proposal = 2, Ack = 3, Commit = 4, Ping = 5, Revalidate = 6, Sync = 7, Inform = 8,
    CommitAndActivate = 9, NewLeader = 10, FollowerInfo = 11, UpToDate = 12, Diff = 13, Trunc = 14, Snap = 15,
    ObserverInfo = 16, LeaderInfo = 17, AckEpoch = 18, InformAndActivate = 19,
}

/// One packet. What `data` holds depends on `kind`; the identities go with requests only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: PacketKind,
    pub zxid: i64,
    pub data: Option<Bytes>,
    pub auth: Vec<Id>,
}

impl Packet {
    pub fn new(kind: PacketKind, zxid: i64) -> Self {
        Self { kind, zxid, data: None, auth: Vec::new() }
    }

    pub fn with_data(kind: PacketKind, zxid: i64, data: impl Into<Bytes>) -> Self {
        Self { data: Some(data.into()), ..Self::new(kind, zxid) }
    }

    /// The data, empty if null.
    pub fn body(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.kind as i32);
        w.i64(self.zxid);
        w.buffer(self.data.as_deref());
        if self.auth.is_empty() {
            // Apache sends a null vector where there are no identities.
            w.i32(-1);
        } else {
            w.vec(&self.auth, |w, id| id.encode(w));
        }
    }

    /// The bytes the packet at the head of `bytes` takes, `None` while its end has not arrived.
    pub fn length(bytes: &[u8], data_max: usize) -> Result<Option<usize>, WireError> {
        let mut r = Reader::new(bytes);
        match skip(&mut r, data_max) {
            Ok(()) => Ok(Some(bytes.len() - r.rest().len())),
            Err(WireError::Truncated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let code = r.i32()?;
        let kind =
            PacketKind::from_code(code).ok_or(WireError::Unknown { what: "packet type", value: code })?;
        let (zxid, data) = (r.i64()?, r.bytes()?);
        let auth = r.vec(8, Id::decode)?;
        Ok(Self { kind, zxid, data, auth })
    }
}

/// Walks over one packet; lengths that cannot be are refused before their bytes have arrived.
fn skip(r: &mut Reader<'_>, data_max: usize) -> Result<(), WireError> {
    let code = r.i32()?;
    PacketKind::from_code(code).ok_or(WireError::Unknown { what: "packet type", value: code })?;
    r.i64()?;
    skip_buffer(r, data_max)?;
    let count = r.i32()?;
    match usize::try_from(count) {
        Ok(n) if n <= IDS_MAX => (0..2 * n).try_for_each(|_| skip_buffer(r, data_max)),
        Err(_) if count == -1 => Ok(()),
        _ => Err(WireError::BadLength(count)),
    }
}

fn skip_buffer(r: &mut Reader<'_>, max: usize) -> Result<(), WireError> {
    let len = r.i32()?;
    match usize::try_from(len) {
        Ok(n) if n <= max => r.take(n).map(drop),
        Err(_) if len == -1 => Ok(()),
        _ => Err(WireError::BadLength(len)),
    }
}

/// What a learner says of itself in FOLLOWERINFO and OBSERVERINFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnerInfo {
    pub sid: i64,
    pub protocol: i32,
    pub config_version: i64,
}

impl LearnerInfo {
    /// Releases before 3.5 send less; the version then is 0.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let (sid, protocol) = (r.i64()?, r.i32()?);
        let config_version = if r.is_empty() { 0 } else { r.i64()? };
        Ok(Self { sid, protocol, config_version })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i64(self.sid);
        w.i32(self.protocol);
        w.i64(self.config_version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn bytes(packet: &Packet) -> Vec<u8> {
        let mut w = Writer::new();
        packet.encode(&mut w);
        w.into_vec()
    }

    #[test]
    fn packets_come_out_of_the_stream_as_they_went_in() {
        let mut request = Packet::with_data(PacketKind::Request, -1, vec![1, 2, 3]);
        request.auth = vec![Id::new("ip", "127.0.0.1"), Id::new("digest", "a:b")];
        for packet in [Packet::new(PacketKind::UpToDate, -1), request] {
            let mut stream = bytes(&packet);
            let whole = stream.len();
            stream.extend_from_slice(b"next");
            for cut in 0..whole {
                assert_eq!(Packet::length(&stream[..cut], MAX), Ok(None), "after {cut} bytes");
            }
            assert_eq!(Packet::length(&stream, MAX), Ok(Some(whole)));
            assert_eq!(Packet::decode(&mut Reader::new(&stream)), Ok(packet));
        }
    }

    #[test]
    fn lies_are_refused_before_their_bytes_arrive() {
        let good = bytes(&Packet::with_data(PacketKind::Proposal, 7, vec![0; 4]));
        let with = |at: usize, value: i32| {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
            Packet::length(&bad[..at + 4], MAX)
        };
        assert_eq!(with(0, 99), Err(WireError::Unknown { what: "packet type", value: 99 }));
        for len in [-2, 1001, i32::MAX] {
            assert_eq!(with(12, len), Err(WireError::BadLength(len)));
            assert_eq!(with(20, len.saturating_mul(2)), Err(WireError::BadLength(len.saturating_mul(2))));
        }
    }
}
