//! One server of an ensemble: election, and the role that follows from it.
//!
//! ```text
//! Settling ─disk quiet─► Looking ─verdict─► Leading, Learning ─quorum or link lost─► Settling
//! ```
//! `Settling` waits until the disk has answered everything it was told, so that the vote is what the disk holds
//! (rule 6; Z-2845). One role at a time owns what it has begun; it is dropped whole when it ends (Z-4712, Z-4541).

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::quorum::{Config, Notification, PeerState, Sid};

use crate::effect::{CloseReason, Effect, Role};
use crate::election::{Election, LastLogged, Outcome};
use crate::input::{Input, LinkId, Stored};
use crate::leader::Leader;
use crate::learner::Learner;
use crate::options::{Options, Stable};
use crate::parked::ParkedLinks;
use crate::replica::{Leave, Next, Replica};

#[derive(Debug)]
pub(crate) enum State {
    Settling,
    Looking,
    Leading(Box<Leader>),
    Learning(Box<Learner>),
}

/// A server of an ensemble. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Peer {
    pub(crate) replica: Replica,
    pub(crate) election: Election,
    pub(crate) state: State,
    /// Why the last role ended, for whoever asks.
    pub(crate) left: Option<String>,
    parked: ParkedLinks,
    /// The leader that a reconfiguration has named: no election is needed.
    appointed: Option<Sid>,
    /// Votes that came while this server did not look, the newest of each server, and when: another that lost the leader
    /// a moment sooner says its vote once, and again only after a while.
    held: BTreeMap<Sid, (u64, Notification)>,
    heard: BTreeSet<Sid>,
    /// Roles in a row that ended before they began to serve, and when to look again after the last.
    failures: u32,
    resume_ms: u64,
    /// Nothing has been stepped yet.
    is_new: bool,
}

/// A second failure in a row costs four times this, and every further one twice as much, up to a tick. Without it a server that cannot join
/// its leader would dial it as fast as the network allows.
const BACK_OFF_MS: u64 = 25;

impl Peer {
    /// Begins with looking; the first input may be a `Tick`.
    pub fn new(options: Options, stable: Stable, now_ms: u64) -> Self {
        let replica = Replica::new(options, stable, now_ms);
        let election =
            Election::new(&replica.options, replica.configs.active(), replica.configs.outstanding());
        Self {
            replica,
            election,
            state: State::Settling,
            left: None,
            parked: ParkedLinks::default(),
            appointed: None,
            held: BTreeMap::new(),
            heard: BTreeSet::new(),
            failures: 0,
            resume_ms: 0,
            is_new: true,
        }
    }

    /// Takes one input; what is to be done is appended to `fx`, in order.
    pub fn step(&mut self, now_ms: u64, input: Input, fx: &mut Vec<Effect>) {
        self.replica.now_ms = self.replica.now_ms.max(now_ms);
        std::mem::swap(&mut self.replica.fx, fx);
        if std::mem::take(&mut self.is_new) {
            self.replica.repair_epochs();
        }
        let result = self.take(input);
        self.conclude(result);
        self.settle();
        std::mem::swap(&mut self.replica.fx, fx);
    }

    fn take(&mut self, input: Input) -> Result<(), Leave> {
        match input {
            Input::Tick => self.on_tick(),
            Input::Notification { from, notification } => self.on_notification(from, notification),
            Input::MeshUp { sid } => {
                self.heard.insert(sid);
                self.election.mesh_up(sid, &mut self.replica.fx);
                Ok(())
            }
            Input::MeshDown { sid } => {
                self.heard.remove(&sid);
                let outcome = self.election.mesh_down(self.replica.now_ms, sid);
                self.on_outcome(outcome)
            }
            Input::LearnerConnected { .. }
            | Input::FromLearner { .. }
            | Input::LearnerClosed { .. }
            | Input::LogRead { .. }
            | Input::SnapshotSent { .. }
            | Input::Propose { .. }
            | Input::ToLearner { .. } => self.take_as_leader(input),
            Input::LeaderConnected
            | Input::FromLeader { .. }
            | Input::LeaderClosed
            | Input::ToLeader { .. } => self.take_as_learner(input),
            Input::Stored(stored) => self.on_stored(&stored),
        }
    }

    fn take_as_leader(&mut self, input: Input) -> Result<(), Leave> {
        let replica = &mut self.replica;
        let State::Leading(leader) = &mut self.state else {
            self.park(input);
            return Ok(());
        };
        match input {
            Input::LearnerConnected { link } => leader.on_connected(replica, link),
            Input::FromLearner { link, packet } => leader.on_packet(replica, link, packet)?,
            Input::LearnerClosed { link } => leader.on_closed(replica, link)?,
            Input::LogRead { link, entries } => leader.on_log_read(replica, link, entries)?,
            Input::SnapshotSent { link } => leader.on_snapshot_sent(replica.now_ms, link),
            Input::Propose { entry, reconfig } => leader.propose(replica, entry, reconfig)?,
            Input::ToLearner { link, packet } => leader.to_learner(replica, link, packet),
            _ => {}
        }
        Ok(())
    }

