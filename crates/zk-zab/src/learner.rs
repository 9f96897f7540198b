//! Following or observing a leader: from the election's verdict until the link is gone.
//!
//! ```text
//! Dialling ─► Greeting ─LEADERINFO─► Promising ─acceptedEpoch on disk, ACKEPOCH─► Promised
//! Promised ─DIFF─► Syncing    Promised ─TRUNC, SNAP─► Rewriting ─tree and log made anew─► Syncing
//! Syncing ─NEWLEADER─► Recording ─history and currentEpoch on disk, ACK─► Recorded ─UPTODATE─► Serving
//! ```
//! Whatever is not as it must be ends the role: the link is closed and this server looks again with what its disk
//! holds (rule 8).

mod broadcast;
mod discovery;
mod sync;

use std::collections::VecDeque;

use zk_proto::quorum::{Config, Packet, PacketKind, Sid, zxid};

use crate::effect::Effect;
use crate::input::Stored;
use crate::replica::{Leave, Next, Replica};

/// Bytes of packets that may wait for the disk to be rewritten: as much as a leader lets wait for a learner. What was
/// rewritten by then is not lost, and the next leader needs to send less.
const WAITING_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// No link yet.
    Dialling,
    /// FOLLOWERINFO is sent.
    Greeting,
    /// The epoch is being written.
    Promising,
    /// ACKEPOCH is sent.
    Promised,
    /// The log is being truncated, or a snapshot comes in.
    Rewriting,
    /// The history comes in.
    Syncing,
    /// NEWLEADER is here, the history on its way to the disk.
    Recording,
    /// ACK(NEWLEADER) is sent.
    Recorded,
    Serving,
}

/// NEWLEADER, while its history is not on disk.
#[derive(Debug)]
struct NewLeader {
    /// The last entry before it.
    history: i64,
    config: Option<Config>,
}

#[derive(Debug)]
pub(crate) struct Learner {
    leader: Sid,
    observer: bool,
    /// The leader is a server of this project.
    ours: bool,
    phase: Phase,
    began_ms: u64,
    heard_ms: u64,
    /// When to dial again, and how often it has been tried.
    dial_ms: Option<u64>,
    dials: u32,
    /// Links the leader closed without having said anything.
    refusals: u32,
    /// The leader's last word on the mesh was a vote for another server.
    is_elsewhere: bool,
    epoch: i64,
    /// Where the history is to end after a TRUNC or SNAP.
    rewrite_to: i64,
    /// Packets behind a TRUNC or SNAP.
    waiting: VecDeque<Packet>,
    waiting_bytes: usize,
    new_leader: Option<NewLeader>,
    /// Proposals that want an ACK each, in order, once they are on disk and this server is up to date.
    owed: VecDeque<i64>,
    /// The last proposal acknowledged to this leader.
    acked: i64,
}

/// What a packet takes while it waits.
fn bytes_of(packet: &Packet) -> usize {
    let auth = packet.auth.iter().map(|id| size_of_val(id) + id.scheme.len() + id.id.len());
    size_of_val(packet) + packet.body().len() + auth.sum::<usize>()
}

impl Learner {
    pub(crate) fn start(replica: &mut Replica, leader: Sid, observer: bool) -> Self {
        replica.emit(Effect::DialLeader { sid: leader });
        Self {
            leader,
            observer,
            ours: false,
            phase: Phase::Dialling,
            began_ms: replica.now_ms,
            heard_ms: replica.now_ms,
            dial_ms: None,
            dials: 1,
            refusals: 0,
            is_elsewhere: false,
            epoch: 0,
            rewrite_to: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            new_leader: None,
            owed: VecDeque::new(),
            acked: 0,
        }
    }

