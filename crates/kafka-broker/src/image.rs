//! The metadata image: what this broker knows of the cluster, immutable, replaced as a whole.
//!
//! Readers take a snapshot without a lock. Who writes it: the controller's outcome (`controller`), nobody else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use kafka_proto::wire::Uuid;

use crate::config::Listener;

/// A hash map keyed by names from the outside.
pub type Map<K, V> = HashMap<K, V, RandomState>;

/// Leader −1: there is none.
pub const NO_LEADER: i32 = -1;

/// A live broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerImage {
    pub id: i32,
    pub endpoints: Vec<Listener>,
    pub rack: Option<String>,
}

impl BrokerImage {
    /// The endpoint clients of `listener` are told.
    pub fn endpoint(&self, listener: &str) -> Option<&Listener> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }
}

/// One partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionImage {
    /// [`NO_LEADER`] if there is none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    pub name: Arc<str>,
    /// Zero below IBP 2.8.
    pub id: Uuid,
    /// By partition number.
    pub partitions: Vec<PartitionImage>,
}

/// The cluster.
#[derive(Debug, Clone, Default)]
pub struct MetadataImage {
    pub controller_id: Option<i32>,
    pub brokers: BTreeMap<i32, BrokerImage>,
    topics: Map<Arc<str>, Arc<TopicImage>>,
    names: Map<[u8; 16], Arc<str>>,
}

impl MetadataImage {
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// The topic with this id; zero is nobody's.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(&id.0)?)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// Adds or replaces a topic.
    pub fn put_topic(&mut self, topic: Arc<TopicImage>) {
        if let Some(old) = self.topics.get(&topic.name) {
            self.names.remove(&old.id.0);
        }
        if !topic.id.is_zero() {
            self.names.insert(topic.id.0, topic.name.clone());
        }
        self.topics.insert(topic.name.clone(), topic);
    }

    pub fn remove_topic(&mut self, name: &str) -> Option<Arc<TopicImage>> {
        let removed = self.topics.remove(name)?;
        self.names.remove(&removed.id.0);
        Some(removed)
    }

    /// (id, host, port, rack) of every live broker with an endpoint on `listener`.
    pub fn endpoints<'a>(
        &'a self,
        listener: &'a str,
    ) -> impl Iterator<Item = (i32, &'a str, u16, Option<&'a str>)> {
        self.brokers.values().filter_map(move |broker| {
            let endpoint = broker.endpoint(listener)?;
            Some((broker.id, endpoint.host.as_deref().unwrap_or(""), endpoint.port, broker.rack.as_deref()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, id: u8) -> Arc<TopicImage> {
        Arc::new(TopicImage { name: name.into(), id: Uuid([id; 16]), partitions: Vec::new() })
    }

    #[test]
    fn a_recreated_topic_is_found_by_its_new_id_only() {
        let mut image = MetadataImage::default();
        image.put_topic(topic("a", 1));
        image.put_topic(topic("a", 2));
        assert!(image.topic_by_id(Uuid([1; 16])).is_none());
        assert_eq!(&*image.topic_by_id(Uuid([2; 16])).expect("found").name, "a");
        image.remove_topic("a");
        assert!(image.topic_by_id(Uuid([2; 16])).is_none() && image.topic_count() == 0);
    }

    #[test]
    fn a_topic_without_id_is_found_by_name_only() {
        let mut image = MetadataImage::default();
        image.put_topic(topic("a", 0));
        assert!(image.topic_by_id(Uuid::ZERO).is_none() && image.topic("a").is_some());
    }
}
