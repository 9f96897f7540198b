//! Request bodies, one variant an operation.

use bytes::Bytes;

use crate::data::Acl;
use crate::jute::{Reader, WireError, Writer};
use crate::multi::{MultiOp, MultiReadOp};
use crate::opcode::{CreateKind, OpCode};

/// A create in any of its four shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    pub kind: CreateKind,
    pub path: String,
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    /// [`crate::CreateMode`], unchecked.
    pub flags: i32,
    /// -1 unless `kind` is [`CreateKind::Ttl`].
    pub ttl_ms: i64,
}

impl CreateRequest {
    pub fn decode(kind: CreateKind, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            kind,
            path: r.string()?,
            data: r.bytes()?,
            acl: Acl::decode_list(r)?,
            flags: r.i32()?,
            ttl_ms: if kind == CreateKind::Ttl { r.i64()? } else { -1 },
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.string(&self.path);
        w.buffer(self.data.as_deref());
        Acl::encode_list(&self.acl, w);
        w.i32(self.flags);
        if self.kind == CreateKind::Ttl {
            w.i64(self.ttl_ms);
        }
    }
}

/// The watches a client had before it reconnected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetWatchesRequest {
    /// Last zxid the client saw; changes after it become events at once.
    pub relative_zxid: i64,
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    /// Only in SetWatches2, as the next.
    pub persistent: Vec<String>,
    pub persistent_recursive: Vec<String>,
}

