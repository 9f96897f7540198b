//! Several whole members with disks and links in memory, one clock, and clients that keep every frame.
//!
//! Everything moves in a fixed order until nothing moves; then time passes. What a test wants late it holds back:
//! a disk, a learner's link, a server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zk_proto::quorum::{Config, Notification, Packet, Sid};
use zk_zab::{Effect as Zab, Input as ZabInput, LinkId, Store, Stored};

use super::disk::{Command, Disk, Done, Image};
use crate::tests::harness::Got;
use crate::{CloseReason, ConnId, Durable, Effect, Effects, Input, Member, Now, Options, Role, SentBytes};

/// Rounds without an end are a bug.
const ROUNDS_MAX: usize = 100_000;

pub(super) struct Server {
    pub(super) member: Option<Member>,
    pub(super) disk: Disk,
    to_leader: Option<LinkId>,
    /// A snapshot that was announced and has not come yet.
    receiving: Option<i64>,
    pub(super) cancelled_snapshots: usize,
}

enum Down {
    Packet(Packet),
    Snapshot,
}

struct Wire {
    learner: Sid,
    leader: Sid,
    up: VecDeque<Packet>,
    down: VecDeque<Down>,
    is_held: bool,
}

pub(super) struct Client {
    pub(super) at: Sid,
    pub(super) got: VecDeque<Got>,
    pub(super) closed: Option<CloseReason>,
    pub(super) handshaken: bool,
}

pub(super) struct World {
    pub(super) servers: BTreeMap<Sid, Server>,
    pub(super) clients: BTreeMap<ConnId, Client>,
    pub(super) now: Now,
    pub(super) options: Options,
    pub(super) reconfig_enabled: bool,
    wires: BTreeMap<LinkId, Wire>,
    mesh: VecDeque<(Sid, Sid, Notification)>,
    /// Servers nobody reaches.
    pub(super) islands: BTreeSet<Sid>,
    last_link: u64,
    pub(super) last_conn: u64,
}

pub(super) fn config(voters: i64, observers: i64) -> Config {
    let line = |sid: i64| {
        let role = if sid <= voters { "participant" } else { "observer" };
        format!("server.{sid}=z{sid}:2888:3888:{role};0.0.0.0:2181\n")
    };
    Config::parse(&(1..=voters + observers).map(line).collect::<String>()).unwrap()
}

impl World {
    pub(super) fn new(voters: i64, observers: i64) -> Self {
        Self::with(voters, observers, Options::default(), false)
    }

    pub(super) fn with(voters: i64, observers: i64, options: Options, reconfig_enabled: bool) -> Self {
        let mut world = Self {
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            now: Now { wall_ms: 1_700_000_000_000, mono_ms: 1_000 },
            options: Options { reconfig_enabled, ..options },
            reconfig_enabled,
            wires: BTreeMap::new(),
            mesh: VecDeque::new(),
            islands: BTreeSet::new(),
            last_link: 0,
            last_conn: 0,
        };
        let config = config(voters, observers);
        for sid in config.members.keys() {
            world.add(*sid, config.clone());
        }
        world
    }

    /// A server with an empty disk; it does not run yet.
    pub(super) fn add(&mut self, sid: Sid, config: Config) {
        let disk = Disk::new(config);
        let server = Server { member: None, disk, to_leader: None, receiving: None, cancelled_snapshots: 0 };
        self.servers.insert(sid, server);
    }

    /// All of them, until one leads and all serve.
    pub(super) fn started(voters: i64, observers: i64) -> Self {
        let mut world = Self::new(voters, observers);
        world.start_all();
        world
    }

    pub(super) fn start_all(&mut self) {
        for sid in self.servers.keys().copied().collect::<Vec<_>>() {
            self.start(sid);
        }
        self.until("all serve", |w| w.all_serve());
    }

    /// One leads, and all others learn from it.
    pub(super) fn all_serve(&self) -> bool {
        let Some(first) = self.leader() else { return false };
        self.servers.values().filter_map(|s| s.member.as_ref()).all(|m| match m.role() {
            Role::Leading { .. } => m.peer().is_some_and(|peer| peer.status().sid == first),
            Role::Following { leader } | Role::Observing { leader } => leader == first,
            _ => false,
        })
    }

