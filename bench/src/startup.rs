//! From the start of the process to the first request it serves, and what it weighs then.

use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use crate::measure::{Better, Table};
use crate::process::resident_mib;
use crate::raw_kafka;
use crate::systems::Side;
use crate::zk_load;

const LIMIT: Duration = Duration::from_secs(60);
/// Memory is read this long after the first answer, when start-up work has settled.
const SETTLE: Duration = Duration::from_secs(2);

pub fn measure(side: Side, table: &mut Table) -> Result<()> {
    let dir = TempDir::new()?;
    let (zookeeper_port, kafka_port) = (free_port(), free_port());

    let begun = Instant::now();
    let zookeeper = side.zookeeper(&dir.path().join("zookeeper"), zookeeper_port)?;
    wait_until("a session", LIMIT, || zk_load::probe(zookeeper_port).ok())?;
    let name = "ZooKeeper: start to first session";
    table.add(side, name, "s", Better::Lower, begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    let kafka = side.kafka(&dir.path().join("kafka"), kafka_port, zookeeper_port)?;
    wait_until("metadata", LIMIT, || raw_kafka::probe(kafka_port).ok())?;
    let name = "Kafka: start to first metadata with a broker in it";
    table.add(side, name, "s", Better::Lower, begun.elapsed().as_secs_f64());

    std::thread::sleep(SETTLE);
    let idle = resident_mib(zookeeper.pid())?;
    table.add(side, "ZooKeeper: idle memory", "MiB", Better::Lower, idle);
    table.add(side, "Kafka: idle memory", "MiB", Better::Lower, resident_mib(kafka.pid())?);
    Ok(())
}