/// A request of an open session (and the two session operations servers make themselves).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Create(CreateRequest),
    Delete {
        path: String,
        version: i32,
    },
    /// Made by servers to reap containers and expired TTL nodes; never accepted from a client.
    DeleteContainer {
        path: String,
    },
    Exists {
        path: String,
        watch: bool,
    },
    GetData {
        path: String,
        watch: bool,
    },
    SetData {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    GetAcl {
        path: String,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    GetChildren {
        path: String,
        watch: bool,
    },
    GetChildren2 {
        path: String,
        watch: bool,
    },
    Sync {
        path: String,
    },
    Ping,
    Check {
        path: String,
        version: i32,
    },
    Multi(Vec<MultiOp>),
    MultiRead(Vec<MultiReadOp>),
    Reconfig {
        joining: Option<String>,
        leaving: Option<String>,
        new_members: Option<String>,
        current_config_id: i64,
    },
    /// `kind` is a `Watcher.WatcherType`, as in the next.
    CheckWatches {
        path: String,
        kind: i32,
    },
    RemoveWatches {
        path: String,
        kind: i32,
    },
    Auth {
        kind: i32,
        scheme: String,
        auth: Option<Bytes>,
    },
    SetWatches(SetWatchesRequest),
    SetWatches2(SetWatchesRequest),
    /// `mode` 0 is persistent, 1 persistent recursive.
    AddWatch {
        path: String,
        mode: i32,
    },
    Sasl {
        token: Option<Bytes>,
    },
    GetEphemerals {
        prefix: Option<String>,
    },
    GetAllChildrenNumber {
        path: String,
    },
    WhoAmI,
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession,
}

fn paths(r: &mut Reader<'_>) -> Result<Vec<String>, WireError> {
    r.vec(4, Reader::string)
}

impl Request {
    /// Reads the body of operation `op`.
    pub fn decode(op: i32, r: &mut Reader<'_>) -> Result<Self, WireError> {
        let unknown = WireError::Unknown { what: "operation", value: op };
        let op = OpCode::from_code(op).ok_or(unknown)?;
        if let Some(kind) = CreateKind::from_op(op) {
            return CreateRequest::decode(kind, r).map(Self::Create);
        }
        Ok(match op {
            OpCode::Delete => Self::Delete { path: r.string()?, version: r.i32()? },
            OpCode::DeleteContainer => Self::DeleteContainer { path: r.string()? },
            OpCode::Exists => Self::Exists { path: r.string()?, watch: r.bool()? },
            OpCode::GetData => Self::GetData { path: r.string()?, watch: r.bool()? },
            OpCode::SetData => Self::SetData { path: r.string()?, data: r.bytes()?, version: r.i32()? },
            OpCode::GetAcl => Self::GetAcl { path: r.string()? },
            OpCode::SetAcl => {
                Self::SetAcl { path: r.string()?, acl: Acl::decode_list(r)?, version: r.i32()? }
            }
            OpCode::GetChildren => Self::GetChildren { path: r.string()?, watch: r.bool()? },
            OpCode::GetChildren2 => Self::GetChildren2 { path: r.string()?, watch: r.bool()? },
            OpCode::Sync => Self::Sync { path: r.string()? },
            OpCode::Ping => Self::Ping,
            OpCode::Check => Self::Check { path: r.string()?, version: r.i32()? },
            OpCode::Multi => Self::Multi(MultiOp::decode_all(r)?),
            OpCode::MultiRead => Self::MultiRead(MultiReadOp::decode_all(r)?),
            OpCode::Reconfig => Self::Reconfig {
                joining: r.string_opt()?,
                leaving: r.string_opt()?,
                new_members: r.string_opt()?,
                current_config_id: r.i64()?,
            },
            OpCode::CheckWatches => Self::CheckWatches { path: r.string()?, kind: r.i32()? },
            OpCode::RemoveWatches => Self::RemoveWatches { path: r.string()?, kind: r.i32()? },
            OpCode::Auth => Self::Auth { kind: r.i32()?, scheme: r.string()?, auth: r.bytes()? },
            OpCode::SetWatches => Self::SetWatches(SetWatchesRequest::decode(r, false)?),
            OpCode::SetWatches2 => Self::SetWatches2(SetWatchesRequest::decode(r, true)?),
            OpCode::AddWatch => Self::AddWatch { path: r.string()?, mode: r.i32()? },
            OpCode::Sasl => Self::Sasl { token: r.bytes()? },
            OpCode::GetEphemerals => Self::GetEphemerals { prefix: r.string_opt()? },
            OpCode::GetAllChildrenNumber => Self::GetAllChildrenNumber { path: r.string()? },
            OpCode::WhoAmI => Self::WhoAmI,
            OpCode::CreateSession => Self::CreateSession { timeout_ms: r.i32()? },
            OpCode::CloseSession => Self::CloseSession,
            _ => return Err(unknown),
        })
    }

    pub fn op(&self) -> OpCode {
        match self {
            Self::Create(create) => create.kind.op(),
            Self::Delete { .. } => OpCode::Delete,
            Self::DeleteContainer { .. } => OpCode::DeleteContainer,
            Self::Exists { .. } => OpCode::Exists,
            Self::GetData { .. } => OpCode::GetData,
            Self::SetData { .. } => OpCode::SetData,
            Self::GetAcl { .. } => OpCode::GetAcl,
            Self::SetAcl { .. } => OpCode::SetAcl,
            Self::GetChildren { .. } => OpCode::GetChildren,
            Self::GetChildren2 { .. } => OpCode::GetChildren2,
            Self::Sync { .. } => OpCode::Sync,
            Self::Ping => OpCode::Ping,
            Self::Check { .. } => OpCode::Check,
            Self::Multi(_) => OpCode::Multi,
            Self::MultiRead(_) => OpCode::MultiRead,
            Self::Reconfig { .. } => OpCode::Reconfig,
            Self::CheckWatches { .. } => OpCode::CheckWatches,
            Self::RemoveWatches { .. } => OpCode::RemoveWatches,
            Self::Auth { .. } => OpCode::Auth,
            Self::SetWatches(_) => OpCode::SetWatches,
            Self::SetWatches2(_) => OpCode::SetWatches2,
            Self::AddWatch { .. } => OpCode::AddWatch,
            Self::Sasl { .. } => OpCode::Sasl,
            Self::GetEphemerals { .. } => OpCode::GetEphemerals,
            Self::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Self::WhoAmI => OpCode::WhoAmI,
            Self::CreateSession { .. } => OpCode::CreateSession,
            Self::CloseSession => OpCode::CloseSession,
        }
    }

    /// Writes the body; the header with [`Request::op`] goes before it.
    pub fn encode(&self, w: &mut Writer) {
        match self {
            Self::Create(create) => create.encode(w),
            Self::Delete { path, version: n }
            | Self::Check { path, version: n }
            | Self::CheckWatches { path, kind: n }
            | Self::RemoveWatches { path, kind: n }
            | Self::AddWatch { path, mode: n } => {
                w.string(path);
                w.i32(*n);
            }
            Self::Exists { path, watch }
            | Self::GetData { path, watch }
            | Self::GetChildren { path, watch }
            | Self::GetChildren2 { path, watch } => {
                w.string(path);
                w.bool(*watch);
            }
            Self::DeleteContainer { path }
            | Self::GetAcl { path }
            | Self::Sync { path }
            | Self::GetAllChildrenNumber { path } => w.string(path),
            Self::SetData { path, data, version } => {
                w.string(path);
                w.buffer(data.as_deref());
                w.i32(*version);
            }
            Self::SetAcl { path, acl, version } => {
                w.string(path);
                Acl::encode_list(acl, w);
                w.i32(*version);
            }
            Self::Multi(ops) => MultiOp::encode_all(ops, w),
            Self::MultiRead(ops) => MultiReadOp::encode_all(ops, w),
            Self::Reconfig { joining, leaving, new_members, current_config_id } => {
                w.string_opt(joining.as_deref());
                w.string_opt(leaving.as_deref());
                w.string_opt(new_members.as_deref());
                w.i64(*current_config_id);
            }
            Self::Auth { kind, scheme, auth } => {
                w.i32(*kind);
                w.string(scheme);
                w.buffer(auth.as_deref());
            }
            Self::SetWatches(set) => set.encode(w, false),
            Self::SetWatches2(set) => set.encode(w, true),
            Self::Sasl { token } => w.buffer(token.as_deref()),
            Self::GetEphemerals { prefix } => w.string_opt(prefix.as_deref()),
            Self::CreateSession { timeout_ms } => w.i32(*timeout_ms),
            Self::Ping | Self::WhoAmI | Self::CloseSession => {}
        }
    }
}

impl SetWatchesRequest {
    fn decode(r: &mut Reader<'_>, v2: bool) -> Result<Self, WireError> {
        let mut set = Self {
            relative_zxid: r.i64()?,
            data: paths(r)?,
            exist: paths(r)?,
            child: paths(r)?,
            ..Self::default()
        };
        if v2 {
            set.persistent = paths(r)?;
            set.persistent_recursive = paths(r)?;
        }
        Ok(set)
    }

    fn encode(&self, w: &mut Writer, v2: bool) {
        let list = |w: &mut Writer, paths: &[String]| w.vec(paths, |w, path| w.string(path));
        w.i64(self.relative_zxid);
        list(w, &self.data);
        list(w, &self.exist);
        list(w, &self.child);
        if v2 {
            list(w, &self.persistent);
            list(w, &self.persistent_recursive);
        }
    }
}
