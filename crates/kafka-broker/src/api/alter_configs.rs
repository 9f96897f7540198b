//! AlterConfigs 0–2: replaces all of a topic's own configuration. Superseded by IncrementalAlterConfigs, kept for old tools.
//!
//! What the request does not name goes back to its default. Brokers' dynamic configurations are not served yet:
//! INVALID_REQUEST, with the words.

use std::sync::Arc;

use kafka_proto::ErrorCode;
use kafka_proto::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use tracing::info;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::topic_configs::{self, Overrides};
use crate::topics;

pub(super) const TOPIC: i8 = 2;

pub(super) type Refusal = (ErrorCode, String);

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let outcome = match overrides(resource) {
            Ok(overrides) => {
                apply(
                    broker,
                    resource.resource_type,
                    &resource.resource_name,
                    overrides,
                    request.validate_only,
                )
                .await
            }
            Err(refusal) => Err(refusal),
        };
        let (code, message) =
            outcome.map_or_else(|(code, message)| (code, Some(message)), |()| (ErrorCode::None, None));
        responses.push(AlterConfigsResourceResponse {
            error_code: code.code(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

fn overrides(resource: &AlterConfigsResource) -> Result<Overrides, Refusal> {
    let mut overrides = Overrides::new();
    for config in &resource.configs {
        let Some(value) = &config.value else {
            return Err((
                ErrorCode::InvalidRequest,
                format!("Null value not supported for : {}", config.name),
            ));
        };
        if overrides.insert(config.name.clone(), value.clone()).is_some() {
            return Err((
                ErrorCode::InvalidRequest,
                format!("Error due to duplicate config keys : {}", config.name),
            ));
        }
    }
    Ok(overrides)
}

/// Refuses resources that have no alterable configuration here.
pub(super) fn check_resource(broker: &Broker, resource_type: i8, name: &str) -> Result<(), Refusal> {
    if resource_type != TOPIC {
        return Err((
            ErrorCode::InvalidRequest,
            "Only topics have configurations that can be altered here so far; brokers take theirs from server.properties at start.".to_owned(),
        ));
    }
    topics::validate_name(name)
        .map_err(|error| (ErrorCode::InvalidTopicException, format!("Topic name is invalid: {error}")))?;
    if broker.image().topic(name).is_none() {
        return Err((ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist.")));
    }
    Ok(())
}

/// Checks and stores the whole of a topic's own configuration.
pub(super) async fn apply(
    broker: &Broker,
    resource_type: i8,
    topic: &str,
    overrides: Overrides,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_resource(broker, resource_type, topic)?;
    let pairs = overrides.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    broker
        .config
        .topic_defaults
        .with_overrides(pairs)
        .map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
    if validate_only {
        return Ok(());
    }
    let zk = broker.zk();
    let failed =
        |error: zk_client::ZkError| (ErrorCode::UnknownServerError, format!("ZooKeeper refused: {error}"));
    topic_configs::write(&zk, topic, &overrides).await.map_err(failed)?;
    topic_configs::announce(&zk, topic).await.map_err(failed)?;
    info!("configuration of topic {topic} is now {overrides:?}");
    Ok(())
}
