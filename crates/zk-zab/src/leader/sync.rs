//! Synchronisation: what a learner lacks, and how it is brought there (`LearnerHandler.syncFollower`).
//!
//! Rule 9: a truncation never crosses an epoch. Rule 10: from the instant the sync point is fixed the learner gets
//! every proposal and commit. Z-4925: what is served as a DIFF has no gap.

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::quorum::{Packet, PacketKind, zxid};

use super::{Fault, Leader, Phase, Stage};
use crate::effect::Effect;
use crate::history::History;
use crate::input::LinkId;
use crate::options::Entry;
use crate::replica::{Leave, Replica, packet};

/// How a learner is synchronised.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// It has a prefix of the history: send the entries after it.
    Diff {
        after: i64,
    },
    /// It has entries nobody knows: remove those after `to`, then send the entries after that.
    Trunc {
        to: i64,
    },
    /// It is behind what is in memory: the log may reach back.
    ReadLog,
    Snap,
}

/// The first of the cases of `syncFollower` that fits a learner whose last zxid is `peer`.
fn plan(history: &History, peer: i64, ours: bool) -> Plan {
    let last = history.last_committed();
    let is_epoch_only = zxid::counter(peer) == 0;
    let ring = history.committed();
    let Some(first) = ring.front().map(|entry| entry.zxid) else {
        return match peer.cmp(&last) {
            std::cmp::Ordering::Equal => Plan::Diff { after: peer },
            std::cmp::Ordering::Less => Plan::ReadLog,
            std::cmp::Ordering::Greater => trunc_to(last, peer),
        };
    };
    if peer == last || history.base() == Some(peer) {
        return Plan::Diff { after: peer };
    }
    if peer > last {
        return trunc_to(last, peer);
    }
    if peer < first {
        return Plan::ReadLog;
    }
    match ring.binary_search_by_key(&peer, |entry| entry.zxid) {
        Ok(_) => Plan::Diff { after: peer },
        // The beginning of an epoch is no entry, and whoever knows it has everything before it.
        Err(_) if is_epoch_only => Plan::Diff { after: peer },
        // Apache sends a snapshot here; within an epoch everybody has the same history, so this is as safe, and
        // servers of ours can do it whatever their newest snapshot is.
        Err(at) if ours => trunc_to(ring[at - 1].zxid, peer),
        Err(_) => Plan::Snap,
    }
}

/// Rule 9. Across epochs nobody knows whether the learner has the entry to truncate to.
fn trunc_to(to: i64, peer: i64) -> Plan {
    let same_epoch = zxid::epoch(to) == zxid::epoch(peer) && zxid::counter(to) > 0 && zxid::counter(peer) > 0;
    if same_epoch { Plan::Trunc { to } } else { Plan::Snap }
}

/// What the log on disk adds before the ring: the entries after `peer` up to the ring, or `None` if there is a gap.
fn bridge(history: &History, peer: i64, mut entries: Vec<Entry>) -> Option<Vec<Entry>> {
    let first = history.committed().front().map(|first| first.zxid);
    entries.retain(|entry| {
        first.is_none_or(|first| entry.zxid < first) && entry.zxid <= history.last_committed()
    });
    let mut at = peer;
    for next in entries.iter().map(|entry| entry.zxid).chain(first) {
        if !zxid::follows(at, next) {
            return None;
        }
        at = next;
    }
    (first.is_some() || at == history.last_committed()).then_some(entries)
}

impl Leader {
    pub(super) fn start_sync(&mut self, replica: &mut Replica, id: LinkId, last: i64) {
        let Some(link) = self.learners.get_mut(id) else { return };
        let plan = match plan(&replica.history, last, link.ours) {
            _ if link.damaged => Plan::Snap,
            Plan::Trunc { .. } if link.wants_snapshot => Plan::Snap,
            plan => plan,
        };
        tracing::info!(sid = link.sid, last = format_args!("0x{last:x}"), ?plan, "synchronising a learner");
        match plan {
            Plan::ReadLog => {
                link.stage = Stage::ReadingLog { last };
                let upto = replica.history.last_committed().min(replica.durable());
                replica.emit(Effect::ReadLog { link: id, after: last, upto });
            }
            Plan::Diff { after } => {
                self.send(replica, id, PacketKind::Diff, replica.history.last_committed());
                self.send_history(replica, id, after);
            }
            Plan::Trunc { to } => {
                self.send(replica, id, PacketKind::Trunc, to);
                self.send_history(replica, id, to);
            }
            Plan::Snap => self.send_snapshot(replica, id),
        }
    }

