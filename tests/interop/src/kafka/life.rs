//! The life of a small cluster, the same for every make of its two servers: topics come, change and go, records are
//! written and read, and both servers are restarted in every order.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::wait_until_async;

use super::CODECS;
use super::cluster::{Cluster, Isolation, Seen, Sending};
use super::contents::Contents;
use super::pair::{Broker, Pair};
use super::stream::{Record, Stream};

/// Lives it; `pair` is up already.
pub async fn live(pair: &mut Pair) -> Result<()> {
    let cluster = pair.cluster()?;
    topics_come_change_and_go(&cluster).await.context("topics")?;
    write_and_read(&cluster).context("records")?;
    groups_share_and_remember(&cluster).context("groups")?;
    survive_restarts(pair)
        .await
        .with_context(|| format!("restarts; the broker's log:\n{}", pair.broker_log()))
}

async fn topics_come_change_and_go(cluster: &Cluster) -> Result<()> {
    cluster.create_topic("orders", 3, &[("retention.ms", "7200000"), ("segment.bytes", "20000")]).await?;
    cluster.create_topic("doomed", 2, &[]).await?;
    cluster.await_topic("orders", Some(3))?;
    cluster.await_topic("doomed", Some(2))?;
    let again = cluster.create_topic("orders", 3, &[]).await;
    ensure!(format!("{:?}", again.err()).contains("TopicAlreadyExists"), "a topic was created twice");

    own_configs(cluster, &[("retention.ms", "7200000"), ("segment.bytes", "20000")]).await?;
    // AlterConfigs replaces: what is not named goes back to its default.
    cluster.alter_topic("orders", &[("segment.bytes", "30000"), ("max.message.bytes", "100000")]).await?;
    own_configs(cluster, &[("segment.bytes", "30000"), ("max.message.bytes", "100000")]).await?;
    let bad = cluster.create_topic("bad", 1, &[("retention.ms", "long")]).await;
    ensure!(format!("{:?}", bad.as_ref().err()).contains("InvalidConfig"), "a bad value: {bad:?}");

    cluster.add_partitions("orders", 5).await?;
    cluster.await_topic("orders", Some(5))?;
    ensure!(cluster.add_partitions("orders", 4).await.is_err(), "partitions were taken away");

    cluster.produce(
        "doomed",
        1,
        &Stream::new("doomed", 50),
        &Sending { codec: "none", ..Default::default() },
    )?;
    cluster.delete_topic("doomed").await?;
    cluster.await_topic("doomed", None)
}

async fn own_configs(cluster: &Cluster, expected: &[(&str, &str)]) -> Result<()> {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    // The broker hears of its own changes by a watch.
    wait_until_async("the topic's own settings", Duration::from_secs(10), async || {
        let described = cluster.describe_topic("orders").await?;
        ensure!(described.contains_key("cleanup.policy"), "defaults are missing from {described:?}");
        let own: BTreeMap<String, String> = described
            .into_iter()
            .filter(|(_, (_, own))| *own)
            .map(|(key, (value, _))| (key, value.unwrap_or_default()))
            .collect();
        Ok(if own == expected { Ok(()) } else { Err(format!("{own:?}, not {expected:?}")) })
    })
    .await
}

/// Every codec, idempotent and not, then everything is read back in order.
fn write_and_read(cluster: &Cluster) -> Result<()> {
    let mut expected: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    for (n, codec) in CODECS.iter().enumerate() {
        let partition = n as i32;
        for idempotent in [false, true] {
            let stream = Stream::new(format!("{codec}-{idempotent}"), 120);
            let sending = Sending { codec, idempotent, batch_records_max: 10 };
            cluster.produce("orders", partition, &stream, &sending)?;
            expected.entry(partition).or_default().extend(stream.records());
        }
    }
    let seen = cluster.reader(Isolation::Uncommitted)?.read("orders", 5)?;
    for (partition, records) in &expected {
        let of_it: Vec<&Seen> = seen.iter().filter(|seen| seen.partition == *partition).collect();
        let offsets: Vec<i64> = of_it.iter().map(|seen| seen.offset).collect();
        ensure!(
            offsets == (0..records.len() as i64).collect::<Vec<_>>(),
            "partition {partition}: {offsets:?}"
        );
        let same = of_it.iter().map(|seen| &seen.record).eq(records);
        ensure!(same, "partition {partition}: the records differ");
    }
    let committed = cluster.reader(Isolation::Committed)?.read("orders", 5)?;
    ensure!(seen == committed, "isolation levels differ without transactions");
    Ok(())
}

/// A group reads a part, another member reads the rest, nothing twice.
fn groups_share_and_remember(cluster: &Cluster) -> Result<()> {
    let mut seen = cluster.consume_in_group("billing", "orders", 500)?;
    seen.extend(cluster.consume_in_group("billing", "orders", 700)?);
    let mut places: Vec<(i32, i64)> = seen.iter().map(|seen| (seen.partition, seen.offset)).collect();
    places.sort_unstable();
    places.dedup();
    ensure!(places.len() == 1200, "{} different records of 1200", places.len());
    let committed = cluster.committed("billing", &BTreeMap::from([("orders".to_owned(), 5)]))?;
    ensure!(committed.len() == 5 && committed.values().all(|offset| *offset == Some(240)), "{committed:?}");
    let groups = cluster.groups()?;
    ensure!(groups.get("billing").is_some_and(|state| state == "Empty"), "{groups:?}");
    Ok(())
}

async fn survive_restarts(pair: &mut Pair) -> Result<()> {
    let cluster = pair.cluster()?;
    let before = Contents::take(&cluster, &["billing"])?;
    let same = |what: &str| -> Result<()> {
        cluster.await_topic("orders", Some(5)).context(what.to_owned())?;
        let differences = before.differences(&Contents::take(&cluster, &["billing"])?);
        ensure!(differences.is_empty(), "after {what}:\n{differences}");
        Ok(())
    };
    stop_well(pair)?;
    pair.start_broker()?;
    same("a clean restart of the broker")?;

    pair.kill_broker()?;
    if matches!(pair.broker, Broker::Apache(_)) {
        pair.await_expiry()?;
    }
    pair.start_broker()?;
    same("kill -9 of the broker")?;

    pair.stop_zookeeper()?;
    same("the end of the coordination server")?;
    pair.start_zookeeper()?;
    cluster.create_topic("later", 1, &[]).await.context("after the coordination server's restart")?;
    cluster.await_topic("later", Some(1))?;
    cluster.delete_topic("later").await?;
    cluster.await_topic("later", None)?;
    same("a restart of the coordination server")?;

    // Down: an Apache broker does not end without a coordination server, ours does. Up: the broker first, it waits.
    match pair.broker {
        Broker::Zoolog => {
            pair.stop_zookeeper()?;
            stop_well(pair)?;
        }
        Broker::Apache(_) => {
            stop_well(pair)?;
            pair.stop_zookeeper()?;
        }
    }
    pair.begin_broker()?;
    pair.start_zookeeper()?;
    pair.await_broker()?;
    same("a restart of both, the broker first")?;

    stop_well(pair)?;
    pair.stop_zookeeper()?;
    pair.start_zookeeper()?;
    pair.start_broker()?;
    same("a restart of both, the coordination server first")
}

fn stop_well(pair: &mut Pair) -> Result<()> {
    let status = pair.stop_broker()?;
    // Java ends by the signal it caught.
    ensure!(status.success() || status.code() == Some(143), "the broker ended with {status}");
    Ok(())
}
