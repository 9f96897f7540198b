//! `kafka-console-consumer.sh`: prints records as they come.
//!
//! Options are those of 2.7.1, and those that 3.9 added. Without `--group` a group of its own is made up, and
//! nothing is committed for it.

use std::io::Write as _;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Offset, Timestamp, TopicPartitionList};

use crate::client_config::ClientSettings;
use crate::options::{Options, Spec, Takes, spec};
use crate::out::say;
use crate::{Outcome, ToolError, admin, brokers_in_zookeeper};

pub const PURPOSE: &str = "This tool helps to read data from Kafka topics and outputs it to standard output.";

#[rustfmt::skip]
pub const SPECS: [Spec; 21] = [
    spec("topic", Takes::Value("topic"), "The topic id to consume on."),
    spec("whitelist", Takes::Value("whitelist"), "Regular expression of topics to include for consumption."),
    spec("include", Takes::Value("Java regex"), "As --whitelist."),
    spec("partition", Takes::Value("partition"), "The partition to consume from, from its end unless '--offset' is specified."),
    spec("offset", Takes::Value("consume offset"), "The offset to consume from (a non-negative number), or 'earliest', or 'latest'. (default: latest)"),
    spec("consumer-property", Takes::Value("consumer_prop"), "key=value for the consumer."),
    spec("consumer.config", Takes::Value("config file"), "A file with properties for the consumer; --consumer-property takes precedence."),
    spec("formatter", Takes::Value("class"), "Only the default formatter, and kafka.tools.NoOpMessageFormatter, exist here."),
    spec("property", Takes::Value("prop"), "key=value for the formatter: print.timestamp, print.key, print.offset, print.partition, print.headers, print.value, key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer, headers.deserializer."),
    spec("formatter-config", Takes::Value("config file"), "A file with properties for the formatter."),
    spec("from-beginning", Takes::Nothing, "If the group has no offset yet, start with the earliest record rather than the latest."),
    spec("max-messages", Takes::Value("num_messages"), "The number of records to print before exiting."),
    spec("timeout-ms", Takes::Value("timeout_ms"), "Exit if no record comes for this long."),
    spec("skip-message-on-error", Takes::Nothing, "Go on after a record that cannot be printed."),
    spec("bootstrap-server", Takes::Value("server to connect to"), "REQUIRED unless --zookeeper is given: The server(s) to connect to."),
    spec("key-deserializer", Takes::Value("class"), "Deserializer for keys: String, Short, Integer, Long, UUID or ByteArray."),
    spec("value-deserializer", Takes::Value("class"), "Deserializer for values: String, Short, Integer, Long, UUID or ByteArray."),
    spec("enable-systest-events", Takes::Nothing, "Say when the consumer has shut down."),
    spec("isolation-level", Takes::Value("level"), "read_committed or read_uncommitted. (default: read_uncommitted)"),
    spec("group", Takes::Value("consumer group id"), "The consumer group id of the consumer."),
    spec("zookeeper", Takes::Value("urls"), "As 0.8: consume from the brokers registered in this ZooKeeper. Prefer --bootstrap-server."),
];

/// The number of the signal that ends the tool, once it has come.
static STOPPED: AtomicI32 = AtomicI32::new(0);
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

pub fn run(options: &Options) -> Outcome {
    let formatter = Formatter::from_options(options)?;
    let max_messages = options.number::<i64>("max-messages").map_err(ToolError::Usage)?.unwrap_or(-1);
    let timeout = options.number::<i64>("timeout-ms").map_err(ToolError::Usage)?;
    let timeout = timeout.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let start = Start::from_options(options)?;
    let consumer = connect(options)?;
    start.apply(&consumer)?;
    stop_on_signals();

    let skip_errors = options.has("skip-message-on-error");
    let mut printed = 0;
    let outcome = print_records(&consumer, &formatter, max_messages, timeout, skip_errors, &mut printed);
    consumer.unsubscribe();
    drop(consumer);
    eprintln!("Processed a total of {printed} messages");
    if options.has("enable-systest-events") {
        say!("shutdown_complete\n");
    }
    match STOPPED.load(Ordering::Relaxed) {
        0 => outcome,
        // What a JVM ends with.
        signal => std::process::exit(128 + signal),
    }
}

