//! Topic configurations in ZooKeeper: read, replaced, announced; and shown with where each value comes from.
//!
//! Any broker may write `/config/topics/<t>`; the notification under `/config/changes` makes all of them read it again.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_controller::zkdata::{ConfigChange, config_decode, config_encode, path};
use kafka_log::LogConfig;
use kafka_log::config::ConfigDef;
use zk_client::{CreateMode, ErrorCode, ZkClient, ZkError, open_acl};

use crate::config::keys::{Status, topic_standing};
use crate::config::{Config, keys};

/// A topic's own values.
pub type Overrides = BTreeMap<String, String>;

/// What the topic itself sets; nothing if it has no node.
///
/// # Errors
/// ZooKeeper's, or [`ZkError::Protocol`] for a node whose data cannot be read.
pub async fn read(zk: &ZkClient, topic: &str) -> Result<Overrides, ZkError> {
    let data = match zk.get_data(&path::config("topics", topic), false).await {
        Ok((data, _)) => data,
        Err(error) if error.is(ErrorCode::NoNode) => None,
        Err(error) => return Err(error),
    };
    config_decode(data.as_deref()).map_err(|error| ZkError::Protocol(error.to_string()))
}

/// Replaces what the topic itself sets.
pub async fn write(zk: &ZkClient, topic: &str, overrides: &Overrides) -> Result<(), ZkError> {
    let node = path::config("topics", topic);
    let data = Some(Bytes::from(config_encode(overrides)));
    match zk.create(&node, data.clone(), open_acl(), CreateMode::Persistent).await {
        Ok(_) => Ok(()),
        Err(error) if error.is(ErrorCode::NodeExists) => zk.set_data(&node, data, -1).await.map(|_| ()),
        Err(error) => Err(error),
    }
}

/// Tells all brokers that a topic's configuration changed.
pub async fn announce(zk: &ZkClient, topic: &str) -> Result<(), ZkError> {
    let change = ConfigChange { entity_path: format!("topics/{topic}") };
    let data = Some(Bytes::from(change.encode()));
    zk.create(path::CONFIG_CHANGE_PREFIX, data, open_acl(), CreateMode::PersistentSequential)
        .await
        .map(|_| ())
}

/// Where a value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    StaticBroker = 4,
    Default = 5,
}

/// One value as shown to administrators.
#[derive(Debug, Clone)]
pub struct Shown {
    pub def: &'static ConfigDef,
    pub value: String,
    pub source: Source,
    /// (name, value, source), the one in effect first.
    pub synonyms: Vec<(String, String, Source)>,
}

/// All values of a topic whose effective configuration is `effective`, by name.
pub fn describe(config: &Config, effective: &LogConfig) -> Vec<Shown> {
    let show = |(name, value): (&'static str, &str)| {
        let def = kafka_log::config::config_def(name)?;
        let mut synonyms = Vec::new();
        if effective.is_overridden(name) {
            synonyms.push((name.to_owned(), value.to_owned(), Source::Topic));
        }
        for broker_key in def.broker_keys() {
            if let Some(set) = config.set.get(broker_key) {
                synonyms.push((broker_key.to_owned(), set.clone(), Source::StaticBroker));
            }
            if let Some(default) = keys::find(broker_key).and_then(|key| key.default) {
                synonyms.push((broker_key.to_owned(), default.to_owned(), Source::Default));
            }
        }
        let source = synonyms.first().map_or(Source::Default, |(_, _, source)| *source);
        Some(Shown { def, value: value.to_owned(), source, synonyms })
    };
    effective.iter().filter_map(show).collect()
}

/// The names of those that ask for something that does not happen.
pub fn without_effect(overrides: &Overrides) -> Vec<&str> {
    let idle = |name: &str, value: &str| {
        kafka_log::config::config_def(name)
            .is_some_and(|def| topic_standing(def) != Status::Honoured && value != def.default)
    };
    overrides.iter().filter(|(name, value)| idle(name, value)).map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_source_and_what_stands_behind_it() {
        let properties = properties::Properties::parse(
            "zookeeper.connect=z\nlog.retention.hours=2\nmessage.max.bytes=5000",
        )
        .expect("parses");
        let (config, _) = Config::from_properties(&properties, &[]).expect("valid");
        let effective = config.topic_defaults.with_overrides([("max.message.bytes", "100")]).expect("valid");
        let shown = describe(&config, &effective);
        let find = |name: &str| shown.iter().find(|s| s.def.name == name).expect("known");
        let max = find("max.message.bytes");
        assert_eq!((max.value.as_str(), max.source), ("100", Source::Topic));
        assert_eq!(
            max.synonyms[1],
            ("message.max.bytes".to_owned(), "5000".to_owned(), Source::StaticBroker)
        );
        assert_eq!(max.synonyms[2], ("message.max.bytes".to_owned(), "1048588".to_owned(), Source::Default));
        let retention = find("retention.ms");
        assert_eq!((retention.value.as_str(), retention.source), ("7200000", Source::StaticBroker));
        assert_eq!(find("segment.bytes").source, Source::Default);
    }

    #[test]
    fn what_a_topic_asks_for_in_vain_is_named() {
        let set = [("compression.zstd.level", "19"), ("compression.gzip.level", "-1"), ("retention.ms", "5")];
        let overrides = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(without_effect(&overrides), ["compression.zstd.level"]);
    }
}
