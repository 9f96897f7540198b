//! Hostile input on the Kafka port: a healthy client does not notice, memory stays bounded, the log says who and why.
//!
//! `HOSTILE_CONNECTIONS=10000` opens ten thousand half-open connections instead of 1500; both sides then need that many
//! open files.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_proto::frame::{decode_response, encode_request};
use kafka_proto::messages::Request;
use kafka_proto::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use kafka_proto::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_proto::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_proto::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use kafka_proto::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_proto::records::{BatchBuilder, BatchOptions, Compression};
use tempfile::TempDir;
use testkit::{Server, free_port, wait_until};

/// `socket.request.max.bytes`' default.
const FRAME_MAX: i32 = 104_857_600;
/// Nothing of a healthy client takes longer than this, by far.
const PATIENCE: Duration = Duration::from_secs(30);
const MIB_KB: u64 = 1 << 10;

/// A broker and a client that must not notice anything.
struct Victim {
    // Ends before the server does.
    healthy: Healthy,
    server: Server,
    idle_kb: u64,
    dir: TempDir,
}

impl Victim {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (zookeeper, kafka) = (free_port(), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_zoolog"));
        command.arg("dev").arg("--data").arg(dir.path().join("data"));
        command.args(["--zookeeper-port", &zookeeper.to_string(), "--kafka-port", &kafka.to_string()]);
        let server = Server::start(command, kafka, &dir.path().join("out")).unwrap();
        let healthy = Healthy::start(kafka);
        let idle_kb = resident_kb(server.pid());
        Self { healthy, server, idle_kb, dir }
    }

    fn dial(&self) -> TcpStream {
        dial(self.server.port)
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.dir.path().join("data/zoolog.log")).unwrap_or_default();
        self.server.log_text() + &String::from_utf8_lossy(&log)
    }

    fn log_lines(&self, text: &str) -> usize {
        self.log().lines().filter(|l| l.contains(text)).count()
    }

    fn await_log(&self, text: &str) {
        let seen = wait_until(text, PATIENCE, || (self.log_lines(text) > 0).then_some(()));
        assert!(seen.is_ok(), "no {text:?} in:\n{}", self.log());
    }

    /// Sends `bytes`; the broker must close without an answer.
    #[track_caller]
    fn is_refused(&self, bytes: &[u8]) {
        let mut stream = self.dial();
        // The broker may close before it has read everything.
        let _ = stream.write_all(bytes);
        assert_eq!(rest_of(&mut stream), Some(vec![]), "{:?}", &bytes[..bytes.len().min(40)]);
    }

    /// The healthy client's verdict and the broker's memory.
    #[track_caller]
    fn is_unharmed(&self, grown_kb_max: u64) {
        self.healthy.goes_on();
        let grown = || resident_kb(self.server.pid()).saturating_sub(self.idle_kb);
        let small =
            wait_until("memory to be given back", PATIENCE, || (grown() <= grown_kb_max).then_some(()));
        assert!(small.is_ok(), "memory has grown by {} KiB over {} KiB", grown(), self.idle_kb);
        for bug in ["panicked", "hit a bug"] {
            assert_eq!(self.log_lines(bug), 0, "{}", self.log());
        }
    }
}

