//! Reply bodies, one variant a shape; several operations share one.
//!
//! A server that answers from its tree writes with the free functions here and builds no [`Response`].

use bytes::Bytes;

use crate::data::Acl;
use crate::data::Stat;
use crate::jute::{Reader, WireError, Writer};
use crate::multi::MultiResult;
use crate::opcode::OpCode;

/// One identity of a session, as whoAmI tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    pub auth_scheme: String,
    pub user: String,
}

/// The body after a reply header whose error is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// delete, ping, auth, setWatches, checkWatches, removeWatches, closeSession
    Empty,
    /// create, sync
    Path { path: String },
    /// create2, createContainer, createTTL
    PathStat { path: String, stat: Stat },
    /// exists, setData, setACL
    Stat { stat: Stat },
    /// getData, reconfig
    Data { data: Option<Bytes>, stat: Stat },
    /// getChildren, getEphemerals
    Children { children: Vec<String> },
    /// getChildren2
    ChildrenStat { children: Vec<String>, stat: Stat },
    /// getACL
    Acl { acl: Vec<Acl>, stat: Stat },
    /// multi, multiRead
    Multi(Vec<MultiResult>),
    /// addWatch
    Error { err: i32 },
    /// getAllChildrenNumber
    Count { total: i32 },
    /// sasl
    Token { token: Option<Bytes> },
    /// whoAmI
    ClientInfos(Vec<ClientInfo>),
}

impl Response {
    /// Reads the reply to operation `op`.
    pub fn decode_for(op: OpCode, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match op {
            OpCode::Create | OpCode::Sync => Self::Path { path: r.string()? },
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::PathStat { path: r.string()?, stat: Stat::decode(r)? }
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl | OpCode::Check => {
                Self::Stat { stat: Stat::decode(r)? }
            }
            OpCode::GetData | OpCode::Reconfig => Self::Data { data: r.bytes()?, stat: Stat::decode(r)? },
            OpCode::GetChildren | OpCode::GetEphemerals => {
                Self::Children { children: r.vec(4, Reader::string)? }
            }
            OpCode::GetChildren2 => {
                Self::ChildrenStat { children: r.vec(4, Reader::string)?, stat: Stat::decode(r)? }
            }
            OpCode::GetAcl => Self::Acl { acl: Acl::decode_list(r)?, stat: Stat::decode(r)? },
            OpCode::Multi | OpCode::MultiRead => Self::Multi(MultiResult::decode_all(r)?),
            OpCode::AddWatch => Self::Error { err: r.i32()? },
            OpCode::GetAllChildrenNumber => Self::Count { total: r.i32()? },
            OpCode::Sasl => Self::Token { token: r.bytes()? },
            OpCode::WhoAmI => Self::ClientInfos(r.vec(8, |r| {
                Ok(ClientInfo { auth_scheme: r.string()?, user: r.string_opt()?.unwrap_or_default() })
            })?),
            OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::Ping
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::CloseSession => Self::Empty,
            OpCode::Notification | OpCode::CreateSession | OpCode::Error => {
                return Err(WireError::Unknown { what: "reply to operation", value: op.code() });
            }
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        match self {
            Self::Empty => {}
            Self::Path { path } => w.string(path),
            Self::PathStat { path, stat } => {
                w.string(path);
                stat.encode(w);
            }
            Self::Stat { stat } => stat.encode(w),
            Self::Data { data, stat } => write_data(w, data.as_deref(), stat),
            Self::Children { children } => write_children(w, children.iter().map(String::as_str)),
            Self::ChildrenStat { children, stat } => {
                write_children(w, children.iter().map(String::as_str));
                stat.encode(w);
            }
            Self::Acl { acl, stat } => {
                Acl::encode_list(acl, w);
                stat.encode(w);
            }
            Self::Multi(results) => MultiResult::encode_all(results, w),
            Self::Error { err } => w.i32(*err),
            Self::Count { total } => w.i32(*total),
            Self::Token { token } => w.buffer(token.as_deref()),
            Self::ClientInfos(infos) => w.vec(infos, |w, info| {
                w.string(&info.auth_scheme);
                w.string(&info.user);
            }),
        }
    }
}

/// Body of a getData reply.
pub fn write_data(w: &mut Writer, data: Option<&[u8]>, stat: &Stat) {
    w.buffer(data);
    stat.encode(w);
}

/// Body of a getChildren reply; a Stat follows for getChildren2.
pub fn write_children<'a>(w: &mut Writer, children: impl ExactSizeIterator<Item = &'a str>) {
    w.len_prefix(children.len());
    for child in children {
        w.string(child);
    }
}
