//! Consumer groups: list, describe, delete.

use kafka_proto::ErrorCode;
use kafka_proto::messages::delete_groups::DeleteGroupsRequest;
use kafka_proto::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use kafka_proto::messages::list_groups::{ListGroupsRequest, ListedGroup};

use crate::{ClientError, KafkaClient, Node};

impl KafkaClient {
    /// Every group of the cluster, by name: each broker is asked for those it coordinates. `states` filters
    /// where brokers can (ListGroups 4); older ones answer without states, and are not filtered.
    pub async fn list_groups(&self, states: &[String]) -> Result<Vec<ListedGroup>, ClientError> {
        let what = "listing groups";
        let mut groups = self
            .retrying(what, || async {
                self.refresh().await?;
                let mut all = Vec::new();
                for broker in self.brokers() {
                    let request = |version| ListGroupsRequest {
                        states_filter: if version >= 4 { states.to_vec() } else { Vec::new() },
                        ..Default::default()
                    };
                    let (_, response) = self.call_with(Node::Id(broker.id), request).await?;
                    let asked = || format!("{what} of broker {}", broker.id);
                    ClientError::check(response.error_code, None, asked)?;
                    all.extend(response.groups);
                }
                Ok(all)
            })
            .await?;
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        groups.dedup_by(|a, b| a.group_id == b.group_id);
        Ok(groups)
    }

    /// State, protocol and members of a group. A group nobody knows is in state `Dead`.
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup, ClientError> {
        let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        let what = || format!("describing group {group}");
        self.retrying(what(), || async {
            let node = self.group_coordinator(group).await?;
            let response = self.call(node, &request).await?;
            let found = response.groups.into_iter().next().unwrap_or_default();
            ClientError::check(found.error_code, None, what)?;
            Ok(found)
        })
        .await
    }

    /// Deletes a group that has no members, and its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        let what = || format!("deleting group {group}");
        self.retrying(what(), || async {
            let node = self.group_coordinator(group).await?;
            let response = self.call(node, &request).await?;
            let result = response.results.first();
            let code = result.map_or(ErrorCode::UnknownServerError.code(), |r| r.error_code);
            ClientError::check(code, None, what)
        })
        .await
    }
}