    pub(crate) fn on_log_read(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        entries: Option<Vec<Entry>>,
    ) -> Result<(), Leave> {
        let Some(link) = self.learners.get(id) else { return Ok(()) };
        let Stage::ReadingLog { last } = link.stage else { return Ok(()) };
        // The sync point is fixed now, not when the reading began: the ring has moved on meanwhile.
        match entries.and_then(|entries| bridge(&replica.history, last, entries)) {
            Some(entries) => {
                self.send(replica, id, PacketKind::Diff, replica.history.last_committed());
                for entry in entries {
                    self.send_committed(replica, id, &entry);
                }
                self.send_history(replica, id, last);
            }
            None => self.send_snapshot(replica, id),
        }
        Ok(())
    }

    fn send_snapshot(&mut self, replica: &mut Replica, id: LinkId) {
        let last = replica.history.last_committed();
        if let Some(link) = self.learners.get_mut(id) {
            link.streaming = true;
        }
        self.send(replica, id, PacketKind::Snap, last);
        replica.emit(Effect::StreamSnapshot { link: id });
        self.send_history(replica, id, last);
    }

    pub(crate) fn on_snapshot_sent(&mut self, now_ms: u64, id: LinkId) {
        if let Some(link) = self.learners.get_mut(id) {
            link.streaming = false;
            link.heard_ms = now_ms;
        }
    }

    /// The committed entries after that zxid, the proposals that are not committed, NEWLEADER; from here on the link
    /// gets what comes (`Leader.startForwarding`).
    fn send_history(&mut self, replica: &mut Replica, id: LinkId, after: i64) {
        let ring = replica.history.committed();
        let start = ring.partition_point(|entry| entry.zxid <= after);
        let committed: Vec<Entry> = ring.range(start..).cloned().collect();
        for entry in &committed {
            self.send_committed(replica, id, entry);
        }
        let Some(link) = self.learners.get_mut(id) else { return };
        link.stage = Stage::Syncing;
        link.heard_ms = replica.now_ms;
        link.synced_to = replica.history.last_committed();
        link.sent = link.synced_to;
        if !link.observer {
            link.sent = replica.history.last();
            let pending: VecDeque<Entry> = replica.history.pending().clone();
            for Entry { zxid, payload } in pending {
                self.send_data(replica, id, PacketKind::Proposal, zxid, payload);
            }
        }
        // The last seen one until NEWLEADER's quorum has agreed on it (Z-1324). Afterwards a reconfiguration that is
        // under way comes as the proposal it is: learners activate what NEWLEADER brings, and Apache's leader has
        // them activate what may never be committed.
        let configs = &replica.configs;
        let config =
            if self.phase == Phase::Broadcast { configs.active() } else { configs.last_seen() }.to_string();
        self.send_data(replica, id, PacketKind::NewLeader, zxid::of(self.epoch, 0), config.into());
    }

    fn send_committed(&self, replica: &mut Replica, id: LinkId, entry: &Entry) {
        self.send_data(replica, id, PacketKind::Proposal, entry.zxid, entry.payload.clone());
        self.send(replica, id, PacketKind::Commit, entry.zxid);
    }

    pub(super) fn send(&self, replica: &mut Replica, id: LinkId, kind: PacketKind, zxid: i64) {
        replica.emit(Effect::SendLearner { link: id, packet: Packet::new(kind, zxid) });
    }

    pub(super) fn send_data(
        &self,
        replica: &mut Replica,
        id: LinkId,
        kind: PacketKind,
        zxid: i64,
        data: Bytes,
    ) {
        replica.emit(Effect::SendLearner { link: id, packet: packet(kind, zxid, data) });
    }

    /// The first ACK: its history is on disk (`Leader.waitForNewLeaderAck`).
    pub(super) fn on_ack_new_leader(
        &mut self,
        replica: &mut Replica,
        id: LinkId,
        acked: i64,
    ) -> Result<(), Fault> {
        let Some(link) = self.learners.get_mut(id) else { return Ok(()) };
        if acked != zxid::of(self.epoch, 0) {
            // Z-4646, Z-4685: followers of 3.6 to 3.8 log what they got with the sync while they acknowledge it, and
            // the ACK of a proposal may overtake that of NEWLEADER. Apache's leader then miscounts.
            if link.observer || acked <= link.synced_to || acked > link.sent {
                return Err(Fault::protocol(format!("ACK 0x{acked:x} instead of that of NEWLEADER")));
            }
            link.overtaking = link.overtaking.max(acked);
            return Ok(());
        }
        link.stage = Stage::Synced;
        link.acked = link.synced_to.max(link.overtaking);
        // The quorum that begins an epoch has to form without a damaged one; from then on it is as good as any.
        let counts = !link.observer && !link.damaged;
        link.damaged = false;
        link.unacked.clear();
        if link.sent > replica.history.last_committed() {
            link.unacked.push_back((link.sent, replica.now_ms));
        }
        if counts {
            let sid = link.sid;
            self.new_leader_acks.insert(sid);
        }
        if self.phase == Phase::Broadcast {
            self.serve(replica, id);
            return Ok(self.try_commit(replica)?);
        }
        Ok(self.try_broadcast(replica)?)
    }

