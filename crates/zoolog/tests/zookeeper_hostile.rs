//! Hostile input on the ZooKeeper port: a healthy client does not notice, memory stays bounded, the log says who and why.
//!
//! `HOSTILE_CONNECTIONS=10000` opens as many half-open connections; either process may have 20 000 open files here.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::zoolog::write_zoo_cfg;
use testkit::{Server, free_port, wait_until};

/// A connection without a session is cut off after this, so that the tests need not wait for the usual ten seconds.
const SESSIONLESS_MS: u64 = 1500;

/// `jute.maxbuffer`'s default: the largest frame a session may send.
const FRAME_MAX: i32 = 0xf_ffff;

/// No frame of the protocol takes longer than this on an idle machine, by far.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and a client that must not notice anything.
struct Victim {
    // Ends before the server does.
    healthy: Healthy,
    server: Server,
    idle_kb: u64,
    _dir: TempDir,
}

impl Victim {
    fn start() -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let settings = format!("nio.sessionlessCnxnTimeout={SESSIONLESS_MS}");
        let config = write_zoo_cfg(dir.path(), port, &settings).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zoolog"));
        command.arg("zookeeper-server").arg(config);
        let server = Server::start(command, port, &dir.path().join("server.log")).unwrap();
        let healthy = Healthy::start(port);
        let idle_kb = resident_kb(server.pid());
        Self { server, healthy, idle_kb, _dir: dir }
    }

    fn dial(&self) -> TcpStream {
        let stream =
            TcpStream::connect(("127.0.0.1", self.server.port)).expect("the port is open to everybody");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `bytes`; the server must close without an answer.
    #[track_caller]
    fn is_refused(&self, bytes: &[u8]) {
        let mut stream = self.dial();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes);
        assert_eq!(rest_of(&mut stream), Some(vec![]), "{:?}", &bytes[..bytes.len().min(40)]);
    }

    /// A connection with a session.
    fn session(&self) -> TcpStream {
        let mut stream = self.dial();
        stream.write_all(&connect_request()).unwrap();
        read_frame(&mut stream).expect("a session is opened");
        stream
    }

    fn log_lines(&self, text: &str) -> usize {
        self.server.log_text().lines().filter(|l| l.contains(text)).count()
    }

    /// The healthy client's verdict and the server's memory.
    #[track_caller]
    fn is_unharmed(&self, grown_kb_max: u64) {
        self.healthy.goes_on();
        let grown = resident_kb(self.server.pid()).saturating_sub(self.idle_kb);
        assert!(grown <= grown_kb_max, "memory has grown by {grown} KiB over {} KiB", self.idle_kb);
        assert_eq!(self.log_lines("panicked"), 0, "{}", self.server.log_text());
    }
}

/// A session that writes and reads back, over and over.
struct Healthy {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    slowest_us: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Healthy {
    fn start(port: u16) -> Self {
        let rounds = Arc::new(AtomicU64::new(0));
        let (stop, slowest_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (r, s, t) = (rounds.clone(), stop.clone(), slowest_us.clone());
        let thread = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&connect_request()).unwrap();
            read_frame(&mut stream).expect("a session is opened");
            for xid in 1.. {
                let begun = Instant::now();
                let op = if xid == 1 { create("/healthy", b"x") } else { set_data("/healthy", b"y") };
                stream.write_all(&request(xid, if xid == 1 { 1 } else { 5 }, &op)).unwrap();
                let reply = read_frame(&mut stream).expect("the healthy client is answered");
                let err = i32::from_be_bytes(reply[12..16].try_into().unwrap());
                assert_eq!((i32::from_be_bytes(reply[..4].try_into().unwrap()), err), (xid, 0));
                t.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                r.fetch_add(1, Ordering::Relaxed);
                if s.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { rounds, stop, slowest_us, thread: Some(thread) }
    }

    /// Fails if it has met an error, or is not answered any more.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.rounds.load(Ordering::Relaxed);
        let went_on = || {
            let over = self.thread.as_ref().is_none_or(|t| t.is_finished());
            (over || self.rounds.load(Ordering::Relaxed) > before + 10).then_some(())
        };
        wait_until("the healthy client's next answers", PATIENCE, went_on).unwrap();
        assert!(!self.thread.as_ref().is_none_or(|t| t.is_finished()), "the healthy client was disturbed");
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let outcome = self.thread.take().map(|t| t.join());
        println!(
            "healthy client: {} writes, the slowest took {} ms",
            self.rounds.load(Ordering::Relaxed),
            self.slowest_us.load(Ordering::Relaxed) / 1000
        );
        if !std::thread::panicking() {
            assert!(matches!(outcome, Some(Ok(()))), "the healthy client was disturbed");
        }
    }
}

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// Protocol 0, last zxid 0, 10 s, no session, an empty password of 16 bytes, not read-only.
fn connect_request() -> Vec<u8> {
    let mut body = vec![0; 4 + 8];
    body.extend_from_slice(&10_000i32.to_be_bytes());
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&16i32.to_be_bytes());
    body.extend_from_slice(&[0; 17]);
    frame(&body)
}

fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [xid.to_be_bytes(), op.to_be_bytes()].concat();
    bytes.extend_from_slice(body);
    frame(&bytes)
}

fn create(path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = [frame(path.as_bytes()), frame(data)].concat();
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&31i32.to_be_bytes());
    body.extend([frame(b"world"), frame(b"anyone")].concat());
    body.extend_from_slice(&0i32.to_be_bytes());
    body
}

fn set_data(path: &str, data: &[u8]) -> Vec<u8> {
    [frame(path.as_bytes()), frame(data), (-1i32).to_be_bytes().to_vec()].concat()
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// What comes until the server closes; `None` if it does not close in time. A reset counts as closing.
fn rest_of(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        _ => Some(rest),
    }
}