    pub(super) fn start(&mut self, sid: Sid) {
        let mut zab = zk_zab::Options::new(sid);
        zab.reconfig_enabled = self.reconfig_enabled;
        let options = Options { server_id: sid as u8, seed: sid as u64, ..self.options.clone() };
        let server = self.servers.get_mut(&sid).unwrap();
        let tree = server.disk.tree();
        server.member = Some(Member::new(options, zab, server.disk.stable(), tree, self.now));
        for other in self.running() {
            if other != sid {
                self.tell(sid, ZabInput::MeshUp { sid: other });
                self.tell(other, ZabInput::MeshUp { sid });
            }
        }
    }

    pub(super) fn running(&self) -> Vec<Sid> {
        self.servers.iter().filter(|(_, s)| s.member.is_some()).map(|(sid, _)| *sid).collect()
    }

    /// kill -9: what is not on disk is gone.
    pub(super) fn crash(&mut self, sid: Sid) {
        let server = self.servers.get_mut(&sid).unwrap();
        server.member = None;
        server.disk.queue.clear();
        (server.to_leader, server.receiving) = (None, None);
        for client in self.clients.values_mut().filter(|c| c.at == sid && c.closed.is_none()) {
            client.closed = Some(CloseReason::NotServing);
        }
        let touched: Vec<LinkId> = self
            .wires
            .iter()
            .filter(|(_, w)| w.learner == sid || w.leader == sid)
            .map(|(id, _)| *id)
            .collect();
        for link in touched {
            self.cut(link, sid);
        }
        for other in self.running() {
            self.tell(other, ZabInput::MeshDown { sid });
        }
    }

    /// Ends a link; whoever is not `by` is told.
    fn cut(&mut self, link: LinkId, by: Sid) {
        let Some(wire) = self.wires.remove(&link) else { return };
        if wire.leader != by {
            self.tell(wire.leader, ZabInput::LearnerClosed { link });
        }
        let learner = self.servers.get_mut(&wire.learner).unwrap();
        if learner.to_leader == Some(link) {
            learner.to_leader = None;
            let receiving = learner.receiving.take();
            if wire.learner != by {
                self.tell(wire.learner, ZabInput::LeaderClosed);
            }
            if receiving.is_some() {
                self.give_up_snapshot(wire.learner);
            }
        }
    }

    fn give_up_snapshot(&mut self, sid: Sid) {
        let done = self.servers[&sid].disk.void();
        self.done(sid, done);
    }

    pub(super) fn leader(&self) -> Option<Sid> {
        self.servers
            .iter()
            .find(|(_, s)| s.member.as_ref().is_some_and(|m| matches!(m.role(), Role::Leading { .. })))
            .map(|(sid, _)| *sid)
    }

    pub(super) fn followers(&self) -> Vec<Sid> {
        let follows =
            |s: &Server| s.member.as_ref().is_some_and(|m| matches!(m.role(), Role::Following { .. }));
        self.servers.iter().filter(|(_, s)| follows(s)).map(|(sid, _)| *sid).collect()
    }

    pub(super) fn member(&self, sid: Sid) -> &Member {
        self.servers[&sid].member.as_ref().unwrap()
    }

    pub(super) fn tell(&mut self, sid: Sid, input: ZabInput) {
        self.step(sid, Input::Zab(input));
    }

    pub(super) fn step(&mut self, sid: Sid, input: Input<'_>) {
        let now = self.now;
        let Some(member) = self.servers.get_mut(&sid).and_then(|s| s.member.as_mut()) else { return };
        let mut fx = Effects::new();
        member.step(now, input, &mut fx);
        member.check();
        let (effects, bytes) = fx.take();
        for effect in effects {
            self.carry_out(sid, effect, &bytes);
        }
    }

    fn carry_out(&mut self, sid: Sid, effect: Effect, bytes: &SentBytes) {
        let server = self.servers.get_mut(&sid).unwrap();
        match effect {
            Effect::Send { conn, range } => {
                let client = self.clients.get_mut(&conn).unwrap();
                for frame in bytes.frames(range) {
                    let got = Got::read(&mut client.handshaken, frame);
                    client.got.push_back(got);
                }
            }
            Effect::Close { conn, reason } => self.clients.get_mut(&conn).unwrap().closed = Some(reason),
            Effect::Append { zxid, payload } => {
                let entry = zk_zab::Entry { zxid, payload };
                server.disk.queue.push_back(Command::Store(Store::Append(entry)));
            }
            Effect::Snapshot | Effect::Complain { .. } => {}
            Effect::CancelSnapshot => server.cancelled_snapshots += 1,
            Effect::Fail { what } => panic!("server {sid} fails: {what}"),
            Effect::Zab(effect) => self.carry_out_zab(sid, effect),
        }
    }

