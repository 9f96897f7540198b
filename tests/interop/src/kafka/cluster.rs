//! librdkafka's producer, consumer and admin client against whatever broker listens on a port.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::stream::{Record, Stream};

/// A JVM on a busy machine may need so long for one request.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    Uncommitted,
    Committed,
}

/// (topic, partition) → what a group has committed there.
pub type Committed = BTreeMap<(String, i32), Option<i64>>;

/// A record as a consumer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub record: Record,
}

/// One broker's clients.
pub struct Cluster {
    port: u16,
    /// For questions that need no position: connecting anew for each would take most of a test's time. It has no group,
    /// so that it never asks for a coordinator, which makes the broker create `__consumer_offsets`.
    questions: BaseConsumer,
}

/// Keeps the first failure of a delivery.
#[derive(Debug, Clone, Default)]
struct Failures(Arc<Mutex<Option<KafkaError>>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.0.lock().expect("no panic while it is held").get_or_insert(error.clone());
        }
    }
}

/// How records are sent.
#[derive(Debug, Clone, Default)]
pub struct Sending<'a> {
    pub codec: &'a str,
    pub idempotent: bool,
    /// Small batches give several batches to a segment.
    pub batch_records_max: usize,
}

impl Cluster {
    pub fn at(port: u16) -> Result<Self> {
        Ok(Self { port, questions: config(port).create()? })
    }

    fn config(&self) -> ClientConfig {
        config(self.port)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }

