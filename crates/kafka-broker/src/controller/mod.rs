//! Drives the controller's core: ZooKeeper answers, watches and time go in, its effects are carried out in their order.
//!
//! One task owns the core and the session. Effects for this broker (LeaderAndIsr, UpdateMetadata, StopReplica) are applied
//! directly (`apply`); for other brokers there is no network path yet, and none is admitted to the cluster. The task also
//! takes up a new session after an expiry: registered again first, as `KafkaServer` does, then elected again.

mod apply;
mod config_changes;
mod zk_ops;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kafka_controller::zk::ZkResult;
use kafka_controller::zkdata::path;
use kafka_controller::{Controller, ControllerConfig, Effect, Event, Phase, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};
use zk_client::{EventKind, Events, KeeperState, WatchEvent};

use crate::broker::Broker;
use crate::clock;
use crate::config::{Listener, Release};
use crate::last_session::LastSession;
use crate::registration;
use crate::startup::{self, StartError};
use crate::tasks::StopSignal;

const TICK: Duration = Duration::from_millis(250);
/// How long a start waits for the first metadata.
const FIRST_METADATA_WAIT: Duration = Duration::from_secs(30);
/// Pause between attempts at a new session.
const RECONNECT_EVERY: Duration = Duration::from_secs(1);

/// The task's state.
struct Shell {
    broker: Arc<Broker>,
    controller: Controller,
    events: Events,
    answers: mpsc::UnboundedSender<(u64, Token, ZkResult)>,
    /// Counts sessions: answers of an earlier one are dropped.
    session: u64,
    changes: config_changes::ConfigChanges,
    advertised: Vec<Listener>,
    stop: StopSignal,
    /// Told once when the controller is in office and has nothing left to do: leaders are in place then.
    ready: Option<oneshot::Sender<()>>,
}

/// Starts the task and waits until the leaders are in place.
pub async fn start(
    broker: &Arc<Broker>,
    events: Events,
    advertised: Vec<Listener>,
) -> Result<(), StartError> {
    // Bounded by the core: it keeps at most `zk_requests_in_flight_max` operations under way.
    let (answers, incoming) = mpsc::unbounded_channel();
    let (ready, is_ready) = oneshot::channel();
    let shell = Shell {
        controller: Controller::new(config(broker), fastrand::u64(..)),
        broker: broker.clone(),
        events,
        answers,
        session: 0,
        changes: config_changes::ConfigChanges::default(),
        advertised,
        stop: broker.tasks.stop_signal(),
        ready: Some(ready),
    };
    broker.tasks.spawn(shell.run(incoming));
    if tokio::time::timeout(FIRST_METADATA_WAIT, is_ready).await.is_err() {
        warn!(
            "no controller is in office after {} s; serving requests all the same",
            FIRST_METADATA_WAIT.as_secs()
        );
    }
    Ok(())
}

fn config(broker: &Broker) -> ControllerConfig {
    let base = match broker.config.release {
        Release::V2_7 => ControllerConfig::kafka_2_7(broker.id),
        Release::V3_9 => ControllerConfig::kafka_3_9(broker.id),
    };
    ControllerConfig {
        delete_topic_enable: broker.config.delete_topics,
        unclean_leader_election_enable: broker.config.topic_defaults.unclean_leader_election_enable,
        // Pipelining costs our client nothing; Kafka's default of 10 would make thousands of partitions slow.
        zk_requests_in_flight_max: 256,
        ..base
    }
}

