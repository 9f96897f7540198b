//! `kafka-console-producer.sh`: lines from standard input become records.
//!
//! Records with a key land where Java's producer puts them (murmur2); those without spread at random.
//! Options are those of 2.7.1, and those that 3.9 added.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use crate::client_config::ClientSettings;
use crate::options::{Options, Spec, Takes, spec};
use crate::{Outcome, ToolError};

pub const PURPOSE: &str = "This tool helps to read data from standard input and publish it to Kafka.";

#[rustfmt::skip]
pub const SPECS: [Spec; 21] = [
    spec("topic", Takes::Value("topic"), "REQUIRED: The topic id to produce messages to."),
    spec("bootstrap-server", Takes::Value("server to connect to"), "REQUIRED unless --broker-list is specified. The server(s) to connect to, HOST1:PORT1,HOST2:PORT2."),
    spec("broker-list", Takes::Value("broker-list"), "DEPRECATED, use --bootstrap-server instead; ignored if that is specified."),
    spec("sync", Takes::Nothing, "If set, records are sent one at a time, each awaited."),
    spec("compression-codec", Takes::MaybeValue("compression-codec"), "The compression codec: either 'none', 'gzip', 'snappy', 'lz4', or 'zstd'. Without a value it is 'gzip'."),
    spec("batch-size", Takes::Value("size"), "Number of messages to send in a single batch if they are not being sent synchronously."),
    spec("message-send-max-retries", Takes::Value("number"), "How often a failed send is tried again before the record is dropped. (default: 3)"),
    spec("retry-backoff-ms", Takes::Value("ms"), "How long to wait before a retry. (default: 100)"),
    spec("timeout", Takes::Value("timeout_ms"), "How long a record may wait for others to share its batch. (default: 1000)"),
    spec("request-required-acks", Takes::Value("request required acks"), "The required acks of the producer requests. (default: 1)"),
    spec("request-timeout-ms", Takes::Value("ms"), "The ack timeout of the producer requests. (default: 1500)"),
    spec("metadata-expiry-ms", Takes::Value("ms"), "The time after which metadata is refreshed even without changes. (default: 300000)"),
    spec("max-block-ms", Takes::Value("ms"), "The longest time a send may block. (default: 60000)"),
    spec("max-memory-bytes", Takes::Value("bytes"), "The memory for records that wait to be sent. (default: 33554432)"),
    spec("max-partition-memory-bytes", Takes::Value("bytes"), "The batch size records are grouped up to. (default: 16384)"),
    spec("line-reader", Takes::Value("reader_class"), "Only the line reader exists here; other classes are refused."),
    spec("socket-buffer-size", Takes::Value("size"), "The size of the TCP send buffer. (default: 102400)"),
    spec("property", Takes::Value("prop"), "key=value for the line reader: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker, ignore.error."),
    spec("reader-config", Takes::Value("config file"), "A file with properties for the line reader."),
    spec("producer-property", Takes::Value("producer_prop"), "key=value for the producer."),
    spec("producer.config", Takes::Value("config file"), "A file with properties for the producer; --producer-property takes precedence."),
];

pub fn run(options: &Options) -> Outcome {
    let topic = options.value("topic").ok_or(usage("Missing required argument \"[topic]\""))?;
    let reader = LineReader::from_options(options)?;
    let producer = connect(options)?;
    let sync = options.has("sync");
    let prompt = std::io::stdout();
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    let mut outcome = Ok(());
    for number in 1.. {
        let _ = write!(prompt.lock(), ">").and_then(|()| prompt.lock().flush());
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(ToolError::failed)? == 0 {
            break;
        }
        let parsed = reader.parse(number, trim_line_end(&line));
        outcome = parsed.and_then(|line| send(&producer, topic, &line));
        if outcome.is_err() {
            break;
        }
        if sync {
            producer.flush(SEND_LIMIT).map_err(ToolError::failed)?;
            if failures(&producer) > 0 {
                break;
            }
        }
    }
    // What was read before a line that cannot be sent is sent all the same.
    producer.flush(SEND_LIMIT).map_err(ToolError::failed)?;
    outcome?;
    match failures(&producer) {
        0 => Ok(()),
        failed => Err(ToolError::Failed(format!("{failed} records were not accepted"))),
    }
}

fn failures(producer: &ThreadedProducer<Deliveries>) -> u64 {
    producer.context().failed.load(Ordering::Relaxed)
}

/// The longest wait for everything that was sent.
const SEND_LIMIT: Duration = Duration::from_secs(120);

fn usage(message: &str) -> ToolError {
    ToolError::Usage(message.to_owned())
}

/// Counts and reports what the broker refused.
#[derive(Default)]
struct Deliveries {
    failed: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            use rdkafka::Message as _;
            self.failed.fetch_add(1, Ordering::Relaxed);
            let bytes = message.payload_len() + message.key_len();
            eprintln!("Error when sending message to topic {} ({bytes} bytes): {error}", message.topic());
        }
    }
}

