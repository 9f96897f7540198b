//! What is provoked in a mixed ensemble, and how it is seen to have happened: the synchronisation paths, by what the
//! Apache side logs about them, and writes whose acknowledgements are remembered.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use testkit::ensemble::{Ensemble, Id};
use testkit::wait_until;
use zk_client::{CreateMode, ErrorCode, ZkClient, ZkError, open_acl};

use crate::client::{connect, make};
use crate::damage::files;
use crate::tree::Tree;

/// Beyond Apache's 500 transactions in memory.
const MANY: usize = 700;

/// How a server that comes back gets what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// From the leader's memory.
    Diff,
    /// From the leader's log on disk.
    DiffFromDisk,
    Trunc,
    Snap,
}

impl Path {
    /// What an Apache leader says when it goes this way.
    fn leader_says(self) -> &'static [&'static str] {
        match self {
            Self::Diff => &["Sending DIFF"],
            Self::DiffFromDisk => &["Use txnlog and committedLog"],
            // A line for debugging only; the zxids it decides by are told, see was_ahead.
            Self::Trunc => &["Synchronizing with"],
            Self::Snap => &["Sending snapshot"],
        }
    }

    /// What an Apache learner says.
    fn learner_says(self) -> &'static [&'static str] {
        match self {
            Self::Diff | Self::DiffFromDisk => &["Getting a diff from the leader"],
            Self::Trunc => &["Truncating log to get in sync"],
            Self::Snap => &["Getting a snapshot from leader"],
        }
    }
}

/// Remembered writes.
#[derive(Debug, Default)]
pub struct Acked {
    next: usize,
    pub paths: Vec<String>,
}