/// A small generator of its own, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        (0..self.next() % max + 1).map(|_| self.next() as u8).collect()
    }
}

/// The lengths no frame may have, and the one byte too many, are refused at once and told with their number.
#[test]
fn lying_lengths_are_refused_at_once() {
    let victim = Victim::start();
    for length in [-1, 0, i32::MIN, i32::MAX, FRAME_MAX + 1] {
        victim.is_refused(&length.to_be_bytes());
        victim.server.await_log(&format!("a frame of {length} bytes was announced")).unwrap();
    }
    // Within a session too, where frames are larger.
    for length in [0, FRAME_MAX + 1] {
        let mut session = victim.session();
        session.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(rest_of(&mut session), Some(vec![]), "{length}");
    }
    let mut session = victim.session();
    let data = vec![7; FRAME_MAX as usize - 8 - (create("/full", b"").len())];
    session.write_all(&request(1, 1, &create("/full", &data))).unwrap();
    assert!(read_frame(&mut session).is_some(), "a frame of exactly the limit is taken");
    victim.is_unharmed(32 << 10);
}

/// Random bytes, other protocols, and every beginning of a handshake.
#[test]
fn bytes_of_no_protocol_harm_nobody() {
    let victim = Victim::start();
    victim.is_refused(b"GET /metrics HTTP/1.1\r\nHost: zookeeper\r\n\r\n");
    victim.server.await_log("HTTP").unwrap();
    let mut random = Random(0x5eed);
    for _ in 0..300 {
        let mut stream = victim.dial();
        let _ = stream.write_all(&random.bytes(2000));
    }
    let handshake = connect_request();
    for len in 1..handshake.len() {
        let mut stream = victim.dial();
        stream.write_all(&handshake[..len]).unwrap();
    }
    // Random bodies under a session's well-formed header: answered or cut off, never worse.
    for op in [1, 2, 3, 4, 5, 7, 8, 14, 15, 19, 21, 22, 100, 101, 105, 106] {
        let mut session = victim.session();
        for xid in 1..20 {
            let _ = session.write_all(&request(xid, op, &random.bytes(60)));
        }
    }
    victim.is_unharmed(32 << 10);
    assert!(victim.log_lines("WARN") < 60, "the log is flooded:\n{}", victim.server.log_text());
    assert!(victim.log_lines("peer=127.0.0.1:") > 0, "nobody is named:\n{}", victim.server.log_text());
}

/// One session that sends nothing but nonsense is told of once.
#[test]
fn a_flood_of_malformed_requests_is_one_line() {
    let victim = Victim::start();
    let mut session = victim.session();
    for xid in 1..=2000 {
        session.write_all(&request(xid, 4, &i32::MAX.to_be_bytes())).unwrap();
        let reply = read_frame(&mut session).expect("a request that cannot be read is answered");
        assert_eq!(reply[12..16], (-5i32).to_be_bytes(), "MarshallingError");
    }
    victim.is_unharmed(16 << 10);
    assert_eq!(victim.log_lines("cannot be read"), 1, "{}", victim.server.log_text());
}

/// Connections that say nothing, or half of something, cost little and are cut off in time; so are those that send a
/// byte now and then, and those that promise a megabyte.
#[test]
fn half_open_connections_and_dribblers_are_cut_off() {
    let victim = Victim::start();
    let count = std::env::var("HOSTILE_CONNECTIONS").ok().and_then(|v| v.parse().ok()).unwrap_or(1500);
    let promise = (FRAME_MAX / 2).to_be_bytes();
    let mut silent: Vec<TcpStream> = Vec::new();
    for n in 0..count {
        let mut stream = victim.dial();
        match n % 3 {
            0 => {}
            1 => stream.write_all(&connect_request()[..20]).unwrap(),
            _ => stream.write_all(&promise).unwrap(),
        }
        silent.push(stream);
    }
    victim.is_unharmed(16 * count + (16 << 10));
    let mut dribblers: Vec<TcpStream> = (0..50).map(|_| victim.dial()).collect();
    let mut sent = 0;
    wait_until("the dribblers' end", PATIENCE, || {
        let byte = connect_request()[sent % 44];
        sent += 1;
        // Never a whole handshake: the last byte is left out.
        dribblers.retain_mut(|d| sent > 43 || d.write_all(&[byte]).is_ok());
        std::thread::sleep(Duration::from_millis(100));
        (sent > 43 || dribblers.is_empty()).then_some(())
    })
    .unwrap();
    for stream in silent.iter_mut().chain(&mut dribblers) {
        assert_eq!(rest_of(stream), Some(vec![]), "a connection without a session stays open");
    }
    victim.is_unharmed(16 << 10);
    assert!(victim.log_lines("WARN") < 30, "the log is flooded:\n{}", victim.server.log_text());
}

/// Clients that ask for much and read nothing are not served beyond a bound.
#[test]
fn deaf_clients_do_not_fill_the_memory() {
    let victim = Victim::start();
    let mut writer = victim.session();
    writer.write_all(&request(1, 1, &create("/big", &vec![7; 900_000]))).unwrap();
    read_frame(&mut writer).expect("created");
    let get = [frame(b"/big"), vec![0]].concat();
    let burst: Vec<u8> = (1..=200).flat_map(|xid| request(xid, 4, &get)).collect();
    let mut deaf: Vec<TcpStream> = (0..20).map(|_| victim.session()).collect();
    for stream in &mut deaf {
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        // 180 MB of answers for each.
        let _ = stream.write_all(&burst);
    }
    victim.is_unharmed(100 << 10);
    drop(deaf);
    victim.is_unharmed(100 << 10);
}
