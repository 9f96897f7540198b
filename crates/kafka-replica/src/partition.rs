//! One partition: its log, its role, and those who wait for it.
//!
//! Invariants: only a leader appends and serves; the high watermark is the smallest log end of the in-sync replicas, so
//! with this broker alone in sync it is the log's end; it never goes back while the broker leads.

use std::sync::Arc;

use kafka_log::{AppendOrigin, Log, LogConfig, LogHandle};
use kafka_proto::records::validate::{Origin, TargetCompression, ValidateOptions, Validated, validate};
use kafka_proto::records::{Compression, NO_TIMESTAMP, RecordReader};
use parking_lot::{Mutex, RwLock};
use tracing::info;

use crate::error::ReplicaError;
use crate::waiter::{Waiter, Waiters};

mod list;
mod read;

pub use list::{FoundOffset, OffsetQuery};
pub use read::{EpochEnd, Isolation, ReadOutcome, ReadSpec};

/// No leader epoch given, or none known.
const NO_EPOCH: i32 = -1;

/// A replica on this broker.
#[derive(Debug)]
pub struct Partition {
    topic: Arc<str>,
    index: i32,
    broker_id: i32,
    /// Held for reading while the log is used in a role, so that a role never changes in the middle of an append.
    /// Taken before the log's own lock.
    role: RwLock<Role>,
    log: LogHandle,
    /// Fetches that wait for bytes.
    fetches: Waiters,
    /// Produces with acks −1 that wait for the high watermark.
    acks: Mutex<Vec<(i64, Arc<Waiter>)>>,
}

#[derive(Debug)]
enum Role {
    Offline,
    Leader { epoch: i32, isr: Vec<i32> },
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub first_offset: i64,
    pub last_offset: i64,
    /// −1 unless the topic's timestamps are append times.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// Bytes written; 0 for a batch that was sent before.
    pub bytes: usize,
    /// Whether every in-sync replica has it; if not, wait for the high watermark to pass `last_offset`.
    pub acknowledged: bool,
    /// `flush.messages` is reached: flush before acknowledging.
    pub flush_due: bool,
    /// A segment was finished: flush it soon.
    pub rolled: bool,
}

/// Offsets of a partition at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub log_start_offset: i64,
    pub high_watermark: i64,
    pub log_end_offset: i64,
    pub recovery_point: i64,
    pub size_bytes: u64,
}

impl Partition {
    /// A replica that leads nothing yet.
    pub fn new(topic: Arc<str>, index: i32, broker_id: i32, log: LogHandle) -> Arc<Self> {
        Arc::new(Self {
            topic,
            index,
            broker_id,
            role: RwLock::new(Role::Offline),
            log,
            fetches: Waiters::default(),
            acks: Mutex::default(),
        })
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub fn index(&self) -> i32 {
        self.index
    }

    /// `topic-partition`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.index)
    }

    /// The log itself, for its upkeep. Keep its lock short: appends wait meanwhile.
    pub fn log(&self) -> &LogHandle {
        &self.log
    }

    pub fn snapshot(&self) -> Snapshot {
        let log = self.log.lock();
        Snapshot {
            log_start_offset: log.log_start_offset(),
            high_watermark: log.high_watermark(),
            log_end_offset: log.log_end_offset(),
            recovery_point: log.recovery_point(),
            size_bytes: log.size_bytes(),
        }
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.log.lock().config().clone()
    }

    pub fn is_leader(&self) -> bool {
        matches!(*self.role.read(), Role::Leader { .. })
    }

    /// The leader's epoch and in-sync set.
    pub fn leadership(&self) -> Option<(i32, Vec<i32>)> {
        match &*self.role.read() {
            Role::Leader { epoch, isr } => Some((*epoch, isr.clone())),
            Role::Offline => None,
        }
    }

