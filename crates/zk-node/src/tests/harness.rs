//! A node with a clock that stands still, a log that syncs when told to, and clients that keep every frame.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use zk_proto::txn::TxnEntry;
use zk_proto::{
    Acl, ConnectRequest, ConnectResponse, CreateKind, CreateRequest, ErrorCode, EventKind, MultiOp, OpCode,
    Reader, ReplyHeader, Request, RequestHeader, Response, WatcherEvent, Writer,
};
use zk_tree::{Tree, TreeConfig};

use crate::{CloseReason, ConnId, Durable, Effect, Effects, Input, Node, Now, Options};

/// One reply or event as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Got {
    Reply { xid: i32, zxid: i64, err: ErrorCode, body: Bytes },
    Event { zxid: i64, event: WatcherEvent },
    Connected(ConnectResponse),
}

impl Got {
    pub(super) fn is_event(&self) -> bool {
        matches!(self, Self::Event { .. })
    }

    /// The first frame of a connection answers its handshake.
    pub(super) fn read(handshaken: &mut bool, frame: &[u8]) -> Self {
        let mut r = Reader::new(frame);
        if !std::mem::replace(handshaken, true) {
            return Self::Connected(ConnectResponse::decode(&mut r).unwrap());
        }
        let header = ReplyHeader::decode(&mut r).unwrap();
        if header.xid == -1 {
            return Self::Event { zxid: header.zxid, event: WatcherEvent::decode(&mut r).unwrap() };
        }
        let err = ErrorCode::from_code(header.err).unwrap();
        assert!(err == ErrorCode::Ok || r.is_empty(), "a refusal has no body");
        Self::Reply { xid: header.xid, zxid: header.zxid, err, body: Bytes::copy_from_slice(r.rest()) }
    }

    /// The xid and error of a reply; panics if it is something else, as do the others.
    pub(super) fn reply(self) -> (i32, ErrorCode) {
        match self {
            Self::Reply { xid, err, .. } => (xid, err),
            other => panic!("a reply was expected, not {other:?}"),
        }
    }

    pub(super) fn body(self, op: OpCode) -> Response {
        match self {
            Self::Reply { err: ErrorCode::Ok, body, .. } => {
                Response::decode_for(op, &mut Reader::new(&body)).unwrap()
            }
            other => panic!("a body was expected, not {other:?}"),
        }
    }

    pub(super) fn event(self) -> (EventKind, String) {
        match self {
            Self::Event { event, .. } => (event.kind, event.path),
            other => panic!("an event was expected, not {other:?}"),
        }
    }
}

/// What the world around the node saw.
pub(super) struct Harness {
    pub(super) node: Node,
    pub(super) now: Now,
    /// Appended, not durable.
    pub(super) volatile: VecDeque<(i64, Bytes)>,
    pub(super) durable: Vec<Bytes>,
    pub(super) got: BTreeMap<ConnId, VecDeque<Got>>,
    pub(super) closed: BTreeMap<ConnId, CloseReason>,
    pub(super) snapshots: usize,
    pub(super) complaints: Vec<ConnId>,
    options: Options,
    handshaken: BTreeMap<ConnId, bool>,
    next_conn: u64,
}

impl Harness {
    pub(super) fn new(options: Options) -> Self {
        Self::over(options, TreeConfig::default(), &[])
    }

    /// A node over what an earlier one made durable.
    pub(super) fn over(options: Options, config: TreeConfig, log: &[Bytes]) -> Self {
        let mut tree = Tree::new(config);
        for payload in log {
            let entry = TxnEntry::decode(payload).unwrap();
            tree.apply(&entry.header, &entry.txn, &mut Vec::new());
        }
        let now = Now { wall_ms: 1_700_000_000_000, mono_ms: 1_000 };
        Self {
            node: Node::new(options.clone(), tree, now),
            options,
            now,
            volatile: VecDeque::new(),
            durable: log.to_vec(),
            got: BTreeMap::new(),
            closed: BTreeMap::new(),
            snapshots: 0,
            complaints: Vec::new(),
            handshaken: BTreeMap::new(),
            next_conn: 0,
        }
    }

    pub(super) fn options(&self) -> Options {
        self.options.clone()
    }

