//! Discovery: reaching the leader, and promising it its epoch.

use bytes::Bytes;
use zk_proto::quorum::packet::{LearnerInfo, PROTOCOL_VERSION};
use zk_proto::quorum::{Notification, Packet, PacketKind, PeerState, zxid};

use super::{Learner, Phase};
use crate::effect::Effect;
use crate::marker::{self, Greeting};
use crate::replica::{Leave, Replica, packet};

/// Between two dials (`leaderConnectDelayDuringRetryMs`).
const REDIAL_MS: u64 = 100;

/// Dials that may fail while the election mesh says that the leader's host is gone as well.
const DIALS_TO_THE_DEAD: u32 = 3;

/// Links that may be closed unanswered: a leader that is not one yet opens no port, or lets learners wait.
const REFUSALS_MAX: u32 = 3;

/// An epoch has 31 bits in ACKEPOCH.
const EPOCH_MAX: i64 = i32::MAX as i64 - 1;

impl Learner {
    pub(crate) fn on_connected(&mut self, replica: &mut Replica) {
        if self.phase != Phase::Dialling {
            return;
        }
        self.phase = Phase::Greeting;
        self.heard_ms = replica.now_ms;
        let greeting = Greeting {
            info: LearnerInfo {
                sid: replica.sid(),
                protocol: PROTOCOL_VERSION,
                config_version: replica.configs.active().version,
            },
            ours: true,
            damaged: replica.damaged,
            wants_snapshot: replica.wants_snapshot,
        };
        let kind = if self.observer { PacketKind::ObserverInfo } else { PacketKind::FollowerInfo };
        let packet = packet(kind, zxid::of(replica.accepted_epoch, 0), greeting.encode());
        replica.emit(Effect::SendLeader { packet });
    }

    /// The leader may be slower than this server in learning that it leads: as long as it has said nothing it is
    /// dialled again, within initLimit.
    pub(crate) fn on_closed(&mut self, replica: &Replica, leader_heard: bool) -> Result<(), Leave> {
        let leader = self.leader;
        if !matches!(self.phase, Phase::Dialling | Phase::Greeting) {
            return Err(Leave::look(format!("the link to the leader {leader} broke")));
        }
        if !leader_heard && self.dials >= DIALS_TO_THE_DEAD {
            return Err(Leave::look(format!("the leader {leader} can neither be reached nor heard")));
        }
        if self.phase == Phase::Greeting {
            self.refusals += 1;
        }
        if self.is_elsewhere || self.refusals >= REFUSALS_MAX {
            return Err(Leave::look(format!("server {leader} does not lead")));
        }
        self.phase = Phase::Dialling;
        self.dial_ms = Some(replica.now_ms + REDIAL_MS);
        Ok(())
    }

    pub(super) fn dial_again(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        if replica.now_ms.saturating_sub(self.began_ms) >= replica.init_ms() {
            return Err(Leave::look(format!("the leader {} was not reached within initLimit", self.leader)));
        }
        if self.dial_ms.is_some_and(|at| replica.now_ms >= at) {
            self.dial_ms = None;
            self.dials += 1;
            replica.emit(Effect::DialLeader { sid: self.leader });
        }
        Ok(())
    }

    /// The leader says on the mesh what it is. A vote for another server may be from before the one that counted, so
    /// it tells only together with a link that does not come about. Once it follows somebody it does not say so by
    /// itself: that vote may be its last word.
    pub(crate) fn on_leaders_vote(&mut self, notification: &Notification) -> Result<(), Leave> {
        if !matches!(self.phase, Phase::Dialling | Phase::Greeting) {
            return Ok(());
        }
        match notification.state {
            PeerState::Leading => self.is_elsewhere = false,
            PeerState::Looking => self.is_elsewhere = notification.leader != self.leader,
            PeerState::Following | PeerState::Observing => {
                return Err(Leave::look(format!("server {} does not lead", self.leader)));
            }
        }
        Ok(())
    }

    /// LEADERINFO: the new epoch (`Learner.registerWithLeader`).
    pub(super) fn on_leader_info(&mut self, replica: &mut Replica, packet: &Packet) -> Result<(), Leave> {
        let epoch = zxid::epoch(packet.zxid);
        if !(0..=EPOCH_MAX).contains(&epoch) || packet.body().len() < 4 {
            return Err(Leave::look(format!("the leader sent a LEADERINFO of epoch 0x{epoch:x}")));
        }
        let accepted = replica.accepted_epoch;
        // What a server promised that has no vote binds nobody: it may follow an earlier leader, as long as it has
        // nothing of a later one. As a voter it would make that leader give way; as an observer it would wait for ever.
        let is_bound = !self.observer && replica.configs.active().is_voter(replica.sid());
        if epoch < accepted && (is_bound || epoch < replica.current_epoch) {
            return Err(Leave::look(format!(
                "rule 1: epoch {epoch} is older than {accepted}, which is promised"
            )));
        }
        self.ours = marker::leader_is_ours(packet.body());
        self.epoch = epoch;
        if epoch > accepted {
            self.phase = Phase::Promising;
            replica.store_accepted_epoch(epoch);
        } else {
            self.promise(replica, false);
        }
        Ok(())
    }

    /// Rule 1: acceptedEpoch is on disk. An epoch promised before, or a history that is lost, does not count.
    pub(super) fn promise(&mut self, replica: &mut Replica, is_new: bool) {
        self.phase = Phase::Promised;
        // An original has no other way to be asked for a snapshot than an empty history, which then counts for nothing.
        let as_empty = replica.damaged || replica.wants_snapshot && !self.ours;
        let current = if is_new && !as_empty { replica.current_epoch as i32 } else { -1 };
        let data = Bytes::copy_from_slice(&current.to_be_bytes());
        // Rule 6: what the disk holds, as in the vote.
        let last = if as_empty { 0 } else { replica.durable() };
        let packet = packet(PacketKind::AckEpoch, last, data);
        replica.emit(Effect::SendLeader { packet });
    }
}