    fn carry_out_zab(&mut self, sid: Sid, effect: Zab) {
        let server = self.servers.get_mut(&sid).unwrap();
        match effect {
            Zab::Notify { to, notification } => self.mesh.push_back((sid, to, notification)),
            Zab::DialLeader { sid: leader } => self.dial(sid, leader),
            Zab::SendLeader { packet } => {
                if let Some(wire) = server.to_leader.and_then(|link| self.wires.get_mut(&link)) {
                    wire.up.push_back(packet);
                }
            }
            Zab::HangUp => {
                if let Some(link) = server.to_leader {
                    self.cut(link, sid);
                }
            }
            Zab::ReceiveSnapshot { zxid } => server.receiving = Some(zxid),
            Zab::SendLearner { link, packet } => {
                if let Some(wire) = self.wires.get_mut(&link) {
                    wire.down.push_back(Down::Packet(packet));
                }
            }
            Zab::StreamSnapshot { link } => {
                if let Some(wire) = self.wires.get_mut(&link) {
                    wire.down.push_back(Down::Snapshot);
                }
            }
            Zab::ReadLog { link, after, upto } => {
                let disk = &server.disk;
                let reaches = disk.snapshot.is_none() || disk.log.first().is_some_and(|e| e.zxid <= after);
                let between = |e: &&zk_zab::Entry| e.zxid > after && e.zxid <= upto;
                let entries = reaches.then(|| disk.log.iter().filter(between).cloned().collect());
                self.tell(sid, ZabInput::LogRead { link, entries });
            }
            Zab::CloseLearner { link, .. } => self.cut(link, sid),
            Zab::Store(store) => server.disk.queue.push_back(Command::Store(store)),
            Zab::ConfigSeen { config } => server.disk.seen = Some(config),
            Zab::ConfigActive { config } => (server.disk.config, server.disk.seen) = (config, None),
            Zab::Role(_) => {}
            other => panic!("{other:?} is not for the shell"),
        }
    }

