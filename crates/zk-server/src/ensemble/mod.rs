//! Among other servers: the sockets and names a server of an ensemble needs, each in the service of `zk-zab`.
//!
//! [`mesh`] carries votes, [`learners`] serves those who follow this server, [`leader_link`] is the way to the server
//! that this one follows. None of them decides anything: what they hear becomes an [`Input`], what they are told is an
//! [`Effect`].

pub(crate) mod leader_link;
pub(crate) mod learners;
pub(crate) mod mesh;
pub(crate) mod outgoing;
mod packets;
mod ports;
mod receiving;
pub(crate) mod sockets;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use zk_proto::quorum::{Config as Servers, Member, Sid};
use zk_store::DataDir;
use zk_zab::{Effect, Entry, Input, LinkId, Role, Store};

use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::{Config, Ensemble as Settings};
use crate::disk;
use crate::log_thread::LogCommand;
use crate::recovery::tree_config;
use crate::server::Server;
use crate::snapshots;
use leader_link::{LeaderLink, LeaderLinkOptions, Received};
use learners::{LearnerOptions, Learners};
use mesh::{Mesh, MeshOptions};
use ports::Ports;
use sockets::{HostPort, QuorumPorts, quorum_addresses};

/// Takes what was heard, empties the list, and carries out what follows from it.
pub(crate) type Sink = Rc<dyn Fn(&mut Vec<Input>)>;

/// Packets may be larger than requests by what servers put around them.
const PACKET_MARGIN: usize = 1 << 20;

/// Bounds of how long bytes on an election connection may go unacknowledged.
const UNANSWERED_MS: (u64, u64) = (1000, 10_000);

/// Between two lines about why a damaged server waits.
const WAITING_MS: u64 = 5000;

/// The other servers, and the connections to them.
pub(crate) struct Ensemble {
    pub(crate) settings: Settings,
    pub(crate) mesh: Rc<Mesh>,
    pub(crate) learners: Rc<Learners>,
    pub(crate) leader: Rc<LeaderLink>,
    /// In force, and last seen proposed.
    servers: RefCell<(Servers, Servers)>,
    ports: Rc<Ports>,
    role: Cell<Role>,
    pub(crate) role_changed: Notify,
    looking_since_ms: Cell<u64>,
    next_waiting_ms: Cell<u64>,
}

impl Ensemble {
    pub(crate) fn new(config: &Config, settings: Settings, clock: Clock, server: &Weak<Server>) -> Self {
        let sink = sink(server.clone());
        let complaints: Rc<Complaints> = Rc::default();
        let tick_ms = u64::try_from(config.tick_time_ms).unwrap_or(1);
        let ticks = |n: u64| Duration::from_millis(tick_ms.saturating_mul(n));
        let data_max = config.jute_max_buffer.saturating_mul(2) + PACKET_MARGIN;
        let sync_ms = tick_ms.saturating_mul(settings.sync_limit);
        let connect_timeout = Duration::from_millis(settings.connect_timeout_ms);
        let mesh = MeshOptions {
            sid: settings.sid,
            connect_timeout,
            hello_timeout: connect_timeout,
            unanswered: Duration::from_millis((sync_ms / 2).clamp(UNANSWERED_MS.0, UNANSWERED_MS.1)),
            keep_alive: config.tcp_keep_alive,
        };
        let mesh = Mesh::new(mesh, clock, complaints.clone(), sink.clone());
        let learners = LearnerOptions {
            data_max,
            patience: ticks(settings.init_limit),
            keep_alive: config.tcp_keep_alive,
            snapshots_max: settings.snapshot_syncs_max,
        };
        let streams = server.clone();
        let snapshot = Rc::new(move || snapshots::stream(streams.clone()));
        let takes = takes_from(server.clone());
        let learners = Learners::new(learners, clock, complaints, sink.clone(), snapshot, takes);
        let link = LeaderLinkOptions {
            data_max,
            connect: ticks(settings.connect_limit),
            patience: ticks(settings.init_limit),
            keep_alive: config.tcp_keep_alive,
            tree: tree_config(config),
        };
        let leader = LeaderLink::new(link, sink, received(server.clone()));
        let ports = Ports::new(config);
        let seen = settings.last_seen.clone().unwrap_or_else(|| settings.servers.clone());
        let servers = RefCell::new((settings.servers.clone(), seen));
        let this = Self {
            settings,
            mesh,
            learners,
            leader,
            servers,
            ports,
            role: Cell::new(Role::Looking),
            role_changed: Notify::new(),
            looking_since_ms: Cell::new(clock.now().mono_ms),
            next_waiting_ms: Cell::new(0),
        };
        this.tell_mesh();
        this
    }

