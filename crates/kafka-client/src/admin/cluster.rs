//! Brokers, controller, cluster id.

use kafka_proto::messages::metadata::MetadataRequest;

use crate::{Broker, ClientError, KafkaClient, Node};

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Absent on brokers before 0.10.1.
    pub id: Option<String>,
    pub controller: Option<i32>,
    pub brokers: Vec<Broker>,
}

impl KafkaClient {
    /// Who is in the cluster. Metadata says all that DescribeCluster says, on every release.
    pub async fn describe_cluster(&self) -> Result<Cluster, ClientError> {
        self.retrying("describing the cluster", || async {
            let request = |version| MetadataRequest {
                topics: Some(Vec::new()),
                allow_auto_topic_creation: version < 4,
                ..Default::default()
            };
            let (_, response) = self.call_with(Node::Any, request).await?;
            Ok(Cluster {
                id: response.cluster_id,
                controller: Some(response.controller_id).filter(|id| *id >= 0),
                brokers: response.brokers.iter().map(Broker::from).collect(),
            })
        })
        .await
    }
}
