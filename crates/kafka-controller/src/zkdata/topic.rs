//! `/brokers/topics/<t>`: which brokers hold which partition.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ZkDataError, json, parse};

/// Replicas of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaAssignment {
    /// All of them, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those a reassignment is adding (KIP-455).
    pub adding: Vec<i32>,
    /// Those it will remove.
    pub removing: Vec<i32>,
}

impl From<Vec<i32>> for ReplicaAssignment {
    fn from(replicas: Vec<i32>) -> Self {
        ReplicaAssignment { replicas, ..ReplicaAssignment::default() }
    }
}

/// Assignment of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicAssignment {
    /// Id of the topic, for an inter-broker protocol of 2.8 and later (KIP-516).
    pub topic_id: Option<Uuid>,
    /// Partition → replicas.
    pub partitions: BTreeMap<i32, ReplicaAssignment>,
}

type PartMap = BTreeMap<i32, Vec<i32>>;

#[derive(Serialize)]
struct WrittenV2 {
    version: i32,
    partitions: PartMap,
    adding_replicas: PartMap,
    removing_replicas: PartMap,
}

#[derive(Serialize)]
struct WrittenV3 {
    partitions: PartMap,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    adding_replicas: PartMap,
    removing_replicas: PartMap,
    version: i32,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    partitions: PartMap,
    #[serde(default)]
    topic_id: Option<String>,
    #[serde(default)]
    adding_replicas: PartMap,
    #[serde(default)]
    removing_replicas: PartMap,
}

impl TopicAssignment {
    /// An assignment without reassignments; partition `p` has `replicas[p]`.
    pub fn new(topic_id: Option<Uuid>, replicas: impl IntoIterator<Item = Vec<i32>>) -> TopicAssignment {
        TopicAssignment {
            topic_id,
            partitions: (0..).zip(replicas.into_iter().map(ReplicaAssignment::from)).collect(),
        }
    }

    /// The JSON Kafka writes: version 2 up to 2.7, version 3 from 2.8 on (also there without an id while the
    /// inter-broker protocol is older).
    pub fn encode(&self, version: i32) -> Vec<u8> {
        let partitions = self.partitions.iter().map(|(p, a)| (*p, a.replicas.clone())).collect();
        let some = |pick: fn(&ReplicaAssignment) -> &Vec<i32>| -> PartMap {
            self.partitions
                .iter()
                .filter(|(_, a)| !pick(a).is_empty())
                .map(|(p, a)| (*p, pick(a).clone()))
                .collect()
        };
        let (adding_replicas, removing_replicas) = (some(|a| &a.adding), some(|a| &a.removing));
        if version < 3 {
            return json(&WrittenV2 { version: 2, partitions, adding_replicas, removing_replicas });
        }
        json(&WrittenV3 {
            partitions,
            topic_id: self.topic_id.map(uuid_encode),
            adding_replicas,
            removing_replicas,
            version: 3,
        })
    }

    /// Reads versions 1 to 3.
    ///
    /// # Errors
    /// No such JSON, or an id that is no id.
    pub fn decode(data: &[u8]) -> Result<TopicAssignment, ZkDataError> {
        const WHAT: &str = "topic";
        let mut read: Read = parse(WHAT, data)?;
        let topic_id = match read.topic_id {
            None => None,
            Some(text) => Some(
                uuid_decode(&text).ok_or_else(|| ZkDataError::new(WHAT, format!("bad topic id {text:?}")))?,
            ),
        };
        let partitions = read
            .partitions
            .into_iter()
            .map(|(p, replicas)| {
                let adding = read.adding_replicas.remove(&p).unwrap_or_default();
                let removing = read.removing_replicas.remove(&p).unwrap_or_default();
                (p, ReplicaAssignment { replicas, adding, removing })
            })
            .collect();
        Ok(TopicAssignment { topic_id, partitions })
    }
}

/// A UUID as Kafka writes it: 22 characters of URL-safe base64.
pub fn uuid_encode(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Reads a UUID as Kafka writes it.
pub fn uuid_decode(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Uuid::from_slice(&bytes).ok()
}
