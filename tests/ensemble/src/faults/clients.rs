//! Clients that read and write through everything and keep a diary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::task::JoinSet;
use zk_client::{
    ConnectOptions, CreateMode, ErrorCode, EventKind, Events, KeeperState, Stat, ZkClient, ZkError, open_acl,
};

use super::history::{Answer, Diary, Kind, Made, Op, Register};
use crate::client::make;

/// Few, so that clients meet.
pub const REGISTERS: usize = 8;
/// Requests of one session on their way at once, at most.
const BURST_MAX: usize = 4;
/// Between two bursts; the machine is to be busy with faults, not with load.
const PAUSE_MS: std::ops::Range<u64> = 10..50;

pub fn register(n: Register) -> String {
    format!("/registers/r{n}")
}

/// What all clients share.
#[derive(Debug)]
pub struct Common {
    pub hosts: String,
    pub session_ms: i32,
    pub stop: AtomicBool,
    begun: Instant,
    values: AtomicU64,
}

impl Common {
    pub fn new(hosts: String, session_ms: i32) -> Arc<Self> {
        Arc::new(Self {
            hosts,
            session_ms,
            stop: AtomicBool::new(false),
            begun: Instant::now(),
            values: AtomicU64::new(1),
        })
    }

    fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Connects however long it takes, so that no client is missing when the servers are back.
    async fn connect(&self) -> (ZkClient, Events) {
        loop {
            let options = ConnectOptions::new(self.hosts.clone()).session_timeout_ms(self.session_ms);
            if let Ok(connected) = ZkClient::connect(options.connect_timeout_ms(10_000)).await {
                return connected;
            }
        }
    }
}

/// Makes what the clients work on.
pub async fn prepare(common: &Common, clients: usize) -> Result<()> {
    let (zk, _events) = common.connect().await;
    for path in ["/registers", "/appended", "/ephemerals"] {
        make(&zk, path).await?;
    }
    for n in 0..REGISTERS {
        zk.create(&register(n), Some(Bytes::from_static(b"0")), open_acl(), CreateMode::Persistent).await?;
    }
    for client in 0..clients {
        make(&zk, &format!("/appended/c{client}")).await?;
    }
    Ok(zk.close().await?)
}

/// Running clients: some write and read, others watch.
#[derive(Debug)]
pub struct Clients {
    writers: JoinSet<(ZkClient, Diary)>,
    watchers: JoinSet<Result<u64>>,
}

impl Clients {
    /// Must be called within a runtime.
    pub fn start(common: &Arc<Common>, writers: usize, seed: u64) -> Self {
        let mut clients = Self { writers: JoinSet::new(), watchers: JoinSet::new() };
        for n in 0..writers {
            clients.writers.spawn(write(common.clone(), n, fastrand::Rng::with_seed(seed ^ n as u64)));
        }
        for n in 0..REGISTERS {
            clients.watchers.spawn(watch(common.clone(), n));
        }
        clients
    }

    /// The writers' diaries once they have stopped, and their sessions, which go on.
    pub async fn diaries(&mut self) -> Result<(Vec<Diary>, Vec<ZkClient>)> {
        let (mut diaries, mut sessions) = (Vec::new(), Vec::new());
        while let Some(writer) = self.writers.join_next().await {
            let (zk, diary) = writer?;
            diaries.push(diary);
            sessions.push(zk);
        }
        Ok((diaries, sessions))
    }

    /// Every watcher sees the last change, whose value is [`LAST`]: if one of its watches was lost on the way it waits
    /// for ever. Returns how many changes were told.
    pub async fn told(&mut self, limit: Duration) -> Result<u64> {
        let all = async {
            let mut told = 0;
            while let Some(watcher) = self.watchers.join_next().await {
                told += watcher??;
            }
            Ok(told)
        };
        tokio::time::timeout(limit, all)
            .await
            .context("a watch was lost: its watcher is not told of the last change")?
    }
}

/// The value that ends the watchers.
pub const LAST: u64 = u64::MAX;

/// Follows one register by its watches alone.
async fn watch(common: Arc<Common>, n: Register) -> Result<u64> {
    let path = register(n);
    let mut told = 0;
    'session: loop {
        let (zk, mut events) = common.connect().await;
        loop {
            let (data, _) = match zk.get_data(&path, true).await {
                Ok(read) => read,
                Err(ZkError::ConnectionLoss) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(ZkError::SessionExpired) => continue 'session,
                Err(error) => return Err(error.into()),
            };
            if value(data.as_deref()) == Some(LAST) {
                zk.close().await.ok();
                return Ok(told);
            }
            loop {
                match events.recv().await {
                    None => continue 'session,
                    Some(e) if e.state == KeeperState::Expired => continue 'session,
                    Some(e) if e.kind == EventKind::NodeDataChanged => break,
                    Some(_) => {}
                }
            }
            told += 1;
        }
    }
}

fn value(data: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(data?).ok()?.parse().ok()
}

/// A request that was sent: its number in the diary, and its answer to come.
enum Sent {
    Write(usize, zk_client::Reply<Stat>),
    Read(usize, zk_client::Reply<(Option<Bytes>, Stat)>),
    Append(usize, zk_client::Reply<(String, Stat)>),
}

