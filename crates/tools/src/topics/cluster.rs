//! `--bootstrap-server`: topics through the brokers' admin requests.

use std::collections::{BTreeMap, BTreeSet};

use kafka_client::{ClientError, ClientOptions, KafkaClient, Node};
use kafka_proto::ErrorCode;
use kafka_proto::messages::create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_proto::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_proto::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_proto::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use kafka_proto::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_proto::wire::Uuid;

use super::change::Change;
use super::describe::{Layout, PartitionView, Reassignment, Report, TopicView, describe};
use super::{Action, TopicError, select};
use crate::java_errors;
use crate::options::Options;
use crate::out::say;

/// DescribeConfigs' resource type of a topic, and the source of a value that nobody set.
const TOPIC: i8 = 2;
const DEFAULT_CONFIG: i8 = 5;

type Result<T> = std::result::Result<T, TopicError>;

impl From<ClientError> for TopicError {
    fn from(error: ClientError) -> Self {
        Self::new(java_errors::call_message(&error))
    }
}

/// Runs one command against the cluster.
pub async fn run(client: ClientOptions, action: Action, options: &Options) -> Result<()> {
    // A create or alter that makes no sense is refused before a broker is looked for.
    let change = match action {
        Action::Create | Action::Alter => Change::from_options(options)?,
        Action::List | Action::Describe | Action::Delete => Change::default(),
    };
    if action == Action::Create {
        change.warn_about_name();
        check_shape(&change)?;
    }
    let cluster = Cluster { client: KafkaClient::connect(client).await?, options };
    match action {
        Action::Create => cluster.create(&change).await,
        Action::List => cluster.list().await,
        Action::Alter => cluster.alter(&change).await,
        Action::Describe => cluster.describe().await,
        Action::Delete => cluster.delete().await,
    }
}

fn check_shape(change: &Change) -> Result<()> {
    if change.replication_factor.is_some_and(|factor| i16::try_from(factor).is_err() || factor < 1) {
        let max = i16::MAX;
        return Err(TopicError::new(format!("The replication factor must be between 1 and {max} inclusive")));
    }
    if change.partitions.is_some_and(|count| count < 1) {
        return Err(TopicError::new("The partitions must be greater than 0"));
    }
    Ok(())
}

struct Cluster<'a> {
    client: KafkaClient,
    options: &'a Options,
}