    /// Begins to accept other servers.
    pub(crate) fn listen(&self, ports: QuorumPorts) -> std::io::Result<()> {
        self.ports.listen(ports, &self.mesh, &self.learners)
    }

    /// Does what the ensemble wants done. What goes out on links waits for [`Ensemble::flush`].
    pub(crate) fn carry_out(&self, server: &Rc<Server>, effect: Effect) {
        match effect {
            Effect::Notify { to, notification } => self.mesh.notify(to, &notification),
            Effect::DialLeader { sid } => self.leader.dial(sid, self.quorum_hosts(sid)),
            Effect::SendLeader { packet } => self.leader.send(&packet),
            Effect::HangUp => self.leader.hang_up(),
            Effect::ReceiveSnapshot { zxid } => self.leader.receive_snapshot(zxid),
            Effect::SendLearner { link, packet } => self.learners.send(link, &packet),
            Effect::StreamSnapshot { link } => self.learners.stream(link),
            Effect::ReadLog { link, after, upto } => self.read_log(server, link, after, upto),
            Effect::CloseLearner { link, reason } => self.learners.close(link, &reason),
            Effect::Store(Store::AcceptedEpoch { epoch }) => {
                server.to_disk(LogCommand::AcceptedEpoch { epoch });
            }
            Effect::Store(Store::CurrentEpoch { epoch }) => {
                server.to_disk(LogCommand::CurrentEpoch { epoch });
            }
            Effect::Store(Store::Truncate { zxid }) => {
                server.snapshots.replacing();
                server.to_disk(LogCommand::Truncate { zxid });
            }
            Effect::ConfigSeen { config } => {
                self.servers.borrow_mut().1 = config.clone();
                self.tell_mesh();
                server.to_disk(LogCommand::ConfigSeen(Box::new(config)));
            }
            Effect::ConfigActive { config } => self.activate(server, config),
            Effect::Role(role) => self.on_role(server, role),
            // The member keeps these for itself.
            Effect::Store(Store::Append(_))
            | Effect::Deliver { .. }
            | Effect::AnswerPing { .. }
            | Effect::FromLearner { .. }
            | Effect::FromLeader { .. }
            | Effect::LearnerGone { .. } => {}
        }
    }

    /// Sends what has collected on the links.
    pub(crate) fn flush(&self) {
        self.learners.flush();
        self.leader.flush();
    }

    pub(crate) fn role(&self) -> Role {
        self.role.get()
    }

    /// The configuration in force.
    pub(crate) fn servers(&self) -> Servers {
        self.servers.borrow().0.clone()
    }

    pub(crate) fn me(&self) -> Option<Member> {
        self.servers.borrow().0.members.get(&self.settings.sid).cloned()
    }

    fn quorum_hosts(&self, sid: Sid) -> Vec<HostPort> {
        let servers = self.servers.borrow();
        let member = servers.0.members.get(&sid).or_else(|| servers.1.members.get(&sid));
        member.map(quorum_addresses).unwrap_or_default()
    }

    fn tell_mesh(&self) {
        let servers = self.servers.borrow();
        // The one in force has the last word on a server in both.
        self.mesh.set_servers(&[&servers.1, &servers.0]);
    }

    fn activate(&self, server: &Rc<Server>, config: Servers) {
        tracing::info!(
            version = format_args!("0x{:x}", config.version),
            servers = config.members.len(),
            "a configuration of the ensemble takes effect"
        );
        {
            let mut servers = self.servers.borrow_mut();
            servers.0 = config.clone();
            if servers.1.version <= config.version {
                servers.1 = config.clone();
            }
        }
        self.tell_mesh();
        if let Some(me) = self.me() {
            self.ports.follow(server, &self.settings, me);
        }
        server.to_disk(LogCommand::ConfigActive(Box::new(config)));
    }

