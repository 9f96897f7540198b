//! The state machine: one step loop, then one file a concern.
//!
//! Phases, walked top-down:
//!
//! | phase | what happens |
//! |---|---|
//! | Resigned | another broker is the controller, or there is no session; only `/controller` is watched |
//! | Electing | `/controller` was absent: read the epoch, claim both nodes in one multi (`election`) |
//! | Registering | `/feature`, left-over notifications (`failover`) |
//! | Loading | brokers, topics, partition states, deletions, each with a watch (`brokers`, `topics`) |
//! | Announcing | UpdateMetadata with the live brokers, before anything else is sent |
//! | Replicas | LeaderAndIsr to every live replica; dead ones leave the ISR (`partitions`) |
//! | Partitions | leaders for new and offline partitions |
//! | Resuming | deletions (`deletion`) |
//! | Active | work as it comes, one piece at a time, first come first served |
//!
//! Any phase → Resigned: session expiry, a failed epoch check, `/controller` naming somebody else, an unexpected error.
//!
//! A piece of work is a queue of [`Step`]s. A step is a batch of ZooKeeper operations and what to do with their answers,
//! which may put further steps in front. While a batch is out, nothing else is decided.

mod brokers;
mod check;
mod deletion;
mod election;
mod elections;
mod failover;
mod partitions;
mod pending;
mod run;
mod steps;
mod topics;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::context::{Context, TopicPartition};
use crate::io::{Effect, Event, Token};
use crate::zkdata::path;
use pending::Pending;
use run::Batch;
use steps::{Step, Work};

/// How long to wait before the election is tried again after an unexpected error.
const ERROR_BACKOFF_MS: i64 = 1_000;
/// How long to wait, without news of the connection, before lost operations are sent again.
const RETRY_BACKOFF_MS: i64 = 250;

/// Where the controller stands; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not the controller.
    Resigned,
    /// Trying to become it.
    Electing,
    /// Elected; setting up.
    Registering,
    /// Reading the cluster's state.
    Loading,
    /// Telling brokers who is alive.
    Announcing,
    /// Starting replicas.
    Replicas,
    /// Starting partitions.
    Partitions,
    /// Taking up what an earlier controller left.
    Resuming,
    /// Working.
    Active,
}

