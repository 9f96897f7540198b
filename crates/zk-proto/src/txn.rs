//! Transactions: what a server agrees on, logs and replays.
//!
//! A log payload (and the data of a PROPOSAL) is a [`TxnHeader`], the record its `kind` names, and, from
//! ZooKeeper 3.6 on, a [`TxnDigest`]. This module reads and writes such payloads byte for byte as Apache
//! 3.9.3 does, and reads what 3.5.7 leaves out: the digest, the path list of a closeSession, and (older
//! still) the parent's cversion of a create.
//!
//! It does not apply anything: what a transaction does to the tree is `zk-tree`'s business.
//!
//! Source: `zookeeper.jute` (module `org.apache.zookeeper.txn`), `SerializeUtils.deserializeTxn`.

use bytes::Bytes;

use crate::data::Acl;
use crate::jute::{Reader, WireError, Writer};

/// Transaction types as they stand in [`TxnHeader::kind`] and [`SubTxn::kind`]: the opcodes of the requests.
pub mod kind {
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const SET_DATA: i32 = 5;
    pub const SET_ACL: i32 = 7;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
}

/// The bytes of an encoded header.
pub const TXN_HEADER_BYTES: usize = 32;

/// The bytes of an encoded digest.
const TXN_DIGEST_BYTES: usize = 12;

/// The version of the tree digest that Apache 3.6 to 3.9 compute (`DigestCalculator.DIGEST_VERSION`).
pub const DIGEST_VERSION: i32 = 2;

/// Who asked for a transaction, its place in the order of all, its time, and what record follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that sent the request.
    pub client_id: i64,
    /// That session's xid of the request.
    pub cxid: i32,
    pub zxid: i64,
    /// Wall clock of the leader that made it, milliseconds since 1970.
    pub time: i64,
    /// One of [`kind`].
    pub kind: i32,
}

impl TxnHeader {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { client_id: r.i64()?, cxid: r.i32()?, zxid: r.i64()?, time: r.i64()?, kind: r.i32()? })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i64(self.client_id);
        w.i32(self.cxid);
        w.i64(self.zxid);
        w.i64(self.time);
        w.i32(self.kind);
    }
}

/// A plain node, persistent or ephemeral (types 1 and 15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTxn {
    pub path: String,
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub ephemeral: bool,
    /// The parent's stored cversion after this create; -1 in logs from before 3.4, then the parent's own counts on.
    pub parent_cversion: i32,
}

/// A node that is reaped when nothing touched it for `ttl_ms` (type 21).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTtlTxn {
    pub path: String,
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub parent_cversion: i32,
    pub ttl_ms: i64,
}

/// A node that is reaped once its last child is gone (type 19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateContainerTxn {
    pub path: String,
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub parent_cversion: i32,
}

/// New data with the version it gets (types 5 and 16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetDataTxn {
    pub path: String,
    pub data: Option<Bytes>,
    pub version: i32,
}

/// A new ACL with the aversion it gets (type 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAclTxn {
    pub path: String,
    pub acl: Vec<Acl>,
    pub version: i32,
}

/// A version check inside a multi (type 13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckVersionTxn {
    pub path: String,
    pub version: i32,
}

/// One item of a multi, kept as the bytes it is stored in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubTxn {
    /// One of [`kind`]; [`kind::ERROR`] marks the whole multi as refused.
    pub kind: i32,
    pub data: Bytes,
}

impl SubTxn {
    /// Wraps a record. `kind` tells apart what shares a record (1 and 15, 2 and 20, 5 and 16).
    pub fn new(kind: i32, record: &Txn) -> Self {
        let mut w = Writer::new();
        record.encode(&mut w);
        Self { kind, data: w.into_bytes() }
    }

    /// The record inside. Multis do not nest, and sessions are not made in them.
    pub fn record(&self) -> Result<Txn, WireError> {
        match self.kind {
            kind::MULTI | kind::CREATE_SESSION | kind::CLOSE_SESSION => {
                Err(WireError::Unknown { what: "transaction type inside a multi", value: self.kind })
            }
            _ => Txn::decode(self.kind, &mut Reader::new(&self.data)),
        }
    }
}

