//! What clients do in a [`World`], and what they get.

use std::collections::VecDeque;

use bytes::Bytes;
use zk_proto::quorum::Sid;
use zk_proto::{
    ConnectRequest, ConnectResponse, ErrorCode, EventKind, OpCode, Request, RequestHeader, Response, Writer,
};
use zk_tree::session::password;

use super::disk::Image;
use super::world::{Client, World};
use crate::tests::harness::Got;
use crate::{ConnId, Input};

impl World {
    pub(super) fn open(&mut self, at: Sid) -> ConnId {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        let client = Client { at, got: VecDeque::new(), closed: None, handshaken: false };
        self.clients.insert(conn, client);
        self.step(at, Input::Connected { conn, peer: "10.0.0.1:1000".parse().unwrap() });
        conn
    }

    pub(super) fn handshake(&mut self, conn: ConnId, session_id: i64, seen: i64, read_only: bool) {
        let passwd = if session_id == 0 { [0; 16] } else { password(session_id) };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: seen,
            timeout_ms: 10_000,
            session_id,
            passwd: Bytes::copy_from_slice(&passwd),
            read_only: Some(read_only),
        };
        let mut w = Writer::new();
        request.encode(&mut w);
        self.frame(conn, w.as_slice());
    }

    fn frame(&mut self, conn: ConnId, frame: &[u8]) {
        let at = self.clients[&conn].at;
        if self.member(at).takes_frames(conn) {
            self.step(at, Input::Frame { conn, frame });
        }
    }

    /// A new session at that server.
    pub(super) fn connect(&mut self, at: Sid) -> (ConnId, i64) {
        let conn = self.open(at);
        self.handshake(conn, 0, 0, false);
        self.settle();
        (conn, self.connected(conn).session_id)
    }

    /// The session goes on at that server, whatever became of its connection.
    pub(super) fn reconnect(&mut self, at: Sid, session: i64) -> ConnId {
        let conn = self.open(at);
        self.handshake(conn, session, 0, false);
        conn
    }

    pub(super) fn connected(&mut self, conn: ConnId) -> ConnectResponse {
        match self.next(conn) {
            Some(Got::Connected(response)) => response,
            other => panic!("not connected: {other:?}, {:?}", self.clients[&conn].closed),
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, xid: i32, request: &Request) {
        let mut w = Writer::new();
        RequestHeader { xid, op: request.op().code() }.encode(&mut w);
        request.encode(&mut w);
        self.frame(conn, w.as_slice());
    }

    /// A body that may be anything.
    pub(super) fn send_raw(&mut self, conn: ConnId, xid: i32, op: OpCode, body: &[u8]) {
        let mut w = Writer::new();
        RequestHeader { xid, op: op.code() }.encode(&mut w);
        let mut frame = w.into_vec();
        frame.extend_from_slice(body);
        self.frame(conn, &frame);
    }

    pub(super) fn gone(&mut self, conn: ConnId) {
        let at = self.clients[&conn].at;
        self.step(at, Input::Closed { conn });
    }

    pub(super) fn next(&mut self, conn: ConnId) -> Option<Got> {
        self.clients.get_mut(&conn)?.got.pop_front()
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

    /// The data of a getData.
    pub(super) fn body_of(&mut self, conn: ConnId, xid: i32, request: &Request, op: OpCode) -> Bytes {
        self.send(conn, xid, request);
        self.settle();
        match self.body(conn, op) {
            Response::Data { data, .. } => data.unwrap(),
            other => panic!("data was expected, not {other:?}"),
        }
    }

    /// When the leader would give the session up.
    pub(super) fn deadline(&self, sid: Sid, session: i64) -> i64 {
        let buckets = self.member(sid).node().sessions().buckets();
        *buckets.iter().find(|(_, ids)| ids.contains(&session)).unwrap().0
    }

    /// A request and its answer.
    pub(super) fn ask(&mut self, conn: ConnId, xid: i32, request: &Request) -> ErrorCode {
        self.send(conn, xid, request);
        self.settle();
        let (got, err) = self.reply(conn);
        assert_eq!(got, xid);
        err
    }

    pub(super) fn has(&self, sid: Sid, path: &str) -> bool {
        self.member(sid).node().tree().node(path).is_some()
    }

    /// All trees are the same, and so are their digests.
    pub(super) fn check_equal(&self) {
        let mut trees = self.running().into_iter().map(|sid| {
            let tree = self.member(sid).node().tree();
            tree.check();
            assert_eq!(self.member(sid).node().stats().digest_mismatches, 0, "server {sid}");
            (sid, Image::of(tree).shared(), tree.digest())
        });
        let (first, shared, digest) = trees.next().unwrap();
        for (sid, theirs, their_digest) in trees {
            assert_eq!(theirs, shared, "servers {first} and {sid}");
            assert_eq!(their_digest, digest, "servers {first} and {sid}");
        }
    }
}
