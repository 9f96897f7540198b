//! Broadcast: proposals out, acks in, commits in order; who is silent, and whether there is still a quorum.

use bytes::Bytes;
use zk_proto::quorum::{Config, Packet, PacketKind, zxid};

use super::{Fault, Leader, Phase, Stage};
use crate::effect::{CloseReason, Effect, Role};
use crate::input::LinkId;
use crate::options::Entry;
use crate::replica::{Leave, Replica};

/// Learners dial as soon as they know whom; an original of 3.5 tries again a second later.
const GREETING_TICKS: u64 = 4;

/// And times an election's last wait, where ticks are short.
const GREETING_VOTES: u64 = 10;

impl Leader {
    pub(super) fn start_broadcast(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        self.enter(Phase::Broadcast, replica.now_ms);
        self.ticked_ms = replica.now_ms;
        let config = replica.configs.last_seen().clone();
        self.activate_at_start(replica, &config);
        replica.vote_epoch = Some(self.epoch);
        tracing::info!(epoch = self.epoch, quorum = ?self.new_leader_acks, "this server leads");
        replica.announce(Role::Leading { epoch: self.epoch });
        for id in self.learners.where_is(|stage| stage == Stage::Synced) {
            self.serve(replica, id);
        }
        Ok(())
    }

    /// The next transaction of the node above (`Leader.propose`).
    pub(crate) fn propose(
        &mut self,
        replica: &mut Replica,
        entry: Entry,
        reconfig: Option<Box<Config>>,
    ) -> Result<(), Leave> {
        assert!(self.phase == Phase::Broadcast, "nothing is proposed before the history is committed");
        assert_eq!(entry.zxid, self.last_proposed + 1, "rule 5: zxids step by one");
        assert_eq!(zxid::epoch(entry.zxid), self.epoch, "Z-1277: the counter never wraps");
        if let Some(config) = reconfig {
            assert!(self.reconfig.is_none(), "rule 14: one reconfiguration at a time");
            self.reconfig = Some(entry.zxid);
            replica.see_config(&config);
        }
        self.last_proposed = entry.zxid;
        let sample_ms = (replica.options.tick_ms / 10).max(1);
        let ids = self.followers_forwarding();
        for id in ids {
            self.send_data(replica, id, PacketKind::Proposal, entry.zxid, entry.payload.clone());
            if let Some(link) = self.learners.get_mut(id) {
                link.proposed(entry.zxid, replica.now_ms, sample_ms);
            }
        }
        replica.append(entry);
        Ok(())
    }

    fn followers_forwarding(&self) -> Vec<LinkId> {
        let links = self.learners.iter();
        links.filter(|(_, link)| link.forwarding() && !link.observer).map(|(id, _)| id).collect()
    }

    pub(super) fn on_serving(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        kind: PacketKind,
        packet: Packet,
    ) -> Result<(), Fault> {
        let Some(link) = self.learners.get(id) else { return Ok(()) };
        let (sid, serving) = (link.sid, link.stage == Stage::Serving);
        match kind {
            PacketKind::Ack => self.on_ack(replica, id, packet.zxid),
            PacketKind::Ping if packet.body().is_empty() => Ok(()),
            PacketKind::Ping | PacketKind::Request | PacketKind::Revalidate if serving => {
                replica.emit(Effect::FromLearner { link: id, sid, packet });
                Ok(())
            }
            kind => Err(Fault::protocol(format!("{kind:?}"))),
        }
    }

    /// `Leader.processAck`.
    fn on_ack(&mut self, replica: &mut Replica, id: LinkId, acked: i64) -> Result<(), Fault> {
        let Some(link) = self.learners.get_mut(id) else { return Ok(()) };
        // The ACK of UPTODATE has NEWLEADER's zxid; observers owe none (facts 4.12, 7).
        if zxid::counter(acked) == 0 || link.observer || acked <= link.acked {
            return Ok(());
        }
        if acked > link.sent {
            return Err(Fault::protocol(format!("ACK 0x{acked:x}, which it has not been sent")));
        }
        link.acknowledged(acked);
        Ok(self.try_commit(replica)?)
    }

    /// Commits from the front while there is a quorum, in zxid order (rule 5, `Leader.tryToCommit`).
    pub(super) fn try_commit(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        while self.designated.is_none()
            && let Some(front) = replica.history.pending().front().map(|entry| entry.zxid)
        {
            if !self.has_quorum(replica, front) {
                break;
            }
            self.commit(replica, front)?;
        }
        Ok(())
    }

    /// Rules 3 and 4: this server counts once its own disk has the entry, others once they say so.
    fn has_quorum(&self, replica: &Replica, zxid: i64) -> bool {
        let own = replica.sid();
        let mut acked = self.learners.followers(own, |link| link.synced() && link.acked >= zxid);
        if replica.durable() < zxid {
            acked.remove(&own);
        }
        // Proposals before a reconfiguration need the old configuration, it and those after it the new one too.
        match self.reconfig {
            Some(reconfig) if zxid >= reconfig => replica.configs.is_quorum(&acked),
            _ => replica.configs.active().is_quorum(&acked),
        }
    }