fn connect(options: &Options) -> Result<ThreadedProducer<Deliveries>, ToolError> {
    let servers = options
        .value("bootstrap-server")
        .or(options.value("broker-list"))
        .ok_or(usage("Missing required option(s) [bootstrap-server]"))?;
    let mut settings = ClientSettings::from_file(options.value("producer.config"))?;
    for (key, value) in options.lenient_pairs("producer-property") {
        settings.set(&key, &value);
    }
    settings.set("bootstrap.servers", servers);
    let codec = if options.has("compression-codec") {
        options.value("compression-codec").unwrap_or("gzip")
    } else {
        "none"
    };
    settings.set("compression.type", codec);
    settings.set_default("client.id", "console-producer");
    // A flag that was given overrides the file; a default does not.
    for (flag, key, default) in [
        ("timeout", "linger.ms", "1000"),
        ("request-required-acks", "acks", "1"),
        ("request-timeout-ms", "request.timeout.ms", "1500"),
        ("message-send-max-retries", "retries", "3"),
        ("retry-backoff-ms", "retry.backoff.ms", "100"),
        ("socket-buffer-size", "send.buffer.bytes", "102400"),
        ("max-memory-bytes", "buffer.memory", "33554432"),
        ("max-partition-memory-bytes", "batch.size", "16384"),
        ("metadata-expiry-ms", "metadata.max.age.ms", "300000"),
    ] {
        match options.value(flag) {
            Some(value) => settings.set(key, value),
            None => settings.set_default(key, default),
        }
    }
    // As Java's producer; librdkafka would go on for five minutes.
    if settings.get("message.timeout.ms").is_none() {
        settings.set_default("delivery.timeout.ms", "120000");
    }
    // Java's partitioner, so that a key means the same partition for every client.
    settings.set("partitioner", "murmur2_random");
    settings.into_rdkafka().create_with_context(Deliveries::default()).map_err(ToolError::failed)
}

/// Sends one record, waiting while the producer's own queue is full.
fn send(producer: &ThreadedProducer<Deliveries>, topic: &str, line: &Line<'_>) -> Outcome {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic);
    record.key = line.key;
    record.payload = line.value;
    if !line.headers.is_empty() {
        let headers = line
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        record = record.headers(headers);
    }
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                let _ = producer.flush(Duration::from_millis(100));
            }
            Err((error, _)) => return Err(ToolError::failed(error)),
        }
    }
}

/// A header's key and value, which may be null.
type HeaderPair<'a> = (&'a str, Option<&'a [u8]>);
/// What lies before and behind a separator.
type Halves<'a> = (&'a [u8], &'a [u8]);

/// One input line, cut into the parts of a record.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line<'a> {
    headers: Vec<HeaderPair<'a>>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// How lines become records: `--property` of the originals' LineMessageReader.
#[derive(Debug)]
struct LineReader {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    null_marker: Option<String>,
    ignore_error: bool,
}

