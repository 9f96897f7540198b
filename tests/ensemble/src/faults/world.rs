//! Hosts, disks and servers, and what is done to them.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use rustix::process::Signal;
use testkit::disk::Disk;
use testkit::ensemble::{Ensemble, Id};
use testkit::zoolog::repository;
use testkit::{Kind, Mode, Role, Settings, Site, Zoolog, wait_until};

use super::plan::{Fault, pairs};
use crate::damage::{files, flip_bit};
use crate::hosts::Hosts;

/// The time within which the ensemble must be whole again after any fault.
const HEAL_LIMIT: Duration = Duration::from_secs(60);

/// Snapshots a server may have before it is tidied up behind it.
const SNAPSHOTS_MAX: usize = 12;

/// Where Debian puts it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// See the module's header. Fields are dropped in order: servers, then their disks, then their hosts.
#[derive(Debug)]
pub struct World {
    pub ensemble: Ensemble,
    disks: Vec<Disk>,
    hosts: Hosts,
    clients: usize,
    faketime: bool,
    _dir: tempfile::TempDir,
}

impl World {
    /// Servers 1 to `servers` on hosts 1 to `servers` of `hosts`; the clients' host comes behind.
    pub fn new(hosts: Hosts, servers: usize, extra: &str, kind: Kind) -> Result<Self> {
        let dir = tempfile::TempDir::new()?;
        let mut disks = Vec::new();
        for id in 1..=servers {
            let home = dir.path().join(format!("s{id}"));
            disks.push(Disk::create(&dir.path().join(format!("disk{id}.img")), &home.join("data"))?);
        }
        let sites = (1..=servers).map(|id| {
            let site = Site::namespace(hosts.name(id), &hosts.addresses[id - 1]);
            (kind, Role::Participant, site)
        });
        let extra = format!("snapCount=3000\n{extra}");
        let settings = Settings { init_limit: 20, sync_limit: 4, extra, ..Settings::default() };
        let ensemble = Ensemble::on_sites(dir.path(), sites.collect(), settings)?;
        // What an administrator wrote (`myid`) is no server's business to sync.
        disks.iter().try_for_each(Disk::sync)?;
        let faketime = Path::new(FAKETIME).exists();
        let mut world = Self { ensemble, disks, hosts, clients: servers + 1, faketime, _dir: dir };
        if faketime {
            world.fake_clocks()?;
        }
        Ok(world)
    }

    /// Whether clocks can be made to jump.
    pub fn has_clocks(&self) -> bool {
        self.faketime
    }

    fn fake_clocks(&mut self) -> Result<()> {
        for id in self.ids() {
            self.set_clock(id, "+0")?;
            let file = self.clock_file(id).display().to_string();
            let env = [
                ("LD_PRELOAD", FAKETIME),
                ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
                ("FAKETIME_CACHE_DURATION", "1"),
                ("DONT_FAKE_MONOTONIC", "1"),
            ];
            self.ensemble.member_mut(id).env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        }
        Ok(())
    }

    fn clock_file(&self, id: Id) -> PathBuf {
        self.ensemble.member(id).dir.join("clock")
    }

    fn set_clock(&self, id: Id, offset: &str) -> Result<()> {
        // Whole or not at all: it may be read at any moment.
        let (file, new) = (self.clock_file(id), self.clock_file(id).with_extension("new"));
        std::fs::write(&new, format!("{offset}\n"))?;
        Ok(std::fs::rename(new, file)?)
    }

    pub fn ids(&self) -> Vec<Id> {
        self.ensemble.members.iter().map(|m| m.id).collect()
    }

    pub fn connect(&self) -> String {
        self.ensemble.connect(&self.ids())
    }

    pub fn start(&mut self) -> Result<()> {
        self.ensemble.start_all(&self.ids())
    }

    /// Does a fault from its beginning to its end, and waits until everything is whole. Says what was done.
    pub fn suffer(&mut self, fault: Fault, length: Duration, rng: &mut Rng) -> Result<String> {
        let leader = self.ensemble.leader()?;
        let what = self.begin(fault, leader, length, rng)?;
        self.make_whole().with_context(|| format!("after {fault:?} {what} of leader {leader}"))?;
        Ok(format!("{what}; leader {leader} -> {}", self.ensemble.leader()?))
    }

