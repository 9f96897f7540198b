//! Producers that go on through a broker's death and remember every acknowledgement, a group that commits meanwhile, and
//! the check of what is there afterwards.
//!
//! What must hold: an acknowledged record is at the offset that was acknowledged; a producer's records of one partition are
//! in its order; the idempotent producers' are there once. Repetitions by the others are allowed, gaps never.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

/// How long a client may need to get over a restart.
const LIMIT: Duration = Duration::from_secs(60);

/// Partitions of each topic.
pub const PARTITIONS: i32 = 6;

/// Codec, idempotent: one producer each.
const PRODUCERS: [(&str, bool); 6] =
    [("none", true), ("lz4", true), ("zstd", true), ("none", false), ("gzip", false), ("snappy", false)];

/// Records a producer sends between two looks at its answers.
const BURST: u64 = 10;

/// One acknowledged record; the offset is -1 if the broker had it already and no longer knew where.
#[derive(Debug, Clone, Copy)]
struct Ack {
    sequence: u64,
    offset: i64,
}

/// What the callbacks of one producer leave behind.
#[derive(Debug, Default)]
struct Answers {
    acks: Mutex<Vec<Ack>>,
    failure: Mutex<Option<KafkaError>>,
    acknowledged: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Remember(Arc<Answers>);

impl ClientContext for Remember {}

impl ProducerContext for Remember {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: usize) {
        match result {
            Ok(message) => {
                let ack = Ack { sequence: sequence as u64, offset: message.offset() };
                self.0.acks.lock().expect("no panic while it is held").push(ack);
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.0.failure.lock().expect("no panic while it is held").get_or_insert(error.clone());
            }
        }
    }
}

/// One round's load on one topic.
pub struct Load {
    port: u16,
    topic: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    producers: Vec<JoinHandle<Result<Sent>>>,
    group: JoinHandle<Result<BTreeMap<i32, i64>>>,
}

/// What one producer sent; all of it was acknowledged in the end.
#[derive(Debug)]
struct Sent {
    count: u64,
    acks: Vec<Ack>,
}

/// The acknowledged facts of one round, to be checked now and after later rounds.
#[derive(Debug)]
pub struct Facts {
    topic: String,
    producers: Vec<Sent>,
    /// What the group's successful commits said last, by partition.
    commits: BTreeMap<i32, i64>,
}

/// What a check saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict {
    pub records: u64,
    pub acknowledged: u64,
    pub repetitions: u64,
}

impl Load {
    /// Starts the clients on a topic that exists.
    pub fn start(port: u16, topic: &str) -> Result<Self> {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut producers = Vec::new();
        for (index, (codec, idempotent)) in PRODUCERS.into_iter().enumerate() {
            let (topic, stop, acknowledged) = (topic.to_owned(), stop.clone(), acknowledged.clone());
            let work = move || produce(port, &topic, index, (codec, idempotent), &stop, acknowledged);
            producers.push(std::thread::spawn(work));
        }
        let (name, over) = (topic.to_owned(), stop.clone());
        let group = std::thread::spawn(move || commit(port, &name, &over));
        Ok(Self { port, topic: topic.to_owned(), stop, acknowledged, producers, group })
    }

    /// Waits until so many more records were acknowledged.
    pub fn await_acknowledged(&self, more: u64) -> Result<()> {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        let what = format!("{goal} records of {} acknowledged by 127.0.0.1:{}", self.topic, self.port);
        testkit::wait_until(&what, LIMIT, || {
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        })
    }

    /// Lets the producers finish what they have begun.
    pub fn finish(self) -> Result<Facts> {
        self.stop.store(true, Ordering::Relaxed);
        let mut producers = Vec::new();
        for (thread, kind) in self.producers.into_iter().zip(PRODUCERS) {
            let sent = thread.join().map_err(|_| anyhow!("a producer panicked"))?;
            producers.push(sent.with_context(|| format!("producer {kind:?}"))?);
        }
        let commits = self.group.join().map_err(|_| anyhow!("the group's member panicked"))??;
        Ok(Facts { topic: self.topic, producers, commits })
    }
}

fn config(port: u16) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", format!("127.0.0.1:{port}")).set("broker.address.family", "v4");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "100");
    config.set("retry.backoff.ms", "10").set("topic.metadata.refresh.fast.interval.ms", "50");
    config.set_log_level(RDKafkaLogLevel::Critical);
    config
}

fn produce(
    port: u16,
    topic: &str,
    index: usize,
    (codec, idempotent): (&str, bool),
    stop: &AtomicBool,
    acknowledged: Arc<AtomicU64>,
) -> Result<Sent> {
    let answers = Arc::new(Answers { acknowledged, ..Default::default() });
    let mut config = config(port);
    config.set("acks", "all").set("compression.type", codec).set("linger.ms", "2");
    config.set("enable.idempotence", idempotent.to_string()).set("message.timeout.ms", "120000");
    // After a pause the whole queue would go in one batch, larger than the test's segments.
    config.set("batch.size", "100000");
    // Without idempotence only one request at a time keeps the order over a retry.
    let in_flight = if idempotent { "5" } else { "1" };
    config.set("max.in.flight.requests.per.connection", in_flight);
    let producer: BaseProducer<Remember> = config.create_with_context(Remember(answers.clone()))?;
    let mut sequence = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let value = value(index, sequence);
            let partition = partition_of(sequence);
            let record = BaseRecord::<[u8], str, usize>::with_opaque_to(topic, sequence as usize);
            match producer.send(record.partition(partition).payload(&value)) {
                Ok(()) => sequence += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => bail!("{error}"),
            }
        }
        producer.poll(Duration::from_millis(2));
    }
    producer.flush(LIMIT)?;
    if let Some(error) = answers.failure.lock().expect("no panic while it is held").take() {
        bail!("a record was given up: {error}");
    }
    let acks = std::mem::take(&mut *answers.acks.lock().expect("no panic while it is held"));
    Ok(Sent { count: sequence, acks })
}