/// What a transaction does, without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Txn {
    /// A session begins (type -10).
    CreateSession {
        timeout_ms: i32,
    },
    /// A session ends (type -11). The ephemerals to delete are listed from 3.6 on; `None` means all the
    /// session owns.
    CloseSession {
        paths: Option<Vec<String>>,
    },
    /// A refused request: it takes a zxid and changes nothing (type -1).
    Error {
        err: i32,
    },
    Create(CreateTxn),
    CreateTtl(CreateTtlTxn),
    CreateContainer(CreateContainerTxn),
    /// Types 2 and 20.
    Delete {
        path: String,
    },
    SetData(SetDataTxn),
    SetAcl(SetAclTxn),
    Check(CheckVersionTxn),
    Multi(Vec<SubTxn>),
}

impl Txn {
    /// The type this record has when nothing more special is meant (create2, deleteContainer, reconfig).
    pub fn default_kind(&self) -> i32 {
        match self {
            Txn::CreateSession { .. } => kind::CREATE_SESSION,
            Txn::CloseSession { .. } => kind::CLOSE_SESSION,
            Txn::Error { .. } => kind::ERROR,
            Txn::Create(_) => kind::CREATE,
            Txn::CreateTtl(_) => kind::CREATE_TTL,
            Txn::CreateContainer(_) => kind::CREATE_CONTAINER,
            Txn::Delete { .. } => kind::DELETE,
            Txn::SetData(_) => kind::SET_DATA,
            Txn::SetAcl(_) => kind::SET_ACL,
            Txn::Check(_) => kind::CHECK,
            Txn::Multi(_) => kind::MULTI,
        }
    }

    /// Reads the record of the given type and leaves what follows it unread.
    pub fn decode(kind: i32, r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match kind {
            kind::CREATE_SESSION => Txn::CreateSession { timeout_ms: r.i32()? },
            kind::CLOSE_SESSION => Txn::CloseSession { paths: decode_closed_paths(r) },
            kind::ERROR => Txn::Error { err: r.i32()? },
            kind::CREATE | kind::CREATE2 => Txn::Create(decode_create(r)?),
            kind::CREATE_TTL => Txn::CreateTtl(CreateTtlTxn {
                path: r.string()?,
                data: r.bytes()?,
                acl: Acl::decode_list(r)?,
                parent_cversion: r.i32()?,
                ttl_ms: r.i64()?,
            }),
            kind::CREATE_CONTAINER => Txn::CreateContainer(CreateContainerTxn {
                path: r.string()?,
                data: r.bytes()?,
                acl: Acl::decode_list(r)?,
                parent_cversion: r.i32()?,
            }),
            kind::DELETE | kind::DELETE_CONTAINER => Txn::Delete { path: r.string()? },
            kind::SET_DATA | kind::RECONFIG => {
                Txn::SetData(SetDataTxn { path: r.string()?, data: r.bytes()?, version: r.i32()? })
            }
            kind::SET_ACL => {
                Txn::SetAcl(SetAclTxn { path: r.string()?, acl: Acl::decode_list(r)?, version: r.i32()? })
            }
            kind::CHECK => Txn::Check(CheckVersionTxn { path: r.string()?, version: r.i32()? }),
            kind::MULTI => Txn::Multi(r.vec(8, |r| {
                Ok(SubTxn { kind: r.i32()?, data: r.bytes()?.ok_or(WireError::UnexpectedNull)? })
            })?),
            other => return Err(WireError::Unknown { what: "transaction type", value: other }),
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        match self {
            Txn::CreateSession { timeout_ms } => w.i32(*timeout_ms),
            Txn::CloseSession { paths: None } => {}
            Txn::CloseSession { paths: Some(paths) } => w.vec(paths, |w, p| w.string(p)),
            Txn::Error { err } => w.i32(*err),
            Txn::Create(t) => {
                encode_node(w, &t.path, t.data.as_deref(), &t.acl);
                w.bool(t.ephemeral);
                w.i32(t.parent_cversion);
            }
            Txn::CreateTtl(t) => {
                encode_node(w, &t.path, t.data.as_deref(), &t.acl);
                w.i32(t.parent_cversion);
                w.i64(t.ttl_ms);
            }
            Txn::CreateContainer(t) => {
                encode_node(w, &t.path, t.data.as_deref(), &t.acl);
                w.i32(t.parent_cversion);
            }
            Txn::Delete { path } => w.string(path),
            Txn::SetData(t) => {
                w.string(&t.path);
                w.buffer(t.data.as_deref());
                w.i32(t.version);
            }
            Txn::SetAcl(t) => {
                w.string(&t.path);
                Acl::encode_list(&t.acl, w);
                w.i32(t.version);
            }
            Txn::Check(t) => {
                w.string(&t.path);
                w.i32(t.version);
            }
            Txn::Multi(items) => w.vec(items, |w, item| {
                w.i32(item.kind);
                w.buffer(Some(&item.data));
            }),
        }
    }
}

/// The tree's digest after the transaction, for comparing replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnDigest {
    /// How the digest is computed; [`DIGEST_VERSION`] is the one in use.
    pub version: i32,
    pub tree_digest: i64,
}