impl Cluster<'_> {
    async fn create(&self, change: &Change) -> Result<()> {
        let results = self.client.create_topics(&[creatable(change)], false).await?;
        for result in results {
            let code = ErrorCode::from_code(result.error_code);
            let message = || java_errors::message(code, result.error_message.as_deref());
            match code {
                ErrorCode::None => say!("Created topic {}.\n", change.topic),
                ErrorCode::TopicAlreadyExists if self.options.has("if-not-exists") => {}
                ErrorCode::InvalidReplicationFactor => {
                    let alive: Vec<i32> = self.client.brokers().iter().map(|broker| broker.id).collect();
                    return Err(TopicError::too_few_brokers(message(), &alive));
                }
                _ => return Err(TopicError::new(message())),
            }
        }
        Ok(())
    }

    /// Topics that `--topic` means, by name.
    async fn selected(&self) -> Result<BTreeMap<String, MetadataResponseTopic>> {
        let hide_internal = self.options.has("exclude-internal");
        let all = self.client.describe_topics(None).await?;
        let named = all.into_iter().filter(|topic| !(hide_internal && topic.is_internal));
        let mut topics: BTreeMap<String, MetadataResponseTopic> =
            named.filter_map(|topic| Some((topic.name.clone()?, topic))).collect();
        let chosen: BTreeSet<String> = select(topics.keys().cloned(), self.options)?.into_iter().collect();
        topics.retain(|name, _| chosen.contains(name));
        Ok(topics)
    }

    async fn list(&self) -> Result<()> {
        let names: Vec<String> = self.selected().await?.into_keys().collect();
        say!("{}\n", names.join("\n"));
        Ok(())
    }

    async fn alter(&self, change: &Change) -> Result<()> {
        let topics = self.selected().await?;
        if topics.is_empty() {
            return Ok(());
        }
        let count = change.partitions.expect("checked with the options");
        let wanted = |(name, topic): (&String, &MetadataResponseTopic)| {
            let added = change.assignment.iter().skip(topic.partitions.len());
            let added: Vec<CreatePartitionsAssignment> =
                added.map(|ids| CreatePartitionsAssignment { broker_ids: ids.clone() }).collect();
            let assignments = (!change.assignment.is_empty()).then_some(added);
            CreatePartitionsTopic { name: name.clone(), count, assignments }
        };
        let wanted: Vec<CreatePartitionsTopic> = topics.iter().map(wanted).collect();
        let results = self.client.create_partitions(&wanted, false).await?;
        let errors = results.iter().map(|r| (r.error_code, r.error_message.as_deref()));
        first_error(errors)
    }

    async fn delete(&self) -> Result<()> {
        let names: Vec<String> = self.selected().await?.into_keys().collect();
        if names.is_empty() {
            return Ok(());
        }
        let results = self.client.delete_topics(&names).await?;
        first_error(results.iter().map(|r| (r.error_code, r.error_message.as_deref())))
    }

    async fn describe(&self) -> Result<()> {
        let topics = match self.options.value("topic-id").map(parse_topic_id).transpose()? {
            Some(id) if id != Uuid::ZERO => self.with_id(id).await?,
            _ => self.selected().await?,
        };
        if topics.is_empty() {
            return Ok(());
        }
        let mut configs = self.configs(topics.keys()).await?;
        let moving = self.reassignments(&topics).await?;
        let alive: BTreeSet<i32> =
            self.client.describe_cluster().await?.brokers.iter().map(|b| b.id).collect();
        let report = Report::from_options(self.options);
        for (name, topic) in &topics {
            let config = configs.remove(name).unwrap_or_default();
            let view = topic_view(name, topic, &config, &moving, &alive);
            say!("{}", describe(&view, report, &alive, Layout::Kafka3));
        }
        Ok(())
    }

    async fn with_id(&self, id: Uuid) -> Result<BTreeMap<String, MetadataResponseTopic>> {
        let all = self.client.describe_topics(None).await?;
        let found = all.into_iter().filter(|topic| topic.topic_id == id);
        let found: BTreeMap<_, _> = found.filter_map(|topic| Some((topic.name.clone()?, topic))).collect();
        if found.is_empty() && !self.options.has("if-exists") {
            let id = self.options.value("topic-id").unwrap_or_default();
            return Err(TopicError::new(format!("TopicId '{id}' does not exist as expected")));
        }
        Ok(found)
    }

    async fn configs(
        &self,
        names: impl Iterator<Item = &String>,
    ) -> Result<BTreeMap<String, Vec<DescribeConfigsResourceResult>>> {
        let resource = |name: &String| DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: name.clone(),
            configuration_keys: None,
        };
        let resources: Vec<DescribeConfigsResource> = names.map(resource).collect();
        let results = self.client.describe_configs(&resources, false).await?;
        first_error(results.iter().map(|r| (r.error_code, r.error_message.as_deref())))?;
        let by_name = |result: DescribeConfigsResult| (result.resource_name, result.configs);
        Ok(results.into_iter().map(by_name).collect())
    }

    /// Replicas on the move; none where the brokers do not tell.
    async fn reassignments(
        &self,
        topics: &BTreeMap<String, MetadataResponseTopic>,
    ) -> Result<BTreeMap<(String, i32), Reassignment>> {
        let asked = |(name, topic): (&String, &MetadataResponseTopic)| ListPartitionReassignmentsTopics {
            name: name.clone(),
            partition_indexes: topic.partitions.iter().map(|p| p.partition_index).collect(),
        };
        let request = ListPartitionReassignmentsRequest {
            topics: Some(topics.iter().map(asked).collect()),
            ..Default::default()
        };
        let response = match self.client.call(Node::Controller, &request).await {
            Ok(response) => response,
            Err(ClientError::Unsupported { .. }) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::UnsupportedVersion | ErrorCode::ClusterAuthorizationFailed => {
                return Ok(BTreeMap::new());
            }
            code => {
                return Err(TopicError::new(java_errors::message(code, response.error_message.as_deref())));
            }
        }
        let mut moving = BTreeMap::new();
        for topic in response.topics {
            for p in topic.partitions {
                let reassignment = Reassignment {
                    replicas: p.replicas,
                    adding: p.adding_replicas,
                    removing: p.removing_replicas,
                };
                moving.insert((topic.name.clone(), p.partition_index), reassignment);
            }
        }
        Ok(moving)
    }
}

