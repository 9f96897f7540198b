//! The client port: bound once at start, then accepted from until the server stops.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::error::StartError;
use crate::link;
use crate::server::Server;

/// Java's default backlog.
const BACKLOG: i32 = 50;

/// After an error of accept, most likely too many open files, the next try waits this long.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Takes the port without accepting yet; on every address if no host is named.
pub(crate) fn bind(host: Option<&str>, port: u16, backlog: i32) -> Result<StdListener, StartError> {
    let address = address(host, port)?;
    match host {
        None => open_all(port, backlog),
        Some(_) => open(address, backlog),
    }
    .map_err(|e| refused(address, e))
}

/// On every address; a machine without IPv6 still listens on every IPv4 address.
pub(crate) fn open_all(port: u16, backlog: i32) -> io::Result<StdListener> {
    let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    open(all, backlog).or_else(|_| open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), backlog))
}

fn address(host: Option<&str>, port: u16) -> Result<SocketAddr, StartError> {
    let Some(host) = host else { return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) };
    let failed = |source| StartError::Resolve { host: host.to_owned(), source };
    let mut found = (host, port).to_socket_addrs().map_err(failed)?;
    found.next().ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

pub(crate) fn open(address: SocketAddr, backlog: i32) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let IpAddr::V6(ip) = address.ip() {
        // Both families on one port, as a Java server socket has it.
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(if backlog > 0 { backlog } else { BACKLOG })?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn refused(address: SocketAddr, source: io::Error) -> StartError {
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortTaken { address, source }
    } else {
        StartError::Listen { address, source }
    }
}

/// Accepts until the task is dropped; each connection gets a task of its own.
pub(crate) async fn accept(server: Rc<Server>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Failing to set an option leaves a slower connection, not a broken one.
                let _ = stream.set_nodelay(true);
                if server.config.tcp_keep_alive {
                    let _ = socket2::SockRef::from(&stream).set_keepalive(true);
                }
                tokio::task::spawn_local(link::serve(server.clone(), stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; the limit on open files may be reached");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