    pub async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        one(self.admin()?.create_topics([&topic], &options()).await)
            .with_context(|| format!("creating {name}"))
    }

    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        one(self.admin()?.delete_topics(&[name], &options()).await)
            .with_context(|| format!("deleting {name}"))
    }

    /// Raises the number of partitions to `total`.
    pub async fn add_partitions(&self, name: &str, total: usize) -> Result<()> {
        let results = self.admin()?.create_partitions([&NewPartitions::new(name, total)], &options()).await;
        one(results).with_context(|| format!("adding partitions to {name}"))
    }

    /// Deletes records of one partition below `before`.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let done = self.admin()?.delete_records(&list, &options()).await?;
        for element in done.elements() {
            element.error().with_context(|| format!("deleting records of {topic}-{partition}"))?;
        }
        Ok(())
    }

    /// Replaces the configuration of a topic (AlterConfigs). rdkafka does not tell if the broker refused.
    pub async fn alter_topic(&self, name: &str, configs: &[(&str, &str)]) -> Result<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name));
        let change = configs.iter().fold(change, |change, (key, value)| change.set(key, value));
        let done = self.admin()?.alter_configs([&change], &options()).await;
        done.map(drop).with_context(|| format!("altering {name}"))
    }

    /// Key → (value, set on the topic itself).
    pub async fn describe_topic(&self, name: &str) -> Result<BTreeMap<String, (Option<String>, bool)>> {
        let what = ResourceSpecifier::Topic(name);
        let results = self.admin()?.describe_configs([&what], &options()).await;
        let results = results.with_context(|| format!("describing {name}"))?;
        let result = results.into_iter().next().context("one resource was asked for")?;
        let resource = result.map_err(|code| anyhow::anyhow!("describing {name}: {code}"))?;
        let own = |source: &rdkafka::admin::ConfigSource| {
            matches!(source, rdkafka::admin::ConfigSource::DynamicTopic)
        };
        Ok(resource.entries.into_iter().map(|e| (e.name, (e.value, own(&e.source)))).collect())
    }

    /// Topic → number of partitions, all of them led by somebody; internal topics left out.
    pub fn topics(&self) -> Result<BTreeMap<String, usize>> {
        let metadata = self.questions.fetch_metadata(None, LIMIT)?;
        let topics = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
        Ok(topics
            .filter(|topic| topic.partitions().iter().all(|p| p.leader() >= 0 && p.error().is_none()))
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect())
    }

    /// Waits until the topic has so many partitions (`None`: until it is gone).
    pub fn await_topic(&self, name: &str, partitions: Option<usize>) -> Result<()> {
        testkit::wait_until(&format!("{name} with {partitions:?} partitions"), LIMIT, || {
            let metadata = self.questions.fetch_metadata(None, LIMIT).ok()?;
            let led = |t: &rdkafka::metadata::MetadataTopic| {
                t.partitions().iter().filter(|p| p.leader() >= 0 && p.error().is_none()).count()
            };
            let found = metadata.topics().iter().find(|topic| topic.name() == name).map(led);
            (found == partitions).then_some(())
        })
    }

    /// Sends a stream to one partition with acks=all, and waits until all of it is acknowledged.
    pub fn produce(&self, topic: &str, partition: i32, stream: &Stream, sending: &Sending<'_>) -> Result<()> {
        let mut config = self.config();
        config.set("acks", "all").set("compression.type", sending.codec).set("linger.ms", "5");
        config.set("enable.idempotence", sending.idempotent.to_string());
        if sending.batch_records_max > 0 {
            config.set("batch.num.messages", sending.batch_records_max.to_string());
        }
        let producer = producer(&config)?;
        send(&producer, topic, partition, stream)?;
        finish(&producer)
    }

    /// Sends streams to partition 0 of a topic, each in a transaction of its own that ends as its flag says.
    pub fn produce_in_transactions(&self, id: &str, topic: &str, streams: &[(Stream, bool)]) -> Result<()> {
        let mut config = self.config();
        config.set("transactional.id", id).set("linger.ms", "5").set("batch.num.messages", "7");
        let producer = producer(&config)?;
        producer.init_transactions(LIMIT)?;
        for (stream, commit) in streams {
            producer.begin_transaction()?;
            send(&producer, topic, 0, stream)?;
            finish(&producer)?;
            if *commit {
                producer.commit_transaction(LIMIT)?;
            } else {
                producer.abort_transaction(LIMIT)?;
            }
        }
        Ok(())
    }

    /// For reading several topics: connecting anew for each would take most of a test's time.
    pub fn reader(&self, isolation: Isolation) -> Result<Reader> {
        let level = if isolation == Isolation::Committed { "read_committed" } else { "read_uncommitted" };
        let mut config = self.config();
        config.set("group.id", "unused").set("isolation.level", level).set("enable.partition.eof", "true");
        config
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "50");
        Ok(Reader(config.create()?))
    }

    /// First offset and high watermark.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        Ok(self.questions.fetch_watermarks(topic, partition, LIMIT)?)
    }

    /// The first offset at or after a time, -1 if there is none.
    pub fn offset_for_time(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Result<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(timestamp_ms))?;
        let found = self.questions.offsets_for_times(list, LIMIT)?;
        let element = found.find_partition(topic, partition).context("one partition was asked for")?;
        element.error().with_context(|| format!("{topic}-{partition} at {timestamp_ms}"))?;
        Ok(element.offset().to_raw().filter(|offset| *offset >= 0).unwrap_or(-1))
    }

    /// Joins a group, reads `count` records of a topic from where the group is, commits, leaves.
    pub fn consume_in_group(&self, group: &str, topic: &str, count: usize) -> Result<Vec<Seen>> {
        let mut config = self.config();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", "50").set("isolation.level", "read_uncommitted");
        let consumer: BaseConsumer = config.create()?;
        consumer.subscribe(&[topic])?;
        let mut seen = Vec::new();
        let mut positions = BTreeMap::new();
        let end = Instant::now() + LIMIT;
        while seen.len() < count {
            ensure!(
                Instant::now() < end,
                "group {group}: {} of {count} records of {topic} in {LIMIT:?}",
                seen.len()
            );
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    positions.insert(message.partition(), message.offset() + 1);
                    seen.push(Seen::from(&message));
                }
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => bail!("group {group} reading {topic}: {error}"),
                None => {}
            }
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        // What was fetched ahead is not committed: the next member goes on from here.
        consumer.commit(&list, CommitMode::Sync)?;
        Ok(seen)
    }

    /// What a group has committed for each partition of some topics.
    pub fn committed(&self, group: &str, topics: &BTreeMap<String, usize>) -> Result<Committed> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in topics {
            list.add_partition_range(topic, 0, i32::try_from(*partitions)? - 1);
        }
        let committed = consumer.committed_offsets(list, LIMIT)?;
        let mut offsets = Committed::new();
        for element in committed.elements() {
            element.error().with_context(|| format!("{group} on {}", element.topic()))?;
            let offset = element.offset().to_raw().filter(|offset| *offset >= 0);
            offsets.insert((element.topic().to_owned(), element.partition()), offset);
        }
        Ok(offsets)
    }

    /// Group → state.
    pub fn groups(&self) -> Result<BTreeMap<String, String>> {
        let list = self.questions.fetch_group_list(None, LIMIT)?;
        Ok(list.groups().iter().map(|g| (g.name().to_owned(), g.state().to_owned())).collect())
    }
}

