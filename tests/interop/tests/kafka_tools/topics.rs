//! `kafka-topics`.

use anyhow::{Result, ensure};

use crate::bench::{Cluster, Ran, TOPICS, compare, exact, ours, same, theirs, verdict};

/// 3.9.1 prints an `Optional` where 2.7.1 and ours do not, and describes topics in the order of their hashes.
fn as_3_9(text: &str) -> String {
    let text = text.replace("Optional[", "").replace("]' does not exist", "' does not exist");
    let mut topics: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match topics.last_mut() {
            Some(topic) if line.starts_with("\tTopic: ") => topic.push_str(line),
            _ => topics.push(line.to_owned()),
        }
    }
    if text.starts_with("Topic: ") {
        topics.sort();
    }
    topics.concat()
}

#[test]
fn through_the_brokers_of_kafka_3_9_1() -> Result<()> {
    through_brokers(&Cluster::apache("3.9.1")?)
}

#[test]
fn through_the_brokers_of_kafka_2_7_1() -> Result<()> {
    through_brokers(&Cluster::apache("2.7.1")?)
}

#[test]
fn through_the_broker_of_zoolog() -> Result<()> {
    through_brokers(&Cluster::zoolog()?)
}

/// Whatever ours creates, alters and deletes, 3.9.1's tool does to a twin; what there is, both see the same.
fn through_brokers(cluster: &Cluster) -> Result<()> {
    let call = |line: &str| format!("--bootstrap-server {} {line}", cluster.bootstrap);
    let by_both = |line: &str| -> Result<Ran> { twins(&call(line), "3.9.1") };
    by_both("--create --topic TWIN --partitions 2 --replication-factor 1 --config retention.ms=3600000")?;
    by_both("--create --topic TWIN.b_c")?;
    by_both("--create --topic TWIN-assigned --replica-assignment 0,0,0")?;
    let again = by_both("--create --topic TWIN --partitions 2")?;
    ensure!(again.code == Some(1), "{again:?}");
    by_both("--create --topic TWIN --if-not-exists --partitions 2")?;
    by_both("--alter --topic TWIN --partitions 4")?;
    by_both("--alter --topic TWIN --partitions 3")?;
    by_both("--alter --topic TWIN-assigned --partitions 4 --replica-assignment 0,0,0,0")?;
    by_both("--create --topic TWIN-x --config nope=1")?;
    by_both("--create --topic TWIN-x --config retention.ms")?;
    by_both("--create --topic TWIN-x --config segment.bytes=1")?;
    by_both("--create --topic 'TWIN x'")?;
    by_both("--create --topic TWIN-x --partitions 0")?;
    by_both("--create --topic TWIN-x --replication-factor 0")?;
    let too_many = by_both("--create --topic TWIN-x --partitions 1 --replication-factor 2")?;
    ensure!(too_many.stderr.contains("1 broker is alive (0). Use --replication-factor 1"), "{too_many:?}");

    for line in [
        "--list",
        "--list --exclude-internal",
        "--list --topic 'ours|theirs-.*'",
        "--list --topic nothing",
        "--describe",
        "--describe --topic ours",
        "--describe --topic 'theirs.*' --exclude-internal",
        "--describe --topics-with-overrides",
        "--describe --under-replicated-partitions",
        "--describe --unavailable-partitions",
        "--describe --at-min-isr-partitions --topic ours",
        "--describe --under-min-isr-partitions",
        "--describe --topic nothing",
        "--describe --topic nothing --if-exists",
        "--delete --topic nothing",
        "--delete --topic nothing --if-exists",
        "--alter --topic nothing --partitions 3",
    ] {
        same("3.9.1", TOPICS, &call(line), as_3_9)?;
    }
    let described = ours(TOPICS, &call("--describe --topic ours"), "")?.stdout;
    if let Some(id) = described.split("TopicId: ").nth(1).and_then(|rest| rest.split('\t').next()) {
        let found = same("3.9.1", TOPICS, &call(&format!("--describe --topic-id {id}")), exact)?;
        ensure!(found.stdout == described, "{found:?}");
    }
    by_both("--delete --topic 'TWIN|TWIN-assigned'")?;
    verdict()
}

