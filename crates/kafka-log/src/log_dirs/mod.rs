//! All logs of a broker, in one or several `log.dirs`.
//!
//! Order of calls: [`LogDirs::prepare`] (create, lock), [`LogDirs::meta_properties`], [`LogDirs::load`], then any; at
//! the end [`LogDirs::shutdown`]. The passes (`retention_pass`, `flush_pass`, …) are called by the broker's
//! maintenance tasks at their configured intervals and block on the disk. A log is locked only for as long as
//! one operation takes, and never while a file is synced.

mod dir;
mod load;
mod maintain;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_proto::wire::Uuid;
use parking_lot::{Mutex, RwLock};
use tracing::info;

use self::dir::LogDir;
use crate::config::LogConfig;
use crate::dir_files::MetaProperties;
use crate::error::{LogError, Result};
use crate::file_cache::FileCache;
use crate::log::{Log, OpenOptions};
use crate::names::TopicPartition;

/// A log shared between those who append, read and maintain it.
pub type LogHandle = Arc<Mutex<Log>>;

/// How the directories are used.
#[derive(Debug, Clone)]
pub struct LogDirsOptions {
    /// `log.dirs`.
    pub dirs: Vec<PathBuf>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads_per_dir: usize,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// Log and index files held open at once.
    pub open_files_max: usize,
}

impl LogDirsOptions {
    /// One recovery thread, a day of producer state, 4096 open files.
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        Self {
            dirs,
            recovery_threads_per_dir: 1,
            producer_id_expiration_ms: 86_400_000,
            open_files_max: 4096,
        }
    }
}

/// The manager.
#[derive(Debug)]
pub struct LogDirs {
    options: LogDirsOptions,
    dirs: Vec<LogDir>,
    cache: Arc<FileCache>,
    logs: RwLock<HashMap<TopicPartition, Entry>>,
    /// Partitions that checkpoint files may still speak of although they are gone.
    stale: Mutex<HashSet<TopicPartition>>,
}

/// A log and the directory it lies in, as an index into `dirs`.
#[derive(Debug, Clone)]
struct Entry {
    dir: usize,
    log: LogHandle,
}

/// A log directory, as DescribeLogDirs shows it.
#[derive(Debug)]
pub struct LogDirDescription {
    pub path: PathBuf,
    pub partitions: Vec<(TopicPartition, LogHandle)>,
}

impl LogDirs {
    /// Creates missing directories and locks all of them for this process.
    pub fn prepare(options: LogDirsOptions) -> Result<Self> {
        let mut dirs = Vec::new();
        let mut canonical: Vec<PathBuf> = Vec::new();
        for path in &options.dirs {
            let dir = LogDir::prepare(path)?;
            let real = path.canonicalize().map_err(LogError::io("resolve", path))?;
            if canonical.contains(&real) {
                return Err(LogError::BadFile {
                    path: path.clone(),
                    reason: "Duplicate log directory found in log.dirs".into(),
                });
            }
            canonical.push(real);
            dirs.push(dir);
        }
        let cache = Arc::new(FileCache::new(options.open_files_max));
        Ok(Self { options, dirs, cache, logs: RwLock::default(), stale: Mutex::default() })
    }

