//! One partition of `__consumer_offsets` that this broker leads: its shard, who waits for it, its timer.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_coordinator::{
    AppendError, AppendId, Effect, Loader, Now, Record, Reply, Shard, ShardStatus, Token,
};
use kafka_proto::ErrorCode;
use kafka_proto::records::validate::Origin;
use kafka_proto::records::{BatchBuilder, BatchOptions};
use kafka_replica::{Appended, Partition, ReplicaError, Waiter};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::{error, info};

use super::{Settings, load};
use crate::broker::Broker;
use crate::clock;
use crate::image::Map;
use crate::tasks::StopSignal;

/// A load that failed is tried again after this; until then clients hear COORDINATOR_LOAD_IN_PROGRESS.
const LOAD_RETRY: Duration = Duration::from_secs(10);

/// A led partition.
#[derive(Debug)]
pub(super) struct Led {
    broker: Weak<Broker>,
    partition: Arc<Partition>,
    settings: Arc<Settings>,
    state: Mutex<State>,
    /// An earlier deadline than the timer knows, or the end.
    wake: Notify,
}

#[derive(Debug)]
enum State {
    Loading,
    Active(Box<Active>),
    Closed,
}

#[derive(Debug)]
struct Active {
    shard: Shard,
    waiting: Map<Token, oneshot::Sender<Reply>>,
    next_token: u64,
    /// When the timer wakes.
    armed_ms: i64,
}

/// What appends leave to do once the lock is released.
#[derive(Default)]
struct Aftermath {
    /// Appends that wait for replicas or for a flush.
    unsettled: Vec<(AppendId, Appended)>,
    rolled: bool,
    failure: Option<ReplicaError>,
}

