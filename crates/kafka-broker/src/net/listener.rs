//! Binds the listeners and accepts connections, each of which becomes one task.
//!
//! A panic in a request's handler ends that connection with a log line, never the broker.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::connection::Connection;
use super::limits::{Connections, Refusal};
use crate::broker::Broker;
use crate::config::{Listener, NetworkConfig};

/// Pause after an accept error that will not go away by itself (no descriptors left).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A listener's address cannot be used.
#[derive(Debug, Error)]
#[error("Socket server failed to bind to {address}: {source}. {advice}")]
pub struct BindError {
    address: String,
    source: io::Error,
    advice: &'static str,
}

/// A listener that is bound and not accepting yet: clients that connect early wait in its backlog.
#[derive(Debug)]
pub struct Bound {
    pub listener: Listener,
    pub address: SocketAddr,
    socket: TcpListener,
}

/// Binds `listener`.
pub fn bind(listener: &Listener, network: &NetworkConfig) -> Result<Bound, BindError> {
    let text = format!("{}:{}", listener.host.as_deref().unwrap_or("0.0.0.0"), listener.port);
    let failed = |source: io::Error| {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => "Another process listens there: stop it, or change listeners.",
            io::ErrorKind::PermissionDenied => {
                "Ports below 1024 need privileges: choose a higher one in listeners."
            }
            io::ErrorKind::AddrNotAvailable => {
                "This machine has no such address: bind 0.0.0.0 and set advertised.listeners."
            }
            _ => "Check listeners.",
        };
        BindError { address: text.clone(), source, advice }
    };
    let (socket, address) = bind_any(listener, network).map_err(failed)?;
    Ok(Bound { listener: listener.clone(), address, socket })
}

fn bind_any(listener: &Listener, network: &NetworkConfig) -> io::Result<(TcpListener, SocketAddr)> {
    // Java binds the wildcard of both families; without IPv6 on the machine the second one remains.
    let candidates: Vec<SocketAddr> = match listener.host.as_deref() {
        None => vec![
            (IpAddr::from([0u16; 8]), listener.port).into(),
            (IpAddr::from([0u8; 4]), listener.port).into(),
        ],
        Some(host) => (host, listener.port).to_socket_addrs()?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host name has no address");
    for address in candidates {
        match bind_one(address, network) {
            Ok(socket) => {
                let bound = socket.local_addr()?;
                return Ok((socket, bound));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr, network: &NetworkConfig) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if let Ok(bytes @ 1..) = usize::try_from(network.receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(network.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts until aborted.
pub fn accept(bound: Bound, broker: Arc<Broker>, connections: Arc<Connections>) -> JoinHandle<()> {
    let name: Arc<str> = bound.listener.name.as_str().into();
    info!("Awaiting socket connections on {} ({name}).", bound.address);
    tokio::spawn(async move {
        loop {
            match bound.socket.accept().await {
                Ok((stream, peer)) => admit(stream, peer, &name, &broker, &connections),
                Err(error) => {
                    // A connection reset before it was accepted is its client's affair.
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) {
                        error!("cannot accept connections on {name}: {error}; retrying");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        }
    })
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    name: &Arc<str>,
    broker: &Arc<Broker>,
    connections: &Arc<Connections>,
) {
    let registered = match connections.admit(peer.ip()) {
        Ok(registered) => registered,
        Err(_) if !connections.may_complain(peer.ip()) => return,
        Err(Refusal::TooManyFromAddress { limit }) => {
            warn!(
                "Rejected connection from {peer}, address already has the configured maximum of {limit} connections (max.connections.per.ip)."
            );
            return;
        }
        Err(Refusal::TooMany { limit }) => {
            warn!(
                "Rejected connection from {peer}: the broker has its configured maximum of {limit} connections (max.connections)."
            );
            return;
        }
    };
    let network = &broker.config.network;
    let _ = stream.set_nodelay(true);
    if let Ok(bytes @ 1..) = usize::try_from(network.send_buffer_bytes) {
        // The system caps it; a smaller buffer only costs throughput.
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(bytes);
    }
    let connection = Connection::new(stream, peer, name.clone(), broker.clone(), registered);
    tokio::spawn(connection.run_caught());
}
