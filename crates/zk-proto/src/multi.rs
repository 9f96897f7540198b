//! The items of a multi and of a multiRead, and their results.
//!
//! Items are framed by a header `{type, done, err}` each and closed by `(-1, true, -1)`. Apache normalises
//! items while it reads them (`MultiOperationRecord`, `Op.Create.getOpcode`); so does [`MultiOp::decode_all`].

use bytes::Bytes;

use crate::data::Stat;
use crate::error::ErrorCode;
use crate::jute::{Reader, WireError, Writer};
use crate::opcode::{CreateKind, CreateMode, OpCode};
use crate::request::CreateRequest;

struct MultiHeader {
    kind: i32,
    done: bool,
}

impl MultiHeader {
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let header = Self { kind: r.i32()?, done: r.bool()? };
        r.i32()?; // an error is told again in the item's body
        Ok(header)
    }

    fn write(w: &mut Writer, kind: i32, err: i32) {
        w.i32(kind);
        w.bool(false);
        w.i32(err);
    }

    fn write_end(w: &mut Writer) {
        w.i32(-1);
        w.bool(true);
        w.i32(-1);
    }
}

/// Reads items up to the closing header. Each takes at least its header's nine bytes, so the input bounds it.
fn decode_items<T>(
    r: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>, i32) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut items = Vec::new();
    loop {
        let header = MultiHeader::decode(r)?;
        if header.done {
            return Ok(items);
        }
        items.push(item(r, header.kind)?);
    }
}

fn unknown(kind: i32) -> WireError {
    WireError::Unknown { what: "operation in a multi", value: kind }
}

/// One write inside a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiOp {
    Create(CreateRequest),
    Delete { path: String, version: i32 },
    SetData { path: String, data: Option<Bytes>, version: i32 },
    Check { path: String, version: i32 },
}

impl MultiOp {
    pub fn op(&self) -> OpCode {
        match self {
            Self::Create(create) => create.kind.op(),
            Self::Delete { .. } => OpCode::Delete,
            Self::SetData { .. } => OpCode::SetData,
            Self::Check { .. } => OpCode::Check,
        }
    }

    pub fn path(&self) -> &str {
        match self {
            Self::Create(create) => &create.path,
            Self::Delete { path, .. } | Self::SetData { path, .. } | Self::Check { path, .. } => path,
        }
    }

    pub fn decode_all(r: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        decode_items(r, Self::decode)
    }

    fn decode(r: &mut Reader<'_>, kind: i32) -> Result<Self, WireError> {
        let op = OpCode::from_code(kind).ok_or(unknown(kind))?;
        if let Some(create_kind) = CreateKind::from_op(op) {
            return normalise(CreateRequest::decode(create_kind, r)?).map(Self::Create);
        }
        match op {
            OpCode::Delete => Ok(Self::Delete { path: r.string()?, version: r.i32()? }),
            OpCode::SetData => Ok(Self::SetData { path: r.string()?, data: r.bytes()?, version: r.i32()? }),
            OpCode::Check => Ok(Self::Check { path: r.string()?, version: r.i32()? }),
            _ => Err(unknown(kind)),
        }
    }

    pub fn encode_all(ops: &[Self], w: &mut Writer) {
        for op in ops {
            MultiHeader::write(w, op.op().code(), -1);
            match op {
                Self::Create(create) => create.encode(w),
                Self::Delete { path, version } | Self::Check { path, version } => {
                    w.string(path);
                    w.i32(*version);
                }
                Self::SetData { path, data, version } => {
                    w.string(path);
                    w.buffer(data.as_deref());
                    w.i32(*version);
                }
            }
        }
        MultiHeader::write_end(w);
    }
}

/// Inside a multi the flags decide the operation: container flags make any create a container, TTL flags make
/// it a TTL create (without a TTL unless it came as one, which is refused later), and others drop the TTL.
fn normalise(mut create: CreateRequest) -> Result<CreateRequest, WireError> {
    let mode = CreateMode::from_flags(create.flags);
    if create.kind == CreateKind::Ttl {
        if !mode.is_some_and(CreateMode::is_ttl) {
            create.kind = CreateKind::Create;
            create.ttl_ms = -1;
        }
    } else if mode.is_none() {
        return Err(WireError::Unknown { what: "create flags", value: create.flags });
    }
    if mode.is_some_and(CreateMode::is_ttl) {
        create.kind = CreateKind::Ttl;
    } else if mode.is_some_and(CreateMode::is_container) {
        create.kind = CreateKind::Container;
    }
    Ok(create)
}

/// One read inside a multiRead; it sets no watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiReadOp {
    GetData { path: String },
    GetChildren { path: String },
}

impl MultiReadOp {
    pub fn decode_all(r: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        decode_items(r, |r, kind| {
            let op = OpCode::from_code(kind);
            if !matches!(op, Some(OpCode::GetData | OpCode::GetChildren)) {
                return Err(unknown(kind));
            }
            let path = r.string()?;
            r.bool()?; // the watch flag, which Apache ignores here
            Ok(if op == Some(OpCode::GetData) { Self::GetData { path } } else { Self::GetChildren { path } })
        })
    }

    pub fn encode_all(ops: &[Self], w: &mut Writer) {
        for op in ops {
            let (kind, path) = match op {
                Self::GetData { path } => (OpCode::GetData, path),
                Self::GetChildren { path } => (OpCode::GetChildren, path),
            };
            MultiHeader::write(w, kind.code(), -1);
            w.string(path);
            w.bool(false);
        }
        MultiHeader::write_end(w);
    }
}

