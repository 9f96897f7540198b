//! The APIs this broker serves: one table, one file each.
//!
//! # Adding an API
//!
//! 1. `api/<snake_name>.rs` with a header that lists versions, behaviour and deviations, and
//!    `pub async fn handle(broker: &Arc<Broker>, ctx: &RequestContext, request: XRequest) -> XResponse`
//!    (`ctx.version` is the request's version).
//! 2. `mod <snake_name>;` below and one line in `serve_apis!`. The line drives dispatch *and* what ApiVersions advertises.
//!
//! Requests borrow nothing, but their `Bytes` are slices of the connection's frame buffer: copy what outlives the request.
//! A handler runs to its end even if its client is gone; only the end of the process cancels it.

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;

use std::sync::Arc;

use bytes::Bytes;
use kafka_proto::frame::{RequestHeader, encode_response};
use kafka_proto::messages::{ApiKey, Message, Request};
use kafka_proto::wire::{Frame, Reader, WireError};
use thiserror::Error;

use crate::broker::Broker;
use crate::context::{ConnectionContext, RequestContext};

/// What happens to a connection after a request.
#[derive(Debug)]
pub enum Outcome {
    Send(Frame),
    /// Nothing to send (Produce with acks 0).
    Silent,
    Close(Refused),
}

/// Why a request ends its connection.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("malformed request: {0}")]
    Malformed(WireError),
    #[error("malformed {api} request of version {version}: {error}")]
    MalformedBody { api: ApiKey, version: i16, error: WireError },
    /// Kafka's words.
    #[error("Received request for api with key {key} ({name}) and unsupported version {version}", key = api.code(), name = api.name())]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error("{0} is not served by this broker")]
    NotServed(ApiKey),
    #[error("{api} response of version {version} cannot be encoded: {error}")]
    Unencodable { api: ApiKey, version: i16, error: WireError },
    /// Produce with acks 0 has no reply that could carry an error.
    #[error("{0}")]
    Handler(String),
}

/// What a handler gives back: mostly a response, which converts by itself.
pub enum Reply<R> {
    Send(R),
    Silent,
    Close(String),
}

impl<R: Message> From<R> for Reply<R> {
    fn from(response: R) -> Self {
        Self::Send(response)
    }
}

/// An API with the versions served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    pub api: ApiKey,
    pub min: i16,
    pub max: i16,
}

impl Served {
    /// The row of `api`.
    pub fn find(api: ApiKey) -> Option<&'static Served> {
        SERVED.iter().find(|served| served.api == api)
    }
}

macro_rules! serve_apis {
    ($($api:ident $min:literal..=$max:literal => $module:ident::$request:ident;)*) => {
        /// Every API served, in the order of keys; the ranges are those a 3.9 broker advertises.
        pub static SERVED: &[Served] = &[$(Served { api: ApiKey::$api, min: $min, max: $max }),*];

        async fn dispatch(broker: &Arc<Broker>, ctx: &RequestContext, reader: Reader) -> Result<Outcome, Refused> {
            match ctx.api {
                $(ApiKey::$api => {
                    let request: kafka_proto::messages::$module::$request = decode(ctx, reader)?;
                    // Boxed: the connection's own future stays small whatever the handlers hold.
                    let reply = Box::pin($module::handle(broker, ctx, request)).await.into();
                    encode::<kafka_proto::messages::$module::$request>(ctx, reply)
                })*
                other => Err(Refused::NotServed(other)),
            }
        }
    };
}

