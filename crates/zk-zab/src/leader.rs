//! Leading: from the election's verdict to the last commit.
//!
//! Not here: deciding transactions (the node above), and what a learner does ([`crate::learner`]).
//!
//! ```text
//! Epoch ─quorum of FOLLOWERINFO, acceptedEpoch on disk─► Promises ─quorum of ACKEPOCH─►
//!       Sync ─currentEpoch on disk and quorum of ACK(NEWLEADER)─► Broadcast
//! ```
//! Every wait is bounded by initLimit ticks; what fails ends in looking again. A learner that sends what it must not
//! loses its link, and nothing else happens.

mod broadcast;
mod discovery;
mod learners;
mod reconfig;
mod sync;

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::jute::WireError;
use zk_proto::quorum::{Packet, PacketKind, Sid, zxid};

use self::learners::Learners;
pub(crate) use self::learners::{LINKS_MAX, Link, Stage};
use crate::effect::{CloseReason, Effect};
use crate::input::{LinkId, Stored};
use crate::replica::{Leave, Replica};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Collects accepted epochs.
    Epoch,
    /// A quorum is there; the new epoch is being written, then promised by learners.
    Promises,
    /// A quorum has promised; histories are brought up to date.
    Sync,
    Broadcast,
}

/// Why a packet is not accepted.
pub(crate) enum Fault {
    Close(CloseReason),
    Leave(Leave),
}

impl From<Leave> for Fault {
    fn from(leave: Leave) -> Self {
        Self::Leave(leave)
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::protocol(error.to_string())
    }
}

impl Fault {
    fn protocol(what: impl Into<String>) -> Self {
        Self::Close(CloseReason::Protocol { what: what.into() })
    }
}

/// A server that was elected.
#[derive(Debug)]
pub(crate) struct Leader {
    phase: Phase,
    since_ms: u64,
    /// The epoch it is to lead; final from `Promises` on.
    epoch: i64,
    /// The epoch is in the acceptedEpoch file.
    epoch_stored: bool,
    /// The currentEpoch file and the last zxid this server was elected with (`leaderStateSummary`).
    elected_with: (i64, i64),
    /// Who has promised to accept nothing of an older epoch.
    promised: BTreeSet<Sid>,
    /// Who has the whole history on disk (rule 4: this server among them only after its own epoch file).
    new_leader_acks: BTreeSet<Sid>,
    learners: Learners,
    last_proposed: i64,
    /// The zxid of the reconfiguration that is proposed and not committed.
    reconfig: Option<i64>,
    /// A reconfiguration has named another leader: this one commits nothing more (`allowedToCommit`).
    designated: Option<Sid>,
    ticked_ms: u64,
}

impl Leader {
    /// Begins with the whole log as history: a leader commits what it holds by completing NEWLEADER (rule 7).
    pub(crate) fn new(replica: &mut Replica) -> Self {
        assert!(!replica.damaged, "a damaged history never leads");
        let elected_with = (replica.current_epoch, replica.history.last());
        replica.deliver_tail();
        Self {
            phase: Phase::Epoch,
            since_ms: replica.now_ms,
            epoch: replica.accepted_epoch + 1,
            epoch_stored: false,
            elected_with,
            promised: BTreeSet::new(),
            new_leader_acks: BTreeSet::new(),
            learners: Learners::default(),
            last_proposed: 0,
            reconfig: None,
            designated: None,
            ticked_ms: replica.now_ms,
        }
    }

