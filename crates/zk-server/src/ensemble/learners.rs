//! The quorum port: links of those who follow this server, or ask whether they may.
//!
//! The port is open all the time; what a link is good for while this server does not lead is decided above. Each link
//! has a task: it reads whatever has come, hands over every whole packet at once, and sends what the socket did not
//! take at first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};
use zk_proto::quorum::Packet;
use zk_zab::{CloseReason, Input, LinkId};

use super::Sink;
use super::outgoing::{Chunks, Outgoing, Snapshots};
use super::packets::Packets;
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::listener::ACCEPT_RETRY;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// More links than any ensemble has.
const LINKS_MAX: usize = 512;

/// What the port is told of the settings.
#[derive(Debug, Clone)]
pub(crate) struct LearnerOptions {
    /// Largest data of one packet.
    pub(crate) data_max: usize,
    /// `initLimit`: the first packet must have come after this time, and a snapshot may stall for as long.
    pub(crate) patience: Duration,
    pub(crate) keep_alive: bool,
    /// Snapshots sent at the same time.
    pub(crate) snapshots_max: usize,
}

/// See the module's header.
pub(crate) struct Learners {
    options: LearnerOptions,
    clock: Clock,
    complaints: Rc<Complaints>,
    sink: Sink,
    /// Begins a snapshot.
    snapshot: Rc<dyn Fn() -> Chunks>,
    /// Whether there is room for more requests of that learner.
    takes: Rc<dyn Fn(LinkId) -> bool>,
    /// Wakes links that waited for room.
    room: Notify,
    snapshots: Arc<Semaphore>,
    links: RefCell<BTreeMap<LinkId, Rc<LearnerLink>>>,
    last_link: Cell<u64>,
    /// Links with something to flush.
    touched: RefCell<Vec<Rc<LearnerLink>>>,
    scratch: RefCell<Box<[u8]>>,
}

struct LearnerLink {
    id: LinkId,
    peer: SocketAddr,
    outgoing: Outgoing,
    is_touched: Cell<bool>,
}

impl Learners {
    pub(crate) fn new(
        options: LearnerOptions,
        clock: Clock,
        complaints: Rc<Complaints>,
        sink: Sink,
        snapshot: Rc<dyn Fn() -> Chunks>,
        takes: Rc<dyn Fn(LinkId) -> bool>,
    ) -> Rc<Self> {
        Rc::new(Self {
            snapshots: Arc::new(Semaphore::new(options.snapshots_max)),
            options,
            clock,
            complaints,
            sink,
            snapshot,
            takes,
            room: Notify::new(),
            links: RefCell::default(),
            last_link: Cell::new(0),
            touched: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
        })
    }

    /// Adds a packet; [`Learners::flush`] sends it.
    pub(crate) fn send(&self, link: LinkId, packet: &Packet) {
        let Some(link) = self.links.borrow().get(&link).cloned() else { return };
        if !link.outgoing.push(packet) && !link.outgoing.is_closed() {
            self.complain(link.peer, &"it does not take what is sent to it, and too much waits");
            link.outgoing.close();
        }
        self.touch(link);
    }

    /// Adds the tree as it will be when its turn comes.
    pub(crate) fn stream(&self, link: LinkId) {
        let Some(link) = self.links.borrow().get(&link).cloned() else { return };
        link.outgoing.push_snapshot();
        self.touch(link);
    }

    fn touch(&self, link: Rc<LearnerLink>) {
        if !link.is_touched.replace(true) {
            self.touched.borrow_mut().push(link);
        }
    }

    /// Sends everything added since the last time, with one system call a link.
    pub(crate) fn flush(&self) {
        let touched = std::mem::take(&mut *self.touched.borrow_mut());
        for link in touched {
            link.is_touched.set(false);
            link.outgoing.flush();
        }
    }

    pub(crate) fn close(&self, link: LinkId, reason: &CloseReason) {
        // Gone from here on: nothing more is said of it.
        let Some(link) = self.links.borrow_mut().remove(&link) else { return };
        match reason {
            // Those who ask too early ask again and again.
            CloseReason::NotLeading => {
                tracing::debug!(peer = %link.peer, "closing a learner's link: {reason}")
            }
            _ => self.complain(link.peer, reason),
        }
        link.outgoing.flush();
        link.outgoing.close();
    }

