//! kill -9 of the broker under load: what was acknowledged is there after the restart, in order, the idempotent producers'
//! records once, and committed offsets stand.
//!
//! `CRASH_ROUNDS` makes it longer. Each round works on the directory all rounds before have left, with a topic of its own.

use anyhow::{Context, Result};
use crash::kafka_load::{Facts, Load, PARTITIONS, Verdict};
use tempfile::TempDir;
use testkit::originals::run;
use testkit::{Server, Zoolog, free_port};

/// Segments small enough to roll often.
const SETTINGS: &str =
    "log.segment.bytes=400000\noffsets.topic.num.partitions=4\nauto.create.topics.enable=false";

#[test]
fn the_broker_is_killed() -> Result<()> {
    let dir = TempDir::new()?;
    let (zoolog, zookeeper_port, port) = (Zoolog::find()?, free_port(), free_port());
    let _zookeeper = zoolog.zookeeper(&dir.path().join("zookeeper"), zookeeper_port, "tickTime=500")?;
    let address = format!("127.0.0.1:{zookeeper_port}");
    rounds(|| zoolog.kafka(&dir.path().join("kafka"), port, &address, SETTINGS))
}

#[test]
fn both_servers_are_killed_at_once() -> Result<()> {
    let dir = TempDir::new()?;
    let (zoolog, zookeeper, kafka) = (Zoolog::find()?, free_port(), free_port());
    rounds(|| zoolog.dev_on(dir.path(), zookeeper, kafka))
}

fn rounds(start: impl Fn() -> Result<Server>) -> Result<()> {
    let rounds = crash::rounds(3);
    let mut random = fastrand::Rng::with_seed(crash::seed());
    let mut server = start()?;
    let port = server.port;
    let mut all: Vec<Facts> = Vec::new();
    let mut sum = Verdict::default();
    for round in 1..=rounds {
        let topic = format!("round-{round}");
        create(port, &topic)?;
        let load = Load::start(port, &topic)?;
        load.await_acknowledged(random.u64(100..8000)).with_context(|| server.log_text())?;
        server.kill()?;
        server = start()?;
        // The same clients go on with the broker that came back.
        load.await_acknowledged(random.u64(1..2000)).with_context(|| server.log_text())?;
        let facts = load.finish().with_context(|| format!("round {round}"))?;
        let verdict = facts.check(port).with_context(|| format!("round {round}"))?;
        println!("round {round}: {verdict:?}");
        sum.records += verdict.records;
        sum.acknowledged += verdict.acknowledged;
        sum.repetitions += verdict.repetitions;
        all.push(facts);
    }
    // Once more over everything, after one more death without load.
    server.kill()?;
    let _server = start()?;
    for facts in &all {
        facts.check(port).context("after all rounds")?;
    }
    println!(
        "{rounds} rounds: {sum:?}, none lost, none out of order, none of the idempotent producers' twice"
    );
    Ok(())
}

fn create(port: u16, topic: &str) -> Result<()> {
    let mut command = Zoolog::find()?.command();
    let (server, partitions) = (format!("127.0.0.1:{port}"), PARTITIONS.to_string());
    command.args(["topics", "--bootstrap-server", &server, "--create", "--topic", topic]);
    command.args(["--partitions", &partitions, "--replication-factor", "1"]);
    let output = run(command, b"")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
