//! Topics: create, list, describe, delete, add partitions.

use kafka_proto::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use kafka_proto::messages::create_topics::{CreatableTopic, CreatableTopicResult, CreateTopicsRequest};
use kafka_proto::messages::delete_topics::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest};
use kafka_proto::messages::metadata::MetadataResponseTopic;

use super::Patience;
use crate::{ClientError, KafkaClient, Node};

impl KafkaClient {
    /// Topics with their partitions, by name; all topics of the cluster for `None`. A topic that does not exist
    /// comes back with its error code.
    pub async fn describe_topics(
        &self,
        names: Option<&[String]>,
    ) -> Result<Vec<MetadataResponseTopic>, ClientError> {
        let mut topics =
            self.retrying("describing topics", || async { Ok(self.metadata(names).await?.topics) }).await?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Creates topics; with `validate_only` just says what would happen (needs CreateTopics 1).
    pub async fn create_topics(
        &self,
        topics: &[CreatableTopic],
        validate_only: bool,
    ) -> Result<Vec<CreatableTopicResult>, ClientError> {
        let request =
            CreateTopicsRequest { topics: topics.to_vec(), timeout_ms: self.timeout_ms(), validate_only };
        let what = "creating topics";
        let patience = Patience::new();
        self.retrying(what, || async {
            let response = self.call(Node::Controller, &request).await?;
            patience.check(response.topics.iter().map(|t| t.error_code), what)?;
            Ok(response.topics)
        })
        .await
    }

    /// Deletes topics by name.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Vec<DeletableTopicResult>, ClientError> {
        let what = "deleting topics";
        let patience = Patience::new();
        self.retrying(what, || async {
            let request = |version| delete_request(names, version, self.timeout_ms());
            let (_, response) = self.call_with(Node::Controller, request).await?;
            patience.check(response.responses.iter().map(|t| t.error_code), what)?;
            Ok(response.responses)
        })
        .await
    }

    /// Raises the number of partitions of topics.
    pub async fn create_partitions(
        &self,
        topics: &[CreatePartitionsTopic],
        validate_only: bool,
    ) -> Result<Vec<CreatePartitionsTopicResult>, ClientError> {
        let request =
            CreatePartitionsRequest { topics: topics.to_vec(), timeout_ms: self.timeout_ms(), validate_only };
        let what = "adding partitions";
        let patience = Patience::new();
        self.retrying(what, || async {
            let response = self.call(Node::Controller, &request).await?;
            patience.check(response.results.iter().map(|t| t.error_code), what)?;
            Ok(response.results)
        })
        .await
    }

    /// The wait a broker is asked for, as long as ours for its answer.
    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.options().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn delete_request(names: &[String], version: i16, timeout_ms: i32) -> DeleteTopicsRequest {
    let state = |name: &String| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
    let mut request = DeleteTopicsRequest { timeout_ms, ..Default::default() };
    if version >= 6 {
        request.topics = names.iter().map(state).collect();
    } else {
        request.topic_names = names.to_vec();
    }
    request
}