/// Runs of records go to one partition, so that batches are larger than one.
fn partition_of(sequence: u64) -> i32 {
    (sequence / BURST % PARTITIONS as u64) as i32
}

/// `<producer> <sequence> ` and padding of varying length.
fn value(producer: usize, sequence: u64) -> String {
    let mut value = format!("{producer} {sequence} ");
    let length = [20, 60, 200, 900][(sequence % 4) as usize];
    while value.len() < length {
        value.push(char::from(b'a' + ((sequence as usize * 31 + value.len() * 7) % 26) as u8));
    }
    value
}

/// A group's member that commits what it has read, and remembers what it was told is committed.
fn commit(port: u16, topic: &str, stop: &AtomicBool) -> Result<BTreeMap<i32, i64>> {
    let mut config = config(port);
    config.set("group.id", topic).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "50");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[topic])?;
    let (mut read, mut committed) = (BTreeMap::new(), BTreeMap::new());
    let mut since = 0;
    while !stop.load(Ordering::Relaxed) {
        // Errors are those of a broker that is away; the client gets over them.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
            read.insert(message.partition(), message.offset() + 1);
            since += 1;
        }
        if since < 200 {
            continue;
        }
        since = 0;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &read {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        if consumer.commit(&list, CommitMode::Sync).is_ok() {
            committed.clone_from(&read);
        }
    }
    Ok(committed)
}

impl Facts {
    /// Reads everything back and compares.
    pub fn check(&self, port: u16) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for (partition, records) in (0..).zip(read(port, &self.topic)?) {
            verdict.records += records.len() as u64;
            for (producer, sent) in self.producers.iter().enumerate() {
                let repeated = sent.check(producer, partition, &records).with_context(|| {
                    format!("{}-{partition}, producer {:?}", self.topic, PRODUCERS[producer])
                })?;
                verdict.repetitions += repeated;
            }
        }
        verdict.acknowledged = self.producers.iter().map(|sent| sent.acks.len() as u64).sum();
        self.check_commits(port)?;
        Ok(verdict)
    }

    fn check_commits(&self, port: u16) -> Result<()> {
        let consumer: BaseConsumer = config(port).set("group.id", &self.topic).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, PARTITIONS - 1);
        let found = consumer.committed_offsets(list, LIMIT)?;
        for (partition, acknowledged) in &self.commits {
            let element = found.find_partition(&self.topic, *partition).context("it was asked for")?;
            element.error()?;
            let offset = element.offset().to_raw().unwrap_or(-1);
            // A commit whose answer was lost with the broker may have been kept as well.
            ensure!(
                offset >= *acknowledged,
                "{}-{partition}: offset {acknowledged} was committed, and it is {offset}",
                self.topic
            );
        }
        Ok(())
    }
}

impl Sent {
    /// Compares one producer's records of one partition; the number of repetitions.
    fn check(&self, producer: usize, partition: i32, records: &Records) -> Result<u64> {
        for ack in self.acks.iter().filter(|ack| partition_of(ack.sequence) == partition && ack.offset >= 0) {
            let there = records.get(&ack.offset);
            ensure!(
                there == Some(&(producer, ack.sequence)),
                "record {} was acknowledged at offset {}, where there is {there:?}",
                ack.sequence,
                ack.offset
            );
        }
        let mut expected = (0..self.count).filter(|sequence| partition_of(*sequence) == partition);
        let (mut last, mut repetitions) = (None, 0);
        for (offset, (_, sequence)) in records.iter().filter(|(_, (of, _))| *of == producer) {
            if last.is_some_and(|last| *sequence <= last) {
                repetitions += 1;
                continue;
            }
            let next = expected.next();
            ensure!(next == Some(*sequence), "offset {offset} has record {sequence}, and {next:?} is next");
            last = Some(*sequence);
        }
        ensure!(expected.next().is_none(), "records after {last:?} are missing, and were acknowledged");
        let idempotent = PRODUCERS[producer].1;
        ensure!(!idempotent || repetitions == 0, "{repetitions} records are there more than once");
        Ok(repetitions)
    }
}

/// Offset → (producer, sequence) of one partition.
type Records = BTreeMap<i64, (usize, u64)>;

/// Everything in a topic, by partition; values are compared as they come.
fn read(port: u16, topic: &str) -> Result<Vec<Records>> {
    let mut config = config(port);
    config.set("group.id", "unused").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("check.crcs", "true").set("fetch.wait.max.ms", "20");
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut partitions = vec![Records::new(); PARTITIONS as usize];
    let (mut ended, end) = (0, Instant::now() + LIMIT);
    while ended < PARTITIONS {
        ensure!(Instant::now() < end, "{topic}: not read within {LIMIT:?}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = message.payload_view::<str>().context("a value")?.context("text")?;
                let mut words = text.split(' ');
                let mut number = || -> Result<u64> { Ok(words.next().context("a number")?.parse()?) };
                let (producer, sequence) = (number()? as usize, number()?);
                ensure!(text == value(producer, sequence), "offset {}: {text:?}", message.offset());
                partitions[message.partition() as usize].insert(message.offset(), (producer, sequence));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            // A broker that has just come back.
            Some(Err(_)) | None => {}
        }
    }
    for (partition, records) in partitions.iter().enumerate() {
        let dense = records.keys().copied().eq(0..records.len() as i64);
        ensure!(dense, "{topic}-{partition}: offsets have gaps");
    }
    Ok(partitions)
}
