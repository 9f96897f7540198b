//! Names to addresses, connections and ports between servers.
//!
//! A name is looked up at every dial and all its addresses are tried, so that a server may move.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use zk_proto::quorum::{Member, Sid};

use crate::config::Ensemble;
use crate::error::StartError;
use crate::listener;

/// A host and one of its ports.
pub(crate) type HostPort = (String, u16);

/// Pause between tries to take a port, as Apache's.
const BIND_PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn election_addresses(member: &Member) -> Vec<HostPort> {
    member.addresses.iter().map(|a| (a.host.clone(), a.election_port)).collect()
}

pub(crate) fn quorum_addresses(member: &Member) -> Vec<HostPort> {
    member.addresses.iter().map(|a| (a.host.clone(), a.quorum_port)).collect()
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn shown((host, port): &HostPort) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The reverse of [`shown`].
pub(crate) fn parsed(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

/// Tries every address in turn, each for at most `patience`.
pub(crate) async fn connect(hosts: &[HostPort], patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address is known");
    for (host, port) in hosts {
        let found = match timeout(patience, lookup_host((host.as_str(), *port))).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                last = error;
                continue;
            }
            Err(_) => {
                last = io::Error::new(io::ErrorKind::TimedOut, "the name could not be looked up in time");
                continue;
            }
        };
        for address in found {
            match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
            }
        }
    }
    Err(last)
}

/// The two ports of a server of an ensemble, taken and not accepted from yet.
#[derive(Debug)]
pub(crate) struct QuorumPorts {
    pub(crate) election: Vec<StdListener>,
    pub(crate) quorum: Vec<StdListener>,
}

/// How ports are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    sid: Sid,
    listen_on_all: bool,
    /// 0 = without end.
    tries: u32,
    backlog: i32,
}

impl Binding {
    pub(crate) fn new(ensemble: &Ensemble, backlog: i32) -> Self {
        let (sid, listen_on_all, tries) = (ensemble.sid, ensemble.listen_on_all, ensemble.bind_tries);
        Self { sid, listen_on_all, tries, backlog }
    }

    /// Takes both ports of that server, which is this one, again and again as `electionPortBindRetry` says.
    pub(crate) fn take(self, me: &Member) -> Result<QuorumPorts, StartError> {
        let mut tried = 0;
        loop {
            let taken = self.take_once(me);
            tried += 1;
            match taken {
                Err(error) if self.tries == 0 || tried < self.tries => {
                    tracing::warn!("{error}; trying again");
                    std::thread::sleep(BIND_PAUSE);
                }
                taken => return taken,
            }
        }
    }

    fn take_once(self, me: &Member) -> Result<QuorumPorts, StartError> {
        let all = |addresses: Vec<HostPort>, what| -> Result<Vec<StdListener>, StartError> {
            addresses.iter().map(|at| self.bind(at, what)).collect()
        };
        Ok(QuorumPorts {
            election: all(election_addresses(me), "election port")?,
            quorum: all(quorum_addresses(me), "quorum port")?,
        })
    }

    fn bind(self, at: &HostPort, what: &'static str) -> Result<StdListener, StartError> {
        let failed = |source| StartError::QuorumPort { what, address: shown(at), sid: self.sid, source };
        if self.listen_on_all {
            return listener::open_all(at.1, self.backlog).map_err(failed);
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (at.0.as_str(), at.1).to_socket_addrs().map_err(failed)? {
            match listener::open(address, self.backlog) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

/// Gives a connection up whose bytes nobody acknowledges for that long: after a partition the next dial is quicker
/// than TCP's own patience.
pub(crate) fn give_up_after(stream: &TcpStream, patience: Duration) {
    let ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    // Failing to set an option leaves a slower connection, not a broken one.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, ms);
}

/// Who is at the other end, for log lines.
pub(crate) fn peer_of(stream: &TcpStream) -> SocketAddr {
    stream.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

/// The known servers' addresses of one kind.
pub(crate) fn directory(
    configs: &[&zk_proto::quorum::Config],
    of: impl Fn(&Member) -> Vec<HostPort>,
) -> std::collections::BTreeMap<Sid, Vec<HostPort>> {
    configs.iter().flat_map(|c| &c.members).map(|(sid, member)| (*sid, of(member))).collect()
}
