//! Metadata 0–12: brokers, topics, leaders; creates missing topics when asked (`auto.create.topics.enable`).
//!
//! * Version 0: an empty topic list means all; from 1 on null does. From 10 on topics may be named by id, but 10 and 11
//!   had a bug in the original, which refuses ids there; so does this.
//! * A missing topic that may be created is created *before* the answer, and the answer waits a moment for its leaders,
//!   where the original answers UNKNOWN_TOPIC_OR_PARTITION and lets the client ask again.
//! * Versions 0–5 do not know LISTENER_NOT_FOUND: LEADER_NOT_AVAILABLE there.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_proto::wire::Uuid;

use crate::authorized::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::image::{MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use crate::topics;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let wants_all = match &request.topics {
        None => true,
        Some(topics) => ctx.version == 0 && topics.is_empty(),
    };
    let (topics, image) = if wants_all {
        let image = broker.image();
        let all = image.topics().map(|topic| describe(topic, &image, ctx)).collect();
        (all, image)
    } else {
        named_topics(broker, ctx, &request).await
    };
    respond(broker, ctx, &request, topics, &image)
}

async fn named_topics(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: &MetadataRequest,
) -> (Vec<MetadataResponseTopic>, Arc<MetadataImage>) {
    let wanted = request.topics.as_deref().unwrap_or_default();
    let mut missing: Vec<String> = Vec::new();
    let image = broker.image();
    if request.allow_auto_topic_creation && broker.config.auto_create_topics {
        let absent = |name: &&str| image.topic(name).is_none() && topics::validate_name(name).is_ok();
        missing = wanted
            .iter()
            .filter_map(|topic| topic.name.as_deref())
            .filter(absent)
            .map(str::to_owned)
            .collect();
        missing.dedup();
    }
    let mut errors = Vec::new();
    if !missing.is_empty() {
        errors = topics::auto_create(broker, missing).await;
    }
    let errors: HashMap<String, ErrorCode> = errors.into_iter().collect();
    let image = broker.image();
    let find = |topic: &MetadataRequestTopic| match lookup(topic, ctx.version, &image) {
        Ok(found) => describe(found, &image, ctx),
        Err(error) => {
            let created = topic.name.as_ref().and_then(|name| errors.get(name));
            refused(topic, created.copied().unwrap_or(error), ctx)
        }
    };
    (wanted.iter().map(find).collect(), image.clone())
}

fn lookup<'a>(
    topic: &MetadataRequestTopic,
    version: i16,
    image: &'a MetadataImage,
) -> Result<&'a TopicImage, ErrorCode> {
    match &topic.name {
        Some(name) if topic.topic_id.is_zero() => match image.topic(name) {
            Some(found) => Ok(found),
            None => Err(topics::validate_name(name)
                .err()
                .map_or(ErrorCode::UnknownTopicOrPartition, |_| ErrorCode::InvalidTopicException)),
        },
        _ if version < 12 => Err(ErrorCode::InvalidRequest),
        _ => image.topic_by_id(topic.topic_id).map(|found| &**found).ok_or(ErrorCode::UnknownTopicId),
    }
}

fn refused(topic: &MetadataRequestTopic, error: ErrorCode, ctx: &RequestContext) -> MetadataResponseTopic {
    // Null names exist from 12 on only.
    let name =
        if ctx.version >= 12 { topic.name.clone() } else { Some(topic.name.clone().unwrap_or_default()) };
    MetadataResponseTopic {
        error_code: error.code(),
        name,
        topic_id: if ctx.version >= 10 { topic.topic_id } else { Uuid::ZERO },
        ..Default::default()
    }
}

fn describe(topic: &TopicImage, image: &MetadataImage, ctx: &RequestContext) -> MetadataResponseTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .map(|(index, partition)| describe_partition(index, partition, image, ctx))
        .collect();
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topics::is_internal(&topic.name),
        partitions,
        ..Default::default()
    }
}

fn describe_partition(
    index: i32,
    partition: &PartitionImage,
    image: &MetadataImage,
    ctx: &RequestContext,
) -> MetadataResponsePartition {
    let listener = &*ctx.peer.listener;
    let reachable =
        |id: i32| image.brokers.get(&id).is_some_and(|broker| broker.endpoint(listener).is_some());
    let alive = |id: i32| image.brokers.contains_key(&id);
    let error = match partition.leader {
        NO_LEADER => ErrorCode::LeaderNotAvailable,
        leader if !alive(leader) => ErrorCode::LeaderNotAvailable,
        leader if !reachable(leader) && ctx.version < 6 => ErrorCode::LeaderNotAvailable,
        leader if !reachable(leader) => ErrorCode::ListenerNotFound,
        // Version 0 clients stumble over replicas they cannot reach.
        _ if ctx.version == 0 && !partition.replicas.iter().all(|id| reachable(*id)) => {
            ErrorCode::ReplicaNotAvailable
        }
        _ => ErrorCode::None,
    };
    let shown = |ids: &[i32]| ids.iter().copied().filter(|id| ctx.version > 0 || reachable(*id)).collect();
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: if matches!(error, ErrorCode::LeaderNotAvailable | ErrorCode::ListenerNotFound) {
            NO_LEADER
        } else {
            partition.leader
        },
        leader_epoch: partition.leader_epoch,
        replica_nodes: shown(&partition.replicas),
        isr_nodes: shown(&partition.isr),
        offline_replicas: partition.replicas.iter().copied().filter(|id| !reachable(*id)).collect(),
    }
}

fn respond(
    broker: &Broker,
    ctx: &RequestContext,
    request: &MetadataRequest,
    mut topics: Vec<MetadataResponseTopic>,
    image: &MetadataImage,
) -> MetadataResponse {
    if request.include_topic_authorized_operations {
        topics
            .iter_mut()
            .filter(|t| t.error_code == 0)
            .for_each(|t| t.topic_authorized_operations = TOPIC_OPERATIONS);
    }
    let brokers = image.endpoints(&ctx.peer.listener).map(|(id, host, port, rack)| MetadataResponseBroker {
        node_id: id,
        host: host.to_owned(),
        port: i32::from(port),
        rack: rack.map(str::to_owned),
    });
    let mut response = MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(broker.cluster_id.clone()),
        controller_id: image.controller_id.unwrap_or(-1),
        topics,
        ..Default::default()
    };
    if request.include_cluster_authorized_operations && (8..=10).contains(&ctx.version) {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}
