//! Cuts a connection's byte stream into frames.
//!
//! Nothing is allocated for a length: bytes are kept as they arrive, so a client that promises a megabyte and
//! sends nothing costs nothing. The invariant: at most one frame of the allowed size plus one read is held.

use crate::four_letter::Word;

/// Before a session exists a frame may only be a handshake, which takes some fifty bytes.
const HANDSHAKE_FRAME_MAX: usize = 512 * 1024;

/// An empty buffer larger than this is given back.
const KEPT_CAPACITY_MAX: usize = 64 * 1024;

/// What stands at the head of the bytes received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A frame of this many bytes after its length.
    Frame(usize),
    /// A question instead of a session. `stmk` brings its mask along.
    Word(Word, Option<i64>),
    /// More bytes are needed.
    Incomplete,
    /// The length cannot be: malformed, too large, or another protocol.
    Refused(String),
}

/// What was received and not yet handled.
#[derive(Debug)]
pub(crate) struct Intake {
    held: Vec<u8>,
    /// Bytes at the front that are done with.
    done: usize,
    frame_max: usize,
    first: bool,
}

impl Intake {
    pub(crate) fn new(frame_max: usize) -> Self {
        Self { held: Vec::new(), done: 0, frame_max, first: true }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.held.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.done == self.held.len()
    }

    /// The bytes not yet handled, to be used with [`Intake::head`].
    pub(crate) fn rest(&self) -> &[u8] {
        &self.held[self.done..]
    }

    /// Marks a frame of `len` bytes (and its length) as handled.
    pub(crate) fn advance(&mut self, len: usize) {
        self.first = false;
        self.done += 4 + len;
        if self.is_empty() {
            self.held.clear();
            self.done = 0;
            if self.held.capacity() > KEPT_CAPACITY_MAX {
                self.held = Vec::new();
            }
        }
    }

    /// Says what `bytes`, the unhandled bytes of this connection, begin with.
    pub(crate) fn head(&self, bytes: &[u8]) -> Piece {
        let Some((length, body)) = bytes.split_first_chunk::<4>() else { return Piece::Incomplete };
        if self.first {
            match Word::from_bytes(*length) {
                Some(Word::Stmk) => return stmk(body),
                Some(word) => return Piece::Word(word, None),
                None => {}
            }
        }
        let max = if self.first { self.frame_max.min(HANDSHAKE_FRAME_MAX) } else { self.frame_max };
        let announced = i32::from_be_bytes(*length);
        match usize::try_from(announced) {
            Ok(len) if len <= max && len > 0 => {
                if body.len() < len {
                    Piece::Incomplete
                } else {
                    Piece::Frame(len)
                }
            }
            _ => Piece::Refused(refusal(*length, announced, max, self.first)),
        }
    }

    /// Marks the first frame as seen when frames are handled outside of the held bytes.
    pub(crate) fn begun(&mut self) {
        self.first = false;
    }

    fn compact(&mut self) {
        if self.done > 0 {
            self.held.drain(..self.done);
            self.done = 0;
        }
    }
}

fn stmk(body: &[u8]) -> Piece {
    match body.first_chunk::<8>() {
        Some(mask) => Piece::Word(Word::Stmk, Some(i64::from_be_bytes(*mask))),
        None => Piece::Incomplete,
    }
}

/// Names the protocol when it is a well-known stranger.
fn refusal(bytes: [u8; 4], announced: i32, max: usize, first: bool) -> String {
    let stranger = match &bytes {
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"PRI " | b"OPTI" => Some("an HTTP client"),
        [0x16, 0x03, ..] => Some("a TLS client, and this port speaks plain text"),
        _ => None,
    };
    match stranger {
        Some(who) if first => format!("this is {who}; the ZooKeeper protocol is expected on this port"),
        _ => format!(
            "a frame of {announced} bytes was announced, and at most {max} are taken (jute.maxbuffer)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut bytes = frame(b"first");
        bytes.extend(frame(b"second"));
        for step in 1..bytes.len() {
            let mut intake = Intake::new(100);
            let mut got = Vec::new();
            for part in bytes.chunks(step) {
                intake.push(part);
                while let Piece::Frame(len) = intake.head(intake.rest()) {
                    got.push(intake.rest()[4..4 + len].to_vec());
                    intake.advance(len);
                }
            }
            assert_eq!(got, [b"first".to_vec(), b"second".to_vec()], "parts of {step}");
            assert!(intake.is_empty());
        }
    }

    #[test]
    fn impossible_lengths_are_refused_with_their_reason() {
        let intake = Intake::new(1000);
        for bad in [-1, 0, 1001, i32::MAX] {
            let got = intake.head(&i32::to_be_bytes(bad));
            assert!(matches!(&got, Piece::Refused(why) if why.contains(&bad.to_string())), "{got:?}");
        }
        assert_eq!(intake.head(&frame(&[7; 1000])), Piece::Frame(1000));
        let got = intake.head(b"GET / HTTP/1.1");
        assert!(matches!(&got, Piece::Refused(why) if why.contains("HTTP")), "{got:?}");
    }

    #[test]
    fn words_count_only_before_the_first_frame() {
        let mut intake = Intake::new(1000);
        assert_eq!(intake.head(b"ruok\n"), Piece::Word(Word::Ruok, None));
        assert_eq!(intake.head(b"stmk"), Piece::Incomplete);
        assert_eq!(intake.head(b"stmk\0\0\0\0\0\0\0\x05"), Piece::Word(Word::Stmk, Some(5)));
        intake.push(&frame(b"x"));
        intake.advance(1);
        assert!(matches!(intake.head(b"ruok"), Piece::Refused(_)));
    }
}
