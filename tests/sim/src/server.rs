//! One server: its disk, and while it runs the process around a [`Member`]: the shell `zk-server` is in earnest.

mod buggy;
mod effects;
mod snapshots;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use zk_node::{ConnId, Durable, Effects, Input, Member, Now};
use zk_proto::quorum::{Config, Packet, Sid, zxid};
use zk_tree::{AclList, SnapshotCursor, Tree, TreeConfig};
use zk_zab::{LinkId, Role, Stable, Stored};

use crate::bugs::{self, Bug};
use crate::disk::{self, Command, Disk, Done, Image};
use crate::net::{ConnKey, Host, Kind, Message};
use crate::say;
use crate::world::{Event, World};

/// Wall clock at the beginning of every world.
const WALL_MS: i64 = 1_700_000_000_000;

/// A server, running or not.
pub struct Server {
    pub sid: Sid,
    /// Counts its processes.
    pub life: u64,
    pub disk: Disk,
    pub process: Option<Process>,
    /// Stopped by a signal: nothing is handled, nothing lost.
    pub is_paused: bool,
    /// Disk operations take so many times longer.
    pub slowness: u64,
    pub is_full: bool,
    pub fsync_fails: bool,
    /// Its wall clock against the world's.
    pub skew_ms: i64,
}

/// A running server.
pub struct Process {
    pub member: Member,
    pub role: Role,
    pub mesh: BTreeMap<Sid, ConnKey>,
    /// What was last said to each server, said again when the connection is made anew.
    pub last_vote: BTreeMap<Sid, Bytes>,
    /// Counts dials; an answer to an older one is nobody's.
    pub dial: u64,
    pub leader: Option<ConnKey>,
    /// From the leader, not read yet: a snapshot whose reception has not been asked for, and what follows it.
    pub unread: VecDeque<Message>,
    pub receiving: Option<Receiving>,
    pub links: BTreeMap<ConnKey, Link>,
    /// The local snapshot being taken.
    pub copy: Option<(Image, SnapshotCursor)>,
    /// The epoch its leader has offered.
    pub offered: i64,
    /// Sessions at the last snapshot, for a bug.
    pub old_sessions: Vec<(i64, i32)>,
    /// Access control lists then.
    pub old_acls: Vec<(i64, AclList)>,
    /// Frames not read yet, by connection.
    pub frames: BTreeMap<ConnKey, VecDeque<Bytes>>,
    /// What came while it was paused.
    pub inbox: VecDeque<Own>,
}

/// A snapshot on its way from the leader.
pub struct Receiving {
    pub zxid: i64,
    pub image: Option<Image>,
    /// When something of it came last.
    pub heard_ms: u64,
}

/// A learner's link at its leader.
#[derive(Default)]
pub struct Link {
    /// Behind a snapshot that is being sent.
    pub held: VecDeque<Message>,
    /// UPTODATE was sent.
    pub is_served: bool,
    /// From the learner, not read yet.
    pub unread: VecDeque<Packet>,
    pub stream: Option<(Image, SnapshotCursor)>,
}

/// Which snapshot goes on.
#[derive(Debug, Clone, Copy)]
pub enum Copying {
    Local,
    Stream { link: ConnKey },
}

/// Inputs of a member, owned.
#[derive(Debug)]
pub enum Own {
    Connected { conn: ConnKey },
    Frame { conn: ConnKey, frame: Bytes },
    Closed { conn: ConnKey },
    Tick,
    Durable { zxid: i64, count: u64 },
    Zab(zk_zab::Input),
    Reloaded { tree: Box<Tree>, stored: Stored },
}

impl Server {
    pub fn new(sid: Sid, config: Config, bug: Option<Bug>) -> Self {
        let config = bugs::config(bug, sid, &config);
        Self {
            sid,
            life: 0,
            disk: Disk { bug, ..Disk::new(config) },
            process: None,
            is_paused: false,
            slowness: 1,
            is_full: false,
            fsync_fails: false,
            skew_ms: 0,
        }
    }

    pub fn role(&self) -> Option<Role> {
        self.process.as_ref().map(|p| p.role)
    }

    pub fn tree(&self) -> Option<&Tree> {
        self.process.as_ref().map(|p| p.member.node().tree())
    }
}

/// Settings of every tree here: nobody is refused anything, so that reconfig needs no super user.
pub fn tree_config() -> TreeConfig {
    let mut config = TreeConfig::default();
    config.auth.skip_acl = true;
    config
}