    /// Learners that come while this server does not lead, or not yet.
    fn park(&mut self, input: Input) {
        let fx = &mut self.replica.fx;
        let learning = matches!(self.state, State::Learning(_));
        match input {
            Input::LearnerConnected { link } if learning => {
                fx.push(Effect::CloseLearner { link, reason: CloseReason::NotLeading });
            }
            Input::LearnerConnected { link } => self.parked.connected(self.replica.now_ms, link, fx),
            Input::FromLearner { link, packet } => self.parked.packet(link, packet, fx),
            Input::LearnerClosed { link } => self.parked.closed(link),
            // Answers to a role that has ended, and what the node proposed before it heard of that.
            _ => {}
        }
    }

    fn take_as_learner(&mut self, input: Input) -> Result<(), Leave> {
        let replica = &mut self.replica;
        let State::Learning(learner) = &mut self.state else { return Ok(()) };
        match input {
            Input::LeaderConnected => learner.on_connected(replica),
            Input::FromLeader { packet } => learner.on_packet(replica, packet)?,
            Input::LeaderClosed => {
                let heard = self.heard.contains(&learner.leader());
                learner.on_closed(replica, heard)?;
            }
            Input::ToLeader { packet } => learner.to_leader(replica, packet),
            _ => {}
        }
        Ok(())
    }

    fn on_stored(&mut self, stored: &Stored) -> Result<(), Leave> {
        self.replica.on_stored(stored);
        match &mut self.state {
            State::Leading(leader) => leader.on_stored(&mut self.replica, stored),
            State::Learning(learner) => learner.on_stored(&mut self.replica, stored),
            State::Settling | State::Looking => Ok(()),
        }
    }

    fn on_tick(&mut self) -> Result<(), Leave> {
        let replica = &mut self.replica;
        match &mut self.state {
            State::Leading(leader) => leader.on_tick(replica),
            State::Learning(learner) => learner.on_tick(replica),
            State::Settling => Ok(()),
            State::Looking => {
                self.parked.expire(replica.now_ms, replica.options.tick_ms, &mut replica.fx);
                let outcome = self.election.on_tick(replica.now_ms, &mut replica.fx);
                self.on_outcome(outcome)
            }
        }
    }

    fn on_notification(&mut self, from: Sid, notification: Notification) -> Result<(), Leave> {
        self.heard.insert(from);
        self.hold(from, &notification);
        let replica = &mut self.replica;
        match &mut self.state {
            State::Settling => return Ok(()),
            State::Learning(learner) if learner.leader() == from => learner.on_leaders_vote(&notification)?,
            // Who votes for this server has not changed its mind: it hears in a moment that this server leads.
            State::Leading(leader)
                if notification.state == PeerState::Looking && notification.leader != replica.sid() =>
            {
                leader.on_looking(replica, from)?
            }
            _ => {}
        }
        let outcome = self.election.on_notification(replica.now_ms, from, &notification, &mut replica.fx);
        self.on_outcome(outcome)
    }

    fn hold(&mut self, from: Sid, notification: &Notification) {
        let is_member = self.replica.configs.last_seen().members.contains_key(&from);
        if is_member && !matches!(self.state, State::Looking) {
            self.held.insert(from, (self.replica.now_ms, notification.clone()));
        }
    }

    fn on_outcome(&mut self, outcome: Option<Outcome>) -> Result<(), Leave> {
        match outcome {
            None => Ok(()),
            Some(Outcome::Leads) => self.become_leader(),
            Some(Outcome::Follows { leader }) => {
                self.become_learner(leader, false);
                Ok(())
            }
            Some(Outcome::Observes { leader }) => {
                self.become_learner(leader, true);
                Ok(())
            }
            Some(Outcome::NewerConfig(config)) => {
                if self.replica.configs.activate(&config).is_some() {
                    self.replica.emit(Effect::ConfigActive { config });
                }
                self.become_looking();
                Ok(())
            }
        }
    }

    fn become_leader(&mut self) -> Result<(), Leave> {
        let replica = &mut self.replica;
        self.state = State::Leading(Box::new(Leader::new(replica)));
        let State::Leading(leader) = &mut self.state else { return Ok(()) };
        leader.begin(replica, self.parked.adopt())
    }

    fn become_learner(&mut self, leader: Sid, observer: bool) {
        self.parked.dismiss(&mut self.replica.fx);
        self.state = State::Learning(Box::new(Learner::start(&mut self.replica, leader, observer)));
    }