fn print_records(
    consumer: &BaseConsumer,
    formatter: &Formatter,
    max_messages: i64,
    timeout: Option<Duration>,
    skip_errors: bool,
    printed: &mut i64,
) -> Outcome {
    const POLL: Duration = Duration::from_millis(100);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut last = Instant::now();
    while (max_messages < 0 || *printed < max_messages) && STOPPED.load(Ordering::Relaxed) == 0 {
        // Whatever is printed so far becomes visible before waiting for more.
        let next = match consumer.poll(Duration::ZERO) {
            Some(next) => Some(next),
            None => {
                if out.flush().is_err() {
                    return Ok(());
                }
                consumer.poll(POLL)
            }
        };
        match next {
            Some(Ok(message)) => {
                last = Instant::now();
                *printed += 1;
                match formatter.write(&message, &mut out) {
                    Ok(()) => {}
                    Err(WriteError::Closed) => {
                        eprintln!("Unable to write to standard out, closing consumer.");
                        return Ok(());
                    }
                    Err(WriteError::Record(why)) if skip_errors => {
                        eprintln!("Error processing message, skipping this message: {why}");
                    }
                    Err(WriteError::Record(why)) => return Err(ToolError::Failed(why)),
                }
            }
            Some(Err(error)) => report(&error)?,
            None if timeout.is_some_and(|limit| last.elapsed() > limit) => break,
            None => {}
        }
    }
    let _ = out.flush();
    Ok(())
}

/// An error the client recovers from by itself is said and survived; a fatal one ends the tool.
fn report(error: &KafkaError) -> Outcome {
    use rdkafka::types::RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::PartitionEOF | Code::AllBrokersDown | Code::BrokerTransportFailure) => Ok(()),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
            eprintln!("{error}; waiting for the topic to be created");
            Ok(())
        }
        _ => Err(ToolError::failed(error)),
    }
}

fn stop_on_signals() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let signal = tokio::select! { _ = interrupt.recv() => SIGINT, _ = terminate.recv() => SIGTERM };
            STOPPED.store(signal, Ordering::Relaxed);
        });
    });
}

/// Where reading starts.
enum Start {
    Topics(String),
    Partition { topic: String, partition: i32, offset: Offset },
}

impl Start {
    fn from_options(options: &Options) -> Result<Self, ToolError> {
        let usage = |message: &str| Err(ToolError::Usage(message.to_owned()));
        let pattern = options.value("include").or(options.value("whitelist"));
        let topics = match (options.value("topic"), pattern) {
            (Some(topic), None) => topic.to_owned(),
            // librdkafka takes a subscription that starts with ^ for a pattern.
            (None, Some(pattern)) => extended_pattern(pattern),
            _ => return usage("Exactly one of --include/--topic is required. "),
        };
        let Some(partition) = options.number("partition").map_err(ToolError::Usage)? else {
            if options.has("offset") {
                return usage("The partition is required when offset is specified.");
            }
            return Ok(Self::Topics(topics));
        };
        if !options.has("topic") {
            return usage("The topic is required when partition is specified.");
        }
        if options.has("from-beginning") && options.has("offset") {
            return usage("Options from-beginning and offset cannot be specified together.");
        }
        let offset = match options.value("offset").map(str::to_lowercase).as_deref() {
            Some("earliest") => Offset::Beginning,
            Some("latest") => Offset::End,
            None if options.has("from-beginning") => Offset::Beginning,
            None => Offset::End,
            Some(text) => match text.parse::<i64>() {
                Ok(offset) if offset >= 0 => Offset::Offset(offset),
                _ => {
                    return usage(&format!(
                        "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
                    ));
                }
            },
        };
        Ok(Self::Partition { topic: topics, partition, offset })
    }

