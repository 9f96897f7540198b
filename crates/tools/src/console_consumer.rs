//! `kafka-console-consumer.sh`: prints records as they come.
//!
//! Options are those of 2.7.1, and those that 3.9 added. Without `--group` a group of its own is made up, and
//! nothing is committed for it.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Offset, Timestamp, TopicPartitionList};

use crate::client_config::ClientSettings;
use crate::options::{Options, Spec, Takes, spec};
use crate::{Outcome, ToolError};

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
    spec("property", Takes::Value("prop"), "key=value for the formatter: print.timestamp, print.key, print.offset, print.partition, print.headers, print.value, key.separator, line.separator, headers.separator, null.literal."),
    spec("formatter-config", Takes::Value("config file"), "A file with properties for the formatter."),
    spec("from-beginning", Takes::Nothing, "If the group has no offset yet, start with the earliest record rather than the latest."),
    spec("max-messages", Takes::Value("num_messages"), "The number of records to print before exiting."),
    spec("timeout-ms", Takes::Value("timeout_ms"), "Exit if no record comes for this long."),
    spec("skip-message-on-error", Takes::Nothing, "Go on after a record that cannot be printed."),
    spec("bootstrap-server", Takes::Value("server to connect to"), "REQUIRED: The server(s) to connect to."),
    spec("key-deserializer", Takes::Value("class"), "Deserializer for keys: String, Integer, Long or ByteArray."),
    spec("value-deserializer", Takes::Value("class"), "Deserializer for values: String, Integer, Long or ByteArray."),
    spec("enable-systest-events", Takes::Nothing, "Say when the consumer has shut down."),
    spec("isolation-level", Takes::Value("level"), "read_committed or read_uncommitted. (default: read_uncommitted)"),
    spec("group", Takes::Value("consumer group id"), "The consumer group id of the consumer."),
    spec("zookeeper", Takes::Value("urls"), "Gone since Kafka 2.0; use --bootstrap-server."),
];

/// Set by SIGINT and SIGTERM.
static STOPPED: AtomicBool = AtomicBool::new(false);

pub fn run(options: &Options) -> Outcome {
    let formatter = Formatter::from_options(options)?;
    let max_messages = options.number::<i64>("max-messages").map_err(ToolError::Usage)?.unwrap_or(-1);
    let timeout = options.number::<i64>("timeout-ms").map_err(ToolError::Usage)?;
    let timeout = timeout.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let start = Start::from_options(options)?;
    let consumer = connect(options)?;
    start.apply(&consumer)?;
    stop_on_signals();

    let mut printed = 0;
    let outcome = print_records(&consumer, &formatter, max_messages, timeout, &mut printed);
    consumer.unsubscribe();
    drop(consumer);
    eprintln!("Processed a total of {printed} messages");
    if options.has("enable-systest-events") {
        println!("shutdown_complete");
    }
    outcome
}

