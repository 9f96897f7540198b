//! Discovery: which epoch is new to everybody, and who promises to follow it.

use std::collections::BTreeSet;

use zk_proto::jute::Reader;
use zk_proto::quorum::packet::PROTOCOL_VERSION;
use zk_proto::quorum::{Packet, PacketKind, Sid, zxid};

use super::{Fault, Leader, Phase, Stage};
use crate::effect::{CloseReason, Effect};
use crate::input::LinkId;
use crate::marker::{self, Greeting};
use crate::replica::{Leave, Replica, packet};

/// An epoch has 31 bits on the wire (ACKEPOCH); nobody comes near.
pub(crate) const EPOCH_MAX: i64 = i32::MAX as i64 - 1;

impl Leader {
    /// FOLLOWERINFO or OBSERVERINFO.
    pub(super) fn on_greeting(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        packet: &Packet,
    ) -> Result<(), Fault> {
        let greeting = Greeting::decode(packet.body())?;
        let (sid, accepted) = (greeting.info.sid, zxid::epoch(packet.zxid));
        if greeting.info.protocol < PROTOCOL_VERSION {
            return Err(Fault::protocol(format!(
                "protocol 0x{:x}, older than ZAB 1.0",
                greeting.info.protocol
            )));
        }
        if !(0..=EPOCH_MAX).contains(&accepted) {
            return Err(Fault::protocol(format!("accepted epoch 0x{accepted:x}")));
        }
        if sid == replica.sid() {
            return Err(Fault::protocol(format!("this server's own number {sid}")));
        }
        let (theirs, ours) = (greeting.info.config_version, replica.configs.active().version);
        if theirs > ours {
            return Err(Fault::Close(CloseReason::NewerConfig { theirs, ours }));
        }
        if let Some(older) = self.learners.of(sid).filter(|_| sid >= 0) {
            self.close(replica, older, CloseReason::Replaced)?;
        }
        let Some(link) = self.learners.get_mut(id) else { return Ok(()) };
        link.sid = sid;
        link.observer = packet.kind == PacketKind::ObserverInfo;
        link.ours = greeting.ours;
        link.damaged = greeting.damaged;
        link.wants_snapshot = greeting.wants_snapshot;
        link.stage = Stage::Greeted;
        if self.phase == Phase::Epoch {
            self.epoch = self.epoch.max(accepted + 1);
            self.try_epoch(replica)?;
        } else if accepted > self.epoch && replica.configs.active().is_voter(sid) {
            // It has promised a later epoch, so it can never follow this leader, even to be healed. Apache's stays
            // without it until something else ends its epoch; here a new election does, once.
            let epoch = self.epoch;
            return Err(Leave::look(format!(
                "server {sid} has promised epoch {accepted}, later than {epoch}"
            ))
            .into());
        } else if self.epoch_stored {
            self.tell_epoch(replica, id);
        }
        Ok(())
    }

    /// A quorum of greetings, this server among them, fixes the epoch (`Leader.getEpochToPropose`). While a
    /// reconfiguration is outstanding it takes a quorum of both, here and for the promises, unlike Apache's: otherwise
    /// a leader of the old and one of the new configuration could be promised the same epoch.
    pub(super) fn try_epoch(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        let greeted = self.learners.followers(replica.sid(), |link| !link.damaged);
        if self.phase != Phase::Epoch || !replica.configs.is_quorum(&greeted) {
            return Ok(());
        }
        if !replica.configs.active().is_voter(replica.sid()) {
            return Err(Leave::look("this server is no voter"));
        }
        if self.epoch > EPOCH_MAX {
            return Err(Leave::look("there are no more epochs"));
        }
        self.enter(Phase::Promises, replica.now_ms);
        // Before anybody is told (facts 4.8): a leader that restarts never proposes the same epoch twice.
        replica.store_accepted_epoch(self.epoch);
        Ok(())
    }

    pub(super) fn enter(&mut self, phase: Phase, now_ms: u64) {
        tracing::debug!(epoch = self.epoch, ?phase, "leader");
        self.phase = phase;
        self.since_ms = now_ms;
    }

