//! CreatePartitions 0–3 (KIP-195): adds partitions to topics, placed by the broker or by hand.
//!
//! The count must grow; an assignment by hand names the brokers of every added partition. The answer waits until the new
//! partitions have leaders.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_controller::assignment::{BrokerMetadata, RackAwareMode, assign_added_replicas, brokers_for};
use kafka_controller::zkdata::{ReplicaAssignment, TopicAssignment, path};
use kafka_proto::ErrorCode;
use kafka_proto::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use tokio::time::Instant;
use tracing::info;
use zk_client::{ErrorCode as ZkCode, ZkError};

use crate::broker::Broker;
use crate::config::Release;
use crate::context::RequestContext;
use crate::image::NO_LEADER;

type Refusal = (ErrorCode, String);

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let outcome = if !broker.is_controller() {
            Err((ErrorCode::NotController, "This is not the correct controller for this cluster.".to_owned()))
        } else if request.topics.iter().filter(|other| other.name == topic.name).count() > 1 {
            Err((ErrorCode::InvalidRequest, "Duplicate topic in request.".to_owned()))
        } else {
            add(broker, topic, request.validate_only).await
        };
        let (code, message) =
            outcome.map_or_else(|(code, message)| (code, Some(message)), |()| (ErrorCode::None, None));
        results.push(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: code.code(),
            error_message: message,
        });
    }
    if !request.validate_only {
        wait_for_leaders(broker, &request.topics, &mut results, deadline).await;
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

async fn add(broker: &Broker, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refusal> {
    let zk = broker.zk();
    let failed = |error: ZkError| (ErrorCode::UnknownServerError, format!("ZooKeeper refused: {error}"));
    if zk.exists(&path::delete_topic(&topic.name), false).await.map_err(failed)?.is_some() {
        return Err((ErrorCode::InvalidTopicException, "The topic is queued for deletion.".to_owned()));
    }
    let (data, stat) = match zk.get_data(&path::topic(&topic.name), false).await {
        Ok(read) => read,
        Err(error) if error.is(ZkCode::NoNode) => {
            return Err((
                ErrorCode::UnknownTopicOrPartition,
                format!("The topic '{}' does not exist.", topic.name),
            ));
        }
        Err(error) => return Err(failed(error)),
    };
    let mut assignment = TopicAssignment::decode(data.as_deref().unwrap_or_default())
        .map_err(|error| (ErrorCode::UnknownServerError, error.to_string()))?;
    let added = plan(broker, topic, &assignment)?;
    if validate_only {
        return Ok(());
    }
    let existing = i32::try_from(assignment.partitions.len()).unwrap_or(i32::MAX);
    info!(
        "Creating {} partitions for '{}' with the following replica assignment: {added:?}.",
        added.len(),
        topic.name
    );
    assignment.partitions.extend((existing..).zip(added.into_iter().map(ReplicaAssignment::from)));
    let version = if broker.config.release >= Release::V3_9 { 3 } else { 2 };
    match zk
        .set_data(&path::topic(&topic.name), Some(Bytes::from(assignment.encode(version))), stat.version)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is(ZkCode::BadVersion) => Err((
            ErrorCode::ReassignmentInProgress,
            "The topic's assignment is being changed by somebody else; try again.".to_owned(),
        )),
        Err(error) => Err(failed(error)),
    }
}

/// The replicas of the partitions to add (`AdminZkClient.createNewPartitionsAssignment`).
fn plan(
    broker: &Broker,
    topic: &CreatePartitionsTopic,
    current: &TopicAssignment,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let existing = current.partitions.len();
    let wanted = usize::try_from(topic.count).unwrap_or(0);
    if wanted < existing {
        return Err((
            ErrorCode::InvalidPartitions,
            format!(
                "Topic currently has {existing} partitions, which is higher than the requested {}.",
                topic.count
            ),
        ));
    }
    if wanted == existing {
        return Err((ErrorCode::InvalidPartitions, format!("Topic already has {existing} partitions.")));
    }
    let image = broker.image();
    let first = current.partitions.get(&0).map(|first| first.replicas.clone()).unwrap_or_default();
    match &topic.assignments {
        Some(by_hand) => {
            explicit(by_hand, wanted - existing, first.len(), |id| image.brokers.contains_key(&id))
        }
        None => {
            let live =
                image.brokers.values().map(|b| BrokerMetadata { id: b.id, rack: b.rack.clone() }).collect();
            let refusal = |error: kafka_controller::assignment::AssignmentError| {
                (ErrorCode::from_code(error.error_code()), error.to_string())
            };
            let live = brokers_for(live, RackAwareMode::Safe).map_err(refusal)?;
            assign_added_replicas(&live, &first, existing, wanted - existing).map_err(refusal)
        }
    }
}

fn explicit(
    by_hand: &[CreatePartitionsAssignment],
    added: usize,
    factor: usize,
    is_live: impl Fn(i32) -> bool,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let refuse = |message: String| Err((ErrorCode::InvalidReplicaAssignment, message));
    let lists: Vec<Vec<i32>> = by_hand.iter().map(|assignment| assignment.broker_ids.clone()).collect();
    if lists.len() != added {
        return refuse(format!(
            "Increasing the number of partitions by {added} but {} assignments provided.",
            lists.len()
        ));
    }
    let unknown: Vec<i32> = lists.iter().flatten().copied().filter(|id| !is_live(*id)).collect();
    if !unknown.is_empty() {
        return refuse(format!("Unknown broker(s) in replica assignment: {unknown:?}."));
    }
    for list in &lists {
        if list.iter().enumerate().any(|(at, id)| list[..at].contains(id)) {
            return refuse(format!("Duplicate brokers not allowed in replica assignment: {list:?}."));
        }
        if list.len() != factor {
            return refuse(format!(
                "Inconsistent replication factor between partitions, the topic has {factor} and {list:?} was given."
            ));
        }
    }
    Ok(lists)
}

async fn wait_for_leaders(
    broker: &Broker,
    topics: &[CreatePartitionsTopic],
    results: &mut [CreatePartitionsTopicResult],
    deadline: Instant,
) {
    for (topic, result) in topics.iter().zip(results).filter(|(_, result)| result.error_code == 0) {
        let count = usize::try_from(topic.count).unwrap_or(0);
        let ready = |image: &crate::image::MetadataImage| {
            image.topic(&topic.name).is_some_and(|t| {
                t.partitions.len() >= count && t.partitions.iter().all(|p| p.leader != NO_LEADER)
            })
        };
        if !broker.wait_for_image(deadline, ready).await {
            result.error_code = ErrorCode::RequestTimedOut.code();
            result.error_message =
                Some("The partitions were created, but had no leaders in time.".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_partitions_by_hand_are_checked() {
        let check = |lists: &[&[i32]], part: Option<&str>| {
            let lists: Vec<_> =
                lists.iter().map(|ids| CreatePartitionsAssignment { broker_ids: ids.to_vec() }).collect();
            let outcome = explicit(&lists, 2, 1, |id| id < 5);
            match (outcome, part) {
                (Ok(_), None) => {}
                (Err((_, message)), Some(part)) => assert!(message.contains(part), "{message}"),
                (outcome, part) => panic!("{outcome:?} instead of {part:?}"),
            }
        };
        check(&[&[1], &[2]], None);
        check(&[&[1]], Some("by 2 but 1 assignments provided"));
        check(&[&[1], &[9]], Some("Unknown broker(s)"));
        check(&[&[1], &[2, 2]], Some("Duplicate"));
        check(&[&[1], &[2, 3]], Some("Inconsistent replication factor"));
    }
}
