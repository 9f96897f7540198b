//! The small files of a log directory and of a partition's directory that are no log.
//!
//! `meta.properties` (whose directory it is), `.kafka_cleanshutdown` (logs need no scan), `.lock` (one process
//! only), `partition.metadata` (the topic's id, 2.8+).

use std::fs::File;
use std::path::{Path, PathBuf};

use kafka_proto::wire::Uuid;
use properties::Properties;
use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use crate::disk;
use crate::error::{LogError, Result};

pub const META_PROPERTIES: &str = "meta.properties";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub const LOCK: &str = ".lock";
pub const PARTITION_METADATA: &str = "partition.metadata";
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Whose log directory this is. Version 0, ZooKeeper mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetaProperties {
    pub broker_id: Option<i32>,
    /// 22 characters of URL-safe base64.
    pub cluster_id: Option<String>,
    /// Written by Kafka 3.7+ while migrating to KRaft; kept as it is.
    pub directory_id: Option<String>,
}

impl MetaProperties {
    /// `None` if the directory has no such file yet.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(META_PROPERTIES);
        let Some(bytes) = disk::read_small(&path, FILE_BYTES_MAX)? else { return Ok(None) };
        let bad = |reason: String| LogError::BadFile { path: path.clone(), reason };
        let text = String::from_utf8_lossy(&bytes);
        let props = Properties::parse(&text).map_err(|e| bad(e.to_string()))?;
        if props.get("version").unwrap_or("0") != "0" {
            return Err(bad(format!(
                "version {} belongs to Kafka's KRaft mode; this directory cannot be used in ZooKeeper mode",
                props.get("version").unwrap_or_default()
            )));
        }
        let broker_id = match props.get("broker.id") {
            None => None,
            Some(id) => Some(id.parse().map_err(|_| bad(format!("broker.id={id} is not a number")))?),
        };
        let owned = |key| props.get(key).map(str::to_owned);
        Ok(Some(Self { broker_id, cluster_id: owned("cluster.id"), directory_id: owned("directory.id") }))
    }

    /// Replaces the file; durable on return. `now_ms` goes into the comment line Java writes.
    pub fn write(&self, dir: &Path, now_ms: i64) -> Result<()> {
        let mut text = format!("#\n#{}\n", java_date(now_ms));
        if let Some(id) = &self.cluster_id {
            text.push_str(&format!("cluster.id={}\n", escape(id)));
        }
        text.push_str("version=0\n");
        if let Some(id) = self.broker_id {
            text.push_str(&format!("broker.id={id}\n"));
        }
        if let Some(id) = &self.directory_id {
            text.push_str(&format!("directory.id={}\n", escape(id)));
        }
        disk::write_atomic(&dir.join(META_PROPERTIES), text.as_bytes())
    }
}

/// `Thu Nov 26 00:25:17 UTC 2026`, as `java.util.Date` prints it.
fn java_date(now_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(now_ms)
        .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a %b %d %H:%M:%S UTC %Y").to_string())
        .unwrap_or_default()
}

fn escape(value: &str) -> String {
    value
        .chars()
        .flat_map(|c| matches!(c, '=' | ':' | '#' | '!' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// The marker of a clean stop.
pub struct CleanShutdown;

impl CleanShutdown {
    /// Whether the last stop was clean; removes the marker, so that a crash while loading counts as unclean
    /// (KAFKA-10471). 2.7's empty file and 3.9's JSON mean the same.
    pub fn take(dir: &Path) -> Result<bool> {
        let path = dir.join(CLEAN_SHUTDOWN);
        let clean = disk::len_of(&path)?.is_some();
        if clean {
            disk::remove_if_exists(&path)?;
            disk::sync_dir(dir)?;
        }
        Ok(clean)
    }

    /// Written last of all on a clean stop.
    pub fn write(dir: &Path, broker_epoch: i64) -> Result<()> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        disk::write_atomic(&dir.join(CLEAN_SHUTDOWN), text.as_bytes())
    }
}

/// Holds the directory for this process; freed when dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    pub fn acquire(dir: &Path) -> Result<Self> {
        let path = dir.join(LOCK);
        let file = disk::open_rw(&path, true)?;
        // Java locks with fcntl, older C tools with flock: take both, so that neither slips past.
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .and_then(|()| rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive))
            .map_err(|_| LogError::DirLocked { path: dir.to_owned() })?;
        Ok(Self { _file: file })
    }
}

