//! Log directories change hands between Apache Kafka and zoolog's broker, by clean stops and by kill -9, while the
//! coordination server stays: every record, watermark, time index and committed offset must be the same under the next
//! holder, and whatever ours wrote must pass Kafka's own checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::kafka::cluster::Sending;
use interop::kafka::{Broker, CODECS, Cluster, Contents, Coordinator, Pair, Stream, dump_log};
use testkit::{Kafka, wait_until};

const GROUPS: [&str; 2] = ["billing", "audit"];

/// Small segments, and a cleaner that does not wait.
const SETTINGS: &str = "log.segment.bytes=16384\nlog.index.interval.bytes=512\nlog.cleaner.backoff.ms=200\n\
    log.flush.start.offset.checkpoint.interval.ms=200\nlog.retention.check.interval.ms=500\nlog.segment.delete.delay.ms=500\nlog.cleaner.dedupe.buffer.size=2097152\n\
    offsets.topic.num.partitions=3\ntransaction.state.log.num.partitions=2";

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_kafka_2_7_1() -> Result<()> {
    relay(Kafka("2.7.1"), "inter.broker.protocol.version=2.7").await
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_kafka_3_9_1() -> Result<()> {
    relay(Kafka("3.9.1"), "").await
}

/// The control of the checks above: Kafka's tool does see a wrong position in an index.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_found() -> Result<()> {
    let mut pair = Pair::started(Coordinator::Zoolog, Broker::Zoolog, SETTINGS)?;
    let cluster = pair.cluster()?;
    cluster.create_topic("plain", 1, &[]).await?;
    let sending = Sending { codec: "none", idempotent: false, batch_records_max: 5 };
    cluster.produce("plain", 0, &Stream::new("plain", 200), &sending)?;
    pair.stop_broker()?;
    let index = pair.logs().join("plain-0/00000000000000000000.index");
    let mut bytes = std::fs::read(&index)?;
    bytes[7] ^= 0x55;
    for version in Kafka::ALL {
        let sound = dump_log::check(version, &pair.logs());
        ensure!(sound.is_ok(), "{sound:?}");
    }
    std::fs::write(&index, bytes)?;
    for version in Kafka::ALL {
        let damaged = dump_log::check(version, &pair.logs());
        ensure!(damaged.is_err(), "DumpLogSegments {} finds nothing", version.0);
    }
    Ok(())
}

async fn relay(kafka: Kafka, more: &str) -> Result<()> {
    let settings = format!("{SETTINGS}\n{more}");
    let mut pair = Pair::started(Coordinator::Zoolog, Broker::Apache(kafka), &settings)?;
    let outcome = hand_to_and_fro(&mut pair, kafka).await;
    outcome.with_context(|| format!("the broker's log:\n{}", pair.broker_log()))
}

async fn hand_to_and_fro(pair: &mut Pair, kafka: Kafka) -> Result<()> {
    let cluster = pair.cluster()?;
    create_topics(&cluster).await?;
    transactions(&cluster)?;
    write(&cluster, "one").await?;
    await_cleaning(pair)?;

    let theirs = SmallFiles::read(&pair.logs())?;
    hand_over(pair, &cluster, Broker::Zoolog, true).await?;
    // Nothing was written since: what the files say must be what they said.
    theirs.compare(&SmallFiles::read(&pair.logs())?)?;
    write(&cluster, "two").await?;
    hand_over(pair, &cluster, Broker::Zoolog, false).await?;
    write(&cluster, "three").await?;
    hand_over(pair, &cluster, Broker::Apache(kafka), true).await?;
    write(&cluster, "four").await?;
    hand_over(pair, &cluster, Broker::Zoolog, false).await?;
    write(&cluster, "five").await?;
    await_cleaning(pair)?;
    hand_over(pair, &cluster, Broker::Apache(kafka), false).await
}

async fn create_topics(cluster: &Cluster) -> Result<()> {
    cluster.create_topic("plain", 5, &[]).await?;
    cluster.create_topic("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).await?;
    cluster.create_topic("transactions", 1, &[]).await?;
    cluster.create_topic("shortened", 1, &[]).await?;
    cluster
        .create_topic(
            "compacted",
            1,
            &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("segment.ms", "60000")],
        )
        .await
}

/// Committed and aborted ones by turns. Only Apache's broker serves them; ours must keep them readable.
fn transactions(cluster: &Cluster) -> Result<()> {
    let streams: Vec<(Stream, bool)> =
        (0..12).map(|n| (Stream::new(format!("transaction-{n}"), 15), n % 3 != 1)).collect();
    cluster.produce_in_transactions("payments", "transactions", &streams)
}

/// One round of everything that changes a log directory.
async fn write(cluster: &Cluster, round: &str) -> Result<()> {
    for (partition, codec) in CODECS.iter().enumerate() {
        // By turns, since an idempotent producer takes half a second to start.
        let idempotent = (partition + round.len()).is_multiple_of(2);
        let sending = Sending { codec, idempotent, batch_records_max: 7 };
        cluster.produce(
            "plain",
            partition as i32,
            &Stream::new(format!("{round}-{codec}"), 120),
            &sending,
        )?;
    }
    let sending = Sending { codec: "lz4", idempotent: true, batch_records_max: 9 };
    cluster.produce("append-time", 0, &Stream::new(format!("{round}-time"), 40), &sending)?;
    cluster.produce("compacted", 0, &Stream::keyed(format!("{round}-compacted"), 150, 11), &sending)?;
    cluster.produce("shortened", 0, &Stream::new(format!("{round}-shortened"), 80), &sending)?;
    let (start, end) = cluster.watermarks("shortened", 0)?;
    cluster.delete_records("shortened", 0, (start + end) / 2).await?;
    cluster.consume_in_group("billing", "plain", 450)?;
    cluster.consume_in_group("audit", "append-time", 25)?;
    Ok(())
}