impl TxnDigest {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { version: r.i32()?, tree_digest: r.i64()? })
    }

    pub fn encode(&self, w: &mut Writer) {
        w.i32(self.version);
        w.i64(self.tree_digest);
    }
}

/// A whole log payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnEntry {
    pub header: TxnHeader,
    pub txn: Txn,
    /// Absent in logs of 3.5, with `digest.enabled=false`, and on refused requests.
    pub digest: Option<TxnDigest>,
}

impl TxnEntry {
    /// Reads a payload. Bytes behind the digest are left alone: a newer release may have something there.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload);
        let header = TxnHeader::decode(&mut r)?;
        let txn = Txn::decode(header.kind, &mut r)?;
        let digest = match r.rest().len() {
            n if n < TXN_DIGEST_BYTES => None,
            _ => Some(TxnDigest::decode(&mut r)?),
        };
        Ok(Self { header, txn, digest })
    }

    pub fn encode(&self) -> Bytes {
        encode_payload(&self.header, &self.txn, self.digest)
    }
}

/// Writes a log payload from its parts.
pub fn encode_payload(header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>) -> Bytes {
    let mut w = Writer::with_capacity(256);
    header.encode(&mut w);
    txn.encode(&mut w);
    if let Some(digest) = digest {
        digest.encode(&mut w);
    }
    w.into_bytes()
}

/// The zxid of a payload without decoding the rest.
pub fn payload_zxid(payload: &[u8]) -> Result<i64, WireError> {
    TxnHeader::decode(&mut Reader::new(payload)).map(|h| h.zxid)
}

fn decode_create(r: &mut Reader<'_>) -> Result<CreateTxn, WireError> {
    let (path, data, acl, ephemeral) = (r.string()?, r.bytes()?, Acl::decode_list(r)?, r.bool()?);
    // CreateTxnV0 of ZooKeeper 3.3 and older ends here.
    let parent_cversion = if r.is_empty() { -1 } else { r.i32()? };
    Ok(CreateTxn { path, data, acl, ephemeral, parent_cversion })
}

/// The path list of a closeSession, if there is one. Without it the payload ends, or goes on with the digest
/// (3.6+ with `closeSessionTxn.enabled=false`), whose bytes never read as a list of absolute paths.
fn decode_closed_paths(r: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut ahead = r.clone();
    let paths = ahead.vec(4, Reader::string).ok()?;
    if paths.iter().any(|p| !p.starts_with('/')) {
        return None;
    }
    *r = ahead;
    Some(paths)
}

