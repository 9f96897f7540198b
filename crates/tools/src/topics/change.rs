//! What is to be created or altered, read from the options in the originals' words.

use std::collections::BTreeMap;

use kafka_log::LogConfig;

use super::TopicError;
use crate::options::Options;
use crate::out::say;

/// The shape a topic shall have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub topic: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i32>,
    /// Replicas by partition, from partition 0 on; empty if the brokers are to choose.
    pub assignment: Vec<Vec<i32>>,
    pub configs: BTreeMap<String, String>,
    pub configs_deleted: Vec<String>,
}

impl Change {
    pub fn from_options(options: &Options) -> Result<Self, TopicError> {
        let number = |name: &str| options.number(name).map_err(TopicError::new);
        let assignment = options.value("replica-assignment").filter(|text| !text.is_empty());
        let change = Self {
            topic: options.value("topic").unwrap_or_default().to_owned(),
            partitions: number("partitions")?,
            replication_factor: number("replication-factor")?,
            assignment: assignment.map(parse_assignment).transpose()?.unwrap_or_default(),
            configs: parse_configs(options.values("config"))?,
            configs_deleted: options.values("delete-config").map(|name| name.trim().to_owned()).collect(),
        };
        for name in &change.configs_deleted {
            known_config(name)?;
        }
        if let Some(version) = change.configs.get("message.format.version") {
            say!(
                "WARNING: The configuration message.format.version={version} is specified. This configuration will \
                 be ignored if the version is newer than the inter.broker.protocol.version specified in the broker.\n"
            );
        }
        Ok(change)
    }

    /// The warning about names whose metrics could collide.
    pub fn warn_about_name(&self) {
        if self.topic.contains(['.', '_']) {
            say!(
                "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
                 collide. To avoid issues it is best to use either, but not both.\n"
            );
        }
    }
}

fn known_config(name: &str) -> Result<(), TopicError> {
    kafka_log::config::config_def(name)
        .map(drop)
        .ok_or_else(|| TopicError::new(format!("Unknown topic config name: {name}")))
}

/// `name=value`, each with exactly one `=`, and valid by themselves and together.
fn parse_configs<'a>(pairs: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, String>, TopicError> {
    let mut configs = BTreeMap::new();
    for pair in pairs {
        match pair.split_once('=') {
            // An empty value and a second '=' are refused by the originals' way of splitting.
            Some((name, value)) if !value.trim().is_empty() && !value.contains('=') => {
                configs.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            _ => {
                return Err(TopicError::new(
                    "requirement failed: Invalid topic config: all configs to be added must be in the format \
                     \"key=val\".",
                ));
            }
        }
    }
    let pairs = configs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    LogConfig::default().with_overrides(pairs).map_err(|error| TopicError::new(error.to_string()))?;
    Ok(configs)
}

/// `0:1,1:2`: partition 0 on brokers 0 and 1, partition 1 on 1 and 2.
fn parse_assignment(text: &str) -> Result<Vec<Vec<i32>>, TopicError> {
    let mut all: Vec<Vec<i32>> = Vec::new();
    for (partition, list) in text.split(',').enumerate() {
        let number = |id: &str| {
            let id = id.trim();
            id.parse().map_err(|_| TopicError::new(format!("For input string: \"{id}\"")))
        };
        let brokers = list.split(':').map(number).collect::<Result<Vec<i32>, _>>()?;
        let mut twice: Vec<String> = Vec::new();
        for (index, id) in brokers.iter().enumerate() {
            if brokers[..index].contains(id) && !twice.contains(&id.to_string()) {
                twice.push(id.to_string());
            }
        }
        if !twice.is_empty() {
            return Err(TopicError::new(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                twice.join(",")
            )));
        }
        if all.first().is_some_and(|first| first.len() != brokers.len()) {
            return Err(TopicError::new(format!(
                "Partition {partition} has different replication factor: {brokers:?}"
            )));
        }
        all.push(brokers);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(line: &str) -> Result<Change, TopicError> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Change::from_options(&Options::parse(&super::super::SPECS, &args).expect("parses"))
    }

    fn refusal(line: &str) -> String {
        change(line).unwrap_err().message
    }

    #[test]
    fn configs_are_checked_before_anything_is_asked_of_a_broker() {
        let change =
            change("--topic t --config retention.ms=5 --config cleanup.policy=compact,delete").expect("fits");
        assert_eq!(change.configs["retention.ms"], "5");
        let format = "requirement failed: Invalid topic config: all configs to be added must be in the format \
                      \"key=val\".";
        assert_eq!(refusal("--topic t --config retention.ms"), format);
        assert_eq!(refusal("--topic t --config retention.ms="), format);
        assert_eq!(refusal("--topic t --config a=b=c"), format);
        assert_eq!(refusal("--topic t --config retentoin.ms=5"), "Unknown topic config name: retentoin.ms");
        assert_eq!(refusal("--topic t --delete-config nope"), "Unknown topic config name: nope");
        assert!(
            refusal("--topic t --config segment.bytes=1")
                .starts_with("Invalid value 1 for configuration segment.bytes")
        );
    }

    #[test]
    fn assignments_name_brokers_by_partition() {
        let assigned = |text: &str| parse_assignment(text).map_err(|error| error.message);
        assert_eq!(assigned("0:1, 1:0"), Ok(vec![vec![0, 1], vec![1, 0]]));
        let duplicate = "Partition replica lists may not contain duplicate entries: 1";
        assert_eq!(assigned("0:1,1:1:1"), Err(duplicate.to_owned()));
        assert_eq!(assigned("0:1,1"), Err("Partition 1 has different replication factor: [1]".to_owned()));
        assert_eq!(assigned("0,a"), Err("For input string: \"a\"".to_owned()));
    }
}