    fn begin(&mut self, fault: Fault, leader: Id, length: Duration, rng: &mut Rng) -> Result<String> {
        let ids = self.ids();
        let any = ids[rng.usize(0..ids.len())];
        let others: Vec<Id> = ids.iter().copied().filter(|id| *id != leader).collect();
        let follower = others[rng.usize(0..others.len())];
        match fault {
            Fault::PauseShort | Fault::PauseLong => self.pause(any, length),
            Fault::KillLeader => self.kill(&[leader], length),
            Fault::KillFollower => self.kill(&[follower], length),
            Fault::KillAll => self.kill(&ids, length),
            Fault::PowerOne => self.power_cut(&[any], rng),
            Fault::PowerMajority => {
                let mut shuffled = ids.clone();
                rng.shuffle(&mut shuffled);
                self.power_cut(&shuffled[..ids.len() / 2 + 1], rng)
            }
            Fault::PowerAll => self.power_cut(&ids, rng),
            Fault::DiskFull => self.fill_disk(any, length),
            Fault::FlipInLog => self.flip(any, "log.", rng),
            Fault::FlipInSnapshot => self.flip(any, "snapshot.", rng),
            Fault::LoseDisk => {
                self.ensemble.kill(any)?;
                self.ensemble.wipe(any)?;
                Ok(format!("server {any}"))
            }
            Fault::ClockForward => self.jump(any, &format!("+{}h", rng.u32(1..30)), length),
            Fault::ClockBack => self.jump(any, &format!("-{}h", rng.u32(1..30)), length),
            _ => self.partition(fault, leader, length, rng),
        }
    }

    /// Nobody is asked anything before it is healed: the question would come from the clients' host.
    fn partition(&mut self, fault: Fault, leader: Id, length: Duration, rng: &mut Rng) -> Result<String> {
        let ids = self.ids();
        let cut = pairs(fault, &ids, leader, self.clients, rng);
        self.hosts.cut(&cut)?;
        std::thread::sleep(length);
        let mut what = format!("{} directions for {length:?}", cut.len());
        if fault == Fault::CutAndKill {
            let victim = ids[rng.usize(0..ids.len())];
            self.ensemble.kill(victim)?;
            what += &format!(", server {victim} killed");
        }
        self.hosts.heal()?;
        Ok(what)
    }

    fn pause(&self, id: Id, length: Duration) -> Result<String> {
        self.ensemble.signal(id, Signal::STOP)?;
        std::thread::sleep(length);
        self.ensemble.signal(id, Signal::CONT)?;
        Ok(format!("server {id} for {length:?}"))
    }

    /// Stopped in one moment, then killed.
    fn kill(&mut self, ids: &[Id], length: Duration) -> Result<String> {
        for id in ids {
            self.ensemble.signal(*id, Signal::STOP)?;
        }
        for id in ids {
            self.ensemble.kill(*id)?;
        }
        std::thread::sleep(length);
        Ok(format!("servers {ids:?} for {length:?}"))
    }

    fn jump(&self, id: Id, offset: &str, length: Duration) -> Result<String> {
        self.set_clock(id, offset)?;
        std::thread::sleep(length);
        self.set_clock(id, "+0")?;
        Ok(format!("server {id} {offset} for {length:?}"))
    }

    /// The servers are stopped before their disks are cut: an fdatasync that is under way during the cut may report
    /// success for what is gone, and a server that ran on would acknowledge it (see `tests/crash`).
    fn power_cut(&mut self, ids: &[Id], rng: &mut Rng) -> Result<String> {
        std::thread::sleep(Duration::from_millis(rng.u64(0..1000)));
        for id in ids {
            self.ensemble.signal(*id, Signal::STOP)?;
        }
        for id in ids {
            self.disks[id - 1].cut()?;
        }
        for id in ids {
            self.ensemble.kill(*id)?;
            self.disks[id - 1].unmount()?;
            self.disks[id - 1].mount()?;
        }
        Ok(format!("servers {ids:?}"))
    }