fn print_records(
    consumer: &BaseConsumer,
    formatter: &Formatter,
    max_messages: i64,
    timeout: Option<Duration>,
    printed: &mut i64,
) -> Outcome {
    const POLL: Duration = Duration::from_millis(100);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut last = Instant::now();
    while (max_messages < 0 || *printed < max_messages) && !STOPPED.load(Ordering::Relaxed) {
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
                if formatter.write(&message, &mut out).is_err() {
                    eprintln!("Unable to write to standard out, closing consumer.");
                    return Ok(());
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
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            STOPPED.store(true, Ordering::Relaxed);
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
            (None, Some(pattern)) => format!("^{}", pattern.trim_start_matches('^')),
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
        if options.has("group") {
            return usage("Options group and partition cannot be specified together.");
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

fn connect(options: &Options) -> Result<BaseConsumer, ToolError> {
    let usage = |message: String| ToolError::Usage(message);
    if options.has("zookeeper") && !options.has("bootstrap-server") {
        return Err(usage("--zookeeper: consumers have not gone through ZooKeeper since Kafka 2.0; use --bootstrap-server <broker>:9092".to_owned()));
    }
    let servers = options
        .value("bootstrap-server")
        .ok_or(usage("Missing required argument \"[bootstrap-server]\"".to_owned()))?;
    let mut settings = ClientSettings::from_file(options.value("consumer.config"))?;
    for (key, value) in options.pairs("consumer-property").map_err(ToolError::Usage)? {
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
        (Some(group), _) => settings.set("group.id", group),
        (None, Some(_)) => {}
        (None, None) => {
            settings.set("group.id", &format!("console-consumer-{}", fastrand::u32(0..100_000)));
            settings.set_default("enable.auto.commit", "false");
        }
    }
    settings.set("bootstrap.servers", servers);
    settings.set_default("client.id", "console-consumer");
    settings.set("isolation.level", options.value("isolation-level").unwrap_or("read_uncommitted"));
    // A topic that does not exist yet is created by asking for it, as Java's consumer does.
    settings.set_default("allow.auto.create.topics", "true");
    settings.into_rdkafka().create().map_err(ToolError::failed)
}

/// How bytes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deserializer {
    Bytes,
    Integer,
    Long,
}

impl Deserializer {
    fn named(class: Option<&str>) -> Result<Self, ToolError> {
        let short = class.map(|c| c.rsplit('.').next().unwrap_or(c));
        match short {
            None | Some("" | "StringDeserializer" | "ByteArrayDeserializer" | "BytesDeserializer") => {
                Ok(Self::Bytes)
            }
            Some("IntegerDeserializer") => Ok(Self::Integer),
            Some("LongDeserializer") => Ok(Self::Long),
            Some(other) => Err(ToolError::Failed(format!(
                "{other}: Java classes cannot be loaded here; there are String-, Integer-, Long- and ByteArrayDeserializer"
            ))),
        }
    }

    fn show(self, bytes: &[u8]) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Integer if bytes.len() == 4 => {
                i32::from_be_bytes(bytes.try_into().expect("four bytes")).to_string().into_bytes().into()
            }
            Self::Long if bytes.len() == 8 => {
                i64::from_be_bytes(bytes.try_into().expect("eight bytes")).to_string().into_bytes().into()
            }
            _ => bytes.into(),
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
        for (key, value) in options.pairs("property").map_err(ToolError::Usage)? {
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
        })
    }

    fn write(&self, message: &BorrowedMessage<'_>, out: &mut impl std::io::Write) -> std::io::Result<()> {
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
            columns.push(self.headers(message));
        }
        if self.key {
            columns.push(self.shown(message.key(), self.key_deserializer));
        }
        if self.value {
            columns.push(self.shown(message.payload(), self.value_deserializer));
        }
        out.write_all(&columns.join(&self.key_separator[..]))?;
        if columns.is_empty() { Ok(()) } else { out.write_all(&self.line_separator) }
    }

    fn shown(&self, bytes: Option<&[u8]>, deserializer: Deserializer) -> Vec<u8> {
        bytes.map_or_else(|| self.null_literal.clone(), |b| deserializer.show(b).into_owned())
    }

    fn headers(&self, message: &BorrowedMessage<'_>) -> Vec<u8> {
        let Some(headers) = message.headers().filter(|h| h.count() > 0) else {
            return b"NO_HEADERS".to_vec();
        };
        let shown: Vec<Vec<u8>> = headers
            .iter()
            .map(|header| [header.key.as_bytes(), b":", header.value.unwrap_or(&self.null_literal)].concat())
            .collect();
        shown.join(&self.headers_separator[..])
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
    fn numbers_are_shown_as_numbers_only_when_asked() {
        assert_eq!(&*Deserializer::Bytes.show(b"abc"), b"abc");
        assert_eq!(&*Deserializer::Long.show(&7i64.to_be_bytes()), b"7");
        assert!(Deserializer::named(Some("com.example.Avro")).is_err());
    }
}
