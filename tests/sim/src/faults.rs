//! What goes wrong, when, and for how long.
//!
//! Every few seconds the weather changes: which kinds of faults may come, a quarter of the time none. Whatever
//! comes ends by itself, at the latest when the world is healed.

use std::collections::BTreeSet;

use zk_proto::quorum::{Config, Sid};
use zk_zab::Role;

use crate::bugs::{self, Bug};
use crate::net::{Host, Kind};
use crate::say;
use crate::world::{Event, World};

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    Kill,
    KillLeader,
    PowerCut,
    PowerCutAll,
    Isolate,
    OneWay,
    Halves,
    Bridge,
    ClientCut,
    Reset,
    HalfOpen,
    Pause,
    SlowDisk,
    FullDisk,
    FsyncFails,
    BitFlip,
    LostDisk,
    ClockJump,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Kill,
        Self::KillLeader,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Isolate,
        Self::OneWay,
        Self::Halves,
        Self::Bridge,
        Self::ClientCut,
        Self::Reset,
        Self::HalfOpen,
        Self::Pause,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FsyncFails,
        Self::BitFlip,
        Self::LostDisk,
        Self::ClockJump,
    ];

    /// Its name among the counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillLeader => "kill leader",
            Self::PowerCut => "power cut",
            Self::PowerCutAll => "power cut all",
            Self::Isolate => "isolate",
            Self::OneWay => "one way",
            Self::Halves => "halves",
            Self::Bridge => "bridge",
            Self::ClientCut => "client cut",
            Self::Reset => "reset",
            Self::HalfOpen => "half open",
            Self::Pause => "pause",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::FsyncFails => "fsync fails",
            Self::BitFlip => "bit flip",
            Self::LostDisk => "lost disk",
            Self::ClockJump => "clock jump",
        }
    }

    /// Every kind's name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }
}

/// What is scheduled about faults.
#[derive(Debug)]
pub enum Fault {
    /// Draws the kinds anew.
    Weather,
    Strike,
    Mend {
        cut: Vec<(Host, Host)>,
    },
    Resume {
        sid: Sid,
    },
    Fast {
        sid: Sid,
    },
    Space {
        sid: Sid,
    },
    Crash {
        sid: Sid,
    },
}

/// Which kinds may come now.
#[derive(Debug, Default)]
pub struct Weather {
    pub kinds: Vec<FaultKind>,
    pub is_over: bool,
}

impl World {
    pub fn begin_faults(&mut self) {
        if !self.shape.faults.is_empty() {
            self.queue.after(2000, Event::Fault(Fault::Weather));
            self.queue.after(2000, Event::Fault(Fault::Strike));
        }
    }

