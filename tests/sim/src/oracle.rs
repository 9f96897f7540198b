//! What must hold after every step, seen from outside: the oracle knows every disk and every tree at once.
//!
//! The names are those of the TLA+ specifications of Zab and ZooKeeper (`zookeeper-tla-spec`): SingleLeader,
//! PrefixConsistency, CommittedLogMonotonicity, CommittedLogDurability, LeaderLogCompleteness; the others say what
//! a packet may claim.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zk_proto::quorum::{Config, Notification, Packet, PacketKind, PeerState, Sid, zxid};
use zk_zab::Role;

use crate::disk::Disk;
use crate::server::{Server, serves};

/// Ends the run with the name of what is broken.
#[macro_export]
macro_rules! broken {
    ($name:literal, $($what:tt)*) => {
        panic!("[{}] {}", $name, format_args!($($what)*))
    };
}

/// One server as its clients see it.
#[derive(Debug, Default)]
struct View {
    /// Looked at since it began to serve.
    is_known: bool,
    is_serving: bool,
    applied: i64,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Everything ever logged anywhere.
    pub proposed: BTreeMap<i64, Bytes>,
    /// What some serving server has applied, ascending.
    pub committed: Vec<i64>,
    /// The tree's digest after a transaction.
    digest_at: BTreeMap<i64, (i64, Sid)>,
    leaders: BTreeMap<i64, Sid>,
    /// What ever was on each server's disk.
    ever_durable: BTreeMap<Sid, BTreeSet<i64>>,
    views: BTreeMap<Sid, View>,
    /// When the last server began to lead.
    pub led_since_ms: u64,
}

impl Oracle {
    /// The newest epoch anybody has led.
    pub fn newest_epoch(&self) -> i64 {
        self.leaders.keys().last().copied().unwrap_or(0)
    }

    pub fn last_committed(&self) -> i64 {
        self.committed.last().copied().unwrap_or(0)
    }

    pub fn on_start(&mut self, sid: Sid) {
        self.views.insert(sid, View::default());
    }

    /// One leader an epoch, one transaction a zxid, no holes.
    pub fn on_append(&mut self, sid: Sid, disk: &Disk, zxid: i64, payload: &Bytes) {
        let last = disk.last_zxid_written();
        if !zxid::follows(last, zxid) {
            broken!("LogContiguous", "server {sid} logs 0x{zxid:x} after 0x{last:x}");
        }
        let known = self.proposed.entry(zxid).or_insert_with(|| payload.clone());
        if known != payload {
            broken!("ProposalConsistent", "server {sid} logs another transaction as 0x{zxid:x}");
        }
    }

    pub fn on_durable(&mut self, sid: Sid, disk: &Disk) {
        let durable = self.ever_durable.entry(sid).or_default();
        for zxid in disk.history.iter().rev() {
            if !durable.insert(*zxid) {
                break;
            }
        }
    }

    pub fn on_crash(&mut self, sid: Sid, disk: &Disk) {
        self.on_durable(sid, disk);
        self.views.insert(sid, View::default());
    }

    /// Rule 6: the vote is what the disk holds; a damaged server has none.
    pub fn on_notify(&mut self, sid: Sid, disk: &Disk, n: &Notification) {
        if n.state != PeerState::Looking {
            return;
        }
        if disk.is_untrusted && disk.config.is_voter(sid) && n.round != 0 {
            broken!("DamagedHasNoVote", "server {sid} votes in round {} without a history", n.round);
        }
        let (last, epoch) = (disk.last_zxid(), disk.current_epoch);
        if n.leader == sid && (n.zxid > last || n.peer_epoch > epoch) {
            broken!(
                "VoteFromDisk",
                "server {sid} claims 0x{:x} of epoch {}, its disk holds 0x{last:x} of epoch {epoch}",
                n.zxid,
                n.peer_epoch
            );
        }
    }

    /// Rules 1 to 3: what a learner says is on its disk.
    pub fn on_to_leader(&mut self, sid: Sid, disk: &Disk, packet: &Packet, offered: i64) {
        let last = disk.last_zxid();
        match packet.kind {
            PacketKind::AckEpoch if disk.accepted_epoch < offered => {
                broken!("PromiseOnDisk", "server {sid} promises epoch {offered} before it is on its disk");
            }
            PacketKind::Ack if zxid::counter(packet.zxid) == 0 => {
                let (epoch, current) = (zxid::epoch(packet.zxid), disk.current_epoch);
                if current < epoch {
                    broken!("AckAfterEpoch", "server {sid} acks NEWLEADER {epoch}, its disk says {current}");
                }
            }
            PacketKind::Ack if packet.zxid > last => {
                broken!(
                    "AckAfterFsync",
                    "server {sid} acks 0x{:x}, its disk ends at 0x{last:x}",
                    packet.zxid
                );
            }
            PacketKind::AckEpoch if packet.zxid > last && !disk.is_untrusted => {
                broken!("AckEpochFromDisk", "server {sid} claims 0x{:x} of 0x{last:x}", packet.zxid);
            }
            _ => {}
        }
    }

