//! A model of ZooKeeper and of brokers, for tests: znodes with versions, sessions, watches, and every way a request or
//! its answer can get lost. One seed is one history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::zk::{ZkError, ZkFailure, ZkOp, ZkReply, ZkResult, ZkStat, ZkWrite};
use crate::zkdata::{
    BrokerRegistration, Endpoint, PartitionState, TopicAssignment, controller_epoch_decode, path,
};
use crate::{Controller, ControllerConfig, Effect, Event, TopicPartition};

#[derive(Debug, Clone)]
pub(crate) struct Znode {
    pub data: Option<Vec<u8>>,
    pub version: i32,
    pub czxid: i64,
    pub owner: Option<u64>,
}

/// Znodes, sessions and watches.
#[derive(Debug, Default)]
pub(crate) struct Zoo {
    pub nodes: BTreeMap<String, Znode>,
    zxid: i64,
    sessions: BTreeSet<u64>,
    next_session: u64,
    node_watches: BTreeSet<(u64, String)>,
    child_watches: BTreeSet<(u64, String)>,
    /// Watches that fired and are on their way.
    fired: VecDeque<(u64, String)>,
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

impl Zoo {
    pub fn new() -> Zoo {
        let mut zoo = Zoo::default();
        for path in path::PERSISTENT {
            zoo.make_path(path);
        }
        zoo.make_path("/config/topics");
        zoo
    }

    fn make_path(&mut self, path: &str) {
        let mut at = String::new();
        for part in path.split('/').skip(1) {
            at = format!("{at}/{part}");
            if !self.nodes.contains_key(&at) {
                self.apply(None, &ZkWrite::Create { path: at.clone(), data: None, ephemeral: false })
                    .unwrap();
            }
        }
    }

    pub fn open_session(&mut self) -> u64 {
        self.next_session += 1;
        self.sessions.insert(self.next_session);
        self.next_session
    }

    pub fn expire(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.node_watches.retain(|(s, _)| *s != session);
        self.child_watches.retain(|(s, _)| *s != session);
        self.fired.retain(|(s, _)| *s != session);
        let owned: Vec<String> =
            self.nodes.iter().filter(|(_, n)| n.owner == Some(session)).map(|(p, _)| p.clone()).collect();
        for path in owned {
            self.apply(None, &ZkWrite::Delete { path, version: -1 }).unwrap();
        }
    }

    pub fn data(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(path).and_then(|n| n.data.as_deref())
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let below = self.nodes.range(prefix.clone()..).take_while(|(p, _)| p.starts_with(&prefix));
        below.map(|(p, _)| p[prefix.len()..].to_string()).filter(|name| !name.contains('/')).collect()
    }

    /// A write by somebody outside.
    pub fn write(&mut self, write: ZkWrite) -> Result<(), ZkError> {
        self.apply(None, &write).map(drop)
    }

    pub fn run(&mut self, session: u64, op: &ZkOp) -> ZkResult {
        if !self.sessions.contains(&session) {
            return Err(ZkError::SessionExpired.into());
        }
        let stat = |node: &Znode| ZkStat { version: node.version, czxid: node.czxid };
        match op {
            ZkOp::Exists { path, watch } => {
                if *watch {
                    self.node_watches.insert((session, path.clone()));
                }
                self.nodes.get(path).map(|n| ZkReply::Exists(stat(n))).ok_or(ZkError::NoNode.into())
            }
            ZkOp::GetData { path, watch } => {
                let node = self.nodes.get(path).ok_or(ZkError::NoNode)?;
                if *watch {
                    self.node_watches.insert((session, path.clone()));
                }
                Ok(ZkReply::Data { data: node.data.clone(), stat: stat(node) })
            }
            ZkOp::GetChildren { path, watch } => {
                if !self.nodes.contains_key(path) {
                    return Err(ZkError::NoNode.into());
                }
                if *watch {
                    self.child_watches.insert((session, path.clone()));
                }
                Ok(ZkReply::Children(self.children(path)))
            }
            ZkOp::Write(writes) => self.multi(session, writes),
        }
    }

    fn multi(&mut self, session: u64, writes: &[ZkWrite]) -> ZkResult {
        let (nodes, fired) = (self.nodes.clone(), self.fired.clone());
        let watches = (self.node_watches.clone(), self.child_watches.clone());
        let mut stats = Vec::new();
        for (index, write) in writes.iter().enumerate() {
            match self.apply(Some(session), write) {
                Ok(stat) => stats.push(stat),
                Err(error) => {
                    (self.nodes, self.fired) = (nodes, fired);
                    (self.node_watches, self.child_watches) = watches;
                    return Err(ZkFailure { error, op_index: Some(index) });
                }
            }
        }
        Ok(ZkReply::Written(stats))
    }