    fn commit(&mut self, replica: &mut Replica, committed: i64) -> Result<(), Leave> {
        let is_reconfig = self.reconfig == Some(committed);
        let designated = is_reconfig.then(|| self.designate(replica, committed));
        let Some((zxid, payload)) = replica.deliver_next(false) else { return Ok(()) };
        for (id, observer) in self.forwarding() {
            if observer {
                self.inform(replica, id, zxid, &payload, designated);
            } else if let Some(leader) = designated {
                let data = Bytes::copy_from_slice(&leader.to_be_bytes());
                self.send_data(replica, id, PacketKind::CommitAndActivate, zxid, data);
            } else {
                self.send(replica, id, PacketKind::Commit, zxid);
            }
        }
        if let Some(leader) = designated {
            self.reconfigured(replica, leader)?;
        }
        if zxid::counter(zxid) >= replica.options.counter_max {
            // Z-1277, Z-2789: the counter never wraps; a new election brings a new epoch.
            return Err(Leave::look(format!("epoch {} has no more zxids", self.epoch)));
        }
        Ok(())
    }

    fn forwarding(&self) -> Vec<(LinkId, bool)> {
        let links = self.learners.iter();
        links.filter(|(_, link)| link.forwarding()).map(|(id, link)| (id, link.observer)).collect()
    }

    /// Observers get a transaction once it is committed, and whole.
    fn inform(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        zxid: i64,
        payload: &Bytes,
        designated: Option<i64>,
    ) {
        match designated {
            Some(leader) => {
                let data = [&leader.to_be_bytes()[..], payload].concat();
                self.send_data(replica, id, PacketKind::InformAndActivate, zxid, data.into());
            }
            None => self.send_data(replica, id, PacketKind::Inform, zxid, payload.clone()),
        }
        if let Some(link) = self.learners.get_mut(id) {
            link.sent = zxid;
        }
    }

    /// A packet of the node's own; it keeps its place among the commits.
    pub(crate) fn to_learner(&self, replica: &mut Replica, id: LinkId, packet: Packet) {
        if self.learners.get(id).is_some_and(|link| link.stage == Stage::Serving) {
            replica.emit(Effect::SendLearner { link: id, packet });
        }
    }

    pub(crate) fn on_tick(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        self.close_silent(replica)?;
        self.ping(replica);
        if self.phase != Phase::Broadcast {
            let (phase, waited_ms) = (self.phase, replica.now_ms.saturating_sub(self.since_ms));
            if waited_ms >= self.patience_ms(replica) {
                return Err(Leave::look(format!("no quorum in phase {phase:?} after {waited_ms} ms")));
            }
            return Ok(());
        }
        if replica.now_ms.saturating_sub(self.ticked_ms) < replica.options.tick_ms {
            return Ok(());
        }
        self.ticked_ms = replica.now_ms;
        let there = self.learners.followers(replica.sid(), |link| !link.damaged);
        if replica.configs.is_quorum(&there) {
            return Ok(());
        }
        Err(self.leave_to_designated(format!("only {there:?} are left, which is no quorum")))
    }

    /// initLimit is for histories on their way. Who has not even greeted by then follows somebody else, and does not say
    /// so to a server that does not ask.
    fn patience_ms(&self, replica: &Replica) -> u64 {
        match self.phase {
            Phase::Epoch => {
                let votes_ms = GREETING_VOTES * replica.options.notification_min_ms;
                replica.init_ms().min(votes_ms.max(GREETING_TICKS * replica.options.tick_ms))
            }
            _ => replica.init_ms(),
        }
    }

    fn close_silent(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        let now_ms = replica.now_ms;
        let patience_ms = replica.options.tick_ms * replica.options.sync_limit;
        let mut silent = Vec::new();
        for (id, link) in self.learners.iter().filter(|(_, link)| !link.streaming) {
            let limit_ms = match link.stage {
                // It is the leader's turn.
                Stage::Greeted | Stage::Promised { .. } | Stage::ReadingLog { .. } => continue,
                Stage::Synced | Stage::Serving => replica.silence_ms(link.ours),
                Stage::Greeting | Stage::Promising | Stage::Syncing => replica.init_ms(),
            };
            let ms = now_ms.saturating_sub(link.heard_ms);
            if ms >= limit_ms {
                silent.push((id, CloseReason::Silent { ms }));
            } else if let Some((zxid, ms)) = link.lagging(now_ms).filter(|(_, ms)| *ms >= patience_ms) {
                silent.push((id, CloseReason::Lagging { zxid, ms }));
            }
        }
        for (id, reason) in silent {
            self.close(replica, id, reason)?;
        }
        Ok(())
    }

    /// Originals are pinged once the leader serves; servers of ours from the moment they know the epoch, so that a
    /// leader that went silent early is noticed as soon.
    fn ping(&mut self, replica: &mut Replica) {
        let (now_ms, serving) = (replica.now_ms, self.phase == Phase::Broadcast);
        let zxid = self.last_proposed;
        let mut due = Vec::new();
        for (id, link) in self.learners.iter_mut() {
            let may = if link.ours { link.stage >= Stage::Promising } else { link.forwarding() && serving };
            if may && now_ms.saturating_sub(link.pinged_ms) >= replica.ping_ms(link.ours) {
                link.pinged_ms = now_ms;
                due.push(id);
            }
        }
        for id in due {
            self.send(replica, id, PacketKind::Ping, zxid);
        }
    }
}
