//! Fetch 0–17: records from partitions, waiting for enough of them.
//!
//! * From version 7 on in sessions (KIP-227); from 13 on topics are named by id.
//! * Answers at once when `min_bytes` are there, when a partition has an error or its log diverges from the client's
//!   (KIP-595), or when `max_wait_ms` is 0; else waits for appends, without holding anything.
//! * At least one batch of the first partition that has any is sent however large (KIP-74), except to versions 0–2,
//!   which cannot take more than they asked for and get the batch cut.
//! * Versions 0–3 get message sets of magic 0 or 1; topics with `compression.type=zstd` need version 10.
//! * Reading from followers and replicating (replica ids) come with replication: other brokers are answered
//!   NOT_LEADER_OR_FOLLOWER.

mod convert;
mod read;
mod respond;

use std::sync::Arc;
use std::time::Duration;

use kafka_proto::messages::fetch::{FetchRequest, FetchResponse};
use kafka_proto::wire::Uuid;
use kafka_replica::Isolation;

use crate::broker::Broker;
use crate::clock;
use crate::context::RequestContext;
use crate::fetch_session::{FetchContext, FetchTarget, Forgotten, SessionRequest};

/// A plain consumer's replica id.
const CONSUMER: i32 = -1;

/// What holds for all partitions of a request.
#[derive(Debug, Clone, Copy)]
struct Params {
    version: i16,
    max_wait: Duration,
    min_bytes: usize,
    max_bytes: usize,
    isolation: Isolation,
    read_committed: bool,
    /// A broker's id, if one asks.
    replica: Option<i32>,
}

impl Params {
    /// Versions 0–2: never more than the client asked for.
    fn hard_limit(&self) -> bool {
        self.version <= 2
    }
}

pub async fn handle(broker: &Arc<Broker>, ctx: &RequestContext, request: FetchRequest) -> FetchResponse {
    let params = params(broker, ctx, &request);
    let context =
        broker
            .fetch_sessions
            .context(session_request(broker, ctx, request), clock::mono_ms(), || fastrand::i32(1..));
    match context {
        FetchContext::Error(code) => FetchResponse { error_code: code.code(), ..Default::default() },
        FetchContext::Sessionless(targets) => {
            let reads = read::until_enough(broker, &targets, &params).await;
            respond::full(broker, ctx, &params, reads, None)
        }
        FetchContext::Full(targets, session) => {
            let reads = read::until_enough(broker, &targets, &params).await;
            respond::full(broker, ctx, &params, reads, Some(&session))
        }
        FetchContext::Incremental(targets, session) => {
            let reads = read::until_enough(broker, &targets, &params).await;
            respond::incremental(broker, ctx, &params, reads, &session)
        }
    }
}

fn params(broker: &Broker, ctx: &RequestContext, request: &FetchRequest) -> Params {
    let replica_id = if ctx.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let read_committed = request.isolation_level == 1;
    let size = |n: i32| usize::try_from(n).unwrap_or(0);
    Params {
        version: ctx.version,
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        min_bytes: size(request.min_bytes),
        max_bytes: if ctx.version >= 3 { size(request.max_bytes) } else { usize::MAX }
            .min(broker.config.fetch_bytes_max),
        isolation: match replica_id {
            CONSUMER if read_committed => Isolation::LastStable,
            CONSUMER => Isolation::HighWatermark,
            _ => Isolation::LogEnd,
        },
        read_committed,
        replica: Some(replica_id).filter(|id| *id >= 0),
    }
}

fn session_request(broker: &Broker, ctx: &RequestContext, request: FetchRequest) -> SessionRequest {
    let uses_topic_ids = ctx.version >= 13;
    let image = broker.image();
    // The image's own name where there is one: no allocation for it.
    let name = |text: &str| image.topic(text).map_or_else(|| Arc::from(text), |topic| topic.name.clone());
    let mut targets = Vec::with_capacity(request.topics.iter().map(|t| t.partitions.len()).sum());
    for topic in &request.topics {
        let named = (!uses_topic_ids).then(|| name(&topic.topic));
        targets.extend(topic.partitions.iter().map(|partition| FetchTarget {
            topic: named.clone(),
            topic_id: topic.topic_id,
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let named = (!uses_topic_ids).then(|| name(&topic.topic));
        let id = if uses_topic_ids { topic.topic_id } else { Uuid::ZERO };
        forgotten.extend(topic.partitions.iter().map(|partition| Forgotten {
            topic: named.clone(),
            topic_id: id,
            partition: *partition,
        }));
    }
    // Before 7 there are no sessions; the fields' defaults then say "full fetch, no session".
    SessionRequest {
        id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids,
        targets,
        forgotten,
    }
}