serve_apis! {
    Produce 0..=11 => produce::ProduceRequest;
    Fetch 0..=17 => fetch::FetchRequest;
    ListOffsets 0..=9 => list_offsets::ListOffsetsRequest;
    Metadata 0..=12 => metadata::MetadataRequest;
    OffsetCommit 0..=9 => offset_commit::OffsetCommitRequest;
    OffsetFetch 0..=9 => offset_fetch::OffsetFetchRequest;
    FindCoordinator 0..=6 => find_coordinator::FindCoordinatorRequest;
    JoinGroup 0..=9 => join_group::JoinGroupRequest;
    Heartbeat 0..=4 => heartbeat::HeartbeatRequest;
    LeaveGroup 0..=5 => leave_group::LeaveGroupRequest;
    SyncGroup 0..=5 => sync_group::SyncGroupRequest;
    DescribeGroups 0..=5 => describe_groups::DescribeGroupsRequest;
    ListGroups 0..=5 => list_groups::ListGroupsRequest;
    ApiVersions 0..=4 => api_versions::ApiVersionsRequest;
    CreateTopics 0..=7 => create_topics::CreateTopicsRequest;
    DeleteTopics 0..=6 => delete_topics::DeleteTopicsRequest;
    DeleteRecords 0..=2 => delete_records::DeleteRecordsRequest;
    InitProducerId 0..=5 => init_producer_id::InitProducerIdRequest;
    OffsetForLeaderEpoch 0..=4 => offset_for_leader_epoch::OffsetForLeaderEpochRequest;
    DescribeConfigs 0..=4 => describe_configs::DescribeConfigsRequest;
    AlterConfigs 0..=2 => alter_configs::AlterConfigsRequest;
    CreatePartitions 0..=3 => create_partitions::CreatePartitionsRequest;
    DeleteGroups 0..=2 => delete_groups::DeleteGroupsRequest;
    IncrementalAlterConfigs 0..=1 => incremental_alter_configs::IncrementalAlterConfigsRequest;
    OffsetDelete 0..=0 => offset_delete::OffsetDeleteRequest;
    DescribeCluster 0..=1 => describe_cluster::DescribeClusterRequest;
}

/// Serves one frame.
pub async fn serve(broker: &Arc<Broker>, connection: &mut ConnectionContext, frame: Bytes) -> Outcome {
    let mut reader = Reader::new(frame);
    let header = match RequestHeader::decode(&mut reader) {
        Ok(header) => header,
        Err(error) => return Outcome::Close(Refused::Malformed(error)),
    };
    let ctx = connection.request(&header);
    let Some(served) = Served::find(ctx.api) else { return Outcome::Close(Refused::NotServed(ctx.api)) };
    if !(served.min..=served.max).contains(&ctx.version) {
        return match ctx.api {
            ApiKey::ApiVersions => answer(api_versions::unsupported_version(&ctx)),
            api => Outcome::Close(Refused::UnsupportedVersion { api, version: ctx.version }),
        };
    }
    answer(dispatch(broker, &ctx, reader).await)
}

fn answer(result: Result<Outcome, Refused>) -> Outcome {
    result.unwrap_or_else(Outcome::Close)
}

fn decode<R: Request>(ctx: &RequestContext, mut reader: Reader) -> Result<R, Refused> {
    let (api, version) = (ctx.api, ctx.version);
    R::decode(&mut reader, version).map_err(|error| Refused::MalformedBody { api, version, error })
}

fn encode<R: Request>(ctx: &RequestContext, reply: Reply<R::Response>) -> Result<Outcome, Refused> {
    match reply {
        Reply::Send(response) => encode_as(&response, ctx, ctx.version),
        Reply::Silent => Ok(Outcome::Silent),
        Reply::Close(reason) => Err(Refused::Handler(reason)),
    }
}

fn encode_as<M: Message>(response: &M, ctx: &RequestContext, version: i16) -> Result<Outcome, Refused> {
    let encoded = encode_response(response, ctx.api, version, ctx.correlation_id);
    encoded.map(Outcome::Send).map_err(|error| Refused::Unencodable { api: ctx.api, version, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_can_be_decoded_and_is_in_key_order() {
        assert!(SERVED.windows(2).all(|pair| pair[0].api.code() < pair[1].api.code()));
        for served in SERVED {
            let info = served.api.info();
            assert!(info.min_version <= served.min && served.max <= info.max_version, "{}", served.api);
        }
    }
}