    /// Nothing can be written to a server's disk; then there is room again.
    fn fill_disk(&mut self, id: Id, length: Duration) -> Result<String> {
        let filler = self.ensemble.member(id).data().join("filler");
        let file = std::fs::File::create(&filler)?;
        let (block, mut at) = (vec![0xff; 1 << 20], 0);
        let mut size = block.len();
        while size > 0 {
            match file.write_all_at(&block[..size], at) {
                Ok(()) => at += size as u64,
                // The last blocks in ever smaller pieces.
                Err(_) => size /= 2,
            }
        }
        std::thread::sleep(length);
        std::fs::remove_file(filler)?;
        Ok(format!("server {id} for {length:?}"))
    }

    /// One bit of a stopped server's newest file of a kind, somewhere in what was written.
    fn flip(&mut self, id: Id, prefix: &str, rng: &mut Rng) -> Result<String> {
        self.ensemble.kill(id)?;
        let dir = self.ensemble.member(id).data().join("version-2");
        let Some((_, path)) = files(&dir, prefix)?.pop() else {
            return Ok(format!("server {id} has no {prefix}*"));
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(match flip_bit(&path, rng)? {
            Some((at, end)) => format!("server {id}, {name} byte {at} of {end}"),
            None => format!("server {id}: {name} is empty"),
        })
    }

    /// Starts what is down and waits until everybody serves: the only help an ensemble may need.
    pub fn make_whole(&mut self) -> Result<()> {
        let mut restarts = 0;
        let whole = wait_until("everybody serving", HEAL_LIMIT, || match self.revive() {
            Ok(started) => {
                restarts += started;
                self.is_whole().then_some(Ok(()))
            }
            Err(error) => Some(Err(error)),
        });
        whole.and_then(|done| done).with_context(|| self.ensemble.logs())?;
        // A server that falls again and again is not healed, however short the pauses.
        ensure!(
            restarts <= 3 * self.ids().len(),
            "{restarts} restarts were needed\n{}",
            self.ensemble.logs()
        );
        Ok(())
    }

    fn is_whole(&self) -> bool {
        let modes: Vec<_> = self.ids().iter().map(|id| self.ensemble.mode(*id)).collect();
        let count = |mode| modes.iter().filter(|m| **m == Some(mode)).count();
        count(Mode::Leader) == 1 && count(Mode::Follower) == modes.len() - 1
    }

    /// Starts servers that were stopped or have ended by themselves, as a service manager does; how many.
    fn revive(&mut self) -> Result<usize> {
        let mut started = 0;
        for id in self.ids() {
            if self.ensemble.has_ended(id) {
                self.ensemble.kill(id)?;
            }
            if !self.ensemble.is_started(id) {
                self.ensemble.start(id)?;
                started += 1;
            }
        }
        if started > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(started)
    }

    /// What an administrator has done every few hours: old snapshots and logs go (`zkCleanup.sh`), and what was set
    /// aside as damaged.
    pub fn tidy(&self) -> Result<()> {
        for member in &self.ensemble.members {
            if files(&member.data().join("version-2"), "snapshot.")?.len() > SNAPSHOTS_MAX {
                let mut command = Command::new(repository().join("bin/zkCleanup.sh"));
                command.args(["-n", "3"]).env("ZOOCFGDIR", &member.dir);
                command.env("ZOOLOG", Zoolog::find()?.command().get_program());
                let output = testkit::originals::run(command, b"")?;
                ensure!(output.status.success(), "zkCleanup.sh: {}", String::from_utf8_lossy(&output.stderr));
            }
            for entry in std::fs::read_dir(member.data())? {
                let path = entry?.path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("damaged-")) {
                    std::fs::remove_dir_all(path)?;
                }
            }
        }
        Ok(())
    }

    /// No server may say that it has met a bug in itself.
    pub fn check_logs(&self) -> Result<()> {
        for id in self.ids() {
            let log = self.ensemble.log(id);
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                bail!("server {id}: {line}");
            }
        }
        Ok(())
    }
}
