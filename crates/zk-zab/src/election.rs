//! Who leads: votes, rounds, and when a round is decided.

mod vote;

use zk_proto::quorum::{Config, Notification, PeerState, Sid};

pub(crate) use self::vote::{LastLogged, Vote};
use crate::effect::Effect;
use crate::options::Options;

/// What an election came to. With all but the last the election is over and this server says so from then on.
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

/// One server's part in elections. Starts LOOKING-less: call [`Election::begin`] first.
#[derive(Debug)]
pub(crate) struct Election {
    state: PeerState,
    round: i64,
    vote: Vote,
}

impl Election {
    /// `last_seen` counts only if it is newer than `active`.
    pub(crate) fn new(_options: &Options, _active: &Config, _last_seen: Option<&Config>) -> Self {
        Self { state: PeerState::Looking, round: 0, vote: Vote::NOBODY }
    }

    /// Other servers count from now on. While looking, [`Election::begin`] must follow.
    pub(crate) fn set_config(&mut self, _active: &Config, _last_seen: Option<&Config>) {}

    /// Starts looking, in a new round. `own` is `None` if this server's history is damaged: it then has no vote and
    /// only joins a leader that others have elected. Call [`Election::on_tick`] right after: a quorum of one is
    /// decided there.
    pub(crate) fn begin(&mut self, _now_ms: u64, _own: Option<LastLogged>, _fx: &mut Vec<Effect>) {}

    /// To be called in every state: who looks is told what is known here.
    pub(crate) fn on_notification(
        &mut self,
        _now_ms: u64,
        _from: Sid,
        _notification: &Notification,
        _fx: &mut Vec<Effect>,
    ) -> Option<Outcome> {
        None
    }

    /// Does nothing unless looking.
    pub(crate) fn on_tick(&mut self, _now_ms: u64, _fx: &mut Vec<Effect>) -> Option<Outcome> {
        None
    }

    pub(crate) fn mesh_up(&mut self, _sid: Sid, _fx: &mut Vec<Effect>) {}

    /// Whoever cannot be heard is not waited for, which may decide a round.
    pub(crate) fn mesh_down(&mut self, _now_ms: u64, _sid: Sid) -> Option<Outcome> {
        None
    }

    /// The epoch of the leader is known: from now on the vote names it (ZOOKEEPER-1732). To be called after
    /// UPTODATE, and by a leader once its epoch is agreed on (`QuorumPeer.updateElectionVote`).
    pub(crate) fn set_vote_epoch(&mut self, peer_epoch: i64) {
        self.vote.peer_epoch = peer_epoch;
    }

    pub(crate) fn state(&self) -> PeerState {
        self.state
    }

    pub(crate) fn round(&self) -> i64 {
        self.round
    }

    /// While looking the proposal, afterwards the vote that won.
    pub(crate) fn vote(&self) -> Vote {
        self.vote
    }
}
