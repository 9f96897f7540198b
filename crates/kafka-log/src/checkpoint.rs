//! Checkpoint files of a log directory: one offset per partition, as text.
//!
//! `recovery-point-offset-checkpoint`, `replication-offset-checkpoint` (high watermarks),
//! `log-start-offset-checkpoint` and `cleaner-offset-checkpoint` share the shape: `0`, the count, then
//! `topic partition offset` a line. Written by temporary file, fsync and rename. A file that is missing or torn
//! counts as empty, with a warning: everything in it can be had again from the logs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::disk;
use crate::error::Result;
use crate::names::TopicPartition;

pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
pub const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
pub const LOG_START_FILE: &str = "log-start-offset-checkpoint";
pub const CLEANER_FILE: &str = "cleaner-offset-checkpoint";

/// Larger than a checkpoint of a million partitions with the longest names.
const FILE_BYTES_MAX: u64 = 512 << 20;
const VERSION: &str = "0";

/// One checkpoint file.
#[derive(Debug, Clone)]
pub struct OffsetCheckpoint {
    path: PathBuf,
}

impl OffsetCheckpoint {
    /// `name` is one of the constants of this module.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(name) }
    }

    /// The offsets; empty, with a warning, if the file cannot be believed.
    pub fn read(&self) -> HashMap<TopicPartition, i64> {
        let text = match disk::read_small(&self.path, FILE_BYTES_MAX) {
            Ok(Some(text)) => text,
            Ok(None) => return HashMap::new(),
            Err(e) => {
                warn!("{e}; treating it as empty, logs are scanned instead");
                return HashMap::new();
            }
        };
        parse_entries(&text, parse_offset_line).unwrap_or_else(|reason| {
            warn!(
                "checkpoint file {}: {reason}; treating it as empty, logs are scanned instead",
                self.path.display()
            );
            HashMap::new()
        })
    }

    /// Replaces the file; durable on return.
    pub fn write<'a>(&self, entries: impl IntoIterator<Item = (&'a TopicPartition, i64)>) -> Result<()> {
        let mut lines = String::new();
        let mut count = 0usize;
        for (partition, offset) in entries {
            count += 1;
            let _ = writeln!(lines, "{} {} {offset}", partition.topic, partition.partition);
        }
        disk::write_atomic(&self.path, format!("{VERSION}\n{count}\n{lines}").as_bytes())
    }
}

fn parse_offset_line(line: &str) -> Option<(TopicPartition, i64)> {
    let mut fields = line.split_ascii_whitespace();
    let partition = TopicPartition::new(fields.next()?, fields.next()?.parse().ok()?);
    let offset = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some((partition, offset))
}

/// Reads the shape all checkpoint files share. An empty file is an empty checkpoint.
pub(crate) fn parse_entries<T, C: FromIterator<T>>(
    text: &[u8],
    entry: impl Fn(&str) -> Option<T>,
) -> std::result::Result<C, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(std::iter::empty().collect()) };
    if version != VERSION {
        return Err(format!("unrecognised version {version:?}, expected {VERSION}"));
    }
    let Some(count) = lines.next() else { return Ok(std::iter::empty().collect()) };
    let count: usize = count.parse().map_err(|_| format!("malformed line {count:?}"))?;
    let entries = lines
        .map(|line| entry(line).ok_or_else(|| format!("malformed line {line:?}")))
        .collect::<std::result::Result<Vec<T>, String>>()?;
    if entries.len() != count {
        return Err(format!("expected {count} entries, but found {}", entries.len()));
    }
    Ok(entries.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are Kafka's, and come back.
    #[test]
    fn writes_kafkas_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = OffsetCheckpoint::new(dir.path(), RECOVERY_POINT_FILE);
        let a = TopicPartition::new("a", 0);
        let b = TopicPartition::new("b.c", 12);
        file.write([(&a, 5), (&b, 0)]).unwrap();
        let text = std::fs::read_to_string(dir.path().join(RECOVERY_POINT_FILE)).unwrap();
        assert_eq!(text, "0\n2\na 0 5\nb.c 12 0\n");
        assert_eq!(file.read(), HashMap::from([(a, 5), (b, 0)]));
    }

    /// Torn at any byte, the file counts as empty or, if only the final newline is gone, as whole.
    #[test]
    fn torn_files_count_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = OffsetCheckpoint::new(dir.path(), HIGH_WATERMARK_FILE);
        assert!(file.read().is_empty(), "missing");
        let whole = "0\n2\nt 0 57\nt 1 7\n";
        for cut in 0..whole.len() - 2 {
            std::fs::write(dir.path().join(HIGH_WATERMARK_FILE), &whole[..cut]).unwrap();
            assert!(file.read().is_empty(), "cut at {cut}");
        }
        for bad in ["1\n0\n", "0\nx\n", "0\n1\nt 0\n", "0\n1\nt 0 1 2\n", "\u{0}\u{0}"] {
            std::fs::write(dir.path().join(HIGH_WATERMARK_FILE), bad).unwrap();
            assert!(file.read().is_empty(), "{bad:?}");
        }
    }
}