    pub(super) fn on_epoch_stored(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        self.epoch_stored = true;
        self.last_proposed = zxid::of(self.epoch, 0);
        self.version_initial_config(replica);
        self.promised.insert(replica.sid());
        for id in self.learners.where_is(|stage| stage == Stage::Greeted) {
            self.tell_epoch(replica, id);
        }
        self.try_sync(replica)
    }

    /// Z-1783: the first configuration has version 0; the first leader proposes its own epoch as version, so that
    /// an established configuration is newer than any that was only written into a file.
    fn version_initial_config(&mut self, replica: &mut Replica) {
        if replica.configs.active().version == 0 && replica.configs.outstanding().is_none() {
            let mut config = replica.configs.active().clone();
            config.version = zxid::of(self.epoch, 0);
            replica.see_config(&config);
        }
    }

    fn tell_epoch(&mut self, replica: &mut Replica, id: LinkId) {
        let Some(link) = self.learners.get_mut(id) else { return };
        link.stage = Stage::Promising;
        link.heard_ms = replica.now_ms;
        let packet = packet(PacketKind::LeaderInfo, zxid::of(self.epoch, 0), marker::leader_info());
        replica.emit(Effect::SendLearner { link: id, packet });
    }

    /// ACKEPOCH: its current epoch and last zxid (`Leader.waitForEpochAck`).
    pub(super) fn on_ack_epoch(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        packet: &Packet,
    ) -> Result<(), Fault> {
        let current = i64::from(Reader::new(packet.body()).i32()?);
        let last = packet.zxid;
        if last < 0 || current < -1 {
            return Err(Fault::protocol(format!("ACKEPOCH of epoch {current}, zxid 0x{last:x}")));
        }
        let Some(link) = self.learners.get_mut(id) else { return Ok(()) };
        // A damaged one says -1 like one that had promised before: it counts in no quorum.
        let counts = current != -1 && !link.observer && !link.damaged;
        let (sid, is_ahead) = (link.sid, current != -1 && (current, last) > self.elected_with);
        if self.phase == Phase::Promises && is_ahead {
            return Err(Fault::Close(CloseReason::Ahead { epoch: current, zxid: last }));
        }
        link.stage = Stage::Promised { last };
        if self.phase > Phase::Promises {
            self.start_sync(replica, id, last);
            return Ok(());
        }
        if counts {
            self.promised.insert(sid);
        }
        Ok(self.try_sync(replica)?)
    }

    /// A quorum has promised: nobody of an older epoch can commit any more.
    fn try_sync(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        let ready = self.phase == Phase::Promises && self.epoch_stored;
        if !ready || !replica.configs.is_quorum(&self.promised) {
            return Ok(());
        }
        self.enter(Phase::Sync, replica.now_ms);
        replica.store_current_epoch(self.epoch);
        for id in self.learners.where_is(|stage| matches!(stage, Stage::Promised { .. })) {
            if let Some(Stage::Promised { last }) = self.learners.get(id).map(|link| link.stage) {
                self.start_sync(replica, id, last);
            }
        }
        Ok(())
    }

    /// A voter looks for a leader although this server was elected. When too few of the others have come by now,
    /// they have changed their minds: waiting for initLimit would only keep a vote away from them.
    pub(crate) fn on_looking(&mut self, replica: &Replica, sid: Sid) -> Result<(), Leave> {
        // Others may still be waiting for a better vote when this server has its verdict.
        let patience_ms = replica.options.tick_ms.max(3 * replica.options.notification_min_ms);
        let waited = replica.now_ms.saturating_sub(self.since_ms) > patience_ms;
        if self.phase == Phase::Broadcast || !waited || !replica.configs.active().is_voter(sid) {
            return Ok(());
        }
        let there: BTreeSet<Sid> = self.learners.followers(replica.sid(), |_| true);
        if replica.configs.is_quorum(&there) {
            return Ok(());
        }
        Err(Leave::look(format!("server {sid} looks for a leader and only {there:?} have come")))
    }
}
