//! The core's ZooKeeper operations, sent through the client; answers as the core wants them.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use kafka_controller::zk::{ZkError as CoreError, ZkFailure, ZkOp, ZkReply, ZkResult, ZkStat, ZkWrite};
use zk_client::{CreateMode, ErrorCode, MultiOp, MultiResult, Stat, ZkClient, ZkError, open_acl};
use zk_proto::CreateRequest;
use zk_proto::opcode::CreateKind;

/// The answer to come.
pub type Answer = Pin<Box<dyn Future<Output = ZkResult> + Send>>;

/// Queues `op` at once; the future only waits.
pub fn send(zk: &ZkClient, op: ZkOp) -> Answer {
    match op {
        ZkOp::Exists { path, watch } => {
            let reply = zk.exists(&path, watch);
            Box::pin(async move {
                match reply.await.map_err(failure)? {
                    Some(stat) => Ok(ZkReply::Exists(stat_of(&stat))),
                    None => Err(CoreError::NoNode.into()),
                }
            })
        }
        ZkOp::GetData { path, watch } => {
            let reply = zk.get_data(&path, watch);
            Box::pin(async move {
                let (data, stat) = reply.await.map_err(failure)?;
                Ok(ZkReply::Data { data: data.map(|data| data.to_vec()), stat: stat_of(&stat) })
            })
        }
        ZkOp::GetChildren { path, watch } => {
            let reply = zk.get_children(&path, watch);
            Box::pin(async move { reply.await.map(ZkReply::Children).map_err(failure) })
        }
        ZkOp::Write(writes) => {
            let reply = zk.multi(writes.into_iter().map(multi_op).collect());
            Box::pin(async move {
                let results = reply.await.map_err(failure)?;
                Ok(ZkReply::Written(results.iter().map(result_stat).collect()))
            })
        }
    }
}

fn multi_op(write: ZkWrite) -> MultiOp {
    match write {
        ZkWrite::Create { path, data, ephemeral } => {
            let mode = if ephemeral { CreateMode::Ephemeral } else { CreateMode::Persistent };
            MultiOp::Create(CreateRequest {
                kind: CreateKind::Create,
                path,
                data: data.map(Bytes::from),
                acl: open_acl(),
                flags: mode.flags(),
                ttl_ms: -1,
            })
        }
        ZkWrite::SetData { path, data, version } => {
            MultiOp::SetData { path, data: Some(Bytes::from(data)), version }
        }
        ZkWrite::Delete { path, version } => MultiOp::Delete { path, version },
        ZkWrite::Check { path, version } => MultiOp::Check { path, version },
    }
}

fn result_stat(result: &MultiResult) -> Option<ZkStat> {
    match result {
        MultiResult::Create2 { stat, .. } | MultiResult::SetData { stat } => Some(stat_of(stat)),
        _ => None,
    }
}

fn stat_of(stat: &Stat) -> ZkStat {
    ZkStat { version: stat.version, czxid: stat.czxid }
}

fn failure(error: ZkError) -> ZkFailure {
    let op_index = match &error {
        ZkError::Multi { index, .. } => Some(*index),
        _ => None,
    };
    let core = match error.code() {
        Some(ErrorCode::NoNode) => CoreError::NoNode,
        Some(ErrorCode::NodeExists) => CoreError::NodeExists,
        Some(ErrorCode::BadVersion) => CoreError::BadVersion,
        Some(ErrorCode::NotEmpty) => CoreError::NotEmpty,
        Some(ErrorCode::SessionExpired) => CoreError::SessionExpired,
        Some(ErrorCode::ConnectionLoss) => CoreError::ConnectionLoss,
        Some(other) => CoreError::Other(other.code()),
        // A client that is closed has lost its session; a full queue clears.
        None if matches!(error, ZkError::Closed) => CoreError::SessionExpired,
        None => CoreError::ConnectionLoss,
    };
    ZkFailure { error: core, op_index }
}
