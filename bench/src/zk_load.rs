//! ZooKeeper load: creates, gets and sets from many sessions, with one or many requests in flight each.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tempfile::TempDir;
use testkit::{free_port, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zk_proto::{
    Acl, ConnectRequest, ConnectResponse, CreateKind, CreateRequest, Id, Reader, ReplyHeader, Request,
    RequestHeader, Writer, perms,
};

use crate::measure::{Better, Table, latencies, record};
use crate::process::cpu_during;
use crate::systems::Side;

/// Sessions and requests in flight of each, and how many requests are made in all.
const LOADS: [(usize, usize, usize); 4] =
    [(1, 1, 8_000), (16, 1, 60_000), (128, 1, 100_000), (16, 32, 200_000)];
const DATA: &[u8] = &[b'x'; 100];

pub fn measure(side: Side, scale: usize, table: &mut Table) -> Result<()> {
    let dir = TempDir::new()?;
    let port = free_port();
    let server = side.zookeeper(dir.path(), port)?;
    // Apache opens its port before it serves.
    wait_until("a session", Duration::from_secs(60), || probe(port).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A JVM is measured warm: its first seconds are those of the compiler.
    let warm_up = Work { port, base: "/warm".into(), sessions: 16, in_flight: 32, requests: 60_000 / scale };
    for operation in Operation::ALL {
        run(&runtime, &warm_up, operation)?;
    }
    for (index, (sessions, in_flight, requests)) in LOADS.into_iter().enumerate() {
        let work =
            Work { port, base: format!("/load{index}"), sessions, in_flight, requests: requests / scale };
        for operation in Operation::ALL {
            let (done, cpu) = cpu_during(server.pid(), || run(&runtime, &work, operation))?;
            let name = format!("{} {sessions} × {in_flight}", operation.name());
            table.add(side, &name, "per s", Better::Higher, done.per_second());
            table.add_latency(side, &name, &done.latency);
            let per_100k = cpu * 100_000.0 / done.requests as f64;
            table.add(side, &name, "CPU-s per 100 k", Better::Lower, per_100k);
        }
    }
    Ok(())
}

/// Opens a session and closes the connection: is the server serving?
///
/// A connection that Apache accepts while it starts is sometimes never answered; such a try is given up soon.
pub fn probe(port: u16) -> Result<()> {
    const PATIENCE: Duration = Duration::from_millis(500);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, Session::open(port)).await?.map(drop) })
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    Get,
    Set,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Create, Self::Get, Self::Set];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "ZooKeeper create",
            Self::Get => "ZooKeeper get",
            Self::Set => "ZooKeeper set",
        }
    }

    /// The request number `n` of a session whose nodes lie under `base`.
    fn request(self, base: &str, n: usize) -> Request {
        let path = format!("{base}/{n}");
        match self {
            Self::Create => create(path, DATA),
            Self::Get => Request::GetData { path, watch: false },
            Self::Set => Request::SetData { path, data: Some(Bytes::from_static(DATA)), version: -1 },
        }
    }
}

fn create(path: String, data: &'static [u8]) -> Request {
    let anyone = Acl { perms: perms::ALL, id: Id { scheme: "world".into(), id: "anyone".into() } };
    Request::Create(CreateRequest {
        kind: CreateKind::Create,
        path,
        data: Some(Bytes::from_static(data)),
        acl: vec![anyone],
        flags: 0,
        ttl_ms: -1,
    })
}

struct Work {
    port: u16,
    base: String,
    sessions: usize,
    in_flight: usize,
    requests: usize,
}

struct Done {
    requests: usize,
    seconds: f64,
    latency: Histogram<u64>,
}

