//! Cutting the log back.

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::{FILE_HEADER_BYTES, LogFileReader, LogStep, TornTail};
use crate::error::StoreError;
use crate::names::{list_logs, sync_dir};

/// Removes every transaction after `zxid` (TRUNC). Returns the last one kept; `None` when none is.
///
/// Newest files go first, each step durable before the next, so that an interruption leaves a log that is too long
/// but whole (ZOOKEEPER-5094). The caller reloads its tree from disk afterwards.
pub fn truncate_log(dir: &Path, zxid: i64) -> Result<Option<i64>, StoreError> {
    for log in list_logs(dir)?.into_iter().rev() {
        if log.zxid > zxid {
            fs::remove_file(&log.path).map_err(StoreError::io("remove", &log.path))?;
            sync_dir(dir)?;
            continue;
        }
        if let Some(kept) = truncate_file(&log.path, zxid)? {
            return Ok(Some(kept));
        }
    }
    Ok(None)
}

/// Ends a file at its last whole record, so that the next writer and Apache's tools find a clean one.
pub(crate) fn cut_torn_tail(tail: &TornTail) -> Result<(), StoreError> {
    if tail.offset < FILE_HEADER_BYTES {
        fs::remove_file(&tail.path).map_err(StoreError::io("remove", &tail.path))?;
        return tail.path.parent().map_or(Ok(()), sync_dir);
    }
    cut(&tail.path, tail.offset)
}

fn truncate_file(path: &Path, zxid: i64) -> Result<Option<i64>, StoreError> {
    let mut reader = LogFileReader::open(path)?;
    let mut kept = None;
    let cut_at = loop {
        match reader.next_step()? {
            LogStep::Record(record) if record.zxid <= zxid => kept = Some(record.zxid),
            LogStep::Record(record) => break record.offset,
            LogStep::End(end) => break end.offset,
        }
    };
    if cut_at >= FILE_HEADER_BYTES {
        cut(path, cut_at)?;
    }
    Ok(kept)
}

fn cut(path: &Path, offset: u64) -> Result<(), StoreError> {
    let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io("open", path))?;
    file.set_len(offset).and_then(|()| file.sync_all()).map_err(StoreError::io("truncate", path))
}
