//! The little this crate reads of a transaction: its zxid, and the configuration a reconfig brings.

use zk_proto::jute::Reader;
use zk_proto::quorum::Config;
use zk_proto::txn::{Txn, TxnHeader, kind};

use crate::replica::Leave;

/// A proposal from the leader: its bytes are of that zxid. The configuration, if it is a reconfig.
pub(crate) fn examine(zxid: i64, payload: &[u8]) -> Result<Option<Config>, Leave> {
    let header = header(payload)?;
    if header.zxid != zxid {
        return Err(Leave::look(format!("the leader sent the bytes of 0x{:x} as 0x{zxid:x}", header.zxid)));
    }
    if header.kind == kind::RECONFIG { reconfiguration(payload) } else { Ok(None) }
}

/// The configuration a transaction brings, if it is a reconfig.
pub(crate) fn reconfiguration(payload: &[u8]) -> Result<Option<Config>, Leave> {
    let mut r = Reader::new(payload);
    let header = TxnHeader::decode(&mut r).map_err(broken)?;
    if header.kind != kind::RECONFIG {
        return Ok(None);
    }
    let Txn::SetData(set) = Txn::decode(header.kind, &mut r).map_err(broken)? else {
        return Err(Leave::look("a reconfig that sets no data"));
    };
    let data = set.data.unwrap_or_default();
    let text = std::str::from_utf8(&data).map_err(broken)?;
    Ok(Some(Config::parse(text).map_err(broken)?))
}

fn header(payload: &[u8]) -> Result<TxnHeader, Leave> {
    TxnHeader::decode(&mut Reader::new(payload)).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Leave {
    Leave::look(format!("the leader sent a broken transaction: {error}"))
}