impl Done {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

fn run(runtime: &tokio::runtime::Runtime, work: &Work, operation: Operation) -> Result<Done> {
    let each = work.requests / work.sessions;
    let local = tokio::task::LocalSet::new();
    local.block_on(runtime, async {
        let mut sessions = Vec::new();
        for index in 0..work.sessions {
            let base = format!("{}-{index}", work.base);
            let mut session = Session::open(work.port).await?;
            if matches!(operation, Operation::Create) {
                session.ask(&create(base.clone(), b"")).await?;
            }
            sessions.push((session, base));
        }
        let begun = Instant::now();
        let in_flight = work.in_flight;
        let tasks: Vec<_> = sessions
            .into_iter()
            .map(|(session, base)| {
                tokio::task::spawn_local(session.pipeline(operation, Rc::from(base), each, in_flight))
            })
            .collect();
        let mut latency = latencies();
        for task in tasks {
            latency.add(task.await??)?;
        }
        Ok(Done { requests: each * work.sessions, seconds: begun.elapsed().as_secs_f64(), latency })
    })
}

struct Session {
    stream: TcpStream,
    incoming: Vec<u8>,
    at: usize,
    next_xid: i32,
}

impl Session {
    async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream, incoming: Vec::new(), at: 0, next_xid: 1 };
        let mut w = Writer::new();
        let frame = w.begin_frame();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session_id: 0,
            passwd: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        }
        .encode(&mut w);
        w.end_frame(frame);
        session.stream.write_all(w.as_slice()).await?;
        let reply = session.frame().await?;
        let response = ConnectResponse::decode(&mut Reader::new(&reply))?;
        ensure!(response.session_id != 0, "the server gave no session");
        Ok(session)
    }

    /// Sends `count` requests, `in_flight` of them waiting at any time.
    async fn pipeline(
        mut self,
        operation: Operation,
        base: Rc<str>,
        count: usize,
        in_flight: usize,
    ) -> Result<Histogram<u64>> {
        let mut latency = latencies();
        let mut sent_at = std::collections::VecDeque::with_capacity(in_flight);
        let mut out = Writer::new();
        let (mut sent, mut answered) = (0, 0);
        while answered < count {
            while sent < count && sent_at.len() < in_flight {
                self.encode(&mut out, &operation.request(&base, sent));
                sent_at.push_back(Instant::now());
                sent += 1;
            }
            self.stream.write_all(out.as_slice()).await?;
            out = Writer::with_capacity(out.len());
            // Whatever has come in is taken before more is sent, so that both ways travel in batches, as in service.
            self.reply().await?;
            let mut came = 1;
            while self.has_frame() {
                self.reply().await?;
                came += 1;
            }
            for begun in sent_at.drain(..came) {
                record(&mut latency, begun.elapsed());
            }
            answered += came;
        }
        Ok(latency)
    }

    async fn ask(&mut self, request: &Request) -> Result<()> {
        let mut w = Writer::new();
        self.encode(&mut w, request);
        self.stream.write_all(w.as_slice()).await?;
        self.reply().await
    }

    fn encode(&mut self, w: &mut Writer, request: &Request) {
        let frame = w.begin_frame();
        RequestHeader { xid: self.next_xid, op: request.op() as i32 }.encode(w);
        request.encode(w);
        w.end_frame(frame);
        self.next_xid += 1;
    }

    async fn reply(&mut self) -> Result<()> {
        let frame = self.frame().await?;
        let header = ReplyHeader::decode(&mut Reader::new(&frame))?;
        ensure!(header.err == 0, "the server answered {}", header.err);
        Ok(())
    }

    /// The length of the frame at the front of what has come in, if it is whole.
    fn whole_frame(&self) -> Option<usize> {
        let rest = &self.incoming[self.at..];
        let len = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        (rest.len() >= 4 + len).then_some(len)
    }

    fn has_frame(&self) -> bool {
        self.whole_frame().is_some()
    }

    async fn frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(len) = self.whole_frame() {
                let frame = self.incoming[self.at + 4..self.at + 4 + len].to_vec();
                self.at += 4 + len;
                return Ok(frame);
            }
            self.incoming.drain(..self.at);
            self.at = 0;
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}
