//! Asking the servers, all at once, each within a time that nothing can stretch.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::members::{HostPort, Server, show};

/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_millis(1500);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_millis(1000);
/// How long a word's answer may take from the connection on.
const ANSWER: Duration = Duration::from_millis(1500);
/// Everything about one server: a client port and an election port that both swallow packets, and some room.
const ALL: Duration = Duration::from_millis(5000);
/// No server says more to a word that is asked here.
const ANSWER_MAX: u64 = 1 << 20;

/// What a server, or the silence in its place, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Serving(Report),
    /// The process runs and answers, and serves nobody: it looks for a leader or takes over its state.
    NotServing,
    /// Its election port answers; why there is no more to say.
    Up(String),
    /// Why it cannot be reached.
    Missing(String),
}

/// `srvr`, and `mntr` where it is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub mode: String,
    pub version: String,
    pub zxid: i64,
    pub connections: Option<i64>,
    pub outstanding: Option<i64>,
    /// `mntr`'s keys without `zk_`; empty where it is not allowed.
    pub mntr: BTreeMap<String, String>,
}

impl Report {
    /// Reads `srvr`'s answer; `None` if it is not one.
    pub fn parse(srvr: &str) -> Option<Self> {
        let mut report = Self::default();
        for (key, value) in srvr.lines().filter_map(|line| line.split_once(": ")) {
            match key {
                "Zookeeper version" => value.split(',').next()?.clone_into(&mut report.version),
                "Zxid" => report.zxid = i64::from_str_radix(value.trim_start_matches("0x"), 16).ok()?,
                "Mode" => value.clone_into(&mut report.mode),
                "Connections" => report.connections = value.parse().ok(),
                "Outstanding" => report.outstanding = value.parse().ok(),
                _ => {}
            }
        }
        (!report.mode.is_empty()).then_some(report)
    }

    fn take_mntr(&mut self, mntr: &str) {
        let lines = mntr.lines().filter_map(|line| line.split_once('\t'));
        self.mntr = lines
            .filter_map(|(key, value)| Some((key.strip_prefix("zk_")?.to_owned(), value.to_owned())))
            .collect();
    }

    pub fn epoch(&self) -> i64 {
        zk_proto::quorum::zxid::epoch(self.zxid)
    }
}

/// Asks every server; the answers in their order.
pub fn ask_all(servers: &[Server]) -> Vec<Answer> {
    let hosts: BTreeSet<&str> = servers
        .iter()
        .flat_map(|server| server.client.iter().chain(&server.election))
        .map(|(host, _)| host.as_str())
        .collect();
    let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
    let resolved = at_once(&hosts, RESOLVE, |host| resolve(&host));
    let resolved: BTreeMap<String, Vec<IpAddr>> =
        hosts.into_iter().zip(resolved).map(|(host, found)| (host, found.unwrap_or_default())).collect();
    let asked: Vec<Asked> = servers.iter().map(|server| Asked::new(server, servers, &resolved)).collect();
    let answers = at_once(&asked, ALL, |asked| asked.answer());
    let silence = || Answer::Missing("no answer in time".to_owned());
    answers.into_iter().map(|answer| answer.unwrap_or_else(silence)).collect()
}

/// Runs `work` on every item in a thread of its own; what is not there after `limit` is `None`, and its thread is
/// left behind: a name server that does not answer cannot be interrupted.
fn at_once<I, T>(items: &[I], limit: Duration, work: fn(I) -> T) -> Vec<Option<T>>
where
    I: Clone + Send + 'static,
    T: Send + 'static,
{
    let (send, receive) = mpsc::channel();
    for (index, item) in items.iter().cloned().enumerate() {
        let send = send.clone();
        std::thread::spawn(move || send.send((index, work(item))));
    }
    drop(send);
    let end = Instant::now() + limit;
    let mut found: Vec<Option<T>> = items.iter().map(|_| None).collect();
    while let Ok((index, value)) = receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
        found[index] = Some(value);
    }
    found
}

fn resolve(host: &str) -> Vec<IpAddr> {
    let addresses = (host, 0).to_socket_addrs();
    addresses.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}

/// One server with its addresses resolved.
#[derive(Debug, Clone)]
struct Asked {
    client: Option<(HostPort, Vec<SocketAddr>)>,
    election: Vec<(HostPort, Vec<SocketAddr>)>,
}

impl Asked {
    fn new(server: &Server, all: &[Server], resolved: &BTreeMap<String, Vec<IpAddr>>) -> Self {
        let with = |address: &HostPort| {
            let ips = resolved.get(&address.0).into_iter().flatten();
            (address.clone(), ips.map(|ip| SocketAddr::new(*ip, address.1)).collect())
        };
        // Another server's host has another server's port.
        let ips = |server: &Server| -> BTreeSet<IpAddr> {
            let hosts = server.client.iter().chain(&server.election).map(|(host, _)| host);
            hosts.flat_map(|host| resolved.get(host).into_iter().flatten().copied()).collect()
        };
        let shared = || all.iter().any(|other| other != server && !ips(other).is_disjoint(&ips(server)));
        let client = server.client.as_ref().filter(|_| !server.guessed || !shared());
        Self { client: client.map(with), election: server.election.iter().map(with).collect() }
    }

