//! What comes in once the sync point is fixed, before and after UPTODATE: proposals, commits, and what is for the
//! node above.

use bytes::Bytes;
use zk_proto::jute::Reader;
use zk_proto::quorum::{Packet, PacketKind, zxid};

use super::{Learner, Phase};
use crate::effect::Effect;
use crate::options::Entry;
use crate::replica::{Leave, Replica, packet as answer};
use crate::txn;

impl Learner {
    pub(super) fn on_history(&mut self, replica: &mut Replica, packet: Packet) -> Result<(), Leave> {
        let zxid = packet.zxid;
        let data = packet.data.clone().unwrap_or_default();
        match packet.kind {
            // An observer takes what is committed (`Observer.processPacket`); in sync the pairs are that.
            PacketKind::Proposal | PacketKind::Commit if self.observer && self.phase == Phase::Serving => {
                Ok(())
            }
            PacketKind::Proposal => self.on_proposal(replica, zxid, data),
            PacketKind::Commit => self.on_commit(replica, zxid).map(drop),
            PacketKind::CommitAndActivate => {
                let designated =
                    Reader::new(&data).i64().map_err(|e| Leave::look(format!("{:?}: {e}", packet.kind)))?;
                match self.on_commit(replica, zxid)? {
                    Some(payload) => self.activate(replica, &payload, designated),
                    None => Ok(()),
                }
            }
            PacketKind::Inform => self.on_inform(replica, zxid, data).map(drop),
            PacketKind::InformAndActivate => {
                let mut r = Reader::new(&data);
                let designated = r.i64().map_err(|e| Leave::look(format!("{:?}: {e}", packet.kind)))?;
                match self.on_inform(replica, zxid, data.slice(8..))? {
                    Some(payload) => self.activate(replica, &payload, designated),
                    None => Ok(()),
                }
            }
            PacketKind::Ping if self.phase == Phase::Serving => {
                replica.emit(Effect::AnswerPing { zxid });
                Ok(())
            }
            // No sessions yet.
            PacketKind::Ping => {
                replica.emit(Effect::SendLeader { packet: answer(PacketKind::Ping, zxid, Bytes::new()) });
                Ok(())
            }
            PacketKind::Revalidate | PacketKind::Sync if self.phase == Phase::Serving => {
                replica.emit(Effect::FromLeader { packet });
                Ok(())
            }
            kind => Err(Leave::look(format!("the leader sent {kind:?} while {:?}", self.phase))),
        }
    }

    /// Rule 5: duplicates are dropped, a gap ends the role.
    fn on_proposal(&mut self, replica: &mut Replica, zxid: i64, payload: Bytes) -> Result<(), Leave> {
        let last = replica.history.last();
        if zxid <= last {
            return Ok(());
        }
        if !zxid::follows(last, zxid) || zxid::epoch(zxid) > self.epoch {
            return Err(Leave::look(format!("rule 5: the leader sent 0x{zxid:x} after 0x{last:x}")));
        }
        if let Some(config) = txn::examine(zxid, &payload)? {
            replica.see_config(&config);
        }
        replica.append(Entry { zxid, payload });
        if self.phase >= Phase::Recording && !self.observer {
            self.owed.push_back(zxid);
        }
        Ok(())
    }

    /// The next entry of the tail is committed; its payload, unless it was already.
    fn on_commit(&mut self, replica: &mut Replica, zxid: i64) -> Result<Option<Bytes>, Leave> {
        if zxid <= replica.history.last_committed() {
            return Ok(None);
        }
        let next = replica.history.pending().front().map(|entry| entry.zxid);
        if next != Some(zxid) {
            let next = next.unwrap_or(0);
            return Err(Leave::look(format!("rule 5: COMMIT of 0x{zxid:x}, the next one is 0x{next:x}")));
        }
        Ok(replica.deliver_next(true).map(|(_, payload)| payload))
    }

    /// A committed transaction, whole.
    fn on_inform(
        &mut self,
        replica: &mut Replica,
        zxid: i64,
        payload: Bytes,
    ) -> Result<Option<Bytes>, Leave> {
        self.on_proposal(replica, zxid, payload)?;
        self.on_commit(replica, zxid)
    }

    /// COMMITANDACTIVATE, INFORMANDACTIVATE.
    fn activate(&self, replica: &mut Replica, payload: &Bytes, designated: i64) -> Result<(), Leave> {
        match txn::reconfiguration(payload)? {
            Some(config) => replica.activate_config(&config, self.leader, Some(designated), self.observer),
            None => Err(Leave::look("the leader activates what is no reconfiguration")),
        }
    }

    /// Rule 3: one ACK for each proposal, in order, once it and everything before it is on disk; none before this
    /// server is up to date.
    pub(super) fn pay(&mut self, replica: &mut Replica) {
        if self.phase != Phase::Serving {
            return;
        }
        while let Some(zxid) = self.owed.front().copied().filter(|zxid| *zxid <= replica.durable()) {
            self.owed.pop_front();
            self.acked = zxid;
            self.send_ack(replica, zxid);
        }
    }

    /// A packet of the node's own for the leader.
    pub(crate) fn to_leader(&self, replica: &mut Replica, mut packet: Packet) {
        if self.phase == Phase::Serving {
            // Apache's `LearnerHandler` reads the data of all three kinds without asking whether there are any.
            packet.data.get_or_insert_default();
            replica.emit(Effect::SendLeader { packet });
        }
    }
}
