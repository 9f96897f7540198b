//! What is to be sent on a link between a learner and its leader: packets and, among them, whole snapshots.
//!
//! Packets collect and go out with one system call when [`Outgoing::flush`] is called; what the socket does not take,
//! and snapshots, are the business of [`Outgoing::run`], a task. The order of what was pushed is the order on the wire.
//! The bound: [`WAITING_MAX`] bytes, snapshots not counted, for they are read as they are sent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::timeout;
use zk_proto::Writer;
use zk_proto::quorum::Packet;

/// Packets that wait. A learner that is so far behind is better off with a new synchronisation.
const WAITING_MAX: usize = 256 << 20;

/// Bytes in one piece; the next packet begins another.
const PIECE_BYTES: usize = 256 * 1024;

/// Hands out a snapshot piece by piece; `None` is its end.
pub(crate) type Chunks = Box<dyn FnMut() -> Option<Vec<u8>>>;

/// Where snapshots come from; a link to a leader sends none.
pub(crate) trait Snapshots {
    /// Begins one when its turn has come; also how long its reader may stall.
    async fn begin(&self) -> (Chunks, Duration);

    /// All of it has been handed to the socket.
    fn sent(&self);
}

/// The sending half of a link.
pub(crate) struct Outgoing {
    socket: OwnedWriteHalf,
    queue: RefCell<Queue>,
    work: Notify,
    closed: Notify,
    is_closed: Cell<bool>,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes of all packets.
    waiting: usize,
}

enum Piece {
    Packets {
        bytes: Writer,
        sent: usize,
    },
    /// The bytes in front of it belong to it and are sent before its chunks.
    Snapshot,
}

impl Outgoing {
    pub(crate) fn new(socket: OwnedWriteHalf) -> Self {
        Self {
            socket,
            queue: RefCell::default(),
            work: Notify::new(),
            closed: Notify::new(),
            is_closed: Cell::new(false),
        }
    }

    /// Adds a packet; false if too much waits already.
    #[must_use]
    pub(crate) fn push(&self, packet: &Packet) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.waiting > WAITING_MAX {
            return false;
        }
        let has_room =
            matches!(queue.pieces.back(), Some(Piece::Packets { bytes, .. }) if bytes.len() < PIECE_BYTES);
        if !has_room {
            queue.pieces.push_back(Piece::Packets { bytes: Writer::new(), sent: 0 });
        }
        if let Some(Piece::Packets { bytes, .. }) = queue.pieces.back_mut() {
            let before = bytes.len();
            packet.encode(bytes);
            let added = bytes.len() - before;
            queue.waiting += added;
        }
        true
    }

    /// Adds the snapshot, which [`Outgoing::run`] then asks for.
    pub(crate) fn push_snapshot(&self) {
        self.queue.borrow_mut().pieces.push_back(Piece::Snapshot);
    }

    /// Sends what the socket takes now; the task does the rest.
    pub(crate) fn flush(&self) {
        // An error is met again by the task.
        if !matches!(self.try_flush(), Ok(true)) {
            self.work.notify_one();
        }
    }

    /// True if nothing is left to send.
    fn try_flush(&self) -> io::Result<bool> {
        let mut queue = self.queue.borrow_mut();
        loop {
            let Some(front) = queue.pieces.front_mut() else { return Ok(true) };
            let Piece::Packets { bytes, sent } = front else { return Ok(false) };
            while *sent < bytes.len() {
                match self.socket.try_write(&bytes.as_slice()[*sent..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => *sent += n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            let done = bytes.len();
            queue.pieces.pop_front();
            queue.waiting -= done;
        }
    }

    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.closed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Sends until the link is closed from either side.
    pub(crate) async fn run(&self, snapshots: &impl Snapshots) -> io::Result<()> {
        tokio::select! {
            sent = self.send_all(snapshots) => sent,
            () = self.closed.notified() => Ok(()),
        }
    }

    async fn send_all(&self, snapshots: &impl Snapshots) -> io::Result<()> {
        loop {
            if self.try_flush()? {
                self.work.notified().await;
            } else if matches!(self.queue.borrow().pieces.front(), Some(Piece::Snapshot)) {
                let (chunks, stall) = snapshots.begin().await;
                self.send_snapshot(chunks, stall).await?;
                self.queue.borrow_mut().pieces.pop_front();
                snapshots.sent();
            } else {
                self.socket.writable().await?;
            }
        }
    }

    /// Gives up if nothing is taken for `stall`.
    async fn send_snapshot(&self, mut chunks: Chunks, stall: Duration) -> io::Result<()> {
        while let Some(chunk) = chunks() {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                timeout(stall, self.socket.writable()).await??;
                match self.socket.try_write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            // Others are served between two chunks.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