    /// With the learners that were quicker.
    pub(crate) fn begin(
        &mut self,
        replica: &mut Replica,
        parked: BTreeMap<LinkId, Option<Packet>>,
    ) -> Result<(), Leave> {
        for id in parked.keys() {
            self.on_connected(replica, *id);
        }
        for (id, first) in parked {
            if let Some(packet) = first {
                self.on_packet(replica, id, packet)?;
            }
        }
        self.try_epoch(replica)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn last_proposed(&self) -> i64 {
        self.last_proposed
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.learners.iter()
    }

    pub(crate) fn on_connected(&mut self, replica: &mut Replica, id: LinkId) {
        if self.learners.len() >= LINKS_MAX {
            return replica.emit(Effect::CloseLearner { link: id, reason: CloseReason::TooMany(LINKS_MAX) });
        }
        self.learners.insert(id, Link::new(replica.now_ms));
    }

    pub(crate) fn on_packet(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        packet: Packet,
    ) -> Result<(), Leave> {
        let Some(link) = self.learners.get_mut(id) else { return Ok(()) };
        link.heard_ms = replica.now_ms;
        match self.take_packet(replica, id, packet) {
            Ok(()) => Ok(()),
            Err(Fault::Leave(leave)) => Err(leave),
            Err(Fault::Close(reason)) => self.close(replica, id, reason),
        }
    }

    fn take_packet(&mut self, replica: &mut Replica, id: LinkId, packet: Packet) -> Result<(), Fault> {
        let stage = self.learners.get(id).map_or(Stage::Greeting, |link| link.stage);
        match (stage, packet.kind) {
            (Stage::Greeting, PacketKind::FollowerInfo | PacketKind::ObserverInfo) => {
                self.on_greeting(replica, id, &packet)
            }
            (Stage::Promising, PacketKind::AckEpoch) => self.on_ack_epoch(replica, id, &packet),
            (Stage::Syncing, PacketKind::Ack) => self.on_ack_new_leader(replica, id, packet.zxid),
            (Stage::Synced | Stage::Serving, kind) => self.on_serving(replica, id, kind, packet),
            (stage, kind) => Err(Fault::protocol(format!("{kind:?} while {stage:?}"))),
        }
    }

    pub(crate) fn on_closed(&mut self, replica: &mut Replica, id: LinkId) -> Result<(), Leave> {
        self.forget(replica, id)
    }

    pub(crate) fn close(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        reason: CloseReason,
    ) -> Result<(), Leave> {
        if let Some(link) = self.learners.get(id) {
            tracing::warn!(sid = link.sid, %reason, "closing a learner's link");
            replica.emit(Effect::CloseLearner { link: id, reason });
        }
        self.forget(replica, id)
    }

    fn forget(&mut self, replica: &mut Replica, id: LinkId) -> Result<(), Leave> {
        let Some(link) = self.learners.remove(id) else { return Ok(()) };
        if link.synced() {
            replica.emit(Effect::LearnerGone { link: id });
        }
        self.after_loss(replica)
    }

    pub(crate) fn on_stored(&mut self, replica: &mut Replica, stored: &Stored) -> Result<(), Leave> {
        match stored {
            Stored::AcceptedEpoch { epoch } if *epoch == self.epoch && self.phase == Phase::Promises => {
                self.on_epoch_stored(replica)
            }
            Stored::CurrentEpoch { epoch } if *epoch == self.epoch && self.phase == Phase::Sync => {
                self.new_leader_acks.insert(replica.sid());
                self.try_broadcast(replica)
            }
            Stored::Durable { .. } => self.try_commit(replica),
            _ => Ok(()),
        }
    }

    /// Rules that hold between any two steps.
    pub(crate) fn check(&self, replica: &Replica) {
        let own = replica.sid();
        if self.phase >= Phase::Promises {
            assert!(self.epoch > replica.current_epoch || self.phase >= Phase::Sync, "an epoch is new");
        }
        if self.phase >= Phase::Sync {
            assert!(self.epoch_stored, "the leader's acceptedEpoch comes before its promises");
            assert!(self.promised.contains(&own), "an epoch quorum includes the leader");
        }
        if self.phase == Phase::Broadcast {
            assert_eq!(replica.current_epoch, self.epoch, "currentEpoch is on disk before broadcast");
            assert!(self.new_leader_acks.contains(&own), "rule 4: NEWLEADER's quorum includes the leader");
            assert_eq!(zxid::epoch(self.last_proposed), self.epoch, "proposals are of the own epoch");
            let last = replica.history.pending().back().map_or(self.last_proposed, |entry| entry.zxid);
            assert_eq!(last, self.last_proposed, "every proposal is in the own log");
        } else {
            assert!(replica.history.pending().is_empty(), "rule 7: the leader's history is committed whole");
        }
        for (_, link) in self.learners.iter() {
            assert!(link.acked <= link.sent, "nobody acknowledges what it was not sent");
            assert!(self.phase >= Phase::Sync || link.stage < Stage::Syncing, "nobody is synced too early");
            assert!(
                link.stage < Stage::Serving || self.phase == Phase::Broadcast,
                "UPTODATE waits for the quorum"
            );
        }
    }
}