impl Led {
    pub fn new(broker: Weak<Broker>, partition: Arc<Partition>, settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self { broker, partition, settings, state: Mutex::new(State::Loading), wake: Notify::new() })
    }

    pub fn index(&self) -> i32 {
        self.partition.index()
    }

    pub fn status(&self) -> ShardStatus {
        match &*self.state.lock() {
            State::Loading => ShardStatus::Loading,
            State::Active(_) => ShardStatus::Active,
            State::Closed => ShardStatus::Elsewhere,
        }
    }

    /// Loads, then serves: at once where there is nothing to load.
    pub fn start(self: Arc<Self>, loads: Arc<Semaphore>) {
        let snapshot = self.partition.snapshot();
        if snapshot.log_start_offset == snapshot.log_end_offset {
            let nothing = Loader::new(self.index());
            return self.activate(nothing);
        }
        tokio::spawn(async move {
            while self.status() == ShardStatus::Loading {
                let Ok(permit) = loads.acquire().await else { return };
                let this = self.clone();
                let begun_ms = clock::mono_ms();
                let loaded = tokio::task::spawn_blocking(move || {
                    load::load(&this.partition, this.settings.load_buffer_bytes)
                })
                .await;
                drop(permit);
                match loaded {
                    Ok(Ok(loader)) => {
                        info!(
                            "{}: groups and offsets loaded in {} ms",
                            self.partition.name(),
                            clock::mono_ms() - begun_ms
                        );
                        self.clone().activate(loader);
                        return;
                    }
                    Ok(Err(failure)) => self.report_failed_load(&failure),
                    Err(panic) => self.report_failed_load(&panic),
                }
                tokio::time::sleep(LOAD_RETRY).await;
            }
        });
    }

    fn report_failed_load(&self, failure: &dyn std::fmt::Display) {
        error!(
            "{}: groups and offsets cannot be loaded: {failure}; their clients wait, it is tried again in {} s",
            self.partition.name(),
            LOAD_RETRY.as_secs()
        );
    }

    fn activate(self: Arc<Self>, loader: Loader) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Loading) {
            return;
        }
        let mut effects = Vec::new();
        let shard = loader.finish(now(), self.settings.group.clone(), &mut effects);
        let armed_ms = shard.next_deadline();
        let mut active = Box::new(Active { shard, waiting: Map::default(), next_token: 0, armed_ms });
        let aftermath = self.run(&mut active, effects);
        *state = State::Active(active);
        drop(state);
        self.finish(aftermath);
        tokio::spawn(self.run_timer());
    }

    /// Ends with the partition's lead, or with the broker, which closes the partition.
    async fn run_timer(self: Arc<Self>) {
        let mut stop = self.broker.upgrade().map(|broker| broker.tasks.stop_signal());
        loop {
            let armed_ms = match &mut *self.state.lock() {
                State::Active(active) => {
                    active.armed_ms = active.shard.next_deadline();
                    active.armed_ms
                }
                State::Loading | State::Closed => return,
            };
            let wait_ms = u64::try_from(armed_ms.saturating_sub(now().mono_ms)).unwrap_or(0);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
                () = self.wake.notified() => continue,
                () = stopped(stop.as_mut()) => return self.close(),
            }
            let _ = self.act(|shard, now, effects| shard.on_tick(now, effects));
        }
    }

    /// The end: whoever waits is told that this is not the coordinator.
    pub fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Closed);
        self.wake.notify_one();
        if let State::Active(active) = state {
            let Active { shard, mut waiting, .. } = *active;
            let mut effects = Vec::new();
            shard.unload(now(), &mut effects);
            for effect in effects {
                if let Effect::Reply { token, reply } = effect {
                    answer(&mut waiting, token, reply);
                }
            }
            info!("{}: its groups are coordinated elsewhere now", self.partition.name());
        }
    }

    /// Looks at the shard.
    pub fn read<R>(&self, look: impl FnOnce(&Shard) -> R) -> Result<R, ErrorCode> {
        match &*self.state.lock() {
            State::Active(active) => Ok(look(&active.shard)),
            State::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            State::Closed => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Runs an operation that is answered at once.
    pub fn act<R>(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Shard, Now, &mut Vec<Effect>) -> R,
    ) -> Result<R, ErrorCode> {
        self.with_active(|active, effects| operation(&mut active.shard, now(), effects))
    }

    /// Runs an operation whose reply may come later.
    pub fn submit(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Shard, Now, Token, &mut Vec<Effect>),
    ) -> Result<oneshot::Receiver<Reply>, ErrorCode> {
        let (sender, receiver) = oneshot::channel();
        self.with_active(|active, effects| {
            let token = Token(active.next_token);
            active.next_token += 1;
            active.waiting.insert(token, sender);
            operation(&mut active.shard, now(), token, effects);
        })?;
        Ok(receiver)
    }

    fn with_active<R>(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Active, &mut Vec<Effect>) -> R,
    ) -> Result<R, ErrorCode> {
        let mut state = self.state.lock();
        let active = match &mut *state {
            State::Active(active) => active,
            State::Loading => return Err(ErrorCode::CoordinatorLoadInProgress),
            State::Closed => return Err(ErrorCode::NotCoordinator),
        };
        let mut effects = Vec::new();
        let result = operation(active, &mut effects);
        let aftermath = self.run(active, effects);
        if active.shard.next_deadline() < active.armed_ms {
            self.wake.notify_one();
        }
        drop(state);
        self.finish(aftermath);
        Ok(result)
    }

    /// Runs effects in order; appends that are acknowledged at once bring about more of them.
    fn run(&self, active: &mut Active, effects: Vec<Effect>) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Reply { token, reply } => answer(&mut active.waiting, token, reply),
                Effect::Append { id, timestamp_ms, records } => {
                    if let Some(outcome) = self.append(id, timestamp_ms, &records, &mut aftermath) {
                        let mut more = Vec::new();
                        active.shard.on_appended(now(), id, outcome, &mut more);
                        queue.extend(more);
                    }
                }
            }
        }
        aftermath
    }

    /// Appends a batch. `None`: the outcome comes later.
    fn append(
        &self,
        id: AppendId,
        timestamp_ms: i64,
        records: &[Record],
        aftermath: &mut Aftermath,
    ) -> Option<Result<i64, AppendError>> {
        let Some(batch) = build_batch(self.settings.compression, timestamp_ms, records) else {
            return Some(Err(AppendError::TooLarge));
        };
        let appended = clock::with_record_reader(|reader| {
            self.partition.append(&batch, Origin::Coordinator, true, timestamp_ms, reader)
        });
        match appended {
            Ok(Some(appended)) => {
                aftermath.rolled |= appended.rolled;
                if appended.acknowledged && !appended.flush_due {
                    return Some(Ok(appended.first_offset));
                }
                aftermath.unsettled.push((id, appended));
                None
            }
            Ok(None) => Some(Err(AppendError::Other)),
            Err(failure) => {
                let outcome = append_error(failure.code());
                if outcome != AppendError::NotLeader {
                    error!(
                        "{}: records of consumer groups cannot be appended: {failure}",
                        self.partition.name()
                    );
                }
                aftermath.failure = Some(failure);
                Some(Err(outcome))
            }
        }
    }

    /// What must not happen under the lock.
    fn finish(self: &Arc<Self>, aftermath: Aftermath) {
        let Some(broker) = self.broker.upgrade() else { return };
        if aftermath.rolled {
            broker.flush_soon(&self.partition);
        }
        if let Some(failure) = aftermath.failure {
            broker.on_replica_error(&self.partition, &failure);
        }
        for (id, appended) in aftermath.unsettled {
            let (this, broker) = (self.clone(), broker.clone());
            tokio::spawn(async move {
                if appended.flush_due {
                    broker.flush_now(&this.partition).await;
                }
                let outcome =
                    this.wait_for_replicas(appended.last_offset).await.map(|()| appended.first_offset);
                let _ =
                    this.with_active(|active, effects| active.shard.on_appended(now(), id, outcome, effects));
            });
        }
    }

    async fn wait_for_replicas(&self, last_offset: i64) -> Result<(), AppendError> {
        let waiter = Waiter::new(1);
        self.partition.watch_acks(last_offset, &waiter);
        // Early wake-ups and a lost lead both show in the check.
        let _ = tokio::time::timeout(self.settings.commit_timeout, waiter.wait()).await;
        waiter.abandon();
        match self.partition.check_acks(last_offset) {
            Ok(true) => Ok(()),
            Ok(false) => Err(AppendError::TimedOut),
            Err(failure) => Err(append_error(failure.code())),
        }
    }
}

