//! ZooKeeper load: creates, gets and sets from many sessions, with one or many requests in flight each.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use tempfile::TempDir;
use testkit::{free_port, wait_until};
use zk_proto::Request;

use crate::measure::{Better, Table, latencies};
use crate::process::cpu_during;
use crate::systems::Side;
use crate::zk_session::{Session, create, set};

/// Sessions and requests in flight of each, and how many requests are made in all.
const LOADS: [(usize, usize, usize); 4] =
    [(1, 1, 8_000), (16, 1, 60_000), (128, 1, 100_000), (16, 32, 200_000)];
const OPERATIONS: [Operation; 3] = [Operation::Create, Operation::Get, Operation::Set];
const DATA: &[u8] = &[b'x'; 100];

pub fn measure(side: Side, scale: usize, table: &mut Table) -> Result<()> {
    let dir = TempDir::new()?;
    let port = free_port();
    let server = side.zookeeper(dir.path(), port)?;
    // Apache opens its port before it serves.
    wait_until("a session", Duration::from_secs(60), || probe(port).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let servers = vec![loopback(port)];
    // A JVM is measured warm: its first seconds are those of the compiler.
    let warm_up = Work {
        servers: servers.clone(),
        base: "/warm".into(),
        sessions: 16,
        in_flight: 32,
        requests: 60_000 / scale,
    };
    for operation in OPERATIONS {
        run(&runtime, &warm_up, operation)?;
    }
    for (index, (sessions, in_flight, requests)) in LOADS.into_iter().enumerate() {
        let base = format!("/load{index}");
        let work = Work { servers: servers.clone(), base, sessions, in_flight, requests: requests / scale };
        for operation in OPERATIONS {
            let (done, cpu) = cpu_during(&[server.pid()], || run(&runtime, &work, operation))?;
            let name = format!("ZooKeeper {} {sessions} × {in_flight}", operation.name());
            table.add(side, &name, "per s", Better::Higher, done.per_second());
            table.add_latency(side, &name, &done.latency);
            table.add(side, &name, "CPU-s per 100 k", Better::Lower, done.per_100k(cpu));
        }
    }
    Ok(())
}

pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Opens a session and closes the connection: is the server serving?
///
/// A connection that Apache accepts while it starts is sometimes never answered; such a try is given up soon.
pub fn probe(port: u16) -> Result<()> {
    const PATIENCE: Duration = Duration::from_millis(500);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, Session::open(loopback(port))).await?.map(drop) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Get,
    Set,
    /// Three gets, then a set.
    Mixed,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Set => "set",
            Self::Mixed => "mixed (3 gets, 1 set)",
        }
    }

    /// The request number `n` of a session whose nodes lie under `base`.
    fn request(self, base: &str, n: usize) -> Request {
        let path = format!("{base}/{n}");
        match self {
            Self::Create => create(path, DATA),
            Self::Mixed if n % 4 == 3 => set(path, DATA),
            Self::Get | Self::Mixed => Request::GetData { path, watch: false },
            Self::Set => set(path, DATA),
        }
    }
}

/// How much is done how.
pub struct Work {
    /// Sessions are spread over them in turn.
    pub servers: Vec<SocketAddr>,
    pub base: String,
    pub sessions: usize,
    pub in_flight: usize,
    pub requests: usize,
}

pub struct Done {
    pub requests: usize,
    seconds: f64,
    pub latency: Histogram<u64>,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Seconds of CPU for 100 000 such requests.
    pub fn per_100k(&self, cpu_seconds: f64) -> f64 {
        cpu_seconds * 100_000.0 / self.requests as f64
    }
}

pub fn run(runtime: &tokio::runtime::Runtime, work: &Work, operation: Operation) -> Result<Done> {
    let each = work.requests / work.sessions;
    let local = tokio::task::LocalSet::new();
    local.block_on(runtime, async {
        let mut sessions = Vec::new();
        for index in 0..work.sessions {
            let base = format!("{}-{index}", work.base);
            let mut session = Session::open(work.servers[index % work.servers.len()]).await?;
            if operation == Operation::Create {
                session.ask(&create(base.clone(), b"")).await?;
            }
            sessions.push((session, base));
        }
        let begun = Instant::now();
        let in_flight = work.in_flight;
        let tasks: Vec<_> = sessions
            .into_iter()
            .map(|(session, base)| {
                let request: Rc<dyn Fn(usize) -> Request> = Rc::new(move |n| operation.request(&base, n));
                tokio::task::spawn_local(session.pipeline(request, each, in_flight))
            })
            .collect();
        let mut latency = latencies();
        for task in tasks {
            latency.add(task.await??)?;
        }
        Ok(Done { requests: each * work.sessions, seconds: begun.elapsed().as_secs_f64(), latency })
    })
}
