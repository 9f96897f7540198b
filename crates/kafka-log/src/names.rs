//! Names on disk: `<topic>-<partition>` directories and the files inside them.
//!
//! Source: `LocalLog.parseTopicPartitionName`, `LogFileUtils`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{LogError, Result};

pub const LOG_SUFFIX: &str = ".log";
pub const INDEX_SUFFIX: &str = ".index";
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub const TXN_INDEX_SUFFIX: &str = ".txnindex";
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
pub const DELETED_SUFFIX: &str = ".deleted";
pub const CLEANED_SUFFIX: &str = ".cleaned";
pub const SWAP_SUFFIX: &str = ".swap";
const DELETE_DIR_SUFFIX: &str = "-delete";
const FUTURE_DIR_SUFFIX: &str = "-future";
const STRAY_DIR_SUFFIX: &str = "-stray";
/// The longest file name the common file systems take.
const NAME_BYTES_MAX: usize = 255;

/// A partition of a topic; ordered by topic, then number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a directory under a log directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirKind {
    Live,
    /// Renamed for removal; the content goes once `file.delete.delay.ms` is over.
    Deleted,
    /// Target of a move between log directories.
    Future,
    /// Moved aside because no topic claims it.
    Stray,
}

/// Reads a directory's name.
pub fn parse_dir_name(path: &Path) -> Result<(TopicPartition, DirKind)> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let refuse = || LogError::NotAPartition { path: path.to_owned(), name: name.to_owned() };
    let (stem, kind) = match name {
        n if n.ends_with(DELETE_DIR_SUFFIX) => {
            (stem_of(n, DELETE_DIR_SUFFIX).ok_or_else(refuse)?, DirKind::Deleted)
        }
        n if n.ends_with(FUTURE_DIR_SUFFIX) => {
            (stem_of(n, FUTURE_DIR_SUFFIX).ok_or_else(refuse)?, DirKind::Future)
        }
        n if n.ends_with(STRAY_DIR_SUFFIX) => {
            (stem_of(n, STRAY_DIR_SUFFIX).ok_or_else(refuse)?, DirKind::Stray)
        }
        n => (n, DirKind::Live),
    };
    let (topic, partition) = stem.rsplit_once('-').ok_or_else(refuse)?;
    let partition = partition.parse::<i32>().ok().filter(|p| *p >= 0).ok_or_else(refuse)?;
    if topic.is_empty() {
        return Err(refuse());
    }
    Ok((TopicPartition::new(topic, partition), kind))
}

/// `topic-0` out of `topic-0.<unique id>-delete`.
fn stem_of<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let (stem, unique) = name.strip_suffix(suffix)?.rsplit_once('.')?;
    (!unique.is_empty() && stem.contains('-')).then_some(stem)
}

/// `<topic>-<partition>.<uuid32>-delete`, the topic cut so that the name fits a file system.
pub fn delete_dir_name(partition: &TopicPartition, unique: u128) -> String {
    let suffix = format!("-{}.{unique:032x}{DELETE_DIR_SUFFIX}", partition.partition);
    let keep = partition.topic.len().min(NAME_BYTES_MAX - suffix.len());
    let keep = (0..=keep).rev().find(|i| partition.topic.is_char_boundary(*i)).unwrap_or(0);
    format!("{}{suffix}", &partition.topic[..keep])
}

/// A segment's file: the base offset in 20 digits and the suffix.
pub fn segment_file(dir: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}{suffix}"))
}

/// The offset a file's name starts with.
pub fn offset_of(name: &str) -> Option<i64> {
    let digits = name.split('.').next()?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directory names as Kafka writes them are read back; others are refused.
    #[test]
    fn reads_directory_names() {
        let check = |name: &str, topic: &str, partition, kind| {
            let got = parse_dir_name(Path::new("/data").join(name).as_path()).unwrap();
            assert_eq!(got, (TopicPartition::new(topic, partition), kind));
        };
        check("a-b-3", "a-b", 3, DirKind::Live);
        check("t-0.0123456789abcdef0123456789abcdef-delete", "t", 0, DirKind::Deleted);
        check("t.x-1.0123456789abcdef0123456789abcdef-future", "t.x", 1, DirKind::Future);
        for bad in ["t", "-1", "t-", "t-x", "lost+found", "t-0-delete", "t--1.x"] {
            assert!(parse_dir_name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    /// The longest topic name still yields a directory name a file system takes.
    #[test]
    fn cuts_long_topics() {
        let name = delete_dir_name(&TopicPartition::new("x".repeat(249), 7), 5);
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(name.ends_with("-7.00000000000000000000000000000005-delete"));
    }

    #[test]
    fn reads_offsets() {
        assert_eq!(offset_of("00000000000000000042.log"), Some(42));
        assert_eq!(offset_of("leader-epoch-checkpoint"), None);
        assert_eq!(segment_file(Path::new("d"), 42, LOG_SUFFIX), Path::new("d/00000000000000000042.log"));
    }
}