fn dial(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open to everybody");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A producer that reads back what it has written, over and over.
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
        create_topic(port, "healthy");
        let thread = std::thread::spawn(move || {
            let mut stream = dial(port);
            for offset in 0.. {
                let begun = Instant::now();
                let produced = call(&mut stream, 9, &produce("healthy", batch(b"well", Compression::None)));
                let row = &produced.responses[0].partition_responses[0];
                assert_eq!((row.error_code, row.base_offset), (0, offset));
                let fetched = call(&mut stream, 12, &fetch("healthy", offset));
                let row = &fetched.responses[0].partitions[0];
                assert_eq!((row.error_code, row.high_watermark), (0, offset + 1));
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
        let over = || self.thread.as_ref().is_none_or(|t| t.is_finished());
        wait_until("the healthy client's next answers", PATIENCE, || {
            (over() || self.rounds.load(Ordering::Relaxed) > before + 10).then_some(())
        })
        .unwrap();
        assert!(!over(), "the healthy client was disturbed");
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let outcome = self.thread.take().map(|t| t.join());
        println!(
            "healthy client: {} rounds, the slowest took {} ms",
            self.rounds.load(Ordering::Relaxed),
            self.slowest_us.load(Ordering::Relaxed) / 1000
        );
        if !std::thread::panicking() {
            assert!(matches!(outcome, Some(Ok(()))), "the healthy client was disturbed");
        }
    }
}

fn resident_kb(pid: u32) -> u64 {
    status_kb(pid, "VmRSS:")
}

/// The most memory the process ever held.
fn peak_kb(pid: u32) -> u64 {
    status_kb(pid, "VmHWM:")
}

fn status_kb(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A frame, its length included.
fn encoded<R: Request>(version: i16, request: &R) -> Bytes {
    let frame = encode_request(request, version, 7, Some("hostile")).unwrap();
    frame.to_bytes().expect("requests hold no file regions")
}

/// Sends a request and reads its answer.
fn call<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response {
    stream.write_all(&encoded(version, request)).unwrap();
    let reply = read_frame(stream).expect("the request is answered");
    decode_response::<R>(reply.into(), version).unwrap().1
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// What comes until the broker closes; `None` if it does not close in time. A reset counts as closing.
fn rest_of(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        _ => Some(rest),
    }
}

fn create_topic(port: u16, name: &str) {
    let mut stream = dial(port);
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    wait_until("the topic's leader", PATIENCE, || {
        let topic = call(&mut stream, 5, &request).topics.remove(0);
        (topic.error_code == 0 && topic.partitions[0].error_code == 0).then_some(())
    })
    .unwrap();
}

fn batch(value: &[u8], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
    // Without a timestamp, retention does not take it for old.
    builder.append(-1, None, Some(value), &[]).unwrap();
    builder.finish().unwrap().into()
}

fn produce(topic: &str, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(records) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData { name: topic.to_owned(), partition_data: vec![data] }],
        ..Default::default()
    }
}

fn fetch(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 1000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
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
    for length in [-1, i32::MIN, i32::MAX, FRAME_MAX + 1] {
        victim.is_refused(&[length.to_be_bytes(), *b"more"].concat());
        victim.await_log(&format!("Invalid receive (size = {length}"));
    }
    // A frame of nothing has no header.
    victim.is_refused(&[0; 4]);
    // One that promises more than it holds inside: an array of 2³¹ topics.
    victim.is_refused(b"\0\0\0\x12\0\x03\0\x05\0\0\0\0\0\x04evil\x7f\xff\xff\xff");
    victim.await_log("evil");
    victim.is_unharmed(32 * MIB_KB);
}

/// Random bytes, other protocols, and every beginning of a request.
#[test]
fn bytes_of_no_protocol_harm_nobody() {
    let victim = Victim::start();
    let mut random = Random(0x5eed);
    for _ in 0..300 {
        let mut stream = victim.dial();
        let _ = stream.write_all(&random.bytes(2000));
    }
    victim.is_refused(b"GET /metrics HTTP/1.1\r\nHost: kafka\r\n\r\n");
    let whole = encoded(9, &produce("healthy", batch(b"value", Compression::None)));
    for len in 1..whole.len() {
        let mut stream = victim.dial();
        stream.write_all(&whole[..len]).unwrap();
    }
    // Random bodies under a well-formed header of every API and version there might be.
    for api in 0..70i16 {
        for version in 0..12i16 {
            let head = [api.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1], [0, 1]].concat();
            let body = [head, b"x".to_vec(), random.bytes(80)].concat();
            let mut stream = victim.dial();
            let _ = stream.write_all(&[(body.len() as i32).to_be_bytes().to_vec(), body].concat());
        }
    }
    victim.is_unharmed(48 * MIB_KB);
    let warnings = victim.log_lines("WARN");
    assert!((1..100).contains(&warnings), "{warnings} warnings:\n{}", victim.log());
    assert!(victim.log_lines("connection of 127.0.0.1:") > 0, "nobody is named:\n{}", victim.log());
}

