//! Deleting topics (`TopicDeletionManager.scala`).
//!
//! 1. `/admin/delete_topics/<t>` appears. With `delete.topic.enable=false` it is just removed.
//! 2. If every replica is on a live broker: brokers hear of leader −2 and drop the topic, StopReplica deletes the data.
//! 3. When all have answered: the tree under `/brokers/topics/<t>` bottom-up, then the configuration, then the topic's
//!    node and the request in one multi.
//!
//! Kafka removes those last in the order topic, configuration, request, one by one. A controller that dies in between
//! leaves a request that deletes a new topic of the same name; hence the one multi, and the configuration before it.
//! Kafka also writes leader −1 into the state znodes that it is about to delete, and sends a StopReplica without
//! deletion first; both are left out.

use super::Controller;
use super::run::{Flow, Written, children, only, written};
use super::steps::Step;
use crate::context::{Deletion, PartitionStatus, TopicPartition};
use crate::io::{Effect, StopReplicaPartition, Token};
use crate::zk::{ZkError, ZkOp, ZkResult, ZkWrite};
use crate::zkdata::{PartitionState, path};

/// Levels below a topic's node: `partitions`, the partitions, their states; one more in case somebody put one there.
const TREE_DEPTH_MAX: usize = 8;

impl Controller {
    pub(super) fn deletion_operations(&self, step: &Step) -> Vec<ZkOp> {
        let delete = |path: String| ZkWrite::Delete { path, version: -1 };
        match step {
            Step::LoadDeletions => vec![ZkOp::GetChildren { path: path::DELETE_TOPICS.into(), watch: true }],
            Step::RemoveRequests { topics } => {
                topics.iter().map(|t| self.fenced([delete(path::delete_topic(t))])).collect()
            }
            Step::ListTree { levels, .. } => {
                let deepest = levels.last().map(Vec::as_slice).unwrap_or_default();
                deepest.iter().map(|p| ZkOp::GetChildren { path: p.clone(), watch: false }).collect()
            }
            // The top level is the topic itself and goes last, with the request.
            Step::DeleteTree { levels, .. } => {
                let deepest = levels[1..].last().map(Vec::as_slice).unwrap_or_default();
                deepest.iter().map(|p| self.fenced([delete(p.clone())])).collect()
            }
            Step::DeleteConfig { topic } => vec![self.fenced([delete(path::config("topics", topic))])],
            Step::DeleteTopicAndRequest { topic } => {
                vec![self.fenced([delete(path::topic(topic)), delete(path::delete_topic(topic))])]
            }
            Step::DeleteTopicOnly { topic } => vec![self.fenced([delete(path::topic(topic))])],
            _ => Vec::new(),
        }
    }

