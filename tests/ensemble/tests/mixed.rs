//! zoolog among Apache's servers: every role, every election, every way of synchronisation, with every release.
//!
//! `ENSEMBLE_OURS=3.9.3` puts Apache's release in zoolog's places: what fails then is the test, not zoolog.
//! `ENSEMBLE_SEED` changes the random programs, `ENSEMBLE_STEPS=10` makes them ten times as long.
//! One test runs at a time, so that no machine holds more than one ensemble of JVMs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ensemble::cells::{Acked, Path, move_session, multi_with_create2, sync_by, truncate};
use ensemble::client::{connect, connect_super};
use ensemble::hostile::attack_all;
use ensemble::kazoo::Kazoo;
use ensemble::random::{self, Place, Taste};
use ensemble::residents::Residents;
use ensemble::{tree, tree::Tree};
use tempfile::TempDir;
use testkit::ensemble::Id;
use testkit::{Ensemble, Kind, Mode, Role, Settings, wait_until};
use tokio::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Snapshots often; 0 lets a log be used for synchronisation however much longer than the snapshot it is.
fn settings() -> Settings {
    Settings { extra: "snapCount=300\nsnapshotSizeFactor=0\n".into(), ..Settings::default() }
}

fn setting(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// An ensemble under observation.
struct World {
    ensemble: Ensemble,
    acked: Acked,
    residents: Residents,
    kazoo: Kazoo,
    seed: u64,
    _dir: TempDir,
}

impl World {
    /// Observes an ensemble that serves already.
    async fn begin(ensemble: Ensemble, dir: TempDir) -> Result<Self> {
        let running = ensemble.running();
        let hosts: Vec<_> = running.iter().map(|id| ensemble.connect(&[*id])).collect();
        let residents = Residents::move_in(&hosts, 2).await?;
        let kazoo = Kazoo::start(&hosts.join(","))?;
        Ok(Self {
            ensemble,
            acked: Acked::default(),
            residents,
            kazoo,
            seed: setting("ENSEMBLE_SEED"),
            _dir: dir,
        })
    }

    async fn check(&mut self) -> Result<()> {
        self.residents.check().await.with_context(|| self.ensemble.logs())?;
        self.kazoo.check().with_context(|| self.ensemble.logs())
    }

    /// A random program through everybody, then one tree everywhere.
    async fn program(&mut self, steps: usize, create2_in_multi: bool) -> Result<()> {
        let ours_leads = self.ensemble.member(self.ensemble.leader()?).kind.is_zoolog();
        let place = |id: &Id| {
            let member = self.ensemble.member(*id);
            Place { port: member.site.client_port, takes_nonsense: ours_leads || member.kind.is_zoolog() }
        };
        let places: Vec<_> = self.ensemble.running().iter().map(place).collect();
        let (seed, taste) = (self.seed, Taste { create2_in_multi });
        let steps = steps * setting("ENSEMBLE_STEPS") as usize;
        self.seed += 1;
        let done = tokio::task::block_in_place(|| random::run(&places, seed, steps, taste));
        let done = done.with_context(|| self.ensemble.logs())?;
        let tree = self.compare().await?;
        println!("  program {seed}: {done:?}, {} nodes alike", tree.len());
        Ok(())
    }

    async fn compare(&self) -> Result<Tree> {
        let tree = tree::all_equal(&self.ensemble).await?;
        self.acked.check(&tree)?;
        Ok(tree)
    }

    async fn end(mut self) -> Result<()> {
        self.check().await?;
        let tree = self.compare().await?;
        println!("  {} nodes alike, {} acknowledged writes there", tree.len(), self.acked.paths.len());
        self.kazoo.finish()?;
        self.residents.move_out().await
    }

    /// The server is needed for every acknowledgement, and is killed again and again.
    async fn kill_the_deciding_vote(&mut self, id: Id, absent: Id) -> Result<()> {
        self.ensemble.kill(absent)?;
        let all = self.ensemble.connect(&self.ensemble.running());
        let (zk, _events) = connect(&all).await?;
        for _ in 0..3 {
            self.acked.write(&zk, 100).await?;
            self.ensemble.kill(id)?;
            let (accepted, current) = self.ensemble.epochs(id)?;
            ensure!(accepted >= current && current > 0, "epochs {accepted} {current}");
            self.ensemble.start(id)?;
            self.ensemble.await_serving()?;
        }
        zk.close().await?;
        self.ensemble.start(absent)?;
        self.ensemble.await_serving()?;
        self.compare().await.map(drop)
    }
}

/// Servers 1 and 3 are Apache's, 2 and the observer 4 are ours: ours join a running ensemble, decide its votes, lead it
/// and are led again, and everybody is brought up to date in every way.
async fn takes_every_role_among(version: &'static str) -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (theirs, ours) = (Kind::Apache(version), Kind::ours());
    println!("{ours} among {theirs}");
    let dir = TempDir::new()?;
    use Role::{Observer, Participant};
    let servers = [(theirs, Participant), (ours, Participant), (theirs, Participant), (ours, Observer)];
    let mut ensemble = Ensemble::new(dir.path(), &servers, settings())?;
    ensemble.start_all(&[1, 3])?;
    ensemble.await_leader(3)?;
    ensemble.start_all(&[2, 4])?;
    ensemble.await_mode(2, Mode::Follower)?;
    ensemble.await_mode(4, Mode::Observer)?;

    // Apache leads.
    let mut world = World::begin(ensemble, dir).await?;
    world.program(250, true).await?;
    move_session(&world.ensemble, 1, 2).await?;
    move_session(&world.ensemble, 4, 3).await?;
    world.kill_the_deciding_vote(2, 1).await?;
    for path in [Path::Diff, Path::DiffFromDisk, Path::Snap] {
        sync_by(&mut world.ensemble, 2, path, &mut world.acked).await?;
    }
    world.check().await?;

    // Ours leads: it has the higher number of the two that remain.
    ensure!(truncate(&mut world.ensemble, &mut world.acked).await? == 2, "server 2 was to lead");
    world.check().await?;
    world.program(250, true).await?;
    for (learner, path) in [(1, Path::Diff), (3, Path::DiffFromDisk), (1, Path::Snap)] {
        sync_by(&mut world.ensemble, learner, path, &mut world.acked).await?;
    }
    move_session(&world.ensemble, 2, 3).await?;
    let attacks = attack_all(&world.ensemble, 2)? + attack_all(&world.ensemble, 4)?;
    println!("  {attacks} attacks");
    world.check().await?;

    // Apache leads again, and takes back what ours wrote alone.
    ensure!(truncate(&mut world.ensemble, &mut world.acked).await? == 3, "server 3 was to lead");
    world.program(100, true).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_among_3_5_7() -> Result<()> {
    takes_every_role_among("3.5.7").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_among_3_6_3() -> Result<()> {
    takes_every_role_among("3.6.3").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_among_3_8_4() -> Result<()> {
    takes_every_role_among("3.8.4").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_among_3_9_3() -> Result<()> {
    takes_every_role_among("3.9.3").await
}

/// Four Apache servers of four releases, and ours leads: nothing it sends may mean something else to an older one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leads_all_releases_at_once() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let dir = TempDir::new()?;
    let mut servers: Vec<_> = Kind::APACHE.map(|v| (Kind::Apache(v), Role::Participant)).into();
    servers.push((Kind::ours(), Role::Participant));
    let mut ensemble = Ensemble::new(dir.path(), &servers, settings())?;
    // With two of the others it is the first majority, and has its highest number.
    ensemble.start_all(&[1, 2, 5])?;
    ensemble.await_leader(5)?;
    ensemble.start_all(&[3, 4])?;
    let mut world = World::begin(ensemble, dir).await?;
    // Apache 3.9.3 in our place loses these for its older followers (Z-4026).
    let whole = Kind::ours().is_zoolog();
    if whole {
        for id in 1..=5 {
            let (zk, _events) = connect(&world.ensemble.connect(&[id])).await?;
            multi_with_create2(&zk, &id.to_string()).await.with_context(|| format!("through {id}"))?;
            zk.close().await?;
        }
        world.compare().await?;
    }
    world.program(400, whole).await?;
    for (learner, path) in [(2, Path::Diff), (1, Path::Snap), (3, Path::DiffFromDisk)] {
        sync_by(&mut world.ensemble, learner, path, &mut world.acked).await?;
    }
    world.end().await
}

/// Members of several kinds come and go; a leader that is removed names its successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let dir = TempDir::new()?;
    let ours = Kind::ours();
    let servers = [
        (Kind::Apache("3.8.4"), Role::Participant),
        (ours, Role::Participant),
        (Kind::Apache("3.9.3"), Role::Participant),
    ];
    let settings = Settings { reconfig: true, ..settings() };
    let mut ensemble = Ensemble::new(dir.path(), &servers, settings)?;
    ensemble.start_all(&[1, 3])?;
    ensemble.await_leader(3)?;
    ensemble.start_all(&[2])?;
    let all = ensemble.connect(&[1, 2, 3]);
    let zk = connect_super(&all).await?;
    make_some(&zk).await?;

    // One of ours joins an ensemble led by Apache, as a participant.
    let new = ensemble.add(ours, &[1, 2, 3])?;
    ensemble.start(new)?;
    let line = ensemble.line(new);
    reconfig(&zk, Some(&line), None).await?;
    ensemble.await_mode(new, Mode::Follower)?;
    tree::all_equal(&ensemble).await?;

    // The leader goes: somebody else leads, and it is out.
    reconfig(&zk, None, Some("3")).await?;
    let next = successor(&mut ensemble, 3)?;
    make_some(&zk).await?;

    // Ours leads and takes in an Apache server.
    if next != new {
        ensemble.kill(next)?;
        ensemble.await_serving()?;
        ensemble.start(next)?;
        ensemble.await_serving()?;
    }
    ensure!(ensemble.leader()? == new, "server {new} was to lead");
    println!("  server {new} ({ours}) {:?}", ensemble.mode(new));
    let newest = ensemble.add(Kind::Apache("3.9.3"), &[1, 2, new])?;
    ensemble.start(newest)?;
    let line = ensemble.line(newest);
    reconfig(&zk, Some(&line), None).await?;
    ensemble.await_mode(newest, Mode::Follower)?;
    ensemble.await_serving()?;
    let config = zk.get_config(false).await?.0.unwrap_or_default();
    println!("  {}", String::from_utf8_lossy(&config).replace('\n', " "));
    make_some(&zk).await?;
    tree::all_equal(&ensemble).await?;

    // Our leader is taken out in its turn.
    reconfig(&zk, None, Some(&new.to_string())).await?;
    let next = successor(&mut ensemble, new)?;
    println!("  server {next} ({}) leads", ensemble.member(next).kind);
    make_some(&zk).await?;
    tree::all_equal(&ensemble).await?;
    Ok(zk.close().await?)
}

/// Waits until another server leads than the one that was removed, which is then stopped.
fn successor(ensemble: &mut Ensemble, removed: Id) -> Result<Id> {
    let leads = |id: &Id| *id != removed && ensemble.mode(*id) == Some(Mode::Leader);
    let next =
        wait_until("another leader", Duration::from_secs(30), || ensemble.running().into_iter().find(leads))
            .with_context(|| ensemble.logs())?;
    ensemble.kill(removed)?;
    ensemble.await_serving()?;
    Ok(next)
}

async fn make_some(zk: &zk_client::ZkClient) -> Result<()> {
    ensemble::client::again(|| {
        let mode = zk_client::CreateMode::PersistentSequential;
        zk.create("/some-", None, zk_client::open_acl(), mode)
    })
    .await
    .map(drop)
}

/// Until it goes through: servers refuse while the joiner is not up to date yet, and while one is under way.
async fn reconfig(zk: &zk_client::ZkClient, joining: Option<&str>, leaving: Option<&str>) -> Result<()> {
    use zk_client::{ErrorCode, ZkError};
    let end = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let outcome = zk.reconfig(joining, leaving, None, -1).await;
        let retry = match &outcome {
            Err(ZkError::ConnectionLoss) => true,
            Err(e) => e.is(ErrorCode::NewConfigNoQuorum) || e.is(ErrorCode::ReconfigInProgress),
            Ok(_) => false,
        };
        if !retry || std::time::Instant::now() > end {
            outcome.with_context(|| format!("reconfig {joining:?} {leaving:?}"))?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
