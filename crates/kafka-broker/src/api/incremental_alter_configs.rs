//! IncrementalAlterConfigs 0–1 (KIP-339): sets, deletes, appends to and subtracts from single values of a topic's configuration.
//!
//! Append and subtract are for lists and start from the value in effect, as in the original. Brokers: as AlterConfigs.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_log::LogConfig;
use kafka_log::config::{ConfigType, config_def};
use kafka_proto::ErrorCode;
use kafka_proto::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::alter_configs::{Refusal, apply, check_resource};
use crate::broker::Broker;
use crate::config::values::list;
use crate::context::RequestContext;
use crate::topic_configs::{self, Overrides};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub async fn handle(
    broker: &Arc<Broker>,
    _ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let outcome = alter(broker, resource, request.validate_only).await;
        let (code, message) =
            outcome.map_or_else(|(code, message)| (code, Some(message)), |()| (ErrorCode::None, None));
        responses.push(AlterConfigsResourceResponse {
            error_code: code.code(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

async fn alter(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), Refusal> {
    check_resource(broker, resource.resource_type, &resource.resource_name)?;
    let mut overrides = topic_configs::read(&broker.zk(), &resource.resource_name)
        .await
        .map_err(|error| (ErrorCode::UnknownServerError, error.to_string()))?;
    change(&mut overrides, &resource.configs, &broker.config.topic_defaults)?;
    apply(broker, resource.resource_type, &resource.resource_name, overrides, validate_only).await
}

/// Applies the operations to what the topic sets now.
fn change(
    overrides: &mut Overrides,
    operations: &[AlterableConfig],
    defaults: &LogConfig,
) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    if let Some(twice) = operations.iter().find(|op| !seen.insert(&op.name)) {
        return Err((
            ErrorCode::InvalidRequest,
            format!("Error due to duplicate config keys : {}", twice.name),
        ));
    }
    for op in operations {
        let value = match (&op.value, op.config_operation) {
            (_, DELETE) => {
                overrides.remove(&op.name);
                continue;
            }
            (None, _) => {
                return Err((
                    ErrorCode::InvalidRequest,
                    format!("Null value not supported for : {}", op.name),
                ));
            }
            (Some(value), SET) => value.clone(),
            (Some(value), operation @ (APPEND | SUBTRACT)) => {
                let Some(def) = config_def(&op.name).filter(|def| def.kind == ConfigType::List) else {
                    let verb = if operation == APPEND { "append" } else { "subtract" };
                    return Err((
                        ErrorCode::InvalidConfig,
                        format!("Config value {verb} is not allowed for config key: {}", op.name),
                    ));
                };
                let current = overrides
                    .get(def.name)
                    .map_or_else(|| defaults.get(def.name).unwrap_or(""), String::as_str);
                let (mut items, named) = (list(current), list(value));
                if operation == SUBTRACT {
                    items.retain(|item| !named.contains(item));
                } else {
                    let fresh: Vec<String> = named.into_iter().filter(|item| !items.contains(item)).collect();
                    items.extend(fresh);
                }
                items.join(",")
            }
            (Some(_), other) => {
                return Err((
                    ErrorCode::InvalidRequest,
                    format!("Unknown config operation {other} for {}", op.name),
                ));
            }
        };
        overrides.insert(op.name.clone(), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(name: &str, operation: i8, value: Option<&str>) -> AlterableConfig {
        AlterableConfig {
            name: name.to_owned(),
            config_operation: operation,
            value: value.map(str::to_owned),
        }
    }

    fn check(
        before: &[(&str, &str)],
        operations: &[AlterableConfig],
        expect: Result<&[(&str, &str)], ErrorCode>,
    ) {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Overrides>()
        };
        let mut overrides = pairs(before);
        let outcome = change(&mut overrides, operations, &LogConfig::default()).map_err(|(code, _)| code);
        assert_eq!(outcome.map(|()| overrides), expect.map(pairs));
    }

    #[test]
    fn single_values_are_set_and_deleted_and_the_rest_stays() {
        check(
            &[("a", "1"), ("b", "2")],
            &[op("a", SET, Some("3")), op("b", DELETE, None)],
            Ok(&[("a", "3")]),
        );
        check(&[], &[op("a", SET, None)], Err(ErrorCode::InvalidRequest));
        check(&[], &[op("a", SET, Some("1")), op("a", DELETE, None)], Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn lists_grow_and_shrink_from_the_value_in_effect() {
        check(
            &[],
            &[op("cleanup.policy", APPEND, Some("compact"))],
            Ok(&[("cleanup.policy", "delete,compact")]),
        );
        check(
            &[("cleanup.policy", "compact,delete")],
            &[op("cleanup.policy", SUBTRACT, Some("delete"))],
            Ok(&[("cleanup.policy", "compact")]),
        );
        check(&[], &[op("retention.ms", APPEND, Some("1"))], Err(ErrorCode::InvalidConfig));
    }
}