/// Whether that role serves clients.
pub fn serves(role: Role) -> bool {
    role != Role::Looking
}

impl World {
    pub fn is_up(&self, sid: Sid) -> bool {
        self.servers.get(&sid).is_some_and(|s| s.process.is_some())
    }

    pub fn now_of(&self, sid: Sid) -> Now {
        let now_ms = self.now_ms();
        let skew_ms = self.servers.get(&sid).map_or(0, |s| s.skew_ms);
        Now { wall_ms: WALL_MS + now_ms as i64 + skew_ms, mono_ms: now_ms + 1 }
    }

    fn tick_every_ms(&self) -> u64 {
        (self.shape.tick_ms / 10).clamp(10, 50)
    }

    /// Starts the server's process over what its disk holds.
    pub fn start(&mut self, sid: Sid) {
        let now = self.now_of(sid);
        let (node_options, zab_options) = self.options(sid);
        let Some(server) = self.servers.get_mut(&sid) else { return };
        if server.process.is_some() || server.disk.buggy.has_empty_log {
            return;
        }
        server.life += 1;
        let life = server.life;
        let mut found = server.disk.recover(&tree_config(), zab_options.commit_log_count);
        let damaged = found.last_zxid.is_none();
        for entry in std::mem::take(&mut server.disk.buggy.lost) {
            disk::apply(&mut found.tree, &entry);
            found.last_zxid = Some(entry.zxid);
            found.recent.push(entry);
        }
        let stable = Stable {
            accepted_epoch: server.disk.accepted_epoch,
            current_epoch: server.disk.current_epoch,
            last_zxid: found.last_zxid,
            recent: found.recent,
            config: server.disk.config.clone(),
            last_seen_config: server.disk.last_seen_config.clone(),
        };
        let stable = match server.disk.bug {
            Some(Bug::AcceptedForCurrent) => Stable { current_epoch: stable.accepted_epoch, ..stable },
            _ => stable,
        };
        let (accepted, current, last) = (stable.accepted_epoch, stable.current_epoch, stable.last_zxid);
        let member = Member::new(node_options, zab_options, stable, found.tree, now);
        server.process = Some(Process {
            member,
            role: Role::Looking,
            mesh: BTreeMap::new(),
            last_vote: BTreeMap::new(),
            dial: 0,
            leader: None,
            unread: VecDeque::new(),
            receiving: None,
            links: BTreeMap::new(),
            copy: None,
            offered: 0,
            old_sessions: Vec::new(),
            old_acls: Vec::new(),
            frames: BTreeMap::new(),
            inbox: VecDeque::new(),
        });
        if damaged {
            self.counts.add("damaged start");
        }
        say!(self, sid, "starts: accepted {accepted}, current {current}, last zxid {last:x?}");
        self.oracle.on_start(sid);
        self.queue.after(0, Event::Tick { sid, life });
    }

    fn options(&self, sid: Sid) -> (zk_node::Options, zk_zab::Options) {
        let shape = &self.shape;
        let node = zk_node::Options {
            tick_ms: shape.tick_ms as i64,
            min_session_timeout_ms: 2 * shape.tick_ms as i32,
            max_session_timeout_ms: 40 * shape.tick_ms as i32,
            max_client_cnxns: 0,
            sessionless_timeout_ms: 10 * shape.tick_ms,
            global_outstanding_limit: shape.outstanding_limit,
            snap_count: shape.snap_count,
            reconfig_enabled: shape.reconfig,
            container_check_interval_ms: 1000,
            seed: shape.seed ^ sid as u64,
            server_id: sid as u8,
            ..zk_node::Options::default()
        };
        let zab = zk_zab::Options {
            tick_ms: shape.tick_ms,
            init_limit: shape.init_limit,
            sync_limit: shape.sync_limit,
            commit_log_count: shape.commit_log_count,
            counter_max: shape.counter_max.unwrap_or(zxid::COUNTER_MAX),
            reconfig_enabled: shape.reconfig,
            notification_min_ms: shape.tick_ms.min(200),
            notification_max_ms: 2000,
            seed: shape.seed ^ sid as u64,
            ..zk_zab::Options::new(sid)
        };
        (node, zab)
    }

    pub fn on_tick(&mut self, sid: Sid, life: u64) {
        let Some(server) = self.servers.get(&sid) else { return };
        if server.life != life || server.process.is_none() {
            return;
        }
        let again_ms = self.tick_every_ms();
        self.queue.after(again_ms, Event::Tick { sid, life });
        if !self.servers[&sid].is_paused {
            self.watch_stream(sid);
            self.step(sid, Own::Tick);
        }
    }

