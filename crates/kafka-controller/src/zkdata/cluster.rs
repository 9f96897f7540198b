//! Znodes there is one of: controller, its epoch, cluster id, features, the block of producer ids.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ZkDataError, json, parse};

/// `/controller`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Broker that is the controller.
    pub broker_id: i32,
    /// When it was elected, milliseconds.
    pub timestamp_ms: i64,
}

#[derive(Serialize)]
struct WrittenController {
    version: i32,
    brokerid: i32,
    timestamp: String,
    #[serde(rename = "kraftControllerEpoch", skip_serializing_if = "Option::is_none")]
    kraft_controller_epoch: Option<i32>,
}

#[derive(Deserialize)]
struct ReadController {
    brokerid: i32,
    #[serde(default)]
    timestamp: serde_json::Value,
}

impl ControllerRegistration {
    /// Version 1 up to Kafka 3.3, version 2 from 3.4 on, whatever the inter-broker protocol.
    pub fn encode(&self, version: i32) -> Vec<u8> {
        json(&WrittenController {
            version,
            brokerid: self.broker_id,
            timestamp: self.timestamp_ms.to_string(),
            kraft_controller_epoch: (version >= 2).then_some(-1),
        })
    }

    /// Reads any version.
    ///
    /// # Errors
    /// No JSON with a broker id.
    pub fn decode(data: &[u8]) -> Result<ControllerRegistration, ZkDataError> {
        let read: ReadController = parse("controller", data)?;
        let timestamp_ms = read.timestamp.as_str().and_then(|t| t.parse().ok()).unwrap_or(-1);
        Ok(ControllerRegistration { broker_id: read.brokerid, timestamp_ms })
    }
}

/// `/controller_epoch`: decimal digits, no JSON.
pub fn controller_epoch_encode(epoch: i32) -> Vec<u8> {
    epoch.to_string().into_bytes()
}

/// Reads `/controller_epoch`.
///
/// # Errors
/// Anything but a decimal number.
pub fn controller_epoch_decode(data: &[u8]) -> Result<i32, ZkDataError> {
    let text = std::str::from_utf8(data).ok().and_then(|t| t.trim().parse().ok());
    text.ok_or_else(|| ZkDataError::new("controller epoch", String::from_utf8_lossy(data)))
}

#[derive(Serialize, Deserialize)]
struct ClusterId {
    #[serde(default)]
    version: serde_json::Value,
    id: String,
}

/// `/cluster/id`; the version is a string.
pub fn cluster_id_encode(id: &str) -> Vec<u8> {
    json(&ClusterId { version: "1".into(), id: id.to_string() })
}

/// Reads `/cluster/id`.
///
/// # Errors
/// No JSON with an id.
pub fn cluster_id_decode(data: &[u8]) -> Result<String, ZkDataError> {
    parse::<ClusterId>("cluster id", data).map(|c| c.id)
}

/// `/feature` (KIP-584).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureNode {
    /// 1, or 2 from inter-broker protocol 3.3 on.
    pub version: i32,
    /// Whether the finalized features count: inter-broker protocol 2.7 and later.
    pub enabled: bool,
    /// Finalized level of each feature.
    pub features: BTreeMap<String, i16>,
}

#[derive(Serialize, Deserialize)]
struct FeatureJson {
    features: BTreeMap<String, BTreeMap<String, i16>>,
    version: i32,
    status: i32,
}

impl FeatureNode {
    /// The JSON Kafka writes.
    pub fn encode(&self) -> Vec<u8> {
        let levels = |level: i16| {
            let mut map = BTreeMap::from([("max_version_level".to_string(), level)]);
            if self.version == 1 {
                map.insert("min_version_level".to_string(), level);
            }
            map
        };
        json(&FeatureJson {
            features: self.features.iter().map(|(name, level)| (name.clone(), levels(*level))).collect(),
            version: self.version,
            status: i32::from(self.enabled),
        })
    }

    /// Reads both versions.
    ///
    /// # Errors
    /// No such JSON, another version, or a feature without a maximal level.
    pub fn decode(data: &[u8]) -> Result<FeatureNode, ZkDataError> {
        const WHAT: &str = "feature";
        let read: FeatureJson = parse(WHAT, data)?;
        if !(1..=2).contains(&read.version) || !(0..=1).contains(&read.status) {
            return Err(ZkDataError::new(
                WHAT,
                format!("unsupported version {} or status {}", read.version, read.status),
            ));
        }
        let mut features = BTreeMap::new();
        for (name, levels) in read.features {
            let level = levels
                .get("max_version_level")
                .ok_or_else(|| ZkDataError::new(WHAT, format!("{name} has no max_version_level")))?;
            features.insert(name, *level);
        }
        Ok(FeatureNode { version: read.version, enabled: read.status == 1, features })
    }
}

/// `/latest_producer_id_block`: the last block of producer ids that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// Broker that took it.
    pub broker: i32,
    /// First id.
    pub start: i64,
    /// Last id, inclusive.
    pub end: i64,
}

#[derive(Serialize, Deserialize)]
struct BlockJson {
    version: i64,
    broker: i32,
    block_start: String,
    block_end: String,
}

impl ProducerIdBlock {
    /// Ids in a block.
    pub const SIZE: i64 = 1000;

    /// The block after `latest` (`None`: the first ever) for `broker`; `None` when the ids are used up.
    pub fn next(latest: Option<&ProducerIdBlock>, broker: i32) -> Option<ProducerIdBlock> {
        let start = latest.map_or(Some(0), |block| block.end.checked_add(1))?;
        Some(ProducerIdBlock { broker, start, end: start.checked_add(ProducerIdBlock::SIZE - 1)? })
    }

    /// The JSON Kafka writes; numbers are strings.
    pub fn encode(&self) -> Vec<u8> {
        json(&BlockJson {
            version: 1,
            broker: self.broker,
            block_start: self.start.to_string(),
            block_end: self.end.to_string(),
        })
    }

    /// Reads a block.
    ///
    /// # Errors
    /// No such JSON or no numbers in it.
    pub fn decode(data: &[u8]) -> Result<ProducerIdBlock, ZkDataError> {
        const WHAT: &str = "producer id block";
        let read: BlockJson = parse(WHAT, data)?;
        let number = |text: &str| {
            text.parse().map_err(|_| ZkDataError::new(WHAT, format!("{text:?} is no producer id")))
        };
        Ok(ProducerIdBlock {
            broker: read.broker,
            start: number(&read.block_start)?,
            end: number(&read.block_end)?,
        })
    }
}
