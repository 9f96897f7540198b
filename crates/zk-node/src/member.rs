//! A server as shells and the simulation drive it: a [`Node`] alone, or a node and its place in an ensemble.
//!
//! ```text
//! clients, ticks ──► Node ──Propose, ToLeader, ToLearner──► Peer ──► Zab effects for the shell
//!                      ▲                                     │ │
//!                      └──Deliver, Role, FromLearner, …──────┘ └──► Append, CancelSnapshot
//! mesh, links, disk ─────────────────────────────────────────▲
//! ```
//!
//! Invariant: the two never wait for each other. Whatever the node has to say to the ensemble is said before
//! anything else happens, and whatever the ensemble wants done is done in the order it was wanted.

use std::collections::VecDeque;

use zk_proto::OpCode;
use zk_proto::quorum::{Config, PacketKind};
use zk_tree::Tree;
use zk_zab::{Effect as ZabEffect, Input as ZabInput, LinkId, Peer, Stable, Store, Stored};

use crate::effect::{Effect, Effects};
use crate::input::{ConnId, Input, Now};
use crate::node::Node;
use crate::options::Options;
use crate::role::Role;
use crate::stats::EnsembleStats;

/// See the module's header.
pub struct Member {
    node: Node,
    place: Option<Place>,
}

/// A server's place in its ensemble.
struct Place {
    peer: Peer,
    /// What the peer wants done, in order.
    queue: VecDeque<ZabEffect>,
    /// Changes of role in the queue.
    roles_ahead: usize,
    /// What one step of it wants done; kept to spare the allocation.
    wanted: Vec<ZabEffect>,
    /// Nothing is done any more: see [`Effect::Fail`].
    has_failed: bool,
}

impl Member {
    /// A server without an ensemble.
    pub fn alone(node: Node) -> Self {
        Self { node, place: None }
    }

    /// A server of an ensemble. `tree` holds everything the log on disk holds.
    pub fn new(options: Options, zab: zk_zab::Options, stable: Stable, tree: Tree, now: Now) -> Self {
        let (config, last_seen) = (stable.config.clone(), stable.last_seen_config.clone());
        let place = Place {
            peer: Peer::new(zab, stable, now.mono_ms),
            queue: VecDeque::new(),
            roles_ahead: 0,
            wanted: Vec::new(),
            has_failed: false,
        };
        Self { node: Node::in_ensemble(options, tree, config, last_seen, now), place: Some(place) }
    }

    /// Takes one input; what is to be done about it is added to `fx`.
    pub fn step(&mut self, now: Now, input: Input<'_>, fx: &mut Effects) {
        let Some(place) = &mut self.place else { return self.node.step(now, input, fx) };
        if place.has_failed {
            return;
        }
        match input {
            Input::Zab(input) => place.tell(now, input),
            Input::Reloaded { tree, stored } => {
                let is_fuzzy = matches!(stored, Stored::SnapshotInstalled { .. });
                self.node.replace_tree(now, *tree, is_fuzzy, fx);
                place.tell(now, ZabInput::Stored(stored));
            }
            Input::Durable(durable) => {
                self.node.count_durable(durable);
                place.tell(now, ZabInput::Stored(Stored::Durable { zxid: durable.zxid }));
            }
            Input::Tick => {
                self.node.step(now, Input::Tick, fx);
                self.listen(now);
                self.place_mut().tell(now, ZabInput::Tick);
            }
            Input::Frame { conn, frame } => {
                if frame.get(4..8).is_some_and(is_reconfig) {
                    self.take_stock();
                }
                self.node.step(now, Input::Frame { conn, frame }, fx);
            }
            input @ (Input::Connected { .. } | Input::Closed { .. }) => self.node.step(now, input, fx),
        }
        self.settle(now, fx);
    }

    fn place_mut(&mut self) -> &mut Place {
        self.place.as_mut().expect("only a server of an ensemble gets here")
    }

    /// Until neither has anything more to say.
    fn settle(&mut self, now: Now, fx: &mut Effects) {
        loop {
            self.listen(now);
            let Some(effect) = self.place_mut().next() else { return };
            self.carry_out(now, effect, fx);
        }
    }

    /// Tells the peer what the node has to say.
    fn listen(&mut self, now: Now) {
        let Some(place) = &mut self.place else { return };
        while let Some(input) = self.node.outbox.pop_front() {
            // Else it is the word of a role that is over, and the node is about to hear so.
            if place.roles_ahead > 0 {
                continue;
            }
            match input {
                ZabInput::ToLearner { link, .. } => {
                    let applied = self.node.tree().last_zxid();
                    place.tell_in_place(now, input, link, applied);
                }
                input => place.tell(now, input),
            }
        }
    }

