//! Topics and partitions that appear and vanish (`processTopicChange`, `processPartitionModifications`).

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Controller;
use super::run::{Flow, Written, children, data, only, written};
use super::steps::Step;
use crate::context::{Partition, PartitionStatus, Topic, TopicPartition};
use crate::zk::{ZkOp, ZkResult, ZkWrite};
use crate::zkdata::{TopicAssignment, path};

impl Controller {
    pub(super) fn topics_operations(&self, step: &Step) -> Vec<ZkOp> {
        let set = |topic: &str, assignment: &TopicAssignment, version: i32| {
            self.fenced([ZkWrite::SetData {
                path: path::topic(topic),
                data: assignment.encode(self.config.topic_version),
                version,
            }])
        };
        match step {
            Step::LoadTopics { .. } => vec![ZkOp::GetChildren { path: path::TOPICS.into(), watch: true }],
            Step::ReadTopics { names, .. } => {
                names.iter().map(|n| ZkOp::GetData { path: path::topic(n), watch: true }).collect()
            }
            Step::WriteTopicIds { topics, .. } => {
                topics.iter().map(|(name, assignment, version)| set(name, assignment, *version)).collect()
            }
            Step::RestoreAssignment { topic } => {
                let known = self.context.topics.get(topic);
                known.map(|t| set(topic, &t.assignment(), -1)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn topics_complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::LoadTopics { initial } => {
                let names = children(only(results))?;
                self.on_topics_listed(names, initial);
            }
            Step::ReadTopics { names, initial } => self.on_topics_read(names, results, initial)?,
            Step::WriteTopicIds { topics, initial } => {
                let mut again = Vec::new();
                for ((name, assignment, _), result) in topics.into_iter().zip(results) {
                    match written(result)? {
                        Written::Done(_) => self.on_assignment(&name, assignment, initial),
                        Written::Refused(..) => again.push(name),
                    }
                }
                if !again.is_empty() {
                    self.next([Step::ReadTopics { names: again, initial }]);
                }
            }
            Step::RestoreAssignment { .. } => {
                for result in results {
                    written(result)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_topics_listed(&mut self, names: Vec<String>, initial: bool) {
        let gone: Vec<String> =
            self.context.topics.keys().filter(|known| names.binary_search(known).is_err()).cloned().collect();
        for name in &gone {
            self.context.topics.remove(name);
        }
        let new: Vec<String> =
            names.into_iter().filter(|name| !self.context.topics.contains_key(name)).collect();
        if !initial {
            tracing::info!(?new, ?gone, "topics changed");
        }
        if !new.is_empty() {
            self.next([Step::ReadTopics { names: new, initial }]);
        }
    }

    fn on_topics_read(&mut self, names: Vec<String>, results: Vec<ZkResult>, initial: bool) -> Flow {
        let mut without_id = Vec::new();
        for (name, result) in names.into_iter().zip(results) {
            let Some((bytes, stat)) = data(result)? else { continue };
            let mut assignment = match TopicAssignment::decode(&bytes) {
                Ok(assignment) => assignment,
                Err(error) => {
                    tracing::error!(topic = name, "{error}; ignoring the topic until its node changes");
                    continue;
                }
            };
            if self.config.topic_ids && assignment.topic_id.is_none() {
                let known = self.context.topics.get(&name).and_then(|t| t.id);
                assignment.topic_id = Some(known.unwrap_or_else(|| self.random_topic_id()));
                without_id.push((name, assignment, stat.version));
            } else {
                self.on_assignment(&name, assignment, initial);
            }
        }
        if !without_id.is_empty() {
            self.next([Step::WriteTopicIds { topics: without_id, initial }]);
        }
        Ok(())
    }

    /// As `Uuid.randomUuid`: version 4, and not one whose text starts with a dash, which tools take for an option.
    fn random_topic_id(&mut self) -> Uuid {
        loop {
            let id = uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid();
            if !crate::zkdata::uuid_encode(id).starts_with('-') {
                return id;
            }
        }
    }

    fn on_assignment(&mut self, name: &str, assignment: TopicAssignment, initial: bool) {
        let replaced = self.context.topics.get(name).is_some_and(|known| {
            known.id.is_some() && assignment.topic_id.is_some() && known.id != assignment.topic_id
        });
        if replaced {
            tracing::warn!(topic = name, "topic was deleted and created again behind the controller's back");
            self.context.topics.remove(name);
        }
        let topic = self.context.topics.entry(name.to_string()).or_default();
        topic.id = topic.id.or(assignment.topic_id);
        let deleting = topic.deletion.is_some();
        let added: BTreeMap<i32, _> =
            assignment.partitions.into_iter().filter(|(p, _)| !topic.partitions.contains_key(p)).collect();
        if added.is_empty() {
            return;
        }
        if deleting {
            tracing::warn!(topic = name, partitions = ?added.keys(), "not adding partitions to a topic that is being deleted");
            self.next([Step::RestoreAssignment { topic: name.to_string() }]);
            return;
        }
        let partitions =
            added.keys().map(|p| TopicPartition { topic: name.to_string(), partition: *p }).collect();
        let added_count = added.len();
        add_partitions(topic, added);
        if !initial {
            tracing::info!(topic = name, count = added_count, "new partitions");
            self.next([Step::CreateRoots { partitions }]);
        }
    }
}

fn add_partitions(topic: &mut Topic, added: BTreeMap<i32, crate::zkdata::ReplicaAssignment>) {
    for (index, assignment) in added {
        topic
            .partitions
            .insert(index, Partition { assignment, status: PartitionStatus::New, leadership: None });
    }
}
