//! Cuts the unframed stream between a learner and its leader into packets.
//!
//! The invariant: at most one packet of the allowed size plus one read is held; a lying length allocates nothing.

use zk_proto::Reader;
use zk_proto::WireError;
use zk_proto::quorum::Packet;

/// What a packet may hold beside its data: a header, identities.
const BESIDE_DATA_MAX: usize = 1 << 20;

/// An empty buffer larger than this is given back.
const KEPT_CAPACITY_MAX: usize = 256 * 1024;

/// What was received and not yet handled.
#[derive(Debug)]
pub(crate) struct Packets {
    held: Vec<u8>,
    /// Bytes at the front that are done with.
    done: usize,
    data_max: usize,
}

impl Packets {
    /// `data_max` bounds what one packet carries.
    pub(crate) fn new(data_max: usize) -> Self {
        Self { held: Vec::new(), done: 0, data_max }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.done > 0 {
            self.held.drain(..self.done);
            self.done = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next whole packet.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, WireError> {
        let rest = &self.held[self.done..];
        let Some(length) = Packet::length(rest, self.data_max)? else {
            if rest.len() > self.data_max + BESIDE_DATA_MAX {
                return Err(WireError::BadLength(i32::try_from(rest.len()).unwrap_or(i32::MAX)));
            }
            return Ok(None);
        };
        let packet = Packet::decode(&mut Reader::new(&rest[..length]))?;
        self.advance(length);
        Ok(Some(packet))
    }

    /// Bytes not yet handled, for a stream that is no packet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.held[self.done..]
    }

    /// Marks bytes as handled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.done += count;
        if self.done == self.held.len() {
            self.held.clear();
            self.done = 0;
            if self.held.capacity() > KEPT_CAPACITY_MAX {
                self.held = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use zk_proto::Writer;
    use zk_proto::quorum::PacketKind;

    use super::*;

    #[test]
    fn packets_come_out_whole_however_they_arrive() {
        let all = [Packet::new(PacketKind::Ping, 1), Packet::with_data(PacketKind::Proposal, 2, vec![7; 99])];
        let mut w = Writer::new();
        all.iter().for_each(|p| p.encode(&mut w));
        for step in 1..w.len() {
            let mut packets = Packets::new(100);
            let mut got = Vec::new();
            for part in w.as_slice().chunks(step) {
                packets.push(part);
                while let Some(packet) = packets.next().unwrap() {
                    got.push(packet);
                }
            }
            assert_eq!(got, all, "parts of {step}");
            assert!(packets.rest().is_empty());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut w = Writer::new();
        Packet::with_data(PacketKind::Proposal, 2, vec![7; 101]).encode(&mut w);
        let mut packets = Packets::new(100);
        packets.push(&w.as_slice()[..20]);
        assert!(packets.next().is_err(), "too much data");
        let mut packets = Packets::new(100);
        packets.push(b"GET / HTTP/1.1\r\n");
        assert!(packets.next().is_err(), "another protocol");
    }
}
