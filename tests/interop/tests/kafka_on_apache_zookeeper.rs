//! zoolog's broker on Apache ZooKeeper: a whole life on either end of the supported versions, the same znodes as
//! Apache Kafka leaves, and Kafka 2.7.1's tools that write znodes behind the broker's back.

use std::time::Duration;

use anyhow::{Result, ensure};
use interop::kafka::cluster::Sending;
use interop::kafka::files::{self, Files};
use interop::kafka::{Broker, Cluster, Coordinator, Pair, Stream, Znodes, life};
use testkit::originals::tool_stdout;
use testkit::{Kafka, ZooKeeper, wait_until, wait_until_async};

#[tokio::test(flavor = "multi_thread")]
async fn a_life_on_zookeeper_3_5_7() -> Result<()> {
    life::live(&mut Pair::started(Coordinator::Apache(ZooKeeper("3.5.7")), Broker::Zoolog, "")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_on_zookeeper_3_9_3() -> Result<()> {
    life::live(&mut Pair::started(Coordinator::Apache(ZooKeeper("3.9.3")), Broker::Zoolog, "")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn znodes_are_those_of_kafka_3_9_1() -> Result<()> {
    same_znodes(Kafka("3.9.1"), "", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn znodes_are_those_of_kafka_2_7_1() -> Result<()> {
    // 2.7.1 takes a block of producer ids at every start; ours, like 3.9.1, when the first producer asks. And it writes
    // the configuration of the offsets topic once for each FindCoordinator that comes before the topic is there.
    let left_out = ["/latest_producer_id_block", "/config/topics/__consumer_offsets"];
    same_znodes(Kafka("2.7.1"), "inter.broker.protocol.version=2.7", &left_out).await
}

/// Three pairs do the same: Apache on Apache, zoolog's broker on Apache, Apache's broker on zoolog. They must leave the
/// same znodes, and the same files.
async fn same_znodes(kafka: Kafka, settings: &str, left_out: &[&str]) -> Result<()> {
    let apache = Coordinator::Apache(ZooKeeper("3.9.3"));
    let (reference, their_files) = footprints(apache, Broker::Apache(kafka), settings).await?;
    for (coordinator, broker) in [(apache, Broker::Zoolog), (Coordinator::Zoolog, Broker::Apache(kafka))] {
        let (other, files) = footprints(coordinator, broker, settings).await?;
        let differences = files::differences(&their_files, &files);
        ensure!(differences.is_empty(), "log directory of {broker:?} on {coordinator:?}:\n{differences}");
        for ((moment, one), (_, other)) in reference.iter().zip(&other) {
            ensure!(one.0.len() > 20, "{moment}: {} znodes only", one.0.len());
            let differences = one.differences(other, left_out);
            ensure!(differences.is_empty(), "{broker:?} on {coordinator:?}, {moment}:\n{differences}");
        }
    }
    Ok(())
}

/// The znodes at several moments of the same small story, and the files after a clean stop in its course.
async fn footprints(
    coordinator: Coordinator,
    broker: Broker,
    settings: &str,
) -> Result<(Vec<(&'static str, Znodes)>, Files)> {
    // Cached controllers and rebalance timers would write at moments of their own.
    let settings = format!("auto.leader.rebalance.enable=false\n{settings}");
    let mut pair = Pair::started(coordinator, broker, &settings)?;
    let cluster = pair.cluster()?;
    let mut moments = Vec::new();
    moments.push(("after the start", look(&pair).await?));

    cluster
        .create_topic("orders", 2, &[("retention.ms", "7200000"), ("cleanup.policy", "compact,delete")])
        .await?;
    cluster.create_topic("doomed", 1, &[("segment.bytes", "20000")]).await?;
    cluster.await_topic("orders", Some(2))?;
    cluster.await_topic("doomed", Some(1))?;
    cluster.alter_topic("orders", &[("segment.bytes", "30000"), ("retention.ms", "3600000")]).await?;
    cluster.add_partitions("orders", 3).await?;
    cluster.await_topic("orders", Some(3))?;
    moments.push(("with topics", look(&pair).await?));

    let sending = Sending { codec: "none", idempotent: true, batch_records_max: 10 };
    cluster.produce("orders", 1, &Stream::keyed("orders", 20, 20), &sending)?;
    // Created by being written to.
    cluster.produce("automatic", 0, &Stream::new("automatic", 20), &sending)?;
    cluster.consume_in_group("billing", "orders", 20)?;
    cluster.delete_topic("doomed").await?;
    await_deletion(&pair).await?;
    moments.push(("with records, groups and a deleted topic", look(&pair).await?));

    pair.stop_broker()?;
    let files = files::list(&pair.logs())?;
    moments.push(("after the broker's end", look(&pair).await?));
    pair.start_broker()?;
    cluster.await_topic("orders", Some(3))?;
    moments.push(("after a restart", look(&pair).await?));
    Ok((moments, files))
}

async fn look(pair: &Pair) -> Result<Znodes> {
    Ok(Znodes::take(pair.zookeeper_port).await?.normalised(pair.kafka_port))
}

async fn await_deletion(pair: &Pair) -> Result<()> {
    wait_until_async("the topic's end", Duration::from_secs(60), async || {
        let znodes = Znodes::take(pair.zookeeper_port).await?;
        Ok(match znodes.0.into_keys().find(|path| path.contains("doomed")) {
            None => Ok(()),
            Some(path) => Err(format!("{path} is there")),
        })
    })
    .await
}

/// Kafka 2.7.1's kafka-topics.sh and kafka-configs.sh with `--zookeeper`: the broker acts on what they write.
#[test]
fn kafka_topics_with_zookeeper_works_on_the_broker() -> Result<()> {
    let pair = Pair::started(Coordinator::Apache(ZooKeeper("3.5.7")), Broker::Zoolog, "")?;
    let cluster = pair.cluster()?;
    let zookeeper = format!("127.0.0.1:{}", pair.zookeeper_port);
    let topics = |args: &[&str]| -> Result<String> {
        let args = [&["--zookeeper", &zookeeper], args].concat();
        tool_stdout("kafka-2.7.1", "kafka.admin.TopicCommand", &args, b"")
    };
    let create = ["--create", "--topic", "orders", "--partitions", "2", "--replication-factor", "1"];
    topics(&[&create[..], &["--config", "segment.bytes=20000"]].concat())?;
    cluster.await_topic("orders", Some(2))?;
    // The broker leads it with the tool's setting: segments roll at 20 000 bytes.
    let sending = Sending { codec: "none", idempotent: false, batch_records_max: 5 };
    cluster.produce("orders", 0, &Stream::new("orders", 100), &sending)?;
    ensure!(segments(&pair, "orders-0")? > 2, "segment.bytes=20000 has no effect");

    topics(&["--alter", "--topic", "orders", "--partitions", "4"])?;
    cluster.await_topic("orders", Some(4))?;
    topics(&["--alter", "--topic", "orders", "--config", "max.message.bytes=1000"])?;
    wait_until("the lower limit", Duration::from_secs(20), || refuses_large(&cluster).then_some(()))?;

    ensure!(topics(&["--list"])?.lines().any(|line| line == "orders"), "orders is not listed");
    let described = topics(&["--describe", "--topic", "orders"])?;
    // The tool's log goes to standard output as well.
    let lines: Vec<&str> =
        described.lines().filter(|line| line.trim_start().starts_with("Topic: ")).collect();
    ensure!(lines.len() == 5 && lines[0].contains("PartitionCount: 4"), "{described}");
    ensure!(
        lines[0].contains("max.message.bytes=1000") && lines[0].contains("segment.bytes=20000"),
        "{described}"
    );
    ensure!(
        lines[1..].iter().all(|line| line.contains("Leader: 0") && line.contains("Isr: 0")),
        "{described}"
    );

    topics(&["--delete", "--topic", "orders"])?;
    cluster.await_topic("orders", None)?;
    wait_until("the end of the deletion", Duration::from_secs(20), || {
        (!topics(&["--list"]).ok()?.contains("orders")).then_some(())
    })
}

fn segments(pair: &Pair, partition: &str) -> Result<usize> {
    let files = std::fs::read_dir(pair.logs().join(partition))?.collect::<std::io::Result<Vec<_>>>()?;
    Ok(files.iter().filter(|file| file.path().extension().is_some_and(|e| e == "log")).count())
}

fn refuses_large(cluster: &Cluster) -> bool {
    let sending = Sending { codec: "none", ..Default::default() };
    let refused = cluster.produce("orders", 0, &Stream::new("large", 4), &sending).err();
    refused.is_some_and(|error| error.to_string().contains("too large"))
}