impl LineReader {
    fn from_options(options: &Options) -> Result<Self, ToolError> {
        if let Some(class) = options.value("line-reader").filter(|c| !c.ends_with("LineMessageReader")) {
            return Err(ToolError::Usage(format!(
                "--line-reader {class}: Java classes cannot be loaded here; lines are read as they are"
            )));
        }
        let mut settings = ClientSettings::from_file(options.value("reader-config"))?;
        for (key, value) in options.lenient_pairs("property") {
            settings.set(&key, &value);
        }
        let flag = |key| settings.get(key).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        let text = |key, default: &str| settings.get(key).unwrap_or(default).to_owned();
        let reader = Self {
            parse_key: flag("parse.key"),
            key_separator: text("key.separator", "\t"),
            parse_headers: flag("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: settings.get("null.marker").map(str::to_owned),
            ignore_error: flag("ignore.error"),
        };
        reader.check_separators()?;
        Ok(reader)
    }

    /// 3.9's rules about what must differ so that a line has one reading.
    fn check_separators(&self) -> Result<(), ToolError> {
        let (delimiter, separator) = (&self.headers_delimiter, &self.headers_separator);
        let key_separator = &self.headers_key_separator;
        let mut pairs = vec![
            ("headers.delimiter", delimiter, "headers.separator", separator),
            ("headers.delimiter", delimiter, "headers.key.separator", key_separator),
            ("headers.separator", separator, "headers.key.separator", key_separator),
        ];
        if let Some(marker) = &self.null_marker {
            pairs.push(("null.marker", marker, "key.separator", &self.key_separator));
            pairs.push(("null.marker", marker, "headers.separator", separator));
            pairs.push(("null.marker", marker, "headers.delimiter", delimiter));
            pairs.push(("null.marker", marker, "headers.key.separator", key_separator));
        }
        match pairs.into_iter().find(|(_, one, _, other)| one == other) {
            None => Ok(()),
            Some((one, _, other, _)) => Err(ToolError::Failed(format!("{one} and {other} may not be equal"))),
        }
    }

    fn parse<'a>(&self, number: u64, line: &'a [u8]) -> Result<Line<'a>, ToolError> {
        let mut parsed = Line::default();
        let mut rest = line;
        if self.parse_headers
            && let Some((headers, after)) =
                self.cut(rest, &self.headers_delimiter, "headers delimiter", number)?
        {
            rest = after;
            if !self.is_null(headers) {
                parsed.headers = self.headers(headers, number)?;
            }
        }
        if self.parse_key
            && let Some((key, after)) = self.cut(rest, &self.key_separator, "key separator", number)?
        {
            rest = after;
            parsed.key = (!self.is_null(key)).then_some(key);
        }
        parsed.value = (!self.is_null(rest)).then_some(rest);
        Ok(parsed)
    }

    fn is_null(&self, part: &[u8]) -> bool {
        self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == part)
    }

    /// Cuts at a separator; without one, the line is an error or, if errors are ignored, all value.
    fn cut<'a>(
        &self,
        line: &'a [u8],
        separator: &str,
        what: &str,
        number: u64,
    ) -> Result<Option<Halves<'a>>, ToolError> {
        match find(line, separator.as_bytes()) {
            Some(at) => Ok(Some((&line[..at], &line[at + separator.len()..]))),
            None if self.ignore_error => Ok(None),
            None => Err(ToolError::Failed(format!(
                "No {what} found on line number {number}: '{}'",
                String::from_utf8_lossy(line)
            ))),
        }
    }

    fn headers<'a>(&self, text: &'a [u8], number: u64) -> Result<Vec<HeaderPair<'a>>, ToolError> {
        let text = std::str::from_utf8(text)
            .map_err(|_| ToolError::Failed(format!("Headers on line {number} are not UTF-8")))?;
        text.split(self.headers_separator.as_str())
            .map(|pair| match pair.split_once(self.headers_key_separator.as_str()) {
                Some((key, _)) if self.is_null(key.as_bytes()) => Err(ToolError::Failed(format!(
                    "Header keys should not be equal to the null marker '{key}' as they can't be null"
                ))),
                Some((key, value)) => {
                    let value = value.as_bytes();
                    Ok((key, (!self.is_null(value)).then_some(value)))
                }
                None if self.ignore_error => Ok((pair, None)),
                None => Err(ToolError::Failed(format!(
                    "No header key separator found in pair '{pair}' on line number {number}"
                ))),
            })
            .collect()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(properties: &[&str]) -> LineReader {
        let args: Vec<String> =
            properties.iter().flat_map(|p| ["--property".to_owned(), p.to_string()]).collect();
        let options = Options::parse(&SPECS, &args).expect("parses");
        LineReader::from_options(&options).expect("is a reader")
    }

    #[test]
    fn a_line_is_a_value_unless_told_otherwise() {
        let line = reader(&[]).parse(1, b"k\tv").expect("parses");
        assert_eq!(line, Line { value: Some(b"k\tv"), ..Line::default() });
    }

    #[test]
    fn keys_are_cut_at_the_first_separator() {
        let reader = reader(&["parse.key=true", "key.separator=:"]);
        let line = reader.parse(1, b"k:v:w").expect("parses");
        assert_eq!((line.key, line.value), (Some(&b"k"[..]), Some(&b"v:w"[..])));
        assert_eq!(
            reader.parse(7, b"kv").unwrap_err().to_string(),
            "No key separator found on line number 7: 'kv'"
        );
    }

    #[test]
    fn headers_and_null_markers_are_those_of_3_9() {
        let reader = reader(&["parse.key=true", "parse.headers=true", "null.marker=NULL"]);
        let line = reader.parse(1, b"h1:v1,h2:NULL\tk\tNULL").expect("parses");
        assert_eq!(line.headers, [("h1", Some(&b"v1"[..])), ("h2", None)]);
        assert_eq!((line.key, line.value), (Some(&b"k"[..]), None));
        let error = reader.parse(3, b"NULL:v\tk\tv").unwrap_err().to_string();
        assert_eq!(error, "Header keys should not be equal to the null marker 'NULL' as they can't be null");
        assert!(reader.parse(1, b"NULL\tk\tv").expect("no headers").headers.is_empty());
    }

    #[test]
    fn separators_must_differ() {
        let args = ["--property", "null.marker=,"].map(str::to_owned);
        let options = Options::parse(&SPECS, &args).expect("parses");
        let error = LineReader::from_options(&options).unwrap_err().to_string();
        assert_eq!(error, "null.marker and headers.separator may not be equal");
    }
}
