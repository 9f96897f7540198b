//! `kafka-console-producer` and `kafka-console-consumer`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::bench::{CONSUMER, Cluster, PRODUCER, Ran, TOPICS, ours, theirs};

#[test]
fn with_kafka_2_7_1() -> Result<()> {
    in_cluster(&Cluster::apache("2.7.1")?)
}

#[test]
fn with_kafka_3_9_1() -> Result<()> {
    in_cluster(&Cluster::apache("3.9.1")?)
}

#[test]
fn with_zoolog() -> Result<()> {
    in_cluster(&Cluster::zoolog()?)
}

const RECORDS: usize = 300;

fn in_cluster(cluster: &Cluster) -> Result<()> {
    let server = format!("--bootstrap-server {}", cluster.bootstrap);
    for topic in ["by-ours", "by-theirs", "by-older", "other"] {
        let created = ours(TOPICS, &format!("{server} --create --topic {topic} --partitions 7"), "")?;
        ensure!(created.code == Some(0), "{created:?}");
    }
    keys_land_on_javas_partitions(&server)?;
    records_look_the_same(&server)?;
    headers_and_nulls(&server)?;
    patterns(&server)?;
    brokers_come_from_zookeeper(cluster)
}

/// Keys of every length up to past several of murmur2's four-byte rounds, and other than ASCII.
fn keyed_lines() -> String {
    let key = |n: usize| match n % 3 {
        0 => format!("{n}"),
        1 => format!("{}{n}", "k".repeat(n % 23)),
        _ => format!("schlüssel-{n}-ключ"),
    };
    (0..RECORDS).map(|n| format!("{}:value {n}\n", key(n))).collect()
}

/// What librdkafka's `murmur2_random` does is what Java's producer does: the same key, the same partition.
fn keys_land_on_javas_partitions(server: &str) -> Result<()> {
    let lines = keyed_lines();
    let keyed = "--property parse.key=true --property key.separator=:";
    let produce = |topic: &str| format!("{server} --topic {topic} {keyed}");
    succeeded(&ours(PRODUCER, &produce("by-ours"), &lines)?)?;
    succeeded(&theirs("3.9.1", PRODUCER, &produce("by-theirs"), &lines)?)?;
    // The old name of the option, and a compressed batch.
    let broker_list = produce("by-older").replace("--bootstrap-server", "--broker-list");
    succeeded(&theirs("2.7.1", PRODUCER, &format!("{broker_list} --compression-codec"), &lines)?)?;
    let ours = partitions(server, "by-ours")?;
    ensure!(ours.len() > RECORDS * 9 / 10, "{} different keys only", ours.len());
    ensure!(ours == partitions(server, "by-theirs")?, "3.9.1's producer puts keys elsewhere");
    ensure!(ours == partitions(server, "by-older")?, "2.7.1's producer puts keys elsewhere");
    Ok(())
}

/// Key → partition, as our consumer prints them.
fn partitions(server: &str, topic: &str) -> Result<BTreeMap<String, String>> {
    let read = consumed(
        server,
        &format!("--topic {topic} --property print.partition=true --property print.key=true"),
    )?;
    ensure!(read.len() == RECORDS, "{topic}: {} records", read.len());
    let parts = |line: &String| {
        let (partition, key) = line.split_once('\t')?;
        Some((key.split_once('\t')?.0.to_owned(), partition.to_owned()))
    };
    read.iter().map(parts).collect::<Option<_>>().context("every line has three columns")
}

fn succeeded(ran: &Ran) -> Result<()> {
    ensure!(ran.code == Some(0) && ran.stderr.is_empty(), "{ran:?}");
    Ok(())
}

fn consume_line(server: &str, what: &str) -> String {
    format!("{server} {what} --from-beginning --timeout-ms 8000")
}

/// Sorted, since partitions come in any order.
fn sorted(ran: &Ran) -> Vec<String> {
    let mut lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn consumed(server: &str, what: &str) -> Result<Vec<String>> {
    let line = consume_line(server, &format!("{what} --max-messages {RECORDS}"));
    Ok(sorted(&ours(CONSUMER, &line, "")?))
}

fn records_look_the_same(server: &str) -> Result<()> {
    let all = "--property print.timestamp=true --property print.partition=true --property print.offset=true \
               --property print.headers=true --property print.key=true";
    for (version, what) in [
        ("2.7.1", format!("--topic by-theirs {all}")),
        ("3.9.1", format!("--topic by-ours {all} --property key.separator=;")),
        ("3.9.1", "--topic by-older --property print.key=true --property print.value=false".to_owned()),
        ("2.7.1", "--topic by-ours --partition 3 --offset 5".to_owned()),
    ] {
        let with_end = if what.contains("--partition") { "" } else { "--from-beginning" };
        let max = if what.contains("--partition") { 10 } else { RECORDS };
        let line = format!("{server} {what} {with_end} --max-messages {max} --timeout-ms 20000");
        let (mine, other) = (ours(CONSUMER, &line, "")?, theirs(version, CONSUMER, &line, "")?);
        ensure!(sorted(&mine) == sorted(&other), "{line}\n{mine:?}\n{other:?}");
        ensure!(mine.code == other.code, "{line}: {:?} and {:?}", mine.code, other.code);
        let total = format!("Processed a total of {max} messages\n");
        ensure!(mine.stderr == total && other.stderr.ends_with(&total), "{mine:?}\n{other:?}");
    }
    Ok(())
}

fn headers_and_nulls(server: &str) -> Result<()> {
    let input = "h1:v1,h2:NULL\tk\tv\nNULL\tNULL\tNULL\n";
    let reader = "--property parse.key=true --property parse.headers=true --property null.marker=NULL";
    for (topic, ran) in [
        ("headers-ours", ours(PRODUCER, &format!("{server} --topic headers-ours {reader}"), input)?),
        (
            "headers-theirs",
            theirs("3.9.1", PRODUCER, &format!("{server} --topic headers-theirs {reader}"), input)?,
        ),
    ] {
        ensure!(ran.code == Some(0), "{topic}: {ran:?}");
        let show = "--property print.headers=true --property print.key=true --max-messages 2";
        let read = ours(CONSUMER, &consume_line(server, &format!("--topic {topic} {show}")), "")?;
        ensure!(sorted(&read) == ["NO_HEADERS\tnull\tnull", "h1:v1,h2:null\tk\tv"], "{topic}: {read:?}");
    }
    Ok(())
}

/// A pattern means whole names; internal topics are no part of it.
fn patterns(server: &str) -> Result<()> {
    let line = consume_line(server, &format!("--include 'by-o.*' --max-messages {}", RECORDS * 2));
    let read = ours(CONSUMER, &line, "")?;
    ensure!(read.stdout.lines().count() == RECORDS * 2, "{read:?}");
    let nothing = ours(CONSUMER, &consume_line(server, "--whitelist by"), "")?;
    ensure!(nothing.stdout.is_empty(), "{nothing:?}");
    Ok(())
}

fn brokers_come_from_zookeeper(cluster: &Cluster) -> Result<()> {
    let line = format!("--zookeeper {} --topic by-ours --from-beginning --max-messages 3", cluster.zookeeper);
    let read = ours(CONSUMER, &line, "")?;
    ensure!(read.stdout.lines().count() == 3, "{read:?}");
    ensure!(read.stderr.contains(&format!("--bootstrap-server {}", cluster.bootstrap)), "{read:?}");
    Ok(())
}