/// Connections that say nothing, or half of something, or promise much, cost little.
#[test]
fn half_open_connections_cost_little() {
    let victim = Victim::start();
    let count = std::env::var("HOSTILE_CONNECTIONS").ok().and_then(|v| v.parse().ok()).unwrap_or(1500);
    let whole = encoded(9, &produce("healthy", batch(b"value", Compression::None)));
    let mut open = Vec::new();
    for n in 0..count {
        let mut stream = victim.dial();
        match n % 3 {
            0 => {}
            1 => stream.write_all(&whole[..20]).unwrap(),
            _ => stream.write_all(&(FRAME_MAX - 1).to_be_bytes()).unwrap(),
        }
        open.push(stream);
    }
    victim.is_unharmed(16 * count + 16 * MIB_KB);
    let per_connection = resident_kb(victim.server.pid()).saturating_sub(victim.idle_kb) / count;
    println!("{count} half-open connections, {per_connection} KiB each");
    drop(open);
    victim.is_unharmed(16 * count + 16 * MIB_KB);
    assert!(victim.log_lines("WARN") < 50, "the log is flooded:\n{}", victim.log());
}

/// A few KiB that decompress to gigabytes are refused for what they are.
#[test]
fn decompression_bombs_do_not_go_off() {
    let victim = Victim::start();
    create_topic(victim.server.port, "bombs");
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        // As many zeros as fit into max.message.bytes.
        let size = match codec {
            Compression::Snappy => 16 << 20,
            Compression::Lz4 => 150 << 20,
            _ => 512 << 20,
        };
        let bomb = batch(&vec![0; size], codec);
        let bytes = bomb.len();
        let mut streams: Vec<_> = (0..4).map(|_| victim.dial()).collect();
        let frame = encoded(9, &produce("bombs", bomb));
        for stream in &mut streams {
            stream.write_all(&frame).unwrap();
        }
        for stream in &mut streams {
            let reply = read_frame(stream).expect("the request is answered");
            let (_, answer) = decode_response::<ProduceRequest>(reply.into(), 9).unwrap();
            let error = answer.responses[0].partition_responses[0].error_code;
            // CORRUPT_MESSAGE or MESSAGE_TOO_LARGE; snappy cannot shrink anything a hundredfold.
            assert_eq!(error != 0, codec != Compression::Snappy, "{codec:?}: error {error}");
            println!("{codec:?}: {bytes} bytes for {size}: error {error}");
        }
        victim.is_unharmed(256 * MIB_KB);
    }
    let grown = peak_kb(victim.server.pid()).saturating_sub(victim.idle_kb);
    println!("at its worst the broker held {grown} KiB more");
    assert!(grown < 1024 * MIB_KB, "{grown} KiB");
}

/// The largest requests that can be read: millions of topics, of partitions, one record of 90 MB.
#[test]
fn large_well_formed_requests_are_answered_or_refused() {
    let victim = Victim::start();
    // Without optimisation every row takes some microseconds.
    let part = if cfg!(debug_assertions) { 5 } else { 1 };
    for (what, frame) in [
        ("metadata", many_topics(3_000_000 / part)),
        ("offsets", many_partitions(7_000_000 / part as i32)),
        ("record", encoded(9, &produce("healthy-not", batch(&vec![7; 90_000_000], Compression::None)))),
        ("member", large_member()),
        ("fetch", many_fetches(3_000_000 / part as i32)),
    ] {
        assert!(
            (60_000_000 / part..FRAME_MAX as usize).contains(&frame.len()),
            "{what}: {} bytes",
            frame.len()
        );
        let begun = Instant::now();
        let mut stream = victim.dial();
        // Refusing closes while the request is still coming.
        let _ = stream.write_all(&frame);
        let reply = read_frame(&mut stream).map(|reply| reply.len());
        println!("{what}: {} bytes, answered with {reply:?} in {:?}", frame.len(), begun.elapsed());
        drop(stream);
        victim.healthy.goes_on();
    }
    let grown = peak_kb(victim.server.pid()).saturating_sub(victim.idle_kb);
    println!("at its worst the broker held {grown} KiB more");
    assert!(grown < 2048 * MIB_KB, "{grown} KiB");
    victim.is_unharmed(256 * MIB_KB);
}

