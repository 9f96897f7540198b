//! What a server is from one moment to the next, and what belongs to that alone.
//!
//! ```text
//! Standalone (for ever)
//! Looking ──────────────► Leading | Following | Observing ──► Looking
//!    └─ no leader for a while ─► ReadOnly ─► any of them
//! ```
//!
//! Everything a period owns is dropped whole when it ends (ZOOKEEPER-4712, ZOOKEEPER-4541): proposals, the
//! overlay decisions look through, forwarded requests, syncs. Its connections are closed, as Apache does; the
//! sessions stay and turn up again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use foldhash::{HashMap, HashMapExt};
use zk_proto::quorum::{Config, Sid, zxid};
use zk_tree::session::SessionOwner;
use zk_zab::LinkId;

use crate::close::CloseReason;
use crate::connection::Phase;
use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Now};
use crate::node::Node;
use crate::tick::Reaper;

/// What a server is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Standalone,
    /// No leader is known; clients are not served.
    Looking,
    /// No leader is known; reads are served to clients that asked for it.
    ReadOnly,
    Leading {
        epoch: i64,
    },
    Following {
        leader: Sid,
    },
    Observing {
        leader: Sid,
    },
}

impl Role {
    /// `Mode:` of `srvr`, `zk_server_state` of `mntr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Looking => "looking",
            Self::ReadOnly => "read-only",
            Self::Leading { .. } => "leader",
            Self::Following { .. } => "follower",
            Self::Observing { .. } => "observer",
        }
    }

    fn has_leader(self) -> bool {
        !matches!(self, Self::Looking | Self::ReadOnly)
    }

    /// Whether clients may come.
    pub fn serves(self) -> bool {
        self != Self::Looking
    }
}

/// What one role owns while it lasts.
#[derive(Debug)]
pub(crate) enum Period {
    Standalone,
    Looking { since_ms: u64 },
    ReadOnly,
    Leading(Leading),
    Learning(Learning),
}

/// A leader's: what each learner has asked for and not been told yet.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) epoch: i64,
    pub(crate) since_ms: u64,
    pub(crate) links: BTreeMap<LinkId, Load>,
}

/// Requests of one learner on their way.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

/// A follower's or observer's: what it has asked its leader.
#[derive(Debug)]
pub(crate) struct Learning {
    pub(crate) leader: Sid,
    pub(crate) observes: bool,
    /// Syncs sent, in order; a SYNC answers the first.
    pub(crate) syncs: VecDeque<RemoteSync>,
    /// Sessions the leader was asked about, in order.
    pub(crate) renewals: VecDeque<(i64, ConnId)>,
    /// Sessions heard of since the last PING, with their timeouts.
    pub(crate) touched: HashMap<i64, i32>,
}

/// Who waits for a SYNC from the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoteSync {
    /// A client asked for it.
    Client(ConnId),
    /// Everything the session asked for elsewhere is behind it (see [`crate::learner`]).
    Fence(ConnId),
}

/// What this server knows of its ensemble.
#[derive(Debug)]
pub(crate) struct Ensemble {
    pub(crate) active: Config,
    pub(crate) last_seen: Config,
    /// Servers in step with this leader, itself among them; brought up to date before a reconfig is decided.
    pub(crate) synced: BTreeSet<Sid>,
}

/// Owner of the sessions connected to this server itself.
pub(crate) const SELF: SessionOwner = 0;

/// Owner of the sessions connected to the server behind that link.
pub(crate) fn owner_of(link: LinkId) -> SessionOwner {
    link.0.wrapping_add(1)
}

/// Apache waits for the longer of a tick and this (`QuorumPeer.run`).
const READ_ONLY_AFTER_MS: u64 = 2000;

impl Node {
    pub fn role(&self) -> Role {
        match &self.period {
            Period::Standalone => Role::Standalone,
            Period::Looking { .. } => Role::Looking,
            Period::ReadOnly => Role::ReadOnly,
            Period::Leading(leading) => Role::Leading { epoch: leading.epoch },
            Period::Learning(l) if l.observes => Role::Observing { leader: l.leader },
            Period::Learning(l) => Role::Following { leader: l.leader },
        }
    }

    /// How long this server has led.
    pub fn leading_for_ms(&self, now: Now) -> Option<u64> {
        match &self.period {
            Period::Leading(leading) => Some(now.mono_ms.saturating_sub(leading.since_ms)),
            _ => None,
        }
    }