    /// A role has ended: nothing of it stays but what the disk has been told.
    fn become_looking(&mut self) {
        let replica = &mut self.replica;
        match std::mem::replace(&mut self.state, State::Settling) {
            State::Leading(leader) => {
                for (link, _) in leader.links() {
                    replica.emit(Effect::CloseLearner { link, reason: CloseReason::NotLeading });
                }
            }
            State::Learning(_) => replica.emit(Effect::HangUp),
            State::Settling | State::Looking => {}
        }
        replica.announce(Role::Looking);
        replica.vote_epoch = None;
        replica.repair_epochs();
        // As if they had been that long on their way.
        let (now_ms, patience_ms) = (replica.now_ms, replica.options.notification_min_ms);
        self.held.retain(|_, (at_ms, _)| now_ms.saturating_sub(*at_ms) < patience_ms);
    }

    fn conclude(&mut self, result: Result<(), Leave>) {
        let Err(Leave { why, next }) = result else { return };
        tracing::debug!(sid = self.replica.sid(), why, "looking for a leader");
        self.left = Some(why);
        self.back_off();
        self.become_looking();
        self.appointed = match next {
            Next::Look => None,
            Next::LookWithout(silent) => {
                self.election.mesh_down(self.replica.now_ms, silent);
                None
            }
            Next::Designated(leader) => Some(leader),
        };
    }

    fn back_off(&mut self) {
        let served = self.replica.role != Role::Looking;
        self.failures = if served { 0 } else { self.failures.saturating_add(1) };
        let delay_ms = match self.failures {
            0 | 1 => 0,
            n => (BACK_OFF_MS << n.min(16)).min(self.replica.options.tick_ms),
        };
        self.resume_ms = self.replica.now_ms + delay_ms;
    }

    /// Votes once the disk is quiet, and takes what came meanwhile.
    fn settle(&mut self) {
        self.note_effects();
        while matches!(self.state, State::Settling)
            && self.replica.settled()
            && self.replica.now_ms >= self.resume_ms
        {
            let own = self.replica.last_logged();
            let mut result = match self.appointed.take().and_then(|leader| self.election.appoint(leader, own))
            {
                Some(outcome) => self.on_outcome(Some(outcome)),
                None => self.look(own),
            };
            for (from, (_, notification)) in std::mem::take(&mut self.held) {
                result = result.and_then(|()| self.on_notification(from, notification));
            }
            self.conclude(result);
            self.note_effects();
        }
    }

    fn look(&mut self, own: Option<LastLogged>) -> Result<(), Leave> {
        self.state = State::Looking;
        self.election.begin(self.replica.now_ms, own, &mut self.replica.fx);
        let outcome = self.election.on_tick(self.replica.now_ms, &mut self.replica.fx);
        self.on_outcome(outcome)
    }

    /// Tells the election what a step has changed.
    fn note_effects(&mut self) {
        if self.replica.configs.take_changed() {
            let configs = &self.replica.configs;
            self.election.set_config(configs.active(), configs.outstanding());
            if matches!(self.state, State::Looking) {
                self.state = State::Settling;
            }
        }
        if let Some(epoch) = self.replica.vote_epoch.take() {
            self.election.set_vote_epoch(epoch);
        }
    }

    /// Invariants, to be called after every step in tests and simulations. Each names its rule.
    pub fn check(&self) {
        self.replica.check();
        self.election.check();
        match &self.state {
            State::Settling => assert!(self.replica.role == Role::Looking, "a role has ended"),
            State::Looking => {
                assert!(self.replica.settled(), "rule 6: the vote is what the disk holds");
                assert!(self.replica.role == Role::Looking, "who looks serves nobody");
            }
            State::Leading(leader) => {
                assert!(!self.replica.damaged, "a damaged history never leads");
                leader.check(&self.replica);
            }
            State::Learning(learner) => learner.check(&self.replica),
        }
    }

    /// Whether a quorum of that configuration follows this leader, up to date: what a reconfiguration asks for before it
    /// is proposed (`Leader.isQuorumSynced`, error -13 `NewConfigNoQuorum`).
    pub fn has_synced_quorum(&self, config: &Config) -> bool {
        let State::Leading(leader) = &self.state else { return false };
        if leader.gives_way() {
            return false;
        }
        // Who has become an observer is about to come again as one, and then gives no acks.
        let active = self.replica.configs.active();
        let observes = |sid| active.members.contains_key(&sid) && !active.is_voter(sid);
        let synced = leader.links().map(|(_, link)| link);
        let synced = synced.filter(|link| link.synced() && !link.observer && !observes(link.sid));
        config.is_quorum(&synced.map(|link| link.sid).chain([self.replica.sid()]).collect())
    }

    /// The configuration that counts.
    pub fn config(&self) -> &Config {
        self.replica.configs.active()
    }

    /// The one that is proposed and not active yet; there is no second (error -14 `ReconfigInProgress`).
    pub fn config_outstanding(&self) -> Option<&Config> {
        self.replica.configs.outstanding()
    }

    /// The link a server has as a learner of this one, if it is served.
    pub fn link_of(&self, sid: Sid) -> Option<LinkId> {
        let State::Leading(leader) = &self.state else { return None };
        leader.links().find(|(_, link)| link.sid == sid && link.synced()).map(|(id, _)| id)
    }
}
