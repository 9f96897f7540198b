//! The thread that owns the transaction log: it appends everything queued, syncs once, and reports.
//!
//! Group commit needs no timer: while one fsync runs, the next batch collects. Other commands for the disk stand in the
//! same queue; what was appended before one of them is synced and reported first. The invariant: a zxid is reported
//! durable only after the fsync that covers it, and after an error nothing is reported any more.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;
use zk_node::Durable;
use zk_proto::quorum::Config;
use zk_store::StoreError;
use zk_tree::Tree;
use zk_zab::Stored;

use crate::disk::Disk;

/// Reports waiting for the node; one per fsync, so a few are plenty.
const REPORTS_MAX: usize = 64;

/// Work for the log, in order.
#[derive(Debug)]
pub(crate) enum LogCommand {
    Append {
        zxid: i64,
        payload: Bytes,
    },
    /// End the current file.
    Roll,
    AcceptedEpoch {
        epoch: i64,
    },
    CurrentEpoch {
        epoch: i64,
    },
    /// Remove what is logged behind that zxid, and load the tree anew.
    Truncate {
        zxid: i64,
    },
    /// The leader's snapshot becomes the history; the tree comes back when it is.
    Install {
        zxid: i64,
        tree: Box<Tree>,
    },
    /// Load the tree anew.
    Reload,
    /// A configuration is proposed, or counts from now on: write it down.
    ConfigSeen(Box<Config>),
    ConfigActive(Box<Config>),
}

/// What the log says back.
#[derive(Debug)]
pub(crate) enum LogReport {
    Durable(Durable),
    /// An epoch is on disk.
    Stored(Stored),
    Reloaded {
        tree: Box<Tree>,
        stored: Stored,
    },
    Failed(StoreError),
}

/// How batches are formed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batching {
    pub(crate) max: usize,
    /// How long a batch that is not full waits for company.
    pub(crate) delay: Duration,
}

/// The way to the log thread. Bounded by the node, which stops reading clients with too much in flight.
#[derive(Clone)]
pub(crate) struct LogQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<LogCommand>,
    closed: bool,
}

impl LogQueue {
    /// Hands over commands; `commands` is left empty.
    pub(crate) fn push_all(&self, commands: &mut Vec<LogCommand>) {
        if commands.is_empty() {
            return;
        }
        let mut state = self.0.state.lock();
        if state.closed {
            // The server stops: nobody waits for what comes now.
            return commands.clear();
        }
        state.queue.extend(commands.drain(..));
        drop(state);
        self.0.work.notify_one();
    }

    /// Lets the thread end after what is queued.
    pub(crate) fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.work.notify_one();
    }

    /// Lets the thread end without what is queued.
    pub(crate) fn abandon(&self) {
        let mut state = self.0.state.lock();
        state.queue.clear();
        state.closed = true;
        drop(state);
        self.0.work.notify_one();
    }

    /// The next commands, at most `max`, in their order; `None` when closed and empty.
    fn take(&self, batching: Batching, into: &mut Vec<LogCommand>) -> Option<()> {
        let mut state = self.0.state.lock();
        while state.queue.is_empty() {
            if state.closed {
                return None;
            }
            self.0.work.wait(&mut state);
        }
        if !batching.delay.is_zero() && state.queue.len() < batching.max && !state.closed {
            self.0.work.wait_for(&mut state, batching.delay);
        }
        let count = state.queue.len().min(batching.max);
        into.extend(state.queue.drain(..count));
        Some(())
    }
}

/// Starts the thread; it ends when the queue is closed and empty, or with the first error.
pub(crate) fn start(
    disk: Disk,
    batching: Batching,
) -> Result<(LogQueue, mpsc::Receiver<LogReport>, JoinHandle<()>), io::Error> {
    let queue = LogQueue(Arc::default());
    let (reports, from_log) = mpsc::channel(REPORTS_MAX);
    let work = queue.clone();
    let thread = thread::Builder::new().name("zk-log".to_owned()).spawn(move || {
        let error = run(disk, &work, batching, &reports).err();
        if let Some(error) = error {
            // The node may be gone already; then nobody waits for the answer.
            let _ = reports.blocking_send(LogReport::Failed(error));
        }
    })?;
    Ok((queue, from_log, thread))
}

fn run(
    mut disk: Disk,
    work: &LogQueue,
    batching: Batching,
    reports: &mpsc::Sender<LogReport>,
) -> Result<(), StoreError> {
    let mut batch = Vec::new();
    let mut unsynced = Unsynced::default();
    while work.take(batching, &mut batch).is_some() {
        for command in batch.drain(..) {
            let report = match command {
                LogCommand::Append { zxid, payload } => {
                    disk.log().append(&payload)?;
                    unsynced = Unsynced { last: Some(zxid), count: unsynced.count + 1 };
                    continue;
                }
                LogCommand::Roll => {
                    disk.log().roll()?;
                    continue;
                }
                command => {
                    if !unsynced.sync(&mut disk, reports)? {
                        return Ok(());
                    }
                    disk.carry_out(command)?
                }
            };
            if let Some(report) = report
                && reports.blocking_send(report).is_err()
            {
                return Ok(());
            }
        }
        if !unsynced.sync(&mut disk, reports)? {
            return Ok(());
        }
    }
    Ok(())
}

/// What was appended since the last fsync.
#[derive(Default)]
struct Unsynced {
    last: Option<i64>,
    count: u64,
}

impl Unsynced {
    /// Syncs and reports, if there is anything; false if nobody listens any more.
    fn sync(&mut self, disk: &mut Disk, reports: &mpsc::Sender<LogReport>) -> Result<bool, StoreError> {
        let Self { last: Some(zxid), count } = std::mem::take(self) else { return Ok(true) };
        let report = disk.log().sync()?;
        let fsync_ms = u64::try_from(report.fsync.as_millis()).unwrap_or(u64::MAX);
        Ok(reports.blocking_send(LogReport::Durable(Durable { zxid, count, fsync_ms })).is_ok())
    }
}
