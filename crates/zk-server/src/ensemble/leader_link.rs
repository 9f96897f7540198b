//! The way to the leader: dialled when told to, packets both ways, and the snapshot that may stand between them.
//!
//! At most one link exists. Whatever a link reports after it was hung up or dialled anew is not heard: each dial is a
//! link of its own.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use zk_proto::quorum::{Packet, PacketKind, Sid};
use zk_tree::{Tree, TreeConfig};
use zk_zab::Input;

use super::Sink;
use super::outgoing::{Chunks, Outgoing, Snapshots};
use super::packets::Packets;
use super::receiving::Receiving;
use super::sockets::{self, HostPort};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Pauses between tries to reach a leader: a new leader of another make opens its port a moment after its election.
const RETRY_MS: [u64; 7] = [5, 10, 20, 40, 80, 120, 120];

/// What became of a snapshot from the leader.
pub(crate) enum Received {
    Tree {
        zxid: i64,
        tree: Box<Tree>,
    },
    /// The link ended, or what came was no snapshot.
    Nothing,
}

/// What the link is told of the settings.
#[derive(Debug, Clone)]
pub(crate) struct LeaderLinkOptions {
    /// Largest data of one packet.
    pub(crate) data_max: usize,
    /// How long connecting may take in all.
    pub(crate) connect: Duration,
    /// How long a snapshot may stall (`initLimit`).
    pub(crate) patience: Duration,
    pub(crate) keep_alive: bool,
    pub(crate) tree: TreeConfig,
}

/// See the module's header.
pub(crate) struct LeaderLink {
    options: LeaderLinkOptions,
    sink: Sink,
    received: Rc<dyn Fn(Received)>,
    link: RefCell<Option<Rc<Link>>>,
    is_touched: Cell<bool>,
}

/// One dial and what came of it.
struct Link {
    sid: Sid,
    outgoing: OnceCell<Outgoing>,
    closed: Notify,
    is_closed: Cell<bool>,
    /// The next bytes belong to it.
    snapshot: RefCell<Option<Receiving>>,
}

/// A learner sends none.
struct NoSnapshots;

impl Snapshots for NoSnapshots {
    async fn begin(&self) -> (Chunks, Duration) {
        (Box::new(|| None), Duration::ZERO)
    }

    fn sent(&self) {}
}

impl Link {
    fn close(&self) {
        self.is_closed.set(true);
        self.closed.notify_one();
    }
}

impl LeaderLink {
    pub(crate) fn new(options: LeaderLinkOptions, sink: Sink, received: Rc<dyn Fn(Received)>) -> Rc<Self> {
        Rc::new(Self { options, sink, received, link: RefCell::default(), is_touched: Cell::new(false) })
    }

    pub(crate) fn dial(self: &Rc<Self>, sid: Sid, hosts: Vec<HostPort>) {
        self.hang_up();
        let link = Rc::new(Link {
            sid,
            outgoing: OnceCell::new(),
            closed: Notify::new(),
            is_closed: Cell::new(false),
            snapshot: RefCell::default(),
        });
        *self.link.borrow_mut() = Some(link.clone());
        let this = self.clone();
        spawn_local(async move {
            let outcome = tokio::select! {
                outcome = this.run(&link, &hosts) => outcome,
                () = link.closed.notified() => return,
            };
            this.ended(&link, outcome);
        });
    }

    /// Closes the link, or stops dialling; nothing more is heard of it.
    pub(crate) fn hang_up(&self) {
        let Some(link) = self.link.borrow_mut().take() else { return };
        if let Some(outgoing) = link.outgoing.get() {
            outgoing.flush();
        }
        link.close();
        if link.snapshot.take().is_some() {
            (self.received)(Received::Nothing);
        }
    }

    /// Adds a packet; [`LeaderLink::flush`] sends it.
    pub(crate) fn send(&self, packet: &Packet) {
        let link = self.link.borrow();
        let Some(outgoing) = link.as_ref().and_then(|l| l.outgoing.get()) else { return };
        self.is_touched.set(true);
        if !outgoing.push(packet) && !outgoing.is_closed() {
            tracing::warn!(
                "the leader does not take what is sent to it, and too much waits; closing the link"
            );
            outgoing.close();
        }
    }

    /// Sends everything added since the last time, with one system call.
    pub(crate) fn flush(&self) {
        if !self.is_touched.take() {
            return;
        }
        let link = self.link.borrow();
        if let Some(outgoing) = link.as_ref().and_then(|l| l.outgoing.get()) {
            outgoing.flush();
        }
    }

    /// The bytes behind the packet that was just handed over are a snapshot.
    pub(crate) fn receive_snapshot(&self, zxid: i64) {
        let link = self.link.borrow();
        match link.as_ref() {
            Some(link) => {
                let receiving = Receiving::new(zxid, self.options.data_max, self.options.tree.clone());
                *link.snapshot.borrow_mut() = Some(receiving);
            }
            None => {
                drop(link);
                (self.received)(Received::Nothing);
            }
        }
    }