impl Acked {
    /// Writes until `count` more are acknowledged; what fails is not counted, and may be there or not.
    pub async fn write(&mut self, zk: &ZkClient, count: usize) -> Result<()> {
        make(zk, "/acked").await?;
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        let goal = self.paths.len() + count;
        while self.paths.len() < goal {
            ensure!(tokio::time::Instant::now() < end, "{count} writes were not acknowledged in a minute");
            let batch = (goal - self.paths.len()).min(200);
            let waiting: Vec<_> = (0..batch).map(|_| self.create(zk)).collect();
            for (path, reply) in waiting {
                match reply.await {
                    Ok(_) => self.paths.push(path),
                    Err(ZkError::ConnectionLoss) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(error) => bail!("{path}: {error}"),
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, zk: &ZkClient) -> (String, zk_client::Reply<String>) {
        let path = format!("/acked/n{:06}", self.next);
        self.next += 1;
        let data = Some(Bytes::from(self.next.to_string()));
        let reply = zk.create(&path, data, open_acl(), CreateMode::Persistent);
        (path, reply)
    }

    /// Everything acknowledged is there.
    pub fn check(&self, tree: &Tree) -> Result<()> {
        let lost: Vec<_> = self.paths.iter().filter(|p| !tree.contains_key(*p)).take(5).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        Ok(())
    }
}

/// Takes `victim` down, makes it lack or hold what leads to `path`, and brings it back; the log of the Apache side
/// proves that the path was taken. The leader stays who it is (for [`Path::Trunc`] see [`truncate`]).
pub async fn sync_by(ensemble: &mut Ensemble, victim: Id, path: Path, acked: &mut Acked) -> Result<()> {
    let leader = ensemble.leader()?;
    ensemble.kill(victim)?;
    let (zk, _events) = connect(&ensemble.connect(&[leader])).await?;
    acked.write(&zk, if path == Path::Diff { 20 } else { MANY }).await?;
    zk.close().await?;
    if path == Path::Snap {
        ensemble.wipe(victim)?;
        remove_old_logs(ensemble, leader)?;
    }
    let marks = (ensemble.log(leader).len(), ensemble.log(victim).len());
    ensemble.start(victim)?;
    ensemble.await_serving()?;
    prove(ensemble, leader, victim, marks, path)
}

/// The leader is left alone with writes nobody else has, dies, and comes back to a leader without them. Returns the new
/// leader.
pub async fn truncate(ensemble: &mut Ensemble, acked: &mut Acked) -> Result<Id> {
    let old = ensemble.leader()?;
    let others: Vec<Id> = voters(ensemble).into_iter().filter(|id| *id != old).collect();
    let (zk, _events) = connect(&ensemble.connect(&[old])).await?;
    acked.write(&zk, 5).await?;
    // The one that is to lead next misses nothing its peers have: it has it all now, and goes last.
    ensemble.await_same_zxid()?;
    for id in &others {
        ensemble.kill(*id)?;
    }
    make_orphans(ensemble, old, &zk).await?;
    ensemble.kill(old)?;
    drop(zk);
    for id in &others {
        ensemble.start(*id)?;
    }
    ensemble.await_serving()?;
    // Nothing is written in the new epoch yet: Apache sends a snapshot to whoever has to be cut in an older one.
    let new = ensemble.leader()?;
    let marks = (ensemble.log(new).len(), ensemble.log(old).len());
    ensemble.start(old)?;
    ensemble.await_serving()?;
    prove(ensemble, new, old, marks, Path::Trunc)?;
    Ok(new)
}

/// Writes to a leader without followers until one stands in its log. It may notice at any moment that it is alone.
async fn make_orphans(ensemble: &Ensemble, leader: Id, zk: &ZkClient) -> Result<()> {
    let replies: Vec<_> = (0..20)
        .map(|n| zk.create(&format!("/orphan-{n}"), None, open_acl(), CreateMode::Persistent))
        .collect();
    let logs = || newest_log(ensemble, leader);
    let written = wait_until("an orphan in the leader's log", Duration::from_secs(5), || {
        let bytes = std::fs::read(logs()?).ok()?;
        bytes.windows(8).any(|w| w == b"/orphan-").then_some(())
    });
    written.with_context(|| ensemble.logs())?;
    for reply in replies {
        let outcome = reply.await;
        ensure!(outcome.is_err(), "a leader without followers acknowledged {outcome:?}");
        if matches!(outcome, Err(ZkError::ConnectionLoss)) {
            break;
        }
    }
    Ok(())
}

fn version_2(ensemble: &Ensemble, id: Id) -> PathBuf {
    ensemble.member(id).data().join("version-2")
}

fn newest_log(ensemble: &Ensemble, id: Id) -> Option<PathBuf> {
    files(&version_2(ensemble, id), "log.").ok()?.pop().map(|(_, path)| path)
}

/// What autopurge does: the beginning of the history goes, and whoever lacks it needs a snapshot. The log that was begun
/// before the newest snapshot stays, as it may hold what the snapshot lacks.
fn remove_old_logs(ensemble: &Ensemble, id: Id) -> Result<()> {
    let (snapshot, _) = files(&version_2(ensemble, id), "snapshot.")?.pop().context("no snapshot")?;
    let mut logs = files(&version_2(ensemble, id), "log.")?;
    logs.retain(|(zxid, _)| *zxid <= snapshot);
    ensure!(
        logs.pop().is_some() && !logs.is_empty(),
        "server {id} has no log to remove; is snapCount too high?"
    );
    for (_, log) in logs {
        std::fs::remove_file(log)?;
    }
    Ok(())
}

/// The Apache side of a synchronisation says which way it went. Between two servers of ours both are asked to have come
/// together, nothing more.
fn prove(ensemble: &Ensemble, leader: Id, learner: Id, marks: (usize, usize), path: Path) -> Result<()> {
    if !ensemble.member(leader).kind.is_zoolog() {
        ensemble.await_log(leader, marks.0, path.leader_says())?;
        let log = ensemble.log(leader);
        ensure!(path != Path::Trunc || was_ahead(&log[marks.0..], learner), "server {learner} was not ahead");
    }
    if !ensemble.member(learner).kind.is_zoolog() {
        ensemble.await_log(learner, marks.1, path.learner_says())?;
    }
    println!(
        "  {path:?}: server {learner} ({}) synced by {leader} ({})",
        ensemble.member(learner).kind,
        ensemble.member(leader).kind
    );
    Ok(())
}

/// Whether an Apache leader met this learner with a history that went on behind its own, which it answers by TRUNC.
fn was_ahead(log: &str, learner: Id) -> bool {
    let zxid = |line: &str, key: &str| {
        let digits = line.split_once(key)?.1.split_whitespace().next()?;
        i64::from_str_radix(digits, 16).ok()
    };
    let ahead = |line: &str| {
        Some(zxid(line, "peerLastZxid=0x")? > zxid(line, "maxCommittedLog=0x")?).filter(|ahead| *ahead)
    };
    let about_it = log.lines().filter(|l| l.contains(&format!("sid: {learner} maxCommittedLog")));
    about_it.filter_map(ahead).next().is_some()
}

pub fn voters(ensemble: &Ensemble) -> Vec<Id> {
    let voter = |id: &Id| ensemble.member(*id).role == testkit::Role::Participant;
    ensemble.running().into_iter().filter(voter).collect()
}

/// A session with an ephemeral node goes from one server to another and back, and stays who it is.
pub async fn move_session(ensemble: &Ensemble, from: Id, to: Id) -> Result<()> {
    let path = format!("/moving-{from}-{to}");
    let (zk, _events) = connect(&ensemble.connect(&[from])).await?;
    zk.create(&path, None, open_acl(), CreateMode::Ephemeral).await?;
    let mut session = zk.session();
    drop(zk);
    for at in [to, from] {
        let mut options = zk_client::ConnectOptions::new(ensemble.connect(&[at]));
        options.session = Some(session.clone());
        let (zk, _events) =
            zk_client::ZkClient::connect(options).await.with_context(|| format!("session at server {at}"))?;
        ensure!(zk.session().id == session.id, "another session at server {at}");
        zk.sync(&path).await?;
        let stat = zk.exists(&path, false).await?.with_context(|| format!("no {path} at server {at}"))?;
        ensure!(stat.ephemeral_owner == session.id, "{path} belongs to another session");
        zk.set_data(&path, Some(Bytes::from(at.to_string())), -1).await?;
        session = zk.session();
        if at == from {
            zk.close().await?;
        }
    }
    let (zk, _events) = connect(&ensemble.connect(&[to])).await?;
    zk.sync(&path).await?;
    ensure!(zk.exists(&path, false).await?.is_none(), "{path} outlives its closed session");
    Ok(zk.close().await?)
}

/// multi with create2 through a server, accepted and refused ones.
pub async fn multi_with_create2(zk: &ZkClient, name: &str) -> Result<()> {
    let create = |kind, path: String| {
        zk_client::MultiOp::Create(zk_proto::CreateRequest {
            kind,
            path,
            data: Some(Bytes::from_static(b"m")),
            acl: open_acl(),
            flags: 0,
            ttl_ms: -1,
        })
    };
    use zk_proto::CreateKind::{Create, Create2};
    let base = format!("/multi-{name}");
    let ops = vec![create(Create, base.clone()), create(Create2, format!("{base}/two"))];
    let results = zk.multi(ops).await?;
    ensure!(results.len() == 2, "{results:?}");
    let refused =
        zk.multi(vec![create(Create2, format!("{base}/three")), create(Create2, base.clone())]).await;
    ensure!(
        matches!(&refused, Err(ZkError::Multi { code: ErrorCode::NodeExists, index: 1, .. })),
        "{refused:?}"
    );
    zk.sync(&base).await?;
    let children = zk.get_children(&base, false).await?;
    ensure!(children == ["two"], "{base} has {children:?}");
    Ok(())
}