    /// Takes the lead, or learns a new epoch or in-sync set. An epoch below the current one changes nothing.
    ///
    /// # Errors
    /// The epoch's start could not be written; the replica stays in its role.
    pub fn become_leader(&self, epoch: i32, isr: Vec<i32>) -> Result<(), ReplicaError> {
        let mut role = self.role.write();
        let known = match &*role {
            Role::Leader { epoch, .. } => *epoch,
            Role::Offline => NO_EPOCH,
        };
        if epoch < known {
            return Ok(());
        }
        let mut log = self.log.lock();
        if epoch > known {
            log.assign_epoch_start(epoch)?;
            info!(
                "{}: leader starts at leader epoch {epoch} from offset {} with high watermark {} and ISR {isr:?}",
                self.name(),
                log.log_end_offset(),
                log.high_watermark()
            );
        }
        *role = Role::Leader { epoch, isr };
        let high_watermark = self.advance_high_watermark(&role, &mut log);
        drop(log);
        drop(role);
        self.fetches.release_all();
        self.complete_acks(high_watermark);
        Ok(())
    }

    /// Stops leading: whatever waits is woken to find out.
    pub fn resign(&self) {
        *self.role.write() = Role::Offline;
        self.fetches.release_all();
        self.acks.lock().drain(..).for_each(|(_, waiter)| waiter.release());
    }

    /// Checks `records` of a Produce request (or of the broker itself) against the topic's rules and appends them.
    /// `Ok(None)` if there is no whole batch in them.
    ///
    /// # Errors
    /// A refusal leaves the log as it was.
    pub fn append(
        &self,
        records: &[u8],
        origin: Origin,
        acks_all: bool,
        now_ms: i64,
        reader: &mut RecordReader,
    ) -> Result<Option<Appended>, ReplicaError> {
        let config = self.config();
        self.leader_epoch(&self.role.read(), acks_all, &config)?;
        // Checksums and decompression need no lock: producers of one partition meet only in the write.
        let options = self.validate_options(&config, origin, now_ms);
        let Some(valid) = validate(records, &options, reader)? else { return Ok(None) };
        self.append_validated(&valid, origin, acks_all, now_ms).map(Some)
    }

    /// The epoch to append in, if this broker may append at all.
    fn leader_epoch(&self, role: &Role, acks_all: bool, config: &LogConfig) -> Result<i32, ReplicaError> {
        let Role::Leader { epoch, isr } = role else { return Err(self.not_leader()) };
        let min = usize::try_from(config.min_insync_replicas).unwrap_or(0);
        if acks_all && isr.len() < min {
            return Err(ReplicaError::NotEnoughReplicas { partition: self.name(), isr: isr.clone(), min });
        }
        Ok(*epoch)
    }