    async fn run(&self, link: &Rc<Link>, hosts: &[HostPort]) -> Result<(), String> {
        let stream = match self.connect(link.sid, hosts).await {
            Ok(stream) => stream,
            Err(error) => {
                // Dialling goes on for a while; whoever gives up says why.
                tracing::debug!(leader = link.sid, %error, "the leader cannot be reached");
                return Ok(());
            }
        };
        if self.options.keep_alive {
            let _ = socket2::SockRef::from(&stream).set_keepalive(true);
        }
        let (reader, writer) = stream.into_split();
        let outgoing = link.outgoing.get_or_init(|| Outgoing::new(writer));
        (self.sink)(&mut vec![Input::LeaderConnected]);
        tokio::select! {
            read = self.read(link, reader) => read,
            _ = outgoing.run(&NoSnapshots) => Ok(()),
        }
    }

    /// Again and again for a short while: a leader that is not ready yet refuses.
    async fn connect(&self, sid: Sid, hosts: &[HostPort]) -> io::Result<TcpStream> {
        let tries = async {
            for pause_ms in RETRY_MS {
                match sockets::connect(hosts, self.options.connect).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => tracing::debug!(sid, %error, "the leader cannot be reached; trying again"),
                }
                sleep(Duration::from_millis(pause_ms)).await;
            }
            sockets::connect(hosts, self.options.connect).await
        };
        let late =
            |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time (connectToLearnerMasterLimit)");
        timeout(self.options.connect, tries).await.map_err(late)?
    }

    /// Reads until the link ends.
    async fn read(&self, link: &Rc<Link>, reader: OwnedReadHalf) -> Result<(), String> {
        let mut packets = Packets::new(self.options.data_max);
        let mut buffer = vec![0; READ_BYTES].into_boxed_slice();
        let mut inputs = Vec::new();
        while !link.is_closed.get() {
            let is_ready = if link.snapshot.borrow().is_some() {
                let stalled = |_| "its snapshot stalls (initLimit)".to_owned();
                timeout(self.options.patience, reader.readable()).await.map_err(stalled)?.is_ok()
            } else {
                reader.readable().await.is_ok()
            };
            if !is_ready {
                return Ok(());
            }
            match reader.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.take(link, &mut packets, &buffer[..n], &mut inputs)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Hands over every whole packet, all at once but for what a snapshot follows.
    fn take(
        &self,
        link: &Rc<Link>,
        packets: &mut Packets,
        bytes: &[u8],
        inputs: &mut Vec<Input>,
    ) -> Result<(), String> {
        let Some(rest) = self.take_snapshot(link, bytes)? else { return Ok(()) };
        packets.push(rest);
        while let Some(packet) = packets.next().map_err(|e| format!("it sent no packet: {e}"))? {
            let is_snapshot_next = packet.kind == PacketKind::Snap;
            inputs.push(Input::FromLeader { packet });
            if !is_snapshot_next {
                continue;
            }
            (self.sink)(inputs);
            inputs.clear();
            if link.is_closed.get() {
                return Ok(());
            }
            let held = packets.rest().to_vec();
            packets.advance(held.len());
            match self.take_snapshot(link, &held)? {
                Some(rest) => packets.push(rest),
                None => return Ok(()),
            }
        }
        if !inputs.is_empty() {
            (self.sink)(inputs);
            inputs.clear();
        }
        Ok(())
    }

    /// What of the bytes is no snapshot: all of them unless one is being received.
    fn take_snapshot<'a>(&self, link: &Link, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, String> {
        let mut receiving = link.snapshot.borrow_mut();
        let Some(snapshot) = receiving.as_mut() else { return Ok(Some(bytes)) };
        let Some(rest) = snapshot.push(bytes).map_err(|e| e.to_string())? else { return Ok(None) };
        let zxid = snapshot.zxid();
        let finished = receiving.take().map(Receiving::finish);
        drop(receiving);
        match finished {
            Some(Ok(tree)) => (self.received)(Received::Tree { zxid, tree: Box::new(tree) }),
            Some(Err(why)) => {
                (self.received)(Received::Nothing);
                return Err(format!("its snapshot is no tree: {why}"));
            }
            None => {}
        }
        Ok(Some(rest))
    }

    /// The link ended by itself.
    fn ended(&self, link: &Rc<Link>, outcome: Result<(), String>) {
        let is_current = self.link.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, link));
        if !is_current {
            return;
        }
        self.link.borrow_mut().take();
        match outcome {
            Ok(()) => tracing::debug!(leader = link.sid, "the link to the leader ended"),
            Err(why) => tracing::warn!(leader = link.sid, "closing the link to the leader: {why}"),
        }
        if link.snapshot.take().is_some() {
            (self.received)(Received::Nothing);
        }
        (self.sink)(&mut vec![Input::LeaderClosed]);
    }
}
