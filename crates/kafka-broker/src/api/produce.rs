//! Produce 0–11: appends each partition's records, answers when `acks` is satisfied.
//!
//! * acks 0: nothing is sent back; an error closes the connection, so that the client notices and refreshes its metadata.
//! * From version 3 on exactly one batch of magic 2 a partition; 0–2 carry message sets, which are stored as magic 2.
//! * Internal topics only from the client id `__admin_client`.
//! * Transactional batches are refused until there are transactions (INVALID_TXN_STATE): nothing would ever end them.
//! * From version 10 on a wrong leader is answered with the right one (KIP-951).

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData,
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use kafka_proto::records::BatchHeader;
use kafka_proto::records::validate::{Origin, check_produce_version};
use kafka_replica::{Appended, Partition, ReplicaError, Waiter};

use super::Reply;
use crate::broker::Broker;
use crate::clock;
use crate::context::RequestContext;
use crate::topics;

const ACKS_ALL: i16 = -1;
/// Who may write to internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// A refused partition.
struct Failure {
    code: ErrorCode,
    message: Option<String>,
    record_errors: Vec<BatchIndexAndErrorMessage>,
}

impl Failure {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), record_errors: Vec::new() }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new() }
    }
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        let record_errors = match &error {
            ReplicaError::Invalid(invalid) => invalid.record_errors(),
            _ => &[],
        };
        let record_errors = record_errors
            .iter()
            .map(|e| BatchIndexAndErrorMessage {
                batch_index: e.index,
                batch_index_error_message: Some(e.message.clone()),
            })
            .collect();
        Self { code: error.code(), message: Some(error.to_string()), record_errors }
    }
}

/// How long partitions are written before other connections get a turn: a small request can hold a hundred batches that
/// unpack to 128 MiB each.
const TURN: Duration = Duration::from_millis(10);

/// What became of one partition's records.
type Written = Result<Option<(Arc<Partition>, Appended)>, Failure>;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: ProduceRequest,
) -> Reply<ProduceResponse> {
    let acks = request.acks;
    let acks_valid = matches!(acks, ACKS_ALL | 0 | 1);
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut response = ProduceResponse::default();
    let mut unacknowledged: Vec<(usize, usize, Arc<Partition>, i64)> = Vec::new();
    let mut turn = Instant::now();
    for topic in &request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in &topic.partition_data {
            let written = if acks_valid {
                write(broker, ctx, acks, &topic.name, data)
            } else {
                Err(ErrorCode::InvalidRequiredAcks.into())
            };
            let row = match written {
                Ok(Some((partition, appended))) => {
                    if appended.flush_due {
                        broker.flush_now(&partition).await;
                    } else if appended.rolled {
                        broker.flush_soon(&partition);
                    }
                    if acks == ACKS_ALL && !appended.acknowledged {
                        unacknowledged.push((
                            response.responses.len(),
                            partitions.len(),
                            partition,
                            appended.last_offset,
                        ));
                    }
                    success(data.index, &appended)
                }
                Ok(None) => {
                    PartitionProduceResponse { index: data.index, base_offset: -1, ..Default::default() }
                }
                Err(failure) => refusal(data.index, failure),
            };
            partitions.push(row);
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        response
            .responses
            .push(TopicProduceResponse { name: topic.name.clone(), partition_responses: partitions });
    }
    drop(request);
    if !unacknowledged.is_empty() {
        wait_for_replicas(unacknowledged, timeout, &mut response).await;
    }
    if acks == 0 {
        return silent(ctx, &response);
    }
    if ctx.version >= 10 {
        name_leaders(broker, ctx, &mut response);
    }
    Reply::Send(response)
}