fn creatable(change: &Change) -> CreatableTopic {
    let assigned = (0..).zip(&change.assignment);
    let assignments = assigned
        .map(|(partition_index, ids)| CreatableReplicaAssignment { partition_index, broker_ids: ids.clone() })
        .collect();
    let config = |(name, value): (&String, &String)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    };
    CreatableTopic {
        name: change.topic.clone(),
        // -1: the cluster's default (KIP-464), or given by the assignment.
        num_partitions: change.partitions.unwrap_or(-1),
        replication_factor: change.replication_factor.and_then(|f| i16::try_from(f).ok()).unwrap_or(-1),
        assignments,
        configs: change.configs.iter().map(config).collect(),
    }
}

fn first_error<'a>(results: impl Iterator<Item = (i16, Option<&'a str>)>) -> Result<()> {
    for (code, sent) in results {
        match ErrorCode::from_code(code) {
            ErrorCode::None => {}
            code => return Err(TopicError::new(java_errors::message(code, sent))),
        }
    }
    Ok(())
}

fn topic_view(
    name: &str,
    topic: &MetadataResponseTopic,
    configs: &[DescribeConfigsResourceResult],
    moving: &BTreeMap<(String, i32), Reassignment>,
    alive: &BTreeSet<i32>,
) -> TopicView {
    let is_default = |c: &DescribeConfigsResourceResult| c.is_default || c.config_source == DEFAULT_CONFIG;
    let value = |c: &DescribeConfigsResourceResult| c.value.clone().unwrap_or_else(|| "null".into());
    let min_isr = configs.iter().find(|c| c.name == "min.insync.replicas").map(value);
    let partition = |p: &MetadataResponsePartition| PartitionView {
        partition: p.partition_index,
        leader: Some(p.leader_id).filter(|id| alive.contains(id)),
        replicas: p.replica_nodes.clone(),
        isr: p.isr_nodes.clone(),
        reassignment: moving.get(&(name.to_owned(), p.partition_index)).map(|m| Reassignment {
            replicas: m.replicas.clone(),
            adding: m.adding.clone(),
            removing: m.removing.clone(),
        }),
    };
    let mut partitions: Vec<PartitionView> = topic.partitions.iter().map(partition).collect();
    partitions.sort_by_key(|p| p.partition);
    TopicView {
        name: name.to_owned(),
        topic_id: Some(topic.topic_id).filter(|id| *id != Uuid::ZERO).map(|id| id.to_string()),
        configs: configs.iter().filter(|c| !is_default(c)).map(|c| (c.name.clone(), value(c))).collect(),
        min_insync_replicas: min_isr.and_then(|text| text.parse().ok()),
        marked_for_deletion: false,
        partitions,
    }
}

fn parse_topic_id(text: &str) -> Result<Uuid> {
    text.parse::<Uuid>().map_err(|error| TopicError::new(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_somebody_set_are_shown() {
        let config = |name: &str, value: &str, config_source| DescribeConfigsResourceResult {
            name: name.into(),
            value: Some(value.into()),
            config_source,
            ..Default::default()
        };
        let configs = [
            config("cleanup.policy", "compact", 1),
            config("min.insync.replicas", "2", DEFAULT_CONFIG),
            config("segment.bytes", "1000", 4),
        ];
        let partition = |partition_index, leader_id| MetadataResponsePartition {
            partition_index,
            leader_id,
            replica_nodes: vec![leader_id],
            isr_nodes: vec![leader_id],
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            partitions: vec![partition(1, 7), partition(0, 0)],
            ..Default::default()
        };
        let view = topic_view("t", &topic, &configs, &BTreeMap::new(), &BTreeSet::from([0]));
        assert_eq!(view.configs.len(), 2);
        assert_eq!(view.min_insync_replicas, Some(2));
        assert_eq!(view.topic_id, None);
        // A leader that is not alive is none, as the Java client sees it.
        let leaders: Vec<_> = view.partitions.iter().map(|p| p.leader).collect();
        assert_eq!(leaders, [Some(0), None]);
    }
}
