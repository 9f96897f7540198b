//! ZooKeeper operations and their answers as plain data.
//!
//! The shell maps them to its client one to one; ACLs are its business (`zookeeper.set.acl`).

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZkOp {
    /// exists; with a watch it fires on creation, deletion and change.
    Exists {
        /// Path under the chroot.
        path: String,
        /// Leave a watch.
        watch: bool,
    },
    /// getData.
    GetData {
        /// Path under the chroot.
        path: String,
        /// Leave a watch (if the node exists).
        watch: bool,
    },
    /// getChildren.
    GetChildren {
        /// Path under the chroot.
        path: String,
        /// Leave a watch (if the node exists).
        watch: bool,
    },
    /// One multi, all or nothing. A single write may be sent as a plain request.
    Write(Vec<ZkWrite>),
}

/// One operation of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZkWrite {
    /// create; parents are not created.
    Create {
        /// Path under the chroot.
        path: String,
        /// `None` is null data.
        data: Option<Vec<u8>>,
        /// Bound to the session.
        ephemeral: bool,
    },
    /// setData.
    SetData {
        /// Path under the chroot.
        path: String,
        /// New data.
        data: Vec<u8>,
        /// Expected version, −1 for any.
        version: i32,
    },
    /// delete.
    Delete {
        /// Path under the chroot.
        path: String,
        /// Expected version, −1 for any.
        version: i32,
    },
    /// check.
    Check {
        /// Path under the chroot.
        path: String,
        /// Expected version.
        version: i32,
    },
}

/// The parts of a Stat that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZkStat {
    /// Version of the data.
    pub version: i32,
    /// Zxid of the creation; of `/brokers/ids/<id>` it is the broker epoch.
    pub czxid: i64,
}

/// A good answer, of the kind that the request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZkReply {
    /// To exists, if it does; if not, the answer is [`ZkError::NoNode`].
    Exists(ZkStat),
    /// To getData.
    Data {
        /// `None` is null.
        data: Option<Vec<u8>>,
        /// Its Stat.
        stat: ZkStat,
    },
    /// To getChildren: names without the path.
    Children(Vec<String>),
    /// To a write: for each of its operations the Stat, if the operation has one (setData).
    Written(Vec<Option<ZkStat>>),
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZkError {
    /// NONODE.
    NoNode,
    /// NODEEXISTS.
    NodeExists,
    /// BADVERSION.
    BadVersion,
    /// NOTEMPTY.
    NotEmpty,
    /// The connection broke; nobody knows whether the request was carried out.
    ConnectionLoss,
    /// The session is gone, and its ephemeral nodes and watches with it.
    SessionExpired,
    /// Any other code of `KeeperException.Code`.
    Other(i32),
}

/// A failure, and in a multi the operation it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZkFailure {
    /// Why.
    pub error: ZkError,
    /// Index of the operation of a multi that failed first.
    pub op_index: Option<usize>,
}

impl From<ZkError> for ZkFailure {
    fn from(error: ZkError) -> Self {
        ZkFailure { error, op_index: None }
    }
}

/// An answer.
pub type ZkResult = Result<ZkReply, ZkFailure>;

impl ZkOp {
    /// A short name for logs.
    pub fn name(&self) -> &'static str {
        match self {
            ZkOp::Exists { .. } => "exists",
            ZkOp::GetData { .. } => "getData",
            ZkOp::GetChildren { .. } => "getChildren",
            ZkOp::Write(_) => "write",
        }
    }

    /// The path it is about; of a write the last one, which for fenced writes is the one that matters.
    pub fn path(&self) -> &str {
        match self {
            ZkOp::Exists { path, .. } | ZkOp::GetData { path, .. } | ZkOp::GetChildren { path, .. } => path,
            ZkOp::Write(writes) => match writes.last() {
                Some(
                    ZkWrite::Create { path, .. }
                    | ZkWrite::SetData { path, .. }
                    | ZkWrite::Delete { path, .. }
                    | ZkWrite::Check { path, .. },
                ) => path,
                None => "",
            },
        }
    }
}
