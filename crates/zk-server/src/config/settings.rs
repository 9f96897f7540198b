//! The user's settings before they mean anything: zoo.cfg merged with `-D` properties, and typed access.
//!
//! Order of precedence as in Apache: a key of the file replaces the system property `zookeeper.<key>`, and
//! the few properties read without prefix are taken from `-D` first.

use std::collections::BTreeMap;
use std::str::FromStr;

use properties::Properties;

use super::ConfigError;
use super::keys::UNPREFIXED;

/// `-D` properties of the command line, full names (`zookeeper.snapCount`, `jute.maxbuffer`).
pub type SystemProperties = BTreeMap<String, String>;

/// Keys by their zoo.cfg name.
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// Keys that Apache would only have read from `-D`, honoured from the file.
    pub(crate) lenient: Vec<String>,
    /// `-D` properties that are neither ours nor ZooKeeper's.
    pub(crate) foreign: Vec<String>,
}

impl Settings {
    pub(crate) fn merge(file: &Properties, system: &SystemProperties) -> Self {
        let mut values = BTreeMap::new();
        let mut foreign = Vec::new();
        for (name, value) in system {
            match name.strip_prefix("zookeeper.") {
                Some(key) => drop(values.insert(key.to_owned(), value.trim().to_owned())),
                None if UNPREFIXED.contains(&name.as_str()) => {}
                None => foreign.push(name.clone()),
            }
        }
        let mut lenient = Vec::new();
        for (key, value) in file.iter() {
            values.insert(key.to_owned(), value.to_owned());
            if UNPREFIXED.contains(&key) && !system.contains_key(key) {
                lenient.push(key.to_owned());
            }
        }
        for name in UNPREFIXED {
            if let Some(value) = system.get(*name) {
                values.insert((*name).to_owned(), value.trim().to_owned());
            }
        }
        Self { values, lenient, foreign }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A number, decimal or `0x…` as `Integer.decode` takes them.
    pub(crate) fn number<T>(&self, key: &str) -> Result<Option<T>, ConfigError>
    where
        T: FromStr + TryFrom<i64>,
    {
        let Some(text) = self.text(key) else { return Ok(None) };
        let bad = || ConfigError::value(key, text, "a whole number in range");
        if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            let n = i64::from_str_radix(hex, 16).map_err(|_| bad())?;
            return T::try_from(n).map(Some).map_err(|_| bad());
        }
        text.parse().map(Some).map_err(|_| bad())
    }

    pub(crate) fn number_or<T>(&self, key: &str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr + TryFrom<i64>,
    {
        Ok(self.number(key)?.unwrap_or(default))
    }

    /// `true`/`false`, and `yes`/`no` as `forceSync` and `skipACL` are written.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "yes") => Ok(true),
            Some("false" | "no") => Ok(false),
            Some(other) => Err(ConfigError::value(key, other, "true or false")),
        }
    }
}