    fn apply(&mut self, session: Option<u64>, write: &ZkWrite) -> Result<Option<ZkStat>, ZkError> {
        self.zxid += 1;
        let zxid = self.zxid;
        match write {
            ZkWrite::Create { path, data, ephemeral } => {
                if self.nodes.contains_key(path) {
                    return Err(ZkError::NodeExists);
                }
                if parent(path) != "/" && !self.nodes.contains_key(parent(path)) {
                    return Err(ZkError::NoNode);
                }
                let owner = ephemeral.then(|| session.unwrap());
                self.nodes.insert(path.clone(), Znode { data: data.clone(), version: 0, czxid: zxid, owner });
                self.fire(path, true);
                Ok(None)
            }
            ZkWrite::SetData { path, data, version } => {
                let node = self.nodes.get_mut(path).ok_or(ZkError::NoNode)?;
                if *version != -1 && *version != node.version {
                    return Err(ZkError::BadVersion);
                }
                check_state_write(path, node.data.as_deref(), data);
                node.data = Some(data.clone());
                node.version += 1;
                let stat = ZkStat { version: node.version, czxid: node.czxid };
                self.fire(path, false);
                Ok(Some(stat))
            }
            ZkWrite::Delete { path, version } => {
                let node = self.nodes.get(path).ok_or(ZkError::NoNode)?;
                if *version != -1 && *version != node.version {
                    return Err(ZkError::BadVersion);
                }
                if !self.children(path).is_empty() {
                    return Err(ZkError::NotEmpty);
                }
                self.nodes.remove(path);
                self.fire(path, true);
                Ok(None)
            }
            ZkWrite::Check { path, version } => match self.nodes.get(path) {
                None => Err(ZkError::NoNode),
                Some(node) if node.version != *version => Err(ZkError::BadVersion),
                Some(_) => Ok(None),
            },
        }
    }

    fn fire(&mut self, path: &str, parent_too: bool) {
        let mut hit: BTreeSet<(u64, String)> =
            self.node_watches.iter().filter(|(_, p)| p == path).cloned().collect();
        self.node_watches.retain(|(_, p)| p != path);
        if parent_too {
            let of = parent(path).to_string();
            hit.extend(self.child_watches.iter().filter(|(_, p)| *p == of || p == path).cloned());
            self.child_watches.retain(|(_, p)| *p != of && p != path);
        }
        self.fired.extend(hit);
    }
}

/// Every change of a state by a controller raises the leader epoch by one; a leader that changes its ISR leaves the epoch
/// alone. The controller epoch never goes down.
fn check_state_write(path: &str, old: Option<&[u8]>, new: &[u8]) {
    if !path.ends_with("/state") {
        return;
    }
    let (old, new) = (PartitionState::decode(old.unwrap()).unwrap(), PartitionState::decode(new).unwrap());
    let by_leader = new.leader_epoch == old.leader_epoch && new.leader == old.leader;
    assert!(by_leader || new.leader_epoch == old.leader_epoch + 1, "{path}: {old:?} -> {new:?}");
    assert!(new.controller_epoch >= old.controller_epoch, "{path}: {old:?} -> {new:?}");
    assert!(!new.isr.is_empty() && (new.leader == -1 || new.isr.contains(&new.leader)), "{path}: {new:?}");
}

/// One broker: its controller and its line to ZooKeeper.
pub(crate) struct Broker {
    pub id: i32,
    pub controller: Controller,
    pub session: Option<u64>,
    pub requests: VecDeque<(u64, ZkOp)>,
    events: VecDeque<Event>,
    /// Highest controller epoch it has heard of; lower ones are refused.
    controller_epoch: i32,
    /// What LeaderAndIsr told it.
    pub replicas: BTreeMap<TopicPartition, (i32, i32)>,
}

/// A cluster and everything that may befall it.
pub(crate) struct Cluster {
    pub zoo: Zoo,
    pub brokers: Vec<Broker>,
    pub random: fastrand::Rng,
    pub now_ms: i64,
    pub foreign: BTreeSet<i32>,
}

pub(crate) fn registration() -> BrokerRegistration {
    BrokerRegistration {
        version: 5,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".into(),
            host: "h".into(),
            port: 9092,
            security_protocol: "PLAINTEXT".into(),
        }],
        rack: None,
        jmx_port: -1,
        features: BTreeMap::new(),
        timestamp_ms: 0,
    }
}