    fn apply(self, consumer: &BaseConsumer) -> Outcome {
        match self {
            Self::Topics(topics) => consumer.subscribe(&[&topics]).map_err(ToolError::failed),
            Self::Partition { topic, partition, offset } => {
                let mut list = TopicPartitionList::new();
                list.add_partition_offset(&topic, partition, offset).map_err(ToolError::failed)?;
                consumer.assign(&list).map_err(ToolError::failed)
            }
        }
    }
}

/// The brokers to start with: as given, or as registered in ZooKeeper.
fn servers(options: &Options) -> Result<String, ToolError> {
    match (options.value("bootstrap-server"), options.value("zookeeper")) {
        (Some(servers), _) => Ok(servers.to_owned()),
        (None, Some(hosts)) => {
            let servers = admin::block_on(brokers_in_zookeeper::find(hosts))??;
            eprintln!(
                "--zookeeper: consuming from the brokers registered there: --bootstrap-server {servers}"
            );
            Ok(servers)
        }
        (None, None) => Err(ToolError::Usage("Missing required argument \"[bootstrap-server]\"".to_owned())),
    }
}

/// A Java pattern for whole names as librdkafka's engine takes it: a POSIX extended expression.
fn extended_pattern(java: &str) -> String {
    let body = java.strip_prefix('^').unwrap_or(java);
    let body = body.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(body);
    format!("^({})$", body.replace("(?:", "(").replace("\\d", "[0-9]").replace("\\D", "[^0-9]"))
}

fn connect(options: &Options) -> Result<BaseConsumer, ToolError> {
    let usage = |message: String| ToolError::Usage(message);
    let servers = servers(options)?;
    let mut settings = ClientSettings::from_file(options.value("consumer.config"))?;
    for (key, value) in options.lenient_pairs("consumer-property") {
        settings.set(&key, &value);
    }
    let beginning = options.has("from-beginning");
    match settings.get("auto.offset.reset") {
        Some(reset) if beginning && reset != "earliest" => {
            return Err(ToolError::Failed(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            )));
        }
        Some(_) => {}
        None => settings.set("auto.offset.reset", if beginning { "earliest" } else { "latest" }),
    }
    match (options.value("group"), settings.get("group.id")) {
        (Some(group), Some(other)) if group != other => {
            return Err(usage(format!(
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '{group}', '{other}'"
            )));
        }
        (Some(_), _) | (_, Some(_)) if options.has("partition") => {
            return Err(usage("Options group and partition cannot be specified together.".to_owned()));
        }
        (Some(group), _) => settings.set("group.id", group),
        (None, Some(_)) => {}
        (None, None) => {
            settings.set("group.id", &format!("console-consumer-{}", fastrand::u32(0..100_000)));
            settings.set_default("enable.auto.commit", "false");
        }
    }
    settings.set("bootstrap.servers", &servers);
    settings.set_default("client.id", "console-consumer");
    match options.value("isolation-level") {
        Some(level) => settings.set("isolation.level", level),
        None => settings.set_default("isolation.level", "read_uncommitted"),
    }
    // Java's consumers leave internal topics out of patterns.
    if !options.has("topic") && settings.get("exclude.internal.topics") != Some("false") {
        settings.set_default("topic.blacklist", "^__consumer_offsets$,^__transaction_state$");
    }
    // A topic that does not exist yet is created by asking for it, as Java's consumer does.
    settings.set_default("allow.auto.create.topics", "true");
    settings.into_rdkafka().create().map_err(ToolError::failed)
}

/// How bytes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deserializer {
    Bytes,
    Short,
    Integer,
    Long,
    Uuid,
}

