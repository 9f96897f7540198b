//! Clients as an application has them, for as long as an ensemble changes under them: sessions with an ephemeral node
//! each, some holding a lock, all writing at a steady pace and remembering what was acknowledged.
//!
//! Each client makes nodes `n0000`, `n0001`, … below its directory and, between two of them, counts up the directory's
//! data. A write whose connection broke may have happened or not; the next one goes on behind it. In the end the tree
//! must hold everything acknowledged, in order and not done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zk_client::{ConnectOptions, CreateMode, EventKind, Events, KeeperState, ZkClient, ZkError, open_acl};

use crate::client::{again, connect, make};

/// Every so manieth write makes a node, the others set data.
const CREATE_EVERY: u64 = 8;

/// Sessions opened at a time.
const OPENING: usize = 25;

#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub hosts: String,
    pub sessions: usize,
    pub writes_per_second: u64,
    /// How many of the sessions hold a lock that another session waits for.
    pub locks: usize,
    pub session_ms: i32,
}

/// What one client knows.
#[derive(Debug, Default)]
struct Diary {
    /// Numbers of nodes that were acknowledged.
    created: Vec<u64>,
    /// The last acknowledged number in the directory's data, and how many sets were acknowledged.
    set: Option<u64>,
    sets: u64,
    attempts: u64,
    lost_connection: u64,
    /// The longest time from a write to its acknowledgement, since the last look.
    slowest: Duration,
    expired: bool,
    failure: Option<String>,
}

struct Client {
    zk: ZkClient,
    number: usize,
    session: i64,
    diary: Mutex<Diary>,
    /// How often the session was taken up by another server, in all.
    moves: AtomicU64,
    /// `moves` at the last look.
    moves_before: AtomicU64,
}

/// Running clients.
pub struct Load {
    options: LoadOptions,
    clients: Vec<Arc<Client>>,
    tickets: Vec<(String, i64)>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    acked_before: u64,
    look_before: Instant,
}

/// What happened since the last look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub acked: u64,
    pub per_second: u64,
    pub connections_lost: u64,
    /// Sessions that went to another server, and the most any one of them did.
    pub moved: usize,
    pub moves_max: u64,
    pub slowest: Duration,
    pub expired: usize,
}

impl Load {
    pub async fn start(options: LoadOptions) -> Result<Self> {
        let (zk, _events) = connect(&options.hosts).await?;
        for path in ["/load", "/load/clients", "/load/locks"] {
            make(&zk, path).await?;
        }
        let opening = Arc::new(Semaphore::new(OPENING));
        let mut opened = JoinSet::new();
        for number in 0..options.sessions {
            let (options, opening) = (options.clone(), opening.clone());
            opened.spawn(async move {
                let _turn = opening.acquire().await;
                Client::open(&options, number).await.with_context(|| format!("client {number}"))
            });
        }
        let mut load = Self {
            options,
            clients: Vec::new(),
            tickets: Vec::new(),
            stop: Arc::default(),
            tasks: JoinSet::new(),
            acked_before: 0,
            look_before: Instant::now(),
        };
        while let Some(client) = opened.join_next().await {
            let (client, events) = client??;
            load.tasks.spawn(listen(client.clone(), events));
            load.clients.push(client);
        }
        load.clients.sort_by_key(|client| client.number);
        load.take_locks().await?;
        load.begin_writing();
        Ok(load)
    }

    /// Client i holds lock i; the next one waits behind it.
    async fn take_locks(&mut self) -> Result<()> {
        for lock in 0..self.options.locks.min(self.clients.len() - 1) {
            let dir = format!("/load/locks/l{lock:04}");
            make(&self.clients[lock].zk, &dir).await?;
            for client in [&self.clients[lock], &self.clients[lock + 1]] {
                let path = format!("{dir}/t-");
                let ticket = client.zk.create(&path, None, open_acl(), CreateMode::EphemeralSequential);
                self.tickets.push((ticket.await?, client.session));
            }
        }
        Ok(())
    }

    fn begin_writing(&mut self) {
        let pause =
            Duration::from_secs_f64(self.clients.len() as f64 / self.options.writes_per_second as f64);
        for client in &self.clients {
            let delay = pause.mul_f64(client.number as f64 / self.clients.len() as f64);
            self.tasks.spawn(write(client.clone(), self.stop.clone(), delay, pause));
        }
        self.look_before = Instant::now();
    }

    /// What happened since the last look; fails if a client met what it must not.
    pub async fn look(&mut self) -> Result<Look> {
        let mut look = Look {
            acked: 0,
            per_second: 0,
            connections_lost: 0,
            moved: 0,
            moves_max: 0,
            slowest: Duration::ZERO,
            expired: 0,
        };
        for client in &self.clients {
            let mut diary = client.diary.lock().await;
            if let Some(failure) = &diary.failure {
                anyhow::bail!("client {}: {failure}", client.number);
            }
            look.acked += diary.created.len() as u64 + diary.sets;
            look.connections_lost += std::mem::take(&mut diary.lost_connection);
            look.slowest = look.slowest.max(std::mem::take(&mut diary.slowest));
            look.expired += usize::from(diary.expired);
            let moves = client.moves.load(Ordering::Relaxed);
            let new = moves - client.moves_before.swap(moves, Ordering::Relaxed);
            look.moved += usize::from(new > 0);
            look.moves_max = look.moves_max.max(new);
        }
        let total = std::mem::replace(&mut self.acked_before, look.acked);
        look.acked -= total;
        look.per_second = (look.acked as f64 / self.look_before.elapsed().as_secs_f64()) as u64;
        self.look_before = Instant::now();
        self.check_locks().await?;
        Ok(look)
    }

