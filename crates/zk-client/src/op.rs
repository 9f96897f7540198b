//! Items for [`crate::ZkClient::multi`].

use bytes::Bytes;
use zk_proto::opcode::CreateKind;
use zk_proto::{Acl, CreateMode, CreateRequest, MultiOp};

pub fn create(path: impl Into<String>, data: Option<Bytes>, acl: Vec<Acl>, mode: CreateMode) -> MultiOp {
    // Plain create, not create2: servers before 3.7.2 lose a create2 in a multi (ZOOKEEPER-4026).
    let kind = if mode.is_container() { CreateKind::Container } else { CreateKind::Create };
    MultiOp::Create(CreateRequest { kind, path: path.into(), data, acl, flags: mode.flags(), ttl_ms: -1 })
}

/// `version` -1 for any.
pub fn delete(path: impl Into<String>, version: i32) -> MultiOp {
    MultiOp::Delete { path: path.into(), version }
}

/// `version` -1 for any.
pub fn set_data(path: impl Into<String>, data: Option<Bytes>, version: i32) -> MultiOp {
    MultiOp::SetData { path: path.into(), data, version }
}

/// Refuses the multi unless the node is there, with this version (-1 for any).
pub fn check(path: impl Into<String>, version: i32) -> MultiOp {
    MultiOp::Check { path: path.into(), version }
}
