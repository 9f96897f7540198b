//! `--delete` and `--delete-offsets`.

use std::collections::BTreeMap;

use kafka_client::ClientError;
use kafka_proto::ErrorCode;

use super::layout::{self, PartitionName};
use super::{Groups, Result, parse_topic_partitions, print_error};
use crate::java_errors;
use crate::out::say;

impl Groups<'_> {
    pub(super) async fn delete(&self) -> Result<()> {
        let mut deleted = Vec::new();
        let mut failed = Vec::new();
        for group in self.chosen().await? {
            match self.client.delete_group(&group).await {
                Ok(()) => deleted.push(group),
                Err(error @ ClientError::Code { .. }) => {
                    failed.push((group, java_errors::call_described(&error)))
                }
                Err(error) => return Err(error.into()),
            }
        }
        say!("{}", deletions(&deleted, &failed));
        Ok(())
    }

    pub(super) async fn delete_offsets(&self) -> Result<()> {
        let group = self.options.value("group").unwrap_or_default();
        let topics: Vec<&str> = self.options.values("topic").collect();
        let mut results: BTreeMap<PartitionName, Option<String>> = BTreeMap::new();
        let mut partitions: Vec<PartitionName> = Vec::new();
        for topic in &topics {
            match parse_topic_partitions(topic)? {
                Some(named) => partitions.extend(named),
                None => match self.partitions_of(topic).await {
                    Ok(found) => partitions.extend(found.into_iter().map(|p| ((*topic).to_owned(), p))),
                    Err(code) => {
                        let why = Some(java_errors::described(code, None));
                        results.insert(((*topic).to_owned(), -1), why);
                    }
                },
            }
        }
        partitions.sort();
        partitions.dedup();

        let mut overall = ErrorCode::None;
        match self.client.delete_offsets(group, &partitions).await {
            Ok(outcomes) => {
                for (name, code) in outcomes {
                    let failed = code != ErrorCode::None;
                    if failed && overall == ErrorCode::None {
                        overall = code;
                    }
                    results.insert(name, failed.then(|| java_errors::described(code, None)));
                }
            }
            Err(ClientError::Code { code, message, .. }) => {
                overall = code;
                let why = java_errors::described(code, message.as_deref());
                results.extend(partitions.into_iter().map(|name| (name, Some(why.clone()))));
            }
            Err(error) => return Err(error.into()),
        }
        match refusal(group, overall) {
            None => {
                say!("Request succeed for deleting offsets with topic {} group {group}\n", topics.join(", "))
            }
            Some(message) => print_error(&message),
        }
        say!("{}", layout::deleted_offsets(&results));
        Ok(())
    }
}

/// What the originals say about the outcome as a whole.
fn refusal(group: &str, code: ErrorCode) -> Option<String> {
    Some(match code {
        ErrorCode::None => return None,
        ErrorCode::InvalidGroupId => format!("'{group}' is not valid."),
        ErrorCode::GroupIdNotFound => format!("'{group}' does not exist."),
        ErrorCode::GroupAuthorizationFailed => format!("Access to '{group}' is not authorized."),
        ErrorCode::NonEmptyGroup => {
            format!("Deleting offsets of a consumer group '{group}' is forbidden if the group is not empty.")
        }
        ErrorCode::GroupSubscribedToTopic
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::UnknownTopicOrPartition => {
            "Encounter some partition level error, see the follow-up details:".to_owned()
        }
        code => format!("Encounter some unknown error: {}", code.name()),
    })
}

fn deletions(deleted: &[String], failed: &[(String, String)]) -> String {
    let names = format!("'{}'", deleted.join("', '"));
    if failed.is_empty() {
        return format!("Deletion of requested consumer groups ({names}) was successful.\n");
    }
    let mut out = "\nError: Deletion of some consumer groups failed:\n".to_owned();
    for (group, why) in failed {
        out.push_str(&format!(
            "* Group '{group}' could not be deleted due to: java.util.concurrent.ExecutionException: {why}\n"
        ));
    }
    if !deleted.is_empty() {
        out.push_str(&format!("\nThese consumer groups were deleted successfully: {names}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_name_every_group() {
        let groups = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            deletions(&groups, &[]),
            "Deletion of requested consumer groups ('a', 'b') was successful.\n"
        );
        let why = java_errors::described(ErrorCode::NonEmptyGroup, None);
        assert_eq!(
            deletions(&groups[..1], &[("c".to_owned(), why)]),
            "\nError: Deletion of some consumer groups failed:\n\
             * Group 'c' could not be deleted due to: java.util.concurrent.ExecutionException: \
             org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty.\n\
             \nThese consumer groups were deleted successfully: 'a'\n"
        );
    }

    #[test]
    fn refusals_are_said_in_the_originals_words() {
        assert_eq!(refusal("g", ErrorCode::None), None);
        assert_eq!(refusal("g", ErrorCode::GroupIdNotFound).as_deref(), Some("'g' does not exist."));
        assert_eq!(
            refusal("g", ErrorCode::CorruptMessage).as_deref(),
            Some("Encounter some unknown error: CORRUPT_MESSAGE")
        );
    }
}