    /// Every lock is held by who held it, and who waited waits.
    async fn check_locks(&self) -> Result<()> {
        let Some(zk) = self.clients.first().map(|c| &c.zk) else { return Ok(()) };
        again(|| zk.sync("/load")).await?;
        for (ticket, session) in &self.tickets {
            let stat = again(|| zk.exists(ticket, false)).await?;
            let owner = stat.with_context(|| format!("the lock's ticket {ticket} is gone"))?.ephemeral_owner;
            ensure!(owner == *session, "{ticket} belongs to 0x{owner:x}, not to 0x{session:x}");
        }
        Ok(())
    }

    /// Stops writing and compares the tree with what was acknowledged. Returns how many writes were looked for.
    pub async fn end(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let look = self.look().await?;
        ensure!(look.expired == 0, "{} sessions have expired", look.expired);
        // The writers end by themselves; the listeners with their sessions.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (reader, _events) = connect(&self.options.hosts).await?;
        again(|| reader.sync("/load")).await?;
        let mut acked = 0;
        for client in &self.clients {
            let n = client.verify(&reader).await;
            acked += n.with_context(|| format!("client {}", client.number))?;
        }
        for client in &self.clients {
            again(|| client.zk.close()).await?;
        }
        again(|| reader.sync("/load")).await?;
        let left = again(|| reader.get_children("/load/clients", false)).await?;
        let ephemeral = left.iter().filter(|name| name.ends_with("-alive")).count();
        ensure!(ephemeral == 0, "{ephemeral} ephemeral nodes outlive their closed sessions");
        Ok(acked)
    }
}

impl Client {
    async fn open(options: &LoadOptions, number: usize) -> Result<(Arc<Self>, Events)> {
        let connect = ConnectOptions::new(options.hosts.clone());
        let connect = connect.session_timeout_ms(options.session_ms).connect_timeout_ms(60_000);
        let (zk, events) = ZkClient::connect(connect).await?;
        let dir = Self::dir(number);
        zk.create(&dir, None, open_acl(), CreateMode::Persistent).await?;
        zk.create(&format!("{dir}-alive"), None, open_acl(), CreateMode::Ephemeral).await?;
        let session = zk.session().id;
        let client = Self {
            zk,
            number,
            session,
            diary: Mutex::default(),
            moves: AtomicU64::new(0),
            moves_before: AtomicU64::new(0),
        };
        Ok((Arc::new(client), events))
    }

    fn dir(number: usize) -> String {
        format!("/load/clients/c{number:05}")
    }

    /// One write, of number `n`; true if it was acknowledged.
    async fn write(&self, n: u64) -> Result<bool, ZkError> {
        let (dir, data) = (Self::dir(self.number), Some(Bytes::from(n.to_string())));
        let begun = Instant::now();
        let creates = n.is_multiple_of(CREATE_EVERY);
        let outcome = if creates {
            let path = format!("{dir}/n{n:06}");
            self.zk.create(&path, data, open_acl(), CreateMode::Persistent).await.map(drop)
        } else {
            self.zk.set_data(&dir, data, -1).await.map(drop)
        };
        let mut diary = self.diary.lock().await;
        diary.attempts += 1;
        match outcome {
            Ok(()) => {
                diary.slowest = diary.slowest.max(begun.elapsed());
                if creates {
                    diary.created.push(n);
                } else {
                    diary.set = Some(n);
                    diary.sets += 1;
                }
                Ok(true)
            }
            Err(ZkError::ConnectionLoss) => {
                diary.lost_connection += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn verify(&self, reader: &ZkClient) -> Result<u64> {
        let (dir, diary) = (Self::dir(self.number), self.diary.lock().await);
        let (data, stat) = again(|| reader.get_data(&dir, false)).await?;
        let found: std::collections::BTreeSet<_> =
            again(|| reader.get_children(&dir, false)).await?.into_iter().collect();
        for n in &diary.created {
            ensure!(found.contains(&format!("n{n:06}")), "n{n:06} was acknowledged and is lost");
        }
        let holds: Option<u64> = data.and_then(|d| std::str::from_utf8(&d).ok()?.parse().ok());
        ensure!(holds >= diary.set, "set {:?} was acknowledged, and {holds:?} is there", diary.set);
        let (sets, version) = (diary.sets, stat.version as u64);
        let tries = diary.attempts - diary.created.len() as u64;
        ensure!((sets..=tries).contains(&version), "{version} sets done, {sets} acknowledged, {tries} tried");
        let alive = again(|| reader.exists(&format!("{dir}-alive"), false)).await?;
        let owner = alive.context("its ephemeral node is gone")?.ephemeral_owner;
        ensure!(owner == self.session, "its ephemeral node belongs to another session");
        Ok(diary.created.len() as u64 + sets)
    }
}

/// Counts how often a session is taken up after it was opened, until it ends.
async fn listen(client: Arc<Client>, mut events: Events) {
    // The first event tells of the opening.
    events.recv().await;
    while let Some(event) = events.recv().await {
        match (event.kind, event.state) {
            (EventKind::None, KeeperState::SyncConnected) => {
                client.moves.fetch_add(1, Ordering::Relaxed);
            }
            (EventKind::None, KeeperState::Expired) => client.diary.lock().await.expired = true,
            _ => {}
        }
    }
}

/// Writes at its pace; a write that takes longer than the pause makes those behind it late, not fewer.
async fn write(client: Arc<Client>, stop: Arc<AtomicBool>, delay: Duration, pause: Duration) {
    let mut turn = tokio::time::interval_at(Instant::now() + delay, pause);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0.. {
        turn.tick().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match client.write(n).await {
            Ok(_) => {}
            // Counted as an expired session where it is told.
            Err(ZkError::SessionExpired) => return,
            Err(error) => {
                client.diary.lock().await.failure = Some(error.to_string());
                return;
            }
        }
    }
}