fn write(
    broker: &Broker,
    ctx: &RequestContext,
    acks: i16,
    topic: &str,
    data: &PartitionProduceData,
) -> Written {
    if topics::is_internal(topic) && ctx.client_id() != ADMIN_CLIENT_ID {
        return Err(Failure::new(
            ErrorCode::InvalidTopicException,
            format!("{topic} is internal; only the broker writes to it"),
        ));
    }
    let records = data.records.as_deref().unwrap_or_default();
    check_produce_version(ctx.version, records).map_err(ReplicaError::from)?;
    if ctx.version >= 3 && BatchHeader::parse(records).is_ok_and(|header| header.is_transactional()) {
        return Err(Failure::new(
            ErrorCode::InvalidTxnState,
            "transactions are not served by this broker yet",
        ));
    }
    let partition = broker.partition(topic, data.index)?;
    let appended = clock::with_record_reader(|reader| {
        partition.append(records, Origin::Client, acks == ACKS_ALL, clock::wall_ms(), reader)
    });
    match appended {
        Ok(appended) => Ok(appended.map(|appended| (partition, appended))),
        Err(error) => {
            broker.on_replica_error(&partition, &error);
            Err(error.into())
        }
    }
}

fn success(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.first_offset,
        log_append_time_ms: appended.log_append_time_ms,
        log_start_offset: appended.log_start_offset,
        ..Default::default()
    }
}

fn refusal(index: i32, failure: Failure) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: failure.code.code(),
        base_offset: -1,
        record_errors: failure.record_errors,
        error_message: failure.message,
        ..Default::default()
    }
}

async fn wait_for_replicas(
    waiting: Vec<(usize, usize, Arc<Partition>, i64)>,
    timeout: Duration,
    response: &mut ProduceResponse,
) {
    let deadline = tokio::time::Instant::now() + timeout;
    for (topic, row, partition, offset) in waiting {
        let waiter = Waiter::new(1);
        partition.watch_acks(offset, &waiter);
        // Early wake-ups and a lost lead both show in the check.
        let _ = tokio::time::timeout_at(deadline, waiter.wait()).await;
        waiter.abandon();
        let code = match partition.check_acks(offset) {
            Ok(true) => continue,
            Ok(false) => ErrorCode::RequestTimedOut,
            Err(ReplicaError::NotEnoughReplicas { .. }) => ErrorCode::NotEnoughReplicasAfterAppend,
            Err(error) => error.code(),
        };
        let row = &mut response.responses[topic].partition_responses[row];
        (row.error_code, row.base_offset) = (code.code(), -1);
    }
}

fn silent(ctx: &RequestContext, response: &ProduceResponse) -> Reply<ProduceResponse> {
    let mut errors = Vec::new();
    for topic in &response.responses {
        for row in topic.partition_responses.iter().filter(|row| row.error_code != 0) {
            errors.push(format!(
                "{}-{} -> {}",
                topic.name,
                row.index,
                ErrorCode::from_code(row.error_code).name()
            ));
        }
    }
    if errors.is_empty() {
        return Reply::Silent;
    }
    Reply::Close(format!(
        "Closing connection due to error during produce request with correlation id {} from client id {} with ack=0; topic and partition to error: {}",
        ctx.correlation_id,
        ctx.client_id(),
        errors.join(", ")
    ))
}

/// Fills in who leads where this broker does not (KIP-951).
fn name_leaders(broker: &Broker, ctx: &RequestContext, response: &mut ProduceResponse) {
    let image = broker.image();
    let mut leaders = Vec::new();
    for topic in &mut response.responses {
        for row in topic
            .partition_responses
            .iter_mut()
            .filter(|row| row.error_code == ErrorCode::NotLeaderOrFollower.code())
        {
            if let Some(partition) = image.partition(&topic.name, row.index) {
                row.current_leader =
                    LeaderIdAndEpoch { leader_id: partition.leader, leader_epoch: partition.leader_epoch };
                leaders.push(partition.leader);
            }
        }
    }
    let endpoint = |(id, host, port, rack): (i32, &str, u16, Option<&str>)| NodeEndpoint {
        node_id: id,
        host: host.to_owned(),
        port: i32::from(port),
        rack: rack.map(str::to_owned),
    };
    response.node_endpoints =
        image.endpoints(&ctx.peer.listener).filter(|(id, ..)| leaders.contains(id)).map(endpoint).collect();
}
