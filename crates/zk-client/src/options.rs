//! How to reach an ensemble and what to ask of it.

use bytes::Bytes;

use crate::chroot::Chroot;
use crate::error::{Result, ZkError};

const DEFAULT_PORT: u16 = 2181;

/// A session, to be taken up again by another client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: i64,
    pub passwd: Bytes,
    /// As negotiated with the server.
    pub timeout_ms: i32,
}

/// Everything [`crate::ZkClient::connect`] needs.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// `host:port,host:port…`, optionally with a chroot behind: `host:2181/app`. A port left out is 2181. They are
    /// tried in random order, so that clients spread.
    pub hosts: String,
    /// Put before every path, on top of one in `hosts`. Empty or `/` for none.
    pub chroot: String,
    /// Asked for; the server may grant another.
    pub session_timeout_ms: i32,
    /// How long `connect` may take; `None`: as long as the session timeout.
    pub connect_timeout_ms: Option<u64>,
    /// Whether a server without a quorum will do.
    pub can_be_read_only: bool,
    /// A session to take up instead of a new one.
    pub session: Option<Session>,
    /// Credentials, sent on every connection before anything else: scheme and bytes (`digest`, `user:password`).
    pub auth: Vec<(String, Bytes)>,
    /// Requests sent and not answered; more wait in the client.
    pub in_flight_max: usize,
    /// Requests that may wait; more are refused with [`ZkError::QueueFull`].
    pub queued_max: usize,
    /// Events not yet taken, beyond which the client stops reading.
    pub events_max: usize,
    /// The largest reply taken, in bytes.
    pub frame_bytes_max: usize,
}

impl ConnectOptions {
    pub fn new(hosts: impl Into<String>) -> Self {
        Self {
            hosts: hosts.into(),
            chroot: String::new(),
            session_timeout_ms: 18_000,
            connect_timeout_ms: None,
            can_be_read_only: false,
            session: None,
            auth: Vec::new(),
            in_flight_max: 4096,
            queued_max: 65_536,
            events_max: 65_536,
            frame_bytes_max: 64 << 20,
        }
    }

    pub fn session_timeout_ms(mut self, timeout_ms: i32) -> Self {
        self.session_timeout_ms = timeout_ms;
        self
    }

    pub fn connect_timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.connect_timeout_ms = Some(timeout_ms);
        self
    }

    pub fn chroot(mut self, chroot: impl Into<String>) -> Self {
        self.chroot = chroot.into();
        self
    }

    /// The servers as `host:port`, and the whole chroot.
    pub(crate) fn parse_hosts(&self) -> Result<(Vec<String>, Chroot)> {
        let (list, behind) = match self.hosts.find('/') {
            Some(at) => self.hosts.split_at(at),
            None => (self.hosts.as_str(), ""),
        };
        let hosts = list
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(with_port)
            .collect::<Result<Vec<_>>>()?;
        if hosts.is_empty() {
            return Err(ZkError::BadArgument(format!("no host in {:?}", self.hosts)));
        }
        let chroot = Chroot::new(behind)?.join(&Chroot::new(&self.chroot)?);
        Ok((hosts, chroot))
    }
}

/// Adds the default port; an IPv6 address needs brackets to have one of its own.
fn with_port(host: &str) -> Result<String> {
    let port = match host.rsplit_once(':') {
        Some((head, port)) if head.ends_with(']') || !head.contains(':') => Some(port),
        _ => None,
    };
    match port {
        None if host.contains(':') && !host.starts_with('[') => Ok(format!("[{host}]:{DEFAULT_PORT}")),
        None => Ok(format!("{host}:{DEFAULT_PORT}")),
        Some(port) if port.parse::<u16>().is_ok_and(|p| p != 0) => Ok(host.to_owned()),
        Some(port) => Err(ZkError::BadArgument(format!("{port:?} in {host:?} is not a port"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &str, chroot: &str, expect: (&[&str], &str)) {
        let options = ConnectOptions::new(hosts).chroot(chroot);
        let (hosts, root) = options.parse_hosts().expect("well formed");
        assert_eq!(hosts, expect.0);
        assert_eq!(root.add("/x"), format!("{}/x", expect.1));
    }

    #[test]
    fn hosts_come_with_ports_and_a_chroot_behind() {
        check("a:1,b", "", (&["a:1", "b:2181"], ""));
        check(" a:1 , b:2/app/x", "", (&["a:1", "b:2"], "/app/x"));
        check("a/", "/", (&["a:2181"], ""));
        check("a/k", "/sub", (&["a:2181"], "/k/sub"));
        check("[::1]:5,::1,[::2]", "", (&["[::1]:5", "[::1]:2181", "[::2]:2181"], ""));
    }

    #[test]
    fn nonsense_is_refused() {
        for hosts in ["", ",", "/app", "a:b", "a:0", "a:1//x", "a:1/x/"] {
            assert!(ConnectOptions::new(hosts).parse_hosts().is_err(), "{hosts:?}");
        }
    }
}