    /// The directories in configured order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(|d| d.path.as_path())
    }

    /// `meta.properties` of each directory, in configured order.
    pub fn meta_properties(&self) -> Result<Vec<(PathBuf, Option<MetaProperties>)>> {
        self.dirs.iter().map(|d| Ok((d.path.clone(), MetaProperties::read(&d.path)?))).collect()
    }

    /// Writes `meta.properties` into every directory, keeping a directory's id where one is known.
    pub fn write_meta_properties(&self, meta: &MetaProperties, now_ms: i64) -> Result<()> {
        for dir in &self.dirs {
            let known = MetaProperties::read(&dir.path)?;
            let directory_id = known.as_ref().and_then(|k| k.directory_id.clone());
            let wanted = MetaProperties { directory_id, ..meta.clone() };
            if known.as_ref() != Some(&wanted) {
                wanted.write(&dir.path, now_ms)?;
            }
        }
        Ok(())
    }

    pub fn get(&self, partition: &TopicPartition) -> Option<LogHandle> {
        self.logs.read().get(partition).map(|e| e.log.clone())
    }

    /// All partitions with a log here.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.logs.read().keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.logs.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Files held open now.
    pub fn open_files(&self) -> usize {
        self.cache.len()
    }

    /// The logs of each directory.
    pub fn describe(&self) -> Vec<LogDirDescription> {
        let logs = self.logs.read();
        let in_dir = |i: usize| {
            logs.iter().filter(|(_, e)| e.dir == i).map(|(p, e)| (p.clone(), e.log.clone())).collect()
        };
        self.dirs
            .iter()
            .enumerate()
            .map(|(i, d)| LogDirDescription { path: d.path.clone(), partitions: in_dir(i) })
            .collect()
    }

    /// The partition's log; a new one is put into the directory with the fewest partitions.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        config: &Arc<LogConfig>,
        topic_id: Option<Uuid>,
        now_ms: i64,
    ) -> Result<LogHandle> {
        if let Some(log) = self.get(partition) {
            if let Some(id) = topic_id {
                log.lock().assign_topic_id(id)?;
            }
            return Ok(log);
        }
        self.forget_stale(partition)?;
        let mut logs = self.logs.write();
        if let Some(entry) = logs.get(partition) {
            return Ok(entry.log.clone());
        }
        let mut counts = vec![0usize; self.dirs.len()];
        logs.values().for_each(|e| counts[e.dir] += 1);
        let dir = (0..counts.len()).min_by_key(|i| counts[*i]).unwrap_or(0);
        let mut log = Log::create(self.open_options(dir, partition.clone(), config.clone(), now_ms))?;
        if let Some(id) = topic_id {
            log.assign_topic_id(id)?;
        }
        info!("created log for partition {partition} in {}", log.dir().display());
        let log = Arc::new(Mutex::new(log));
        logs.insert(partition.clone(), Entry { dir, log: log.clone() });
        Ok(log)
    }

    /// Takes the partition's log away: its directory is renamed at once and removed after
    /// `file.delete.delay.ms`.
    pub fn delete(&self, partition: &TopicPartition, now_ms: i64) -> Result<()> {
        let entry = self.logs.write().remove(partition);
        let Some(entry) = entry else {
            return Err(LogError::UnknownPartition { partition: partition.to_string() });
        };
        let (path, delay_ms) = {
            let mut log = entry.log.lock();
            let delay_ms = log.config().file_delete_delay_ms;
            (log.rename_for_deletion(uuid::Uuid::new_v4().as_u128())?, delay_ms)
        };
        self.stale.lock().insert(partition.clone());
        self.dirs[entry.dir].schedule_removal(path, now_ms.saturating_add(delay_ms));
        Ok(())
    }

    /// Gives all logs of a topic a new configuration.
    pub fn set_topic_config(&self, topic: &str, config: &Arc<LogConfig>) {
        for (_, log) in self.of_topic(topic) {
            log.lock().set_config(config.clone());
        }
    }

    /// The logs of a topic.
    pub fn of_topic(&self, topic: &str) -> Vec<(TopicPartition, LogHandle)> {
        let logs = self.logs.read();
        logs.iter().filter(|(p, _)| p.topic == topic).map(|(p, e)| (p.clone(), e.log.clone())).collect()
    }

    fn open_options(
        &self,
        dir: usize,
        partition: TopicPartition,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> OpenOptions {
        OpenOptions {
            dir: self.dirs[dir].path.join(partition.to_string()),
            partition,
            config,
            cache: self.cache.clone(),
            log_start_offset: 0,
            recovery_point: 0,
            high_watermark: None,
            clean: false,
            producer_id_expiration_ms: self.options.producer_id_expiration_ms,
            now_ms,
            random: uuid::Uuid::new_v4().as_u128() as u64,
        }
    }

    fn entries(&self) -> Vec<(TopicPartition, Entry)> {
        self.logs.read().iter().map(|(p, e)| (p.clone(), e.clone())).collect()
    }
}
