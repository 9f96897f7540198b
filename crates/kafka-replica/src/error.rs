//! Why a partition refused an operation, and the wire code each refusal has (one table: [`ReplicaError::code`]).

use kafka_log::{LogError, ProducerError};
use kafka_proto::error::ErrorCode;
use kafka_proto::records::RecordsError;
use kafka_proto::records::validate::ValidateError;
use thiserror::Error;

/// A refused operation. The texts are what Kafka's clients and logs show, where Kafka has one.
#[derive(Debug, Error)]
pub enum ReplicaError {
    #[error("this broker does not lead {partition}")]
    NotLeader { partition: String },
    #[error(
        "leader epoch {requested} of the request is older than {current}, the current one of {partition}"
    )]
    FencedEpoch { partition: String, requested: i32, current: i32 },
    #[error(
        "leader epoch {requested} of the request is newer than {current}, the current one of {partition}"
    )]
    UnknownEpoch { partition: String, requested: i32, current: i32 },
    #[error(
        "The size of the current ISR {isr:?} is insufficient to satisfy the min.isr requirement of {min} for partition {partition}"
    )]
    NotEnoughReplicas { partition: String, isr: Vec<i32>, min: usize },
    #[error("{partition} may not lose records: cleanup.policy of its topic does not include delete")]
    NotDeletable { partition: String },
    /// The records themselves.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ReplicaError {
    /// The code clients are told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader { .. } => ErrorCode::NotLeaderOrFollower,
            Self::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            Self::NotDeletable { .. } => ErrorCode::PolicyViolation,
            Self::Invalid(error) => ErrorCode::from_code(error.error_code()),
            Self::Records(error) => ErrorCode::from_code(error.error_code()),
            Self::Log(error) => log_code(error),
        }
    }
}

fn log_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        LogError::BatchTooLargeForSegment { .. } => ErrorCode::RecordListTooLarge,
        LogError::MalformedBatch { .. } => ErrorCode::CorruptMessage,
        LogError::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
        LogError::Producer(error) => match error {
            ProducerError::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            ProducerError::OutOfOrderSequence { .. } | ProducerError::NonZeroSequenceInNewEpoch { .. } => {
                ErrorCode::OutOfOrderSequenceNumber
            }
            ProducerError::ExpectedTransactional { .. } => ErrorCode::InvalidTxnState,
            ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        },
        error if error.is_disk_failure() => ErrorCode::KafkaStorageError,
        _ => ErrorCode::UnknownServerError,
    }
}
