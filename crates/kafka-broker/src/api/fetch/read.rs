//! Reads a request's partitions, again and again until there is enough.
//!
//! Register, then look, then wait: an append between looking and waiting is never missed.

use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_replica::{Partition, ReadOutcome, ReadSpec, Waiter};
use tokio::time::{Instant, timeout_at};

use super::Params;
use crate::broker::Broker;
use crate::fetch_session::FetchTarget;

/// One partition's part of the answer.
pub struct PartitionRead {
    pub target: FetchTarget,
    /// Name of the topic, if there is one.
    pub topic: Option<Arc<str>>,
    pub partition: Option<Arc<Partition>>,
    pub outcome: Result<ReadOutcome, ErrorCode>,
}

/// All partitions read once.
struct Pass {
    reads: Vec<PartitionRead>,
    bytes: usize,
    /// Something that is to be told at once.
    urgent: bool,
}

/// Reads `targets` until `min_bytes` are there, something urgent turns up, or time is over.
pub async fn until_enough(broker: &Broker, targets: &[FetchTarget], params: &Params) -> Vec<PartitionRead> {
    let enough = |pass: &Pass| pass.bytes >= params.min_bytes || pass.urgent;
    let mut pass = read_all(broker, targets, params);
    if enough(&pass) || params.max_wait.is_zero() || targets.is_empty() {
        return pass.reads;
    }
    let deadline = Instant::now() + params.max_wait;
    loop {
        let waiter = Waiter::new(i64::try_from(params.min_bytes).unwrap_or(i64::MAX).max(1));
        pass.reads
            .iter()
            .filter_map(|read| read.partition.as_ref())
            .for_each(|partition| partition.watch_bytes(&waiter));
        pass = read_all(broker, targets, params);
        if enough(&pass) {
            waiter.abandon();
            return pass.reads;
        }
        waiter.count(i64::try_from(pass.bytes).unwrap_or(i64::MAX));
        let guard = Abandon(&waiter);
        let in_time = timeout_at(deadline, waiter.wait()).await.is_ok();
        drop(guard);
        pass = read_all(broker, targets, params);
        if enough(&pass) || !in_time {
            return pass.reads;
        }
    }
}

/// Also when the connection goes away while its fetch waits.
struct Abandon<'a>(&'a Arc<Waiter>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn read_all(broker: &Broker, targets: &[FetchTarget], params: &Params) -> Pass {
    let mut pass = Pass { reads: Vec::with_capacity(targets.len()), bytes: 0, urgent: false };
    let mut left = params.max_bytes;
    let mut min_one = true;
    for target in targets {
        let (topic, partition) = match locate(broker, target) {
            Ok((topic, partition)) => (Some(topic), partition),
            Err((topic, code)) => {
                pass.urgent = true;
                pass.reads.push(PartitionRead {
                    target: target.clone(),
                    topic,
                    partition: None,
                    outcome: Err(code),
                });
                continue;
            }
        };
        let outcome = read_one(broker, &partition, target, params, left, min_one);
        match &outcome {
            Ok(read) => {
                let bytes = read.bytes();
                pass.bytes += bytes;
                left = left.saturating_sub(bytes);
                min_one &= bytes == 0;
                pass.urgent |= read.diverging.is_some();
            }
            Err(_) => pass.urgent = true,
        }
        pass.reads.push(PartitionRead { target: target.clone(), topic, partition: Some(partition), outcome });
    }
    pass
}

fn read_one(
    broker: &Broker,
    partition: &Arc<Partition>,
    target: &FetchTarget,
    params: &Params,
    left: usize,
    min_one: bool,
) -> Result<ReadOutcome, ErrorCode> {
    if params.replica.is_some() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let spec = ReadSpec {
        offset: target.fetch_offset,
        max_bytes: usize::try_from(target.max_bytes).unwrap_or(0).min(left),
        // Also for versions 0–2: what is converted must be whole, and is cut afterwards.
        min_one,
        isolation: params.isolation,
        current_leader_epoch: target.current_leader_epoch,
        last_fetched_epoch: target.last_fetched_epoch,
    };
    partition.read(&spec).map_err(|error| {
        broker.on_replica_error(partition, &error);
        error.code()
    })
}

type Located = Result<(Arc<str>, Arc<Partition>), (Option<Arc<str>>, ErrorCode)>;

fn locate(broker: &Broker, target: &FetchTarget) -> Located {
    let topic = match &target.topic {
        Some(name) => name.clone(),
        None => match broker.image().topic_by_id(target.topic_id) {
            Some(topic) => topic.name.clone(),
            None => return Err((None, ErrorCode::UnknownTopicId)),
        },
    };
    match broker.partition(&topic, target.partition) {
        Ok(partition) => Ok((topic, partition)),
        Err(code) => Err((Some(topic), code)),
    }
}