/// Result of one item of a multi or a multiRead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    Create {
        path: String,
    },
    /// Also for containers and TTL nodes.
    Create2 {
        path: String,
        stat: Stat,
    },
    Delete,
    SetData {
        stat: Stat,
    },
    Check,
    GetData {
        data: Option<Bytes>,
        stat: Stat,
    },
    GetChildren {
        children: Vec<String>,
    },
    /// In a failed multi every item is one: before the culprit `Ok`, after it `RuntimeInconsistency`.
    Error(ErrorCode),
}

impl MultiResult {
    pub fn decode_all(r: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        decode_items(r, Self::decode)
    }

    fn decode(r: &mut Reader<'_>, kind: i32) -> Result<Self, WireError> {
        Ok(match OpCode::from_code(kind).ok_or(unknown(kind))? {
            OpCode::Create => Self::Create { path: r.string()? },
            OpCode::Create2 => Self::Create2 { path: r.string()?, stat: Stat::decode(r)? },
            OpCode::Delete => Self::Delete,
            OpCode::SetData => Self::SetData { stat: Stat::decode(r)? },
            OpCode::Check => Self::Check,
            OpCode::GetData => Self::GetData { data: r.bytes()?, stat: Stat::decode(r)? },
            OpCode::GetChildren => Self::GetChildren { children: r.vec(4, Reader::string)? },
            OpCode::Error => {
                let err = r.i32()?;
                Self::Error(
                    ErrorCode::from_code(err).ok_or(WireError::Unknown { what: "error code", value: err })?,
                )
            }
            _ => return Err(unknown(kind)),
        })
    }

    pub fn encode_all(results: &[Self], w: &mut Writer) {
        for result in results {
            result.encode(w);
        }
        MultiHeader::write_end(w);
    }

    fn encode(&self, w: &mut Writer) {
        let header = |w: &mut Writer, op: OpCode| MultiHeader::write(w, op.code(), 0);
        match self {
            Self::Create { path } => {
                header(w, OpCode::Create);
                w.string(path);
            }
            Self::Create2 { path, stat } => {
                header(w, OpCode::Create2);
                w.string(path);
                stat.encode(w);
            }
            Self::Delete => header(w, OpCode::Delete),
            Self::SetData { stat } => {
                header(w, OpCode::SetData);
                stat.encode(w);
            }
            Self::Check => header(w, OpCode::Check),
            Self::GetData { data, stat } => {
                header(w, OpCode::GetData);
                w.buffer(data.as_deref());
                stat.encode(w);
            }
            Self::GetChildren { children } => {
                header(w, OpCode::GetChildren);
                w.vec(children, |w, c| w.string(c));
            }
            Self::Error(code) => {
                MultiHeader::write(w, OpCode::Error.code(), code.code());
                w.i32(code.code());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Acl;

    fn read_back(kind: CreateKind, flags: i32, ttl_ms: i64) -> Result<MultiOp, WireError> {
        let create = CreateRequest { kind, path: "/a".into(), data: None, acl: Acl::open(), flags, ttl_ms };
        let mut w = Writer::new();
        MultiOp::encode_all(&[MultiOp::Create(create)], &mut w);
        let mut ops = MultiOp::decode_all(&mut Reader::new(w.as_slice()))?;
        assert_eq!(ops.len(), 1);
        Ok(ops.remove(0))
    }

    #[test]
    fn flags_decide_what_a_create_inside_a_multi_is() {
        let check = |kind, flags, ttl, expect: (CreateKind, i64)| match read_back(kind, flags, ttl) {
            Ok(MultiOp::Create(c)) => assert_eq!((c.kind, c.ttl_ms), expect, "{kind:?} {flags}"),
            other => panic!("{other:?}"),
        };
        check(CreateKind::Create, 0, -1, (CreateKind::Create, -1));
        check(CreateKind::Create2, 3, -1, (CreateKind::Create2, -1));
        check(CreateKind::Create, 4, -1, (CreateKind::Container, -1));
        check(CreateKind::Container, 0, -1, (CreateKind::Container, -1));
        check(CreateKind::Create, 5, -1, (CreateKind::Ttl, -1));
        check(CreateKind::Ttl, 6, 100, (CreateKind::Ttl, 100));
        check(CreateKind::Ttl, 0, 100, (CreateKind::Create, -1));
    }

    #[test]
    fn unknown_flags_make_the_whole_multi_unreadable() {
        let err = read_back(CreateKind::Create, 9, -1);
        assert_eq!(err, Err(WireError::Unknown { what: "create flags", value: 9 }));
    }

    #[test]
    fn reads_do_not_belong_into_a_multi() {
        let mut w = Writer::new();
        MultiReadOp::encode_all(&[MultiReadOp::GetData { path: "/a".into() }], &mut w);
        assert!(MultiOp::decode_all(&mut Reader::new(w.as_slice())).is_err());
    }

    #[test]
    fn an_endless_multi_ends_with_its_bytes() {
        let mut w = Writer::new();
        MultiHeader::write(&mut w, OpCode::Delete.code(), -1);
        w.string("/a");
        w.i32(-1);
        assert_eq!(
            MultiOp::decode_all(&mut Reader::new(w.as_slice())),
            Err(WireError::Truncated { needed: 4, left: 0 })
        );
    }
}