    pub(super) fn serve(&mut self, replica: &mut Replica, id: LinkId) {
        if let Some(link) = self.learners.get_mut(id) {
            link.stage = Stage::Serving;
            self.send(replica, id, PacketKind::UpToDate, -1);
        }
    }

    /// A quorum has the history, this server among it: it is committed (rules 4 and 7).
    pub(super) fn try_broadcast(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        let own = self.new_leader_acks.contains(&replica.sid());
        if self.phase != Phase::Sync || !own || !replica.configs.is_quorum(&self.new_leader_acks) {
            return Ok(());
        }
        self.start_broadcast(replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn z(epoch: i64, counter: i64) -> i64 {
        zxid::of(epoch, counter)
    }

    fn entry(zxid: i64) -> Entry {
        Entry { zxid, payload: Bytes::new() }
    }

    /// 1:3 1:4 1:5 2:1 2:2 in memory.
    fn history() -> History {
        let zxids = [z(1, 3), z(1, 4), z(1, 5), z(2, 1), z(2, 2)];
        History::new(10, z(2, 2), zxids.into_iter().map(entry).collect())
    }

    /// Facts 4.8, "what the leader sends in step 4", row by row.
    #[test]
    fn the_table_of_sync_follower() {
        let check = |peer, expected| assert_eq!(plan(&history(), peer, false), expected, "0x{peer:x}");
        check(z(2, 2), Plan::Diff { after: z(2, 2) });
        check(z(2, 7), Plan::Trunc { to: z(2, 2) });
        check(z(3, 0), Plan::Snap);
        check(z(1, 4), Plan::Diff { after: z(1, 4) });
        check(z(1, 7), Plan::Snap);
        check(z(2, 0), Plan::Diff { after: z(2, 0) });
        check(z(1, 2), Plan::Diff { after: z(1, 2) });
        check(z(1, 1), Plan::ReadLog);
        check(0, Plan::ReadLog);
    }

    #[test]
    fn rule_09_a_truncation_never_crosses_an_epoch() {
        assert_eq!(plan(&history(), z(3, 1), true), Plan::Snap);
        assert_eq!(plan(&history(), z(1, 7), true), Plan::Trunc { to: z(1, 5) });
        assert_eq!(
            plan(&History::new(10, z(2, 0), Vec::new()), z(2, 1), true),
            Plan::Snap,
            "2:0 is no entry"
        );
    }

    #[test]
    fn an_empty_ring_serves_whoever_has_everything() {
        let fresh = History::new(10, 0, Vec::new());
        assert_eq!(plan(&fresh, 0, false), Plan::Diff { after: 0 });
        let from_snapshot = History::new(10, z(1, 0), Vec::new());
        assert_eq!(plan(&from_snapshot, z(1, 0), false), Plan::Diff { after: z(1, 0) });
        assert_eq!(plan(&from_snapshot, 0, false), Plan::ReadLog);
    }

    /// Z-4925.
    #[test]
    fn a_log_with_a_gap_is_no_diff() {
        let read = |peer, zxids: &[i64]| {
            let entries = zxids.iter().copied().map(entry).collect();
            bridge(&history(), peer, entries)
                .map(|entries| entries.iter().map(|e| e.zxid).collect::<Vec<_>>())
        };
        assert_eq!(read(z(1, 1), &[z(1, 2), z(1, 3)]), Some(vec![z(1, 2)]));
        assert_eq!(read(z(1, 1), &[z(1, 3)]), None, "a hole before the ring");
        assert_eq!(read(z(1, 0), &[z(1, 1), z(1, 2)]), Some(vec![z(1, 1), z(1, 2)]));
        let bare = History::new(10, z(1, 2), Vec::new());
        assert!(bridge(&bare, z(1, 1), vec![entry(z(1, 2)), entry(z(1, 3))]).is_some());
        assert!(bridge(&bare, z(1, 1), Vec::new()).is_none(), "the log ends too early");
    }
}