/// Waits until the start of the shortened log is on disk: neither broker keeps it over kill -9 before.
fn await_start_offset(pair: &Pair, cluster: &Cluster) -> Result<()> {
    let (start, _) = cluster.watermarks("shortened", 0)?;
    wait_until("the checkpoint of the start offset", Duration::from_secs(30), || {
        let text = std::fs::read_to_string(pair.logs().join("log-start-offset-checkpoint")).ok()?;
        let named = text.lines().any(|line| line == format!("shortened 0 {start}"));
        // Only starts within a segment are written down; the others are file names.
        let first = pair.logs().join(format!("shortened-0/{start:020}.log"));
        (named || first.exists()).then_some(())
    })
}

/// Waits until the cleaner has been over the compacted topic: far fewer records than offsets remain.
fn await_cleaning(pair: &Pair) -> Result<()> {
    let checkpoint = pair.logs().join("cleaner-offset-checkpoint");
    wait_until("the cleaner", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&checkpoint).ok()?;
        let line = text.lines().find(|line| line.starts_with("compacted 0 "))?;
        (line.rsplit(' ').next()?.parse::<i64>().ok()? > 100).then_some(())
    })
}

/// The next holder, after a clean stop or kill -9, must show the same contents. What ours wrote is checked in between.
async fn hand_over(pair: &mut Pair, cluster: &Cluster, to: Broker, gracefully: bool) -> Result<()> {
    let from = pair.broker;
    let what = format!("{from:?} to {to:?}, clean: {gracefully}");
    let before = contents(cluster)?;
    ensure!(before.records() > 800, "{what}: {} records only", before.records());
    if gracefully {
        pair.stop_broker()?;
    } else {
        await_start_offset(pair, cluster)?;
        pair.kill_broker()?;
        pair.await_expiry()?;
    }
    let ours = matches!(from, Broker::Zoolog);
    if ours && gracefully {
        for version in Kafka::ALL {
            let files = dump_log::check(version, &pair.logs()).with_context(|| what.clone())?;
            ensure!(files > 40, "{files} files only");
        }
    }
    pair.broker = to;
    pair.start_broker().with_context(|| what.clone())?;
    cluster.await_topic("plain", Some(5))?;
    let after = contents(cluster).with_context(|| what.clone())?;
    let differences = before.differences(&after);
    ensure!(differences.is_empty(), "{what}:\n{differences}");
    if gracefully {
        ensure!(!pair.logs().join(".kafka_cleanshutdown").exists(), "the clean marker stays after the start");
    }
    Ok(())
}

/// The cleaner may work while we look; of the compacted topic only what must stay is kept: the last record of each key.
fn contents(cluster: &Cluster) -> Result<Contents> {
    let mut contents = Contents::take(cluster, &GROUPS)?;
    if let Some(topic) = contents.topics.get_mut("compacted") {
        let mut last = BTreeMap::new();
        for seen in topic.uncommitted.drain(..) {
            last.insert(seen.record.key.clone(), seen);
        }
        ensure!(last.len() <= 11, "{} keys of 11", last.len());
        // Tombstones go after a while.
        topic.uncommitted = last.into_values().filter(|seen| seen.record.value.is_some()).collect();
        topic.committed.clear();
        topic.by_time.clear();
    }
    Ok(contents)
}

/// The small text files of a log directory, and which snapshots of producers there are.
#[derive(Debug)]
struct SmallFiles {
    texts: BTreeMap<String, Vec<String>>,
    snapshots: BTreeMap<String, Vec<u8>>,
}

impl SmallFiles {
    fn read(logs: &Path) -> Result<Self> {
        let (mut texts, mut snapshots) = (BTreeMap::new(), BTreeMap::new());
        let mut paths: Vec<PathBuf> = entries(logs)?;
        let partitions: Vec<PathBuf> = paths.iter().filter(|path| path.is_dir()).cloned().collect();
        for partition in partitions {
            paths.extend(entries(&partition)?);
        }
        for path in paths {
            let name = path.strip_prefix(logs)?.to_string_lossy().into_owned();
            let last = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let of_a_partition = ["leader-epoch-checkpoint", "partition.metadata"].contains(&last.as_str());
            if of_a_partition || last == "meta.properties" {
                let text = std::fs::read_to_string(&path)?;
                let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
                let mut lines: Vec<String> = lines.collect();
                if last == "meta.properties" {
                    lines.sort();
                }
                texts.insert(name, lines);
            } else if last.ends_with(".snapshot") {
                snapshots.insert(name, std::fs::read(&path)?);
            }
        }
        Ok(Self { texts, snapshots })
    }

    /// `after` a restart of another make: the same identity, epochs that only grew, the same snapshots where both have one.
    fn compare(&self, after: &Self) -> Result<()> {
        for (name, before) in &self.texts {
            let now = after.texts.get(name).with_context(|| format!("{name} is gone"))?;
            if name.ends_with("leader-epoch-checkpoint") {
                // version, count, then one line an epoch.
                ensure!(now.len() >= 2 && before.len() >= 2, "{name}: {before:?}, then {now:?}");
                ensure!(now[2..].starts_with(&before[2..]), "{name}: {before:?}, then {now:?}");
            } else {
                ensure!(before == now, "{name}: {before:?}, then {now:?}");
            }
        }
        for (name, before) in &self.snapshots {
            if let Some(now) = after.snapshots.get(name) {
                ensure!(before == now, "{name} differs");
            }
        }
        ensure!(self.texts.len() > 10, "{:?}", self.texts.keys());
        Ok(())
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}
