//! Opening all logs at start, several at a time, with a line of progress now and then.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

use super::{Entry, LogDirs};
use crate::config::LogConfig;
use crate::dir_files::CleanShutdown;
use crate::error::{LogError, Result};
use crate::log::Log;
use crate::names::{DirKind, TopicPartition, parse_dir_name};

/// How often a long start says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Tiered storage's cache, no partition.
const REMOTE_INDEX_CACHE: &str = "remote-log-index-cache";

/// What the directory's own files say about its logs.
struct Known {
    clean: bool,
    recovery_points: HashMap<TopicPartition, i64>,
    high_watermarks: HashMap<TopicPartition, i64>,
    log_starts: HashMap<TopicPartition, i64>,
}

impl LogDirs {
    /// Opens every log; `config` names the configuration of a topic. Directories marked for deletion are scheduled
    /// for removal.
    ///
    /// # Errors
    /// The first log that cannot be opened: its directory needs a person's attention.
    pub fn load(&self, config: impl Fn(&str) -> Arc<LogConfig> + Sync, now_ms: i64) -> Result<()> {
        let started = Instant::now();
        let mut total = 0;
        for dir in 0..self.dirs.len() {
            total += self.load_dir(dir, &config, now_ms)?;
        }
        info!("loaded {total} logs in {} ms", started.elapsed().as_millis());
        Ok(())
    }

    fn load_dir(
        &self,
        dir: usize,
        config: &(impl Fn(&str) -> Arc<LogConfig> + Sync),
        now_ms: i64,
    ) -> Result<usize> {
        let log_dir = &self.dirs[dir];
        let known = Known {
            clean: CleanShutdown::take(&log_dir.path)?,
            recovery_points: log_dir.recovery_points.read(),
            high_watermarks: log_dir.high_watermarks.read(),
            log_starts: log_dir.log_starts.read(),
        };
        let mut live = Vec::new();
        for (path, partition, kind) in list_partitions(&log_dir.path)? {
            match kind {
                DirKind::Live => live.push(partition),
                DirKind::Deleted => {
                    log_dir.schedule_removal(path, now_ms + config(&partition.topic).file_delete_delay_ms)
                }
                DirKind::Future | DirKind::Stray => {
                    warn!("leaving {} alone: moves between log directories are not resumed", path.display())
                }
            }
        }
        let checkpointed =
            known.recovery_points.keys().chain(known.log_starts.keys()).chain(known.high_watermarks.keys());
        let live_set: HashSet<&TopicPartition> = live.iter().collect();
        self.stale.lock().extend(checkpointed.filter(|p| !live_set.contains(p)).cloned());
        let how = if known.clean { "skipping recovery of" } else { "recovering" };
        if !live.is_empty() {
            info!(
                "{how} {} logs in {}, clean shutdown marker {}",
                live.len(),
                log_dir.path.display(),
                if known.clean { "found" } else { "not found" }
            );
        }
        self.open_all(dir, &live, &known, config, now_ms)?;
        Ok(live.len())
    }

    fn open_all(
        &self,
        dir: usize,
        partitions: &[TopicPartition],
        known: &Known,
        config: &(impl Fn(&str) -> Arc<LogConfig> + Sync),
        now_ms: i64,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<LogError>> = Mutex::new(None);
        let last_report = Mutex::new(Instant::now());
        let work = || {
            while failure.lock().is_none() {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(partition) = partitions.get(i) else { break };
                self.report(dir, i, partitions.len(), &last_report);
                match self.open_one(dir, partition, known, config(&partition.topic), now_ms) {
                    Ok(log) => {
                        let entry = Entry { dir, log: Arc::new(Mutex::new(log)) };
                        if self.logs.write().insert(partition.clone(), entry).is_some() {
                            *failure.lock() = Some(LogError::BadFile {
                                path: self.dirs[dir].path.join(partition.to_string()),
                                reason: "the same partition lies in two of log.dirs; remove one of them"
                                    .into(),
                            });
                        }
                    }
                    Err(e) => *failure.lock() = Some(e),
                }
            }
        };
        let threads = self.options.recovery_threads_per_dir.clamp(1, partitions.len().max(1));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().map_or(Ok(()), Err)
    }

    fn report(&self, dir: usize, done: usize, total: usize, last: &Mutex<Instant>) {
        let mut last = last.lock();
        if last.elapsed() >= PROGRESS_EVERY {
            *last = Instant::now();
            info!("{done}/{total} logs loaded in {}", self.dirs[dir].path.display());
        }
    }

    fn open_one(
        &self,
        dir: usize,
        partition: &TopicPartition,
        known: &Known,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<Log> {
        let mut options = self.open_options(dir, partition.clone(), config, now_ms);
        options.clean = known.clean;
        options.recovery_point = known.recovery_points.get(partition).copied().unwrap_or(0);
        options.high_watermark = known.high_watermarks.get(partition).copied();
        options.log_start_offset = known.log_starts.get(partition).copied().unwrap_or(0);
        Log::open(options)
    }
}

fn list_partitions(dir: &Path) -> Result<Vec<(PathBuf, TopicPartition, DirKind)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let entry = entry.map_err(LogError::io("list", dir))?;
        let is_dir = entry.file_type().map_err(LogError::io("stat", &entry.path()))?.is_dir();
        if is_dir && entry.file_name() != REMOTE_INDEX_CACHE {
            let (partition, kind) = parse_dir_name(&entry.path())?;
            found.push((entry.path(), partition, kind));
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
