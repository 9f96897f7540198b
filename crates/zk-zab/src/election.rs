//! Who leads: votes, rounds, and when a round is decided. Speaks and decides as `FastLeaderElection` does.
//!
//! ```text
//!              begin                     a quorum votes the same, or follows a leader that says it leads
//! (new) ─────────────────► LOOKING ──────────────────────────────────────────► LEADING, FOLLOWING, OBSERVING
//!                            ▲  │ a newer configuration: begin again                          │
//!                            └──┴────────────────── begin: the peer lost its quorum or leader ┘
//! ```
//!
//! An election proposes a leader with the newest history of a quorum; that it really leads, and alone, is settled by
//! epochs in discovery, not here. So a wrong verdict costs time, never data. What this guards: a server votes for
//! one history per round, only servers of the configuration vote and are voted for, and whoever looks is answered.
//!
//! Two things differ from Apache, both in time only. Silence is broken every [`resend::RESEND_MAX_MS`] at the latest.
//! And the wait for a better vote (`finalizeWait`) ends at once when every voter has voted the same or is known to be
//! unreachable, since then no better vote can come: it is what makes a fail-over quick.
//!
//! Rules of who answers whom keep two servers from answering each other for ever: only who looks is answered, a
//! server that looks answers only votes of lower rounds or of non-voters, and a non-voter answers nobody unless the
//! other takes it for a voter.

mod answered;
mod appoint;
mod electorate;
mod reach;
mod resend;
mod tally;
mod vote;

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use zk_proto::quorum::{Config, Notification, PeerState, Role, Sid};

use self::answered::Answered;
use self::electorate::Electorate;
use self::reach::Reach;
use self::resend::Resend;
use self::tally::Tally;
use self::vote::NO_HISTORY;
pub(crate) use self::vote::{LastLogged, Vote};
use crate::effect::Effect;
use crate::options::Options;

/// What an election came to. With all but the last it is over, and this server says so from then on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Leads,
    Follows {
        leader: Sid,
    },
    Observes {
        leader: Sid,
    },
    /// Somebody has a newer configuration: adopt it ([`Election::set_config`]) and [`Election::begin`] again.
    NewerConfig(Config),
}

/// One server's part in elections. [`Election::begin`] comes first.
#[derive(Debug)]
pub(crate) struct Election {
    me: Sid,
    reconfig_enabled: bool,
    /// `finalizeWait`.
    drain_ms: u64,
    electorate: Electorate,
    reach: Reach,
    state: PeerState,
    /// `logicalclock`.
    round: i64,
    /// Own history, or `None` if it is damaged.
    own: Option<LastLogged>,
    /// While looking the proposal, afterwards the vote that won.
    vote: Vote,
    tally: Tally,
    resend: Resend,
    answered: Answered,
    /// A quorum is for the proposal: when to stop waiting for a better one.
    settle_at_ms: Option<u64>,
}

impl Election {
    /// `last_seen` counts only if it is newer than `active`.
    pub(crate) fn new(options: &Options, active: &Config, last_seen: Option<&Config>) -> Self {
        let seed = options.seed ^ options.sid.cast_unsigned();
        Self {
            me: options.sid,
            reconfig_enabled: options.reconfig_enabled,
            drain_ms: options.notification_min_ms,
            electorate: Electorate::new(active, last_seen),
            reach: Reach::new(options.notification_min_ms),
            state: PeerState::Looking,
            round: 0,
            own: None,
            vote: Vote::NOBODY,
            tally: Tally::default(),
            resend: Resend::new(options.notification_min_ms, options.notification_max_ms, seed),
            answered: Answered::new(options.notification_min_ms),
            settle_at_ms: None,
        }
    }

    /// Other servers count from now on. While looking, [`Election::begin`] must follow.
    pub(crate) fn set_config(&mut self, active: &Config, last_seen: Option<&Config>) {
        self.electorate = Electorate::new(active, last_seen);
        self.reach.retain(self.electorate.voters());
        self.tally.clear();
        self.settle_at_ms = None;
    }