impl Deserializer {
    fn named(class: Option<&str>) -> Result<Self, ToolError> {
        let short = class.map(|c| c.rsplit(['.', '$']).next().unwrap_or(c));
        match short {
            None | Some("" | "StringDeserializer" | "ByteArrayDeserializer" | "BytesDeserializer") => {
                Ok(Self::Bytes)
            }
            Some("ShortDeserializer") => Ok(Self::Short),
            Some("IntegerDeserializer") => Ok(Self::Integer),
            Some("LongDeserializer") => Ok(Self::Long),
            Some("UUIDDeserializer") => Ok(Self::Uuid),
            Some(other) => Err(ToolError::Failed(format!(
                "{other}: Java classes cannot be loaded here; there are String-, Short-, Integer-, Long-, UUID- and ByteArrayDeserializer"
            ))),
        }
    }

    /// The error is the original's, for bytes of another type.
    fn show(self, bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, String> {
        let size = |name| move |_| format!("Size of data received by {name} is not {}", self.size());
        let text = match self {
            Self::Bytes => return Ok(bytes.into()),
            Self::Uuid => String::from_utf8_lossy(bytes).into_owned(),
            Self::Short => {
                bytes.try_into().map(i16::from_be_bytes).map_err(size("ShortDeserializer"))?.to_string()
            }
            Self::Integer => {
                bytes.try_into().map(i32::from_be_bytes).map_err(size("IntegerDeserializer"))?.to_string()
            }
            Self::Long => {
                bytes.try_into().map(i64::from_be_bytes).map_err(size("LongDeserializer"))?.to_string()
            }
        };
        Ok(text.into_bytes().into())
    }

    fn size(self) -> usize {
        match self {
            Self::Short => 2,
            Self::Integer => 4,
            Self::Long => 8,
            Self::Bytes | Self::Uuid => 0,
        }
    }
}

/// The originals' DefaultMessageFormatter.
#[derive(Debug)]
struct Formatter {
    silent: bool,
    timestamp: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_deserializer: Deserializer,
    value_deserializer: Deserializer,
    headers_deserializer: Deserializer,
}

/// Why a record was not printed.
enum WriteError {
    /// Nobody reads what is printed.
    Closed,
    /// Its bytes are not what a deserializer takes.
    Record(String),
}

impl From<std::io::Error> for WriteError {
    fn from(_: std::io::Error) -> Self {
        Self::Closed
    }
}

impl From<String> for WriteError {
    fn from(message: String) -> Self {
        Self::Record(message)
    }
}

impl Formatter {
    fn from_options(options: &Options) -> Result<Self, ToolError> {
        let class = options.value("formatter").unwrap_or("DefaultMessageFormatter");
        let silent = class.ends_with("NoOpMessageFormatter");
        if !silent && !class.ends_with("DefaultMessageFormatter") {
            return Err(ToolError::Failed(format!(
                "--formatter {class}: Java classes cannot be loaded here; there are DefaultMessageFormatter and NoOpMessageFormatter"
            )));
        }
        let mut settings = ClientSettings::from_file(options.value("formatter-config"))?;
        for (key, value) in options.lenient_pairs("property") {
            settings.set(&key, &value);
        }
        let flag =
            |key, default| settings.get(key).map_or(default, |v| v.trim().eq_ignore_ascii_case("true"));
        let text = |key, default: &str| settings.get(key).unwrap_or(default).as_bytes().to_vec();
        Ok(Self {
            silent,
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: Deserializer::named(
                options.value("key-deserializer").or(settings.get("key.deserializer")),
            )?,
            value_deserializer: Deserializer::named(
                options.value("value-deserializer").or(settings.get("value.deserializer")),
            )?,
            headers_deserializer: Deserializer::named(settings.get("headers.deserializer"))?,
        })
    }

