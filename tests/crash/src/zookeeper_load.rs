//! Sessions that write as fast as they are answered and remember every acknowledgement.
//!
//! Each session writes one directory: it creates `n000000`, `n000001`, … and between two of them sets the
//! directory's data, all pipelined. Since a session's requests are carried out in order, what a crash leaves must be
//! an unbroken beginning of that sequence that holds at least everything acknowledged, under the zxids told then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use zk_client::{ConnectOptions, CreateMode, Reply, Stat, ZkClient, ZkError, open_acl};

/// Requests a session keeps in flight.
const IN_FLIGHT: usize = 32;

/// What one session was told.
#[derive(Debug, Default, Clone)]
pub struct Acked {
    /// The session's directory.
    pub dir: String,
    /// Creation zxids of `n000000`, `n000001`, …
    pub created: Vec<i64>,
    /// The directory's Stat after the last acknowledged set.
    pub set: Option<Stat>,
}

impl Acked {
    fn writes(&self) -> usize {
        self.created.len() + self.set.map_or(0, |s| s.version as usize)
    }
}

/// Running sessions.
#[derive(Debug)]
pub struct Load {
    sessions: JoinSet<Acked>,
    answered: Arc<AtomicU64>,
}

impl Load {
    /// Starts `sessions` sessions that write below `root`.
    pub async fn start(port: u16, root: &str, sessions: usize) -> Result<Self> {
        let zk = connect(port).await?;
        create_all(&zk, root).await?;
        let mut set = JoinSet::new();
        let answered = Arc::new(AtomicU64::new(0));
        for i in 0..sessions {
            let dir = format!("{root}/s{i}");
            zk.create(&dir, None, open_acl(), CreateMode::Persistent).await?;
            let zk = connect(port).await?;
            let mark = format!("{dir}-alive");
            zk.create(&mark, None, open_acl(), CreateMode::Ephemeral).await?;
            set.spawn(write(zk, dir, answered.clone()));
        }
        zk.close().await?;
        Ok(Self { sessions: set, answered })
    }

    /// Waits until so many writes were acknowledged in all.
    pub async fn answered(&self, count: u64) -> Result<()> {
        let enough = async {
            while self.answered.load(Ordering::Relaxed) < count {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        let limit = std::time::Duration::from_secs(60);
        tokio::time::timeout(limit, enough).await.with_context(|| format!("no {count} answers in {limit:?}"))
    }

    /// What every session was told, once the server is gone.
    pub async fn acked(mut self) -> Result<Vec<Acked>> {
        let mut all = Vec::new();
        while let Some(acked) = self.sessions.join_next().await {
            all.push(acked?);
        }
        Ok(all)
    }
}

/// A restarted server has the port before it has read its state back, which takes a debug build a while after many
/// rounds.
const CONNECT_MS: u64 = 60_000;

pub async fn connect(port: u16) -> Result<ZkClient> {
    let options = ConnectOptions::new(format!("127.0.0.1:{port}")).session_timeout_ms(10_000);
    let options = options.connect_timeout_ms(CONNECT_MS);
    Ok(ZkClient::connect(options).await?.0)
}

async fn create_all(zk: &ZkClient, path: &str) -> Result<()> {
    for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
        match zk.create(&path[..end], None, open_acl(), CreateMode::Persistent).await {
            Ok(_) => {}
            Err(e) if e.is(zk_client::ErrorCode::NodeExists) => {}
            Err(e) => return Err(e).context(path.to_owned()),
        }
    }
    Ok(())
}

enum Write {
    Create(Reply<(String, Stat)>),
    Set(Reply<Stat>),
}

/// Writes until the first failure, which is the crash.
async fn write(zk: ZkClient, dir: String, answered: Arc<AtomicU64>) -> Acked {
    let mut acked = Acked { dir, ..Acked::default() };
    let mut waiting = VecDeque::with_capacity(IN_FLIGHT);
    for n in 0_usize.. {
        let data = Some(Bytes::from(n.to_string()));
        waiting.push_back(if n % 2 == 0 {
            let path = node(&acked.dir, n / 2);
            Write::Create(zk.create2(&path, data, open_acl(), CreateMode::Persistent))
        } else {
            Write::Set(zk.set_data(&acked.dir, data, -1))
        });
        if waiting.len() < IN_FLIGHT {
            continue;
        }
        let Some(oldest) = waiting.pop_front() else { break };
        if take(oldest, &mut acked).await.is_err() {
            break;
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    // Answers may have come for what was sent before the crash.
    for write in waiting {
        if take(write, &mut acked).await.is_err() {
            break;
        }
    }
    acked
}

async fn take(write: Write, acked: &mut Acked) -> Result<(), ZkError> {
    match write {
        Write::Create(reply) => acked.created.push(reply.await?.1.czxid),
        Write::Set(reply) => acked.set = Some(reply.await?),
    }
    Ok(())
}

fn node(dir: &str, n: usize) -> String {
    format!("{dir}/n{n:06}")
}

/// What a restarted server lacks or has otherwise.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Acknowledged writes that were looked for.
    pub acked: usize,
    /// Acknowledged writes that are gone.
    pub lost: usize,
    /// Writes found that were never acknowledged; allowed.
    pub unacked: usize,
}

/// Compares a restarted server with what was acknowledged. Losses are counted; disorder is an error.
pub async fn verify(zk: &ZkClient, all: &[Acked]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for acked in all {
        verify_one(zk, acked, &mut verdict).await.with_context(|| acked.dir.clone())?;
    }
    Ok(verdict)
}

async fn verify_one(zk: &ZkClient, acked: &Acked, verdict: &mut Verdict) -> Result<()> {
    verdict.acked += acked.writes();
    let Some(dir) = zk.exists(&acked.dir, false).await? else {
        verdict.lost += acked.writes();
        return Ok(());
    };
    let found = zk.get_children(&acked.dir, false).await?.len();
    let looks: Vec<_> = (0..found).map(|n| zk.get_data(&node(&acked.dir, n), false)).collect();
    let mut last = 0;
    for (n, look) in looks.into_iter().enumerate() {
        let (data, stat) =
            look.await.with_context(|| format!("{found} children, and n{n:06} is not among them"))?;
        ensure!(data == Some(Bytes::from((2 * n).to_string())), "n{n:06} holds {data:?}");
        ensure!(stat.czxid > last, "n{n:06} was created at 0x{:x}, before its predecessor", stat.czxid);
        last = stat.czxid;
        if let Some(told) = acked.created.get(n) {
            ensure!(*told == last, "n{n:06} was acknowledged as 0x{told:x} and is 0x{last:x} now");
        }
    }
    let told = acked.set.unwrap_or_default();
    if dir.version == told.version && told.version > 0 {
        ensure!(
            (dir.mzxid, dir.mtime_ms) == (told.mzxid, told.mtime_ms),
            "set acknowledged as {told:?}, is {dir:?}"
        );
    }
    // Every second write is a set: the two halves cannot drift apart by more than one.
    ensure!((found as i32 - dir.version).abs() <= 1, "{found} children after {} sets", dir.version);
    verdict.lost += acked.created.len().saturating_sub(found);
    verdict.lost += usize::try_from(told.version - dir.version).unwrap_or(0);
    verdict.unacked += found.saturating_sub(acked.created.len());
    verdict.unacked += usize::try_from(dir.version - told.version).unwrap_or(0);
    Ok(())
}
