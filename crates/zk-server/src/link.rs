//! One connection's socket: what is to be sent on it, and the task that reads it.
//!
//! The task wakes when bytes arrive, reads once into a buffer shared by all connections, hands every whole
//! frame to the node, and writes all replies with one system call. Nothing is spawned or allocated per
//! request. Replies that come later (after an fsync) are written by whoever produces them; the task is woken
//! only when the socket does not take them.
//!
//! Bounds: a client that does not read its replies is not read either once [`UNSENT_PAUSE`] bytes wait, and is
//! cut off beyond [`UNSENT_MAX`].

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use zk_node::{ConnId, Effects, Input};

use crate::error::ServerError;
use crate::intake::{Intake, Piece};
use crate::server::Server;

/// Unsent bytes above which a client's requests are not read.
const UNSENT_PAUSE: usize = 1 << 20;

/// Replies collected before they are handed to their sockets.
const REPLIES_FLUSH: usize = 256 * 1024;

/// Unsent bytes above which nothing more is added. A single reply may be larger.
const UNSENT_MAX: usize = 16 << 20;

/// An empty send buffer larger than this is given back.
const KEPT_CAPACITY_MAX: usize = 64 * 1024;

/// A closing connection that does not take its last bytes is cut off after this time.
pub(crate) const LINGER_MS: u64 = 5_000;

/// The sending half, shared with whoever has something to send.
pub(crate) struct Link {
    pub(crate) id: ConnId,
    pub(crate) peer: SocketAddr,
    socket: OwnedWriteHalf,
    unsent: RefCell<Unsent>,
    /// Wakes the connection's task.
    waker: RefCell<Option<Waker>>,
    state: Cell<State>,
    /// Waits for room in the node, see [`Server::pause`].
    pub(crate) is_paused: Cell<bool>,
}

#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    /// Bytes at the front that are sent.
    sent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Closes when everything is sent, or at this time.
    Closing {
        until_ms: u64,
    },
    Cut,
}

impl Link {
    fn new(id: ConnId, peer: SocketAddr, socket: OwnedWriteHalf) -> Self {
        Self {
            id,
            peer,
            socket,
            unsent: RefCell::default(),
            waker: RefCell::default(),
            state: Cell::new(State::Open),
            is_paused: Cell::new(false),
        }
    }

    /// Adds bytes to send; [`Link::flush`] sends them.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut unsent = self.unsent.borrow_mut();
        let waiting = unsent.bytes.len() - unsent.sent;
        if waiting > UNSENT_MAX {
            if self.state.get() != State::Cut {
                tracing::warn!(peer = %self.peer, waiting, "closing a connection: the client does not read its replies");
                self.cut();
            }
            return;
        }
        unsent.bytes.extend_from_slice(bytes);
    }

    /// Sends what the socket takes now; the task does the rest.
    pub(crate) fn flush(&self) {
        if !self.try_flush() {
            self.wake();
        }
    }

    /// True if nothing is left to send. Errors end in the task, which sees them too.
    fn try_flush(&self) -> bool {
        let mut unsent = self.unsent.borrow_mut();
        while unsent.sent < unsent.bytes.len() {
            match self.socket.try_write(&unsent.bytes[unsent.sent..]) {
                Ok(n) => unsent.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    self.state.set(State::Cut);
                    return false;
                }
            }
        }
        unsent.bytes.clear();
        unsent.sent = 0;
        if unsent.bytes.capacity() > KEPT_CAPACITY_MAX {
            unsent.bytes = Vec::new();
        }
        true
    }

    /// Closes once everything is sent.
    pub(crate) fn close_after_sending(&self, until_ms: u64) {
        if self.state.get() == State::Open {
            self.state.set(State::Closing { until_ms });
            self.wake();
        }
    }

    /// Closes now.
    pub(crate) fn cut(&self) {
        self.state.set(State::Cut);
        self.wake();
    }

    /// Cuts a connection that has been closing for too long.
    pub(crate) fn cut_if_late(&self, now_ms: u64) {
        if matches!(self.state.get(), State::Closing { until_ms } if until_ms <= now_ms) {
            self.cut();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        let unsent = self.unsent.borrow();
        unsent.bytes.len() - unsent.sent
    }
}

