//! The table of topic configurations: names, types, defaults, valid values, and the broker keys they inherit from.
//!
//! Source: `LogConfig.CONFIG` and `ServerTopicConfigSynonyms` of 3.9, `LogConfig.scala` of 2.7.1. Everything that
//! parses, validates, describes or documents a topic configuration derives from this table.

/// A configuration value's type (`ConfigDef.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    Int,
    Long,
    Double,
    String,
    /// Comma-separated.
    List,
}

impl ConfigType {
    /// As Java prints it in error messages.
    pub fn java_name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::Int => "INT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::String => "STRING",
            ConfigType::List => "LIST",
        }
    }

    /// Code in DescribeConfigs responses (`ConfigResponse.ConfigType`).
    pub fn wire_code(self) -> i8 {
        match self {
            ConfigType::Boolean => 1,
            ConfigType::String => 2,
            ConfigType::Int => 3,
            ConfigType::Long => 5,
            ConfigType::Double => 6,
            ConfigType::List => 7,
        }
    }
}

/// What a value must satisfy beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Valid {
    Any,
    AtLeast(i64),
    /// Inclusive.
    Between(i64, i64),
    OneOf(&'static [&'static str]),
    /// Every element of the list is one of these.
    Each(&'static [&'static str]),
    /// gzip's levels: 1 to 9, or −1.
    GzipLevel,
    /// `[partition]:[broker],…` or `*`.
    ThrottledReplicas,
    /// A release name such as `2.7-IV2`.
    MetadataVersion,
}

/// Unit of a broker key, next to milliseconds (or none) of the topic key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Same,
    Minutes,
    Hours,
}

/// One topic configuration.
#[derive(Debug)]
pub struct ConfigDef {
    pub name: &'static str,
    pub kind: ConfigType,
    pub default: &'static str,
    pub(super) valid: Valid,
    /// Broker keys that set the default, the first present one winning.
    pub(super) broker_keys: &'static [(&'static str, Unit)],
}

impl ConfigDef {
    /// The broker keys behind this configuration, in order of precedence (synonyms of DescribeConfigs).
    pub fn broker_keys(&self) -> impl Iterator<Item = &'static str> {
        self.broker_keys.iter().map(|(key, _)| *key)
    }
}

const LONG_MAX: &str = "9223372036854775807";
const POLICIES: &[&str] = &["compact", "delete"];
const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
/// Smallest message of magic 0 (`LegacyRecord.RECORD_OVERHEAD_V0`).
const RECORD_OVERHEAD_V0: i64 = 14;

macro_rules! defs {
    ($($name:literal, $kind:ident, $default:expr, $valid:expr, [$($key:literal $unit:ident),*];)*) => {
        &[$(ConfigDef {
            name: $name,
            kind: ConfigType::$kind,
            default: $default,
            valid: $valid,
            broker_keys: &[$(($key, Unit::$unit)),*],
        }),*]
    };
}