/// More requests that take seconds than the broker has threads: it goes on serving others.
#[test]
fn many_heavy_requests_at_once_leave_room_for_others() {
    let victim = Victim::start();
    let frame = many_partitions(if cfg!(debug_assertions) { 500_000 } else { 5_000_000 });
    let clients = 2 * std::thread::available_parallelism().map_or(2, |n| n.get());
    let attack = |_| {
        let (mut stream, frame) = (victim.dial(), frame.clone());
        stream.set_read_timeout(None).unwrap();
        std::thread::spawn(move || {
            stream.write_all(&frame).unwrap();
            read_frame(&mut stream).expect("an answer").len()
        })
    };
    let begun = Instant::now();
    let attackers: Vec<_> = (0..clients).map(attack).collect();
    for attacker in attackers {
        attacker.join().unwrap();
    }
    let (all, slowest) = (begun.elapsed(), victim.healthy.slowest_us.load(Ordering::Relaxed));
    println!(
        "{clients} requests of {} bytes took {all:?}; the healthy client's slowest {slowest} us",
        frame.len()
    );
    // Without room it would have waited for one request at least; they take their turns.
    assert!(slowest < all.as_micros() as u64 / 3, "the healthy client had to wait {slowest} us of {all:?}");
    victim.is_unharmed(256 * MIB_KB);
}

fn many_topics(count: usize) -> Bytes {
    let topic =
        |n| MetadataRequestTopic { name: Some(format!("no-such-topic-{n:07}")), ..Default::default() };
    let topics = Some((0..count).map(topic).collect());
    encoded(4, &MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() })
}

fn many_partitions(count: i32) -> Bytes {
    let partitions =
        (0..count).map(|n| ListOffsetsPartition { partition_index: n, timestamp: -1, ..Default::default() });
    let topic = ListOffsetsTopic { name: "healthy".to_owned(), partitions: partitions.collect() };
    encoded(1, &ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() })
}

fn large_member() -> Bytes {
    let protocol =
        JoinGroupRequestProtocol { name: "range".to_owned(), metadata: vec![1; 80_000_000].into() };
    encoded(
        3,
        &JoinGroupRequest {
            group_id: "g".to_owned(),
            session_timeout_ms: 6000,
            rebalance_timeout_ms: 6000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        },
    )
}

fn many_fetches(count: i32) -> Bytes {
    let partition = |n| FetchPartition { partition: n, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic {
        topic: "healthy".to_owned(),
        partitions: (1..=count).map(partition).collect(),
        ..Default::default()
    };
    // With a session, which must not remember millions.
    encoded(
        11,
        &FetchRequest { max_wait_ms: 0, session_epoch: 0, topics: vec![topic], ..fetch("healthy", 0) },
    )
}

/// Clients that ask for much and read nothing are not served beyond a bound.
#[test]
fn deaf_clients_do_not_fill_the_memory() {
    let victim = Victim::start();
    create_topic(victim.server.port, "big");
    let mut writer = victim.dial();
    for _ in 0..8 {
        let written = call(&mut writer, 9, &produce("big", batch(&vec![7; 900_000], Compression::None)));
        assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    }
    // Converted down, so that the answers are in memory.
    let ask = FetchRequest { max_bytes: 8 << 20, ..fetch("big", 0) };
    let burst: Vec<u8> = (0..2000).flat_map(|_| encoded(3, &ask)).collect();
    let mut deaf: Vec<TcpStream> = (0..20).map(|_| victim.dial()).collect();
    for stream in &mut deaf {
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = stream.write_all(&burst);
    }
    victim.is_unharmed(256 * MIB_KB);
    drop(deaf);
    victim.is_unharmed(64 * MIB_KB);
}
