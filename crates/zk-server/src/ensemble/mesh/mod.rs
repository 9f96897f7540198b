//! The election mesh: one connection to every other server, over which votes are told (`QuorumCnxManager`).
//!
//! Between two servers the one with the larger number dials; a connection from a smaller one is closed and dialled
//! back. Of what is to be said to a server only the newest counts, and it is said again on a new connection. What a
//! vote means is `zk-zab`'s business.
//!
//! Bounds: handshakes in progress, strangers, frames ([`FRAME_MAX`]), one frame to send a server. Whoever breaks the
//! protocol loses the connection it did so on.

mod handshake;
mod link;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use zk_proto::Writer;
use zk_proto::quorum::{Config, Notification, PeerState, Sid};
use zk_zab::Input;

use super::Sink;
use super::sockets::{self, HostPort, directory, election_addresses};
use crate::clock::Clock;
use crate::complaints::Complaints;
pub(crate) use handshake::accept;
use link::MeshLink;

/// Pauses between dials while this server is looking for a leader.
const REDIAL_MIN: Duration = Duration::from_millis(50);
const REDIAL_MAX: Duration = Duration::from_millis(1000);

/// A server that was told to dial back gets at least this long.
const DIAL_BACK: Duration = Duration::from_millis(250);

/// Two servers that dial each other at once are done with it after this time.
const CROSSING: Duration = Duration::from_millis(500);

/// Servers that stand in no list of ours: those that are to be added soon, and observers without a number.
const STRANGERS_MAX: usize = 16;

/// What the mesh is told of the settings.
#[derive(Debug, Clone)]
pub(crate) struct MeshOptions {
    pub(crate) sid: Sid,
    /// `cnxTimeout`.
    pub(crate) connect_timeout: Duration,
    /// A hello must have come after this time.
    pub(crate) hello_timeout: Duration,
    /// Bytes unacknowledged for so long end a connection.
    pub(crate) unanswered: Duration,
    pub(crate) keep_alive: bool,
}

/// See the module's header.
pub(crate) struct Mesh {
    options: MeshOptions,
    clock: Clock,
    sink: Sink,
    complaints: Rc<Complaints>,
    peers: RefCell<BTreeMap<Sid, Peer>>,
    /// Election addresses by server.
    addresses: RefCell<BTreeMap<Sid, Vec<HostPort>>>,
    is_looking: Cell<bool>,
    handshakes: Cell<usize>,
    last_unnumbered: Cell<Sid>,
}

/// Another server, connected or not.
#[derive(Default)]
struct Peer {
    link: Option<Rc<MeshLink>>,
    /// What was last to be said to it.
    last: Option<Said>,
    is_dialling: bool,
    pause: Duration,
    /// Ends the pause.
    retry: Rc<Notify>,
    /// Where it said it can be dialled; used if no list names it.
    said_addresses: Vec<HostPort>,
}

struct Said {
    frame: Bytes,
    is_looking: bool,
}

impl Mesh {
    pub(crate) fn new(
        options: MeshOptions,
        clock: Clock,
        complaints: Rc<Complaints>,
        sink: Sink,
    ) -> Rc<Self> {
        Rc::new(Self {
            options,
            clock,
            sink,
            complaints,
            peers: RefCell::default(),
            addresses: RefCell::default(),
            is_looking: Cell::new(true),
            handshakes: Cell::new(0),
            last_unnumbered: Cell::new(0),
        })
    }

    /// Who the servers are; connections that stand are kept.
    pub(crate) fn set_servers(&self, configs: &[&Config]) {
        *self.addresses.borrow_mut() = directory(configs, election_addresses);
    }

    /// While looking, servers that are to be told something are dialled until they can be.
    pub(crate) fn set_looking(self: &Rc<Self>, is_looking: bool) {
        self.is_looking.set(is_looking);
        if is_looking {
            return;
        }
        // A vote of an election that is over must not reach anybody on a later connection.
        for peer in self.peers.borrow_mut().values_mut().filter(|p| p.link.is_none()) {
            peer.last.take_if(|said| said.is_looking);
        }
    }

    /// Says this to that server, now or when it is connected, unless something newer is to be said by then.
    pub(crate) fn notify(self: &Rc<Self>, to: Sid, notification: &Notification) {
        let mut w = Writer::with_capacity(512);
        let at = w.begin_frame();
        notification.encode(&mut w);
        w.end_frame(at);
        let is_looking = notification.state == PeerState::Looking;
        let said = Said { frame: w.into_bytes(), is_looking };
        let mut peers = self.peers.borrow_mut();
        if !peers.contains_key(&to) && !self.addresses.borrow().contains_key(&to) {
            return;
        }
        let peer = peers.entry(to).or_default();
        if let Some(link) = &peer.link {
            link.send(said.frame.clone());
            peer.last = Some(said);
            return;
        }
        peer.last = Some(said);
        drop(peers);
        self.dial(to);
    }

