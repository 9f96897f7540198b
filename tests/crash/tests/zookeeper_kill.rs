//! kill -9 under load: everything acknowledged is there after the restart, in the same order.
//!
//! `CRASH_ROUNDS` makes it longer. Each round works on the directory all rounds before have left.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crash::zookeeper_load::{Acked, Load, connect, verify};
use tempfile::TempDir;
use testkit::originals::four_letter_word;
use testkit::{Server, Zoolog, free_port};
use zk_client::ZkClient;

const SESSIONS: usize = 16;

/// Snapshots and new logs in the midst of the load; sessions that are given up die soon.
const SETTINGS: &str = "snapCount=2000\npreAllocSize=1024\ntickTime=500";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_survives_kill_9_in_order() -> Result<()> {
    let (rounds, dir, port) = (crash::rounds(5), TempDir::new()?, free_port());
    let mut random = fastrand::Rng::with_seed(crash::seed());
    let zoolog = Zoolog::find()?;
    let mut all: Vec<Acked> = Vec::new();
    let mut server = zoolog.zookeeper(dir.path(), port, SETTINGS)?;
    let (mut before, mut unacked) = (0, 0);
    for round in 1..=rounds {
        let load =
            Load::start(port, &format!("/load/r{round}"), SESSIONS).await.with_context(|| state(&server))?;
        load.answered(random.u64(200..6000)).await.with_context(|| state(&server))?;
        server.kill()?;
        all.extend(load.acked().await?);
        server = zoolog.zookeeper(dir.path(), port, SETTINGS)?;
        let zk = connect(port).await?;
        let verdict = verify(&zk, &all).await.with_context(|| format!("round {round}"))?;
        ensure!(
            verdict.lost == 0,
            "round {round}: {} of {} acknowledged writes are lost",
            verdict.lost,
            verdict.acked
        );
        let alive = marks(&zk, round).await?;
        ensure!(alive == SESSIONS, "round {round}: {alive} of {SESSIONS} sessions were recovered");
        println!(
            "round {round}: {} more writes acknowledged, all there; {} more that were not acknowledged",
            verdict.acked - before,
            verdict.unacked - unacked
        );
        (before, unacked) = (verdict.acked, verdict.unacked);
        zk.close().await?;
    }
    println!("{rounds} rounds: {before} acknowledged writes, none lost, none out of order");
    sessions_end(port, rounds).await
}

/// What a server that does not answer as it should says of itself.
fn state(server: &Server) -> String {
    let stat = four_letter_word(server.port, "stat").unwrap_or_else(|e| e.to_string());
    format!("{stat}\n{}", server.log_text())
}

/// How many ephemerals of the round's sessions are there.
async fn marks(zk: &ZkClient, round: u32) -> Result<usize> {
    let children = zk.get_children(&format!("/load/r{round}"), false).await?;
    Ok(children.iter().filter(|c| c.ends_with("-alive")).count())
}

/// The sessions were recovered, nobody came back for them: they expire, and their nodes go (ZOOKEEPER-1367).
async fn sessions_end(port: u16, rounds: u32) -> Result<()> {
    let zk = connect(port).await?;
    let gone = async {
        for round in 1..=rounds {
            while marks(&zk, round).await? > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.context("ephemerals of dead sessions stay")?
}