#[test]
fn through_zookeeper_with_kafka_2_7_1() -> Result<()> {
    through_zookeeper(&Cluster::apache("2.7.1")?)
}

#[test]
fn through_zookeeper_with_kafka_3_9_1() -> Result<()> {
    through_zookeeper(&Cluster::apache("3.9.1")?)
}

#[test]
fn through_zookeeper_with_zoolog() -> Result<()> {
    through_zookeeper(&Cluster::zoolog()?)
}

fn through_zookeeper(cluster: &Cluster) -> Result<()> {
    let call = |line: &str| format!("--zookeeper {} {line}", cluster.zookeeper);
    let by_both = |line: &str| -> Result<Ran> { twins(&call(line), "2.7.1") };
    by_both("--create --topic TWIN --partitions 2 --replication-factor 1 --config retention.ms=3600000")?;
    by_both("--create --topic TWIN.b_c --partitions 1 --replication-factor 1")?;
    by_both("--create --topic TWIN_b.c --partitions 1 --replication-factor 1")?;
    by_both("--create --topic TWIN --partitions 2 --replication-factor 1")?;
    by_both("--create --topic TWIN --partitions 2 --replication-factor 1 --if-not-exists")?;
    by_both("--create --topic TWIN-assigned --replica-assignment 0,0,0")?;
    await_led(cluster)?;
    by_both("--alter --topic TWIN --partitions 4")?;
    by_both("--alter --topic TWIN --partitions 3")?;
    by_both("--alter --topic TWIN --config segment.bytes=1000000 --delete-config retention.ms")?;
    by_both("--alter --topic TWIN --config segment.bytes=1")?;
    by_both("--alter --topic TWIN-assigned --partitions 4 --replica-assignment 0,0,0,7")?;
    by_both("--create --topic 'TWIN x' --partitions 1 --replication-factor 1")?;
    by_both("--create --topic TWIN-x --partitions 0 --replication-factor 1")?;
    let too_many = by_both("--create --topic TWIN-x --partitions 1 --replication-factor 2")?;
    ensure!(too_many.stderr.contains("1 broker is alive (0). Use --replication-factor 1"), "{too_many:?}");
    await_led(cluster)?;

    for line in [
        "--list",
        "--list --exclude-internal",
        "--describe",
        "--describe --topic 'ours.*'",
        "--describe --topics-with-overrides",
        "--describe --under-replicated-partitions",
        "--describe --unavailable-partitions",
        "--describe --topic nothing",
        "--delete --topic nothing",
        "--alter --topic nothing --if-exists --partitions 3",
    ] {
        same("2.7.1", TOPICS, &call(line), exact)?;
    }
    by_both("--delete --topic TWIN")?;
    await_gone(cluster, "ours")?;
    verdict()
}

/// Runs a call that changes something: ours on `ours…`, the release's on `theirs…`. The outputs must be the same but for the name.
fn twins(line: &str, version: &str) -> Result<Ran> {
    let mine = ours(TOPICS, &line.replace("TWIN", "ours"), "")?;
    let other = theirs(version, TOPICS, &line.replace("TWIN", "theirs"), "")?;
    let named = |ran: &Ran| Ran { stdout: ran.stdout.replace("theirs", "ours"), ..ran.clone() };
    compare(line, &mine, &named(&other), as_3_9);
    Ok(mine)
}

/// The controller acts on znodes a moment later.
fn await_led(cluster: &Cluster) -> Result<()> {
    let line = format!("--zookeeper {} --describe", cluster.zookeeper);
    testkit::wait_until("every partition has a leader", std::time::Duration::from_secs(30), || {
        let described = ours(TOPICS, &line, "").ok()?;
        (!described.stdout.contains("Leader: none")).then_some(())
    })
}

fn await_gone(cluster: &Cluster, topic: &str) -> Result<()> {
    let line = format!("--zookeeper {} --list", cluster.zookeeper);
    testkit::wait_until("the topic is deleted", std::time::Duration::from_secs(30), || {
        let listed = ours(TOPICS, &line, "").ok()?;
        (!listed.stdout.lines().any(|name| name.split(' ').next() == Some(topic))).then_some(())
    })
}