    /// A leader's epoch is on its disk before anybody hears of it.
    pub fn on_to_learner(&mut self, sid: Sid, disk: &Disk, packet: &Packet) {
        let epoch = zxid::epoch(packet.zxid);
        if packet.kind == PacketKind::LeaderInfo && disk.accepted_epoch < epoch {
            broken!("EpochBeforeInfo", "leader {sid} offers epoch {epoch} before it is on its disk");
        }
    }

    pub fn on_leading(&mut self, sid: Sid, epoch: i64, now_ms: u64) {
        self.led_since_ms = now_ms;
        if let Some(other) = self.leaders.insert(epoch, sid)
            && other != sid
        {
            broken!("SingleLeader", "servers {other} and {sid} lead epoch {epoch}");
        }
    }

    pub fn on_role(&mut self, sid: Sid, is_serving: bool) {
        self.views.insert(sid, View { is_serving, ..View::default() });
    }

    pub fn after_step(&mut self, server: &Server) {
        let sid = server.sid;
        let (Some(role), Some(tree)) = (server.role(), server.tree()) else { return };
        if !serves(role) {
            return;
        }
        let (applied, digest) = (tree.last_zxid(), tree.digest());
        let view = self.views.entry(sid).or_default();
        debug_assert!(view.is_serving, "server {sid} serves without a role");
        let before = if view.is_known { view.applied } else { 0 };
        if view.is_known && applied < view.applied {
            broken!("CommittedLogMonotonicity", "server {sid} goes back from 0x{before:x} to 0x{applied:x}");
        }
        if view.is_known && applied == view.applied {
            return;
        }
        (view.is_known, view.applied) = (true, applied);
        let written = server.disk.last_zxid_written();
        if applied > written && zxid::counter(applied) != 0 {
            broken!("TreeWithinLog", "server {sid} shows 0x{applied:x}, its log ends at 0x{written:x}");
        }
        let zxids = server.disk.zxids(before, applied);
        self.applied(server, role, before, applied, &zxids);
        self.same_digest(sid, applied, digest);
    }

    /// PrefixConsistency and LeaderLogCompleteness: what a server shows is what was committed, all of it.
    fn applied(&mut self, server: &Server, role: Role, before: i64, upto: i64, zxids: &[i64]) {
        let sid = server.sid;
        let from = self.committed.partition_point(|z| *z <= before);
        let to = self.committed.partition_point(|z| *z <= upto);
        let known = &self.committed[from..to];
        let common = known.len().min(zxids.len());
        if known[..common] != zxids[..common] || known.len() > zxids.len() {
            let at = (0..common).find(|at| known[*at] != zxids[*at]).unwrap_or(common);
            broken!(
                "PrefixConsistency",
                "server {sid} ({role:?}) shows {:x?} where {:x?} was committed",
                zxids.get(at),
                known.get(at)
            );
        }
        let new = &zxids[common..];
        if new.is_empty() {
            return;
        }
        if to < self.committed.len() {
            broken!(
                "PrefixConsistency",
                "server {sid} ({role:?}) shows 0x{:x}, which was passed over",
                new[0]
            );
        }
        let Role::Leading { .. } = role else {
            broken!("PrefixConsistency", "server {sid} ({role:?}) shows 0x{:x} before its leader", new[0]);
        };
        for zxid in new {
            self.is_durable(&server.disk.config, *zxid);
        }
        self.committed.extend_from_slice(new);
    }

    /// CommittedLogDurability: a quorum has had it on disk.
    fn is_durable(&self, config: &Config, zxid: i64) {
        let has = |sid: &&Sid| self.ever_durable.get(sid).is_some_and(|d| d.contains(&zxid));
        let on: BTreeSet<Sid> = config.members.keys().filter(has).copied().collect();
        if !config.is_quorum(&on) {
            broken!("CommittedLogDurability", "0x{zxid:x} is committed and on the disks of {on:?} only");
        }
    }

    /// Equal histories make equal trees.
    fn same_digest(&mut self, sid: Sid, applied: i64, digest: i64) {
        if zxid::counter(applied) == 0 {
            return;
        }
        let (known, first) = *self.digest_at.entry(applied).or_insert((digest, sid));
        if known != digest {
            broken!("ProcessConsistency", "servers {first} and {sid} have different trees at 0x{applied:x}");
        }
    }
}