    pub(super) fn step(&mut self, input: Input<'_>) {
        let mut fx = Effects::new();
        self.node.step(self.now, input, &mut fx);
        let (effects, bytes) = fx.take();
        for effect in effects {
            match effect {
                Effect::Send { conn, range } => {
                    for frame in bytes.frames(range) {
                        let got = self.read(conn, frame);
                        self.got.entry(conn).or_default().push_back(got);
                    }
                }
                Effect::Close { conn, reason } => drop(self.closed.insert(conn, reason)),
                Effect::Append { zxid, payload } => self.volatile.push_back((zxid, payload)),
                Effect::Complain { conn, .. } => self.complaints.push(conn),
                Effect::Snapshot => self.snapshots += 1,
                other => panic!("a server alone does not ask for {other:?}"),
            }
        }
        self.node.check();
    }

    fn read(&mut self, conn: ConnId, frame: &[u8]) -> Got {
        Got::read(self.handshaken.entry(conn).or_default(), frame)
    }

    pub(super) fn open(&mut self) -> ConnId {
        self.open_from("10.0.0.1:1000")
    }

    pub(super) fn open_from(&mut self, peer: &str) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.step(Input::Connected { conn, peer: peer.parse().unwrap() });
        conn
    }

    pub(super) fn handshake(&mut self, conn: ConnId, session_id: i64, passwd: &[u8], last_zxid_seen: i64) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: 10_000,
            session_id,
            passwd: Bytes::copy_from_slice(passwd),
            read_only: Some(false),
        };
        let mut w = Writer::new();
        request.encode(&mut w);
        self.step(Input::Frame { conn, frame: w.as_slice() });
    }

    /// A connection with a new session, and the session.
    pub(super) fn connect(&mut self) -> (ConnId, ConnectResponse) {
        let conn = self.open();
        self.handshake(conn, 0, &[0; 16], 0);
        self.sync_log();
        match self.next(conn) {
            Some(Got::Connected(response)) => (conn, response),
            other => panic!("not connected: {other:?}"),
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, xid: i32, request: &Request) {
        let mut w = Writer::new();
        RequestHeader { xid, op: request.op().code() }.encode(&mut w);
        request.encode(&mut w);
        self.step(Input::Frame { conn, frame: w.as_slice() });
    }

    /// Everything appended so far becomes durable, in one group commit.
    pub(super) fn sync_log(&mut self) {
        let count = self.volatile.len();
        self.sync_some(count);
    }

    pub(super) fn sync_some(&mut self, count: usize) {
        let batch: Vec<_> = self.volatile.drain(..count).collect();
        let Some((zxid, _)) = batch.last() else { return };
        let durable = Durable { zxid: *zxid, count: batch.len() as u64, fsync_ms: 1 };
        self.durable.extend(batch.iter().map(|(_, payload)| payload.clone()));
        self.step(Input::Durable(durable));
    }

    /// Lets time pass in ticks.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while self.now.mono_ms < end {
            let step = (end - self.now.mono_ms).min(500);
            self.now.mono_ms += step;
            self.now.wall_ms += step as i64;
            self.step(Input::Tick);
        }
    }

    pub(super) fn next(&mut self, conn: ConnId) -> Option<Got> {
        self.got.get_mut(&conn)?.pop_front()
    }

    pub(super) fn reply(&mut self, conn: ConnId) -> (i32, ErrorCode) {
        self.next(conn).expect("an answer").reply()
    }

    pub(super) fn body(&mut self, conn: ConnId, op: OpCode) -> Response {
        self.next(conn).expect("an answer").body(op)
    }

    pub(super) fn event(&mut self, conn: ConnId) -> (EventKind, String) {
        self.next(conn).expect("an event").event()
    }
}

pub(super) fn create(path: &str, flags: i32) -> Request {
    Request::Create(create_request(path, flags))
}

pub(super) fn create_request(path: &str, flags: i32) -> CreateRequest {
    CreateRequest {
        kind: CreateKind::Create,
        path: path.to_owned(),
        data: Some(Bytes::from_static(b"d")),
        acl: Acl::open(),
        flags,
        ttl_ms: -1,
    }
}

pub(super) fn multi_create(path: &str) -> MultiOp {
    MultiOp::Create(create_request(path, 0))
}

pub(super) fn get(path: &str, watch: bool) -> Request {
    Request::GetData { path: path.to_owned(), watch }
}

pub(super) fn exists(path: &str, watch: bool) -> Request {
    Request::Exists { path: path.to_owned(), watch }
}

pub(super) fn set(path: &str, data: &[u8]) -> Request {
    Request::SetData { path: path.to_owned(), data: Some(Bytes::copy_from_slice(data)), version: -1 }
}

pub(super) fn delete(path: &str) -> Request {
    Request::Delete { path: path.to_owned(), version: -1 }
}
