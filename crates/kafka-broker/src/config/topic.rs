//! Topic configurations: the table, where their defaults come from, and the typed `TopicConfig`.
//!
//! Order of precedence, as Kafka's: the topic's own override, then the broker's key (`ServerTopicConfigSynonyms`), then
//! the built-in default. Not here: `/config/topics/<t>` in ZooKeeper, which only carries the overrides.

use std::collections::BTreeMap;

use super::Settings;
use super::values::Check::{self, Any, Between, Min, OneOf};
use super::values::Kind::{self, Bool, Double, Int, List, Long, Str};
use super::values::{ConfigError, Value, parse_named};

/// One topic configuration.
#[derive(Debug, Clone, Copy)]
pub struct TopicKey {
    pub name: &'static str,
    pub kind: Kind,
    pub check: Check,
    /// Broker keys that give the default, most important first, each with the factor to the topic key's unit.
    pub synonyms: &'static [(&'static str, i64)],
    /// Default of the keys without a broker key.
    pub default: &'static str,
}

const fn key(name: &'static str, kind: Kind, check: Check, synonyms: &'static [(&'static str, i64)]) -> TopicKey {
    TopicKey { name, kind, check, synonyms, default: "" }
}

const fn plain(name: &'static str, kind: Kind, check: Check, default: &'static str) -> TopicKey {
    TopicKey { name, kind, check, synonyms: &[], default }
}

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const TIMESTAMP_TYPES: Check = OneOf(&["CreateTime", "LogAppendTime"]);
const COMPRESSIONS: Check = OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

/// All topic configurations of 3.9 (2.7.1's are a subset), sorted by name.
#[rustfmt::skip]
pub static TOPIC_KEYS: &[TopicKey] = &[
    key("cleanup.policy", List, OneOf(&["compact", "delete"]), &[("log.cleanup.policy", 1)]),
    key("compression.gzip.level", Int, Between(-1, 9), &[("compression.gzip.level", 1)]),
    key("compression.lz4.level", Int, Between(1, 17), &[("compression.lz4.level", 1)]),
    key("compression.type", Str, COMPRESSIONS, &[("compression.type", 1)]),
    key("compression.zstd.level", Int, Between(-131_072, 22), &[("compression.zstd.level", 1)]),
    key("delete.retention.ms", Long, Min(0), &[("log.cleaner.delete.retention.ms", 1)]),
    key("file.delete.delay.ms", Long, Min(0), &[("log.segment.delete.delay.ms", 1)]),
    key("flush.messages", Long, Min(1), &[("log.flush.interval.messages", 1)]),
    key("flush.ms", Long, Min(0), &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]),
    plain("follower.replication.throttled.replicas", List, Any, ""),
    key("index.interval.bytes", Int, Min(0), &[("log.index.interval.bytes", 1)]),
    plain("leader.replication.throttled.replicas", List, Any, ""),
    key("local.retention.bytes", Long, Min(-2), &[("log.local.retention.bytes", 1)]),
    key("local.retention.ms", Long, Min(-2), &[("log.local.retention.ms", 1)]),
    key("max.compaction.lag.ms", Long, Min(1), &[("log.cleaner.max.compaction.lag.ms", 1)]),
    key("max.message.bytes", Int, Min(0), &[("message.max.bytes", 1)]),
    key("message.downconversion.enable", Bool, Any, &[("log.message.downconversion.enable", 1)]),
    key("message.format.version", Str, Any, &[("log.message.format.version", 1)]),
    key("message.timestamp.after.max.ms", Long, Min(0), &[("log.message.timestamp.after.max.ms", 1)]),
    key("message.timestamp.before.max.ms", Long, Min(0), &[("log.message.timestamp.before.max.ms", 1)]),
    key("message.timestamp.difference.max.ms", Long, Min(0), &[("log.message.timestamp.difference.max.ms", 1)]),
    key("message.timestamp.type", Str, TIMESTAMP_TYPES, &[("log.message.timestamp.type", 1)]),
    key("min.cleanable.dirty.ratio", Double, Between(0, 1), &[("log.cleaner.min.cleanable.ratio", 1)]),
    key("min.compaction.lag.ms", Long, Min(0), &[("log.cleaner.min.compaction.lag.ms", 1)]),
    key("min.insync.replicas", Int, Min(1), &[("min.insync.replicas", 1)]),
    key("preallocate", Bool, Any, &[("log.preallocate", 1)]),
    plain("remote.log.copy.disable", Bool, Any, "false"),
    plain("remote.log.delete.on.disable", Bool, Any, "false"),
    plain("remote.storage.enable", Bool, Any, "false"),
    key("retention.bytes", Long, Any, &[("log.retention.bytes", 1)]),
    key("retention.ms", Long, Min(-1), &[("log.retention.ms", 1), ("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)]),
    key("segment.bytes", Int, Min(14), &[("log.segment.bytes", 1)]),
    key("segment.index.bytes", Int, Min(4), &[("log.index.size.max.bytes", 1)]),
    key("segment.jitter.ms", Long, Min(0), &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR_MS)]),
    key("segment.ms", Long, Min(1), &[("log.roll.ms", 1), ("log.roll.hours", HOUR_MS)]),
    key("unclean.leader.election.enable", Bool, Any, &[("unclean.leader.election.enable", 1)]),
];

/// The row of `name`, if there is such a topic configuration.
pub fn find(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|at| &TOPIC_KEYS[at])
}

/// Overrides of one topic, as in `/config/topics/<t>`.
pub type Overrides = BTreeMap<String, String>;

/// The broker's own default for every topic configuration, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicDefaults {
    values: BTreeMap<&'static str, String>,
}

