//! `/brokers/topics/<t>/partitions/<p>/state`: leader and ISR.

use serde::{Deserialize, Serialize};

use super::{ZkDataError, json, parse};

/// Leader and in-sync replicas of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Epoch of the controller that wrote it, or that the writing leader knew.
    pub controller_epoch: i32,
    /// −1: none.
    pub leader: i32,
    /// Version of the JSON, always 1.
    #[serde(default = "one")]
    pub version: i32,
    /// True while a leader that was elected uncleanly recovers (KIP-704).
    #[serde(rename = "leader_recovery_state", default, with = "as_number", skip_serializing_if = "is_false")]
    pub recovering: bool,
    /// Increases with every change of the leader, and of the ISR by a controller.
    pub leader_epoch: i32,
    /// In-sync replicas; never empty.
    pub isr: Vec<i32>,
}

fn one() -> i32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
fn is_false(value: &bool) -> bool {
    !value
}

mod as_number {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
    pub fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(i32::from(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        Ok(i32::deserialize(deserializer)? != 0)
    }
}

impl PartitionState {
    /// Value of [`PartitionState::leader`] for "no leader".
    pub const NO_LEADER: i32 = -1;
    /// Leader that UpdateMetadata carries for a topic that is being deleted.
    pub const LEADER_DURING_DELETE: i32 = -2;
    /// Leader epoch that StopReplica carries for a topic that is being deleted.
    pub const EPOCH_DURING_DELETE: i32 = -2;

    /// A state with nothing to recover.
    pub fn new(controller_epoch: i32, leader: i32, leader_epoch: i32, isr: Vec<i32>) -> PartitionState {
        PartitionState { controller_epoch, leader, version: 1, recovering: false, leader_epoch, isr }
    }

    /// The JSON Kafka writes.
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// No such JSON.
    pub fn decode(data: &[u8]) -> Result<PartitionState, ZkDataError> {
        parse("partition state", data)
    }
}
