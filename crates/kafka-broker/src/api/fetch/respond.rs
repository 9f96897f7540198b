//! Turns reads into a response: all partitions, or the changed ones of a session.

use bytes::Bytes;
use kafka_proto::error::ErrorCode;
use kafka_proto::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use kafka_proto::wire::Records;
use parking_lot::Mutex;

use super::read::PartitionRead;
use super::{Params, convert};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::fetch_session::{FetchTarget, PartitionOutcome, Session};

/// Names every partition; opens `session` if there is one.
pub fn full(
    broker: &Broker,
    ctx: &RequestContext,
    params: &Params,
    reads: Vec<PartitionRead>,
    session: Option<&Mutex<Session>>,
) -> FetchResponse {
    let mut builder = Builder::default();
    let mut opened = session.map(|session| session.lock());
    for read in reads {
        let (target, data) = partition_data(params, &read);
        if let Some(session) = opened.as_mut() {
            session.note(&target, outcome_of(&data));
        }
        builder.add(&read, data);
    }
    let session_id = opened.map_or(0, |session| session.id);
    builder.finish(broker, ctx, session_id)
}

/// Names the partitions whose state changed or that have records.
pub fn incremental(
    broker: &Broker,
    ctx: &RequestContext,
    params: &Params,
    reads: Vec<PartitionRead>,
    session: &Mutex<Session>,
) -> FetchResponse {
    let mut builder = Builder::default();
    let mut session = session.lock();
    for read in reads {
        let (target, data) = partition_data(params, &read);
        if session.note(&target, outcome_of(&data)) {
            builder.add(&read, data);
        }
    }
    let session_id = session.id;
    drop(session);
    builder.finish(broker, ctx, session_id)
}

fn outcome_of(data: &PartitionData) -> PartitionOutcome {
    PartitionOutcome {
        error: data.error_code != 0,
        has_records: !data.records.is_empty(),
        diverges: data.diverging_epoch != EpochEndOffset::default(),
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
    }
}

fn partition_data(params: &Params, read: &PartitionRead) -> (FetchTarget, PartitionData) {
    let index = read.target.partition;
    let data = match &read.outcome {
        Err(code) => refused(index, *code),
        Ok(outcome) => {
            let records = match (&outcome.region, &read.partition) {
                (Some(region), Some(partition)) => {
                    let limit = usize::try_from(read.target.max_bytes).unwrap_or(0);
                    convert::for_version(
                        region.clone(),
                        &partition.config(),
                        params,
                        read.target.fetch_offset,
                        limit,
                    )
                }
                _ => Ok(Records::Bytes(Bytes::new())),
            };
            match records {
                Err(code) => refused(index, code),
                Ok(records) => PartitionData {
                    partition_index: index,
                    high_watermark: outcome.high_watermark,
                    last_stable_offset: outcome.last_stable_offset,
                    log_start_offset: outcome.log_start_offset,
                    diverging_epoch: outcome.diverging.map_or_else(EpochEndOffset::default, |end| {
                        EpochEndOffset { epoch: end.epoch, end_offset: end.end_offset }
                    }),
                    aborted_transactions: params.read_committed.then(|| {
                        let aborted = outcome.aborted.iter();
                        aborted
                            .map(|(producer_id, first_offset)| AbortedTransaction {
                                producer_id: *producer_id,
                                first_offset: *first_offset,
                            })
                            .collect()
                    }),
                    records,
                    ..Default::default()
                },
            }
        }
    };
    (read.target.clone(), data)
}

fn refused(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Records::Bytes(Bytes::new()),
        ..Default::default()
    }
}

/// Groups partitions by topic, in the order they come.
#[derive(Default)]
struct Builder {
    topics: Vec<FetchableTopicResponse>,
}

impl Builder {
    fn add(&mut self, read: &PartitionRead, data: PartitionData) {
        let name = read.topic.as_deref().unwrap_or("");
        let id = read.target.topic_id;
        match self.topics.last_mut() {
            Some(last) if last.topic == name && last.topic_id == id => last.partitions.push(data),
            _ => self.topics.push(FetchableTopicResponse {
                topic: name.to_owned(),
                topic_id: id,
                partitions: vec![data],
            }),
        }
    }

    fn finish(mut self, broker: &Broker, ctx: &RequestContext, session_id: i32) -> FetchResponse {
        let mut node_endpoints = Vec::new();
        if ctx.version >= 12 {
            let leaders = self.name_leaders(broker);
            if ctx.version >= 16 && !leaders.is_empty() {
                node_endpoints = endpoints(broker, ctx, &leaders);
            }
        }
        FetchResponse { session_id, responses: self.topics, node_endpoints, ..Default::default() }
    }

    /// Fills in who leads where this broker does not, or the client's epoch is old (KIP-951).
    fn name_leaders(&mut self, broker: &Broker) -> Vec<i32> {
        let stale = [ErrorCode::NotLeaderOrFollower.code(), ErrorCode::FencedLeaderEpoch.code()];
        let mut leaders = Vec::new();
        for topic in &mut self.topics {
            for data in topic.partitions.iter_mut().filter(|data| stale.contains(&data.error_code)) {
                if let Some(partition) = broker.image().partition(&topic.topic, data.partition_index) {
                    data.current_leader = LeaderIdAndEpoch {
                        leader_id: partition.leader,
                        leader_epoch: partition.leader_epoch,
                    };
                    leaders.push(partition.leader);
                }
            }
        }
        leaders
    }
}

fn endpoints(broker: &Broker, ctx: &RequestContext, leaders: &[i32]) -> Vec<NodeEndpoint> {
    let image = broker.image();
    let named = image.endpoints(&ctx.peer.listener).filter(|(id, ..)| leaders.contains(id));
    named
        .map(|(id, host, port, rack)| NodeEndpoint {
            node_id: id,
            host: host.to_owned(),
            port: i32::from(port),
            rack: rack.map(str::to_owned),
        })
        .collect()
}
