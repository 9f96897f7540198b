//! Bulk load through librdkafka: megabytes per second in and out, and what they cost the broker.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::measure::{Better, Table};
use crate::process::{cpu_during, resident_mib};
use crate::systems::{Pair, Side};

/// Record bytes, partitions, and how many records are sent.
const LOADS: [(usize, i32, usize); 6] = [
    (100, 1, 3_000_000),
    (1024, 1, 1_000_000),
    (10_240, 1, 100_000),
    (100, 12, 3_000_000),
    (1024, 12, 1_000_000),
    (10_240, 12, 100_000),
];
/// A JVM is warm, and the page cache has its pages, after about this much.
const WARM_UP: (usize, i32, usize) = (1024, 1, 1_000_000);
const LIMIT: Duration = Duration::from_secs(120);

pub fn measure(side: Side, pair: &Pair, scale: usize, table: &mut Table) -> Result<()> {
    let bootstrap = pair.bootstrap();
    let (bytes, partitions, records) = WARM_UP;
    create_topic(&bootstrap, "warm-up", partitions)?;
    produce(&bootstrap, "warm-up", bytes, records / scale)?;
    consume(&bootstrap, "warm-up", partitions, records / scale)?;
    delete_topic(&bootstrap, "warm-up")?;
    for (bytes, partitions, records) in LOADS {
        let records = records / scale;
        let gigabytes = (bytes * records) as f64 / 1e9;
        let topic = format!("load-{bytes}-{partitions}");
        create_topic(&bootstrap, &topic, partitions)?;

        let (seconds, cpu) =
            cpu_during(&[pair.broker.pid()], || produce(&bootstrap, &topic, bytes, records))?;
        let name = format!("produce {bytes} B, {partitions} partition(s)");
        table.add(side, &name, "MB/s", Better::Higher, gigabytes * 1000.0 / seconds);
        table.add(side, &name, "CPU-s per GB", Better::Lower, cpu / gigabytes);

        let (seconds, cpu) =
            cpu_during(&[pair.broker.pid()], || consume(&bootstrap, &topic, partitions, records))?;
        let name = format!("consume {bytes} B, {partitions} partition(s)");
        table.add(side, &name, "MB/s", Better::Higher, gigabytes * 1000.0 / seconds);
        table.add(side, &name, "CPU-s per GB", Better::Lower, cpu / gigabytes);
        delete_topic(&bootstrap, &topic)?;
    }
    let loaded = resident_mib(pair.broker.pid())?;
    table.add(side, "Kafka: memory after load", "MiB", Better::Lower, loaded);
    Ok(())
}

/// Counts nothing, fails loudly: a benchmark with lost records measures something else.
struct MustArrive;

impl ClientContext for MustArrive {}

impl ProducerContext for MustArrive {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("a record was not accepted: {error}");
        }
    }
}

/// Sends `records` of `bytes` each with acks=all; returns the seconds until all were acknowledged.
fn produce(bootstrap: &str, topic: &str, bytes: usize, records: usize) -> Result<f64> {
    let producer: ThreadedProducer<MustArrive> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "5")
        .set("acks", "all")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "262144")
        .create_with_context(MustArrive)?;
    let payload: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
    let begun = Instant::now();
    for _ in 0..records {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(&payload);
        while let Err((error, back)) = producer.send(record) {
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => bail!(other),
            }
            record = back;
        }
    }
    producer.flush(LIMIT)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Reads `records` from the start of every partition; returns the seconds it took from the first record on.
fn consume(bootstrap: &str, topic: &str, partitions: i32, records: usize) -> Result<f64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.min.messages", "1000000")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    let begun = Instant::now();
    consumer.assign(&list)?;
    let mut got = 0;
    while got < records {
        match consumer.poll(LIMIT) {
            Some(message) => {
                message?;
                got += 1;
            }
            None => bail!("{got} of {records} records came back"),
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", bootstrap).create()?)
}

/// Creates a topic and waits until the broker leads all of it.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
    let admin = admin(bootstrap)?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    block_on(admin.create_topics(&[new], &options))?;
    testkit::wait_until("leaders", LIMIT, || {
        let metadata = admin.inner().fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        let led = metadata.topics().first()?.partitions().iter().filter(|p| p.leader() >= 0).count();
        (led == partitions as usize).then_some(())
    })
}

fn delete_topic(bootstrap: &str, topic: &str) -> Result<()> {
    block_on(admin(bootstrap)?.delete_topics(&[topic], &AdminOptions::new()))
}

fn block_on(
    results: impl Future<Output = rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for result in runtime.block_on(results)? {
        ensure!(result.is_ok(), "{result:?}");
    }
    Ok(())
}
