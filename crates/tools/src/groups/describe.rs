//! `--describe`: what a group has read, who is in it, how it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka_client::Node;
use kafka_proto::ErrorCode;
use kafka_proto::messages::Message as _;
use kafka_proto::messages::data::consumer_protocol_assignment::ConsumerProtocolAssignment;
use kafka_proto::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use kafka_proto::wire::Reader;

use super::layout::{self, MISSING, MemberRow, OffsetRow, PartitionName};
use super::{GroupError, Groups, Result, UNKNOWN, print_error};
use crate::out::say;

impl Groups<'_> {
    pub(super) async fn describe(&self) -> Result<()> {
        let verbose = self.options.has("verbose");
        // Everything is asked before anything is printed, as with the originals.
        let mut described = BTreeMap::new();
        for group in self.chosen().await? {
            described.insert(group.clone(), self.described(&group).await?);
        }
        if self.options.has("members") {
            for (group, described) in described {
                let rows = member_rows(&described);
                if is_worth_a_table(&group, &described.group_state, rows.len())? {
                    say!("{}", layout::members(&group, &rows, verbose).unwrap_or_default());
                }
            }
        } else if self.options.has("state") {
            for (group, described) in described {
                let coordinator = self.coordinator(&group).await?;
                if is_worth_a_table(&group, &described.group_state, 1)? {
                    let strategy = &described.protocol_data;
                    let members = described.members.len();
                    say!(
                        "{}",
                        layout::state(&group, &coordinator, strategy, &described.group_state, members)
                    );
                }
            }
        } else {
            let mut tables = Vec::new();
            for (group, described) in described {
                let rows = self.offset_rows(&group, &described).await?;
                tables.push((group, described.group_state, rows));
            }
            for (group, state, rows) in tables {
                if is_worth_a_table(&group, &state, rows.len())? {
                    say!("{}", layout::offsets(&group, &rows).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// A description, if it is one of consumers.
    pub(super) async fn described(&self, group: &str) -> Result<DescribedGroup> {
        let described = self.client.describe_group(group).await?;
        match described.protocol_type.as_str() {
            "consumer" | "" => Ok(described),
            other => Err(GroupError::Failed(format!(
                "java.lang.IllegalArgumentException: GroupId {group} is not a consumer group ({other})."
            ))),
        }
    }

    async fn coordinator(&self, group: &str) -> Result<String> {
        let what = format!("finding the coordinator of group {group}");
        let node = self.client.retrying(what, || self.client.group_coordinator(group)).await?;
        let brokers = self.client.brokers();
        let broker = brokers.iter().find(|broker| node == Node::Id(broker.id));
        Ok(broker.map_or_else(|| MISSING.to_owned(), |b| format!("{}:{} ({})", b.host, b.port, b.id)))
    }

    async fn offset_rows(&self, group: &str, described: &DescribedGroup) -> Result<Vec<OffsetRow>> {
        let committed: HashMap<PartitionName, i64> = self.committed(group).await?.into_iter().collect();
        let mut members: Vec<MemberRow> = member_rows(described);
        members.retain(|member| !member.assignment.is_empty());
        members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
        let assigned: BTreeSet<PartitionName> =
            members.iter().flat_map(|member| member.assignment.iter().cloned()).collect();
        let unassigned: BTreeSet<PartitionName> =
            committed.keys().filter(|name| !assigned.contains(*name)).cloned().collect();

        let all: Vec<PartitionName> = assigned.iter().chain(&unassigned).cloned().collect();
        let log_ends = self.log_ends_known(&all).await?;
        let row = |name: &PartitionName, member: Option<&MemberRow>| OffsetRow {
            topic: name.0.clone(),
            partition: name.1,
            current: committed.get(name).copied(),
            log_end: log_ends.get(name).copied(),
            member: member.map(|m| (m.consumer_id.clone(), m.host.clone(), m.client_id.clone())),
        };
        let of_members = members.iter().flat_map(|m| m.assignment.iter().map(|name| row(name, Some(m))));
        Ok(of_members.chain(unassigned.iter().map(|name| row(name, None))).collect())
    }

    /// Offsets a group has committed.
    pub(super) async fn committed(&self, group: &str) -> Result<BTreeMap<PartitionName, i64>> {
        let offsets = self.client.fetch_offsets(group, None).await?;
        let committed = offsets.into_iter().filter(|o| o.error == ErrorCode::None && o.offset >= 0);
        Ok(committed.map(|o| ((o.topic, o.partition), o.offset)).collect())
    }

    /// Ends of the logs; partitions that have no answer, such as those of a deleted topic, are left out.
    async fn log_ends_known(&self, partitions: &[PartitionName]) -> Result<HashMap<PartitionName, i64>> {
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        let offsets = self.client.list_offsets(partitions, super::reset::LATEST).await?;
        let known = offsets.into_iter().filter(|o| o.error == ErrorCode::None);
        Ok(known.map(|o| ((o.topic, o.partition), o.offset)).collect())
    }
}

/// Says what there is to say about the group's state, and whether a table of `rows` lines follows.
fn is_worth_a_table(group: &str, state: &str, rows: usize) -> Result<bool> {
    match state {
        "Dead" => print_error(&format!("Consumer group '{group}' does not exist.")),
        "Empty" => eprintln!("\nConsumer group '{group}' has no active members."),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            eprintln!("\nWarning: Consumer group '{group}' is rebalancing.");
        }
        "Stable" => {}
        other => {
            let other = if other.is_empty() { UNKNOWN } else { other };
            return Err(GroupError::Failed(format!(
                "Expected a valid consumer group state, but found '{other}'."
            )));
        }
    }
    Ok(state != "Dead" && rows > 0)
}

fn member_rows(described: &DescribedGroup) -> Vec<MemberRow> {
    let row = |member: &DescribedGroupMember| MemberRow {
        consumer_id: member.member_id.clone(),
        instance_id: member.group_instance_id.clone().unwrap_or_default(),
        host: member.client_host.clone(),
        client_id: member.client_id.clone(),
        assignment: assignment(member),
    };
    described.members.iter().map(row).collect()
}

/// The partitions in a member's assignment; none in bytes that are not the consumer protocol's.
fn assignment(member: &DescribedGroupMember) -> BTreeSet<PartitionName> {
    let mut reader = Reader::new(member.member_assignment.clone());
    let Ok(version) = reader.i16() else { return BTreeSet::new() };
    let newest = ConsumerProtocolAssignment::MAX_VERSION;
    let Ok(assignment) = ConsumerProtocolAssignment::decode(&mut reader, version.clamp(0, newest)) else {
        return BTreeSet::new();
    };
    let topics = assignment.assigned_partitions.into_iter();
    topics.flat_map(|t| t.partitions.into_iter().map(move |p| (t.topic.clone(), p))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_nonsense_is_none() {
        // Version 1, one topic "t" with partitions 1 and 0, null user data.
        let bytes: &[u8] =
            &[0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 255, 255, 255, 255];
        let member = |bytes: &'static [u8]| DescribedGroupMember {
            member_assignment: bytes.into(),
            ..Default::default()
        };
        assert_eq!(assignment(&member(bytes)), BTreeSet::from([("t".into(), 0), ("t".into(), 1)]));
        assert_eq!(assignment(&member(&[])), BTreeSet::new());
        assert_eq!(assignment(&member(&[0, 0, 127, 255, 255, 255])), BTreeSet::new());
    }

    #[test]
    fn only_groups_that_exist_have_a_table() {
        let worth = |state, rows| is_worth_a_table("g", state, rows).expect("a valid state");
        assert!(worth("Stable", 1) && worth("Empty", 2) && !worth("Stable", 0) && !worth("Dead", 1));
        assert!(is_worth_a_table("g", "", 1).is_err());
    }
}
