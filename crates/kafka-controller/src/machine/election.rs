//! Becoming the controller (`KafkaController.elect`, `KafkaZkClient.registerControllerAndIncrementControllerEpoch`).
//!
//! The claim is one multi: create `/controller` and raise `/controller_epoch` from the version that was read. If its
//! answer is lost, the second try is refused, and reading both nodes tells whether the first had won: only a claim
//! that succeeded can have written exactly this epoch together with this broker's id.

use super::run::{Flow, Stop, Written, data, only, written};
use super::steps::Step;
use super::{Controller, ERROR_BACKOFF_MS, Phase};
use crate::zk::{ZkOp, ZkResult, ZkWrite};
use crate::zkdata::{ControllerRegistration, controller_epoch_decode, controller_epoch_encode, path};

impl Controller {
    pub(super) fn election_operations(&self, step: &Step) -> Vec<ZkOp> {
        let read = |path: &str| ZkOp::GetData { path: path.into(), watch: false };
        match step {
            // exists leaves its watch whether the node is there or not.
            Step::LookAtController => {
                vec![ZkOp::Exists { path: path::CONTROLLER.into(), watch: true }, read(path::CONTROLLER)]
            }
            Step::ReadEpoch => vec![read(path::CONTROLLER_EPOCH)],
            Step::CreateEpoch => {
                vec![ZkOp::Write(vec![ZkWrite::Create {
                    path: path::CONTROLLER_EPOCH.into(),
                    data: Some(controller_epoch_encode(0)),
                    ephemeral: false,
                }])]
            }
            Step::Claim { epoch, version } => vec![self.claim(*epoch, *version)],
            Step::VerifyClaim { .. } => vec![read(path::CONTROLLER), read(path::CONTROLLER_EPOCH)],
            Step::LeaveController { epoch_zk_version } => vec![ZkOp::Write(vec![
                ZkWrite::Check { path: path::CONTROLLER_EPOCH.into(), version: *epoch_zk_version },
                ZkWrite::Delete { path: path::CONTROLLER.into(), version: -1 },
            ])],
            _ => Vec::new(),
        }
    }

    fn claim(&self, epoch: i32, version: i32) -> ZkOp {
        let registration =
            ControllerRegistration { broker_id: self.config.broker_id, timestamp_ms: self.now_ms };
        ZkOp::Write(vec![
            ZkWrite::Create {
                path: path::CONTROLLER.into(),
                data: Some(registration.encode(self.config.controller_version)),
                ephemeral: true,
            },
            ZkWrite::SetData {
                path: path::CONTROLLER_EPOCH.into(),
                data: controller_epoch_encode(epoch),
                version,
            },
        ])
    }

    pub(super) fn election_complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::LookAtController => self.on_controller_read(results),
            Step::ReadEpoch => match data(only(results))? {
                None => self.next([Step::CreateEpoch]),
                Some((bytes, stat)) => {
                    let epoch =
                        controller_epoch_decode(&bytes).map_err(|e| Stop::Unexpected(e.to_string()))?;
                    self.next([Step::Claim { epoch: epoch.saturating_add(1), version: stat.version }]);
                }
            },
            // Created, or there all the same.
            Step::CreateEpoch => written(only(results)).map(|_| self.next([Step::ReadEpoch]))?,
            Step::Claim { epoch, .. } => match written(only(results))? {
                Written::Done(stats) => {
                    self.become_elected(epoch, stats.get(1).copied().flatten().map(|s| s.version))?
                }
                Written::Refused(..) => self.next([Step::VerifyClaim { epoch }]),
            },
            Step::VerifyClaim { epoch } => self.on_claim_verified(epoch, results)?,
            Step::LeaveController { .. } => {
                // Whatever the answer: the node is gone, or it is not ours. The watch or the backoff goes on from here.
                self.elect_again_at_ms = Some(self.now_ms + ERROR_BACKOFF_MS);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_controller_read(&mut self, mut results: Vec<ZkResult>) {
        let read = results.pop().map(data);
        match read {
            Some(Ok(Some((bytes, _)))) => match ControllerRegistration::decode(&bytes) {
                Ok(registration) => self.on_controller_named(registration.broker_id),
                Err(error) => {
                    // Not ours, so somebody else holds it, in words we do not understand.
                    tracing::error!("{error}; waiting for {} to change", path::CONTROLLER);
                    self.become_resigned("another controller has been elected");
                    self.set_known_controller(None);
                }
            },
            Some(Ok(None)) => {
                if self.is_elected() {
                    self.become_resigned("its node was deleted");
                }
                self.set_known_controller(None);
                self.become_phase(Phase::Electing);
                self.next([Step::ReadEpoch]);
            }
            other => {
                tracing::error!("cannot read {}: {other:?}; trying again", path::CONTROLLER);
                self.become_resigned("its node cannot be read");
                self.elect_again_at_ms = Some(self.now_ms + ERROR_BACKOFF_MS);
            }
        }
    }

    fn on_controller_named(&mut self, id: i32) {
        if id == self.config.broker_id && self.is_elected() {
            return;
        }
        // Our own id without having been elected is the node of an earlier session, which is about to go.
        self.become_resigned("another controller has been elected");
        self.set_known_controller(Some(id));
    }

    fn on_claim_verified(&mut self, epoch: i32, results: Vec<ZkResult>) -> Flow {
        let mut results = results.into_iter();
        let (controller, stored) =
            (results.next().expect("two operations"), results.next().expect("two operations"));
        let named = data(controller)?.and_then(|(bytes, _)| ControllerRegistration::decode(&bytes).ok());
        let stored = data(stored)?;
        if let (Some(named), Some((bytes, stat))) = (named, stored)
            && named.broker_id == self.config.broker_id
            && controller_epoch_decode(&bytes) == Ok(epoch)
        {
            return self.become_elected(epoch, Some(stat.version));
        }
        self.phase = Phase::Resigned;
        self.next([Step::LookAtController]);
        Ok(())
    }

    fn become_elected(&mut self, epoch: i32, epoch_zk_version: Option<i32>) -> Flow {
        let Some(epoch_zk_version) = epoch_zk_version else {
            return Err(Stop::Unexpected("no Stat in the answer to setData".into()));
        };
        self.context.epoch = epoch;
        self.context.epoch_zk_version = epoch_zk_version;
        tracing::info!(broker = self.config.broker_id, epoch, epoch_zk_version, "elected as the controller");
        self.set_known_controller(Some(self.config.broker_id));
        self.start_failover();
        Ok(())
    }
}