/// All of them, sorted by name.
pub static TOPIC_CONFIGS: &[ConfigDef] = defs! {
    "cleanup.policy", List, "delete", Valid::Each(POLICIES), ["log.cleanup.policy" Same];
    "compression.gzip.level", Int, "-1", Valid::GzipLevel, ["compression.gzip.level" Same];
    "compression.lz4.level", Int, "9", Valid::Between(1, 17), ["compression.lz4.level" Same];
    "compression.type", String, "producer", Valid::OneOf(COMPRESSION_TYPES), ["compression.type" Same];
    "compression.zstd.level", Int, "3", Valid::Between(-131_072, 22), ["compression.zstd.level" Same];
    "delete.retention.ms", Long, "86400000", Valid::AtLeast(0), ["log.cleaner.delete.retention.ms" Same];
    "file.delete.delay.ms", Long, "60000", Valid::AtLeast(0), ["log.segment.delete.delay.ms" Same];
    "flush.messages", Long, LONG_MAX, Valid::AtLeast(1), ["log.flush.interval.messages" Same];
    "flush.ms", Long, LONG_MAX, Valid::AtLeast(0), ["log.flush.interval.ms" Same, "log.flush.scheduler.interval.ms" Same];
    "follower.replication.throttled.replicas", List, "", Valid::ThrottledReplicas, [];
    "index.interval.bytes", Int, "4096", Valid::AtLeast(0), ["log.index.interval.bytes" Same];
    "leader.replication.throttled.replicas", List, "", Valid::ThrottledReplicas, [];
    "local.retention.bytes", Long, "-2", Valid::AtLeast(-2), ["log.local.retention.bytes" Same];
    "local.retention.ms", Long, "-2", Valid::AtLeast(-2), ["log.local.retention.ms" Same];
    "max.compaction.lag.ms", Long, LONG_MAX, Valid::AtLeast(1), ["log.cleaner.max.compaction.lag.ms" Same];
    "max.message.bytes", Int, "1048588", Valid::AtLeast(0), ["message.max.bytes" Same];
    "message.downconversion.enable", Boolean, "true", Valid::Any, ["log.message.downconversion.enable" Same];
    "message.format.version", String, "3.0-IV1", Valid::MetadataVersion, ["log.message.format.version" Same];
    "message.timestamp.after.max.ms", Long, LONG_MAX, Valid::AtLeast(0), ["log.message.timestamp.after.max.ms" Same];
    "message.timestamp.before.max.ms", Long, LONG_MAX, Valid::AtLeast(0), ["log.message.timestamp.before.max.ms" Same];
    "message.timestamp.difference.max.ms", Long, LONG_MAX, Valid::AtLeast(0), ["log.message.timestamp.difference.max.ms" Same];
    "message.timestamp.type", String, "CreateTime", Valid::OneOf(TIMESTAMP_TYPES), ["log.message.timestamp.type" Same];
    "min.cleanable.dirty.ratio", Double, "0.5", Valid::Between(0, 1), ["log.cleaner.min.cleanable.ratio" Same];
    "min.compaction.lag.ms", Long, "0", Valid::AtLeast(0), ["log.cleaner.min.compaction.lag.ms" Same];
    "min.insync.replicas", Int, "1", Valid::AtLeast(1), ["min.insync.replicas" Same];
    "preallocate", Boolean, "false", Valid::Any, ["log.preallocate" Same];
    "remote.log.copy.disable", Boolean, "false", Valid::Any, [];
    "remote.log.delete.on.disable", Boolean, "false", Valid::Any, [];
    "remote.storage.enable", Boolean, "false", Valid::Any, [];
    "retention.bytes", Long, "-1", Valid::Any, ["log.retention.bytes" Same];
    "retention.ms", Long, "604800000", Valid::AtLeast(-1), ["log.retention.ms" Same, "log.retention.minutes" Minutes, "log.retention.hours" Hours];
    "segment.bytes", Int, "1073741824", Valid::AtLeast(RECORD_OVERHEAD_V0), ["log.segment.bytes" Same];
    "segment.index.bytes", Int, "10485760", Valid::AtLeast(4), ["log.index.size.max.bytes" Same];
    "segment.jitter.ms", Long, "0", Valid::AtLeast(0), ["log.roll.jitter.ms" Same, "log.roll.jitter.hours" Hours];
    "segment.ms", Long, "604800000", Valid::AtLeast(1), ["log.roll.ms" Same, "log.roll.hours" Hours];
    "unclean.leader.election.enable", Boolean, "false", Valid::Any, ["unclean.leader.election.enable" Same];
};

/// The definition called `name`.
pub fn find(name: &str) -> Option<&'static ConfigDef> {
    TOPIC_CONFIGS.binary_search_by(|def| def.name.cmp(name)).ok().map(|i| &TOPIC_CONFIGS[i])
}
