//! `--zookeeper`: topics as znodes, read and written as Kafka 2.7.1's `AdminZkClient` does.
//!
//! Unlike it, a topic's id (written by brokers of 2.8 and later) survives `--alter`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_controller::assignment::{
    AssignmentError, BrokerMetadata, RackAwareMode, assign_added_replicas, assign_replicas, brokers_for,
};
use kafka_controller::names::{
    TOPIC_NAME_MAX, TopicNameError, check_topic_name, is_internal_topic, topic_names_collide,
};
use kafka_controller::zkdata::{
    BrokerRegistration, ConfigChange, PartitionState, ReplicaAssignment, TopicAssignment, ZkDataError,
    config_decode, config_encode, path,
};
use kafka_log::LogConfig;
use zk_client::{ConnectOptions, CreateMode, ErrorCode, ZkClient, ZkError, open_acl};

use super::change::Change;
use super::describe::{Layout, PartitionView, Report, TopicView, describe};
use super::{Action, TopicError, select};
use crate::options::Options;
use crate::out::say;

/// As the original's.
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// How long to look for a server before saying that there is none.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

type Result<T> = std::result::Result<T, TopicError>;

impl From<ZkError> for TopicError {
    fn from(error: ZkError) -> Self {
        Self::new(match error.code() {
            Some(ErrorCode::NoAuth) => {
                format!("KeeperErrorCode = {} (these znodes belong to somebody else)", error)
            }
            _ => error.to_string(),
        })
    }
}

impl From<ZkDataError> for TopicError {
    fn from(error: ZkDataError) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs one command against the znodes.
pub async fn run(hosts: &str, action: Action, options: &Options) -> Result<()> {
    let connect = ConnectOptions::new(hosts)
        .session_timeout_ms(SESSION_TIMEOUT_MS)
        .connect_timeout_ms(CONNECT_TIMEOUT_MS);
    let (zk, _events) = ZkClient::connect(connect).await?;
    let topics = Znodes { zk, options };
    let outcome = match action {
        Action::Create => topics.create().await,
        Action::List => topics.list().await,
        Action::Alter => topics.alter().await,
        Action::Describe => topics.describe().await,
        Action::Delete => topics.delete().await,
    };
    // The session would expire by itself; what was asked for is done or not done already.
    let _ = topics.zk.close().await;
    outcome
}

struct Znodes<'a> {
    zk: ZkClient,
    options: &'a Options,
}

