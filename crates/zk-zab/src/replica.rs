//! What one server holds, whatever its role: its history, what of it is on disk, its epochs, its configurations.
//!
//! The roles write through here, so that the tree never gets what the own log does not have: every `Deliver` follows
//! its `Append` in the list of effects.

use bytes::Bytes;
use zk_proto::data::Id;
use zk_proto::quorum::{Config, Packet, PacketKind, Sid, zxid};

use crate::configs::{Configs, differ};
use crate::effect::{Effect, Role, Store};
use crate::election::LastLogged;
use crate::history::History;
use crate::input::Stored;
use crate::options::{Entry, Options, Stable};

/// A role ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leave {
    pub why: String,
    pub next: Next,
}

/// What follows a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Look,
    /// That server has gone silent: nobody waits for its vote before it is heard again.
    LookWithout(Sid),
    /// A reconfiguration names the next leader: no election (`QuorumPeer.updateVote`).
    Designated(Sid),
}

impl Leave {
    pub(crate) fn look(why: impl Into<String>) -> Self {
        Self { why: why.into(), next: Next::Look }
    }
}

/// What the disk has been told, and what it has answered.
#[derive(Debug)]
struct Disk {
    durable: i64,
    /// Epoch files that are being written.
    epoch_writes: u32,
    /// A truncation or an incoming snapshot: until it is answered the history is void.
    rewriting: Option<Rewriting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewriting {
    Truncation,
    Snapshot,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) options: Options,
    pub(crate) now_ms: u64,
    /// As the file says: file first, memory after (Z-1653, Z-2307).
    pub(crate) accepted_epoch: i64,
    pub(crate) current_epoch: i64,
    /// The newest epoch the disk was told to write as the current one.
    current_epoch_queued: i64,
    /// The history is lost or broken: no vote, in no quorum (Stable::last_zxid).
    pub(crate) damaged: bool,
    /// The log could not be truncated as a leader wanted: its history counts, but what helps is a snapshot.
    pub(crate) wants_snapshot: bool,
    pub(crate) history: History,
    disk: Disk,
    pub(crate) configs: Configs,
    /// The epoch the vote is to name from now on (Z-1732), not yet told to the election.
    pub(crate) vote_epoch: Option<i64>,
    /// What the node above was told last.
    pub(crate) role: Role,
    pub(crate) fx: Vec<Effect>,
}

impl Replica {
    pub(crate) fn new(options: Options, stable: Stable, now_ms: u64) -> Self {
        let last = stable.last_zxid.unwrap_or(0);
        let recent = if stable.last_zxid.is_some() { stable.recent } else { Vec::new() };
        Self {
            now_ms,
            accepted_epoch: stable.accepted_epoch,
            current_epoch: stable.current_epoch,
            current_epoch_queued: stable.current_epoch,
            damaged: stable.last_zxid.is_none(),
            wants_snapshot: false,
            history: History::new(options.commit_log_count, last, recent),
            disk: Disk { durable: last, epoch_writes: 0, rewriting: None },
            configs: Configs::new(options.reconfig_enabled, stable.config, stable.last_seen_config),
            vote_epoch: None,
            role: Role::Looking,
            fx: Vec::new(),
            options,
        }
    }

    pub(crate) fn sid(&self) -> Sid {
        self.options.sid
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.fx.push(effect);
    }

    /// The node above is told of a role only when it changes.
    pub(crate) fn announce(&mut self, role: Role) {
        if self.role != role {
            self.role = role;
            self.emit(Effect::Role(role));
        }
    }

    /// `tickTime × initLimit`.
    pub(crate) fn init_ms(&self) -> u64 {
        self.options.tick_ms * self.options.init_limit
    }

    /// How long a link may be silent: `tickTime × syncLimit`, and less than a third of it between servers of
    /// ours, which have no pauses to allow for: with the election that follows it is a third.
    pub(crate) fn silence_ms(&self, ours: bool) -> u64 {
        let limit = self.options.tick_ms * self.options.sync_limit;
        if ours { (limit * 3 / 10).max(1) } else { limit }
    }