impl TopicDefaults {
    pub(super) fn from_settings(settings: &Settings) -> Self {
        let values = TOPIC_KEYS.iter().map(|key| (key.name, default_of(key, settings))).collect();
        Self { values }
    }

    /// Default of a known key; empty for an unknown one.
    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Typed configuration of a topic with these overrides. Unknown overrides are refused as Kafka does.
    pub fn resolve(&self, overrides: &Overrides) -> Result<TopicConfig, ConfigError> {
        for (name, text) in overrides {
            let key = find(name).ok_or_else(|| ConfigError::Rule(format!("Unknown topic config name: {name}")))?;
            parse_named(key.name, key.kind, key.check, text)?;
        }
        TopicConfig::read(&|name| overrides.get(name).map_or_else(|| self.get(name), String::as_str))
    }

    /// The same for what already lies in ZooKeeper: what cannot be used is left at its default and named.
    pub fn resolve_lenient(&self, overrides: &Overrides) -> (TopicConfig, Vec<ConfigError>) {
        let mut usable = Overrides::new();
        let mut errors = Vec::new();
        for (name, text) in overrides {
            let one = Overrides::from([(name.clone(), text.clone())]);
            match self.resolve(&one) {
                Ok(_) => drop(usable.insert(name.clone(), text.clone())),
                Err(error) => errors.push(error),
            }
        }
        match self.resolve(&usable) {
            Ok(config) => (config, errors),
            Err(error) => {
                errors.push(error);
                (self.resolve(&Overrides::new()).unwrap_or_default(), errors)
            }
        }
    }
}

fn default_of(key: &TopicKey, settings: &Settings) -> String {
    for (broker_key, factor) in key.synonyms {
        let Some(text) = settings.text(broker_key) else { continue };
        return match text.trim().parse::<i64>() {
            Ok(n) if *factor != 1 => n.saturating_mul(*factor).to_string(),
            _ => text.to_owned(),
        };
    }
    key.default.to_owned()
}

/// `compression.type` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopicCompression {
    /// Batches keep the codec they came with.
    #[default]
    Producer,
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// A topic's configuration, typed. Field names are Kafka's keys; see there for the meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub compact: bool,
    pub delete: bool,
    pub compression: TopicCompression,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_message_bytes: u32,
    pub message_downconversion_enable: bool,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: bool,
    pub min_insync_replicas: u32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

impl Default for TopicConfig {
    /// Kafka's built-in defaults.
    fn default() -> Self {
        Self {
            compact: false,
            delete: true,
            compression: TopicCompression::Producer,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            message_downconversion_enable: true,
            message_timestamp_after_max_ms: i64::MAX,
            message_timestamp_before_max_ms: i64::MAX,
            log_append_time: false,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: -1,
            retention_ms: 7 * 24 * HOUR_MS,
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 7 * 24 * HOUR_MS,
            unclean_leader_election_enable: false,
        }
    }
}