/// Serves one connection until it is closed from either side.
pub(crate) async fn serve(server: Rc<Server>, stream: TcpStream, peer: SocketAddr) {
    let (reader, writer) = stream.into_split();
    let link = Rc::new(Link::new(server.next_connection(), peer, writer));
    server.add(link.clone());
    server.step(Input::Connected { conn: link.id, peer });
    let intake = Intake::new(server.config.jute_max_buffer);
    let mut session = Session { server: server.clone(), link: link.clone(), reader, intake };
    let ended = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| session.poll(cx))) {
        Ok(poll) => poll.map(|()| true),
        Err(_) => Poll::Ready(false),
    });
    if !ended.await {
        // The panic's message is out already. Its request may have left the node half changed.
        return server.fail(ServerError::Thread);
    }
    session.empty_receive_buffer();
    server.remove(link.id);
    server.step(Input::Closed { conn: link.id });
}

/// What the task of a connection owns.
struct Session {
    server: Rc<Server>,
    link: Rc<Link>,
    reader: OwnedReadHalf,
    intake: Intake,
}

impl Session {
    /// Ready when the connection is to be dropped.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let registered = self.link.waker.borrow().as_ref().is_some_and(|w| w.will_wake(cx.waker()));
        if !registered {
            *self.link.waker.borrow_mut() = Some(cx.waker().clone());
        }
        loop {
            while !self.link.try_flush() {
                if self.link.state.get() == State::Cut {
                    return Poll::Ready(());
                }
                match self.link.socket.as_ref().poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    // With something unsent the client still may ask, up to a limit.
                    Poll::Pending => break,
                }
            }
            match self.link.state.get() {
                State::Cut => return Poll::Ready(()),
                State::Closing { .. } if self.link.unsent() == 0 => return Poll::Ready(()),
                State::Closing { .. } => return Poll::Pending,
                State::Open => {}
            }
            if self.link.unsent() > UNSENT_PAUSE {
                return Poll::Pending;
            }
            if !self.server.takes_frames(self.link.id) {
                self.server.pause(self.link.clone());
                return Poll::Pending;
            }
            if self.handle_held() {
                continue;
            }
            match self.read(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Ready(true) => {}
            }
        }
    }

    /// One read and what it completes; false at the end of the stream.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let server = self.server.clone();
        let mut scratch = server.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch[..]);
        match Pin::new(&mut self.reader).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(false),
            Poll::Ready(Ok(())) => {
                self.take(buffer.filled());
                Poll::Ready(true)
            }
        }
    }

    /// Handles whole frames straight from the bytes read when nothing is held from before, and keeps the rest.
    fn take(&mut self, bytes: &[u8]) {
        if !self.intake.is_empty() {
            self.intake.push(bytes);
            self.handle_held();
            return;
        }
        let mut rest = bytes;
        let (now, mut fx) = (self.server.now(), Effects::new());
        while let Piece::Frame(len) = self.intake.head(rest) {
            if !self.has_room(&mut fx) {
                break;
            }
            self.server.frame(now, self.link.id, &rest[4..4 + len], &mut fx);
            self.intake.begun();
            rest = &rest[4 + len..];
        }
        self.server.carry_out(&mut fx);
        if !rest.is_empty() {
            self.intake.push(rest);
            self.handle_held();
        }
    }

    /// Handles what is held; true if anything was done.
    fn handle_held(&mut self) -> bool {
        let (now, mut fx) = (self.server.now(), Effects::new());
        let mut did = false;
        while self.has_room(&mut fx) {
            match self.intake.head(self.intake.rest()) {
                Piece::Incomplete => break,
                Piece::Frame(len) => {
                    self.server.frame(now, self.link.id, &self.intake.rest()[4..4 + len], &mut fx);
                    self.intake.advance(len);
                }
                Piece::Word(word, mask) => self.server.answer_word(&self.link, word, mask),
                Piece::Refused(why) => self.server.refuse(&self.link, &why),
            }
            did = true;
        }
        self.server.carry_out(&mut fx);
        did
    }

    /// Whether the next frame may be handled: one read can hold thousands of requests for large answers.
    fn has_room(&self, fx: &mut Effects) -> bool {
        if fx.sent_bytes() > REPLIES_FLUSH {
            self.server.carry_out(fx);
        }
        self.link.state.get() == State::Open
            && self.link.unsent() <= UNSENT_PAUSE
            && self.server.takes_frames(self.link.id)
    }

    /// Bytes left unread would make the kernel reset the connection and the client lose our last answer.
    fn empty_receive_buffer(&mut self) {
        let mut scratch = self.server.scratch.borrow_mut();
        let _ = self.reader.try_read(&mut scratch[..]);
    }
}
