//! Votes on the election mesh (`QuorumCnxManager`, `FastLeaderElection`).
//!
//! A connection begins with a [`Hello`] of whoever dialled; then both sides send frames, each one
//! [`Notification`]. The bytes are the same from 3.5.7 to 3.9.

use crate::jute::{Reader, WireError, Writer};

/// The largest frame Apache takes.
pub const FRAME_MAX: usize = 512 * 1024;

/// Longest address in a hello.
pub const ADDRESS_MAX: usize = 2048;

/// An observer without a number says this; whoever accepts gives it a negative one.
pub const OBSERVER_SID: i64 = i64::MAX;

const PROTOCOL_V1: i64 = -65536;
const PROTOCOL_V2: i64 = -65535;

/// Who dials, and where it can be dialled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub sid: i64,
    /// `host:electionPort`; several with `multiAddress.enabled`.
    pub addresses: Vec<String>,
}

impl Hello {
    /// The bytes its head takes: protocol, sid and the address's length.
    pub const HEAD: usize = 20;

    /// Version 1, which every release understands.
    pub fn encode(&self, w: &mut Writer) {
        w.i64(if self.addresses.len() > 1 { PROTOCOL_V2 } else { PROTOCOL_V1 });
        w.i64(self.sid);
        w.buffer(Some(self.addresses.join("|").as_bytes()));
    }

    /// How long the address after the head is. Releases before 3.5 sent their sid alone; they are refused.
    pub fn address_length(head: &[u8; Self::HEAD]) -> Result<usize, WireError> {
        let mut r = Reader::new(head);
        let protocol = r.i64()?;
        if protocol != PROTOCOL_V1 && protocol != PROTOCOL_V2 {
            return Err(WireError::Unknown { what: "election protocol", value: protocol as i32 });
        }
        r.i64()?;
        let len = r.i32()?;
        usize::try_from(len).ok().filter(|n| (1..=ADDRESS_MAX).contains(n)).ok_or(WireError::BadLength(len))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.i64()?;
        let sid = r.i64()?;
        let addresses = r.string()?;
        Ok(Self { sid, addresses: addresses.split('|').map(str::to_owned).collect() })
    }
}

/// What a server is doing when it sends a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PeerState {
    Looking = 0,
    Following = 1,
    Leading = 2,
    Observing = 3,
}

/// One vote, with the sender's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub state: PeerState,
    /// The server voted for.
    pub leader: i64,
    /// Its last zxid.
    pub zxid: i64,
    /// The sender's round (`electionEpoch`).
    pub round: i64,
    /// The epoch the voted-for server's history belongs to.
    pub peer_epoch: i64,
    /// The sender's configuration; `None` in the short forms of old releases. Never send it empty: text without
    /// participants ends an Apache peer's receiver thread.
    pub config: Option<String>,
}

impl Notification {
    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.state as i32);
        w.i64(self.leader);
        w.i64(self.zxid);
        w.i64(self.round);
        w.i64(self.peer_epoch);
        w.i32(2);
        w.string(self.config.as_deref().unwrap_or_default());
    }

    /// Takes the 28-byte and 40-byte forms too.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let state = match r.i32()? {
            0 => PeerState::Looking,
            1 => PeerState::Following,
            2 => PeerState::Leading,
            3 => PeerState::Observing,
            value => return Err(WireError::Unknown { what: "server state", value }),
        };
        let (leader, zxid, round) = (r.i64()?, r.i64()?, r.i64()?);
        let peer_epoch = if r.is_empty() { super::zxid::epoch(zxid) } else { r.i64()? };
        let version = if r.is_empty() { 0 } else { r.i32()? };
        let config = if version >= 2 { r.string_opt()?.filter(|text| !text.is_empty()) } else { None };
        Ok(Self { state, leader, zxid, round, peer_epoch, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        let whole = Notification {
            state: PeerState::Leading,
            leader: 3,
            zxid: 0x5_0000_0007,
            round: 9,
            peer_epoch: 5,
            config: Some("server.1=a:1:2:participant\nversion=0".to_owned()),
        };
        let mut w = Writer::new();
        whole.encode(&mut w);
        let bytes = w.into_vec();
        assert_eq!(Notification::decode(&bytes), Ok(whole.clone()));
        let short = Notification { config: None, ..whole };
        assert_eq!(Notification::decode(&bytes[..36]), Ok(short.clone()));
        assert_eq!(Notification::decode(&bytes[..28]), Ok(short));
        assert!(Notification::decode(&bytes[..27]).is_err());
        assert!(Notification::decode(&[9; 40]).is_err());
    }

    #[test]
    fn a_hello_is_checked_before_its_address_is_read() {
        let hello = Hello { sid: 2, addresses: vec!["10.0.0.2:3888".to_owned()] };
        let mut w = Writer::new();
        hello.encode(&mut w);
        let bytes = w.into_vec();
        let head = bytes.first_chunk().unwrap();
        assert_eq!(Hello::address_length(head), Ok(13));
        assert_eq!(Hello::decode(&bytes), Ok(hello));
        let with_length = |len: i32| {
            let mut head = *head;
            head[16..].copy_from_slice(&len.to_be_bytes());
            Hello::address_length(&head)
        };
        for bad in [-1, 0, 2049, i32::MAX] {
            assert_eq!(with_length(bad), Err(WireError::BadLength(bad)));
        }
        assert!(Hello::address_length(&[0x16; 20]).is_err(), "another protocol");
    }
}
