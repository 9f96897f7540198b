//! Brokers that come, go, bounce and change (`processBrokerChange`, `onBrokerStartup`, `onBrokerFailure`).

use super::Controller;
use super::run::{Flow, children, data, only};
use super::steps::Step;
use crate::context::PartitionStatus;
use crate::io::{Effect, LiveBroker};
use crate::zk::{ZkOp, ZkResult, ZkStat};
use crate::zkdata::{BrokerRegistration, path};

pub(super) fn brokers_operations(step: &Step) -> Vec<ZkOp> {
    let read = |id: &i32| ZkOp::GetData { path: path::broker(*id), watch: true };
    match step {
        Step::LoadBrokers { .. } => vec![ZkOp::GetChildren { path: path::BROKER_IDS.into(), watch: true }],
        Step::ReadBrokers { ids, .. } => ids.iter().map(read).collect(),
        Step::ReadBroker { id } => vec![read(id)],
        _ => Vec::new(),
    }
}

fn decode(id: i32, bytes: &[u8], stat: ZkStat) -> Option<LiveBroker> {
    match BrokerRegistration::decode(bytes) {
        Ok(registration) => Some(LiveBroker { id, epoch: stat.czxid, registration }),
        Err(error) => {
            tracing::error!(broker = id, "{error}; treating the broker as not alive");
            None
        }
    }
}

impl Controller {
    pub(super) fn brokers_complete(&mut self, step: Step, results: Vec<ZkResult>) -> Flow {
        match step {
            Step::LoadBrokers { initial } => {
                let ids = children(only(results))?.iter().filter_map(|name| name.parse().ok()).collect();
                self.next([Step::ReadBrokers { ids, initial }]);
            }
            Step::ReadBrokers { ids, initial } => {
                let mut current = Vec::new();
                for (id, result) in ids.into_iter().zip(results) {
                    if let Some((bytes, stat)) = data(result)? {
                        current.extend(decode(id, &bytes, stat));
                    }
                }
                self.on_brokers_read(current, initial);
            }
            Step::BrokersUp { brokers } => self.on_brokers_up(brokers),
            Step::BrokersDown { ids } => self.on_brokers_down(&ids),
            Step::ReadBroker { id } => {
                let read = data(only(results))?.and_then(|(bytes, stat)| decode(id, &bytes, stat));
                self.on_broker_changed(read);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_brokers_read(&mut self, current: Vec<LiveBroker>, initial: bool) {
        let foreign: Vec<i32> =
            current.iter().map(|b| b.id).filter(|id| *id != self.config.broker_id).collect();
        if !foreign.is_empty() && foreign != self.foreign {
            self.out.push(Effect::ForeignBrokers { ids: foreign.clone() });
        }
        self.foreign = foreign;
        if initial {
            self.context.brokers = current.into_iter().map(|b| (b.id, b)).collect();
            return;
        }
        let known = &self.context.brokers;
        let dead: Vec<i32> =
            known.keys().copied().filter(|id| !current.iter().any(|b| b.id == *id)).collect();
        let (mut new, mut bounced) = (Vec::new(), Vec::new());
        for broker in current {
            match known.get(&broker.id) {
                None => new.push(broker),
                // A higher czxid: it died and came back before we looked.
                Some(old) if broker.epoch > old.epoch => bounced.push(broker),
                Some(_) => {}
            }
        }
        tracing::info!(new = ?ids(&new), ?dead, bounced = ?ids(&bounced), "brokers changed");
        let mut steps = Vec::new();
        if !new.is_empty() {
            steps.push(Step::BrokersUp { brokers: new });
        }
        if !bounced.is_empty() {
            steps.extend([Step::BrokersDown { ids: ids(&bounced) }, Step::BrokersUp { brokers: bounced }]);
        }
        if !dead.is_empty() {
            steps.push(Step::BrokersDown { ids: dead });
        }
        self.next(steps);
    }

    fn on_brokers_up(&mut self, brokers: Vec<LiveBroker>) {
        let new = ids(&brokers);
        let others = self.context.brokers.keys().copied().filter(|id| !new.contains(id)).collect();
        self.context.brokers.extend(brokers.into_iter().map(|b| (b.id, b)));
        // The old ones learn of the new, the new ones of everything.
        self.push_metadata(others, Vec::new());
        let all = self.context.select(|_, _, partition| partition.leadership.is_some());
        let all = all.iter().filter_map(|tp| self.context.decision(tp, false)).collect();
        self.push_metadata(new.clone(), all);
        for broker in &new {
            for tp in self.context.partitions_on(*broker) {
                if self.context.partition(&tp).is_some_and(|p| p.leadership.is_some()) {
                    self.tell(&[*broker], &tp, false);
                }
            }
        }
        for topic in self.context.topics.values_mut() {
            let hosted =
                topic.partitions.values().any(|p| p.assignment.replicas.iter().any(|id| new.contains(id)));
            if let Some(deletion) = topic.deletion.as_mut().filter(|_| hosted) {
                deletion.ineligible = false;
            }
        }
        self.next([Step::TriggerOnline, Step::ResumeDeletions]);
    }

    fn on_brokers_down(&mut self, dead: &[i32]) {
        for id in dead {
            self.context.brokers.remove(id);
        }
        self.stopping.retain(|_, (broker, _)| !dead.contains(broker));
        let leaderless = self.context.select(|_, topic, partition| {
            topic.deletion.is_none()
                && partition.leadership.as_ref().is_some_and(|l| dead.contains(&l.state.leader))
        });
        for tp in &leaderless {
            if let Some(partition) = self.context.partition_mut(tp) {
                partition.status = PartitionStatus::Offline;
            }
        }
        for topic in self.context.topics.values_mut() {
            let hosted =
                topic.partitions.values().any(|p| p.assignment.replicas.iter().any(|id| dead.contains(id)));
            if let Some(deletion) = topic.deletion.as_mut().filter(|_| hosted) {
                *deletion = crate::context::Deletion { ineligible: true, ..Default::default() };
            }
        }
        let mut steps = vec![Step::TriggerOnline];
        for id in dead {
            let partitions = self.context.partitions_on(*id);
            if !partitions.is_empty() {
                steps.push(Step::ShrinkIsr { broker: *id, partitions });
            }
        }
        self.announce();
        self.next(steps);
    }

    fn on_broker_changed(&mut self, read: Option<LiveBroker>) {
        let Some(read) = read else { return };
        let Some(known) = self.context.brokers.get_mut(&read.id) else { return };
        // Another epoch is a bounce, which the watch on the children reports.
        if known.epoch == read.epoch && known.registration != read.registration {
            tracing::info!(broker = read.id, "broker changed its registration");
            known.registration = read.registration;
            self.announce();
        }
    }
}

fn ids(brokers: &[LiveBroker]) -> Vec<i32> {
    brokers.iter().map(|b| b.id).collect()
}