impl Shell {
    async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<(u64, Token, ZkResult)>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.step(Event::SessionEstablished).await;
        self.changes.watch(&self.broker).await;
        loop {
            // Answers before watches before time: the order in which they come from one server hardly matters to the
            // core, which reads again whatever a watch is about.
            tokio::select! {
                biased;
                () = self.stop.stopped() => return,
                answer = incoming.recv() => {
                    if let Some((session, token, result)) = answer && session == self.session {
                        self.step(Event::Zk { token, result }).await;
                    }
                }
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => self.take_up_new_session().await,
                },
                _ = ticks.tick() => self.step(Event::Tick).await,
            }
        }
    }

    async fn on_event(&mut self, event: WatchEvent) {
        match (event.kind, event.state) {
            (EventKind::None, KeeperState::Expired | KeeperState::Closed | KeeperState::AuthFailed) => {
                self.take_up_new_session().await
            }
            (EventKind::None, KeeperState::SyncConnected) => {
                self.step(Event::Connected).await;
                self.changes.watch(&self.broker).await;
            }
            (EventKind::None, state) => info!("ZooKeeper session state: {state:?}"),
            _ if event.path == path::CONFIG_CHANGES => self.changes.watch(&self.broker).await,
            _ => self.step(Event::Watch { path: event.path }).await,
        }
    }

    /// The session is over: everything bound to it is gone. Connects, registers and goes on with a new one.
    async fn take_up_new_session(&mut self) {
        if self.stop.is_stopped() {
            return;
        }
        warn!("the ZooKeeper session expired; registering anew");
        self.session += 1;
        self.step(Event::SessionExpired).await;
        loop {
            match self.reconnect().await {
                Ok(()) => break,
                Err(failure) => error!("cannot take up a new ZooKeeper session: {failure}; trying again"),
            }
            tokio::select! {
                () = self.stop.stopped() => return,
                () = tokio::time::sleep(RECONNECT_EVERY) => {}
            }
        }
        self.step(Event::SessionEstablished).await;
        self.changes.watch(&self.broker).await;
    }

    async fn reconnect(&mut self) -> Result<(), StartError> {
        let (zk, events) = startup::connect(&self.broker.config.zookeeper).await?;
        registration::register(&zk, self.broker.id, &self.broker.config, &self.advertised).await?;
        LastSession::in_dir(&self.broker.config.logs.dirs[0]).note(&zk.session());
        self.broker.set_zk(zk);
        self.events = events;
        Ok(())
    }

    /// Feeds the core and carries out what it decides, including what that leads to.
    async fn step(&mut self, event: Event) {
        let mut inputs = VecDeque::from([event]);
        while let Some(event) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.controller.step(clock::wall_ms(), event, &mut effects);
            for effect in effects {
                inputs.extend(self.carry_out(effect).await);
            }
        }
        if self.controller.phase() == Phase::Active
            && self.controller.is_idle()
            && let Some(ready) = self.ready.take()
        {
            // Nobody listens after a start that took too long.
            let _ = ready.send(());
        }
    }

    /// Some effects are answered at once.
    async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Zk { token, op } => {
                let (answers, session) = (self.answers.clone(), self.session);
                // Queued here, in order; only the waiting is done elsewhere.
                let reply = zk_ops::send(&self.broker.zk(), op);
                tokio::spawn(async move {
                    // A closed channel: the broker stops.
                    let _ = answers.send((session, token, reply.await));
                });
            }
            Effect::ControllerChanged { id } => self.broker.update_image(|image| image.controller_id = id),
            Effect::LeaderAndIsr { broker, partitions, .. } if broker == self.broker.id => {
                apply::leader_and_isr(&self.broker, partitions).await
            }
            Effect::UpdateMetadata { brokers, live_brokers, partitions, .. }
                if brokers.contains(&self.broker.id) =>
            {
                apply::update_metadata(&self.broker, live_brokers, partitions);
            }
            Effect::StopReplica { token, broker, partitions, .. } if broker == self.broker.id => {
                let failed = apply::stop_replicas(&self.broker, partitions).await;
                return Some(Event::ReplicasStopped { token, failed });
            }
            Effect::ForeignBrokers { ids } => error!(
                "brokers {ids:?} have joined this ensemble: this release runs one broker in a cluster and cannot lead them; stop them, or give them a chroot of their own in zookeeper.connect"
            ),
            Effect::LeaderAndIsr { .. } | Effect::UpdateMetadata { .. } | Effect::StopReplica { .. } => {}
        }
        None
    }
}
