//! The words the originals' tools print for error codes: Java's exception classes and their default messages.
//!
//! Only codes that administration meets; the rest is shown by its protocol name. Source: `Errors.java` of 3.9.

use kafka_client::ClientError;
use kafka_proto::ErrorCode;

/// Class (without its package) and default message of a code's exception.
fn exception(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    use ErrorCode as E;
    Some(match code {
        E::UnknownServerError => (
            "UnknownServerException",
            "The server experienced an unexpected error when processing the request.",
        ),
        E::UnknownTopicOrPartition => {
            ("UnknownTopicOrPartitionException", "This server does not host this topic-partition.")
        }
        E::LeaderNotAvailable => (
            "LeaderNotAvailableException",
            "There is no leader for this topic-partition as we are in the middle of a leadership election.",
        ),
        E::RequestTimedOut => ("TimeoutException", "The request timed out."),
        E::OffsetMetadataTooLarge => {
            ("OffsetMetadataTooLarge", "The metadata field of the offset request was too large.")
        }
        E::CoordinatorLoadInProgress => (
            "CoordinatorLoadInProgressException",
            "The coordinator is loading and hence can't process requests.",
        ),
        E::CoordinatorNotAvailable => {
            ("CoordinatorNotAvailableException", "The coordinator is not available.")
        }
        E::NotCoordinator => ("NotCoordinatorException", "This is not the correct coordinator."),
        E::InvalidTopicException => {
            ("InvalidTopicException", "The request attempted to perform an operation on an invalid topic.")
        }
        E::InvalidGroupId => ("InvalidGroupIdException", "The configured groupId is invalid."),
        E::UnknownMemberId => ("UnknownMemberIdException", "The coordinator is not aware of this member."),
        E::RebalanceInProgress => {
            ("RebalanceInProgressException", "The group is rebalancing, so a rejoin is needed.")
        }
        E::TopicAuthorizationFailed => ("TopicAuthorizationException", "Topic authorization failed."),
        E::GroupAuthorizationFailed => ("GroupAuthorizationException", "Group authorization failed."),
        E::ClusterAuthorizationFailed => ("ClusterAuthorizationException", "Cluster authorization failed."),
        E::UnsupportedVersion => ("UnsupportedVersionException", "The version of API is not supported."),
        E::TopicAlreadyExists => ("TopicExistsException", "Topic with this name already exists."),
        E::InvalidPartitions => ("InvalidPartitionsException", "Number of partitions is below 1."),
        E::InvalidReplicationFactor => (
            "InvalidReplicationFactorException",
            "Replication factor is below 1 or larger than the number of available brokers.",
        ),
        E::InvalidReplicaAssignment => {
            ("InvalidReplicaAssignmentException", "Replica assignment is invalid.")
        }
        E::InvalidConfig => ("InvalidConfigurationException", "Configuration is invalid."),
        E::NotController => {
            ("NotControllerException", "This is not the correct controller for this cluster.")
        }
        E::PolicyViolation => {
            ("PolicyViolationException", "Request parameters do not satisfy the configured policy.")
        }
        E::NonEmptyGroup => ("GroupNotEmptyException", "The group is not empty."),
        E::GroupIdNotFound => ("GroupIdNotFoundException", "The group id does not exist."),
        E::TopicDeletionDisabled => ("TopicDeletionDisabledException", "Topic deletion is disabled."),
        E::GroupSubscribedToTopic => (
            "GroupSubscribedToTopicException",
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
        ),
        E::UnstableOffsetCommit => {
            ("UnstableOffsetCommitException", "There are unstable offsets that need to be cleared.")
        }
        E::ThrottlingQuotaExceeded => {
            ("ThrottlingQuotaExceededException", "The throttling quota has been exceeded.")
        }
        E::UnknownTopicId => ("UnknownTopicIdException", "This server does not host this topic ID."),
        _ => return None,
    })
}

/// What `getMessage` of the code's exception says: the broker's own message if it sent one.
pub fn message(code: ErrorCode, sent: Option<&str>) -> String {
    let default = || exception(code).map_or(code.name(), |(_, message)| message);
    sent.filter(|m| !m.is_empty()).unwrap_or_else(default).to_owned()
}

/// What `toString` of the code's exception says: class and message.
pub fn described(code: ErrorCode, sent: Option<&str>) -> String {
    match exception(code) {
        Some((class, _)) => format!("org.apache.kafka.common.errors.{class}: {}", message(code, sent)),
        None => message(code, sent),
    }
}

/// [`message`] of a failed call; what went wrong on our side says it in its own words.
pub fn call_message(error: &ClientError) -> String {
    match error {
        ClientError::Code { code, message: sent, .. } => message(*code, sent.as_deref()),
        other => other.to_string(),
    }
}

/// [`described`] of a failed call.
pub fn call_described(error: &ClientError) -> String {
    match error {
        ClientError::Code { code, message: sent, .. } => described(*code, sent.as_deref()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_message_goes_first() {
        let code = ErrorCode::InvalidPartitions;
        assert_eq!(message(code, Some("no")), "no");
        assert_eq!(message(code, None), "Number of partitions is below 1.");
        assert_eq!(
            described(ErrorCode::GroupIdNotFound, None),
            "org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist."
        );
        assert_eq!(described(ErrorCode::CorruptMessage, None), "CORRUPT_MESSAGE");
    }
}