/// The topic id in a partition's directory; `None` if the file is missing or, after a power cut, empty.
pub(crate) fn read_topic_id(dir: &Path) -> Result<Option<Uuid>> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) = disk::read_small(&path, FILE_BYTES_MAX)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let id =
        text.lines().find_map(|l| l.strip_prefix("topic_id:")).and_then(|id| id.trim().parse::<Uuid>().ok());
    let id = id.filter(|id| !id.is_zero());
    if id.is_none() {
        warn!("{} holds no topic id; it is written again when the controller names one", path.display());
    }
    Ok(id)
}

/// Written whole or not at all as far as a crash of this process goes; synced with the log's first flush.
pub(crate) fn write_topic_id(dir: &Path, id: Uuid) -> Result<PathBuf> {
    let path = dir.join(PARTITION_METADATA);
    let tmp = disk::with_suffix(&path, ".tmp");
    disk::write_unsynced(&tmp, format!("version: 0\ntopic_id: {id}").as_bytes())?;
    disk::rename(&tmp, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both Kafka's file and ours are read; ours has Java's comment line.
    #[test]
    fn meta_properties_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MetaProperties::read(dir.path()).unwrap(), None);
        let meta = MetaProperties {
            broker_id: Some(3),
            cluster_id: Some("Rk1bdnoVRGGpaFeVtGvJhQ".into()),
            directory_id: None,
        };
        meta.write(dir.path(), 1_795_652_717_000).unwrap();
        let text = std::fs::read_to_string(dir.path().join(META_PROPERTIES)).unwrap();
        assert_eq!(
            text,
            "#\n#Thu Nov 26 00:25:17 UTC 2026\ncluster.id=Rk1bdnoVRGGpaFeVtGvJhQ\nversion=0\nbroker.id=3\n"
        );
        assert_eq!(MetaProperties::read(dir.path()).unwrap(), Some(meta));
        std::fs::write(dir.path().join(META_PROPERTIES), "version=1\nnode.id=1\n").unwrap();
        assert!(MetaProperties::read(dir.path()).is_err());
    }

    /// 2.7's empty marker and 3.9's JSON both count, once.
    #[test]
    fn clean_shutdown_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!CleanShutdown::take(dir.path()).unwrap());
        std::fs::write(dir.path().join(CLEAN_SHUTDOWN), "").unwrap();
        assert!(CleanShutdown::take(dir.path()).unwrap());
        CleanShutdown::write(dir.path(), -1).unwrap();
        let text = std::fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, r#"{"version":0,"brokerEpoch":-1}"#);
        assert!(CleanShutdown::take(dir.path()).unwrap());
        assert!(!CleanShutdown::take(dir.path()).unwrap());
    }

    /// A directory in use is refused until it is let go.
    #[test]
    fn lock_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::acquire(dir.path()).unwrap();
        assert!(matches!(DirLock::acquire(dir.path()), Err(LogError::DirLocked { .. })));
        drop(held);
        DirLock::acquire(dir.path()).unwrap();
    }

    /// The file is Kafka's, without a final newline; an empty one counts as missing.
    #[test]
    fn topic_ids() {
        let id: Uuid = "_____wAAAAAAAAAA_____w".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_topic_id(dir.path(), id).unwrap();
        let text = std::fs::read_to_string(dir.path().join(PARTITION_METADATA)).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: _____wAAAAAAAAAA_____w");
        assert_eq!(read_topic_id(dir.path()).unwrap(), Some(id));
        std::fs::write(dir.path().join(PARTITION_METADATA), "").unwrap();
        assert_eq!(read_topic_id(dir.path()).unwrap(), None);
    }
}
