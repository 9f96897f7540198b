//! The beginning of an election connection: who dials, and which side keeps it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;
use zk_proto::Writer;
use zk_proto::quorum::Hello;
use zk_proto::quorum::notification::OBSERVER_SID;

use super::{Mesh, STRANGERS_MAX};
use crate::ensemble::sockets;
use crate::listener::ACCEPT_RETRY;

/// Connections whose hello has not come yet.
const HANDSHAKES_MAX: usize = 64;

/// How long a connection that was only to be dialled back stays open, so that its hello is read.
const LINGER: Duration = Duration::from_millis(500);

pub(super) async fn send_hello(stream: &mut TcpStream, hello: &Hello) -> io::Result<()> {
    let mut w = Writer::with_capacity(64);
    hello.encode(&mut w);
    stream.write_all(w.as_slice()).await
}

/// Lets the other side read what was sent, then closes.
pub(super) async fn finish(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let _ = timeout(LINGER, stream.read(&mut [0; 16])).await;
}

/// Accepts until the task is dropped.
pub(crate) async fn accept(mesh: Rc<Mesh>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(slot) = Slot::take(&mesh) else {
                    mesh.complain(peer, &"too many connections that have not said who they are");
                    continue;
                };
                let _ = stream.set_nodelay(true);
                spawn_local(receive(slot, stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the election port; the limit on open files may be reached");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A place among the handshakes in progress.
struct Slot(Rc<Mesh>);

impl Slot {
    fn take(mesh: &Rc<Mesh>) -> Option<Self> {
        let count = mesh.handshakes.get();
        (count < HANDSHAKES_MAX).then(|| {
            mesh.handshakes.set(count + 1);
            Self(mesh.clone())
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let count: &Cell<usize> = &self.0.handshakes;
        count.set(count.get() - 1);
    }
}

async fn receive(slot: Slot, mut stream: TcpStream, peer: SocketAddr) {
    let mesh = slot.0.clone();
    let hello = match timeout(mesh.options.hello_timeout, read_hello(&mut stream)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(why)) => return mesh.complain(peer, &why),
        Err(_) => return mesh.complain(peer, &"it did not say who it is in time"),
    };
    drop(slot);
    if let Err(why) = mesh.greet(hello, stream) {
        mesh.complain(peer, &why);
    }
}

async fn read_hello(stream: &mut TcpStream) -> Result<Hello, String> {
    let mut bytes = vec![0; Hello::HEAD];
    let ended = |e: io::Error| format!("it ended before it said who it is ({e})");
    stream.read_exact(&mut bytes).await.map_err(ended)?;
    let head = bytes.first_chunk().expect("so many bytes were read");
    let length = Hello::address_length(head).map_err(|e| format!("this is no server of an ensemble: {e}"))?;
    // The length is checked: at most ADDRESS_MAX.
    bytes.resize(Hello::HEAD + length, 0);
    stream.read_exact(&mut bytes[Hello::HEAD..]).await.map_err(ended)?;
    Hello::decode(&bytes).map_err(|e| format!("its address cannot be read: {e}"))
}

impl Mesh {
    /// Keeps the connection, or dials back, or refuses it with a reason.
    fn greet(self: &Rc<Self>, hello: Hello, stream: TcpStream) -> Result<(), String> {
        let mut sid = hello.sid;
        if sid == self.options.sid {
            return Err(format!("it claims to be server {sid}, which is this one; check the myid files"));
        }
        if sid == OBSERVER_SID {
            self.last_unnumbered.set(self.last_unnumbered.get() - 1);
            sid = self.last_unnumbered.get();
        } else if sid < 0 {
            return Err(format!("it claims to be server {sid}"));
        }
        let is_known = self.addresses.borrow().contains_key(&sid) || self.peers.borrow().contains_key(&sid);
        if !is_known && self.strangers() >= STRANGERS_MAX {
            return Err(format!(
                "server {sid} is in no list, and {STRANGERS_MAX} such servers are connected"
            ));
        }
        if !is_known {
            tracing::info!(sid, peer = %sockets::peer_of(&stream), "a server that is in no list connects to the election port");
        }
        if sid > self.options.sid || hello.sid == OBSERVER_SID {
            self.install(sid, stream);
            return Ok(());
        }
        if !self.drop_link(sid) {
            return Ok(());
        }
        let addresses = hello.addresses.iter().filter_map(|text| sockets::parsed(text)).collect();
        self.peers.borrow_mut().entry(sid).or_default().said_addresses = addresses;
        drop(stream);
        self.dial(sid);
        Ok(())
    }
}