    fn answer(self) -> Answer {
        let mut why = None;
        if let Some((address, ips)) = &self.client {
            match ask_client_port(address, ips) {
                Ok(answer) => return answer,
                Err(reason) => why = Some(reason),
            }
        }
        let mut reasons = Vec::new();
        for ((host, port), ips) in &self.election {
            match connect(&(host.clone(), *port), ips) {
                Ok(_) => {
                    let reason = why
                        .unwrap_or_else(|| "its client port is not known; name it with --server".to_owned());
                    return Answer::Up(reason);
                }
                Err(reason) => reasons.push(reason),
            }
        }
        // What is wrong with the port that is always open says most.
        Answer::Missing(reasons.into_iter().next().or(why).unwrap_or_else(|| "it has no address".to_owned()))
    }
}

fn ask_client_port(address: &HostPort, ips: &[SocketAddr]) -> Result<Answer, String> {
    let answer = word(address, ips, "srvr")?;
    if let Some(mut report) = Report::parse(&answer) {
        if let Ok(mntr) = word(address, ips, "mntr") {
            report.take_mntr(&mntr);
        }
        return Ok(Answer::Serving(report));
    }
    if answer.contains("not currently serving requests") {
        return Ok(Answer::NotServing);
    }
    let shown = show(&address.0, address.1);
    Err(match answer.lines().next() {
        None => format!("{shown} closes the connection without an answer to `srvr`"),
        Some(line) => format!("{shown} is no ZooKeeper server: to `srvr` it answers {line:?}"),
    })
}

/// What a four-letter word answers, from an address that has not been resolved yet.
pub fn ask_word(address: &HostPort, text: &str) -> Result<String, String> {
    let ips: Vec<SocketAddr> =
        resolve(&address.0).into_iter().map(|ip| SocketAddr::new(ip, address.1)).collect();
    word(address, &ips, text)
}

fn word(address: &HostPort, ips: &[SocketAddr], text: &str) -> Result<String, String> {
    let mut stream = connect(address, ips)?;
    let end = Instant::now() + ANSWER;
    let silent = || {
        let shown = show(&address.0, address.1);
        format!("{shown} accepts connections and does not answer: the process hangs, or is stopped")
    };
    stream.write_all(text.as_bytes()).map_err(|_| silent())?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() as u64 > ANSWER_MAX {
            return Err(silent());
        }
        stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            // What came before the reset counts.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(_) => return Err(silent()),
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(address: &HostPort, ips: &[SocketAddr]) -> Result<TcpStream, String> {
    let shown = show(&address.0, address.1);
    let mut why = format!("the name {} does not resolve", address.0);
    let end = Instant::now() + CONNECT;
    for ip in ips {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(ip, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                why = match error.kind() {
                    ErrorKind::ConnectionRefused => {
                        format!("nothing listens on {shown}: the server is not running")
                    }
                    ErrorKind::TimedOut | ErrorKind::WouldBlock => format!(
                        "no answer from {shown} within {} s: the host is down, or a firewall drops packets",
                        CONNECT.as_secs()
                    ),
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                        format!("there is no way to {shown}: the host is down, or the network is")
                    }
                    _ => format!("{shown}: {error}"),
                };
            }
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SRVR: &str = "Zookeeper version: 3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17 \
        23:21 UTC\nLatency min/avg/max: 0/0.0/0\nReceived: 2\nSent: 1\nConnections: 3\nOutstanding: 4\n\
        Zxid: 0x500000012\nMode: leader\nNode count: 5\nProposal sizes last/min/max: 36/36/36\n";

    #[test]
    fn srvr_is_understood() {
        let report = Report::parse(SRVR).expect("an answer");
        assert_eq!((report.mode.as_str(), report.epoch(), report.zxid & 0xff), ("leader", 5, 0x12));
        assert_eq!((report.connections, report.outstanding), (Some(3), Some(4)));
        assert!(report.version.starts_with("3.9.3-c26"));
        assert_eq!(Report::parse("This ZooKeeper instance is not currently serving requests\n"), None);
    }

    /// A server that answers every connection with `answer`.
    fn speaker(answer: &'static str) -> HostPort {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut asked = [0; 4];
                let _ = stream.read_exact(&mut asked);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        ("127.0.0.1".to_owned(), port)
    }

    fn answer(client: Option<HostPort>, election: Vec<HostPort>) -> Answer {
        let mut server = Server::at(("127.0.0.1".into(), 1));
        (server.client, server.election) = (client, election);
        ask_all(&[server]).remove(0)
    }

    fn nobody() -> HostPort {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port())
    }

    #[test]
    fn a_server_is_serving_waiting_up_or_missing() {
        assert!(
            matches!(answer(Some(speaker(SRVR)), vec![]), Answer::Serving(report) if report.mode == "leader")
        );
        let waits = speaker("This ZooKeeper instance is not currently serving requests\n");
        assert_eq!(answer(Some(waits), vec![]), Answer::NotServing);
        assert!(
            matches!(answer(Some(nobody()), vec![speaker("")]), Answer::Up(why) if why.contains("nothing listens"))
        );
        assert!(matches!(answer(None, vec![nobody()]), Answer::Missing(why) if why.contains("not running")));
        let web = speaker("HTTP/1.1 400 Bad Request\r\n");
        assert!(
            matches!(answer(Some(web), vec![]), Answer::Missing(why) if why.contains("no ZooKeeper server"))
        );
    }

    #[test]
    fn a_guessed_port_of_a_shared_host_is_not_asked() {
        let (first, second) = (speaker(SRVR), nobody());
        let mut guessed = Server::at(first.clone());
        (guessed.guessed, guessed.election) = (true, vec![second]);
        let answers = ask_all(&[Server::at(first), guessed]);
        assert!(matches!(&answers[0], Answer::Serving(_)));
        assert!(matches!(&answers[1], Answer::Missing(_)), "the first one's answer is not the second one's");
    }
}