    /// Looks anew whether links that waited for room have it.
    pub(crate) fn wake_waiting(&self) {
        self.room.notify_waiters();
    }

    fn complain(&self, peer: SocketAddr, why: &dyn Display) {
        self.complaints.closing(self.clock.now().mono_ms, peer, &format_args!("quorum port: {why}"));
    }
}

/// Accepts until the task is dropped.
pub(crate) async fn accept(learners: Rc<Learners>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((_, peer)) if learners.links.borrow().len() >= LINKS_MAX => {
                learners.complain(peer, &"there are too many links");
            }
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                if learners.options.keep_alive {
                    let _ = socket2::SockRef::from(&stream).set_keepalive(true);
                }
                spawn_local(serve(learners.clone(), stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the quorum port; the limit on open files may be reached");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(learners: Rc<Learners>, stream: TcpStream, peer: SocketAddr) {
    let (reader, writer) = stream.into_split();
    let id = LinkId(learners.last_link.get() + 1);
    learners.last_link.set(id.0);
    let link =
        Rc::new(LearnerLink { id, peer, outgoing: Outgoing::new(writer), is_touched: Cell::new(false) });
    learners.links.borrow_mut().insert(id, link.clone());
    (learners.sink)(&mut vec![Input::LearnerConnected { link: id }]);
    let streams = Streams { learners: &learners, link: id };
    let why = tokio::select! {
        read = read(&learners, &link, reader) => read.err(),
        sent = link.outgoing.run(&streams) => {
            sent.err().filter(|e| e.kind() == io::ErrorKind::TimedOut).map(|_| "its snapshot stalls (initLimit)".to_owned())
        }
    };
    if learners.links.borrow_mut().remove(&id).is_some() {
        match why {
            Some(why) => learners.complain(peer, &why),
            None => tracing::debug!(%peer, "a learner's link ended"),
        }
        (learners.sink)(&mut vec![Input::LearnerClosed { link: id }]);
    }
}

/// Snapshots for one link.
struct Streams<'a> {
    learners: &'a Learners,
    link: LinkId,
}

impl Snapshots for Streams<'_> {
    async fn begin(&self) -> (Chunks, Duration) {
        let turn = self.learners.snapshots.clone().acquire_owned().await;
        let mut chunks = (self.learners.snapshot)();
        // The turn ends with the snapshot.
        let held = Box::new(move || turn.as_ref().ok().and_then(|_| chunks()));
        (held, self.learners.options.patience)
    }

    fn sent(&self) {
        (self.learners.sink)(&mut vec![Input::SnapshotSent { link: self.link }]);
    }
}

/// Ends with `Ok` when the link does, with a reason if the other side broke the protocol.
async fn read(learners: &Learners, link: &LearnerLink, reader: OwnedReadHalf) -> Result<(), String> {
    let mut packets = Packets::new(learners.options.data_max);
    let mut inputs = Vec::new();
    let mut is_first = true;
    let deadline = Instant::now() + learners.options.patience;
    loop {
        let readable = reader.readable();
        let ready = if is_first {
            let late = |_| "it did not say in time what it wants (initLimit)".to_owned();
            timeout_at(deadline, readable).await.map_err(late)?
        } else {
            readable.await
        };
        if ready.is_err() {
            return Ok(());
        }
        {
            let mut scratch = learners.scratch.borrow_mut();
            match reader.try_read(&mut scratch) {
                Ok(0) => return Ok(()),
                Ok(n) => packets.push(&scratch[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Ok(()),
            }
        }
        while let Some(packet) = packets.next().map_err(|e| format!("it sent no packet: {e}"))? {
            is_first = false;
            inputs.push(Input::FromLearner { link: link.id, packet });
        }
        if !inputs.is_empty() {
            (learners.sink)(&mut inputs);
            inputs.clear();
        }
        while !(learners.takes)(link.id) {
            learners.room.notified().await;
        }
        if link.outgoing.is_closed() {
            return Ok(());
        }
    }
}
