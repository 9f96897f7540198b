//! The loop: take a step, send its operations, collect the answers, act on them.

use std::collections::{BTreeMap, VecDeque};

use super::brokers::brokers_operations;
use super::steps::{Step, Work};
use super::{Controller, ERROR_BACKOFF_MS, Phase, RETRY_BACKOFF_MS};
use crate::io::{Effect, Token};
use crate::zk::{ZkError, ZkFailure, ZkOp, ZkReply, ZkResult, ZkStat, ZkWrite};
use crate::zkdata::path;

/// The operations of the step that is under way.
#[derive(Debug)]
pub(super) struct Batch {
    step: Step,
    ops: Vec<ZkOp>,
    unsent: VecDeque<usize>,
    in_flight: BTreeMap<Token, usize>,
    /// Operations whose answer was lost with the connection.
    lost: Vec<usize>,
    lost_at_ms: i64,
    results: Vec<Option<ZkResult>>,
}

impl Batch {
    /// When lost operations are sent again at the latest.
    pub(super) fn retry_at_ms(&self) -> Option<i64> {
        (!self.lost.is_empty()).then_some(self.lost_at_ms + RETRY_BACKOFF_MS)
    }

    fn is_complete(&self) -> bool {
        self.results.iter().all(Option::is_some)
    }
}

/// Why a step cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// An answer that nothing provides for.
    Unexpected(String),
    /// The session is gone.
    Expired,
    /// Somebody else is the controller.
    Fenced,
}

pub(super) type Flow = Result<(), Stop>;

/// Outcome of a write.
pub(super) enum Written {
    /// Done; the Stats of its operations.
    Done(Vec<Option<ZkStat>>),
    /// Refused as a whole.
    Refused(ZkError, Option<usize>),
}

impl Controller {
    /// A write that happens only while this is the controller.
    pub(super) fn fenced(&self, writes: impl IntoIterator<Item = ZkWrite>) -> ZkOp {
        let check =
            ZkWrite::Check { path: path::CONTROLLER_EPOCH.into(), version: self.context.epoch_zk_version };
        ZkOp::Write(std::iter::once(check).chain(writes).collect())
    }

    /// Puts steps in front, the first of them first.
    pub(super) fn next(&mut self, steps: impl IntoIterator<Item = Step, IntoIter: DoubleEndedIterator>) {
        for step in steps.into_iter().rev() {
            self.steps.push_front(step);
        }
    }

    pub(super) fn run(&mut self) {
        loop {
            if let Some(batch) = &self.batch {
                if !batch.is_complete() {
                    self.send();
                    return;
                }
                let batch = self.batch.take().expect("there is a batch");
                self.finish(batch);
            } else if let Some(step) = self.steps.pop_front() {
                let ops = self.operations(&step);
                let results = vec![None; ops.len()];
                self.batch = Some(Batch {
                    step,
                    unsent: (0..ops.len()).collect(),
                    ops,
                    in_flight: BTreeMap::new(),
                    lost: Vec::new(),
                    lost_at_ms: 0,
                    results,
                });
            } else if let Some(work) = self.work.pop_front() {
                self.queued.remove(&work);
                self.begin(work);
            } else {
                return;
            }
        }
    }

    fn send(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        while batch.in_flight.len() < self.config.zk_requests_in_flight_max.max(1) {
            let Some(index) = batch.unsent.pop_front() else { return };
            let token = self.next_token;
            self.next_token += 1;
            batch.in_flight.insert(token, index);
            self.out.push(Effect::Zk { token, op: batch.ops[index].clone() });
        }
    }

    pub(super) fn on_answer(&mut self, token: Token, result: ZkResult) {
        let Some(batch) = &mut self.batch else { return };
        let Some(index) = batch.in_flight.remove(&token) else { return };
        match result {
            Err(ZkFailure { error: ZkError::SessionExpired, .. }) => self.on_session_expired(),
            Err(ZkFailure { error: ZkError::ConnectionLoss, .. }) => {
                batch.lost.push(index);
                batch.lost_at_ms = self.now_ms;
            }
            result => batch.results[index] = Some(result),
        }
    }

