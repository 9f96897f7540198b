//! A topic's configuration: broker defaults with the topic's own values on top.
//!
//! [`LogConfig`] keeps both the text (for describing) and the typed values (for use). Text is checked with Kafka's
//! words, since CreateTopics and AlterConfigs hand the messages to users.

mod defs;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

pub use defs::{ConfigDef, ConfigType, TOPIC_CONFIGS, find as config_def};
use parse::Values;

/// A configuration that is refused (INVALID_CONFIG), in Kafka's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("Unknown topic config name: {0}")]
    UnknownName(String),
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    InvalidValue { name: String, value: String, reason: String },
    #[error("{0}")]
    Conflict(String),
}

/// Who stamps records.
pub use kafka_proto::records::TimestampType;

/// Everything a log obeys, of one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    values: BTreeMap<&'static str, String>,
    overridden: BTreeSet<&'static str>,
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u32,
    pub flush_messages: i64,
    pub flush_ms: i64,
    /// Negative: no limit.
    pub retention_bytes: i64,
    /// Negative: no limit.
    pub retention_ms: i64,
    pub max_message_bytes: u32,
    pub index_interval_bytes: u32,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub file_delete_delay_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub compact: bool,
    pub delete: bool,
    pub unclean_leader_election_enable: bool,
    pub min_insync_replicas: i32,
    /// `producer`, `uncompressed`, or a codec's name.
    pub compression_type: String,
    pub gzip_level: i32,
    pub lz4_level: i32,
    pub zstd_level: i32,
    pub preallocate: bool,
    pub timestamp_type: TimestampType,
    /// How far a record's timestamp may lie behind the broker's clock.
    pub timestamp_before_max_ms: i64,
    /// How far a record's timestamp may lie ahead of the broker's clock.
    pub timestamp_after_max_ms: i64,
    pub downconversion_enable: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults, with no broker key set.
    fn default() -> Self {
        let values = TOPIC_CONFIGS.iter().map(|def| (def.name, def.default.to_owned())).collect();
        Self::build(values, BTreeSet::new()).expect("the table's defaults are valid")
    }
}

impl LogConfig {
    /// The defaults that a broker's own keys (`log.retention.hours`, `message.max.bytes`, …) give every topic.
    pub fn from_broker<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ConfigError> {
        let values = TOPIC_CONFIGS
            .iter()
            .map(|def| Ok((def.name, parse::broker_default(def, &get)?)))
            .collect::<Result<_, ConfigError>>()?;
        Self::build(values, BTreeSet::new())
    }

    /// A topic's configuration: these broker defaults and the topic's own values (from `/config/topics/<topic>`).
    pub fn with_overrides<'a>(
        &self,
        overrides: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let mut values = self.values.clone();
        let mut overridden = BTreeSet::new();
        for (name, value) in overrides {
            let def = config_def(name).ok_or_else(|| ConfigError::UnknownName(name.to_owned()))?;
            values.insert(def.name, value.trim().to_owned());
            overridden.insert(def.name);
        }
        Self::build(values, overridden)
    }

    /// Checks one value by itself.
    pub fn check_value(name: &str, value: &str) -> Result<(), ConfigError> {
        let def = config_def(name).ok_or_else(|| ConfigError::UnknownName(name.to_owned()))?;
        parse::check(def, value)
    }

    /// The text of a value, as DescribeConfigs shows it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Whether the topic itself sets this value.
    pub fn is_overridden(&self, name: &str) -> bool {
        self.overridden.contains(name)
    }

    /// After how long a segment is rolled, compaction's own deadline included.
    pub fn segment_ms_max(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    /// A segment's share of `segment.jitter.ms`; `random` is any number.
    pub fn segment_jitter(&self, random: u64) -> i64 {
        match self.segment_jitter_ms.min(self.segment_ms) {
            0 => 0,
            bound => (random % bound.unsigned_abs()) as i64,
        }
    }

    fn build(
        values: BTreeMap<&'static str, String>,
        overridden: BTreeSet<&'static str>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in &values {
            let def = config_def(name).expect("names come from the table");
            parse::check(def, value)?;
        }
        let v = Values(&values);
        let difference_max = v.long("message.timestamp.difference.max.ms");
        let limit = |name| match v.long(name) {
            // The older, symmetric key counts as long as the newer one is at its default (KIP-937).
            i64::MAX => difference_max,
            ms => ms,
        };
        let policies = v.list("cleanup.policy");
        let config = Self {
            segment_bytes: v.size("segment.bytes"),
            segment_ms: v.long("segment.ms"),
            segment_jitter_ms: v.long("segment.jitter.ms"),
            segment_index_bytes: v.size("segment.index.bytes"),
            flush_messages: v.long("flush.messages"),
            flush_ms: v.long("flush.ms"),
            retention_bytes: v.long("retention.bytes"),
            retention_ms: v.long("retention.ms"),
            max_message_bytes: v.size("max.message.bytes"),
            index_interval_bytes: v.size("index.interval.bytes"),
            delete_retention_ms: v.long("delete.retention.ms"),
            min_compaction_lag_ms: v.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: v.long("max.compaction.lag.ms"),
            file_delete_delay_ms: v.long("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: v.double("min.cleanable.dirty.ratio"),
            compact: policies.iter().any(|p| p == "compact"),
            delete: policies.iter().any(|p| p == "delete"),
            unclean_leader_election_enable: v.boolean("unclean.leader.election.enable"),
            min_insync_replicas: v.int("min.insync.replicas"),
            compression_type: v.text("compression.type"),
            gzip_level: v.int("compression.gzip.level"),
            lz4_level: v.int("compression.lz4.level"),
            zstd_level: v.int("compression.zstd.level"),
            preallocate: v.boolean("preallocate"),
            timestamp_type: match v.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: limit("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: limit("message.timestamp.after.max.ms"),
            downconversion_enable: v.boolean("message.downconversion.enable"),
            values: BTreeMap::new(),
            overridden,
        };
        config.check_combinations(v.boolean("remote.storage.enable"))?;
        Ok(Self { values, ..config })
    }

    fn check_combinations(&self, remote_storage: bool) -> Result<(), ConfigError> {
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return Err(ConfigError::Conflict(format!(
                "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
                self.min_compaction_lag_ms, self.max_compaction_lag_ms
            )));
        }
        if remote_storage {
            return Err(ConfigError::Conflict(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
