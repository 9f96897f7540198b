//! DescribeConfigs 0–4: the values in effect for topics and for this broker, with their sources.
//!
//! * Topics: every topic configuration, from `/config/topics/<t>`, the broker's file, or the default.
//! * Brokers: every key of `server.properties`, read only (there are no dynamic broker configurations yet), for this broker's
//!   own id; an empty name means the cluster-wide dynamic defaults, of which there are none. Passwords are never shown.
//! * Synonyms from version 1 on, types from 3 on. Documentation is not kept here: null.

use std::sync::Arc;

use kafka_log::LogConfig;
use kafka_proto::ErrorCode;
use kafka_proto::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::broker::Broker;
use crate::config::keys::{KEYS, Key};
use crate::config::values::Kind;
use crate::context::RequestContext;
use crate::topic_configs::{self, Shown, Source};
use crate::topics;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

type Refusal = (ErrorCode, String);

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let described = match resource.resource_type {
            TOPIC => describe_topic(broker, ctx, &request, resource).await,
            BROKER => describe_broker(broker, ctx, &request, resource),
            other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
        };
        let mut result = DescribeConfigsResult {
            error_message: None,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match described {
            Ok(configs) => result.configs = configs,
            Err((code, message)) => (result.error_code, result.error_message) = (code.code(), Some(message)),
        }
        results.push(result);
    }
    DescribeConfigsResponse { results, ..Default::default() }
}

fn wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == name))
}

async fn describe_topic(
    broker: &Broker,
    ctx: &RequestContext,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let topic = &resource.resource_name;
    topics::validate_name(topic)
        .map_err(|error| (ErrorCode::InvalidTopicException, format!("Topic name is invalid: {error}")))?;
    if broker.image().topic(topic).is_none() {
        return Err((
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.".to_owned(),
        ));
    }
    let overrides = topic_configs::read(&broker.zk(), topic)
        .await
        .map_err(|error| (ErrorCode::UnknownServerError, error.to_string()))?;
    let usable = overrides.iter().filter(|(name, value)| LogConfig::check_value(name, value).is_ok());
    let effective = broker
        .config
        .topic_defaults
        .with_overrides(usable.map(|(k, v)| (k.as_str(), v.as_str())))
        .map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
    let shown = topic_configs::describe(&broker.config, &effective);
    Ok(shown
        .into_iter()
        .filter(|s| wanted(resource, s.def.name))
        .map(|s| topic_row(s, ctx.version, request.include_synonyms))
        .collect())
}

fn topic_row(shown: Shown, version: i16, include_synonyms: bool) -> DescribeConfigsResourceResult {
    let synonyms = shown.synonyms.into_iter().filter(|_| include_synonyms);
    DescribeConfigsResourceResult {
        name: shown.def.name.to_owned(),
        value: Some(shown.value),
        is_default: version == 0 && shown.source == Source::Default,
        config_source: if version >= 1 { shown.source as i8 } else { -1 },
        synonyms: synonyms
            .map(|(name, value, source)| DescribeConfigsSynonym {
                name,
                value: Some(value),
                source: source as i8,
            })
            .collect(),
        config_type: shown.def.kind.wire_code(),
        documentation: None,
        ..Default::default()
    }
}

fn describe_broker(
    broker: &Broker,
    ctx: &RequestContext,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    match resource.resource_name.as_str() {
        "" => return Ok(Vec::new()),
        id if id.parse() == Ok(broker.id) => {}
        other => {
            return Err((
                ErrorCode::InvalidRequest,
                format!("Unexpected broker id, expected {}, but received {other}", broker.id),
            ));
        }
    }
    let known = KEYS.iter().filter(|key| wanted(resource, key.name));
    let mut rows: Vec<_> =
        known.map(|key| broker_row(broker, key, ctx.version, request.include_synonyms)).collect();
    if let Some(row) = rows.iter_mut().find(|row| row.name == "broker.id") {
        // Also when it was generated.
        row.value = Some(broker.id.to_string());
    }
    Ok(rows)
}

fn broker_row(
    broker: &Broker,
    key: &Key,
    version: i16,
    include_synonyms: bool,
) -> DescribeConfigsResourceResult {
    let sensitive = key.kind == Kind::Password;
    let show = |text: &str| if sensitive { None } else { Some(text.to_owned()) };
    let set = broker.config.set.get(key.name).map(String::as_str);
    let mut synonyms = Vec::new();
    if let Some(set) = set {
        synonyms.push(DescribeConfigsSynonym {
            name: key.name.to_owned(),
            value: show(set),
            source: Source::StaticBroker as i8,
        });
    }
    if let Some(default) = key.default {
        synonyms.push(DescribeConfigsSynonym {
            name: key.name.to_owned(),
            value: show(default),
            source: Source::Default as i8,
        });
    }
    let source = if set.is_some() { Source::StaticBroker } else { Source::Default };
    DescribeConfigsResourceResult {
        name: key.name.to_owned(),
        value: set.or(key.default).and_then(show),
        read_only: true,
        is_default: version == 0 && source == Source::Default,
        config_source: if version >= 1 { source as i8 } else { -1 },
        is_sensitive: sensitive,
        synonyms: if include_synonyms { synonyms } else { Vec::new() },
        config_type: wire_type(key.kind),
        documentation: None,
    }
}

/// `DescribeConfigsResponse.ConfigType`.
fn wire_type(kind: Kind) -> i8 {
    match kind {
        Kind::Bool => 1,
        Kind::Str => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
