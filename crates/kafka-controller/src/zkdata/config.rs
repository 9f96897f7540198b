//! `/config/<kind>/<name>` and the notifications of changes to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ZkDataError, json, parse};

#[derive(Serialize)]
struct WrittenConfig<'a> {
    version: i32,
    config: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ReadConfig {
    #[serde(default)]
    config: BTreeMap<String, String>,
}

/// A configuration entity; all values are strings.
pub fn config_encode(config: &BTreeMap<String, String>) -> Vec<u8> {
    json(&WrittenConfig { version: 1, config })
}

/// Reads a configuration entity; null and empty data are an empty configuration.
///
/// # Errors
/// No JSON, or values that are not strings.
pub fn config_decode(data: Option<&[u8]>) -> Result<BTreeMap<String, String>, ZkDataError> {
    match data {
        None | Some([]) => Ok(BTreeMap::new()),
        Some(data) => parse::<ReadConfig>("config", data).map(|c| c.config),
    }
}

/// Data of `/config/changes/config_change_<seq>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// `topics/foo`, `brokers/1`, `users/alice/clients/x`, … sanitised.
    pub entity_path: String,
}

#[derive(Serialize)]
struct WrittenChange<'a> {
    version: i32,
    entity_path: &'a str,
}

#[derive(Deserialize)]
struct ReadChange {
    version: i32,
    #[serde(default)]
    entity_path: Option<String>,
    #[serde(default)]
    entity_type: Option<String>,
    #[serde(default)]
    entity_name: Option<String>,
}

impl ConfigChange {
    /// Version 2.
    pub fn encode(&self) -> Vec<u8> {
        json(&WrittenChange { version: 2, entity_path: &self.entity_path })
    }

    /// Reads versions 1 (type and name apart) and 2.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(data: &[u8]) -> Result<ConfigChange, ZkDataError> {
        const WHAT: &str = "config change";
        let read: ReadChange = parse(WHAT, data)?;
        let entity_path = match (read.version, read.entity_path, read.entity_type, read.entity_name) {
            (1, _, Some(kind), Some(name)) => format!("{kind}/{name}"),
            (2, Some(path), _, _) => path,
            (version, ..) => {
                return Err(ZkDataError::new(WHAT, format!("version {version} without its fields")));
            }
        };
        Ok(ConfigChange { entity_path })
    }

    /// Kind (`topics`, …) and the rest of the path.
    pub fn entity(&self) -> Option<(&str, &str)> {
        self.entity_path.split_once('/')
    }
}

/// Makes a principal, client id or topic fit for a path: URL encoding as Java's, `+` → `%20`, `*` → `%2A`
/// (`org.apache.kafka.common.utils.Sanitizer`).
pub fn sanitize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Undoes [`sanitize`]; `None` for text it cannot have made.
pub fn desanitize(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}