    pub fn on_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Weather => self.draw_weather(),
            Fault::Strike => self.strike(),
            Fault::Mend { cut } => self.mend(&cut),
            Fault::Resume { sid } if self.servers[&sid].is_paused => self.resume(sid),
            Fault::Resume { .. } => {}
            Fault::Fast { sid } => self.servers.get_mut(&sid).expect("known").slowness = 1,
            Fault::Space { sid } => self.servers.get_mut(&sid).expect("known").is_full = false,
            Fault::Crash { sid } => {
                self.crash(sid, true);
                self.start_later(sid, 100..3000);
            }
        }
    }

    fn draw_weather(&mut self) {
        if self.weather.is_over {
            return;
        }
        let calm = self.rng.u8(..4) == 0;
        let share = self.rng.u8(1..=6);
        let rng = &mut self.rng;
        let kinds = self.shape.faults.iter().copied();
        self.weather.kinds = kinds.filter(|_| !calm && rng.u8(..10) < share).collect();
        say!(self, "sim", "weather: {:?}", self.weather.kinds);
        let again_ms = self.rng.u64(2000..6000);
        self.queue.after(again_ms, Event::Fault(Fault::Weather));
    }

    fn strike(&mut self) {
        if self.weather.is_over {
            return;
        }
        let again_ms = self.rng.u64(100..1500);
        self.queue.after(again_ms, Event::Fault(Fault::Strike));
        let kinds = &self.weather.kinds;
        if kinds.is_empty() {
            return;
        }
        let kind = kinds[self.rng.usize(..kinds.len())];
        let sids: Vec<Sid> = self.servers.keys().copied().collect();
        let sid = sids[self.rng.usize(..sids.len())];
        if self.strike_with(kind, sid, &sids) {
            say!(self, "sim", "fault: {kind:?} ({sid})");
            self.counts.add(kind.name());
        }
    }

    /// True if it took place.
    fn strike_with(&mut self, kind: FaultKind, sid: Sid, sids: &[Sid]) -> bool {
        match kind {
            FaultKind::Kill | FaultKind::PowerCut => self.stop(sid, kind == FaultKind::PowerCut),
            FaultKind::KillLeader => match self.leader() {
                Some(leader) => self.stop(leader, self.now_ms().is_multiple_of(2)),
                None => false,
            },
            FaultKind::PowerCutAll => {
                for sid in sids {
                    self.stop(*sid, true);
                }
                true
            }
            FaultKind::Isolate | FaultKind::OneWay | FaultKind::Halves | FaultKind::Bridge => {
                let cut = self.some_cut(kind, sid, sids);
                self.cut(cut)
            }
            FaultKind::ClientCut => {
                let client = -1 - self.rng.usize(..self.clients.len()) as i64;
                let both = [(client, sid), (sid, client)];
                let from = self.rng.usize(..2);
                let until = self.rng.usize(from + 1..=2);
                self.cut(both[from..until].to_vec())
            }
            FaultKind::Reset | FaultKind::HalfOpen => self.hurt_connection(kind),
            FaultKind::Pause => self.pause(sid),
            FaultKind::SlowDisk => {
                self.servers.get_mut(&sid).expect("known").slowness = self.rng.u64(5..=60);
                let ms = self.rng.u64(500..5000);
                self.queue.after(ms, Event::Fault(Fault::Fast { sid }));
                true
            }
            FaultKind::FullDisk => {
                self.servers.get_mut(&sid).expect("known").is_full = true;
                let ms = self.rng.u64(200..4000);
                self.queue.after(ms, Event::Fault(Fault::Space { sid }));
                true
            }
            FaultKind::FsyncFails => {
                self.servers.get_mut(&sid).expect("known").fsync_fails = true;
                true
            }
            FaultKind::BitFlip => self.flip(sid),
            FaultKind::LostDisk => self.lose_disk(sid),
            FaultKind::ClockJump => {
                self.servers.get_mut(&sid).expect("known").skew_ms += self.rng.i64(-3_600_000..3_600_000);
                true
            }
        }
    }

    fn stop(&mut self, sid: Sid, without_power: bool) -> bool {
        if !self.is_up(sid) {
            return false;
        }
        self.crash(sid, without_power);
        self.start_later(sid, 50..4000);
        true
    }

    /// The server that leads the newest epoch.
    pub fn leader(&self) -> Option<Sid> {
        let leading = |s: &&crate::server::Server| matches!(s.role(), Some(Role::Leading { .. }));
        self.servers.values().filter(leading).max_by_key(|s| s.disk.current_epoch).map(|s| s.sid)
    }

    fn some_cut(&mut self, kind: FaultKind, sid: Sid, sids: &[Sid]) -> Vec<(Host, Host)> {
        let clients = (0..self.clients.len()).map(|c| -1 - c as i64);
        let with_clients = self.rng.bool();
        let others = sids.iter().copied().filter(|s| *s != sid).chain(clients.filter(|_| with_clients));
        match kind {
            FaultKind::Isolate => others.flat_map(|o| [(sid, o), (o, sid)]).collect(),
            FaultKind::OneWay if self.rng.bool() => others.map(|o| (sid, o)).collect(),
            FaultKind::OneWay => others.map(|o| (o, sid)).collect(),
            _ => {
                let mut order = sids.to_vec();
                self.rng.shuffle(&mut order);
                let middle = order.len() / 2;
                // A bridge sees both halves.
                let (left, right) = order.split_at(middle);
                let right = if kind == FaultKind::Bridge { right.get(1..).unwrap_or(&[]) } else { right };
                let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b)));
                pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
            }
        }
    }

    fn cut(&mut self, mut cut: Vec<(Host, Host)>) -> bool {
        cut.retain(|way| self.net.cut.insert(*way));
        if cut.is_empty() {
            return false;
        }
        // Some connections are given up by one end, which the other one cannot hear.
        let ways: BTreeSet<(Host, Host)> = cut.iter().copied().collect();
        let conns = self.net.conns.iter();
        let keys: Vec<u64> = conns
            .filter(|(_, c)| ways.contains(&(c.ends[0], c.ends[1])) || ways.contains(&(c.ends[1], c.ends[0])))
            .map(|(key, _)| *key)
            .collect();
        for conn in keys {
            if self.rng.bool() {
                let (delay_ms, end) = (self.rng.u64(..3000), self.rng.usize(..2));
                self.queue.after(delay_ms, Event::Reset { conn, end });
            }
        }
        let ms = self.rng.u64(200..6000);
        self.queue.after(ms, Event::Fault(Fault::Mend { cut }));
        true
    }

    fn mend(&mut self, cut: &[(Host, Host)]) {
        for way in cut {
            self.net.cut.remove(way);
        }
        say!(self, "sim", "{} ways mended", cut.len());
        self.release_stalled();
    }

    fn hurt_connection(&mut self, kind: FaultKind) -> bool {
        let open: Vec<u64> =
            self.net.conns.iter().filter(|(_, c)| c.open == [true; 2]).map(|(key, _)| *key).collect();
        if open.is_empty() {
            return false;
        }
        let key = open[self.rng.usize(..open.len())];
        let conn = &self.net.conns[&key];
        if kind == FaultKind::Reset {
            self.reset_both(key);
        } else {
            // One end forgets it; the other learns that when it next speaks.
            let end = if conn.kind == Kind::Client { 0 } else { self.rng.usize(..2) };
            self.queue.after(0, Event::Reset { conn: key, end });
        }
        true
    }

    fn pause(&mut self, sid: Sid) -> bool {
        let server = self.servers.get_mut(&sid).expect("known");
        if server.process.is_none() || server.is_paused {
            return false;
        }
        server.is_paused = true;
        let ms = self.rng.u64(50..20 * self.shape.tick_ms);
        self.queue.after(ms, Event::Fault(Fault::Resume { sid }));
        true
    }

    /// A written entry is not what it was; found when the server starts the next time, soon.
    fn flip(&mut self, sid: Sid) -> bool {
        if !self.may_damage(sid) || self.servers[&sid].disk.log.is_empty() {
            return false;
        }
        let at = self.rng.usize(..self.servers[&sid].disk.log.len());
        let disk = &mut self.servers.get_mut(&sid).expect("known").disk;
        if disk.bug == Some(Bug::ChecksumIgnored) {
            disk.log[at] = bugs::flipped(&disk.log[at]);
        } else {
            disk.flipped = Some(disk.log[at].zxid);
        }
        let ms = self.rng.u64(..1500);
        self.queue.after(ms, Event::Fault(Fault::Crash { sid }));
        true
    }

    fn lose_disk(&mut self, sid: Sid) -> bool {
        if !self.may_damage(sid) {
            return false;
        }
        self.crash(sid, true);
        let disk = &mut self.servers.get_mut(&sid).expect("known").disk;
        disk.set_aside();
        (disk.accepted_epoch, disk.current_epoch) = (0, 0);
        disk.is_untrusted = disk.bug != Some(Bug::AmnesiacVote);
        self.start_later(sid, 50..4000);
        true
    }

    /// Whether those whose history is sound are a quorum without that server: nothing else can be survived.
    fn may_damage(&self, sid: Sid) -> bool {
        let is_sound = |s: &Sid| *s != sid && !self.servers[s].disk.is_damaged();
        let config = &self.shape.config;
        let sound: BTreeSet<Sid> = config.voters().filter(is_sound).collect();
        !self.shape.reconfig && config.is_quorum(&sound)
    }

    /// The configuration with the largest version on any disk.
    pub fn newest_config(&self) -> Config {
        let configs = self.servers.values().map(|s| &s.disk.config);
        configs.max_by_key(|c| c.version).cloned().unwrap_or_default()
    }
}
