//! A server with a damaged or lost history: it counts for nothing until others have made it whole, and says so.
//!
//! Real processes on loopback, three servers of ours. What Apache does with the same damage is to end at start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ensemble::cells::Acked;
use ensemble::client::connect;
use ensemble::damage::{files, flip_bit};
use ensemble::tree;
use tempfile::TempDir;
use testkit::ensemble::Id;
use testkit::{Ensemble, Kind, Mode, Role, Settings, wait_until};

/// A leader would be elected in far less; what must not happen is watched for this long.
const WATCHED: Duration = Duration::from_secs(4);

/// What the server says about itself.
const REFUSES: &str = "neither votes nor counts";

async fn three(dir: &TempDir, acked: &mut Acked) -> Result<Ensemble> {
    let mut ensemble =
        Ensemble::new(dir.path(), &[(Kind::Zoolog, Role::Participant); 3], Settings::default())?;
    ensemble.start_all(&[1, 2, 3])?;
    write(&ensemble, acked).await?;
    Ok(ensemble)
}

async fn write(ensemble: &Ensemble, acked: &mut Acked) -> Result<()> {
    let (zk, _events) = connect(&ensemble.connect(&ensemble.running())).await?;
    acked.write(&zk, 200).await?;
    Ok(zk.close().await?)
}

/// One bit somewhere in the newest log of a stopped server.
fn damage_log(ensemble: &Ensemble, id: Id) -> Result<()> {
    let mut rng = fastrand::Rng::new();
    let (_, log) = files(&ensemble.member(id).data().join("version-2"), "log.")?.pop().context("no log")?;
    let at = flip_bit(&log, &mut rng)?.context("an empty log")?;
    println!("server {id}: {} {at:?}", log.display());
    Ok(())
}

fn nobody_serves(ensemble: &Ensemble) -> Result<()> {
    let serving = wait_until("somebody serving", WATCHED, || {
        ensemble
            .running()
            .into_iter()
            .find(|id| matches!(ensemble.mode(*id), Some(Mode::Leader | Mode::Follower)))
    });
    ensure!(serving.is_err(), "server {serving:?} serves\n{}", ensemble.logs());
    Ok(())
}

async fn all_is_there(ensemble: &Ensemble, acked: &Acked) -> Result<()> {
    acked.check(&tree::all_equal(ensemble).await?)
}

/// Whatever the damage: the others serve on, the server is synchronised by them, and what was damaged is kept aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_server_is_healed_by_the_others() -> Result<()> {
    let (dir, mut acked) = (TempDir::new()?, Acked::default());
    let mut ensemble = three(&dir, &mut acked).await?;
    for id in [1, 2, 3] {
        ensemble.kill(id)?;
        damage_log(&ensemble, id)?;
        write(&ensemble, &mut acked).await?;
        ensemble.start(id)?;
        ensemble.await_serving()?;
        ensure!(
            ensemble.member(id).data().join("damaged-1").exists(),
            "the damaged log of server {id} is gone"
        );
        all_is_there(&ensemble, &acked).await?;
    }
    // It counts again: without it there is no majority.
    ensemble.kill(3)?;
    ensemble.kill(1)?;
    ensemble.start(1)?;
    ensemble.await_serving()?;
    all_is_there(&ensemble, &acked).await
}

/// The damaged server's vote would be a majority's, and is not given: what the third one knows might be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_server_is_no_part_of_a_majority() -> Result<()> {
    for wiped in [false, true] {
        let (dir, mut acked) = (TempDir::new()?, Acked::default());
        let mut ensemble = three(&dir, &mut acked).await?;
        // Server 1 misses what 2 and 3 acknowledge.
        ensemble.kill(1)?;
        write(&ensemble, &mut acked).await?;
        ensemble.kill(2)?;
        ensemble.kill(3)?;
        if wiped {
            ensemble.wipe(2)?;
        } else {
            damage_log(&ensemble, 2)?;
        }
        let mark = ensemble.log(2).len();
        ensemble.start(1)?;
        ensemble.start(2)?;
        nobody_serves(&ensemble)?;
        ensemble.await_log(2, mark, &[REFUSES])?;
        ensemble.start(3)?;
        ensemble.await_serving()?;
        all_is_there(&ensemble, &acked).await?;
    }
    Ok(())
}

/// With a majority damaged nobody can say what was acknowledged: no leader, and the reason is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_majority_refuses() -> Result<()> {
    let (dir, mut acked) = (TempDir::new()?, Acked::default());
    let mut ensemble = three(&dir, &mut acked).await?;
    for id in [1, 2, 3] {
        ensemble.kill(id)?;
    }
    damage_log(&ensemble, 1)?;
    damage_log(&ensemble, 2)?;
    let marks = [ensemble.log(1).len(), ensemble.log(2).len()];
    for id in [1, 2, 3] {
        ensemble.start(id)?;
    }
    nobody_serves(&ensemble)?;
    for (id, mark) in [1, 2].into_iter().zip(marks) {
        ensemble.await_log(id, mark, &[REFUSES])?;
    }
    // One copy of a healthy directory is enough to go on.
    ensemble.kill(1)?;
    ensemble.kill(3)?;
    let (from, to) =
        (ensemble.member(3).data().join("version-2"), ensemble.member(1).data().join("version-2"));
    std::fs::remove_dir_all(&to)?;
    std::fs::create_dir(&to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    ensemble.start(1)?;
    ensemble.start(3)?;
    ensemble.await_serving()?;
    all_is_there(&ensemble, &acked).await
}