async fn stopped(stop: Option<&mut StopSignal>) {
    match stop {
        Some(stop) => stop.stopped().await,
        None => std::future::pending().await,
    }
}

fn answer(waiting: &mut Map<Token, oneshot::Sender<Reply>>, token: Token, reply: Reply) {
    if let Some(sender) = waiting.remove(&token) {
        // The client may be gone.
        let _ = sender.send(reply);
    }
}

fn now() -> Now {
    Now { wall_ms: clock::wall_ms(), mono_ms: i64::try_from(clock::mono_ms()).unwrap_or(i64::MAX) }
}

fn build_batch(
    compression: kafka_proto::records::Compression,
    timestamp_ms: i64,
    records: &[Record],
) -> Option<Vec<u8>> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for record in records {
        builder.append(timestamp_ms, Some(&record.key), record.value.as_deref(), &[]).ok()?;
    }
    builder.finish().ok()
}

fn append_error(code: ErrorCode) -> AppendError {
    match code {
        ErrorCode::UnknownTopicOrPartition => AppendError::UnknownPartition,
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            AppendError::NotEnoughReplicas
        }
        ErrorCode::NotLeaderOrFollower => AppendError::NotLeader,
        ErrorCode::KafkaStorageError => AppendError::Storage,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => AppendError::TooLarge,
        ErrorCode::RequestTimedOut => AppendError::TimedOut,
        _ => AppendError::Other,
    }
}