impl Znodes<'_> {
    async fn create(&self) -> Result<()> {
        let change = Change::from_options(self.options)?;
        change.warn_about_name();
        let outcome = async {
            let assignment = self.new_assignment(&change).await?;
            self.check_new(&change.topic).await?;
            self.write_config(&change.topic, &change.configs).await?;
            self.create_topic(&change.topic, &assignment).await
        };
        match outcome.await {
            Ok(()) => say!("Created topic {}.\n", change.topic),
            Err(error) if error == already_exists(&change.topic) && self.options.has("if-not-exists") => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn new_assignment(&self, change: &Change) -> Result<TopicAssignment> {
        if !change.assignment.is_empty() {
            return Ok(TopicAssignment::new(None, change.assignment.clone()));
        }
        let mode = match self.options.has("disable-rack-aware") {
            true => RackAwareMode::Disabled,
            false => RackAwareMode::Enforced,
        };
        let count = |number: Option<i32>| number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let (partitions, factor) = (count(change.partitions), count(change.replication_factor));
        let brokers = self.brokers(mode).await?;
        let replicas = assign_replicas(&brokers, partitions, factor, &mut fastrand::Rng::new());
        Ok(TopicAssignment::new(None, replicas.map_err(|error| unassignable(&error, &brokers))?))
    }

    async fn check_new(&self, topic: &str) -> Result<()> {
        check_topic_name(topic).map_err(|error| TopicError::new(invalid_name(&error)))?;
        let all = self.all().await?;
        if all.iter().any(|other| other == topic) {
            return Err(already_exists(topic));
        }
        let colliding: Vec<String> =
            all.into_iter().filter(|other| topic_names_collide(topic, other)).collect();
        if colliding.is_empty() {
            return Ok(());
        }
        let colliding = colliding.join(", ");
        Err(TopicError::new(format!("Topic '{topic}' collides with existing topics: {colliding}")))
    }

    async fn create_topic(&self, topic: &str, assignment: &TopicAssignment) -> Result<()> {
        match self.create_with_parents(&path::topic(topic), assignment.encode(2)).await {
            Err(error) if error.is(ErrorCode::NodeExists) => Err(already_exists(topic)),
            outcome => Ok(outcome?),
        }
    }

    async fn list(&self) -> Result<()> {
        for topic in select(self.all().await?, self.options)? {
            let marked = self.is_marked_for_deletion(&topic).await?;
            say!("{topic}{}\n", if marked { " - marked for deletion" } else { "" });
        }
        Ok(())
    }

    async fn alter(&self) -> Result<()> {
        let topics = select(self.all().await?, self.options)?;
        let change = Change::from_options(self.options)?;
        for topic in topics {
            if self.options.has("config") || self.options.has("delete-config") {
                self.alter_config(&topic, &change).await?;
            }
            if let Some(count) = change.partitions {
                self.add_partitions(&topic, count, &change).await?;
            }
        }
        Ok(())
    }

    async fn alter_config(&self, topic: &str, change: &Change) -> Result<()> {
        say!(
            "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future \
             releases.\n         Going forward, please use kafka-configs.sh for this functionality\n"
        );
        let mut configs = self.config(topic).await?;
        configs.extend(change.configs.clone());
        for name in &change.configs_deleted {
            configs.remove(name);
        }
        let pairs = configs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        LogConfig::default().with_overrides(pairs).map_err(|error| TopicError::new(error.to_string()))?;
        self.write_config(topic, &configs).await?;
        let notice = ConfigChange { entity_path: format!("topics/{topic}") }.encode();
        match self.create_with_parents(path::CONFIG_CHANGES, Vec::new()).await {
            Err(error) if !error.is(ErrorCode::NodeExists) => return Err(error.into()),
            _ => {}
        }
        let prefix = path::CONFIG_CHANGE_PREFIX;
        self.zk.create(prefix, Some(notice.into()), open_acl(), CreateMode::PersistentSequential).await?;
        say!("Updated config for topic {topic}.\n");
        Ok(())
    }

    async fn add_partitions(&self, topic: &str, count: i32, change: &Change) -> Result<()> {
        if is_internal_topic(topic) {
            return Err(TopicError::new(format!(
                "The number of partitions for the internal topic {topic} cannot be changed."
            )));
        }
        say!(
            "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the \
             messages will be affected\n"
        );
        let Some(mut assignment) = self.assignment(topic).await? else {
            return Err(TopicError::new(format!("The topic {topic} does not exist")));
        };
        let brokers = self.brokers(RackAwareMode::Enforced).await?;
        let existing = assignment.partitions.len();
        let added = added_replicas(topic, &assignment, count, &change.assignment, &brokers)?;
        for (partition, replicas) in (existing..).zip(added) {
            let partition = i32::try_from(partition).expect("as many as the option says, an i32");
            assignment.partitions.insert(partition, ReplicaAssignment::from(replicas));
        }
        // 2.7.1 writes version 2; a topic with an id was written by a later broker, and keeps it.
        let data = assignment.encode(if assignment.topic_id.is_some() { 3 } else { 2 });
        self.zk.set_data(&path::topic(topic), Some(data.into()), -1).await?;
        say!("Adding partitions succeeded!\n");
        Ok(())
    }

    async fn describe(&self) -> Result<()> {
        let topics = select(self.all().await?, self.options)?;
        let alive: BTreeSet<i32> = self.registrations().await?.into_keys().collect();
        let report = Report::from_options(self.options);
        for topic in topics {
            match self.view(&topic).await? {
                Some(view) => say!("{}", describe(&view, report, &alive, Layout::Kafka2)),
                None => say!("Topic {topic} doesn't exist!\n"),
            }
        }
        Ok(())
    }

    async fn view(&self, topic: &str) -> Result<Option<TopicView>> {
        let Some(assignment) = self.assignment(topic).await? else { return Ok(None) };
        // Asked for all at once; the answers come in this order.
        let states: Vec<_> = assignment
            .partitions
            .keys()
            .map(|partition| self.zk.get_data(&path::partition_state(topic, *partition), false))
            .collect();
        let mut partitions = Vec::new();
        for ((partition, replicas), state) in assignment.partitions.into_iter().zip(states) {
            let state = match found(state.await)? {
                Some(data) => Some(PartitionState::decode(&data)?),
                None => None,
            };
            partitions.push(PartitionView {
                partition,
                leader: state.as_ref().map(|s| s.leader).filter(|id| *id != PartitionState::NO_LEADER),
                replicas: replicas.replicas,
                isr: state.map(|s| s.isr).unwrap_or_default(),
                reassignment: None,
            });
        }
        Ok(Some(TopicView {
            name: topic.to_owned(),
            topic_id: None,
            configs: self.config(topic).await?.into_iter().collect(),
            min_insync_replicas: None,
            marked_for_deletion: self.is_marked_for_deletion(topic).await?,
            partitions,
        }))
    }

    async fn delete(&self) -> Result<()> {
        for topic in select(self.all().await?, self.options)? {
            if is_internal_topic(&topic) {
                return Err(TopicError::new(format!(
                    "Topic {topic} is a kafka internal topic and is not allowed to be marked for deletion."
                )));
            }
            match self.create_with_parents(&path::delete_topic(&topic), Vec::new()).await {
                Ok(()) => say!(
                    "Topic {topic} is marked for deletion.\n\
                     Note: This will have no impact if delete.topic.enable is not set to true.\n"
                ),
                Err(error) if error.is(ErrorCode::NodeExists) => {
                    say!("Topic {topic} is already marked for deletion.\n");
                }
                Err(error) => {
                    let advice = Some(error.to_string());
                    return Err(TopicError {
                        message: format!("Error while deleting topic {topic}"),
                        advice,
                    });
                }
            }
        }
        Ok(())
    }

    async fn all(&self) -> Result<Vec<String>> {
        Ok(self.children(path::TOPICS).await?)
    }

    /// No parent, no children.
    async fn children(&self, path: &str) -> std::result::Result<Vec<String>, ZkError> {
        match self.zk.get_children(path, false).await {
            Err(error) if error.is(ErrorCode::NoNode) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn is_marked_for_deletion(&self, topic: &str) -> Result<bool> {
        Ok(self.zk.exists(&path::delete_topic(topic), false).await?.is_some())
    }

    async fn assignment(&self, topic: &str) -> Result<Option<TopicAssignment>> {
        match found(self.zk.get_data(&path::topic(topic), false).await)? {
            Some(data) => Ok(Some(TopicAssignment::decode(&data)?)),
            None => Ok(None),
        }
    }

    async fn config(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let data = found(self.zk.get_data(&path::config("topics", topic), false).await)?;
        Ok(config_decode(data.as_deref())?)
    }

    async fn write_config(&self, topic: &str, configs: &BTreeMap<String, String>) -> Result<()> {
        let path = path::config("topics", topic);
        match self.zk.set_data(&path, Some(config_encode(configs).into()), -1).await {
            Err(error) if error.is(ErrorCode::NoNode) => {
                Ok(self.create_with_parents(&path, config_encode(configs)).await?)
            }
            outcome => Ok(outcome.map(drop)?),
        }
    }

    async fn registrations(&self) -> Result<BTreeMap<i32, BrokerRegistration>> {
        let mut brokers = BTreeMap::new();
        for id in self.children(path::BROKER_IDS).await? {
            let Ok(id) = id.parse() else { continue };
            // One that has just gone is not there.
            if let Some(data) = found(self.zk.get_data(&path::broker(id), false).await)? {
                brokers.insert(id, BrokerRegistration::decode(&data)?);
            }
        }
        Ok(brokers)
    }

    async fn brokers(&self, mode: RackAwareMode) -> Result<Vec<BrokerMetadata>> {
        let registered = self.registrations().await?.into_iter();
        let brokers = registered.map(|(id, broker)| BrokerMetadata { id, rack: broker.rack }).collect();
        brokers_for(brokers, mode).map_err(|error| TopicError::new(error.to_string()))
    }

    async fn create_with_parents(&self, path: &str, data: Vec<u8>) -> std::result::Result<(), ZkError> {
        // An empty node is null, as the original makes it.
        let data = (!data.is_empty()).then(|| data.into());
        let create = |path: &str, data| self.zk.create(path, data, open_acl(), CreateMode::Persistent);
        match create(path, data.clone()).await {
            Err(error) if error.is(ErrorCode::NoNode) => {}
            outcome => return outcome.map(drop),
        }
        for (at, _) in path.match_indices('/').skip(1) {
            match create(&path[..at], None).await {
                Err(error) if error.is(ErrorCode::NodeExists) => {}
                outcome => drop(outcome?),
            }
        }
        create(path, data).await.map(drop)
    }
}

/// A node's data, empty for null; `None` if there is no such node.
fn found<T>(read: std::result::Result<(Option<T>, zk_client::Stat), ZkError>) -> Result<Option<T>>
where
    T: Default,
{
    match read {
        Ok((data, _)) => Ok(Some(data.unwrap_or_default())),
        Err(error) if error.is(ErrorCode::NoNode) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn already_exists(topic: &str) -> TopicError {
    TopicError::new(format!("Topic '{topic}' already exists."))
}

/// 2.7.1's words; later releases have others.
fn invalid_name(error: &TopicNameError) -> String {
    match error {
        TopicNameError::Empty => "Topic name is illegal, it can't be empty".to_owned(),
        TopicNameError::Dots(_) => "Topic name cannot be \".\" or \"..\"".to_owned(),
        TopicNameError::TooLong(name) => format!(
            "Topic name is illegal, it can't be longer than {TOPIC_NAME_MAX} characters, topic name: {name}"
        ),
        TopicNameError::Characters(name) => format!(
            "Topic name \"{name}\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' and '-'"
        ),
    }
}

fn unassignable(error: &AssignmentError, brokers: &[BrokerMetadata]) -> TopicError {
    match error {
        AssignmentError::NotEnoughBrokers { factor, brokers: alive } => {
            let ids: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
            let message = format!("Replication factor: {factor} larger than available brokers: {alive}.");
            TopicError::too_few_brokers(message, &ids)
        }
        other => TopicError::new(other.to_string()),
    }
}

/// Replicas of the partitions that are missing up to `count`: as given, else continuing the topic's own pattern.
fn added_replicas(
    topic: &str,
    assignment: &TopicAssignment,
    count: i32,
    given: &[Vec<i32>],
    brokers: &[BrokerMetadata],
) -> Result<Vec<Vec<i32>>> {
    let existing = assignment.partitions.len();
    let Some(first) = assignment.partitions.get(&0).map(|replicas| &replicas.replicas) else {
        return Err(TopicError::new(format!(
            "Unexpected existing replica assignment for topic '{topic}', partition id 0 is missing."
        )));
    };
    let added = usize::try_from(count).unwrap_or(0).saturating_sub(existing);
    if added == 0 {
        return Err(TopicError::new(format!(
            "The number of partitions for a topic can only be increased. Topic {topic} currently has {existing} \
             partitions, {count} would not be an increase."
        )));
    }
    let given: Vec<Vec<i32>> = given.iter().skip(existing).cloned().collect();
    if given.is_empty() {
        let replicas = assign_added_replicas(brokers, first, existing, added);
        return replicas.map_err(|error| unassignable(&error, brokers));
    }
    check_given(existing, &given, first.len(), brokers)?;
    Ok(given)
}

/// `validateReplicaAssignment`: live brokers only, and as many as partition 0 has.
fn check_given(existing: usize, given: &[Vec<i32>], factor: usize, brokers: &[BrokerMetadata]) -> Result<()> {
    let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
    let alive: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
    for (partition, replicas) in (existing..).zip(given) {
        if !replicas.iter().all(|id| alive.contains(id)) {
            return Err(TopicError::new(format!(
                "Some brokers specified for partition id {partition} are not available. Specified brokers: {}, \
                 available brokers: {}.",
                list(replicas),
                list(&alive)
            )));
        }
    }
    let (bad, factors): (Vec<i32>, Vec<i32>) = (existing..)
        .zip(given)
        .filter(|(_, replicas)| replicas.len() != factor)
        .map(|(partition, replicas)| (partition as i32, replicas.len() as i32))
        .unzip();
    if bad.is_empty() {
        return Ok(());
    }
    Err(TopicError::new(format!(
        "Inconsistent replication factor between partitions, partition 0 has {factor} while partitions [{}] have \
         replication factors [{}], respectively.",
        list(&bad),
        list(&factors)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers() -> Vec<BrokerMetadata> {
        (0..3).map(|id| BrokerMetadata { id, rack: None }).collect()
    }

    fn added(count: i32, given: &[Vec<i32>]) -> std::result::Result<Vec<Vec<i32>>, String> {
        let assignment = TopicAssignment::new(None, [vec![1, 2], vec![2, 0]]);
        added_replicas("t", &assignment, count, given, &brokers()).map_err(|error| error.message)
    }

    #[test]
    fn new_partitions_continue_the_pattern_of_the_first() {
        assert_eq!(added(4, &[]), Ok(vec![vec![0, 2], vec![1, 2]]));
        assert_eq!(
            added(2, &[]).unwrap_err(),
            "The number of partitions for a topic can only be increased. Topic t currently has 2 partitions, 2 \
             would not be an increase."
        );
    }

    #[test]
    fn given_replicas_must_fit() {
        let given = |last: &[i32]| vec![vec![1, 2], vec![2, 0], last.to_vec()];
        assert_eq!(added(3, &given(&[0, 1])), Ok(vec![vec![0, 1]]));
        assert_eq!(
            added(3, &given(&[0, 7])).unwrap_err(),
            "Some brokers specified for partition id 2 are not available. Specified brokers: 0, 7, available \
             brokers: 0, 1, 2."
        );
        assert_eq!(
            added(3, &given(&[0])).unwrap_err(),
            "Inconsistent replication factor between partitions, partition 0 has 2 while partitions [2] have \
             replication factors [1], respectively."
        );
    }

    #[test]
    fn too_few_brokers_name_those_there_are() {
        let error = AssignmentError::NotEnoughBrokers { factor: 4, brokers: 3 };
        let error = unassignable(&error, &brokers());
        assert_eq!(error.message, "Replication factor: 4 larger than available brokers: 3.");
        assert!(error.advice.expect("advice").contains("(0,1,2)"));
    }
}