    /// Sends lost operations again. Whether the first attempt was carried out shows in the answer to the second, and
    /// each step says what it makes of that.
    pub(super) fn resend_lost(&mut self, at_once: bool) {
        let now_ms = self.now_ms;
        let Some(batch) = &mut self.batch else { return };
        if at_once || batch.retry_at_ms().is_some_and(|at| at <= now_ms) {
            batch.lost.sort_unstable();
            batch.unsent.extend(batch.lost.drain(..));
        }
    }

    fn finish(&mut self, batch: Batch) {
        let fenced_out =
            batch.ops.iter().zip(&batch.results).any(|(op, result)| is_fenced_out(op, result.as_ref()));
        let results = batch.results.into_iter().flatten().collect();
        let flow = if fenced_out { Err(Stop::Fenced) } else { self.complete(batch.step, results) };
        match flow {
            Ok(()) => self.flush(),
            Err(Stop::Expired) => self.on_session_expired(),
            Err(Stop::Fenced) => {
                self.become_resigned("another controller has been elected");
                self.steps.push_back(Step::LookAtController);
            }
            Err(Stop::Unexpected(what)) => self.move_away(&what),
        }
    }

    /// Gives the office up so that the next controller, perhaps this one, starts from what ZooKeeper holds
    /// (`KafkaController.triggerControllerMove`).
    fn move_away(&mut self, why: &str) {
        tracing::error!(phase = ?self.phase, "controller cannot go on: {why}; giving up the office");
        let epoch_zk_version = self.context.epoch_zk_version;
        let elected = self.is_elected();
        self.become_resigned(why);
        self.elect_again_at_ms = Some(self.now_ms + ERROR_BACKOFF_MS);
        if elected {
            self.steps.push_back(Step::LeaveController { epoch_zk_version });
        }
    }

    fn begin(&mut self, work: Work) {
        // Whoever is not in office cares for nothing but the office.
        if self.phase != Phase::Active && work != Work::ControllerChange {
            return;
        }
        match work {
            Work::ControllerChange => self.steps.push_back(Step::LookAtController),
            Work::BrokerChange => self.steps.push_back(Step::LoadBrokers { initial: false }),
            Work::BrokerModification(id) => self.steps.push_back(Step::ReadBroker { id }),
            Work::TopicChange => self.steps.push_back(Step::LoadTopics { initial: false }),
            Work::PartitionModification(topic) => {
                self.steps.push_back(Step::ReadTopics { names: vec![topic], initial: false })
            }
            Work::TopicDeletion => self.steps.extend([Step::LoadDeletions, Step::ResumeDeletions]),
            Work::ReplicasStopped { token, failed } => self.on_replicas_stopped(token, &failed),
        }
    }

    /// What a step asks of ZooKeeper.
    fn operations(&mut self, step: &Step) -> Vec<ZkOp> {
        match step {
            Step::LookAtController
            | Step::ReadEpoch
            | Step::CreateEpoch
            | Step::Claim { .. }
            | Step::VerifyClaim { .. }
            | Step::LeaveController { .. } => self.election_operations(step),
            Step::Enter(_)
            | Step::ReadFeature
            | Step::WriteFeature { .. }
            | Step::PurgeNotifications { .. }
            | Step::DeleteNodes { .. }
            | Step::Announce => self.failover_operations(step),
            Step::LoadBrokers { .. }
            | Step::ReadBrokers { .. }
            | Step::BrokersUp { .. }
            | Step::BrokersDown { .. }
            | Step::ReadBroker { .. } => brokers_operations(step),
            Step::LoadTopics { .. }
            | Step::ReadTopics { .. }
            | Step::WriteTopicIds { .. }
            | Step::RestoreAssignment { .. } => self.topics_operations(step),
            Step::LoadDeletions
            | Step::RemoveRequests { .. }
            | Step::ResumeDeletions
            | Step::ListTree { .. }
            | Step::DeleteTree { .. }
            | Step::DeleteConfig { .. }
            | Step::DeleteTopicAndRequest { .. }
            | Step::DeleteTopicOnly { .. } => self.deletion_operations(step),
            _ => self.partitions_operations(step),
        }
    }

