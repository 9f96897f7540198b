//! What a peer says of itself, for `srvr`, `mntr` and the ensemble view.

use zk_proto::quorum::Sid;

use crate::effect::Role;
use crate::input::LinkId;
use crate::leader;
use crate::learner;
use crate::peer::{Peer, State};

/// How far a role has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the disk, then votes.
    Election,
    /// Agrees on an epoch.
    Discovery,
    /// Brings histories to the same point.
    Synchronization,
    Broadcast,
}

impl Phase {
    /// `ZabState` in Apache's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Election => "election",
            Self::Discovery => "discovery",
            Self::Synchronization => "synchronization",
            Self::Broadcast => "broadcast",
        }
    }
}

/// One server, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub sid: Sid,
    pub role: Role,
    pub phase: Phase,
    /// The leader that is followed, or that this server tries to follow; itself if it leads.
    pub leader: Option<Sid>,
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// The election's round.
    pub round: i64,
    /// The last zxid logged here, committed or not; while leading the last one proposed, counter 0 before the first.
    pub last_proposed: i64,
    pub last_committed: i64,
    /// The last zxid on this server's disk.
    pub last_durable: i64,
    /// The history is lost or broken; it counts in no quorum.
    pub damaged: bool,
    /// Versions of the configuration that counts, and of the last one proposed.
    pub config_version: i64,
    pub config_seen_version: i64,
    /// Why the last role ended.
    pub left: Option<String>,
    /// While leading.
    pub learners: Vec<LearnerStatus>,
}

/// One learner, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnerStatus {
    pub sid: Sid,
    pub link: LinkId,
    /// It counts in quorums.
    pub voter: bool,
    /// It came as an observer.
    pub observer: bool,
    /// It is a server of this project.
    pub ours: bool,
    /// It has the whole history on disk.
    pub synced: bool,
    /// Everything up to this zxid is on its disk, as far as it has said; observers say nothing.
    pub acked: i64,
    /// How long the oldest proposal it owes an ack for has been on its way, and how many are.
    pub lag_ms: u64,
    pub lag_zxids: u64,
    /// Since it was last heard of.
    pub silent_ms: u64,
}

impl Peer {
    pub fn status(&self) -> Status {
        let replica = &self.replica;
        let (phase, leader) = match &self.state {
            State::Settling | State::Looking => (Phase::Election, None),
            State::Leading(leader) => (leader_phase(leader.phase()), Some(replica.sid())),
            State::Learning(learner) => (learner_phase(learner.phase()), Some(learner.leader())),
        };
        let last_proposed = match &self.state {
            State::Leading(leader) => leader.last_proposed().max(replica.history.last()),
            _ => replica.history.last(),
        };
        Status {
            sid: replica.sid(),
            role: replica.role,
            phase,
            leader,
            accepted_epoch: replica.accepted_epoch,
            current_epoch: replica.current_epoch,
            round: self.election.round(),
            last_proposed,
            last_committed: replica.history.last_committed(),
            last_durable: replica.durable(),
            damaged: replica.damaged,
            config_version: replica.configs.active().version,
            config_seen_version: replica.configs.last_seen().version,
            left: self.left.clone(),
            learners: self.learners(),
        }
    }

    fn learners(&self) -> Vec<LearnerStatus> {
        let State::Leading(leader) = &self.state else { return Vec::new() };
        let now_ms = self.replica.now_ms;
        let status = |(link, it): (LinkId, &leader::Link)| LearnerStatus {
            sid: it.sid,
            link,
            voter: !it.observer && self.replica.configs.active().is_voter(it.sid),
            observer: it.observer,
            ours: it.ours,
            synced: it.synced(),
            acked: it.acked,
            lag_ms: it.lagging(now_ms).map_or(0, |(_, ms)| ms),
            lag_zxids: it.behind(),
            silent_ms: now_ms.saturating_sub(it.heard_ms),
        };
        leader.links().filter(|(_, link)| link.stage > leader::Stage::Greeting).map(status).collect()
    }
}

fn leader_phase(phase: leader::Phase) -> Phase {
    match phase {
        leader::Phase::Epoch | leader::Phase::Promises => Phase::Discovery,
        leader::Phase::Sync => Phase::Synchronization,
        leader::Phase::Broadcast => Phase::Broadcast,
    }
}

fn learner_phase(phase: learner::Phase) -> Phase {
    use learner::Phase as P;
    match phase {
        P::Dialling | P::Greeting | P::Promising => Phase::Discovery,
        P::Promised | P::Rewriting | P::Syncing | P::Recording | P::Recorded => Phase::Synchronization,
        P::Serving => Phase::Broadcast,
    }
}
