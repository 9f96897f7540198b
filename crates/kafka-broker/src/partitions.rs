//! The replicas this broker hosts, found by topic name and partition number without an allocation.

use std::sync::Arc;

use kafka_replica::Partition;
use parking_lot::RwLock;

use crate::image::Map;

/// The replicas of one topic, by partition number.
type OfTopic = Vec<Option<Arc<Partition>>>;

/// Registry of hosted replicas.
#[derive(Debug, Default)]
pub struct Partitions {
    topics: RwLock<Map<Arc<str>, OfTopic>>,
}

impl Partitions {
    pub fn get(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(index).ok()?;
        self.topics.read().get(topic)?.get(index)?.clone()
    }

    /// Adds a replica; one of the same number is replaced.
    pub fn insert(&self, partition: Arc<Partition>) {
        let Ok(index) = usize::try_from(partition.index()) else { return };
        let mut topics = self.topics.write();
        let list = topics.entry(partition.topic().clone()).or_default();
        if list.len() <= index {
            list.resize(index + 1, None);
        }
        list[index] = Some(partition);
    }

    /// Takes a replica out; the topic goes with its last one.
    pub fn remove(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let mut topics = self.topics.write();
        let list = topics.get_mut(topic)?;
        let removed = list.get_mut(usize::try_from(index).ok()?)?.take();
        if list.iter().all(Option::is_none) {
            topics.remove(topic);
        }
        removed
    }

    pub fn of_topic(&self, topic: &str) -> Vec<Arc<Partition>> {
        self.topics.read().get(topic).into_iter().flatten().flatten().cloned().collect()
    }

    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.topics.read().values().flatten().flatten().cloned().collect()
    }
}