    fn complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::LookAtController
            | Step::ReadEpoch
            | Step::CreateEpoch
            | Step::Claim { .. }
            | Step::VerifyClaim { .. }
            | Step::LeaveController { .. } => self.election_complete(step, results),
            Step::Enter(_)
            | Step::ReadFeature
            | Step::WriteFeature { .. }
            | Step::PurgeNotifications { .. }
            | Step::DeleteNodes { .. }
            | Step::Announce => self.failover_complete(step, results),
            Step::LoadBrokers { .. }
            | Step::ReadBrokers { .. }
            | Step::BrokersUp { .. }
            | Step::BrokersDown { .. }
            | Step::ReadBroker { .. } => self.brokers_complete(step, results),
            Step::LoadTopics { .. }
            | Step::ReadTopics { .. }
            | Step::WriteTopicIds { .. }
            | Step::RestoreAssignment { .. } => self.topics_complete(step, results),
            Step::LoadDeletions
            | Step::RemoveRequests { .. }
            | Step::ResumeDeletions
            | Step::ListTree { .. }
            | Step::DeleteTree { .. }
            | Step::DeleteConfig { .. }
            | Step::DeleteTopicAndRequest { .. }
            | Step::DeleteTopicOnly { .. } => self.deletion_complete(step, results),
            _ => self.partitions_complete(step, results),
        }
    }
}

fn is_fenced_out(op: &ZkOp, result: Option<&ZkResult>) -> bool {
    let ZkOp::Write(writes) = op else { return false };
    let checks =
        matches!(writes.first(), Some(ZkWrite::Check { path, .. }) if path == path::CONTROLLER_EPOCH);
    let failed = matches!(
        result,
        Some(Err(ZkFailure { error: ZkError::BadVersion | ZkError::NoNode, op_index: Some(0) }))
    );
    checks && failed
}

fn unexpected(result: &ZkResult) -> Stop {
    match result {
        Err(ZkFailure { error: ZkError::SessionExpired, .. }) => Stop::Expired,
        other => Stop::Unexpected(format!("unexpected answer from ZooKeeper: {other:?}")),
    }
}

/// Data and Stat; `None` if there is no such node.
pub(super) fn data(result: ZkResult) -> Result<Option<(Vec<u8>, ZkStat)>, Stop> {
    match result {
        Ok(ZkReply::Data { data, stat }) => Ok(Some((data.unwrap_or_default(), stat))),
        Err(ZkFailure { error: ZkError::NoNode, .. }) => Ok(None),
        other => Err(unexpected(&other)),
    }
}

/// Children, in order; empty if there is no such node.
pub(super) fn children(result: ZkResult) -> Result<Vec<String>, Stop> {
    match result {
        Ok(ZkReply::Children(mut names)) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(ZkFailure { error: ZkError::NoNode, .. }) => Ok(Vec::new()),
        other => Err(unexpected(&other)),
    }
}

/// The outcome of a write.
pub(super) fn written(result: ZkResult) -> Result<Written, Stop> {
    match result {
        Ok(ZkReply::Written(stats)) => Ok(Written::Done(stats)),
        Err(ZkFailure {
            error: error @ (ZkError::NoNode | ZkError::NodeExists | ZkError::BadVersion | ZkError::NotEmpty),
            op_index,
        }) => Ok(Written::Refused(error, op_index)),
        other => Err(unexpected(&other)),
    }
}

/// The one answer of a step with one operation.
pub(super) fn only(results: Vec<ZkResult>) -> ZkResult {
    results.into_iter().next().expect("a step with one operation has one answer")
}