    /// Dials a server in the background, unless it is connected or being dialled.
    fn dial(self: &Rc<Self>, sid: Sid) {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(sid).or_default();
        if peer.link.is_some() {
            return;
        }
        if std::mem::replace(&mut peer.is_dialling, true) {
            peer.retry.notify_one();
            return;
        }
        peer.pause = REDIAL_MIN;
        drop(peers);
        let mesh = self.clone();
        spawn_local(async move {
            loop {
                let told = mesh.dial_once(sid).await;
                let Some((pause, retry)) = mesh.next_try(sid, told) else { return };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = retry.notified() => tokio::time::sleep(REDIAL_MIN).await,
                }
                if mesh.is_settled(sid) {
                    return;
                }
            }
        });
    }

    /// True if the server has been reached.
    async fn dial_once(self: &Rc<Self>, sid: Sid) -> bool {
        let hosts = self.hosts_of(sid);
        let patience = self.options.connect_timeout;
        let hello = self.hello();
        let outcome = async {
            let mut stream = sockets::connect(&hosts, patience).await?;
            if !self.is_linked(sid) {
                handshake::send_hello(&mut stream, &hello).await?;
            }
            Ok::<TcpStream, std::io::Error>(stream)
        };
        match outcome.await {
            // It dialled meanwhile.
            Ok(_) if self.is_linked(sid) => true,
            Ok(stream) if sid < self.options.sid => {
                self.install(sid, stream);
                true
            }
            Ok(stream) => {
                // The larger number dials; this one only asked for it.
                handshake::finish(stream).await;
                true
            }
            Err(error) => {
                tracing::debug!(sid, %error, "a server cannot be reached on its election port");
                (self.sink)(&mut vec![Input::MeshDown { sid }]);
                false
            }
        }
    }

    fn is_linked(&self, sid: Sid) -> bool {
        self.peers.borrow().get(&sid).is_some_and(|p| p.link.is_some())
    }

    fn hosts_of(&self, sid: Sid) -> Vec<HostPort> {
        let listed = self.addresses.borrow().get(&sid).cloned();
        let said = || self.peers.borrow().get(&sid).map(|p| p.said_addresses.clone());
        listed.or_else(said).unwrap_or_default()
    }

    /// The pause before the next dial, if there is to be one.
    fn next_try(&self, sid: Sid, told: bool) -> Option<(Duration, Rc<Notify>)> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.get_mut(&sid)?;
        if peer.link.is_none() && !self.addresses.borrow().contains_key(&sid) {
            // A stranger that cannot be dialled back is nobody.
            peers.remove(&sid);
            return None;
        }
        if peer.link.is_some() || peer.last.is_none() || !self.is_looking.get() {
            peer.is_dialling = false;
            return None;
        }
        let pause = if told { peer.pause.max(DIAL_BACK) } else { peer.pause };
        peer.pause = (peer.pause * 2).min(REDIAL_MAX);
        Some((pause, peer.retry.clone()))
    }

    /// Whether dialling has become unnecessary during the pause.
    fn is_settled(&self, sid: Sid) -> bool {
        let mut peers = self.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&sid) else { return true };
        let is_settled = peer.link.is_some() || !self.is_looking.get();
        if is_settled {
            peer.is_dialling = false;
        }
        is_settled
    }

    fn hello(&self) -> zk_proto::quorum::Hello {
        let own = self.addresses.borrow().get(&self.options.sid).cloned().unwrap_or_default();
        zk_proto::quorum::Hello { sid: self.options.sid, addresses: own.iter().map(sockets::shown).collect() }
    }

    /// A connection stands; one to the same server before it is closed.
    fn install(self: &Rc<Self>, sid: Sid, stream: TcpStream) {
        sockets::give_up_after(&stream, self.options.unanswered);
        if self.options.keep_alive {
            let _ = socket2::SockRef::from(&stream).set_keepalive(true);
        }
        let link = MeshLink::new(sid, &stream);
        {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.entry(sid).or_default();
            if let Some(old) = peer.link.replace(link.clone()) {
                old.close();
            }
            peer.pause = REDIAL_MIN;
            if let Some(said) = &peer.last {
                link.send(said.frame.clone());
            }
        }
        tracing::debug!(sid, peer = %link.peer, "election connection stands");
        (self.sink)(&mut vec![Input::MeshUp { sid }]);
        let mesh = self.clone();
        spawn_local(async move {
            let why = link::serve(&mesh, &link, stream).await;
            mesh.lost(&link, why);
        });
    }

    /// A connection is gone; unless it was replaced, the server cannot be heard.
    fn lost(self: &Rc<Self>, link: &Rc<MeshLink>, why: Option<String>) {
        if let Some(why) = why {
            self.complain(link.peer, &format_args!("server {}: {why}", link.sid));
        }
        if !self.forget(link) {
            return;
        }
        tracing::debug!(sid = link.sid, "election connection lost");
        (self.sink)(&mut vec![Input::MeshDown { sid: link.sid }]);
        if self.is_looking.get() && self.addresses.borrow().contains_key(&link.sid) {
            self.dial(link.sid);
        }
    }

    /// False if it was not the server's connection any more.
    fn forget(&self, link: &Rc<MeshLink>) -> bool {
        let mut peers = self.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&link.sid) else { return false };
        if !peer.link.as_ref().is_some_and(|current| Rc::ptr_eq(current, link)) {
            return false;
        }
        peer.link = None;
        if !self.addresses.borrow().contains_key(&link.sid) {
            peers.remove(&link.sid);
        }
        true
    }

    /// Closes the connection to a server that says it has none. False if that connection is so young that the two
    /// have only crossed.
    fn drop_link(self: &Rc<Self>, sid: Sid) -> bool {
        let old = self.peers.borrow().get(&sid).and_then(|p| p.link.clone());
        let Some(link) = old else { return true };
        if link.opened.elapsed() < CROSSING {
            return false;
        }
        link.close();
        self.lost(&link, None);
        true
    }

    fn strangers(&self) -> usize {
        let known = self.addresses.borrow();
        self.peers.borrow().keys().filter(|sid| !known.contains_key(sid)).count()
    }

    fn complain(&self, peer: SocketAddr, why: &dyn Display) {
        self.complaints.closing(self.clock.now().mono_ms, peer, &format_args!("election port: {why}"));
    }

    /// A vote came.
    fn heard(&self, from: Sid, notification: Notification) {
        (self.sink)(&mut vec![Input::Notification { from, notification }]);
    }
}
