//! Java client properties, said in librdkafka's words.
//!
//! Most names are the same in both. What only a JVM has (serialisers, metric reporters, buffer sizes of its own
//! kind) has no effect here, and is named on stderr once rather than ignored in silence.

use std::path::Path;

use rdkafka::ClientConfig;

use crate::ToolError;

/// Properties of Java clients that mean nothing to librdkafka.
const JAVA_ONLY: [&str; 17] = [
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "max.block.ms",
    "partitioner.class",
    "interceptor.classes",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "max.poll.records",
    "default.api.timeout.ms",
    "exclude.internal.topics",
    "client.dns.lookup",
    "security.providers",
    "auto.include.jmx.reporter",
];

/// Properties that go by another name in librdkafka.
const RENAMED: [(&str, &str); 5] = [
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("connections.max.idle.ms", "connections.max.idle.ms"),
    ("metadata.max.age.ms", "metadata.max.age.ms"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
];

/// Collects the settings of one client, later ones overriding earlier ones.
#[derive(Debug, Default)]
pub struct ClientSettings {
    entries: Vec<(String, String)>,
}

impl ClientSettings {
    /// Starts with what a `--producer.config` or `--consumer.config` file says.
    pub fn from_file(path: Option<&str>) -> Result<Self, ToolError> {
        let mut settings = Self::default();
        if let Some(path) = path {
            let file = properties::Properties::load(Path::new(path)).map_err(ToolError::failed)?;
            for (key, value) in file.iter() {
                settings.set(key, value);
            }
        }
        Ok(settings)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.entries.retain(|(k, _)| k != key);
        self.entries.push((key.to_owned(), value.to_owned()));
    }

    pub fn set_default(&mut self, key: &str, value: &str) {
        if self.get(key).is_none() {
            self.set(key, value);
        }
    }

    /// The same settings for librdkafka.
    pub fn into_rdkafka(self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in self.entries {
            if JAVA_ONLY.contains(&key.as_str()) {
                eprintln!("{key} has no effect here: it is a setting of the Java clients only");
                continue;
            }
            match RENAMED.iter().find(|(java, _)| *java == key) {
                Some((_, name)) => config.set(*name, value),
                // Java counts bytes, librdkafka kilobytes.
                None if key == "buffer.memory" => config.set("queue.buffering.max.kbytes", kilobytes(&value)),
                None => config.set(key, value),
            };
        }
        config
    }
}

fn kilobytes(bytes: &str) -> String {
    bytes.parse::<u64>().map_or_else(|_| bytes.to_owned(), |n| n.div_ceil(1024).max(1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_names_become_those_of_librdkafka() {
        let mut settings = ClientSettings::default();
        settings.set("acks", "all");
        settings.set("buffer.memory", "33554432");
        settings.set("key.serializer", "x");
        let config = settings.into_rdkafka();
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("queue.buffering.max.kbytes"), Some("32768"));
        assert_eq!(config.get("key.serializer"), None);
    }
}