    /// Hands an input to a server, or keeps it while the server is paused.
    pub fn input(&mut self, sid: Sid, input: Own) {
        let Some(server) = self.servers.get_mut(&sid) else { return };
        let Some(process) = &mut server.process else { return };
        if server.is_paused {
            process.inbox.push_back(input);
            return;
        }
        if let Own::Frame { conn, frame } = input {
            // A connection that is refused is asked again later; its frames keep their order.
            process.frames.entry(conn).or_default().push_back(frame);
            return self.read_frames(sid, conn);
        }
        self.step(sid, input);
    }

    pub fn resume(&mut self, sid: Sid) {
        let Some(server) = self.servers.get_mut(&sid) else { return };
        server.is_paused = false;
        let Some(process) = &mut server.process else { return };
        let inbox = std::mem::take(&mut process.inbox);
        let life = server.life;
        say!(self, sid, "goes on, {} inputs waiting", inbox.len());
        for input in inbox {
            if self.servers[&sid].life == life {
                self.input(sid, input);
            }
        }
        if self.servers[&sid].life == life {
            self.read_on(sid);
            self.read_from_leader(sid);
        }
    }

    fn read_frames(&mut self, sid: Sid, conn: ConnKey) {
        loop {
            let Some(process) = self.servers.get_mut(&sid).and_then(|s| s.process.as_mut()) else { return };
            if !process.member.node().takes_frames(ConnId(conn)) {
                return;
            }
            let Some(frame) = process.frames.get_mut(&conn).and_then(VecDeque::pop_front) else { return };
            self.step(sid, Own::Frame { conn, frame });
        }
    }

    /// A learner is read as long as the node takes from it.
    pub fn from_learner(&mut self, sid: Sid, key: ConnKey, packet: Packet) {
        let link = self.process(sid).and_then(|p| p.links.get_mut(&key));
        link.into_iter().for_each(|link| link.unread.push_back(packet.clone()));
        self.read_learner(sid, key);
    }

    fn read_learner(&mut self, sid: Sid, key: ConnKey) {
        while !self.servers[&sid].is_paused
            && let Some(process) = self.process(sid)
            && process.member.takes_from(LinkId(key))
            && let Some(packet) = process.links.get_mut(&key).and_then(|link| link.unread.pop_front())
        {
            self.step(sid, Own::Zab(zk_zab::Input::FromLearner { link: LinkId(key), packet }));
        }
    }

    /// Whatever had to wait is looked at again.
    fn read_on(&mut self, sid: Sid) {
        let Some(process) = self.process(sid) else { return };
        let waiting = process.links.iter().filter(|(_, link)| !link.unread.is_empty());
        let links: Vec<ConnKey> = waiting.map(|(key, _)| *key).collect();
        for key in links {
            self.read_learner(sid, key);
        }
        self.read_all_frames(sid);
    }

    fn read_all_frames(&mut self, sid: Sid) {
        let Some(process) = self.servers.get(&sid).and_then(|s| s.process.as_ref()) else { return };
        let waiting: Vec<ConnKey> =
            process.frames.iter().filter(|(_, f)| !f.is_empty()).map(|(c, _)| *c).collect();
        for conn in waiting {
            self.read_frames(sid, conn);
        }
    }

    fn step(&mut self, sid: Sid, input: Own) {
        let now = self.now_of(sid);
        let Some(process) = self.servers.get_mut(&sid).and_then(|s| s.process.as_mut()) else { return };
        let mut fx = Effects::new();
        let wakes = matches!(input, Own::Durable { .. } | Own::Zab(_));
        process.take(now, input, &mut fx);
        process.member.check();
        let (effects, bytes) = fx.take();
        for effect in effects {
            self.carry_out(sid, effect, &bytes);
        }
        self.after_step(sid);
        if wakes {
            self.read_on(sid);
        }
    }

    /// The disk takes the next batch, if it is idle.
    pub fn start_disk(&mut self, sid: Sid) {
        let Some(server) = self.servers.get_mut(&sid) else { return };
        if !server.disk.start() {
            return;
        }
        let (life, slowness) = (server.life, server.slowness);
        let (least, most) = self.shape.fsync_ms;
        let delay_ms = self.rng.u64(least..=most) * slowness;
        self.queue.after(delay_ms, Event::Disk { sid, life });
    }