    fn on_role(&self, server: &Rc<Server>, role: Role) {
        let now_ms = server.now().mono_ms;
        self.mesh.set_looking(role == Role::Looking);
        let was = self.role.replace(role);
        let took_ms = now_ms.saturating_sub(self.looking_since_ms.get());
        match role {
            Role::Looking => {
                self.looking_since_ms.set(now_ms);
                self.next_waiting_ms.set(now_ms + WAITING_MS);
                if was != Role::Looking {
                    tracing::info!(why = server.why_looking(), "LOOKING for a leader");
                }
            }
            Role::Leading { epoch } => {
                tracing::info!(epoch, took_ms, "LEADING");
                if !self.settings.leader_serves {
                    server.cut_all();
                }
            }
            Role::Following { leader } => tracing::info!(leader, took_ms, "FOLLOWING"),
            Role::Observing { leader } => tracing::info!(leader, took_ms, "OBSERVING"),
        }
        self.role_changed.notify_one();
    }

    /// Says from time to time why a server with a damaged history does not take part.
    pub(crate) fn explain_waiting(&self, server: &Server) {
        let now_ms = server.now().mono_ms;
        if self.role.get() != Role::Looking || now_ms < self.next_waiting_ms.get() {
            return;
        }
        self.next_waiting_ms.set(now_ms + WAITING_MS);
        let is_damaged = server.member.borrow().peer().is_some_and(|peer| peer.status().damaged);
        if is_damaged {
            tracing::warn!(
                "waiting: this server's history was damaged, so it neither votes nor counts until a leader elected \
                 without it has synchronised it; none is known. If a majority of the servers is damaged, restore one \
                 directory from a copy"
            );
        }
    }

    /// Reads the log on a thread of the runtime's.
    fn read_log(&self, server: &Rc<Server>, link: LinkId, after: i64, upto: i64) {
        let (data, factor) = (server.data.clone(), self.settings.snapshot_size_factor);
        let back = Rc::downgrade(server);
        spawn_local(async move {
            let reading = tokio::task::spawn_blocking(move || read_entries(&data, after, upto, factor));
            let entries = reading.await.unwrap_or_default();
            if let Some(server) = back.upgrade() {
                server.zab(&mut vec![Input::LogRead { link, entries }]);
            }
        });
    }
}

/// What is logged behind `after`, if it is worth sending instead of a snapshot. A negative factor says it never is.
fn read_entries(data: &DataDir, after: i64, upto: i64, factor: f64) -> Option<Vec<Entry>> {
    if factor < 0.0 {
        return None;
    }
    let read = data.newest_snapshot_bytes().and_then(|size| {
        // Truncation is what is meant: a bound in whole bytes.
        let bytes_max = (size as f64 * factor) as u64;
        // 0 is no limit (`ZKDatabase.getProposalsFromTxnLog`).
        data.read_after(after, upto, if bytes_max == 0 { u64::MAX } else { bytes_max })
    });
    match read {
        Ok(entries) => entries.map(disk::entries),
        Err(error) => {
            tracing::warn!(%error, "the log cannot be read for a learner; it gets a snapshot");
            None
        }
    }
}

fn sink(server: Weak<Server>) -> Sink {
    Rc::new(move |inputs| match server.upgrade() {
        Some(server) => server.zab(inputs),
        None => inputs.clear(),
    })
}

fn takes_from(server: Weak<Server>) -> Rc<dyn Fn(LinkId) -> bool> {
    Rc::new(move |link| server.upgrade().is_some_and(|s| s.member.borrow().takes_from(link)))
}

/// A snapshot from the leader goes to disk before it is the tree; a broken one makes the tree anew from disk.
fn received(server: Weak<Server>) -> Rc<dyn Fn(Received)> {
    Rc::new(move |received| {
        let Some(server) = server.upgrade() else { return };
        server.snapshots.replacing();
        server.to_disk(match received {
            Received::Tree { zxid, tree } => LogCommand::Install { zxid, tree },
            Received::Nothing => LogCommand::Reload,
        });
    })
}
