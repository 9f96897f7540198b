//! CreateTopics 0–7: creates topics and waits until their partitions have leaders.
//!
//! * Each topic by counts (−1: the broker's default) or by an explicit assignment, not both.
//! * A name twice in one request: INVALID_REQUEST. `validate_only` checks and creates nothing.
//! * When the leaders are not there in time (at once, with a timeout of 0): REQUEST_TIMED_OUT; the topic is made all the same.
//! * From version 5 on the answer shows the topic's configuration, from 7 on its id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_proto::ErrorCode;
use kafka_proto::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::topic_configs;
use crate::topics::{self, CreateTopicError, NewTopic};

type Refusal = (ErrorCode, String);

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut results = Vec::with_capacity(request.topics.len());
    let mut created = Vec::new();
    for topic in &request.topics {
        let outcome = if !broker.is_controller() {
            Err((ErrorCode::NotController, "This is not the correct controller for this cluster.".to_owned()))
        } else if request.topics.iter().filter(|other| other.name == topic.name).count() > 1 {
            Err((ErrorCode::InvalidRequest, "Found multiple entries for this topic.".to_owned()))
        } else {
            create(broker, topic, request.validate_only).await
        };
        results.push(match outcome {
            Ok(new) => {
                created.push(new.name.clone());
                success(broker, ctx, &new)
            }
            Err((code, message)) => refused(&topic.name, code, message),
        });
    }
    if !request.validate_only {
        let in_time = request.timeout_ms > 0;
        if in_time {
            broker
                .wait_for_image(deadline, |image| created.iter().all(|name| topics::has_leaders(image, name)))
                .await;
        }
        results.iter_mut().for_each(|result| finish(broker, ctx, result, in_time));
    }
    CreateTopicsResponse { topics: results, ..Default::default() }
}

async fn create(broker: &Broker, topic: &CreatableTopic, validate_only: bool) -> Result<NewTopic, Refusal> {
    let new = plan(broker, topic)?;
    let refusal = |error: CreateTopicError| (error.code(), error.to_string());
    if validate_only {
        topics::validate(broker, &new).map_err(refusal)?;
    } else {
        topics::create(broker, &new).await.map_err(refusal)?;
    }
    Ok(new)
}

fn plan(broker: &Broker, topic: &CreatableTopic) -> Result<NewTopic, Refusal> {
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            return Err((
                ErrorCode::InvalidConfig,
                format!("Null value not supported for topic configs: {}", config.name),
            ));
        };
        configs.insert(config.name.clone(), value.clone());
    }
    let assignment = if topic.assignments.is_empty() {
        let partitions = topics::or_default(topic.num_partitions, broker.config.num_partitions);
        let factor = topics::or_default(topic.replication_factor, broker.config.default_replication_factor);
        topics::place(broker, partitions, factor)
            .map_err(|error| (ErrorCode::from_code(error.error_code()), error.to_string()))?
    } else if topic.num_partitions != -1 || topic.replication_factor != -1 {
        return Err((
            ErrorCode::InvalidRequest,
            "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.".to_owned(),
        ));
    } else {
        explicit(&topic.assignments).map_err(|message| (ErrorCode::InvalidReplicaAssignment, message))?
    };
    Ok(NewTopic { name: topic.name.clone(), assignment, configs })
}

/// Checks an assignment by hand (`AdminZkClient.validateTopicCreate`).
fn explicit(assignments: &[CreatableReplicaAssignment]) -> Result<Vec<Vec<i32>>, String> {
    let by_partition: BTreeMap<i32, &Vec<i32>> =
        assignments.iter().map(|a| (a.partition_index, &a.broker_ids)).collect();
    if by_partition.len() != assignments.len()
        || !by_partition.keys().copied().eq((0..).take(by_partition.len()))
    {
        return Err("Replica assignment must name the partitions 0 to n-1, each once".to_owned());
    }
    let replicas: Vec<Vec<i32>> = by_partition.into_values().cloned().collect();
    let factor = replicas.first().map_or(0, Vec::len);
    if factor == 0 || replicas.iter().any(|list| list.len() != factor) {
        return Err("All partitions should have the same number of replicas.".to_owned());
    }
    let twice = |list: &Vec<i32>| list.iter().enumerate().any(|(at, id)| list[..at].contains(id));
    match replicas.iter().find(|list| twice(list)) {
        Some(list) => Err(format!("Duplicate replica assignment found: {list:?}")),
        None => Ok(replicas),
    }
}

fn success(broker: &Broker, ctx: &RequestContext, new: &NewTopic) -> CreatableTopicResult {
    let overrides = new.configs.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let configs = match broker.config.topic_defaults.with_overrides(overrides) {
        Ok(effective) if ctx.version >= 5 => {
            let shown = topic_configs::describe(&broker.config, &effective).into_iter();
            Some(
                shown
                    .map(|s| CreatableTopicConfigs {
                        name: s.def.name.to_owned(),
                        value: Some(s.value),
                        read_only: false,
                        config_source: s.source as i8,
                        is_sensitive: false,
                    })
                    .collect(),
            )
        }
        _ => Some(Vec::new()),
    };
    CreatableTopicResult {
        name: new.name.clone(),
        error_message: None,
        num_partitions: i32::try_from(new.assignment.len()).unwrap_or(i32::MAX),
        replication_factor: new
            .assignment
            .first()
            .and_then(|list| i16::try_from(list.len()).ok())
            .unwrap_or(-1),
        configs,
        ..Default::default()
    }
}

fn refused(name: &str, code: ErrorCode, message: String) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: code.code(),
        error_message: Some(message),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

/// Fills in the id, or says that the topic was not ready in time.
fn finish(broker: &Broker, ctx: &RequestContext, result: &mut CreatableTopicResult, waited: bool) {
    if result.error_code != 0 {
        return;
    }
    let image = broker.image();
    if !waited || !topics::has_leaders(&image, &result.name) {
        let name = std::mem::take(&mut result.name);
        *result = refused(
            &name,
            ErrorCode::RequestTimedOut,
            "The topic was created, but its partitions had no leaders in time.".to_owned(),
        );
    } else if ctx.version >= 7
        && let Some(topic) = image.topic(&result.name)
    {
        result.topic_id = topic.id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_by_hand_are_whole_even_and_distinct() {
        let check = |pairs: &[(i32, &[i32])], expect: Result<Vec<Vec<i32>>, &str>| {
            let list: Vec<_> = pairs
                .iter()
                .map(|(p, b)| CreatableReplicaAssignment { partition_index: *p, broker_ids: b.to_vec() })
                .collect();
            match (explicit(&list), expect) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{got:?} instead of {want:?}"),
            }
        };
        check(&[(1, &[2, 1]), (0, &[1, 2])], Ok(vec![vec![1, 2], vec![2, 1]]));
        check(&[(0, &[1]), (2, &[1])], Err("0 to n-1"));
        check(&[(0, &[1]), (0, &[1])], Err("each once"));
        check(&[(0, &[1]), (1, &[1, 2])], Err("same number of replicas"));
        check(&[(0, &[1, 1])], Err("Duplicate"));
        check(&[(0, &[])], Err("same number"));
    }
}