    /// How often a leader says something on a link: twice a tick as Apache, and at least three times within what the
    /// other end allows.
    pub(crate) fn ping_ms(&self, ours: bool) -> u64 {
        let twice_a_tick = self.options.tick_ms / 2;
        // Ticks come ten times a tick, so a ping may be late by that much.
        let often = (self.silence_ms(true) / 3).saturating_sub(self.options.tick_ms / 10);
        if ours { twice_a_tick.min(often) } else { twice_a_tick }
    }

    /// Logs an entry; rule 5 has been seen to by the caller.
    ///
    /// Whoever has an entry of an epoch has all that epoch began with, so currentEpoch may say so; and it must, before
    /// the entry: Apache refuses to start from a log that is ahead of it.
    pub(crate) fn append(&mut self, entry: Entry) {
        assert!(self.disk.rewriting.is_none(), "rule 8: nothing is logged while the history is void");
        self.store_current_epoch(zxid::epoch(entry.zxid));
        self.history.push(entry.clone());
        self.emit(Effect::Store(Store::Append(entry)));
    }

    /// Commits the first entry of the tail: `with_payload` unless the node above decided it.
    pub(crate) fn deliver_next(&mut self, with_payload: bool) -> Option<(i64, Bytes)> {
        let (zxid, payload) = self.history.commit_next()?;
        self.emit(Effect::Deliver { zxid, payload: with_payload.then(|| payload.clone()) });
        Some((zxid, payload))
    }

    /// Rule 7: a leader's history is its whole log, and so is the common history that a DIFF confirms.
    pub(crate) fn deliver_tail(&mut self) {
        while self.deliver_next(true).is_some() {}
    }

    pub(crate) fn durable(&self) -> i64 {
        self.disk.durable
    }

    pub(crate) fn rewriting(&self) -> bool {
        self.disk.rewriting.is_some()
    }

    pub(crate) fn store_accepted_epoch(&mut self, epoch: i64) {
        self.disk.epoch_writes += 1;
        self.emit(Effect::Store(Store::AcceptedEpoch { epoch }));
    }

    /// The history of that epoch is here, so its file may follow (rule 2). Once for each epoch.
    pub(crate) fn store_current_epoch(&mut self, epoch: i64) {
        if self.current_epoch_queued < epoch {
            self.current_epoch_queued = epoch;
            self.disk.epoch_writes += 1;
            self.emit(Effect::Store(Store::CurrentEpoch { epoch }));
        }
    }

    pub(crate) fn truncate(&mut self, zxid: i64) {
        self.disk.rewriting = Some(Rewriting::Truncation);
        self.emit(Effect::Store(Store::Truncate { zxid }));
    }

    pub(crate) fn receive_snapshot(&mut self, zxid: i64) {
        self.disk.rewriting = Some(Rewriting::Snapshot);
        self.emit(Effect::ReceiveSnapshot { zxid });
    }

    /// Whether everything the disk was told is done: the vote must say what the disk holds (rule 6, Z-2845).
    pub(crate) fn settled(&self) -> bool {
        self.disk.rewriting.is_none()
            && self.disk.epoch_writes == 0
            && self.disk.durable == self.history.last()
    }

    /// What this server stands for election with.
    pub(crate) fn last_logged(&self) -> Option<LastLogged> {
        assert!(self.settled(), "rule 6: the vote is what the disk holds");
        (!self.damaged).then_some(LastLogged { zxid: self.disk.durable, epoch: self.current_epoch })
    }

