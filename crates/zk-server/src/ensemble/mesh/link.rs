//! One election connection: votes in, the newest vote out.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use zk_proto::quorum::notification::FRAME_MAX;
use zk_proto::quorum::{Config, Notification, Sid};

use super::Mesh;
use crate::ensemble::sockets;

/// The sending side, shared with whoever has something to say.
pub(super) struct MeshLink {
    pub(super) sid: Sid,
    pub(super) peer: SocketAddr,
    pub(super) opened: Instant,
    /// What is to be sent next: a newer frame takes the place of an older one.
    slot: RefCell<Option<Bytes>>,
    filled: Notify,
    closed: Notify,
}

impl MeshLink {
    pub(super) fn new(sid: Sid, stream: &TcpStream) -> Rc<Self> {
        Rc::new(Self {
            sid,
            peer: sockets::peer_of(stream),
            opened: Instant::now(),
            slot: RefCell::default(),
            filled: Notify::new(),
            closed: Notify::new(),
        })
    }

    pub(super) fn send(&self, frame: Bytes) {
        *self.slot.borrow_mut() = Some(frame);
        self.filled.notify_one();
    }

    pub(super) fn close(&self) {
        self.closed.notify_one();
    }
}

/// Runs the connection to its end; the reason, if the other side broke the protocol.
pub(super) async fn serve(mesh: &Rc<Mesh>, link: &Rc<MeshLink>, stream: TcpStream) -> Option<String> {
    let (reader, writer) = stream.into_split();
    tokio::select! {
        why = read(mesh, link.sid, reader) => why.err(),
        () = write(link, writer) => None,
        () = link.closed.notified() => None,
    }
}

async fn write(link: &MeshLink, mut writer: OwnedWriteHalf) {
    loop {
        link.filled.notified().await;
        let frame = link.slot.borrow_mut().take();
        if let Some(frame) = frame
            && writer.write_all(&frame).await.is_err()
        {
            return;
        }
    }
}

/// Ends with `Ok` when the connection does.
async fn read(mesh: &Mesh, sid: Sid, mut reader: OwnedReadHalf) -> Result<(), String> {
    let mut frame = Vec::new();
    loop {
        let Ok(length) = reader.read_i32().await else { return Ok(()) };
        let size = usize::try_from(length).ok().filter(|n| (1..=FRAME_MAX).contains(n));
        let size = size.ok_or_else(|| format!("it announced a message of {length} bytes"))?;
        frame.clear();
        // Grows as the bytes arrive: a length that lies costs nothing.
        let read = (&mut reader).take(size as u64).read_to_end(&mut frame).await;
        if !read.is_ok_and(|n| n == size) {
            return Ok(());
        }
        mesh.heard(sid, vote(&frame)?);
    }
}

/// A vote whose list of servers makes sense, or the reason why not. A list without voters ends an Apache server's
/// elections for good (facts: it raises in `WorkerReceiver`); here it ends the connection.
fn vote(frame: &[u8]) -> Result<Notification, String> {
    let notification = Notification::decode(frame).map_err(|e| format!("it sent no vote: {e}"))?;
    if let Some(text) = &notification.config {
        let config = Config::parse(text).map_err(|e| format!("its list of servers cannot be read: {e}"))?;
        if config.voters().next().is_none() {
            return Err("its list of servers names no participant".to_owned());
        }
    }
    Ok(notification)
}