    pub(crate) fn leader(&self) -> Sid {
        self.leader
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn on_packet(&mut self, replica: &mut Replica, packet: Packet) -> Result<(), Leave> {
        self.heard_ms = replica.now_ms;
        if matches!(self.phase, Phase::Promising | Phase::Rewriting) {
            self.waiting_bytes += bytes_of(&packet);
            if self.waiting_bytes > WAITING_BYTES_MAX {
                return Err(Leave::look("the leader sends faster than the disk can be rewritten"));
            }
            self.waiting.push_back(packet);
            return Ok(());
        }
        self.take_packet(replica, packet)
    }

    fn take_packet(&mut self, replica: &mut Replica, packet: Packet) -> Result<(), Leave> {
        match (self.phase, packet.kind) {
            (Phase::Greeting, PacketKind::LeaderInfo) => self.on_leader_info(replica, &packet),
            // A leader of ours says early that it is alive; the answer has to wait until it expects one.
            (Phase::Promised | Phase::Syncing | Phase::Recording, PacketKind::Ping) => Ok(()),
            (Phase::Promised, _) => self.on_sync_begins(replica, &packet),
            (Phase::Syncing, PacketKind::NewLeader) => self.on_new_leader(replica, &packet),
            (Phase::Recorded, PacketKind::UpToDate) => self.on_up_to_date(replica),
            (Phase::Syncing | Phase::Recording | Phase::Recorded | Phase::Serving, _) => {
                self.on_history(replica, packet)
            }
            (phase, kind) => Err(Leave::look(format!("the leader sent {kind:?} while {phase:?}"))),
        }
    }

    /// What came while the disk was busy.
    fn drain(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        while !matches!(self.phase, Phase::Promising | Phase::Rewriting)
            && let Some(packet) = self.waiting.pop_front()
        {
            self.waiting_bytes -= bytes_of(&packet);
            self.take_packet(replica, packet)?;
        }
        Ok(())
    }

    pub(crate) fn on_stored(&mut self, replica: &mut Replica, stored: &Stored) -> Result<(), Leave> {
        match stored {
            Stored::AcceptedEpoch { epoch } if self.phase == Phase::Promising && *epoch == self.epoch => {
                self.promise(replica, true);
                self.drain(replica)
            }
            Stored::Truncated { .. } | Stored::SnapshotInstalled { .. } if self.phase == Phase::Rewriting => {
                self.on_rewritten(replica, stored)?;
                self.drain(replica)
            }
            Stored::Void { .. } => {
                Err(Leave::look("the leader's snapshot or truncation could not be stored"))
            }
            Stored::Durable { .. } | Stored::CurrentEpoch { .. } => {
                self.try_record(replica);
                self.pay(replica);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn on_tick(&mut self, replica: &mut Replica) -> Result<(), Leave> {
        if self.phase == Phase::Dialling {
            return self.dial_again(replica);
        }
        let limit_ms = match self.phase {
            // Whoever reads the stream watches over it.
            Phase::Rewriting => return Ok(()),
            Phase::Serving => replica.silence_ms(self.ours),
            _ if self.ours => replica.silence_ms(true),
            _ => replica.init_ms(),
        };
        let silent_ms = replica.now_ms.saturating_sub(self.heard_ms);
        if silent_ms < limit_ms {
            return Ok(());
        }
        let leader = self.leader;
        let why = format!("nothing was heard of the leader {leader} for {silent_ms} ms");
        Err(Leave { why, next: Next::LookWithout(leader) })
    }

    pub(crate) fn check(&self, replica: &Replica) {
        assert!(self.acked <= replica.durable(), "rule 3: an ACK comes after the fsync");
        if self.phase >= Phase::Promised {
            assert!(replica.accepted_epoch >= self.epoch, "rule 1: acceptedEpoch is on disk before ACKEPOCH");
        }
        if self.phase >= Phase::Recorded {
            assert_eq!(
                replica.current_epoch, self.epoch,
                "rule 2: currentEpoch is on disk before ACK(NEWLEADER)"
            );
            assert!(!replica.damaged, "a history that is on disk is not damaged");
        }
        assert!(
            self.acked == 0 || self.phase == Phase::Serving,
            "rule 2: no ACK before the second of NEWLEADER"
        );
        assert!(
            self.phase == Phase::Rewriting || !replica.rewriting(),
            "rule 8: nothing but the rewriting happens on a void history"
        );
        assert!(self.owed.iter().is_sorted(), "ACKs go out in order");
        assert!(
            zxid::epoch(replica.history.last()) <= self.epoch || self.phase < Phase::Promised,
            "epochs rise"
        );
    }
}
