//! Apache Kafka, one broker, on zoolog's coordination server. That the znodes come out the same is in
//! `kafka_on_apache_zookeeper.rs`, where all pairs are compared.

use anyhow::{Result, ensure};
use interop::kafka::{Broker, Coordinator, Pair, life};
use tempfile::TempDir;
use testkit::originals::run;
use testkit::zoolog::write_server_properties;
use testkit::{Kafka, Zoolog, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_kafka_2_7_1() -> Result<()> {
    life::live(&mut Pair::started(Coordinator::Zoolog, Broker::Apache(Kafka("2.7.1")), "")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_kafka_3_9_1() -> Result<()> {
    life::live(&mut Pair::started(Coordinator::Zoolog, Broker::Apache(Kafka("3.9.1")), "")?).await
}

/// One broker a cluster for now: ours does not start beside Apache's, with its id or with another.
#[test]
fn ours_does_not_start_beside_apaches() -> Result<()> {
    let pair = Pair::started(Coordinator::Zoolog, Broker::Apache(Kafka("3.9.1")), "")?;
    let zookeeper = format!("127.0.0.1:{}", pair.zookeeper_port);
    let apache = format!("127.0.0.1:{}", pair.kafka_port);
    for (id, words) in [("0", "/brokers/ids/0"), ("1", "broker 0")] {
        let dir = TempDir::new()?;
        let settings = format!("broker.id={id}\nzookeeper.session.timeout.ms=1500");
        let config = write_server_properties(dir.path(), free_port(), &zookeeper, &settings)?;
        let mut command = Zoolog::find()?.command();
        command.arg("kafka-server").arg(config);
        let output = run(command, b"")?;
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && line.lines().count() == 1, "{:?}: {line}", output.status);
        ensure!(line.contains(words) && line.contains(&apache), "{line}");
    }
    // Apache's goes on.
    ensure!(pair.cluster()?.topics()?.is_empty(), "there are topics");
    Ok(())
}
