//! The state as a leader sends it behind a SNAP packet (`SerializeUtils.serializeSnapshot`, then
//! `LearnerHandler` adds the signature).
//!
//! It is the body of a snapshot file without header, seals and trailers, in every release: sessions, ACL cache, nodes,
//! `"/"`, and then the string `BenWasHere`. Nothing says how long it is, and packets follow it on the same connection,
//! so [`SnapshotStream`] finds its end and gives back what lies behind.
//!
//! The invariant: memory is bounded by one part and what was pushed, whatever the sender claims. There is no checksum;
//! what came over the wire is as good as the connection.

use bytes::Bytes;
use thiserror::Error;
use zk_proto::{Acl, Id, Reader, StatPersisted, Writer};

use super::writer::encode_sessions_and_acls;
use super::{END_PATH, SnapshotPart};

/// What a single part may take unless the caller knows better: far more than any `jute.maxbuffer` in use.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 64 << 20;

/// The string behind the nodes (`Learner.syncWithLeader` insists on it).
const SIGNATURE: &str = "BenWasHere";

/// Behind a node's data: the list's number and the stat.
const NODE_END_BYTES: usize = 8 + StatPersisted::BYTES;

/// The first bytes of a stream: sessions with timeouts in ms, then the ACL cache. [`super::encode_node`] goes on.
pub fn stream_head<'a>(
    sessions: &[(i64, i32)],
    acls: impl ExactSizeIterator<Item = (i64, &'a [Acl])>,
) -> Vec<u8> {
    let mut w = Writer::with_capacity(64 + sessions.len() * 12);
    encode_sessions_and_acls(&mut w, sessions, acls);
    w.into_vec()
}

/// The last bytes of a stream, behind the nodes.
pub fn stream_end() -> Vec<u8> {
    let mut w = Writer::new();
    w.string(END_PATH);
    w.string(SIGNATURE);
    w.into_vec()
}

/// Why a stream cannot be taken. The sender is to blame, except for `Refused`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    #[error("the leader's snapshot is malformed at byte {offset}: {why}")]
    Malformed { offset: u64, why: String },
    #[error(
        "the leader's snapshot holds {what} of {bytes} bytes at byte {offset}; {limit} are taken at most \
         (jute.maxbuffer)"
    )]
    TooLarge { offset: u64, what: &'static str, bytes: usize, limit: usize },
    /// The caller refused a part.
    #[error("the leader's snapshot cannot be applied at byte {offset}: {why}")]
    Refused { offset: u64, why: String },
}

/// Takes a stream apart as its bytes arrive, in pieces of any size.
#[derive(Debug)]
pub struct SnapshotStream {
    part_bytes_max: usize,
    /// Where the next step begins in the stream.
    offset: u64,
    /// The beginning of a part that is not there as a whole yet.
    pending: Vec<u8>,
    /// Bytes that must be pending before another step can succeed.
    needed: usize,
    phase: Phase,
}

/// What comes next.
#[derive(Debug)]
enum Phase {
    SessionCount,
    Sessions { left: i32 },
    AclCount,
    AclLists { left: i32 },
    AclEntries { lists_left: i32, id: i64, left: i32, list: Vec<Acl>, bytes: usize },
    Nodes,
    Signature,
    Done,
}

/// Why a step did not succeed.
enum Stop {
    /// So many bytes are needed from the step's beginning on.
    More(usize),
    Malformed(String),
    TooLarge(&'static str, usize),
}

type Take<'a> = &'a mut dyn FnMut(SnapshotPart) -> Result<(), String>;

impl SnapshotStream {
    /// A part larger than `part_bytes_max` ends the stream with an error before it is collected.
    pub fn new(part_bytes_max: usize) -> Self {
        let phase = Phase::SessionCount;
        Self { part_bytes_max, offset: 0, pending: Vec::new(), needed: 0, phase }
    }