    fn validate_options(&self, config: &LogConfig, origin: Origin, now_ms: i64) -> ValidateOptions<'_> {
        ValidateOptions {
            topic: &self.topic,
            partition: self.index,
            now_ms,
            origin,
            compacted: config.compact,
            compression: match Compression::from_name(&config.compression_type) {
                Some(codec) => TargetCompression::Codec(codec),
                None => TargetCompression::Producer,
            },
            timestamp_type: config.timestamp_type,
            timestamp_before_max_ms: config.timestamp_before_max_ms,
            timestamp_after_max_ms: config.timestamp_after_max_ms,
            message_bytes_max: config.max_message_bytes as usize,
        }
    }

    fn append_validated(
        &self,
        valid: &Validated<'_>,
        origin: Origin,
        acks_all: bool,
        now_ms: i64,
    ) -> Result<Appended, ReplicaError> {
        let origin = match origin {
            Origin::Client => AppendOrigin::Client,
            Origin::Coordinator => AppendOrigin::Coordinator,
        };
        let role = self.role.read();
        let mut log = self.log.lock();
        let epoch = self.leader_epoch(&role, acks_all, log.config())?;
        let info = log.append_as_leader(&valid.batch, epoch, origin, now_ms)?;
        let high_watermark = self.advance_high_watermark(&role, &mut log);
        drop(log);
        drop(role);
        if !info.duplicate {
            self.fetches.count(i64::try_from(info.bytes).unwrap_or(i64::MAX));
            self.complete_acks(high_watermark);
        }
        let append_time = if info.duplicate { info.max_timestamp } else { now_ms };
        Ok(Appended {
            first_offset: info.first_offset,
            last_offset: info.last_offset,
            log_append_time_ms: if valid.log_append_time.is_some() { append_time } else { NO_TIMESTAMP },
            log_start_offset: info.log_start_offset,
            bytes: info.bytes,
            acknowledged: high_watermark > info.last_offset,
            flush_due: info.flush_due,
            rolled: info.rolled,
        })
    }

    /// The smallest log end of the in-sync set. Another broker's log end is not known here: while one is in sync, the
    /// high watermark stays, until the controller takes it out.
    fn advance_high_watermark(&self, role: &Role, log: &mut Log) -> i64 {
        match role {
            Role::Leader { isr, .. } if isr.iter().all(|id| *id == self.broker_id) => {
                let end = log.log_end_offset();
                log.set_high_watermark(end)
            }
            _ => log.high_watermark(),
        }
    }

    fn complete_acks(&self, high_watermark: i64) {
        let mut acks = self.acks.lock();
        if acks.is_empty() {
            return;
        }
        acks.retain(|(offset, waiter)| {
            let waits = *offset >= high_watermark;
            if !waits {
                waiter.release();
            }
            waits
        });
    }

    /// Wakes `waiter` as bytes arrive. Register first, read second, wait third.
    pub fn watch_bytes(&self, waiter: &Arc<Waiter>) {
        self.fetches.add(waiter);
    }

    /// Releases `waiter` once the high watermark has passed `offset`, or the broker stops leading.
    pub fn watch_acks(&self, offset: i64, waiter: &Arc<Waiter>) {
        self.acks.lock().push((offset, waiter.clone()));
        if !matches!(self.check_acks(offset), Ok(false)) {
            waiter.release();
            self.unwatch_acks(waiter);
        }
    }

    /// Gives up waiting.
    pub fn unwatch_acks(&self, waiter: &Arc<Waiter>) {
        self.acks.lock().retain(|(_, other)| !Arc::ptr_eq(other, waiter));
    }

    /// Whether what was appended at `offset` with acks −1 is on enough replicas by now.
    ///
    /// # Errors
    /// `NotLeader` if the lead was lost meanwhile, `NotEnoughReplicas` if the in-sync set has become too small: callers
    /// answer NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    pub fn check_acks(&self, offset: i64) -> Result<bool, ReplicaError> {
        let role = self.role.read();
        let log = self.log.lock();
        if matches!(*role, Role::Offline) {
            return Err(self.not_leader());
        }
        if log.high_watermark() <= offset {
            return Ok(false);
        }
        self.leader_epoch(&role, true, log.config()).map(|_| true)
    }

    /// Moves the log start to `offset` (−1: the high watermark); returns the new log start.
    pub fn delete_records_before(&self, offset: i64) -> Result<i64, ReplicaError> {
        let role = self.role.read();
        self.check_leader(&role, NO_EPOCH)?;
        let mut log = self.log.lock();
        if !log.config().delete {
            return Err(ReplicaError::NotDeletable { partition: self.name() });
        }
        let offset = if offset == -1 { log.high_watermark() } else { offset };
        let log_start = log.delete_records_before(offset)?;
        drop(log);
        drop(role);
        self.fetches.release_all();
        Ok(log_start)
    }

    fn not_leader(&self) -> ReplicaError {
        ReplicaError::NotLeader { partition: self.name() }
    }

    /// The current epoch, if this broker leads, at the epoch the client believes in (−1: it does not say; KIP-320).
    fn check_leader(&self, role: &Role, requested: i32) -> Result<i32, ReplicaError> {
        let Role::Leader { epoch, .. } = role else { return Err(self.not_leader()) };
        let current = *epoch;
        match requested {
            NO_EPOCH => Ok(current),
            _ if requested < current => {
                Err(ReplicaError::FencedEpoch { partition: self.name(), requested, current })
            }
            _ if requested > current => {
                Err(ReplicaError::UnknownEpoch { partition: self.name(), requested, current })
            }
            _ => Ok(current),
        }
    }
}

#[cfg(test)]
mod tests;
