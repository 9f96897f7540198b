//! Payloads and logs for tests.

use std::path::Path;

use bytes::Bytes;
use zk_proto::txn::{SetDataTxn, Txn, TxnEntry, TxnHeader};

use super::{LogRecord, TornTail, TxnLog, TxnLogOptions, TxnLogReader};
use crate::error::StoreError;

/// A setData on `/n` whose data is `bytes` long.
pub(crate) fn payload_of(zxid: i64, bytes: usize) -> Bytes {
    let data = Some(Bytes::from(vec![b'd'; bytes]));
    let txn = Txn::SetData(SetDataTxn { path: "/n".into(), data, version: 1 });
    let header = TxnHeader { client_id: 1, cxid: 2, zxid, time: 3, kind: txn.default_kind() };
    TxnEntry { header, txn, digest: None }.encode()
}

pub(crate) fn payload(zxid: i64) -> Bytes {
    payload_of(zxid, 3)
}

pub(crate) fn options(prealloc_bytes: u64) -> TxnLogOptions {
    TxnLogOptions { prealloc_bytes, ..TxnLogOptions::default() }
}

/// Writes one file with these transactions.
pub(crate) fn write_log(dir: &Path, zxids: impl IntoIterator<Item = i64>) {
    let mut log = TxnLog::open(dir, options(64 << 10)).expect("the directory is there");
    for zxid in zxids {
        log.append(&payload(zxid)).expect("appended");
    }
    log.sync().expect("synced");
}

pub(crate) type ReadAll = (Vec<LogRecord>, Option<TornTail>);

pub(crate) fn read_all(dir: &Path, from_zxid: i64) -> Result<ReadAll, StoreError> {
    let mut reader = TxnLogReader::open(dir, from_zxid)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok((records, reader.torn_tail().cloned()))
}

pub(crate) fn zxids(dir: &Path, from_zxid: i64) -> Vec<i64> {
    read_all(dir, from_zxid).expect("a readable log").0.into_iter().map(|r| r.zxid).collect()
}
