//! Synchronisation: taking over the leader's history (`Learner.syncWithLeader`).
//!
//! The order is the rule: history on disk, then currentEpoch, then ACK(NEWLEADER), then any other ACK (rule 2;
//! Z-4643, Z-4646, Z-4685, Z-4785, Z-3911).

use zk_proto::quorum::{Config, Packet, PacketKind, zxid};

use super::{Learner, NewLeader, Phase};
use crate::effect::{Effect, Role};
use crate::input::Stored;
use crate::replica::{Leave, Replica};

impl Learner {
    /// DIFF, TRUNC or SNAP.
    pub(super) fn on_sync_begins(&mut self, replica: &mut Replica, packet: &Packet) -> Result<(), Leave> {
        if zxid::epoch(packet.zxid) > self.epoch || packet.zxid < 0 {
            return Err(Leave::look(format!("the leader sent {:?} 0x{:x}", packet.kind, packet.zxid)));
        }
        let zxid = packet.zxid;
        tracing::info!(leader = self.leader, kind = ?packet.kind, zxid = format_args!("0x{zxid:x}"), "synchronising");
        match packet.kind {
            PacketKind::Diff => {
                // The leader has all of it.
                replica.deliver_tail();
                self.phase = Phase::Syncing;
            }
            PacketKind::Trunc => {
                self.phase = Phase::Rewriting;
                replica.truncate(packet.zxid);
                self.rewrite_to = packet.zxid;
            }
            PacketKind::Snap => {
                self.phase = Phase::Rewriting;
                replica.receive_snapshot(packet.zxid);
                self.rewrite_to = packet.zxid;
            }
            kind => {
                return Err(Leave::look(format!("the leader sent {kind:?} instead of DIFF, TRUNC or SNAP")));
            }
        }
        Ok(())
    }

    /// Rule 8, Z-5094: the tree comes from disk anew, and it ends where the leader said. If the log was without that
    /// entry, what is left is a prefix of the leader's history all the same: the next attempt begins there.
    pub(super) fn on_rewritten(&mut self, replica: &mut Replica, stored: &Stored) -> Result<(), Leave> {
        let (Stored::Truncated { last_zxid: last, .. } | Stored::SnapshotInstalled { zxid: last }) = stored
        else {
            return Ok(());
        };
        if *last != self.rewrite_to {
            let wanted = self.rewrite_to;
            return Err(Leave::look(format!(
                "the log ends with 0x{last:x}, the leader wants it to with 0x{wanted:x}"
            )));
        }
        self.heard_ms = replica.now_ms;
        self.phase = Phase::Syncing;
        replica.store_current_epoch(zxid::epoch(*last));
        Ok(())
    }

    /// NEWLEADER: the history is here.
    pub(super) fn on_new_leader(&mut self, replica: &mut Replica, packet: &Packet) -> Result<(), Leave> {
        if packet.zxid != zxid::of(self.epoch, 0) {
            return Err(Leave::look(format!(
                "the leader sent NEWLEADER 0x{:x} in epoch {}",
                packet.zxid, self.epoch
            )));
        }
        let config = config_of(packet.body())?;
        if let Some(config) = &config {
            replica.see_config(config);
        }
        // What is committed at the leader wants no ACK of its own; what is not, does (Z-4394).
        let committed = replica.history.last_committed();
        let pending = replica.history.pending().iter().map(|entry| entry.zxid);
        self.owed =
            if self.observer { Default::default() } else { pending.filter(|z| *z > committed).collect() };
        self.new_leader = Some(NewLeader { history: replica.history.last(), config });
        self.phase = Phase::Recording;
        replica.store_current_epoch(self.epoch);
        self.try_record(replica);
        Ok(())
    }

    /// Acknowledges NEWLEADER once the history and the epoch file are on disk.
    pub(super) fn try_record(&mut self, replica: &mut Replica) {
        let history = self.new_leader.as_ref().map_or(i64::MAX, |new| new.history);
        let on_disk = replica.durable() >= history && replica.current_epoch >= self.epoch;
        if self.phase == Phase::Recording && on_disk {
            self.phase = Phase::Recorded;
            replica.damaged = false;
            self.send_ack(replica, zxid::of(self.epoch, 0));
        }
    }

    /// UPTODATE: a quorum has the history, clients may be served.
    pub(super) fn on_up_to_date(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        // One that is proposed in this epoch and not committed yet waits for its COMMITANDACTIVATE: what counts at one
        // server and not at a quorum would spread by votes, and undo what was committed.
        let (begin, committed) = (zxid::of(self.epoch, 0), replica.history.last_committed());
        let config = self.new_leader.take().and_then(|new| new.config);
        if let Some(config) = config.filter(|config| config.version <= begin || config.version <= committed) {
            replica.activate_config(&config, self.leader, None, self.observer)?;
        }
        if let Some(config) = replica.configs.forget_older_than(zxid::of(self.epoch, 0)).cloned() {
            replica.emit(Effect::ConfigSeen { config });
        }
        self.send_ack(replica, zxid::of(self.epoch, 0));
        self.phase = Phase::Serving;
        replica.vote_epoch = Some(self.epoch);
        let leader = self.leader;
        let role = if self.observer { Role::Observing { leader } } else { Role::Following { leader } };
        replica.announce(role);
        self.pay(replica);
        Ok(())
    }

    pub(super) fn send_ack(&self, replica: &mut Replica, zxid: i64) {
        replica.emit(Effect::SendLeader { packet: Packet::new(PacketKind::Ack, zxid) });
    }
}

/// NEWLEADER's data: a configuration, or next to nothing from old leaders.
fn config_of(data: &[u8]) -> Result<Option<Config>, Leave> {
    if data.len() <= 1 {
        return Ok(None);
    }
    let text = std::str::from_utf8(data).map_err(|_| Leave::look("NEWLEADER's configuration is no text"))?;
    let config = Config::parse(text).map_err(|e| Leave::look(format!("NEWLEADER's configuration: {e}")))?;
    // Text without voters is nobody's configuration.
    Ok(Some(config).filter(|config| config.voters().next().is_some()))
}