    /// `epoch` is the one this server is in.
    pub(crate) fn begin_period(&mut self, now: Now, role: zk_zab::Role, epoch: i64, fx: &mut Effects) {
        let was = self.role();
        self.end_period(was, fx);
        match role {
            zk_zab::Role::Looking => {
                self.clients.stats.ensemble.looking += 1;
                if was.has_leader() {
                    self.unavailable_since_ms = now.mono_ms;
                }
                self.period = Period::Looking { since_ms: now.mono_ms };
            }
            zk_zab::Role::Leading { epoch } => {
                self.last_proposed = self.show_epoch(epoch);
                self.reaper = Reaper::new(&self.options, now);
                self.track_all(now);
                let links = BTreeMap::new();
                self.period = Period::Leading(Leading { epoch, since_ms: now.mono_ms, links });
            }
            zk_zab::Role::Following { leader } => self.learn_from(now, leader, epoch, false),
            zk_zab::Role::Observing { leader } => self.learn_from(now, leader, epoch, true),
        }
        if was != Role::Looking || matches!(role, zk_zab::Role::Leading { .. }) {
            fx.push(Effect::CancelSnapshot);
        }
        if self.role().serves() {
            self.show_config(now);
            let ms = now.mono_ms.saturating_sub(self.unavailable_since_ms);
            self.clients.stats.ensemble.unavailable_time.add(ms);
        }
        tracing::debug!(from = was.name(), to = self.role().name(), "the role of this server changes");
    }

    /// An epoch is shown before its first transaction, which is counter 1. On followers too, other than Apache's:
    /// whoever has seen it at the leader is welcome everywhere.
    fn show_epoch(&mut self, epoch: i64) -> i64 {
        let zxid = zxid::of(epoch, 0).max(self.tree.last_zxid());
        self.tree.set_last_zxid(zxid);
        zxid
    }

    fn learn_from(&mut self, now: Now, leader: Sid, epoch: i64, observes: bool) {
        self.show_epoch(epoch);
        self.is_fuzzy = false;
        self.track_all(now);
        self.period = Period::Learning(Learning {
            leader,
            observes,
            syncs: VecDeque::new(),
            renewals: VecDeque::new(),
            touched: HashMap::new(),
        });
    }

    /// Every session gets a whole timeout to come back; nobody owns it until it does.
    fn track_all(&mut self, now: Now) {
        for (id, timeout_ms) in self.tree.sessions() {
            self.sessions.track(*id, *timeout_ms, now.mono());
        }
    }

    fn end_period(&mut self, was: Role, fx: &mut Effects) {
        let conns = self.clients.conns.iter();
        let mut served: Vec<ConnId> =
            conns.filter(|(_, c)| c.phase != Phase::Handshake).map(|(id, _)| *id).collect();
        served.sort_unstable();
        for conn in served {
            self.close(conn, CloseReason::RoleChanged { was: was.name() }, fx);
        }
        self.pending.clear();
        self.proposals.clear();
        self.syncs.clear();
        self.outbox.clear();
        self.sessions.restart();
    }

    /// What this server can be without a leader, as time goes by.
    pub(crate) fn look_on(&mut self, now: Now) {
        let Period::Looking { since_ms } = self.period else { return };
        let after_ms = READ_ONLY_AFTER_MS.max(u64::try_from(self.options.tick_ms).unwrap_or(0));
        if !self.options.read_only_enabled || now.mono_ms.saturating_sub(since_ms) < after_ms {
            return;
        }
        tracing::warn!("no leader for {after_ms} ms: serving reads only, to clients that ask for it");
        self.period = Period::ReadOnly;
        self.show_config(now);
    }

    /// The tree is about to change under a server without a leader: whoever reads it must go.
    pub(crate) fn end_read_only(&mut self, now: Now, fx: &mut Effects) {
        if matches!(self.period, Period::ReadOnly) {
            self.begin_period(now, zk_zab::Role::Looking, 0, fx);
        }
    }

    fn show_config(&mut self, now: Now) {
        if let Some(ensemble) = &self.ensemble {
            self.tree.show_config(&ensemble.active, now.wall_ms);
        }
    }

    pub(crate) fn on_config_seen(&mut self, config: &Config) {
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.last_seen = config.clone();
        }
    }

    pub(crate) fn on_config_active(&mut self, now: Now, config: &Config) {
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.active = config.clone();
        if ensemble.last_seen.version <= config.version {
            ensemble.last_seen = config.clone();
        }
        if self.role().serves() {
            self.show_config(now);
        }
    }
}