    fn write(&self, message: &BorrowedMessage<'_>, out: &mut impl std::io::Write) -> Result<(), WriteError> {
        if self.silent {
            return Ok(());
        }
        let mut columns: Vec<Vec<u8>> = Vec::with_capacity(6);
        if self.timestamp {
            columns.push(timestamp(message.timestamp()).into_bytes());
        }
        if self.partition {
            columns.push(format!("Partition:{}", message.partition()).into_bytes());
        }
        if self.offset {
            columns.push(format!("Offset:{}", message.offset()).into_bytes());
        }
        if self.headers {
            columns.push(self.headers(message)?);
        }
        if self.key {
            columns.push(self.shown(message.key(), self.key_deserializer)?);
        }
        if self.value {
            columns.push(self.shown(message.payload(), self.value_deserializer)?);
        }
        out.write_all(&columns.join(&self.key_separator[..]))?;
        if !columns.is_empty() {
            out.write_all(&self.line_separator)?;
        }
        Ok(())
    }

    fn shown(&self, bytes: Option<&[u8]>, deserializer: Deserializer) -> Result<Vec<u8>, String> {
        bytes.map_or_else(|| Ok(self.null_literal.clone()), |b| Ok(deserializer.show(b)?.into_owned()))
    }

    fn headers(&self, message: &BorrowedMessage<'_>) -> Result<Vec<u8>, String> {
        let Some(headers) = message.headers().filter(|h| h.count() > 0) else {
            return Ok(b"NO_HEADERS".to_vec());
        };
        let mut shown: Vec<Vec<u8>> = Vec::with_capacity(headers.count());
        for header in headers.iter() {
            let value = self.shown(header.value, self.headers_deserializer)?;
            shown.push([header.key.as_bytes(), b":", &value].concat());
        }
        Ok(shown.join(&self.headers_separator[..]))
    }
}

fn timestamp(timestamp: Timestamp) -> String {
    match timestamp {
        Timestamp::NotAvailable => "NO_TIMESTAMP".to_owned(),
        Timestamp::CreateTime(ms) => format!("CreateTime:{ms}"),
        Timestamp::LogAppendTime(ms) => format!("LogAppendTime:{ms}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Options {
        let args: Vec<String> = args.iter().map(|s| s.to_string()).collect();
        Options::parse(&SPECS, &args).expect("parses")
    }

    fn start_error(args: &[&str]) -> String {
        match Start::from_options(&options(args)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{args:?} must be refused"),
        }
    }

    #[test]
    fn an_offset_needs_a_partition_and_a_partition_a_topic() {
        assert_eq!(
            start_error(&["--topic", "t", "--offset", "3"]),
            "The partition is required when offset is specified."
        );
        assert_eq!(
            start_error(&["--whitelist", "t.*", "--partition", "0"]),
            "The topic is required when partition is specified."
        );
        assert!(
            start_error(&["--topic", "t", "--partition", "0", "--offset", "-3"])
                .contains("'-3' is incorrect")
        );
    }

    #[test]
    fn patterns_mean_whole_names() {
        assert_eq!(extended_pattern("a|b"), "^(a|b)$");
        assert_eq!(extended_pattern("^(?:a\\d+)$"), "^((a[0-9]+))$");
        assert_eq!(extended_pattern("a\\$"), "^(a\\$)$");
    }

    #[test]
    fn numbers_are_shown_as_numbers_only_when_asked() {
        let shown =
            |deserializer: Deserializer, bytes: &[u8]| deserializer.show(bytes).map(|text| text.into_owned());
        assert_eq!(shown(Deserializer::Bytes, b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(shown(Deserializer::Long, &7i64.to_be_bytes()), Ok(b"7".to_vec()));
        assert_eq!(shown(Deserializer::Short, &(-2i16).to_be_bytes()), Ok(b"-2".to_vec()));
        let error = "Size of data received by IntegerDeserializer is not 4";
        assert_eq!(shown(Deserializer::Integer, b"abc"), Err(error.to_owned()));
        assert!(Deserializer::named(Some("com.example.Avro")).is_err());
    }
}