struct Writer {
    common: Arc<Common>,
    number: usize,
    rng: fastrand::Rng,
    zk: ZkClient,
    diary: Diary,
    /// The version last seen of each register, for swaps.
    versions: [i32; REGISTERS],
}

async fn write(common: Arc<Common>, number: usize, rng: fastrand::Rng) -> (ZkClient, Diary) {
    let (zk, _) = common.connect().await;
    let mut writer = Writer { common, number, rng, zk, diary: Diary::default(), versions: [0; REGISTERS] };
    writer.begin_session().await;
    while !writer.common.stopped() {
        if writer.burst().await.is_err() {
            writer.renew().await;
        }
        let pause = writer.rng.u64(PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    // What this session has is compared in the end, so it must be known to live.
    loop {
        match writer.zk.sync("/").await {
            Ok(_) => break,
            Err(ZkError::ConnectionLoss) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(_) => writer.renew().await,
        }
    }
    (writer.zk, writer.diary)
}

impl Writer {
    async fn renew(&mut self) {
        self.zk = self.common.connect().await.0;
        self.begin_session().await;
    }

    /// An ephemeral node for each session; its name is never used again.
    async fn begin_session(&mut self) {
        self.diary.session = self.zk.session().id;
        self.diary.sessions += 1;
        let path = format!("/ephemerals/c{}-{}", self.number, self.diary.sessions);
        let made = self.zk.create2(&path, None, open_acl(), CreateMode::Ephemeral).await;
        let zxid = made.ok().map(|(_, stat)| stat.czxid);
        self.diary.ephemerals.push(Made { path, session: self.diary.session, zxid });
    }

    /// A few requests at once. Fails when the session is over.
    async fn burst(&mut self) -> Result<(), ZkError> {
        let mut sent = Vec::new();
        for _ in 0..self.rng.usize(1..=BURST_MAX) {
            sent.push(self.send());
        }
        let mut over = Ok(());
        for request in sent {
            if let Err(error) = self.take(request).await {
                over = Err(error);
            }
        }
        over
    }

    fn send(&mut self) -> Sent {
        // Before it is sent: what was answered earlier must be older.
        let invoked_us = self.common.now_us();
        let register_n = self.rng.usize(0..REGISTERS);
        let path = register(register_n);
        let value = self.common.values.fetch_add(1, Ordering::Relaxed);
        let data = Some(Bytes::from(value.to_string()));
        let index = self.diary.ops.len();
        let (kind, sent) = match self.rng.u32(0..40) {
            // Seldom: these stay, and hours of them would be a load of their own.
            0 => return self.append(),
            1..13 => (Kind::Write { value }, Sent::Write(index, self.zk.set_data(&path, data, -1))),
            13..21 => {
                let version = self.versions[register_n];
                let reply = self.zk.set_data(&path, data, version);
                (Kind::Swap { value, version }, Sent::Write(index, reply))
            }
            _ => (Kind::Read, Sent::Read(index, self.zk.get_data(&path, false))),
        };
        self.diary.ops.push(Op {
            session: self.diary.session,
            register: register_n,
            kind,
            invoked_us,
            answered_us: u64::MAX,
            answer: Answer::Unknown,
        });
        sent
    }

    fn append(&mut self) -> Sent {
        let index = self.diary.appended.len();
        let path = format!("/appended/c{}/n{index:06}", self.number);
        let reply = self.zk.create2(&path, None, open_acl(), CreateMode::Persistent);
        self.diary.appended.push(Made { path, session: self.diary.session, zxid: None });
        Sent::Append(index, reply)
    }

    /// Takes an answer; fails when there can be no more.
    async fn take(&mut self, request: Sent) -> Result<(), ZkError> {
        let (outcome, index) = match request {
            Sent::Append(index, reply) => {
                let outcome = reply.await;
                if let Ok((_, stat)) = &outcome {
                    self.diary.appended[index].zxid = Some(stat.czxid);
                }
                return self.judge(outcome.map(drop));
            }
            Sent::Write(index, reply) => (reply.await.map(|stat| (None, stat)), index),
            Sent::Read(index, reply) => (reply.await, index),
        };
        let now = self.common.now_us();
        let op = &mut self.diary.ops[index];
        match &outcome {
            Ok((data, stat)) => {
                let written = match op.kind {
                    Kind::Write { value } | Kind::Swap { value, .. } => Some(value),
                    Kind::Read => value(data.as_deref()),
                };
                let value = written.unwrap_or(LAST);
                op.answer = Answer::State { zxid: stat.mzxid, version: stat.version, value };
                op.answered_us = now;
                self.versions[op.register] = stat.version;
            }
            Err(e) if e.is(ErrorCode::BadVersion) => {
                op.answer = Answer::BadVersion;
                op.answered_us = now;
            }
            Err(_) => {}
        }
        self.judge(outcome.map(drop))
    }

    fn judge(&mut self, outcome: Result<(), ZkError>) -> Result<(), ZkError> {
        match outcome {
            Ok(()) | Err(ZkError::ConnectionLoss) => Ok(()),
            Err(e) if e.is(ErrorCode::BadVersion) => Ok(()),
            Err(error @ (ZkError::SessionExpired | ZkError::Closed)) => Err(error),
            Err(error) => {
                // Nothing else can be right for these requests on these nodes.
                self.diary.failures.push(format!("client {} was told {error}", self.number));
                Ok(())
            }
        }
    }
}