fn encode_node(w: &mut Writer, path: &str, data: Option<&[u8]>, acl: &[Acl]) {
    w.string(path);
    w.buffer(data);
    Acl::encode_list(acl, w);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: i32) -> TxnHeader {
        TxnHeader {
            client_id: 0x0100_0000_0000_0001,
            cxid: 7,
            zxid: 0x1_0000_0002,
            time: 1_700_000_000_000,
            kind,
        }
    }

    fn bytes_of(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    fn header_bytes(kind: i32) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
        bytes.extend(1_700_000_000_000i64.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes
    }

    /// The bytes read as the entry, and the entry writes the bytes.
    fn check(payload: &[u8], entry: &TxnEntry) {
        assert_eq!(TxnEntry::decode(payload).as_ref(), Ok(entry));
        assert_eq!(entry.encode(), payload);
    }

    #[test]
    fn a_create_with_digest_lies_as_apache_writes_it() {
        let payload = bytes_of(&[
            &header_bytes(1),
            b"\0\0\0\x02/a",
            b"\0\0\0\x01x",
            b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone",
            b"\x01",
            b"\0\0\0\x05",
            b"\0\0\0\x02\0\0\0\0\x51\xc6\xd6\x60",
        ]);
        let txn = Txn::Create(CreateTxn {
            path: "/a".into(),
            data: Some(Bytes::from_static(b"x")),
            acl: Acl::open(),
            ephemeral: true,
            parent_cversion: 5,
        });
        let digest = Some(TxnDigest { version: DIGEST_VERSION, tree_digest: 0x51c6_d660 });
        check(&payload, &TxnEntry { header: header(kind::CREATE), txn, digest });
    }

    #[test]
    fn a_create_of_zookeeper_3_3_has_no_parent_cversion() {
        let payload = bytes_of(&[&header_bytes(1), b"\0\0\0\x02/a", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0"]);
        let entry = TxnEntry::decode(&payload).expect("well formed");
        let Txn::Create(create) = entry.txn else { panic!("a create") };
        assert_eq!((create.parent_cversion, create.data, entry.digest), (-1, None, None));
    }

    #[test]
    fn close_session_is_told_apart_in_all_its_forms() {
        let close = |paths, digest| TxnEntry {
            header: header(kind::CLOSE_SESSION),
            txn: Txn::CloseSession { paths },
            digest,
        };
        let digest = Some(TxnDigest { version: 2, tree_digest: 9 });
        let digest_bytes = b"\0\0\0\x02\0\0\0\0\0\0\0\x09";
        check(&header_bytes(-11), &close(None, None));
        check(&bytes_of(&[&header_bytes(-11), digest_bytes]), &close(None, digest));
        check(&bytes_of(&[&header_bytes(-11), b"\0\0\0\0", digest_bytes]), &close(Some(vec![]), digest));
        check(
            &bytes_of(&[&header_bytes(-11), b"\0\0\0\x01\0\0\0\x02/e"]),
            &close(Some(vec!["/e".into()]), None),
        );
        // A digest whose value reads as two empty strings is still a digest.
        let zero = Some(TxnDigest { version: 2, tree_digest: 0 });
        check(&bytes_of(&[&header_bytes(-11), b"\0\0\0\x02\0\0\0\0\0\0\0\0"]), &close(None, zero));
    }

    #[test]
    fn a_refused_multi_keeps_the_records_before_the_culprit() {
        let create = Txn::CreateContainer(CreateContainerTxn {
            path: "/m1".into(),
            data: None,
            acl: Acl::open(),
            parent_cversion: 1,
        });
        let items = vec![
            SubTxn::new(kind::CREATE_CONTAINER, &create),
            SubTxn::new(kind::ERROR, &Txn::Error { err: -101 }),
            SubTxn::new(kind::ERROR, &Txn::Error { err: -2 }),
        ];
        let entry = TxnEntry { header: header(kind::MULTI), txn: Txn::Multi(items), digest: None };
        let back = TxnEntry::decode(&entry.encode()).expect("well formed");
        assert_eq!(back, entry);
        let Txn::Multi(items) = back.txn else { panic!("a multi") };
        assert_eq!(items[0].record(), Ok(create));
        assert_eq!(items[1].record(), Ok(Txn::Error { err: -101 }));
    }

    #[test]
    fn every_record_survives_the_round_trip() {
        let data = Some(Bytes::from_static(b"d"));
        let ttl = CreateTtlTxn {
            path: "/t".into(),
            data: data.clone(),
            acl: Acl::open(),
            parent_cversion: 3,
            ttl_ms: 500,
        };
        let records = [
            (kind::CREATE_SESSION, Txn::CreateSession { timeout_ms: 4000 }),
            (kind::ERROR, Txn::Error { err: -110 }),
            (kind::CREATE_TTL, Txn::CreateTtl(ttl)),
            (kind::DELETE, Txn::Delete { path: "/d".into() }),
            (kind::DELETE_CONTAINER, Txn::Delete { path: "/c".into() }),
            (kind::SET_DATA, Txn::SetData(SetDataTxn { path: "/s".into(), data: data.clone(), version: 2 })),
            (
                kind::RECONFIG,
                Txn::SetData(SetDataTxn { path: "/zookeeper/config".into(), data, version: -1 }),
            ),
            (kind::SET_ACL, Txn::SetAcl(SetAclTxn { path: "/s".into(), acl: Acl::read_only(), version: 1 })),
        ];
        for (kind, txn) in records {
            let entry = TxnEntry {
                header: header(kind),
                txn,
                digest: Some(TxnDigest { version: 2, tree_digest: -1 }),
            };
            assert_eq!(TxnEntry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn a_cut_off_payload_is_an_error_and_a_session_inside_a_multi_too() {
        let whole = TxnEntry {
            header: header(kind::SET_DATA),
            txn: Txn::SetData(SetDataTxn { path: "/s".into(), data: None, version: 2 }),
            digest: None,
        }
        .encode();
        for n in 0..whole.len() {
            assert!(TxnEntry::decode(&whole[..n]).is_err(), "{n} bytes");
        }
        let nested = SubTxn { kind: kind::CREATE_SESSION, data: Bytes::from_static(&[0; 4]) };
        assert!(nested.record().is_err());
    }
}
