//! Reading one log file, front to back.
//!
//! Every entry is checked before it is handed out. What ends a file is told apart: zeros filled ahead (the normal
//! end), a torn tail (a write the crash cut short, never acknowledged), or corruption (an error). See [`super::torn`].

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use zk_proto::txn::payload_zxid;

use super::torn::{Damage, TornTail};
use super::{END_OF_RECORD, ENTRY_HEADER_BYTES, FILE_HEADER_BYTES, MAGIC, VERSION, checksum};
use crate::error::StoreError;

const READ_AHEAD_BYTES: usize = 256 << 10;

/// One transaction as it stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub zxid: i64,
    /// Header, record and digest: what `zk_proto::txn::TxnEntry::decode` reads.
    pub payload: Bytes,
    /// Where the entry begins in its file.
    pub offset: u64,
    /// Where the next one would begin.
    pub end: u64,
}

/// How a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Behind the last whole record.
    pub offset: u64,
    /// Set when something other than zeros follows.
    pub torn: Option<TornTail>,
}

/// What the next step through a file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogStep {
    Record(LogRecord),
    End(LogEnd),
}

/// Steps through one log file.
#[derive(Debug)]
pub struct LogFileReader {
    path: PathBuf,
    input: BufReader<File>,
    file_bytes: u64,
    position: u64,
    last_zxid: Option<i64>,
    end: Option<LogEnd>,
}

/// Why an entry cannot be taken; the caller finds out what that means for the file.
enum Bad {
    /// Checksum and length are zero.
    Zeros,
    Broken {
        why: String,
        /// Where its end-of-record mark should stand, as far as its length can be believed.
        mark_at: Option<u64>,
    },
}

impl LogFileReader {
    /// Opens a log and checks its header. A file cut off before its header was whole reads as torn at offset 0.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let file_bytes = file.metadata().map_err(StoreError::io("look at", path))?.len();
        let mut reader = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(READ_AHEAD_BYTES, file),
            file_bytes,
            position: 0,
            last_zxid: None,
            end: None,
        };
        reader.read_header()?;
        Ok(reader)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next record, or how the file ends. After the end it stays there.
    pub fn next_step(&mut self) -> Result<LogStep, StoreError> {
        if let Some(end) = &self.end {
            return Ok(LogStep::End(end.clone()));
        }
        match self.read_entry()? {
            Ok(record) => {
                self.position = record.end;
                self.last_zxid = Some(record.zxid);
                Ok(LogStep::Record(record))
            }
            Err(bad) => {
                let end = self.judge(bad)?;
                self.end = Some(end.clone());
                Ok(LogStep::End(end))
            }
        }
    }

    fn read_header(&mut self) -> Result<(), StoreError> {
        let mut header = [0; FILE_HEADER_BYTES as usize];
        let got = read_up_to(&mut self.input, &mut header).map_err(StoreError::io("read", &self.path))?;
        if got < header.len() || header == [0; FILE_HEADER_BYTES as usize] {
            let torn = TornTail {
                path: self.path.clone(),
                offset: 0,
                bytes: got as u64,
                why: "the file header is incomplete".into(),
                arrived: false,
            };
            self.end = Some(LogEnd { offset: 0, torn: Some(torn) });
            return Ok(());
        }
        if header[..4] != MAGIC {
            return Err(StoreError::corrupt(
                &self.path,
                0,
                format!("magic {:02x?} is not ZKLG", &header[..4]),
            ));
        }
        let version = i32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if version != VERSION {
            return Err(StoreError::corrupt(&self.path, 4, format!("log format version {version} is not 2")));
        }
        self.position = FILE_HEADER_BYTES;
        Ok(())
    }

    fn read_entry(&mut self) -> Result<Result<LogRecord, Bad>, StoreError> {
        let mut head = [0; ENTRY_HEADER_BYTES as usize];
        let got = read_up_to(&mut self.input, &mut head).map_err(StoreError::io("read", &self.path))?;
        if got < head.len() {
            return Ok(Err(if head.iter().all(|b| *b == 0) {
                Bad::Zeros
            } else {
                broken("the entry's head is cut off")
            }));
        }
        let (sum, length) = split_entry_head(&head);
        if sum == 0 && length == 0 {
            return Ok(Err(Bad::Zeros));
        }
        let left = self.file_bytes.saturating_sub(self.position + ENTRY_HEADER_BYTES);
        let Some(payload_bytes) = usize::try_from(length).ok().filter(|n| *n > 0 && (*n as u64) < left)
        else {
            return Ok(Err(broken(format!("length {length} with {left} bytes left in the file"))));
        };
        let mut payload = Vec::with_capacity(payload_bytes + 1);
        let got = (&mut self.input)
            .take(payload_bytes as u64 + 1)
            .read_to_end(&mut payload)
            .map_err(StoreError::io("read", &self.path))?;
        if got <= payload_bytes {
            return Ok(Err(broken("the file got shorter while it was read")));
        }
        let mark_at = self.position + ENTRY_HEADER_BYTES + payload_bytes as u64;
        Ok(match check_entry(sum, payload) {
            Ok((zxid, payload)) => Ok(LogRecord { zxid, payload, offset: self.position, end: mark_at + 1 }),
            Err(why) => Err(Bad::Broken { why, mark_at: Some(mark_at) }),
        })
    }

    fn judge(&self, bad: Bad) -> Result<LogEnd, StoreError> {
        let (why, mark_at) = match bad {
            Bad::Zeros => ("zeros where a record should be".into(), None),
            Bad::Broken { why, mark_at } => (why, mark_at),
        };
        let damage =
            Damage { path: &self.path, offset: self.position, last_zxid: self.last_zxid, why, mark_at };
        let torn = damage.judge(self.input.get_ref())?;
        Ok(LogEnd { offset: self.position, torn })
    }
}

/// Checksum and length of an entry.
pub(super) fn split_entry_head(head: &[u8; ENTRY_HEADER_BYTES as usize]) -> (i64, i32) {
    let (sum, length) = head.split_at(8);
    (
        i64::from_be_bytes(sum.try_into().expect("split at 8")),
        i32::from_be_bytes(length.try_into().expect("4 of 12 bytes are left")),
    )
}

/// `payload` still carries the end-of-record byte.
fn check_entry(sum: i64, mut payload: Vec<u8>) -> Result<(i64, Bytes), String> {
    if payload.pop() != Some(END_OF_RECORD) {
        return Err("the end-of-record mark is missing".into());
    }
    let computed = checksum(&payload);
    if computed != sum {
        return Err(format!("checksum 0x{computed:x}, stored 0x{sum:x}"));
    }
    let zxid = payload_zxid(&payload).map_err(|e| e.to_string())?;
    Ok((zxid, payload.into()))
}

fn broken(why: impl Into<String>) -> Bad {
    Bad::Broken { why: why.into(), mark_at: None }
}

fn read_up_to(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match input.read(&mut buf[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