fn config(port: u16) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", format!("127.0.0.1:{port}"));
    config.set("broker.address.family", "v4").set("socket.timeout.ms", "60000");
    // A restarted broker is found soon.
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    config.set("topic.metadata.refresh.fast.interval.ms", "50").set("retry.backoff.ms", "50");
    // A broker that has just started may not know the controller yet; librdkafka asks again only with a refresh.
    config.set("topic.metadata.refresh.interval.ms", "500");
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
    config
}

/// Reads partitions without a group.
pub struct Reader(BaseConsumer);

impl Reader {
    /// Every record of a topic's first partitions, from the beginning to the end.
    pub fn read(&self, topic: &str, partitions: usize) -> Result<Vec<Seen>> {
        // librdkafka waits half a second before it looks for a leader or a first offset that it does not know.
        self.0.fetch_metadata(Some(topic), LIMIT)?;
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions)? {
            let (first, _) = self.0.fetch_watermarks(topic, partition, LIMIT)?;
            list.add_partition_offset(topic, partition, Offset::Offset(first))?;
        }
        self.0.assign(&list)?;
        let (mut seen, mut ended) = (Vec::new(), 0);
        let end = Instant::now() + LIMIT;
        while ended < partitions {
            ensure!(
                Instant::now() < end,
                "{topic}: {ended} of {partitions} partitions read within {LIMIT:?}"
            );
            match self.0.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => seen.push(Seen::from(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => bail!("reading {topic}: {error}"),
                None => {}
            }
        }
        self.0.assign(&TopicPartitionList::new())?;
        seen.sort_by_key(|seen| (seen.partition, seen.offset));
        Ok(seen)
    }
}

/// Errors a client reports and gets over by itself, mostly while a broker restarts.
fn passes(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    let Some(code) = error.rdkafka_error_code() else { return false };
    matches!(
        code,
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::UnknownTopicOrPartition
    )
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(Duration::from_secs(30)))
}

fn one<T>(results: KafkaResult<Vec<Result<T, (T, rdkafka::types::RDKafkaErrorCode)>>>) -> Result<()> {
    let result = results?.into_iter().next().context("one resource was named")?;
    result.map(drop).map_err(|(_, code)| anyhow::anyhow!("{code}"))
}

fn producer(config: &ClientConfig) -> KafkaResult<BaseProducer<Failures>> {
    config.create_with_context(Failures::default())
}

fn send(producer: &BaseProducer<Failures>, topic: &str, partition: i32, stream: &Stream) -> Result<()> {
    let first = first_timestamp(stream.length);
    for (record, timestamp) in stream.records().zip(first..) {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        let mut outgoing =
            BaseRecord::<[u8], [u8]>::to(topic).partition(partition).headers(headers).timestamp(timestamp);
        if let Some(key) = &record.key {
            outgoing = outgoing.key(key);
        }
        if let Some(value) = &record.value {
            outgoing = outgoing.payload(value);
        }
        producer.send(outgoing).map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// Where a stream's timestamps begin: a millisecond each, so that a time says which record, and all of them in the past.
fn first_timestamp(length: usize) -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    NEXT.fetch_max(now - 600_000, Ordering::Relaxed);
    NEXT.fetch_add(length as i64, Ordering::Relaxed)
}

fn finish(producer: &BaseProducer<Failures>) -> Result<()> {
    producer.flush(LIMIT)?;
    match producer.context().0.lock().expect("no panic while it is held").take() {
        Some(error) => bail!("a record was not delivered: {error}"),
        None => Ok(()),
    }
}

impl From<&BorrowedMessage<'_>> for Seen {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message
            .headers()
            .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            record: Record {
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: headers.unwrap_or_default(),
            },
        }
    }
}
