//! Peers with disks, links and a mesh of their own, in virtual time. One seed, one life.
//!
//! Checked after every step, by the names of the TLA+ specifications: SingleLeader, PrefixConsistency,
//! LeaderLogCompleteness, CommittedLogMonotonicity, CommittedLogDurability (by `assert_healed`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zk_proto::quorum::{Config, Notification, Packet, PacketKind, Sid, zxid};
use zk_proto::txn::{SetDataTxn, Txn, TxnHeader, encode_payload, kind};
use zk_zab::{CloseReason, Effect, Entry, Input, LinkId, Options, Peer, Role, Status, Store, Stored};

use crate::disk::{Command, Disk, Tree};

pub const TICK_MS: u64 = 100;

/// What goes down a link.
#[derive(Debug, Clone)]
pub enum Down {
    Packet(Packet),
    Snapshot(Tree),
}

#[derive(Debug)]
pub struct Link {
    pub id: LinkId,
    pub learner: Sid,
    pub leader: Sid,
    pub up: VecDeque<Packet>,
    pub down: VecDeque<Down>,
    /// Closed by that end: the other hears of it after what is on its way.
    pub closed: bool,
}

pub struct Node {
    pub peer: Option<Peer>,
    pub options: Options,
    pub disk: Disk,
    pub tree: Tree,
    pub role: Role,
    pub proposed: BTreeMap<i64, Bytes>,
    pub receiving: Option<i64>,
    pub dialling: Option<Sid>,
    pub inbox: VecDeque<Input>,
    pub reasons: Vec<CloseReason>,
    /// Packets it got as a learner since the test last looked.
    pub got: Vec<PacketKind>,
    pub held_disk: bool,
}

pub struct World {
    pub now_ms: u64,
    pub nodes: BTreeMap<Sid, Node>,
    pub links: Vec<Link>,
    pub mesh: BTreeMap<(Sid, Sid), VecDeque<Notification>>,
    pub cut: BTreeSet<(Sid, Sid)>,
    pub committed: Tree,
    pub leaders: BTreeMap<i64, Sid>,
    pub config: Config,
    pub trace: bool,
    /// One server at a time may come back without its disk.
    pub loses_disks: bool,
    next_link: u64,
    next_value: i64,
}

pub fn config(voters: &[Sid], observers: &[Sid]) -> Config {
    let line = |sid: &Sid, role| format!("server.{sid}=h{sid}:2888:3888:{role}\n");
    let voters = voters.iter().map(|sid| line(sid, "participant"));
    let text: String = voters.chain(observers.iter().map(|sid| line(sid, "observer"))).collect();
    Config::parse(&text).unwrap()
}

pub fn options(sid: Sid) -> Options {
    let mut options = Options::new(sid);
    options.tick_ms = TICK_MS;
    options.commit_log_count = 10;
    options
}

pub fn payload(zxid: i64, value: i64) -> Bytes {
    let header = TxnHeader { client_id: value, cxid: 0, zxid, time: 0, kind: kind::ERROR };
    encode_payload(&header, &Txn::Error { err: 0 }, None)
}

impl World {
    pub fn new(voters: &[Sid], observers: &[Sid]) -> Self {
        Self::with(config(voters, observers), |_| {})
    }

    pub fn with(config: Config, adjust: impl Fn(&mut Options)) -> Self {
        let mut world = Self {
            now_ms: 0,
            nodes: BTreeMap::new(),
            links: Vec::new(),
            mesh: BTreeMap::new(),
            cut: BTreeSet::new(),
            committed: Tree::new(),
            leaders: BTreeMap::new(),
            config: config.clone(),
            trace: std::env::var_os("ZAB_TRACE").is_some(),
            loses_disks: false,
            next_link: 0,
            next_value: 0,
        };
        for sid in config.members.keys() {
            let mut options = options(*sid);
            adjust(&mut options);
            world.add(*sid, options);
        }
        world
    }

