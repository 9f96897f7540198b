//! What goes in besides requests (time) and what comes out (records to append, replies).

use bytes::Bytes;

use crate::records::Record;
use kafka_proto::ErrorCode;

/// The time of one step. Deadlines run on the monotonic clock, timestamps in records on the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub wall_ms: i64,
    /// Milliseconds on a clock that never goes back; any origin.
    pub mono_ms: i64,
}

/// The shell's name for a request that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The core's name for an append that waits for its outcome. Ascending in the order of the appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Append the records as one batch, then call [`crate::Shard::on_appended`].
    Append {
        id: AppendId,
        /// Create time of every record, wall clock.
        timestamp_ms: i64,
        records: Vec<Record>,
    },
    /// Answer the request. Each token is answered exactly once.
    Reply { token: Token, reply: Reply },
}

/// A reply to a request that may have had to wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    /// One outcome for each offset of the request, in its order.
    Commit(Vec<Result<(), ErrorCode>>),
    DeleteGroup(Result<(), ErrorCode>),
    /// One outcome for each partition of the request, in its order.
    DeleteOffsets(Result<Vec<Result<(), ErrorCode>>, ErrorCode>),
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinReply {
    pub error: Option<ErrorCode>,
    pub member_id: String,
    /// -1 where there is none.
    pub generation_id: i32,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    /// The leader's member id, empty where there is none.
    pub leader: String,
    /// Tells the leader that it leads but must not assign again (JoinGroup 9, KIP-814).
    pub skip_assignment: bool,
    /// Everybody's subscription; only the leader gets it.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A join answered with nothing but an error.
    pub fn refused(member_id: impl Into<String>, error: ErrorCode) -> Self {
        JoinReply {
            error: Some(error),
            member_id: member_id.into(),
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    /// The subscription for the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncReply {
    pub error: Option<ErrorCode>,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub assignment: Bytes,
}

impl SyncReply {
    /// A sync answered with nothing but an error.
    pub fn refused(error: ErrorCode) -> Self {
        SyncReply { error: Some(error), protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}