    fn dial(&mut self, learner: Sid, leader: Sid) {
        let reachable = !self.islands.contains(&leader) && !self.islands.contains(&learner);
        if !reachable || self.servers.get(&leader).is_none_or(|s| s.member.is_none()) {
            return self.tell(learner, ZabInput::LeaderClosed);
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        let wire = Wire { learner, leader, up: VecDeque::new(), down: VecDeque::new(), is_held: false };
        self.wires.insert(link, wire);
        self.servers.get_mut(&learner).unwrap().to_leader = Some(link);
        self.tell(leader, ZabInput::LearnerConnected { link });
        self.tell(learner, ZabInput::LeaderConnected);
    }

    /// What this learner and its leader say to each other stays on its way.
    pub(super) fn hold(&mut self, learner: Sid, is_held: bool) {
        for wire in self.wires.values_mut().filter(|w| w.learner == learner) {
            wire.is_held = is_held;
        }
        if !is_held {
            self.settle();
        }
    }

    /// Nobody reaches that server, and it reaches nobody.
    pub(super) fn isolate(&mut self, sid: Sid) {
        self.islands.insert(sid);
        for wire in self.wires.values_mut().filter(|w| w.learner == sid || w.leader == sid) {
            wire.is_held = true;
        }
    }

    /// The end of being an island.
    pub(super) fn join(&mut self, sid: Sid) {
        self.islands.remove(&sid);
        let held: Vec<LinkId> = self
            .wires
            .iter()
            .filter(|(_, w)| w.learner == sid || w.leader == sid)
            .map(|(id, _)| *id)
            .collect();
        for link in held {
            self.cut(link, 0);
        }
        for other in self.running() {
            if other != sid {
                self.tell(sid, ZabInput::MeshUp { sid: other });
                self.tell(other, ZabInput::MeshUp { sid });
            }
        }
    }

    pub(super) fn leader_among(&self, sids: &[Sid]) -> Option<Sid> {
        let leads = |sid: &&Sid| matches!(self.member(**sid).role(), Role::Leading { .. });
        sids.iter().find(leads).copied()
    }

    /// A server's disk as if it had been away for long.
    pub(super) fn forget_history(&mut self, sid: Sid) {
        let disk = &mut self.servers.get_mut(&sid).unwrap().disk;
        (disk.log, disk.snapshot) = (Vec::new(), None);
        (disk.accepted_epoch, disk.current_epoch) = (0, 0);
    }

    /// The log of a server as if it had been purged.
    pub(super) fn forget_log(&mut self, sid: Sid) {
        let image = Image::of(self.member(sid).node().tree());
        let disk = &mut self.servers.get_mut(&sid).unwrap().disk;
        disk.snapshot = Some((disk.last(), image));
        disk.log.clear();
    }

    pub(super) fn stick_disk(&mut self, sid: Sid, is_stuck: bool) {
        self.servers.get_mut(&sid).unwrap().disk.is_stuck = is_stuck;
        self.settle();
    }

    /// Everything on its way arrives, and what follows from it.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let moved = self.move_disks() | self.move_mesh() | self.move_links();
            if !moved {
                return;
            }
        }
        panic!("it never settles");
    }

    fn move_disks(&mut self) -> bool {
        let mut moved = false;
        for sid in self.running() {
            if let Some(done) = self.servers.get_mut(&sid).and_then(|s| s.disk.step()) {
                moved = true;
                self.done(sid, done);
            }
        }
        moved
    }

    fn done(&mut self, sid: Sid, done: Done) {
        match done {
            Done::Stored(Stored::Durable { zxid }) => {
                self.step(sid, Input::Durable(Durable { zxid, count: 1, fsync_ms: 1 }));
            }
            Done::Stored(stored) => self.tell(sid, ZabInput::Stored(stored)),
            Done::Reloaded(tree, stored) => self.step(sid, Input::Reloaded { tree, stored }),
        }
    }

    fn move_mesh(&mut self) -> bool {
        let batch = std::mem::take(&mut self.mesh);
        let moved = !batch.is_empty();
        for (from, to, notification) in batch {
            if !self.islands.contains(&from) && !self.islands.contains(&to) {
                self.tell(to, ZabInput::Notification { from, notification });
            }
        }
        moved
    }

    fn move_links(&mut self) -> bool {
        let mut moved = false;
        for link in self.wires.keys().copied().collect::<Vec<_>>() {
            moved |= self.move_up(link) | self.move_down(link);
        }
        moved
    }

    fn move_up(&mut self, link: LinkId) -> bool {
        let Some(wire) = self.wires.get_mut(&link).filter(|w| !w.is_held) else { return false };
        let leader = wire.leader;
        let Some(packet) = wire.up.pop_front() else { return false };
        assert!(self.member(leader).takes_from(link));
        self.tell(leader, ZabInput::FromLearner { link, packet });
        true
    }

    fn move_down(&mut self, link: LinkId) -> bool {
        let Some(wire) = self.wires.get_mut(&link).filter(|w| !w.is_held) else { return false };
        let (learner, leader) = (wire.learner, wire.leader);
        match wire.down.pop_front() {
            None => return false,
            Some(Down::Packet(packet)) => self.tell(learner, ZabInput::FromLeader { packet }),
            Some(Down::Snapshot) => {
                // As late as it can be: the tree has moved on.
                let image = Image::of(self.member(leader).node().tree());
                self.tell(leader, ZabInput::SnapshotSent { link });
                let server = self.servers.get_mut(&learner).unwrap();
                let zxid = server.receiving.take().expect("a snapshot is announced first");
                server.disk.queue.push_back(Command::Install { zxid, image });
            }
        }
        true
    }

    /// Time passes, in steps short enough for everything.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while self.now.mono_ms < end {
            self.now.mono_ms += 20;
            self.now.wall_ms += 20;
            for sid in self.running() {
                self.step(sid, Input::Tick);
            }
            self.settle();
        }
    }

    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        self.settle();
        for _ in 0..5000 {
            if done(self) {
                return;
            }
            self.pass(20);
        }
        let roles: Vec<_> = self.running().iter().map(|sid| (*sid, self.member(*sid).role())).collect();
        panic!("it never comes that {what}: {roles:?}");
    }
}
