//! What a node wants done, as data, to be carried out in order.

use std::ops::Range;

use bytes::Bytes;
use zk_proto::{Reader, Writer};

use crate::close::CloseReason;
use crate::input::ConnId;

/// One thing to do. None depends on the success of another.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Bytes for a connection: `range` of [`SentBytes`], whole frames.
    Send { conn: ConnId, range: Range<usize> },
    /// Send what there is, then close.
    Close { conn: ConnId, reason: CloseReason },
    /// Tell the operator what a client did wrong; at most once a connection, which goes on.
    Complain { conn: ConnId, what: String },
    /// Append to the log, in this order; answered by [`crate::Input::Durable`].
    Append { zxid: i64, payload: Bytes },
    /// End the log file after everything appended so far, and take a snapshot
    /// (`Tree::snapshot_head` and its chunks).
    Snapshot,
    /// Give up the snapshot that is being taken, if any: the tree it reads is replaced, or its role is over.
    CancelSnapshot,
    /// Everything the ensemble wants done outside: Notify, DialLeader, SendLeader, HangUp, ReceiveSnapshot,
    /// SendLearner, StreamSnapshot, ReadLog, CloseLearner, Store (all but Append, which is [`Effect::Append`]),
    /// ConfigSeen, ConfigActive, Role.
    Zab(zk_zab::Effect),
    /// This server cannot go on: what the ensemble has agreed on is something it does not understand. Stop.
    Fail { what: String },
}

/// The effects of one or several steps and the bytes they send. Replies of one wakeup share one buffer.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    out: Writer,
}

impl Effects {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes to send so far, of all connections.
    pub fn sent_bytes(&self) -> usize {
        self.out.len()
    }

    /// The effects in order; the bytes they send come beside them.
    pub fn take(&mut self) -> (Vec<Effect>, SentBytes) {
        (std::mem::take(&mut self.list), SentBytes(std::mem::take(&mut self.out).into_vec()))
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub(crate) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.push(Effect::Close { conn, reason });
    }

    /// Writes one frame for `conn`; returns its size without the length. Frames that follow each other to the
    /// same connection become one effect.
    pub(crate) fn frame(&mut self, conn: ConnId, write: impl FnOnce(&mut Writer)) -> u64 {
        let start = self.out.begin_frame();
        write(&mut self.out);
        self.out.end_frame(start);
        let end = self.out.len();
        match self.list.last_mut() {
            Some(Effect::Send { conn: last, range }) if *last == conn && range.end == start => {
                range.end = end
            }
            _ => self.list.push(Effect::Send { conn, range: start..end }),
        }
        (end - start - 4) as u64
    }
}

/// The bytes that [`Effect::Send`] speaks of.
#[derive(Debug, Default)]
pub struct SentBytes(Vec<u8>);

impl SentBytes {
    /// Empty for a range that is not of these effects.
    pub fn get(&self, range: Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }

    /// The frames in `range`, cut at their lengths; for tests and tools.
    pub fn frames(&self, range: Range<usize>) -> Vec<&[u8]> {
        let mut reader = Reader::new(self.get(range));
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = reader.buffer() {
            frames.push(frame);
        }
        frames
    }
}
