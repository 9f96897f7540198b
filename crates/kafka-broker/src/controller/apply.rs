//! Applies the controller's decisions to this broker: its replicas, its logs, its image of the cluster.
//!
//! LeaderAndIsr comes before the UpdateMetadata that tells clients of it, so a leader serves before it is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_controller::zkdata::{PartitionState, path};
use kafka_controller::{LiveBroker, PartitionDecision, StopReplicaPartition, TopicPartition};
use kafka_log::{LogConfig, LogError};
use kafka_proto::wire::Uuid;
use kafka_replica::Partition;
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::config::{Listener, SecurityProtocol};
use crate::groups::OFFSETS_TOPIC;
use crate::image::{BrokerImage, MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use crate::{clock, startup};

fn log_name(partition: &TopicPartition) -> kafka_log::TopicPartition {
    kafka_log::TopicPartition::new(partition.topic.clone(), partition.partition)
}

/// Makes this broker leader of what it shall lead, and stops it leading the rest.
pub async fn leader_and_isr(broker: &Arc<Broker>, decisions: Vec<PartitionDecision>) {
    let configs = new_topic_configs(broker, &decisions).await;
    let worker = broker.clone();
    // Directories and files are made here: off the threads that serve requests.
    let work = move || decisions.iter().for_each(|decision| apply_one(&worker, decision, &configs));
    if let Err(failure) = tokio::task::spawn_blocking(work).await {
        error!("applying the controller's decisions failed unexpectedly: {failure}");
    }
}

/// Configurations of topics whose logs are not there yet.
async fn new_topic_configs(
    broker: &Broker,
    decisions: &[PartitionDecision],
) -> HashMap<String, Arc<LogConfig>> {
    let zk = broker.zk();
    let mut reads = BTreeMap::new();
    for decision in decisions {
        let topic = &decision.partition.topic;
        if !reads.contains_key(topic) && broker.logs.get(&log_name(&decision.partition)).is_none() {
            reads.insert(topic.clone(), zk.get_data(&path::config("topics", topic), false));
        }
    }
    let mut configs = HashMap::new();
    for (topic, read) in reads {
        let data = match read.await {
            Ok((data, _)) => data,
            Err(error) => {
                if !error.is(zk_client::ErrorCode::NoNode) {
                    warn!(
                        "cannot read the configuration of topic {topic}: {error}; its defaults are used until it changes"
                    );
                }
                None
            }
        };
        let config = startup::topic_config(&topic, data.as_deref(), &broker.config.topic_defaults);
        configs.insert(topic, config);
    }
    configs
}

fn apply_one(broker: &Arc<Broker>, decision: &PartitionDecision, configs: &HashMap<String, Arc<LogConfig>>) {
    let hosted = match hosted(broker, decision, configs) {
        Ok(hosted) => hosted,
        Err(failure) => return error!("{}: no log for it here: {failure}", decision.partition),
    };
    let offsets = decision.partition.topic == OFFSETS_TOPIC;
    if decision.leader != broker.id {
        hosted.resign();
        if offsets {
            broker.groups.on_resigned(broker, &hosted);
        }
        return;
    }
    if let Err(failure) = hosted.become_leader(decision.leader_epoch, decision.isr.clone()) {
        return error!("{}: cannot lead it: {failure}", decision.partition);
    }
    if offsets {
        broker.groups.on_leader(broker, &hosted, decision.leader_epoch);
    }
}

/// The replica, made if it is not there yet.
fn hosted(
    broker: &Broker,
    decision: &PartitionDecision,
    configs: &HashMap<String, Arc<LogConfig>>,
) -> Result<Arc<Partition>, LogError> {
    let TopicPartition { topic, partition } = &decision.partition;
    let id = decision.topic_id.map(|id| Uuid(id.into_bytes()));
    if let Some(hosted) = broker.partitions.get(topic, *partition) {
        return Ok(hosted);
    }
    let name = log_name(&decision.partition);
    let known = broker.logs.get(&name).map(|log| log.lock().config().clone());
    let config = known
        .or_else(|| configs.get(topic).cloned())
        .unwrap_or_else(|| Arc::new(broker.config.topic_defaults.clone()));
    let log = broker.logs.get_or_create(&name, &config, id, clock::wall_ms())?;
    let shared_name = broker
        .partitions
        .of_topic(topic)
        .first()
        .map_or_else(|| Arc::from(topic.as_str()), |first| first.topic().clone());
    let hosted = Partition::new(shared_name, *partition, broker.id, log);
    broker.partitions.insert(hosted.clone());
    Ok(hosted)
}

/// Replaces the live brokers and what changed of the partitions in the image.
pub fn update_metadata(broker: &Broker, live: Vec<LiveBroker>, decisions: Vec<PartitionDecision>) {
    let mut by_topic: BTreeMap<String, Vec<PartitionDecision>> = BTreeMap::new();
    for decision in decisions {
        by_topic.entry(decision.partition.topic.clone()).or_default().push(decision);
    }
    broker.update_image(|image| {
        image.brokers = live.into_iter().map(|broker| (broker.id, broker_image(broker))).collect();
        for (topic, decisions) in by_topic {
            update_topic(image, &topic, decisions);
        }
    });
}

fn broker_image(broker: LiveBroker) -> BrokerImage {
    let endpoints = broker.registration.endpoints.into_iter().filter_map(|endpoint| {
        Some(Listener {
            name: endpoint.listener,
            protocol: SecurityProtocol::parse(&endpoint.security_protocol)?,
            host: Some(endpoint.host),
            port: u16::try_from(endpoint.port).ok()?,
        })
    });
    BrokerImage { id: broker.id, endpoints: endpoints.collect(), rack: broker.registration.rack }
}

fn update_topic(image: &mut MetadataImage, name: &str, decisions: Vec<PartitionDecision>) {
    if decisions.iter().any(|decision| decision.leader == PartitionState::LEADER_DURING_DELETE) {
        image.remove_topic(name);
        return;
    }
    let mut topic = match image.topic(name) {
        Some(known) => TopicImage::clone(known),
        None => TopicImage { name: name.into(), id: Uuid::ZERO, partitions: Vec::new() },
    };
    for decision in decisions {
        let Ok(index) = usize::try_from(decision.partition.partition) else { continue };
        if let Some(id) = decision.topic_id {
            topic.id = Uuid(id.into_bytes());
        }
        let missing =
            PartitionImage { leader: NO_LEADER, leader_epoch: -1, replicas: Vec::new(), isr: Vec::new() };
        if topic.partitions.len() <= index {
            topic.partitions.resize(index + 1, missing);
        }
        topic.partitions[index] = PartitionImage {
            leader: decision.leader,
            leader_epoch: decision.leader_epoch,
            replicas: decision.assignment.replicas,
            isr: decision.isr,
        };
    }
    image.put_topic(Arc::new(topic));
}

/// Stops replicas, and deletes those that shall go; returns those that could not be deleted.
pub async fn stop_replicas(broker: &Arc<Broker>, replicas: Vec<StopReplicaPartition>) -> Vec<TopicPartition> {
    let worker = broker.clone();
    let all: Vec<TopicPartition> = replicas.iter().map(|replica| replica.partition.clone()).collect();
    let work = move || {
        replicas
            .iter()
            .filter(|replica| !stop_one(&worker, replica))
            .map(|replica| replica.partition.clone())
            .collect()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failure| {
        error!("stopping replicas failed unexpectedly: {failure}");
        all
    })
}

/// False if the data could not be deleted.
fn stop_one(broker: &Arc<Broker>, replica: &StopReplicaPartition) -> bool {
    let TopicPartition { topic, partition } = &replica.partition;
    if let Some(hosted) = broker.partitions.get(topic, *partition) {
        hosted.resign();
        if topic == OFFSETS_TOPIC {
            broker.groups.on_resigned(broker, &hosted);
        }
    }
    if !replica.delete {
        return true;
    }
    broker.partitions.remove(topic, *partition);
    broker.groups.on_partitions_deleted(&vec![(topic.clone(), vec![*partition])]);
    match broker.logs.delete(&log_name(&replica.partition), clock::wall_ms()) {
        Ok(()) => {
            info!("Log for partition {} is renamed and is scheduled for deletion", replica.partition);
            true
        }
        // Not hosted here any more: deleted all the same.
        Err(LogError::UnknownPartition { .. }) => true,
        Err(failure) => {
            error!("{}: its log cannot be deleted: {failure}", replica.partition);
            false
        }
    }
}