    /// Takes the next bytes and hands out the parts they complete. `None` while more belongs to the stream; once its
    /// signature was read, what of `bytes` lies behind it. After an error the stream is over.
    pub fn push<'a>(&mut self, bytes: &'a [u8], take: Take<'_>) -> Result<Option<&'a [u8]>, StreamError> {
        if matches!(self.phase, Phase::Done) {
            return Ok(Some(bytes));
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < self.needed {
            return Ok(None);
        }
        let pending = std::mem::take(&mut self.pending);
        let used = self.run(&pending, take)?;
        if matches!(self.phase, Phase::Done) {
            // What was pending before was less than a part, so the rest is of these bytes alone.
            return Ok(Some(&bytes[bytes.len() - (pending.len() - used)..]));
        }
        self.pending = pending;
        self.pending.drain(..used);
        Ok(None)
    }

    /// Whether the signature was read.
    pub fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// Bytes of the stream taken apart so far.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// Steps through `bytes` as far as they go; returns how many were used.
    fn run(&mut self, bytes: &[u8], take: Take<'_>) -> Result<usize, StreamError> {
        let mut used = 0;
        while !matches!(self.phase, Phase::Done) {
            let mut cut = Cut { bytes: &bytes[used..], at: 0, limit: self.part_bytes_max };
            let part = match self.step(&mut cut) {
                Ok(part) => part,
                Err(Stop::More(needed)) => {
                    self.needed = needed;
                    return Ok(used);
                }
                Err(Stop::Malformed(why)) => {
                    return Err(StreamError::Malformed { offset: self.offset, why });
                }
                Err(Stop::TooLarge(what, bytes)) => {
                    let (offset, limit) = (self.offset, self.part_bytes_max);
                    return Err(StreamError::TooLarge { offset, what, bytes, limit });
                }
            };
            if let Some(part) = part {
                let offset = self.offset;
                take(part).map_err(|why| StreamError::Refused { offset, why })?;
            }
            used += cut.at;
            self.offset += cut.at as u64;
        }
        Ok(used)
    }

    /// One step: a count, a part, an entry of a list. Changes nothing unless all its bytes are there.
    fn step(&mut self, cut: &mut Cut<'_>) -> Result<Option<SnapshotPart>, Stop> {
        match &mut self.phase {
            Phase::SessionCount => self.phase = Phase::Sessions { left: cut.count()? },
            Phase::Sessions { left: 0 } => self.phase = Phase::AclCount,
            Phase::Sessions { left } => {
                let part = SnapshotPart::Session { id: cut.i64()?, timeout_ms: cut.i32()? };
                *left -= 1;
                return Ok(Some(part));
            }
            Phase::AclCount => self.phase = Phase::AclLists { left: cut.count()? },
            Phase::AclLists { left: 0 } => self.phase = Phase::Nodes,
            Phase::AclLists { left } => {
                let (id, entries) = (cut.i64()?, cut.count()?);
                let lists_left = *left - 1;
                self.phase = Phase::AclEntries { lists_left, id, left: entries, list: Vec::new(), bytes: 0 };
            }
            Phase::AclEntries { lists_left, id, left: 0, list, .. } => {
                let part = SnapshotPart::Acl { id: *id, list: std::mem::take(list) };
                self.phase = Phase::AclLists { left: *lists_left };
                return Ok(Some(part));
            }
            Phase::AclEntries { left, list, bytes, .. } => {
                let acl = Acl::new(cut.i32()?, Id::new(cut.string()?, cut.string()?));
                *bytes += cut.at;
                if *bytes > self.part_bytes_max {
                    return Err(Stop::TooLarge("an access control list", *bytes));
                }
                list.push(acl);
                *left -= 1;
            }
            Phase::Nodes => match cut.node()? {
                None => self.phase = Phase::Signature,
                node => return Ok(node),
            },
            Phase::Signature => {
                let found = cut.string()?;
                if found != SIGNATURE {
                    let found: String = found.chars().take(40).collect();
                    return Err(Stop::Malformed(format!("signature {found:?} is not {SIGNATURE}")));
                }
                self.phase = Phase::Done;
            }
            Phase::Done => {}
        }
        Ok(None)
    }
}

/// Reads from the bytes that are there, or says how many are needed.
struct Cut<'a> {
    bytes: &'a [u8],
    at: usize,
    limit: usize,
}

impl<'a> Cut<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Stop> {
        let end = self.at + n;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::More(end))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        Ok(self.take(N)?.try_into().expect("take returns exactly N bytes"))
    }

    fn i32(&mut self) -> Result<i32, Stop> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Stop> {
        self.array().map(i64::from_be_bytes)
    }

    fn count(&mut self) -> Result<i32, Stop> {
        match self.i32()? {
            n if n < 0 => Err(Stop::Malformed(format!("count {n}"))),
            n => Ok(n),
        }
    }

    /// The length of a buffer, checked before anybody waits for its bytes.
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, Stop> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let bytes = usize::try_from(length).map_err(|_| Stop::Malformed(format!("length {length}")))?;
        match self.at.checked_add(bytes) {
            Some(part) if part <= self.limit => Ok(Some(bytes)),
            _ => Err(Stop::TooLarge(what, bytes)),
        }
    }

    fn str(&mut self) -> Result<&'a str, Stop> {
        let length = self.length("a string")?.ok_or_else(|| Stop::Malformed("a string is null".into()))?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| Stop::Malformed("a string is not UTF-8".into()))
    }

    fn string(&mut self) -> Result<String, Stop> {
        self.str().map(str::to_owned)
    }

    /// A node, or `None` for the path that ends them.
    fn node(&mut self) -> Result<Option<SnapshotPart>, Stop> {
        let path = self.str()?;
        if path == END_PATH {
            return Ok(None);
        }
        let data = match self.length("a node")? {
            None => None,
            Some(bytes) => Some(self.take(bytes)?),
        };
        let end = self.take(NODE_END_BYTES)?;
        let mut r = Reader::new(end);
        let bad = |e: zk_proto::WireError| Stop::Malformed(e.to_string());
        let acl = r.i64().map_err(bad)?;
        let stat = StatPersisted::decode(&mut r).map_err(bad)?;
        let data = data.map(Bytes::copy_from_slice);
        Ok(Some(SnapshotPart::Node { path: path.to_owned(), data, acl, stat }))
    }
}

#[cfg(test)]
mod tests;