    pub fn on_disk(&mut self, sid: Sid, life: u64) {
        let Some(server) = self.servers.get_mut(&sid) else { return };
        if server.life != life || server.process.is_none() {
            return;
        }
        let writes = server.disk.batch.iter().any(|c| !matches!(c, Command::ReadLog { .. }));
        let nobody_minds = self.disk_fails_with_bug(sid);
        let server = self.servers.get_mut(&sid).expect("it is there");
        if writes && !nobody_minds && (server.is_full || server.fsync_fails) {
            let what = if server.is_full { "disk full" } else { "fsync failed" };
            server.fsync_fails = false;
            self.counts.add(what);
            say!(self, sid, "stops: {what}");
            // The log takes nothing more (ZOOKEEPER-4882): the server leaves at once.
            self.crash(sid, false);
            self.start_later(sid, 500..5000);
            return;
        }
        let kept = self.shape.snapshots_kept;
        let read_max = 3 * self.shape.commit_log_count + 20;
        for done in server.disk.finish(kept, read_max) {
            self.on_done(sid, done);
        }
        self.start_disk(sid);
    }

    fn on_done(&mut self, sid: Sid, done: Done) {
        let zab = |input| Own::Zab(zk_zab::Input::Stored(input));
        let input = match done {
            Done::Durable { zxid, count } => {
                self.oracle.on_durable(sid, &self.servers[&sid].disk);
                Own::Durable { zxid, count }
            }
            Done::AcceptedEpoch(epoch) => zab(Stored::AcceptedEpoch { epoch }),
            Done::CurrentEpoch(epoch) => zab(Stored::CurrentEpoch { epoch }),
            Done::Truncated { zxid, is_whole } => {
                self.counts.add("log truncated");
                say!(self, sid, "log truncated to 0x{zxid:x}, whole: {is_whole}");
                let input = self.reload(sid, is_whole);
                self.truncated_with_bug(sid, zxid, input)
            }
            Done::Snapshot => {
                self.counts.add("snapshot taken");
                return;
            }
            Done::Installed(zxid) => {
                self.counts.add("snapshot installed");
                say!(self, sid, "snapshot 0x{zxid:x} installed");
                self.oracle.on_durable(sid, &self.servers[&sid].disk);
                if self.process(sid).is_none_or(|p| p.leader.is_none())
                    && self.shape.bug == Some(Bug::HalfSnapshotKept)
                {
                    return;
                }
                let image = self.servers[&sid].disk.snapshots.last().expect("just installed").clone();
                let tree = Box::new(image.build(&tree_config()));
                Own::Reloaded { tree, stored: Stored::SnapshotInstalled { zxid } }
            }
            Done::Read { link, entries } => Own::Zab(zk_zab::Input::LogRead { link, entries }),
        };
        self.input(sid, input);
    }

    /// The tree anew from disk: truncated, or void.
    pub fn reload(&mut self, sid: Sid, is_truncated: bool) -> Own {
        let recent_max = self.shape.commit_log_count;
        let server = self.servers.get_mut(&sid).expect("it exists");
        let found = server.disk.recover(&tree_config(), recent_max);
        let stored = match found.last_zxid {
            Some(last_zxid) if is_truncated => Stored::Truncated { last_zxid, recent: found.recent },
            last_zxid => Stored::Void { last_zxid, recent: found.recent },
        };
        Own::Reloaded { tree: Box::new(found.tree), stored }
    }

    pub fn on_dial(&mut self, sid: Sid, life: u64, dial: u64, to: Sid) {
        let Some(server) = self.servers.get(&sid) else { return };
        let current = server.process.as_ref().is_some_and(|p| p.dial == dial && p.leader.is_none());
        if server.life != life || !current {
            return;
        }
        if !self.net.passes_both_ways(sid, to) {
            // Packets are lost; the system tries again until somebody gives up.
            self.queue.after(200, Event::Dial { sid, life, dial, to });
            return;
        }
        if !self.is_up(to) {
            return self.input(sid, Own::Zab(zk_zab::Input::LeaderClosed));
        }
        let key = self.net.open(Kind::Link, sid, to);
        let process = self.servers.get_mut(&sid).and_then(|s| s.process.as_mut()).expect("it dials");
        process.leader = Some(key);
        process.unread.clear();
        let leader = self.servers.get_mut(&to).and_then(|s| s.process.as_mut()).expect("it is up");
        leader.links.insert(key, Link::default());
        self.input(to, Own::Zab(zk_zab::Input::LearnerConnected { link: LinkId(key) }));
        self.input(sid, Own::Zab(zk_zab::Input::LeaderConnected));
    }