    /// Starts looking, in a new round. `own` is `None` if this server's history is damaged: it then has no vote and
    /// only joins a leader that others have elected. Call [`Election::on_tick`] right after: a quorum of one is
    /// decided there.
    pub(crate) fn begin(&mut self, now_ms: u64, own: Option<LastLogged>, fx: &mut Vec<Effect>) {
        self.state = PeerState::Looking;
        self.round = self.round.saturating_add(1);
        self.own = own;
        self.vote = self.initial_vote();
        self.tally.clear();
        self.settle_at_ms = None;
        self.reach.begin(now_ms);
        self.resend.begin(now_ms);
        tracing::info!(round = self.round, ?own, "looking for a leader");
        self.cast_own();
        self.broadcast(now_ms, fx);
    }

    /// To be called in every state: who looks is told what is known here.
    pub(crate) fn on_notification(
        &mut self,
        now_ms: u64,
        from: Sid,
        notification: &Notification,
        fx: &mut Vec<Effect>,
    ) -> Option<Outcome> {
        if from == self.me {
            return None;
        }
        tracing::debug!(from, ?notification, state = ?self.state, round = self.round, "notification");
        if self.electorate.is_voter(from) {
            self.reach.up(from);
        }
        if let Some(config) = self.newer_config(notification) {
            return Some(Outcome::NewerConfig(config));
        }
        let looks = self.state == PeerState::Looking;
        if self.wants_answer(from, notification)
            && (!looks || self.answered.is_news(now_ms, from, notification))
        {
            self.send(from, fx);
        }
        let valid = self.electorate.is_voter(from) && self.electorate.is_voter(notification.leader);
        if self.state != PeerState::Looking || !valid {
            return None;
        }
        match notification.state {
            PeerState::Looking => self.on_looking(now_ms, from, notification, fx),
            PeerState::Following | PeerState::Leading => self.on_settled(now_ms, from, notification),
            PeerState::Observing => None,
        }
    }

    /// Does nothing unless looking.
    pub(crate) fn on_tick(&mut self, now_ms: u64, fx: &mut Vec<Effect>) -> Option<Outcome> {
        if self.state != PeerState::Looking {
            return None;
        }
        let outcome = self.decide(now_ms);
        if outcome.is_none() && self.resend.is_due(now_ms) {
            self.broadcast(now_ms, fx);
        }
        outcome
    }

    /// A server that has just come needs not wait for the next broadcast.
    pub(crate) fn mesh_up(&mut self, sid: Sid, fx: &mut Vec<Effect>) {
        if !self.electorate.is_voter(sid) || sid == self.me {
            return;
        }
        self.reach.up(sid);
        if self.state == PeerState::Looking {
            self.send(sid, fx);
        }
    }

    /// Whoever cannot be heard is not waited for, which may decide a round.
    pub(crate) fn mesh_down(&mut self, now_ms: u64, sid: Sid) -> Option<Outcome> {
        if !self.electorate.is_voter(sid) {
            return None;
        }
        self.reach.down(sid);
        self.tally.lost(sid);
        if self.state == PeerState::Looking { self.decide(now_ms) } else { None }
    }