    fn carry_out(&mut self, now: Now, effect: ZabEffect, fx: &mut Effects) {
        let node = &mut self.node;
        match effect {
            ZabEffect::Store(Store::Append(entry)) => {
                if !matches!(node.role(), Role::Leading { .. }) {
                    node.stats_mut().ensemble.learner_proposals += 1;
                }
                node.append(entry.zxid, entry.payload, fx);
            }
            ZabEffect::Deliver { zxid, payload } => {
                if let Err(what) = node.deliver(now, zxid, payload.as_ref(), fx) {
                    tracing::error!("{what}");
                    fx.push(Effect::Fail { what });
                    let place = self.place_mut();
                    place.has_failed = true;
                    place.queue.clear();
                    place.roles_ahead = 0;
                }
            }
            ZabEffect::AnswerPing { zxid } => node.answer_ping(zxid),
            ZabEffect::FromLearner { link, packet, .. } => {
                if packet.kind == PacketKind::Request && packet.body().get(12..16).is_some_and(is_reconfig) {
                    self.take_stock();
                }
                self.node.on_from_learner(now, link, &packet, fx);
            }
            ZabEffect::FromLeader { packet } => node.on_from_leader(now, &packet, fx),
            ZabEffect::LearnerGone { link } => node.on_learner_gone(link),
            ZabEffect::Role(role) => {
                let epoch = self.place.as_ref().map_or(0, |place| place.peer.status().current_epoch);
                self.node.begin_period(now, role, epoch, fx);
                fx.push(Effect::Zab(effect));
            }
            ZabEffect::ConfigSeen { ref config } => {
                node.on_config_seen(config);
                fx.push(Effect::Zab(effect));
            }
            ZabEffect::ConfigActive { ref config } => {
                node.on_config_active(now, config);
                fx.push(Effect::Zab(effect));
            }
            effect => {
                count(&effect, &mut node.stats_mut().ensemble);
                fx.push(Effect::Zab(effect));
            }
        }
    }

    /// A reconfig is judged by who is in step at that moment.
    fn take_stock(&mut self) {
        let Some(place) = &self.place else { return };
        if let Some(ensemble) = &mut self.node.ensemble {
            let status = place.peer.status();
            let in_step = status.learners.iter().filter(|l| l.synced && !l.observer).map(|l| l.sid);
            ensemble.synced = in_step.chain([status.sid]).collect();
        }
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// `None` on a server that is alone.
    pub fn peer(&self) -> Option<&Peer> {
        self.place.as_ref().map(|place| &place.peer)
    }

    pub fn role(&self) -> Role {
        self.node.role()
    }

    /// The servers of the ensemble, as they count now.
    pub fn config(&self) -> Option<&Config> {
        self.node.ensemble.as_ref().map(|ensemble| &ensemble.active)
    }

    /// As [`Node::takes_frames`].
    pub fn takes_frames(&self, conn: ConnId) -> bool {
        self.node.takes_frames(conn)
    }

    /// As [`Node::takes_from`].
    pub fn takes_from(&self, link: LinkId) -> bool {
        self.node.takes_from(link)
    }

    /// The invariants, for tests and simulation. Panics with what is broken.
    pub fn check(&self) {
        self.node.check();
        let Some(place) = &self.place else { return };
        place.peer.check();
        assert!(place.queue.is_empty(), "what the ensemble wants is done before a step ends");
        assert_ne!(self.role(), Role::Standalone, "a server of an ensemble is never alone");
        if let (Role::Leading { epoch }, Some(ensemble)) = (self.role(), &self.node.ensemble) {
            let status = place.peer.status();
            assert_eq!(epoch, status.current_epoch);
            let known = (ensemble.active.version, ensemble.last_seen.version);
            assert_eq!(known, (status.config_version, status.config_seen_version), "configurations");
            assert_eq!(self.node.last_proposed, status.last_proposed, "the same proposals");
        }
    }
}

impl Place {
    fn tell(&mut self, now: Now, input: ZabInput) {
        self.peer.step(now.mono_ms, input, &mut self.wanted);
        self.roles_ahead += self.wanted.iter().filter(|e| matches!(e, ZabEffect::Role(_))).count();
        self.queue.extend(self.wanted.drain(..));
    }

    /// For a packet to a learner. Several commits may come out of one step, and the node hears of the first when the
    /// others are in the queue already: what it then says to a learner belongs behind the first, not behind all
    /// of them. A SYNC that came late would find its session's next write at the head of the queue.
    fn tell_in_place(&mut self, now: Now, input: ZabInput, link: LinkId, applied: i64) {
        self.peer.step(now.mono_ms, input, &mut self.wanted);
        let later = |effect: &ZabEffect| match effect {
            ZabEffect::SendLearner { link: to, packet } => {
                *to == link && commits(packet.kind) && packet.zxid > applied
            }
            _ => false,
        };
        let at = self.queue.iter().position(later).unwrap_or(self.queue.len());
        for (n, effect) in self.wanted.drain(..).enumerate() {
            debug_assert!(matches!(effect, ZabEffect::SendLearner { .. }), "it is a packet and nothing else");
            self.queue.insert(at + n, effect);
        }
    }

    fn next(&mut self) -> Option<ZabEffect> {
        let effect = self.queue.pop_front()?;
        self.roles_ahead -= usize::from(matches!(effect, ZabEffect::Role(_)));
        Some(effect)
    }
}

/// How learners are brought into step.
fn count(effect: &ZabEffect, stats: &mut EnsembleStats) {
    match effect {
        ZabEffect::StreamSnapshot { .. } => stats.snapshots_sent += 1,
        ZabEffect::SendLearner { packet, .. }
            if matches!(packet.kind, PacketKind::Diff | PacketKind::Trunc) =>
        {
            stats.diffs_sent += 1;
        }
        _ => {}
    }
}

fn commits(kind: PacketKind) -> bool {
    matches!(
        kind,
        PacketKind::Commit
            | PacketKind::CommitAndActivate
            | PacketKind::Inform
            | PacketKind::InformAndActivate
    )
}

fn is_reconfig(op: &[u8]) -> bool {
    op == OpCode::Reconfig.code().to_be_bytes()
}