/// What the controller is told about its broker and about the release it behaves as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerConfig {
    /// This broker.
    pub broker_id: i32,
    /// Version of `/controller`'s JSON: 2 from 3.4 on.
    pub controller_version: i32,
    /// Version of a topic's JSON: 3 from 2.8 on.
    pub topic_version: i32,
    /// Give every topic an id: inter-broker protocol 2.8 and later (KIP-516).
    pub topic_ids: bool,
    /// Version of `/feature`: 2 for inter-broker protocol 3.3 and later.
    pub feature_version: i32,
    /// Mark an uncleanly elected leader as recovering: inter-broker protocol 3.2 and later (KIP-704).
    pub leader_recovery: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable`, for topics that do not say.
    pub unclean_leader_election_enable: bool,
    /// `zookeeper.max.in.flight.requests`.
    pub zk_requests_in_flight_max: usize,
}

impl ControllerConfig {
    /// As Kafka 2.7 with its own inter-broker protocol.
    pub fn kafka_2_7(broker_id: i32) -> ControllerConfig {
        ControllerConfig {
            broker_id,
            controller_version: 1,
            topic_version: 2,
            topic_ids: false,
            feature_version: 1,
            leader_recovery: false,
            delete_topic_enable: true,
            unclean_leader_election_enable: false,
            zk_requests_in_flight_max: 10,
        }
    }

    /// As Kafka 3.9 with its own inter-broker protocol.
    pub fn kafka_3_9(broker_id: i32) -> ControllerConfig {
        ControllerConfig {
            controller_version: 2,
            topic_version: 3,
            topic_ids: true,
            feature_version: 2,
            leader_recovery: true,
            ..ControllerConfig::kafka_2_7(broker_id)
        }
    }
}

/// The controller of one broker. See the crate's page for how to drive it.
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    random: fastrand::Rng,
    now_ms: i64,
    phase: Phase,
    /// A session is up.
    session: bool,
    /// Who `/controller` last named.
    known_controller: Option<i32>,
    context: Context,
    work: VecDeque<Work>,
    queued: BTreeSet<Work>,
    steps: VecDeque<Step>,
    batch: Option<Batch>,
    next_token: Token,
    pending: Pending,
    stopping: BTreeMap<Token, (i32, Vec<TopicPartition>)>,
    foreign: Vec<i32>,
    elect_again_at_ms: Option<i64>,
    out: Vec<Effect>,
}

impl Controller {
    /// A controller without a session. `seed` feeds the ids it gives to topics that have none.
    pub fn new(config: ControllerConfig, seed: u64) -> Controller {
        Controller {
            config,
            random: fastrand::Rng::with_seed(seed),
            now_ms: 0,
            phase: Phase::Resigned,
            session: false,
            known_controller: None,
            context: Context::default(),
            work: VecDeque::new(),
            queued: BTreeSet::new(),
            steps: VecDeque::new(),
            batch: None,
            next_token: 1,
            pending: Pending::default(),
            stopping: BTreeMap::new(),
            foreign: Vec::new(),
            elect_again_at_ms: None,
            out: Vec::new(),
        }
    }

    /// Takes in one event at wall clock `now_ms` and appends what is to be done to `effects`.
    pub fn step(&mut self, now_ms: i64, event: Event, effects: &mut Vec<Effect>) {
        self.now_ms = now_ms;
        match event {
            Event::SessionEstablished => self.on_session_established(),
            Event::SessionExpired => self.on_session_expired(),
            Event::Connected => self.resend_lost(true),
            Event::Tick => self.on_tick(),
            Event::Zk { token, result } => self.on_answer(token, result),
            Event::Watch { path } => self.on_watch(&path),
            Event::ReplicasStopped { token, failed } => self.enqueue(Work::ReplicasStopped { token, failed }),
        }
        self.run();
        effects.append(&mut self.out);
    }

    /// When [`Event::Tick`] is needed at the latest; `None` if nothing waits for time.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let retry = self.batch.as_ref().and_then(Batch::retry_at_ms);
        [retry, self.elect_again_at_ms].into_iter().flatten().min()
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// True from the moment the election is won until it resigns: this broker must answer NOT_CONTROLLER otherwise.
    pub fn is_elected(&self) -> bool {
        self.phase > Phase::Electing
    }

    /// Broker that is the controller as far as this one knows.
    pub fn controller_id(&self) -> Option<i32> {
        self.known_controller
    }

    /// Epoch of this controller, 0 while it is not elected.
    pub fn epoch(&self) -> i32 {
        self.context.epoch
    }

    /// Brokers that are alive; empty while it is not elected.
    pub fn live_brokers(&self) -> impl Iterator<Item = &crate::io::LiveBroker> {
        self.context.brokers.values()
    }

    /// True if the topic is being deleted.
    pub fn is_deleting(&self, topic: &str) -> bool {
        self.context.is_deleting(topic)
    }

    /// Status of a partition; `None` if it is not known.
    pub fn partition_status(&self, partition: &TopicPartition) -> Option<crate::context::PartitionStatus> {
        self.context.partition(partition).map(|p| p.status)
    }

    /// True if nothing is under way and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.batch.is_none() && self.steps.is_empty() && self.work.is_empty()
    }

    fn on_session_established(&mut self) {
        self.session = true;
        self.steps.push_back(Step::LookAtController);
    }

    /// Resigns before anything of the next session can happen.
    fn on_session_expired(&mut self) {
        self.become_resigned("its ZooKeeper session expired");
        self.work.clear();
        self.queued.clear();
        self.session = false;
        self.elect_again_at_ms = None;
        self.set_known_controller(None);
    }

    fn on_tick(&mut self) {
        self.resend_lost(false);
        if self.elect_again_at_ms.is_some_and(|at| at <= self.now_ms) {
            self.elect_again_at_ms = None;
            if self.session && self.phase == Phase::Resigned && self.is_idle() {
                self.steps.push_back(Step::LookAtController);
            }
        }
    }

    fn on_watch(&mut self, fired: &str) {
        let work = match fired {
            path::CONTROLLER => Work::ControllerChange,
            path::BROKER_IDS => Work::BrokerChange,
            path::TOPICS => Work::TopicChange,
            path::DELETE_TOPICS => Work::TopicDeletion,
            other => {
                let (parent, name) = other.rsplit_once('/').unwrap_or_default();
                match (parent, name.parse()) {
                    (path::BROKER_IDS, Ok(id)) => Work::BrokerModification(id),
                    (path::TOPICS, _) => Work::PartitionModification(name.to_string()),
                    _ => return,
                }
            }
        };
        self.enqueue(work);
    }

    /// Adds work unless the same is waiting already: every kind re-reads what it is about, so once is enough, and the
    /// queue is bounded by the number of things there are.
    fn enqueue(&mut self, work: Work) {
        if self.session && self.queued.insert(work.clone()) {
            self.work.push_back(work);
        }
    }

    fn become_phase(&mut self, phase: Phase) {
        if phase != self.phase {
            tracing::info!(from = ?self.phase, to = ?phase, epoch = self.context.epoch, "controller phase");
        }
        self.phase = phase;
    }

    /// Forgets everything but news of `/controller`: its watch has fired and nothing else would look again. Answers
    /// still on their way find no token.
    fn become_resigned(&mut self, why: &str) {
        if self.phase != Phase::Resigned {
            tracing::info!(epoch = self.context.epoch, phase = ?self.phase, "resigning as controller: {why}");
        }
        self.phase = Phase::Resigned;
        self.context = Context::default();
        self.work.retain(|work| *work == Work::ControllerChange);
        self.queued.retain(|work| *work == Work::ControllerChange);
        self.steps.clear();
        self.batch = None;
        self.pending = Pending::default();
        self.stopping.clear();
        self.foreign.clear();
    }

    fn set_known_controller(&mut self, id: Option<i32>) {
        if self.known_controller != id {
            self.known_controller = id;
            self.out.push(Effect::ControllerChanged { id });
        }
    }
}