impl Cluster {
    pub fn new(brokers: i32, seed: u64, configure: impl Fn(i32) -> ControllerConfig) -> Cluster {
        let of = |id| Broker {
            id,
            controller: Controller::new(configure(id), seed + id as u64),
            session: None,
            requests: VecDeque::new(),
            events: VecDeque::new(),
            controller_epoch: 0,
            replicas: BTreeMap::new(),
        };
        Cluster {
            zoo: Zoo::new(),
            brokers: (0..brokers).map(of).collect(),
            random: fastrand::Rng::with_seed(seed),
            now_ms: 1_000_000,
            foreign: BTreeSet::new(),
        }
    }

    /// Opens a session and registers the broker, as the shell does.
    pub fn connect(&mut self, index: usize) {
        let id = self.brokers[index].id;
        let session = self.zoo.open_session();
        let create =
            ZkWrite::Create { path: path::broker(id), data: Some(registration().encode()), ephemeral: true };
        self.zoo.run(session, &ZkOp::Write(vec![create])).unwrap();
        self.brokers[index].session = Some(session);
        self.brokers[index].events.push_back(Event::SessionEstablished);
    }

    /// The session dies at the server, and later the broker hears of it. What it sent before may have been carried out.
    pub fn expire(&mut self, index: usize) {
        let Some(session) = self.brokers[index].session.take() else { return };
        for _ in 0..self.random.usize(..=self.brokers[index].requests.len()) {
            let (_, op) = self.brokers[index].requests.pop_front().unwrap();
            let _ = self.zoo.run(session, &op);
        }
        self.zoo.expire(session);
        let broker = &mut self.brokers[index];
        broker.requests.clear();
        broker.events.clear();
        broker.replicas.clear();
        broker.events.push_back(Event::SessionExpired);
    }

    /// The connection breaks within the session: some requests are carried out, no answer arrives.
    pub fn disconnect(&mut self, index: usize) {
        let Some(session) = self.brokers[index].session else { return };
        let carried_out = self.random.usize(..=self.brokers[index].requests.len());
        for n in 0..self.brokers[index].requests.len() {
            let (token, op) = self.brokers[index].requests.pop_front().unwrap();
            if n < carried_out {
                let _ = self.zoo.run(session, &op);
            }
            self.brokers[index]
                .events
                .push_back(Event::Zk { token, result: Err(ZkError::ConnectionLoss.into()) });
        }
        let after = if self.random.bool() { Event::Connected } else { Event::Tick };
        self.brokers[index].events.push_back(after);
    }

    /// ZooKeeper carries out the next request of a broker.
    pub fn serve(&mut self, index: usize) -> bool {
        let Some(session) = self.brokers[index].session else { return false };
        let Some((token, op)) = self.brokers[index].requests.pop_front() else { return false };
        let result = self.zoo.run(session, &op);
        self.deliver_watches();
        self.brokers[index].events.push_back(Event::Zk { token, result });
        true
    }

    /// Watches reach a client before the answers to what it asks later.
    pub fn deliver_watches(&mut self) {
        while let Some((session, path)) = self.zoo.fired.pop_front() {
            if let Some(broker) = self.brokers.iter_mut().find(|b| b.session == Some(session)) {
                broker.events.push_back(Event::Watch { path });
            }
        }
    }

    /// A broker takes in its next event.
    pub fn hear(&mut self, index: usize) -> bool {
        let Some(event) = self.brokers[index].events.pop_front() else { return false };
        self.now_ms += self.random.i64(0..300);
        let mut effects = Vec::new();
        self.brokers[index].controller.step(self.now_ms, event, &mut effects);
        self.brokers[index].controller.check();
        for effect in effects {
            self.carry_out(index, effect);
        }
        self.check_one_office();
        true
    }

    /// Two controllers may believe in themselves, but only one with the epoch that lets it write.
    fn check_one_office(&self) {
        let epoch = self.zoo.data(path::CONTROLLER_EPOCH).map(|d| controller_epoch_decode(d).unwrap());
        let office =
            self.brokers.iter().filter(|b| b.controller.is_elected() && Some(b.controller.epoch()) == epoch);
        assert!(office.count() <= 1, "two controllers of epoch {epoch:?}");
    }

    /// A leader drops a follower from its ISR behind the controller's back.
    pub fn shrink_isr(&mut self, topic: &str, partition: i32) {
        let Some(mut state) = self.state(topic, partition) else { return };
        state.isr.retain(|id| *id == state.leader || self.random.bool());
        if state.leader >= 0 {
            let path = path::partition_state(topic, partition);
            self.zoo.write(ZkWrite::SetData { path, data: state.encode(), version: -1 }).unwrap();
        }
    }