    pub(crate) fn on_stored(&mut self, stored: &Stored) {
        match stored {
            Stored::Durable { zxid } => {
                self.disk.durable = (*zxid).max(self.disk.durable).min(self.history.last())
            }
            Stored::AcceptedEpoch { epoch } => {
                self.disk.epoch_writes = self.disk.epoch_writes.saturating_sub(1);
                self.accepted_epoch = self.accepted_epoch.max(*epoch);
            }
            Stored::CurrentEpoch { epoch } => {
                self.disk.epoch_writes = self.disk.epoch_writes.saturating_sub(1);
                self.current_epoch = self.current_epoch.max(*epoch);
            }
            Stored::Truncated { last_zxid, recent } => {
                self.wants_snapshot = false;
                self.rewritten(Some(*last_zxid), recent);
            }
            // A snapshot is installed whole or not at all, and it came from a leader whose quorum formed without
            // this server: from here on the history is sound.
            Stored::SnapshotInstalled { zxid } => {
                self.wants_snapshot = false;
                self.rewritten(Some(*zxid), &[]);
            }
            Stored::Void { last_zxid, recent } => {
                self.wants_snapshot |= self.disk.rewriting == Some(Rewriting::Truncation);
                self.rewritten(*last_zxid, recent);
            }
        }
    }

    fn rewritten(&mut self, last: Option<i64>, recent: &[Entry]) {
        self.disk.rewriting = None;
        self.disk.durable = last.unwrap_or(0);
        self.damaged = last.is_none();
        self.history.reset(last.unwrap_or(0), recent.to_vec());
    }

    /// An entry of an epoch is preceded by the whole history that epoch began with, so a crash between a record and
    /// its epoch file leaves nothing worse than a file to write again. Apache refuses to start on such a pair.
    pub(crate) fn repair_epochs(&mut self) {
        if self.damaged {
            return;
        }
        let needed = zxid::epoch(self.history.last()).max(self.current_epoch_queued);
        // The accepted one first: it is never smaller than the current one on disk.
        if needed > self.accepted_epoch {
            self.store_accepted_epoch(needed);
        }
        self.store_current_epoch(needed);
    }

    /// A configuration is proposed (rule 14: persisted as last seen).
    pub(crate) fn see_config(&mut self, config: &Config) {
        if self.configs.see(config) {
            self.emit(Effect::ConfigSeen { config: config.clone() });
        }
    }

    /// `QuorumPeer.processReconfig`: the configuration counts from now on. `Err` if the role has to change: another
    /// leader, or another role for this server.
    pub(crate) fn activate_config(
        &mut self,
        config: &Config,
        leader: Sid,
        designated: Option<Sid>,
        observer: bool,
    ) -> Result<(), Leave> {
        let Some(before) = self.configs.activate(config) else { return Ok(()) };
        self.emit(Effect::ConfigActive { config: config.clone() });
        if !differ(&before, config) {
            return Ok(());
        }
        let becomes_observer = config.members.contains_key(&self.sid()) && !config.is_voter(self.sid());
        let role_changes = becomes_observer != observer;
        let leader_changes = match designated {
            Some(designated) => designated != leader,
            None => {
                let address = |c: &Config| c.members.get(&leader).map(|m| m.addresses.clone());
                !before.is_voter(leader) || !config.is_voter(leader) || address(&before) != address(config)
            }
        };
        if !role_changes && !leader_changes {
            return Ok(());
        }
        let why = format!("configuration 0x{:x} changes the leader or this server's part", config.version);
        Err(Leave { why, next: designated.map_or(Next::Look, Next::Designated) })
    }

    pub(crate) fn check(&self) {
        self.history.check();
        assert!(self.disk.durable <= self.history.last(), "nothing is durable that was not logged");
        assert!(self.current_epoch <= self.current_epoch_queued, "the epoch in memory comes from the file");
        if let Some(seen) = self.configs.outstanding() {
            assert!(seen.version > self.configs.active().version, "rule 14: the last seen is newer");
        }
    }
}

/// A packet without identities.
pub(crate) fn packet(kind: PacketKind, zxid: i64, data: impl Into<Bytes>) -> Packet {
    Packet { kind, zxid, data: Some(data.into()), auth: Vec::<Id>::new() }
}