impl TopicConfig {
    fn read<'a>(text: &dyn Fn(&str) -> &'a str) -> Result<Self, ConfigError> {
        let value = |name: &str| -> Result<Value, ConfigError> {
            let key = find(name).expect("only names of the table are asked for");
            parse_named(key.name, key.kind, key.check, text(name))
        };
        let long = |name| value(name).map(|v| if let Value::Int(n) = v { n } else { 0 });
        let size = |name| long(name).map(|n| u32::try_from(n).unwrap_or(0));
        let flag = |name| value(name).map(|v| v == Value::Bool(true));
        let policy = match value("cleanup.policy")? {
            Value::List(items) => items,
            _ => Vec::new(),
        };
        // The two newer keys win; the older one counts only while they stand at their default.
        let difference = long("message.timestamp.difference.max.ms")?;
        let bound = |name| long(name).map(|n| if n == i64::MAX { difference } else { n });
        Ok(Self {
            compact: policy.iter().any(|p| p == "compact"),
            delete: policy.iter().any(|p| p == "delete"),
            compression: compression(text("compression.type")),
            file_delete_delay_ms: long("file.delete.delay.ms")?,
            flush_messages: long("flush.messages")?,
            flush_ms: long("flush.ms")?,
            index_interval_bytes: size("index.interval.bytes")?,
            max_message_bytes: size("max.message.bytes")?,
            message_downconversion_enable: flag("message.downconversion.enable")?,
            message_timestamp_after_max_ms: bound("message.timestamp.after.max.ms")?,
            message_timestamp_before_max_ms: bound("message.timestamp.before.max.ms")?,
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            min_insync_replicas: size("min.insync.replicas")?,
            preallocate: flag("preallocate")?,
            retention_bytes: long("retention.bytes")?,
            retention_ms: long("retention.ms")?,
            segment_bytes: size("segment.bytes")?,
            segment_index_bytes: size("segment.index.bytes")?,
            segment_jitter_ms: long("segment.jitter.ms")?,
            segment_ms: long("segment.ms")?,
            unclean_leader_election_enable: flag("unclean.leader.election.enable")?,
        })
    }
}

fn compression(text: &str) -> TopicCompression {
    match text {
        "uncompressed" => TopicCompression::None,
        "gzip" => TopicCompression::Gzip,
        "snappy" => TopicCompression::Snappy,
        "lz4" => TopicCompression::Lz4,
        "zstd" => TopicCompression::Zstd,
        _ => TopicCompression::Producer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn defaults(text: &str) -> TopicDefaults {
        let text = format!("zookeeper.connect=z:2181\n{text}");
        let properties = properties::Properties::parse(&text).expect("parses");
        Config::from_properties(&properties, &[]).expect("valid").0.topic_defaults
    }

    #[test]
    fn an_untouched_broker_gives_the_built_in_defaults() {
        assert_eq!(defaults("").resolve(&Overrides::new()), Ok(TopicConfig::default()));
        assert!(TOPIC_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn broker_keys_are_defaults_and_the_finer_unit_wins() {
        let defaults = defaults("log.retention.hours=1\nlog.retention.minutes=2\nmin.insync.replicas=2");
        let config = defaults.resolve(&Overrides::new()).expect("valid");
        assert_eq!((config.retention_ms, config.min_insync_replicas), (120_000, 2));
    }

    #[test]
    fn overrides_win_and_are_checked() {
        let defaults = defaults("");
        let set = |k: &str, v: &str| Overrides::from([(k.to_owned(), v.to_owned())]);
        assert_eq!(defaults.resolve(&set("retention.ms", "5")).expect("valid").retention_ms, 5);
        let error = defaults.resolve(&set("segment.bytes", "1")).expect_err("too small");
        assert_eq!(error.to_string(), "Invalid value 1 for configuration segment.bytes: Value must be at least 14");
        let error = defaults.resolve(&set("nonsense", "1")).expect_err("unknown");
        assert_eq!(error.to_string(), "Unknown topic config name: nonsense");
        let (config, errors) = defaults.resolve_lenient(&set("nonsense", "1"));
        assert_eq!((config, errors.len()), (TopicConfig::default(), 1));
    }

    #[test]
    fn the_old_timestamp_key_counts_while_the_new_ones_are_unset() {
        let config = defaults("log.message.timestamp.difference.max.ms=7").resolve(&Overrides::new()).expect("valid");
        assert_eq!((config.message_timestamp_before_max_ms, config.message_timestamp_after_max_ms), (7, 7));
    }
}
