//! Groups as tools see them.

use bytes::Bytes;

use super::{Group, GroupState};

/// One line of ListGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOverview {
    pub group_id: String,
    pub protocol_type: String,
    pub state: GroupState,
}

/// DescribeGroups.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSummary {
    pub state: GroupState,
    pub protocol_type: String,
    /// Empty unless the group is stable.
    pub protocol: String,
    pub members: Vec<MemberSummary>,
}

/// A member as DescribeGroups shows it; metadata and assignment only while the group is stable.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSummary {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl GroupSummary {
    /// A group nobody knows is described as dead, without an error.
    pub fn unknown() -> Self {
        GroupSummary {
            state: GroupState::Dead,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
        }
    }
}

impl Group {
    pub(crate) fn overview(&self) -> GroupOverview {
        GroupOverview {
            group_id: self.id.to_string(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state,
        }
    }

    pub(crate) fn summary(&self) -> GroupSummary {
        let stable_protocol =
            (self.state == GroupState::Stable).then(|| self.protocol_name.clone().unwrap_or_default());
        let members = self.members.values().map(|member| MemberSummary {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: stable_protocol.as_deref().map(|name| member.metadata(name)).unwrap_or_default(),
            assignment: if stable_protocol.is_some() { member.assignment.clone() } else { Bytes::new() },
        });
        GroupSummary {
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol: stable_protocol.clone().unwrap_or_default(),
        }
    }
}
