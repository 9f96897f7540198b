//! Requests as the core sees them, free of protocol versions, and the gate before a shard.

use bytes::Bytes;

use kafka_proto::ErrorCode;

/// A member's wish to take part in the group's next generation.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinRequest {
    pub group_id: String,
    /// Empty on the first attempt.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    pub client_id: String,
    /// The client's address as Java prints it, `/127.0.0.1`.
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
    /// JoinGroup 4 and later: a new dynamic member first gets its id (KIP-394).
    pub member_id_required: bool,
    /// JoinGroup 9 and later understand `skip_assignment` (KIP-814).
    pub can_skip_assignment: bool,
    /// A fresh random UUID in its usual text form, used if a member id has to be made.
    pub fresh_uuid: String,
    /// The client's own words, for the log (KIP-800).
    pub reason: Option<String>,
}

/// An assignment strategy a member supports, with its subscription in that strategy's format.
#[derive(Debug, Clone, PartialEq)]
pub struct Protocol {
    pub name: String,
    pub metadata: Bytes,
}

/// A member asks for its assignment; the leader brings everybody's.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncRequest {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
    /// Checked when present (SyncGroup 5 and later).
    pub protocol_type: Option<String>,
    /// Checked when present (SyncGroup 5 and later).
    pub protocol_name: Option<String>,
    /// Member id and assignment; only the leader's count.
    pub assignments: Vec<(String, Bytes)>,
}

/// Who sends a request that belongs to a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRef {
    pub member_id: String,
    pub instance_id: Option<String>,
    /// -1 for consumers that manage their partitions themselves.
    pub generation_id: i32,
}

/// A member that leaves; an empty member id with an instance id removes a static member by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub reason: Option<String>,
}

/// Offsets to store.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitRequest {
    pub group_id: String,
    pub member: MemberRef,
    pub offsets: Vec<OffsetToCommit>,
}

/// One partition's offset to store.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetToCommit {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// -1 where unknown.
    pub leader_epoch: i32,
    pub metadata: String,
    /// Only OffsetCommit 1 brings one; otherwise the time of the step counts.
    pub commit_timestamp_ms: Option<i64>,
    /// Time to live from now, only OffsetCommit 2–4.
    pub retention_ms: Option<i64>,
}

/// The group operations that are gated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOp {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit,
    Fetch,
    Describe,
    Delete,
    DeleteOffsets,
}

/// What this broker knows of the partition a group belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardStatus {
    Loading,
    Active,
    Elsewhere,
}

/// Strings in group records carry a 16-bit length.
const GROUP_ID_BYTES_MAX: usize = i16::MAX as usize;

/// Whether an operation may reach the group's shard (`validateGroupStatus`).
///
/// The empty group id is served where old clients use it: commit, fetch, describe, delete. While
/// loading, callers of heartbeat answer "no error" ([`GroupOp::Heartbeat`] and
/// [`ErrorCode::CoordinatorLoadInProgress`]), so that members keep their place.
pub fn admit(group_id: &str, op: GroupOp, status: ShardStatus) -> Result<(), ErrorCode> {
    let may_be_empty = matches!(op, GroupOp::Commit | GroupOp::Fetch | GroupOp::Describe | GroupOp::Delete);
    if (group_id.is_empty() && !may_be_empty) || group_id.len() > GROUP_ID_BYTES_MAX {
        return Err(ErrorCode::InvalidGroupId);
    }
    match (status, op) {
        (ShardStatus::Active, _) => Ok(()),
        (ShardStatus::Elsewhere, _) => Err(ErrorCode::NotCoordinator),
        // The state of a running rebalance is lost; older clients do not expect LOAD_IN_PROGRESS here.
        (ShardStatus::Loading, GroupOp::Sync) => Err(ErrorCode::RebalanceInProgress),
        (ShardStatus::Loading, _) => Err(ErrorCode::CoordinatorLoadInProgress),
    }
}