    /// The epoch of the leader is known: from now on the vote names it (ZOOKEEPER-1732). To be called after
    /// UPTODATE, and by a leader once its epoch is agreed on (`QuorumPeer.updateElectionVote`). Without it servers
    /// that join see two votes where there is one, and no quorum.
    pub(crate) fn set_vote_epoch(&mut self, peer_epoch: i64) {
        debug_assert!(self.state != PeerState::Looking, "who looks votes with the epoch of a history");
        self.vote.peer_epoch = peer_epoch;
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> PeerState {
        self.state
    }

    pub(crate) fn round(&self) -> i64 {
        self.round
    }

    /// While looking the proposal, afterwards the vote that won.
    #[cfg(test)]
    pub(crate) fn vote(&self) -> Vote {
        self.vote
    }

    /// Invariants; for tests and the simulation.
    pub(crate) fn check(&self) {
        assert!(self.tally.voters().all(|sid| self.electorate.is_voter(sid)), "only voters are counted");
        let looking = self.state == PeerState::Looking;
        assert!(looking || self.settle_at_ms.is_none(), "nothing is awaited after the election");
        let leads = self.state == PeerState::Leading;
        assert!(!leads || self.vote.leader == self.me, "who leads was voted for");
        assert!(!looking || self.votes() || self.settle_at_ms.is_none(), "who has no vote decides no round");
    }

    /// Whether this server's vote counts.
    fn votes(&self) -> bool {
        self.own.is_some() && self.electorate.is_voter(self.me)
    }

    /// Stands itself if it is a voter with a history. A damaged voter asks in its own name, so that Apache, which
    /// looks up the weight of every server voted for, knows it.
    fn initial_vote(&self) -> Vote {
        if !self.electorate.active().is_voter(self.me) {
            return Vote::NOBODY;
        }
        let own = self.own.unwrap_or(LastLogged { zxid: NO_HISTORY, epoch: NO_HISTORY });
        Vote { leader: self.me, zxid: own.zxid, peer_epoch: own.epoch }
    }

    /// A damaged voter asks in a round that is lower than any: Apache answers a lower round and never counts it.
    fn spoken_round(&self) -> i64 {
        let damaged = self.own.is_none() && self.electorate.is_voter(self.me);
        if damaged && self.state == PeerState::Looking { 0 } else { self.round }
    }

    fn send(&self, to: Sid, fx: &mut Vec<Effect>) {
        let Some(text) = self.electorate.text() else { return };
        let Vote { leader, zxid, peer_epoch } = self.vote;
        let notification = Notification {
            state: self.state,
            leader,
            zxid,
            round: self.spoken_round(),
            peer_epoch,
            config: Some(text.to_owned()),
        };
        fx.push(Effect::Notify { to, notification });
    }

    fn broadcast(&mut self, now_ms: u64, fx: &mut Vec<Effect>) {
        self.answered.clear();
        self.resend.sent(now_ms);
        for sid in self.electorate.voters() {
            if *sid != self.me {
                self.send(*sid, fx);
            }
        }
    }

    /// A configuration to adopt before anything else is decided.
    fn newer_config(&self, notification: &Notification) -> Option<Config> {
        if self.state != PeerState::Looking || !self.reconfig_enabled {
            return None;
        }
        let config = self.electorate.parse(notification.config.as_deref())?;
        (config.version > self.electorate.active().version).then_some(config)
    }

    fn wants_answer(&self, from: Sid, notification: &Notification) -> bool {
        if notification.state != PeerState::Looking {
            return false;
        }
        if !self.electorate.is_voter(self.me) {
            let theirs = self.electorate.parse(notification.config.as_deref());
            if !theirs.is_some_and(|config| config.is_voter(self.me)) {
                return false;
            }
        }
        if self.state != PeerState::Looking {
            return true;
        }
        let has_something_to_say = self.own.is_some() || !self.electorate.is_voter(self.me);
        has_something_to_say && (!self.electorate.is_voter(from) || notification.round < self.round)
    }

    fn on_looking(
        &mut self,
        now_ms: u64,
        from: Sid,
        notification: &Notification,
        fx: &mut Vec<Effect>,
    ) -> Option<Outcome> {
        self.tally.looks(from);
        if !self.votes() {
            self.repeat(now_ms, notification, fx);
            return None;
        }
        if notification.zxid == NO_HISTORY {
            self.tally.abstains(from);
            return self.decide(now_ms);
        }
        let theirs = Vote::of(notification);
        if notification.round < self.round {
            return None;
        }
        if notification.round > self.round {
            self.round = notification.round;
            self.tally.begin_round();
            let initial = self.initial_vote();
            self.propose(now_ms, if self.is_better(theirs, initial) { theirs } else { initial }, fx);
        } else if self.is_better(theirs, self.vote) {
            self.propose(now_ms, theirs, fx);
        }
        self.tally.cast(from, theirs);
        self.decide(now_ms)
    }

    /// Whoever has a history and no vote says the best one it hears, as `FastLeaderElection` does: in a configuration
    /// that is proposed, and that it does not know, it may be a voter without whom there is no quorum.
    fn repeat(&mut self, now_ms: u64, notification: &Notification, fx: &mut Vec<Effect>) {
        let theirs = Vote::of(notification);
        if self.own.is_none() || theirs.zxid == NO_HISTORY || notification.round < self.round {
            return;
        }
        let is_new_round = notification.round > self.round;
        self.round = notification.round;
        if is_new_round || theirs.beats(self.vote, self.electorate.active()) {
            self.vote = theirs;
            self.broadcast(now_ms, fx);
        }
    }

    /// A vote for this server with another history than it has is of before its restart, and no reason to lead.
    fn is_better(&self, theirs: Vote, ours: Vote) -> bool {
        let outdated = theirs.leader == self.me && theirs != self.initial_vote();
        !outdated && theirs.beats(ours, self.electorate.active())
    }

    fn propose(&mut self, now_ms: u64, vote: Vote, fx: &mut Vec<Effect>) {
        self.vote = vote;
        self.settle_at_ms = None;
        self.cast_own();
        self.broadcast(now_ms, fx);
    }

    fn cast_own(&mut self) {
        if self.votes() && self.electorate.is_voter(self.vote.leader) {
            self.tally.cast(self.me, self.vote);
        }
    }

    /// Somebody has a leader. A quorum that follows it, and its own word that it leads, decide at once.
    fn on_settled(&mut self, now_ms: u64, from: Sid, notification: &Notification) -> Option<Outcome> {
        let vote = Vote::of(notification);
        let in_this_round = self.votes() && notification.round == self.round;
        self.tally.settles(from, vote, notification.state, in_this_round);
        if vote.leader == self.me {
            // Followers of this round's election are as good as votes; those of one before a restart are not, and
            // they differ in round or history.
            return self.decide(now_ms);
        }
        let in_round = if in_this_round { self.tally.settled_in_round(vote) } else { None };
        let quorum = |followers: Option<_>| followers.is_some_and(|set| self.electorate.is_followed_by(&set));
        if quorum(in_round) || quorum(self.tally.settled(vote)) {
            return Some(self.settle(vote, notification.round));
        }
        None
    }

    /// Whether this round's votes suffice, and no better one is to be expected.
    fn decide(&mut self, now_ms: u64) -> Option<Outcome> {
        if !self.votes() {
            return None;
        }
        let supporters = self.tally.supporters(self.vote);
        if !self.electorate.is_quorum(&supporters) {
            self.settle_at_ms = None;
            return None;
        }
        let at_ms = *self.settle_at_ms.get_or_insert(now_ms.saturating_add(self.drain_ms));
        if now_ms >= at_ms || self.nobody_is_missing(now_ms) {
            return Some(self.settle(self.vote, self.round));
        }
        None
    }

    fn nobody_is_missing(&self, now_ms: u64) -> bool {
        self.electorate.voters().iter().all(|sid| {
            self.tally.agrees(*sid, self.vote.leader)
                || self.reach.is_broken(*sid, now_ms)
                || !self.electorate.has_weight(*sid)
        })
    }

    fn settle(&mut self, vote: Vote, round: i64) -> Outcome {
        let observes =
            self.electorate.active().members.get(&self.me).is_some_and(|me| me.role == Role::Observer);
        let leader = vote.leader;
        let (state, outcome) = if leader == self.me {
            (PeerState::Leading, Outcome::Leads)
        } else if observes {
            (PeerState::Observing, Outcome::Observes { leader })
        } else {
            (PeerState::Following, Outcome::Follows { leader })
        };
        self.state = state;
        self.vote = vote;
        self.round = round;
        self.settle_at_ms = None;
        self.tally.clear();
        tracing::info!(round, ?vote, ?state, "the election is decided");
        outcome
    }
}