    pub fn tick(&mut self, index: usize) {
        self.brokers[index].events.push_back(Event::Tick);
    }

    fn carry_out(&mut self, from: usize, effect: Effect) {
        match effect {
            Effect::Zk { token, op } => {
                if self.brokers[from].session.is_some() {
                    self.brokers[from].requests.push_back((token, op));
                }
            }
            Effect::LeaderAndIsr { broker, controller_epoch, partitions, .. } => {
                let Some(target) = self.alive(broker, controller_epoch) else { return };
                for decision in partitions {
                    assert!(decision.leader >= -1 && decision.assignment.replicas.contains(&broker));
                    let known = target.replicas.insert(
                        decision.partition.clone(),
                        (decision.controller_epoch, decision.leader_epoch),
                    );
                    if let Some((_, leader_epoch)) = known {
                        // A topic that was deleted and created again starts over with isNew.
                        assert!(
                            decision.leader_epoch >= leader_epoch || decision.is_new,
                            "{} goes back",
                            decision.partition
                        );
                    }
                }
            }
            Effect::StopReplica { token, broker, controller_epoch, partitions, .. } => {
                let Some(target) = self.alive(broker, controller_epoch) else { return };
                for stopped in partitions {
                    assert!(stopped.delete && stopped.leader_epoch == -2);
                    target.replicas.remove(&stopped.partition);
                }
                self.brokers[from].events.push_back(Event::ReplicasStopped { token, failed: Vec::new() });
            }
            Effect::UpdateMetadata { live_brokers, partitions, .. } => {
                assert!(partitions.iter().all(|d| d.leader < 0
                    || live_brokers.iter().any(|b| b.id == d.leader)
                    || d.offline_replicas.contains(&d.leader)));
            }
            Effect::ForeignBrokers { ids } => self.foreign.extend(ids),
            Effect::ControllerChanged { id } => assert_eq!(id, self.brokers[from].controller.controller_id()),
        }
    }

    fn alive(&mut self, id: i32, controller_epoch: i32) -> Option<&mut Broker> {
        let broker = self.brokers.iter_mut().find(|b| b.id == id)?;
        if broker.session.is_none() || controller_epoch < broker.controller_epoch {
            return None;
        }
        broker.controller_epoch = controller_epoch;
        Some(broker)
    }

    pub fn create_topic(&mut self, name: &str, replicas: Vec<Vec<i32>>) -> bool {
        let data = TopicAssignment::new(None, replicas).encode(2);
        let created = self
            .zoo
            .write(ZkWrite::Create { path: path::topic(name), data: Some(data), ephemeral: false })
            .is_ok();
        self.deliver_watches();
        created
    }

    pub fn add_partition(&mut self, name: &str, replicas: Vec<i32>) {
        let Some(mut topic) = self.zoo.data(&path::topic(name)).map(|d| TopicAssignment::decode(d).unwrap())
        else {
            return;
        };
        topic.partitions.insert(topic.partitions.len() as i32, replicas.into());
        self.zoo
            .write(ZkWrite::SetData { path: path::topic(name), data: topic.encode(3), version: -1 })
            .unwrap();
        self.deliver_watches();
    }

    pub fn delete_topic(&mut self, name: &str) {
        let _ =
            self.zoo.write(ZkWrite::Create { path: path::delete_topic(name), data: None, ephemeral: false });
        self.deliver_watches();
    }

    pub fn state(&self, topic: &str, partition: i32) -> Option<PartitionState> {
        self.zoo.data(&path::partition_state(topic, partition)).map(|d| PartitionState::decode(d).unwrap())
    }

    /// Lets everything that is under way come to rest, without faults. Fails if it never does.
    pub fn settle(&mut self) {
        for round in 0..20_000 {
            let mut busy = false;
            for index in 0..self.brokers.len() {
                busy |= self.serve(index) | self.hear(index);
            }
            if busy {
                continue;
            }
            let waiting = (0..self.brokers.len())
                .filter(|i| self.brokers[*i].controller.next_deadline_ms().is_some())
                .collect::<Vec<_>>();
            if waiting.is_empty() {
                return;
            }
            assert!(round < 19_000, "something waits for ever");
            self.now_ms += 2_000;
            waiting.into_iter().for_each(|index| self.tick(index));
        }
        panic!("does not come to rest");
    }
}
