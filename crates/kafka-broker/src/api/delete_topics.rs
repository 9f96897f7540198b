//! DeleteTopics 0–6: asks the controller to delete topics and waits until they are gone.
//!
//! * From version 6 on topics may be named by id; a topic named by both, or twice: INVALID_REQUEST.
//! * `delete.topic.enable=false`: TOPIC_DELETION_DISABLED, before version 3 INVALID_REQUEST.
//! * The answer comes when the topic's znode is gone too, so that it can be created again at once; the original answers
//!   when clients no longer see it.

use std::sync::Arc;
use std::time::Duration;

use kafka_controller::zkdata::path;
use kafka_proto::ErrorCode;
use kafka_proto::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use kafka_proto::wire::Uuid;
use tokio::time::Instant;
use zk_client::{CreateMode, ErrorCode as ZkCode, open_acl};

use crate::broker::Broker;
use crate::context::RequestContext;

/// How often the znode is looked at once clients no longer see the topic.
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let wanted: Vec<DeleteTopicState> = match ctx.version {
        6.. => request.topics,
        _ => request
            .topic_names
            .into_iter()
            .map(|name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO })
            .collect(),
    };
    let mut responses: Vec<DeletableTopicResult> =
        wanted.iter().map(|topic| resolve(broker, topic, &wanted, ctx.version)).collect();
    for result in responses.iter_mut().filter(|result| result.error_code == 0) {
        let name = result.name.clone().unwrap_or_default();
        if let Err((code, message)) = request_deletion(broker, &name).await {
            result.error_code = code.code();
            result.error_message = Some(message);
        }
    }
    for result in responses.iter_mut().filter(|result| result.error_code == 0) {
        let name = result.name.clone().unwrap_or_default();
        if !wait_until_gone(broker, &name, deadline).await {
            result.error_code = ErrorCode::RequestTimedOut.code();
            result.error_message =
                Some("The topic is marked for deletion; it was not gone in time.".to_owned());
        }
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

/// The row of a topic, with the name and id of one that may be deleted.
fn resolve(
    broker: &Broker,
    topic: &DeleteTopicState,
    all: &[DeleteTopicState],
    version: i16,
) -> DeletableTopicResult {
    let image = broker.image();
    let by_id = !topic.topic_id.is_zero();
    let found = if by_id {
        image.topic_by_id(topic.topic_id)
    } else {
        topic.name.as_deref().and_then(|name| image.topic(name))
    };
    let same = |other: &&DeleteTopicState| {
        other.name.is_some() && other.name == topic.name
            || by_id && other.topic_id == topic.topic_id
            || found.is_some_and(|f| {
                other.name.as_deref() == Some(&*f.name) || !f.id.is_zero() && other.topic_id == f.id
            })
    };
    let error = if !broker.is_controller() {
        Some((ErrorCode::NotController, "This is not the correct controller for this cluster."))
    } else if !broker.config.delete_topics {
        let code = if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
        Some((code, "Topic deletion is disabled (delete.topic.enable=false)."))
    } else if by_id && topic.name.is_some() {
        Some((ErrorCode::InvalidRequest, "Topic name and topic ID can not both be specified."))
    } else if all.iter().filter(same).count() > 1 {
        Some((ErrorCode::InvalidRequest, "Topic is named more than once in this request."))
    } else if found.is_none() && by_id {
        Some((ErrorCode::UnknownTopicId, "This server does not host this topic ID."))
    } else if found.is_none() {
        Some((ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition."))
    } else {
        None
    };
    DeletableTopicResult {
        name: found.map(|f| f.name.to_string()).or_else(|| topic.name.clone()),
        topic_id: match found {
            Some(f) if version >= 6 => f.id,
            _ => topic.topic_id,
        },
        error_code: error.map_or(0, |(code, _)| code.code()),
        error_message: error.map(|(_, message)| message.to_owned()),
    }
}

async fn request_deletion(broker: &Broker, topic: &str) -> Result<(), (ErrorCode, String)> {
    match broker.zk().create(&path::delete_topic(topic), None, open_acl(), CreateMode::Persistent).await {
        Ok(_) => Ok(()),
        // Marked before: wait for that deletion.
        Err(error) if error.is(ZkCode::NodeExists) => Ok(()),
        Err(error) => Err((ErrorCode::UnknownServerError, format!("ZooKeeper refused: {error}"))),
    }
}

async fn wait_until_gone(broker: &Broker, topic: &str, deadline: Instant) -> bool {
    if !broker.wait_for_image(deadline, |image| image.topic(topic).is_none()).await {
        return false;
    }
    let node = path::topic(topic);
    while Instant::now() < deadline {
        match broker.zk().exists(&node, false).await {
            Ok(Some(_)) => tokio::time::sleep(LOOK_EVERY).await,
            // Clients no longer see it; that is what was promised.
            Ok(None) | Err(_) => return true,
        }
    }
    true
}
