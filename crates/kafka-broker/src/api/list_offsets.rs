//! ListOffsets 0–9: offsets by timestamp, or the ends of a log.
//!
//! * Timestamps −1 latest (the high watermark, or the last stable offset for `read_committed`), −2 earliest, −3 largest
//!   timestamp (from 7 on), −4 earliest local (from 8 on; without tiered storage the earliest), −5 latest tiered (from 9
//!   on; none). A special timestamp older than the version: UNSUPPORTED_VERSION.
//! * Version 0 answers with a list of segment starts, newest first, as consumers before 0.10.1 expect.
//! * A partition named twice: INVALID_REQUEST.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use kafka_replica::{Isolation, OffsetQuery};

use crate::broker::Broker;
use crate::clock;
use crate::context::RequestContext;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub async fn handle(
    broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = match (request.replica_id, request.isolation_level) {
        (-1, 1) => Isolation::LastStable,
        (-1, _) => Isolation::HighWatermark,
        _ => Isolation::LogEnd,
    };
    let topics = request.topics.iter().map(|topic| {
        let mut seen = HashSet::new();
        let twice: HashSet<i32> =
            topic.partitions.iter().map(|p| p.partition_index).filter(|index| !seen.insert(*index)).collect();
        let answer = |asked: &ListOffsetsPartition| match twice.contains(&asked.partition_index) {
            true => refused(asked.partition_index, ErrorCode::InvalidRequest),
            false => find(broker, ctx, &topic.name, asked, isolation)
                .unwrap_or_else(|code| refused(asked.partition_index, code)),
        };
        ListOffsetsTopicResponse {
            partitions: topic.partitions.iter().map(answer).collect(),
            name: topic.name.clone(),
        }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn find(
    broker: &Broker,
    ctx: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let partition = broker.partition(topic, asked.partition_index)?;
    let on_error = |error| {
        broker.on_replica_error(&partition, &error);
        error.code()
    };
    let mut response =
        ListOffsetsPartitionResponse { partition_index: asked.partition_index, ..Default::default() };
    if ctx.version == 0 {
        let count = usize::try_from(asked.max_num_offsets).unwrap_or(0);
        response.old_style_offsets = partition
            .offsets_before(asked.timestamp, count, isolation, clock::wall_ms())
            .map_err(on_error)?;
        return Ok(response);
    }
    let query = query(asked.timestamp, ctx.version)?;
    let found = match query {
        Some(query) => {
            partition.find_offset(query, isolation, asked.current_leader_epoch).map_err(on_error)?
        }
        None => None,
    };
    match found {
        Some(found) => {
            (response.offset, response.timestamp) = (found.offset, found.timestamp);
            if ctx.version >= 4 {
                response.leader_epoch = found.leader_epoch;
            }
        }
        None => (response.offset, response.timestamp, response.leader_epoch) = (-1, -1, -1),
    }
    Ok(response)
}

/// `None`: a place that cannot exist here.
fn query(timestamp: i64, version: i16) -> Result<Option<OffsetQuery>, ErrorCode> {
    Ok(Some(match timestamp {
        LATEST => OffsetQuery::Latest,
        EARLIEST => OffsetQuery::Earliest,
        MAX_TIMESTAMP if version >= 7 => OffsetQuery::MaxTimestamp,
        EARLIEST_LOCAL if version >= 8 => OffsetQuery::Earliest,
        LATEST_TIERED if version >= 9 => return Ok(None),
        timestamp if timestamp < EARLIEST => return Err(ErrorCode::UnsupportedVersion),
        timestamp => OffsetQuery::Timestamp(timestamp),
    }))
}

fn refused(index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: code.code(),
        offset: -1,
        timestamp: -1,
        leader_epoch: -1,
        ..Default::default()
    }
}