    pub fn add(&mut self, sid: Sid, options: Options) {
        let node = Node {
            peer: None,
            options,
            disk: Disk::default(),
            tree: Tree::new(),
            role: Role::Looking,
            proposed: BTreeMap::new(),
            receiving: None,
            dialling: None,
            inbox: VecDeque::new(),
            reasons: Vec::new(),
            got: Vec::new(),
            held_disk: false,
        };
        self.nodes.insert(sid, node);
    }

    pub fn node(&mut self, sid: Sid) -> &mut Node {
        self.nodes.get_mut(&sid).unwrap()
    }

    pub fn status(&self, sid: Sid) -> Status {
        self.nodes[&sid].peer.as_ref().unwrap().status()
    }

    pub fn start_all(&mut self) {
        for sid in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.start(sid);
        }
    }

    pub fn start(&mut self, sid: Sid) {
        let (config, now_ms) = (self.config.clone(), self.now_ms);
        let node = self.node(sid);
        assert!(node.peer.is_none());
        let stable = node.disk.stable(config, node.options.commit_log_count);
        node.tree = if node.disk.damaged { Tree::new() } else { node.disk.tree() };
        node.role = Role::Looking;
        node.proposed.clear();
        node.receiving = None;
        node.dialling = None;
        node.peer = Some(Peer::new(node.options.clone(), stable, now_ms));
        self.step(sid, Input::Tick);
        for other in self.others(sid) {
            if self.connected(sid, other) {
                self.step(sid, Input::MeshUp { sid: other });
                self.step(other, Input::MeshUp { sid });
            }
        }
    }

    /// Power off: what the disk has not written is lost.
    pub fn crash(&mut self, sid: Sid) {
        let node = self.node(sid);
        node.peer = None;
        node.disk.queue.clear();
        node.inbox.clear();
        node.role = Role::Looking;
        self.mesh.retain(|(from, to), _| *from != sid && *to != sid);
        for link in self.links.iter_mut().filter(|link| link.learner == sid || link.leader == sid) {
            link.closed = true;
            if link.learner == sid {
                link.down.clear();
            } else {
                link.up.clear();
            }
        }
        for other in self.others(sid) {
            self.step(other, Input::MeshDown { sid });
        }
    }

    /// No packets between these two any more; connections break.
    pub fn cut(&mut self, one: Sid, other: Sid) {
        self.cut.insert((one.min(other), one.max(other)));
        self.mesh.remove(&(one, other));
        self.mesh.remove(&(other, one));
        for link in &mut self.links {
            if [link.learner, link.leader] == [one, other] || [link.learner, link.leader] == [other, one] {
                link.closed = true;
            }
        }
        self.step(one, Input::MeshDown { sid: other });
        self.step(other, Input::MeshDown { sid: one });
    }

    pub fn heal(&mut self) {
        for (one, other) in std::mem::take(&mut self.cut) {
            if self.connected(one, other) {
                self.step(one, Input::MeshUp { sid: other });
                self.step(other, Input::MeshUp { sid: one });
            }
        }
    }

    fn others(&self, sid: Sid) -> Vec<Sid> {
        self.nodes.iter().filter(|(s, n)| **s != sid && n.peer.is_some()).map(|(s, _)| *s).collect()
    }

    fn connected(&self, one: Sid, other: Sid) -> bool {
        let alive = |sid| self.nodes.get(&sid).is_some_and(|node| node.peer.is_some());
        alive(one) && alive(other) && !self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// One input and all it leads to at once.
    pub fn step(&mut self, sid: Sid, input: Input) {
        if self.nodes[&sid].peer.is_none() {
            return;
        }
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if self.trace {
                eprintln!("{:>6} {sid} < {input:?}", self.now_ms);
            }
            let now_ms = self.now_ms;
            let mut fx = Vec::new();
            let Some(peer) = self.node(sid).peer.as_mut() else { return };
            peer.step(now_ms, input, &mut fx);
            for effect in fx {
                if self.trace {
                    eprintln!("{:>6} {sid} >   {effect:?}", self.now_ms);
                }
                self.carry_out(sid, effect, &mut inputs);
            }
            self.nodes[&sid].peer.as_ref().unwrap().check();
        }
    }

    fn carry_out(&mut self, sid: Sid, effect: Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Notify { to, notification } if self.connected(sid, to) => {
                self.mesh.insert((sid, to), VecDeque::from([notification]));
            }
            Effect::Notify { .. } => {}
            Effect::DialLeader { sid: leader } => self.node(sid).dialling = Some(leader),
            Effect::SendLeader { packet } => {
                if let Some(link) = self.link_to_leader(sid) {
                    link.up.push_back(packet);
                }
            }
            Effect::HangUp => {
                self.node(sid).dialling = None;
                for link in self.links.iter_mut().filter(|link| link.learner == sid) {
                    link.closed = true;
                    link.down.clear();
                }
            }
            Effect::ReceiveSnapshot { zxid } => self.node(sid).receiving = Some(zxid),
            Effect::SendLearner { link, packet } => self.send_down(link, Down::Packet(packet)),
            Effect::StreamSnapshot { link } => {
                let tree = self.nodes[&sid].tree.clone();
                self.send_down(link, Down::Snapshot(tree));
                inputs.push_back(Input::SnapshotSent { link });
            }
            Effect::ReadLog { link, after, upto } => {
                let entries = self.nodes[&sid].disk.read_after(after, upto);
                self.node(sid).inbox.push_back(Input::LogRead { link, entries });
            }
            Effect::CloseLearner { link, reason } => {
                self.node(sid).reasons.push(reason);
                for link in self.links.iter_mut().filter(|l| l.id == link) {
                    link.closed = true;
                    link.up.clear();
                }
            }
            Effect::Store(store) => self.node(sid).disk.queue.push_back(Command::Store(store)),
            Effect::Role(role) => self.on_role(sid, role),
            Effect::Deliver { zxid, payload } => self.on_deliver(sid, zxid, payload),
            Effect::AnswerPing { zxid } => {
                let packet = Packet::new(PacketKind::Ping, zxid);
                inputs.push_back(Input::ToLeader { packet });
            }
            Effect::ConfigSeen { config } => self.node(sid).disk.seen = Some(config),
            Effect::ConfigActive { config } => self.node(sid).disk.config = Some(config),
            Effect::FromLearner { .. } | Effect::FromLeader { .. } | Effect::LearnerGone { .. } => {}
        }
    }

    fn on_role(&mut self, sid: Sid, role: Role) {
        self.node(sid).role = role;
        self.node(sid).proposed.clear();
        let Role::Leading { epoch } = role else {
            if role != Role::Looking {
                self.assert_prefix(sid);
            }
            return;
        };
        let before = self.leaders.insert(epoch, sid);
        assert!(
            before.is_none_or(|other| other == sid),
            "SingleLeader: {before:?} and {sid} in epoch {epoch}"
        );
        let tree = &self.nodes[&sid].tree;
        assert!(tree.starts_with(&self.committed), "LeaderLogCompleteness: {sid} in epoch {epoch}");
        self.committed = tree.clone();
    }

    fn on_deliver(&mut self, sid: Sid, zxid: i64, payload: Option<Bytes>) {
        let node = self.nodes.get_mut(&sid).unwrap();
        let payload = payload.unwrap_or_else(|| node.proposed.remove(&zxid).unwrap());
        assert!(node.tree.last().is_none_or(|(last, _)| *last < zxid), "CommittedLogMonotonicity");
        node.tree.push((zxid, payload.clone()));
        if matches!(node.role, Role::Leading { .. }) && node.tree.len() > self.committed.len() {
            self.committed.push((zxid, payload));
        }
        if node.role != Role::Looking {
            self.assert_prefix(sid);
        }
    }

    fn assert_prefix(&self, sid: Sid) {
        let tree = &self.nodes[&sid].tree;
        assert!(self.committed.starts_with(tree), "PrefixConsistency: {sid} has {tree:?}");
    }

    fn link_to_leader(&mut self, learner: Sid) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.learner == learner && !link.closed)
    }

    fn send_down(&mut self, id: LinkId, item: Down) {
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id && !link.closed) {
            link.down.push_back(item);
        }
    }

    /// Things that can happen now; `happen` does one of them.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (sid, node) in self.nodes.iter().filter(|(_, node)| node.peer.is_some()) {
            if !node.disk.queue.is_empty() && !node.held_disk {
                events.push(Event::Disk(*sid));
            }
            if !node.inbox.is_empty() {
                events.push(Event::Inbox(*sid));
            }
            if node.dialling.is_some() {
                events.push(Event::Dial(*sid));
            }
        }
        events.extend(self.mesh.iter().filter(|(_, q)| !q.is_empty()).map(|((f, t), _)| Event::Mesh(*f, *t)));
        for link in &self.links {
            if !link.up.is_empty() {
                events.push(Event::Up(link.id));
            }
            if !link.down.is_empty() {
                events.push(Event::Down(link.id));
            }
            if link.closed && link.up.is_empty() && link.down.is_empty() {
                events.push(Event::Closed(link.id));
            }
        }
        events
    }

    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Disk(sid) => self.disk(sid),
            Event::Inbox(sid) => {
                if let Some(input) = self.node(sid).inbox.pop_front() {
                    self.step(sid, input);
                }
            }
            Event::Dial(sid) => self.dial(sid),
            Event::Mesh(from, to) => {
                if let Some(notification) = self.mesh.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
                    self.step(to, Input::Notification { from, notification });
                }
            }
            Event::Up(id) => {
                let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
                let (leader, packet) = (link.leader, link.up.pop_front().unwrap());
                self.step(leader, Input::FromLearner { link: id, packet });
            }
            Event::Down(id) => self.down(id),
            Event::Closed(id) => self.closed(id),
        }
    }

    fn dial(&mut self, sid: Sid) {
        let Some(leader) = self.node(sid).dialling.take() else { return };
        if !self.connected(sid, leader) {
            return self.step(sid, Input::LeaderClosed);
        }
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.links.push(Link { id, learner: sid, leader, up, down, closed: false });
        self.step(leader, Input::LearnerConnected { link: id });
        self.step(sid, Input::LeaderConnected);
    }

    fn down(&mut self, id: LinkId) {
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
        let learner = link.learner;
        match link.down.pop_front().unwrap() {
            Down::Packet(packet) => {
                self.node(learner).got.push(packet.kind);
                self.step(learner, Input::FromLeader { packet });
            }
            Down::Snapshot(tree) => {
                let zxid = self.node(learner).receiving.take().expect("a stream comes after SNAP");
                self.node(learner).disk.queue.push_back(Command::Install { zxid, tree });
            }
        }
    }

    fn closed(&mut self, id: LinkId) {
        let at = self.links.iter().position(|link| link.id == id).unwrap();
        let link = self.links.remove(at);
        self.step(link.leader, Input::LearnerClosed { link: id });
        let node = self.node(link.learner);
        if node.peer.is_none() {
            return;
        }
        if node.receiving.take().is_some() {
            let stored = self.reload(link.learner, None);
            self.step(link.learner, Input::Stored(stored));
        }
        if !self.links.iter().any(|other| other.learner == link.learner)
            && self.node(link.learner).dialling.is_none()
        {
            self.step(link.learner, Input::LeaderClosed);
        }
    }

    /// The tree is loaded from disk anew.
    fn reload(&mut self, sid: Sid, truncated: Option<i64>) -> Stored {
        let node = self.node(sid);
        node.tree = if node.disk.damaged { Tree::new() } else { node.disk.tree() };
        let recent = node.disk.recent(node.options.commit_log_count);
        match truncated {
            Some(_) => Stored::Truncated { last_zxid: node.disk.last(), recent },
            None => Stored::Void { last_zxid: (!node.disk.damaged).then(|| node.disk.last()), recent },
        }
    }

    pub fn disk(&mut self, sid: Sid) {
        let node = self.node(sid);
        let stored = match node.disk.queue.pop_front().unwrap() {
            Command::Store(Store::Append(Entry { zxid, payload })) => {
                assert!(node.disk.last() < zxid, "the log is in order");
                assert!(zxid::epoch(zxid) <= node.disk.current, "a record is ahead of currentEpoch");
                node.disk.log.push(Entry { zxid, payload });
                Stored::Durable { zxid }
            }
            Command::Store(Store::AcceptedEpoch { epoch }) => {
                assert!(epoch > node.disk.accepted, "acceptedEpoch rises");
                node.disk.accepted = epoch;
                Stored::AcceptedEpoch { epoch }
            }
            Command::Store(Store::CurrentEpoch { epoch }) => {
                assert!(epoch <= node.disk.accepted, "currentEpoch is one that was accepted");
                node.disk.current = epoch;
                Stored::CurrentEpoch { epoch }
            }
            Command::Store(Store::Truncate { zxid })
                if node.disk.snapshot.as_ref().is_some_and(|s| s.0 > zxid) =>
            {
                self.reload(sid, None)
            }
            Command::Store(Store::Truncate { zxid }) => {
                node.disk.log.retain(|entry| entry.zxid <= zxid);
                self.reload(sid, Some(zxid))
            }
            Command::Install { zxid, tree } => {
                node.disk.snapshot = Some((zxid, tree.clone()));
                node.disk.log.clear();
                node.disk.damaged = false;
                node.tree = tree;
                Stored::SnapshotInstalled { zxid }
            }
        };
        self.step(sid, Input::Stored(stored));
    }

    /// Lets everything happen that can, in a fixed order, and time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.quiesce();
            self.now_ms += 10;
            self.tick();
        }
        self.quiesce();
    }

    pub fn tick(&mut self) {
        for sid in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.step(sid, Input::Tick);
        }
    }

    pub fn quiesce(&mut self) {
        for _ in 0..20_000 {
            match self.events().first() {
                Some(event) => self.happen(*event),
                None => return,
            }
        }
        panic!("the world does not come to rest");
    }

    pub fn leader(&self) -> Option<Sid> {
        let leading = |node: &Node| matches!(node.role, Role::Leading { .. });
        let leaders = self.nodes.iter().filter(|(_, node)| node.peer.is_some() && leading(node));
        leaders.max_by_key(|(sid, _)| self.status(**sid).current_epoch).map(|(sid, _)| *sid)
    }

    /// One transaction at the leader, not yet carried anywhere.
    pub fn propose(&mut self) -> Option<i64> {
        self.next_value += 1;
        let value = self.next_value;
        self.propose_with(|zxid| (payload(zxid, value), None))
    }

    pub fn propose_config(&mut self, mut config: Config) -> Option<i64> {
        self.propose_with(|zxid| {
            config.version = zxid;
            let data = Some(Bytes::from(config.to_string()));
            let header = TxnHeader { client_id: 0, cxid: 0, zxid, time: 0, kind: kind::RECONFIG };
            let set = SetDataTxn { path: "/zookeeper/config".to_owned(), data, version: 0 };
            (encode_payload(&header, &Txn::SetData(set), None), Some(Box::new(config.clone())))
        })
    }

    fn propose_with(&mut self, make: impl FnOnce(i64) -> (Bytes, Option<Box<Config>>)) -> Option<i64> {
        let sid = self.leader()?;
        let zxid = self.status(sid).last_proposed + 1;
        let (payload, reconfig) = make(zxid);
        self.node(sid).proposed.insert(zxid, payload.clone());
        self.step(sid, Input::Propose { entry: Entry { zxid, payload }, reconfig });
        Some(zxid)
    }

    pub fn write(&mut self, count: usize) {
        for _ in 0..count {
            self.propose().expect("a leader");
            self.quiesce();
        }
    }

    /// CommittedLogDurability and liveness: everybody serves and has everything.
    pub fn assert_healed(&self) {
        let leader = self.leader().expect("liveness: a leader");
        for (sid, node) in self.nodes.iter().filter(|(_, node)| node.peer.is_some()) {
            let expected = match node.role {
                Role::Leading { .. } => *sid == leader,
                Role::Following { leader: of } | Role::Observing { leader: of } => of == leader,
                Role::Looking => false,
            };
            assert!(expected, "liveness: {sid} is {:?} {:?}", node.role, self.status(*sid));
            assert_eq!(node.tree, self.committed, "CommittedLogDurability: {sid}");
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Event {
    Disk(Sid),
    Inbox(Sid),
    Dial(Sid),
    Mesh(Sid, Sid),
    Up(LinkId),
    Down(LinkId),
    Closed(LinkId),
}
