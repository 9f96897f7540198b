//! What a failed append means to a client.

use kafka_proto::ErrorCode;

/// Why records could not be appended to the partition of `__consumer_offsets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the partition does not exist here")]
    UnknownPartition,
    #[error("fewer replicas are in sync than min.insync.replicas asks for")]
    NotEnoughReplicas,
    #[error("this broker does not lead the partition any more")]
    NotLeader,
    #[error("the log directory failed")]
    Storage,
    #[error("the replicas did not acknowledge in time")]
    TimedOut,
    #[error("the records are larger than the topic's max.message.bytes")]
    TooLarge,
    #[error("the log refused the records")]
    Other,
}

impl AppendError {
    /// What a client that committed offsets is told (`maybeConvertOffsetCommitError`).
    pub fn for_commit(self) -> ErrorCode {
        match self {
            AppendError::UnknownPartition | AppendError::NotEnoughReplicas => {
                ErrorCode::CoordinatorNotAvailable
            }
            AppendError::NotLeader | AppendError::Storage => ErrorCode::NotCoordinator,
            AppendError::TooLarge => ErrorCode::InvalidCommitOffsetSize,
            AppendError::TimedOut => ErrorCode::RequestTimedOut,
            AppendError::Other => ErrorCode::UnknownServerError,
        }
    }

    /// What members waiting for their assignment are told (`storeGroup`). A timeout makes them join
    /// again: the assignment may or may not have been written.
    pub fn for_group(self) -> ErrorCode {
        match self {
            AppendError::UnknownPartition | AppendError::NotEnoughReplicas => {
                ErrorCode::CoordinatorNotAvailable
            }
            AppendError::NotLeader | AppendError::Storage => ErrorCode::NotCoordinator,
            AppendError::TimedOut => ErrorCode::RebalanceInProgress,
            AppendError::TooLarge | AppendError::Other => ErrorCode::UnknownServerError,
        }
    }
}
