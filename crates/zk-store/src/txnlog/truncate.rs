//! Cutting the log back.

use std::path::Path;

use super::{FILE_HEADER_BYTES, LogFileReader, LogStep, TornTail};
use crate::error::StoreError;
use crate::names::list_logs;
use crate::steps::DiskStep;

/// What removes every transaction after `zxid`, newest first: interrupted anywhere, it leaves a log that is too long
/// but whole (ZOOKEEPER-5094).
pub(crate) fn truncation_steps(dir: &Path, zxid: i64) -> Result<Vec<DiskStep>, StoreError> {
    let mut steps = Vec::new();
    for log in list_logs(dir)?.into_iter().rev() {
        if log.zxid > zxid {
            steps.push(DiskStep::Remove { path: log.path });
            continue;
        }
        let (keeps_any, cut_at) = find_cut(&log.path, zxid)?;
        if let Some(offset) = cut_at {
            steps.push(DiskStep::Cut { path: log.path, offset });
        }
        if keeps_any {
            break;
        }
    }
    Ok(steps)
}

/// Ends a file at its last whole record, so that the next writer and Apache's tools find a clean one.
pub(crate) fn cut_torn_tail(tail: &TornTail) -> Result<(), StoreError> {
    let path = tail.path.clone();
    match tail.offset {
        offset if offset < FILE_HEADER_BYTES => DiskStep::Remove { path }.run(),
        offset => DiskStep::Cut { path, offset }.run(),
    }
}

/// Whether a file holds a transaction up to `zxid`, and where it is to end if something stands behind the last one:
/// a later transaction, an unfinished write, space filled ahead.
fn find_cut(path: &Path, zxid: i64) -> Result<(bool, Option<u64>), StoreError> {
    let mut reader = LogFileReader::open(path)?;
    let mut keeps_any = false;
    let cut_at = loop {
        match reader.next_step()? {
            LogStep::Record(record) if record.zxid <= zxid => keeps_any = true,
            LogStep::Record(record) => break record.offset,
            LogStep::End(end) => break end.offset,
        }
    };
    Ok((keeps_any, (cut_at >= FILE_HEADER_BYTES).then_some(cut_at)))
}