    pub fn mesh_key(&self, at: Sid, other: Sid) -> Option<ConnKey> {
        self.servers.get(&at)?.process.as_ref()?.mesh.get(&other).copied()
    }

    pub fn mesh_up(&mut self, at: Sid, other: Sid, key: ConnKey) {
        let Some(process) = self.servers.get_mut(&at).and_then(|s| s.process.as_mut()) else { return };
        process.mesh.insert(other, key);
        if let Some(vote) = process.last_vote.get(&other).cloned() {
            self.send_bytes(key, at, vote);
        }
        self.input(at, Own::Zab(zk_zab::Input::MeshUp { sid: other }));
    }

    /// A client has come.
    pub fn client_connects(&mut self, sid: Sid, conn: ConnKey) {
        if let Some(process) = self.servers.get_mut(&sid).and_then(|s| s.process.as_mut()) {
            process.frames.insert(conn, VecDeque::new());
            self.input(sid, Own::Connected { conn });
        }
    }

    pub fn server_closed(&mut self, sid: Sid, other: Host, key: ConnKey, kind: Kind, end: usize) {
        let Some(process) = self.servers.get_mut(&sid).and_then(|s| s.process.as_mut()) else { return };
        match kind {
            Kind::Mesh => {
                if process.mesh.get(&other) == Some(&key) {
                    process.mesh.remove(&other);
                    self.input(sid, Own::Zab(zk_zab::Input::MeshDown { sid: other }));
                }
            }
            Kind::Link if end == 1 => {
                if process.links.remove(&key).is_some() {
                    self.input(sid, Own::Zab(zk_zab::Input::LearnerClosed { link: LinkId(key) }));
                }
            }
            Kind::Link => {
                if process.leader == Some(key) {
                    process.leader = None;
                    process.unread.clear();
                    say!(self, sid, "link to leader {other} is lost");
                    self.give_up_receiving(sid);
                    self.input(sid, Own::Zab(zk_zab::Input::LeaderClosed));
                }
            }
            Kind::Client => {
                process.frames.remove(&key);
                self.input(sid, Own::Closed { conn: key });
            }
        }
    }

    /// Ends the process. Killed, its connections are closed by the kernel; without power nobody hears a word.
    pub fn crash(&mut self, sid: Sid, without_power: bool) {
        let Some(server) = self.servers.get_mut(&sid) else { return };
        if server.process.take().is_none() {
            return;
        }
        server.life += 1;
        server.is_paused = false;
        server.disk.crash(&mut self.rng);
        self.oracle.on_crash(sid, &self.servers[&sid].disk);
        say!(self, sid, "is gone{}", if without_power { " without power" } else { "" });
        for key in self.net.of_host(sid) {
            if without_power {
                self.drop_end(key, sid);
            } else {
                self.close(key, sid);
            }
            self.net.forget(key);
        }
    }

    pub fn start_later(&mut self, sid: Sid, within_ms: std::ops::Range<u64>) {
        let delay_ms = self.rng.u64(within_ms);
        self.queue.after(delay_ms, Event::Start { sid });
    }

    pub fn heal_server(&mut self, sid: Sid) {
        let server = self.servers.get_mut(&sid).expect("it exists");
        (server.slowness, server.is_full, server.fsync_fails) = (1, false, false);
        if server.is_paused {
            self.resume(sid);
        }
        self.start_later(sid, 1..500);
    }
}

impl Process {
    fn take(&mut self, now: Now, input: Own, fx: &mut Effects) {
        let member = &mut self.member;
        match input {
            Own::Connected { conn } => {
                let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1000);
                member.step(now, Input::Connected { conn: ConnId(conn), peer }, fx);
            }
            Own::Frame { conn, frame } => {
                member.step(now, Input::Frame { conn: ConnId(conn), frame: &frame }, fx);
            }
            Own::Closed { conn } => member.step(now, Input::Closed { conn: ConnId(conn) }, fx),
            Own::Tick => member.step(now, Input::Tick, fx),
            Own::Durable { zxid, count } => {
                member.step(now, Input::Durable(Durable { zxid, count, fsync_ms: 1 }), fx);
            }
            Own::Zab(input) => member.step(now, Input::Zab(input), fx),
            Own::Reloaded { tree, stored } => member.step(now, Input::Reloaded { tree, stored }, fx),
        }
    }
}
