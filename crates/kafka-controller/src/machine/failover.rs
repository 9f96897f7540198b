//! From elected to active (`KafkaController.onControllerFailover`).

use super::run::{Flow, Stop, children, data, only, written};
use super::steps::Step;
use super::{Controller, Phase};
use crate::zk::{ZkOp, ZkResult, ZkWrite};
use crate::zkdata::{FeatureNode, path};

impl Controller {
    /// The whole way, in Kafka's order: every watch is left before what it watches is acted upon, and brokers hear who
    /// is alive before they hear of partitions.
    pub(super) fn start_failover(&mut self) {
        self.next([
            Step::Enter(Phase::Registering),
            Step::ReadFeature,
            Step::PurgeNotifications { root: path::LOG_DIR_EVENTS },
            Step::PurgeNotifications { root: path::ISR_CHANGES },
            Step::Enter(Phase::Loading),
            Step::LoadBrokers { initial: true },
            Step::LoadTopics { initial: true },
            Step::LoadStates,
            Step::LoadDeletions,
            Step::Enter(Phase::Announcing),
            Step::Announce,
            Step::Enter(Phase::Replicas),
            Step::StartReplicas,
            Step::Enter(Phase::Partitions),
            Step::TriggerOnline,
            Step::Enter(Phase::Resuming),
            Step::ResumeDeletions,
            Step::Enter(Phase::Active),
        ]);
        // Until its steps begin, too, the election is won.
        self.phase = Phase::Registering;
    }

    pub(super) fn failover_operations(&self, step: &Step) -> Vec<ZkOp> {
        match step {
            Step::ReadFeature => vec![ZkOp::GetData { path: path::FEATURE.into(), watch: false }],
            Step::WriteFeature { data, version } => {
                let path = path::FEATURE.to_string();
                let data = data.clone();
                vec![self.fenced([match version {
                    None => ZkWrite::Create { path, data: Some(data), ephemeral: false },
                    Some(version) => ZkWrite::SetData { path, data, version: *version },
                }])]
            }
            Step::PurgeNotifications { root } => {
                vec![ZkOp::GetChildren { path: (*root).into(), watch: false }]
            }
            Step::DeleteNodes { paths } => paths
                .iter()
                .map(|p| self.fenced([ZkWrite::Delete { path: p.clone(), version: -1 }]))
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn failover_complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::Enter(phase) => self.become_phase(phase),
            Step::ReadFeature => self.on_feature_read(data(only(results))?)?,
            Step::WriteFeature { .. } | Step::DeleteNodes { .. } => {
                // Refused means it changed meanwhile: an earlier try of ours, or another broker. Either is fine.
                for result in results {
                    written(result)?;
                }
            }
            Step::PurgeNotifications { root } => {
                let paths: Vec<_> =
                    children(only(results))?.into_iter().map(|name| format!("{root}/{name}")).collect();
                if !paths.is_empty() {
                    self.next([Step::DeleteNodes { paths }]);
                }
            }
            Step::Announce => self.announce(),
            _ => {}
        }
        Ok(())
    }

    /// Feature versioning is on (both releases have an inter-broker protocol of at least 2.7); finalized features of an
    /// enabled node are kept, those of a disabled one dropped (`enableFeatureVersioning`).
    fn on_feature_read(&mut self, read: Option<(Vec<u8>, crate::zk::ZkStat)>) -> Flow {
        let wanted = |features| FeatureNode { version: self.config.feature_version, enabled: true, features };
        let step = match read {
            None => Step::WriteFeature { data: wanted(Default::default()).encode(), version: None },
            Some((bytes, stat)) => {
                let existing = FeatureNode::decode(&bytes).map_err(|e| Stop::Unexpected(e.to_string()))?;
                let node =
                    wanted(if existing.enabled { existing.features.clone() } else { Default::default() });
                if node == existing {
                    return Ok(());
                }
                Step::WriteFeature { data: node.encode(), version: Some(stat.version) }
            }
        };
        self.next([step]);
        Ok(())
    }
}
