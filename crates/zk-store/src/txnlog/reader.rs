//! Reading the logs of a directory as one sequence.

use std::path::Path;

use super::follows;
use super::{LogFileReader, LogRecord, LogStep, TornTail};
use crate::error::StoreError;
use crate::names::{DiskFile, list_logs};

/// The transactions of all logs in a directory, in order.
///
/// Damage at the end of a file that is not the last is tolerated only when the next file goes on where it stopped:
/// then nothing is missing. Two transactions that are not neighbours are an error unless gaps are accepted.
#[derive(Debug)]
pub struct TxnLogReader {
    /// Files not opened yet, newest first.
    waiting: Vec<DiskFile>,
    current: Option<LogFileReader>,
    from_zxid: i64,
    last_zxid: Option<i64>,
    /// Damage at the end of the file before the current one, until it is known to be harmless.
    open_tail: Option<TornTail>,
    accept_gaps: bool,
}

impl TxnLogReader {
    /// Everything from `from_zxid` on in `dir`.
    pub fn open(dir: &Path, from_zxid: i64) -> Result<Self, StoreError> {
        let logs = list_logs(dir)?;
        // The file that may hold from_zxid is the last one named at or below it.
        let first = logs.iter().rposition(|log| log.zxid <= from_zxid).unwrap_or(0);
        let mut waiting = logs[first..].to_vec();
        waiting.reverse();
        Ok(Self { waiting, current: None, from_zxid, last_zxid: None, open_tail: None, accept_gaps: false })
    }

    /// Takes transactions that are not contiguous too, with a warning.
    pub fn accept_gaps(mut self, accept: bool) -> Self {
        self.accept_gaps = accept;
        self
    }

    /// Hands out the records before the wanted one too, as far as its file reaches back.
    pub(crate) fn whole_files(mut self) -> Self {
        self.from_zxid = i64::MIN;
        self
    }

    /// The file the last record came from.
    pub fn path(&self) -> Option<&Path> {
        self.current.as_ref().map(LogFileReader::path)
    }

    /// The next transaction; `None` at the end of the newest file. Damage at that end is told by
    /// [`TxnLogReader::torn_tail`].
    pub fn next_record(&mut self) -> Result<Option<LogRecord>, StoreError> {
        loop {
            let Some(file) = &mut self.current else {
                match self.waiting.pop() {
                    None => return Ok(None),
                    Some(next) => self.current = Some(LogFileReader::open(&next.path)?),
                }
                continue;
            };
            match file.next_step()? {
                LogStep::Record(record) => {
                    self.check_order(&record)?;
                    if record.zxid >= self.from_zxid {
                        return Ok(Some(record));
                    }
                }
                LogStep::End(end) => {
                    self.close_tail(end.torn);
                    if self.waiting.is_empty() {
                        return Ok(None);
                    }
                    self.current = None;
                }
            }
        }
    }

    /// After the end: the unfinished write the newest file ends with, if any.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.open_tail.as_ref()
    }

    fn check_order(&mut self, record: &LogRecord) -> Result<(), StoreError> {
        if let Some(last) = self.last_zxid {
            if let Some(tail) = self.open_tail.take()
                && !follows(last, record.zxid)
            {
                return Err(StoreError::corrupt(
                    &tail.path,
                    tail.offset,
                    format!(
                        "{}; the next file goes on at 0x{:x}, not behind 0x{last:x}",
                        tail.why, record.zxid
                    ),
                ));
            }
            self.check_step(last, record.zxid)?;
        }
        self.open_tail = None;
        self.last_zxid = Some(record.zxid);
        Ok(())
    }

    fn check_step(&self, last: i64, zxid: i64) -> Result<(), StoreError> {
        let path = || self.path().unwrap_or(Path::new("")).to_owned();
        let hole = zxid > last && !follows(last, zxid);
        // What is missing before the first wanted transaction concerns nobody: a snapshot holds it.
        if hole && !self.accept_gaps && last >= self.from_zxid {
            return Err(StoreError::Gap { after: last, found: zxid, path: path() });
        }
        if hole || zxid <= last {
            tracing::warn!(path = %path().display(), "transaction 0x{zxid:x} follows 0x{last:x} in the log");
        }
        Ok(())
    }

    /// Remembers how a file ended. An older damage that no record has vouched for since stays.
    fn close_tail(&mut self, torn: Option<TornTail>) {
        if let Some(torn) = torn {
            if !self.waiting.is_empty() {
                tracing::warn!(path = %torn.path.display(), offset = torn.offset, why = torn.why, "log ends torn");
            }
            self.open_tail = Some(torn);
        }
    }
}

/// The zxid of the last whole transaction in `dir`; `None` without any. Only the files at the end are read.
pub fn last_logged_zxid(dir: &Path) -> Result<Option<i64>, StoreError> {
    for log in list_logs(dir)?.into_iter().rev() {
        if let Some(zxid) = last_in_file(&log.path)? {
            return Ok(Some(zxid));
        }
    }
    Ok(None)
}

fn last_in_file(path: &Path) -> Result<Option<i64>, StoreError> {
    let mut reader = LogFileReader::open(path)?;
    let mut last = None;
    while let LogStep::Record(record) = reader.next_step()? {
        last = Some(record.zxid);
    }
    Ok(last)
}