    pub(super) fn deletion_complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::LoadDeletions => {
                let requested = children(only(results))?;
                self.on_deletions_requested(requested);
            }
            Step::RemoveRequests { .. } => {
                for result in results {
                    written(result)?;
                }
            }
            Step::ResumeDeletions => self.resume_deletions(),
            Step::ListTree { topic, mut levels } => {
                let deepest = levels.last().cloned().unwrap_or_default();
                let mut next = Vec::new();
                for (parent, result) in deepest.iter().zip(results) {
                    next.extend(children(result)?.into_iter().map(|name| format!("{parent}/{name}")));
                }
                if next.is_empty() {
                    self.next([Step::DeleteTree { topic, levels }]);
                } else if levels.len() >= TREE_DEPTH_MAX {
                    tracing::error!(
                        topic,
                        path = next[0],
                        "unexpected node below the topic; remove it by hand, deletion waits until a broker restarts"
                    );
                    self.halt_deletion(&topic);
                } else {
                    levels.push(next);
                    self.next([Step::ListTree { topic, levels }]);
                }
            }
            Step::DeleteTree { topic, levels } => self.on_level_deleted(topic, levels, results)?,
            Step::DeleteConfig { topic } => {
                written(only(results))?;
                self.next([Step::DeleteTopicAndRequest { topic }]);
            }
            Step::DeleteTopicAndRequest { topic } => self.on_topic_deleted(topic, only(results))?,
            Step::DeleteTopicOnly { topic } => match written(only(results))? {
                Written::Refused(ZkError::NotEmpty, _) => self.list_tree(topic),
                // Deleted, or gone before; an earlier try of both, or somebody with a command line.
                _ => self.forget(&topic),
            },
            _ => {}
        }
        Ok(())
    }

    fn on_deletions_requested(&mut self, requested: Vec<String>) {
        let (known, unknown): (Vec<_>, Vec<_>) =
            requested.into_iter().partition(|t| self.context.topics.contains_key(t));
        let mut remove = unknown;
        if !remove.is_empty() {
            tracing::warn!(topics = ?remove, "ignoring requests to delete topics that do not exist");
        }
        if self.config.delete_topic_enable {
            for name in known {
                if let Some(topic) = self.context.topics.get_mut(&name)
                    && topic.deletion.is_none()
                {
                    tracing::info!(topic = name, "topic is to be deleted");
                    topic.deletion = Some(Deletion::default());
                }
            }
        } else if !known.is_empty() {
            tracing::info!(topics = ?known, "not deleting topics: delete.topic.enable is false");
            remove.extend(known);
        }
        if !remove.is_empty() {
            self.next([Step::RemoveRequests { topics: remove }]);
        }
    }

    /// Starts what can be started and finishes what has nothing left to wait for.
    fn resume_deletions(&mut self) {
        let queued: Vec<String> = self
            .context
            .topics
            .iter()
            .filter(|(_, t)| t.deletion.is_some())
            .map(|(n, _)| n.clone())
            .collect();
        for name in queued {
            let Some(topic) = self.context.topics.get(&name) else { continue };
            let Some(deletion) = &topic.deletion else { continue };
            if deletion.ineligible {
                continue;
            }
            if !deletion.started {
                self.start_deletion(&name);
            } else if deletion.awaiting.is_empty() {
                self.list_tree(name);
            }
        }
    }

    fn start_deletion(&mut self, name: &str) {
        let Some(topic) = self.context.topics.get_mut(name) else { return };
        let replicas: Vec<(i32, i32)> = topic
            .partitions
            .iter()
            .flat_map(|(p, part)| part.assignment.replicas.iter().map(|id| (*p, *id)))
            .collect();
        let dead: Vec<i32> =
            replicas.iter().map(|(_, id)| *id).filter(|id| !self.context.brokers.contains_key(id)).collect();
        let deletion = topic.deletion.get_or_insert_with(Deletion::default);
        if !dead.is_empty() {
            tracing::warn!(topic = name, brokers = ?dead, "deletion waits for brokers that are not alive");
            deletion.ineligible = true;
            return;
        }
        deletion.started = true;
        deletion.awaiting = replicas.iter().copied().collect();
        for partition in topic.partitions.values_mut() {
            partition.status = PartitionStatus::Deleted;
        }
        let partitions: Vec<TopicPartition> = topic
            .partitions
            .keys()
            .map(|p| TopicPartition { topic: name.to_string(), partition: *p })
            .collect();
        // Brokers forget the topic before its data goes.
        let all = partitions.iter().filter_map(|tp| self.context.decision(tp, false)).collect();
        self.push_metadata(self.context.brokers.keys().copied().collect(), all);
        let brokers: Vec<(i32, i64)> = self.context.brokers.values().map(|b| (b.id, b.epoch)).collect();
        for (broker, broker_epoch) in brokers {
            let hosted: Vec<_> =
                partitions.iter().filter(|tp| replicas.contains(&(tp.partition, broker))).cloned().collect();
            if !hosted.is_empty() {
                self.stop_replicas(broker, broker_epoch, hosted);
            }
        }
        if replicas.is_empty() {
            self.list_tree(name.to_string());
        }
    }

    fn stop_replicas(&mut self, broker: i32, broker_epoch: i64, hosted: Vec<TopicPartition>) {
        let token = self.next_token;
        self.next_token += 1;
        let partitions = hosted
            .iter()
            .map(|tp| StopReplicaPartition {
                partition: tp.clone(),
                leader_epoch: PartitionState::EPOCH_DURING_DELETE,
                delete: true,
            })
            .collect();
        self.stopping.insert(token, (broker, hosted));
        self.out.push(Effect::StopReplica {
            token,
            broker,
            broker_epoch,
            controller_epoch: self.context.epoch,
            partitions,
        });
    }

    pub(super) fn on_replicas_stopped(&mut self, token: Token, failed: &[TopicPartition]) {
        let Some((broker, partitions)) = self.stopping.remove(&token) else { return };
        for tp in partitions {
            let Some(deletion) = self.context.topics.get_mut(&tp.topic).and_then(|t| t.deletion.as_mut())
            else {
                continue;
            };
            if failed.contains(&tp) {
                tracing::error!(partition = %tp, broker, "broker could not delete its replica; deletion waits until it restarts");
                *deletion = Deletion { ineligible: true, ..Deletion::default() };
            } else {
                deletion.awaiting.remove(&(tp.partition, broker));
            }
        }
        self.next([Step::ResumeDeletions]);
    }

    fn list_tree(&mut self, topic: String) {
        let levels = vec![vec![path::topic(&topic)]];
        self.next([Step::ListTree { topic, levels }]);
    }

    fn on_level_deleted(
        &mut self,
        topic: String,
        mut levels: Vec<Vec<String>>,
        results: Vec<ZkResult>,
    ) -> Flow {
        if levels.len() <= 1 {
            self.next([Step::DeleteConfig { topic }]);
            return Ok(());
        }
        let mut again = false;
        for result in results {
            again |= matches!(written(result)?, Written::Refused(ZkError::NotEmpty, _));
        }
        if again {
            self.list_tree(topic);
            return Ok(());
        }
        levels.pop();
        self.next([Step::DeleteTree { topic, levels }]);
        Ok(())
    }

    fn on_topic_deleted(&mut self, topic: String, result: ZkResult) -> Flow {
        match written(result)? {
            Written::Done(_) => self.forget(&topic),
            Written::Refused(ZkError::NotEmpty, _) => self.list_tree(topic),
            // One of the two is gone: our own lost try, or somebody with a command line.
            Written::Refused(ZkError::NoNode, Some(1)) => self.next([
                Step::RemoveRequests { topics: vec![topic.clone()] },
                Step::DeleteTopicOnly { topic },
            ]),
            Written::Refused(..) => self.next([Step::DeleteTopicOnly { topic }]),
        }
        Ok(())
    }

    fn halt_deletion(&mut self, topic: &str) {
        if let Some(topic) = self.context.topics.get_mut(topic) {
            topic.deletion = Some(Deletion { ineligible: true, ..Deletion::default() });
        }
    }

    fn forget(&mut self, topic: &str) {
        tracing::info!(topic, "topic is deleted");
        self.context.topics.remove(topic);
    }
}
