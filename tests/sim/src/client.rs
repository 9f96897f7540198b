//! A ZooKeeper client as the protocol has it: a session that outlives its connections, pipelined requests, watches
//! that are set again, patience that ends.

mod requests;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use zk_proto::header::xid;
use zk_proto::{
    ConnectRequest, ConnectResponse, ErrorCode, EventKind, OpCode, Reader, ReplyHeader, Request,
    RequestHeader, SetWatchesRequest, WatcherEvent, Writer,
};

use crate::broken;
use crate::bugs::Bug;
use crate::history::{Op, Outcome, Seen};
use crate::net::{ConnKey, Host, Kind, Message};
use crate::say;
use crate::world::{Event, World};

/// What the servers know it by.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: i64,
    pub passwd: Bytes,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Away,
    Connecting { key: ConnKey, since_ms: u64 },
    Open { key: ConnKey },
}

/// What a client is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Requests of every kind.
    Busy,
    /// One write, one sync, one read, and all of them answered well.
    Final { step: u8 },
    /// Its session is kept, nothing is asked.
    Quiet,
}

/// See the module's header.
#[derive(Debug)]
pub struct Client {
    pub index: usize,
    pub state: State,
    pub session: Option<Session>,
    pub last_zxid: i64,
    next_xid: i32,
    /// Indices into the history.
    outstanding: VecDeque<usize>,
    pending_watches: Option<SetWatchesRequest>,
    last_heard_ms: u64,
    last_sent_ms: u64,
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    /// Makes values and names unique.
    serial: u64,
    /// Names it was told of, to delete.
    own: Vec<String>,
    pub mood: Mood,
    /// The request of the last step of [`Mood::Final`].
    final_xid: i32,
    /// It has asked to close its session and will not take it up again.
    is_closing: bool,
    /// The server of the connection.
    pub server: i64,
}

impl Client {
    pub fn new(index: usize) -> Self {
        Self {
            index,
            state: State::Away,
            session: None,
            last_zxid: 0,
            next_xid: 1,
            outstanding: VecDeque::new(),
            pending_watches: None,
            last_heard_ms: 0,
            last_sent_ms: 0,
            data: BTreeSet::new(),
            exist: BTreeSet::new(),
            child: BTreeSet::new(),
            serial: 0,
            own: Vec::new(),
            mood: Mood::Busy,
            final_xid: 0,
            is_closing: false,
            server: 0,
        }
    }

    pub fn host(&self) -> Host {
        -1 - self.index as i64
    }

    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.is_closing = false;
        (self.last_zxid, self.next_xid) = (0, 1);
        self.data.clear();
        self.exist.clear();
        self.child.clear();
        self.own.clear();
    }

    /// The event's watches are used up, as the Java client has it.
    fn on_event(&mut self, kind: EventKind, path: &str) {
        match kind {
            EventKind::NodeChildrenChanged => {
                self.child.remove(path);
            }
            EventKind::NodeDeleted => {
                self.data.remove(path);
                self.exist.remove(path);
                self.child.remove(path);
            }
            _ => {
                self.data.remove(path);
                self.exist.remove(path);
            }
        }
    }

    fn leave_watch(&mut self, request: &Request, err: i32) {
        let ok = err == 0;
        match request {
            Request::GetData { path, watch: true } if ok => drop(self.data.insert(path.clone())),
            Request::Exists { path, watch: true } if ok => drop(self.data.insert(path.clone())),
            Request::Exists { path, watch: true } if err == ErrorCode::NoNode.code() => {
                self.exist.insert(path.clone());
            }
            Request::GetChildren { path, watch: true } if ok => drop(self.child.insert(path.clone())),
            _ => {}
        }
    }

    fn has_watches(&self) -> bool {
        !self.data.is_empty() || !self.exist.is_empty() || !self.child.is_empty()
    }

    fn timeout_ms(&self) -> u64 {
        self.session.as_ref().map_or(4000, |s| s.timeout_ms)
    }
}

impl World {
    /// A client looks around.
    pub fn on_client(&mut self, index: usize) {
        let (think_ms, now_ms) = (self.shape.think_ms, self.now_ms());
        let again_ms = 1 + self.rng.u64(..2 * think_ms);
        self.queue.after(again_ms, Event::Client { client: index });
        let client = &self.clients[index];
        match client.state {
            State::Away => self.client_dials(index),
            State::Connecting { key, since_ms } => {
                if now_ms > since_ms + client.timeout_ms() / 3 {
                    self.client_lets_go(index, key);
                }
            }
            State::Open { key } => {
                if now_ms > client.last_heard_ms + client.timeout_ms() * 2 / 3 {
                    say!(self, format!("c{index}"), "hears nothing");
                    return self.client_lets_go(index, key);
                }
                if now_ms > client.last_sent_ms + client.timeout_ms() / 3 {
                    self.client_sends(index, key, xid::PING, &Request::Ping);
                }
                if client_may_ask(&self.clients[index], self.shape.pipeline) {
                    self.client_acts(index, key);
                }
            }
        }
    }

    fn client_dials(&mut self, index: usize) {
        let sids: Vec<i64> = self.servers.keys().copied().collect();
        let sid = sids[self.rng.usize(..sids.len())];
        let client = &self.clients[index];
        let host = client.host();
        if !self.is_up(sid) || !self.net.passes_both_ways(host, sid) {
            return;
        }
        let session = client.session.clone();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: client.last_zxid,
            timeout_ms: 20 * self.shape.tick_ms as i32,
            session_id: session.as_ref().map_or(0, |s| s.id),
            passwd: session.map_or_else(|| Bytes::from_static(&[0; 16]), |s| s.passwd),
            read_only: Some(false),
        };
        let key = self.net.open(Kind::Client, host, sid);
        self.client_connects(sid, key);
        let mut w = Writer::new();
        request.encode(&mut w);
        self.send_bytes(key, host, w.into_bytes());
        let since_ms = self.now_ms();
        let client = &mut self.clients[index];
        client.server = sid;
        client.state = State::Connecting { key, since_ms };
    }

    /// The client closes its connection and will look for another.
    fn client_lets_go(&mut self, index: usize, key: ConnKey) {
        let host = self.clients[index].host();
        self.close(key, host);
        self.net.forget(key);
        self.client_is_away(index);
    }

    pub fn client_closed(&mut self, host: Host, key: ConnKey) {
        let index = (-1 - host) as usize;
        match self.clients[index].state {
            State::Connecting { key: k, .. } | State::Open { key: k } if k == key => {
                self.client_is_away(index)
            }
            _ => {}
        }
    }

    fn client_is_away(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.state = State::Away;
        client.pending_watches = None;
        if let Mood::Final { step } = &mut client.mood
            && *step < 6
        {
            *step = 0;
        }
        for op in std::mem::take(&mut client.outstanding) {
            self.history.ops[op].outcome = Outcome::Lost;
        }
        if self.clients[index].is_closing {
            self.clients[index].forget_session();
        }
    }

    fn client_sends(&mut self, index: usize, key: ConnKey, xid: i32, request: &Request) {
        let mut w = Writer::new();
        RequestHeader { xid, op: request.op().code() }.encode(&mut w);
        request.encode(&mut w);
        let host = self.clients[index].host();
        self.clients[index].last_sent_ms = self.queue.now_ms();
        self.send_bytes(key, host, w.into_bytes());
    }

    pub(super) fn client_asks(&mut self, index: usize, key: ConnKey, request: Request) {
        let sent_ms = self.now_ms();
        let client = &mut self.clients[index];
        let Some(session) = &client.session else { return };
        let xid = client.next_xid;
        client.next_xid += 1;
        client.is_closing = request == Request::CloseSession;
        client.outstanding.push_back(self.history.ops.len());
        let op = Op {
            client: index,
            session: session.id,
            xid,
            request: request.clone(),
            floor: self.history.acked,
            sent_ms,
            outcome: Outcome::Open,
        };
        self.history.ops.push(op);
        say!(self, format!("c{index}"), "asks {xid}: {request:?}");
        self.client_sends(index, key, xid, &request);
    }

    pub fn client_receives(&mut self, host: Host, key: ConnKey, message: Message) {
        let index = (-1 - host) as usize;
        let Message::Bytes(frame) = message else { return };
        let now_ms = self.now_ms();
        match self.clients[index].state {
            State::Connecting { key: k, .. } if k == key => self.client_connected(index, key, &frame),
            State::Open { key: k } if k == key => {
                self.clients[index].last_heard_ms = now_ms;
                self.client_hears(index, key, &frame);
            }
            _ => {}
        }
    }

    fn client_connected(&mut self, index: usize, key: ConnKey, frame: &Bytes) {
        let response = ConnectResponse::decode(&mut Reader::new(frame)).expect("the handshake can be read");
        let now_ms = self.now_ms();
        let server = self.clients[index].server;
        let client = &mut self.clients[index];
        if response.timeout_ms == 0 {
            let session = client.session.take();
            say!(self, format!("c{index}"), "is refused by {server}: {:x?}", session.as_ref().map(|s| s.id));
            self.history.refused.extend(session.map(|s| s.id));
            self.counts.add("session expired");
            self.clients[index].forget_session();
            return self.client_lets_go(index, key);
        }
        let is_new = client.session.as_ref().is_none_or(|s| s.id != response.session_id);
        if is_new {
            if client.session.is_some() {
                broken!("SessionKept", "client {index} asked for its session and got another");
            }
            client.forget_session();
            self.history.see(index, Seen::NewSession);
            self.counts.add("session opened");
        } else {
            self.counts.add("session moved");
        }
        let client = &mut self.clients[index];
        let timeout_ms = response.timeout_ms as u64;
        client.session = Some(Session { id: response.session_id, passwd: response.passwd, timeout_ms });
        client.state = State::Open { key };
        client.last_heard_ms = now_ms;
        say!(self, format!("c{index}"), "has session 0x{:x} at {server}", response.session_id);
        self.client_sets_watches(index, key);
    }

    fn client_sets_watches(&mut self, index: usize, key: ConnKey) {
        let client = &mut self.clients[index];
        if !client.has_watches() {
            return;
        }
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        let request = SetWatchesRequest {
            relative_zxid: match self.shape.bug {
                Some(Bug::WatchesOfLongAgo) => 0,
                Some(Bug::WatchesMissed) => i64::MAX,
                _ => client.last_zxid,
            },
            data: list(&client.data),
            exist: list(&client.exist),
            child: list(&client.child),
            ..SetWatchesRequest::default()
        };
        client.pending_watches = Some(request.clone());
        self.counts.add("watches set again");
        self.client_sends(index, key, xid::SET_WATCHES, &Request::SetWatches(request));
    }

    fn client_hears(&mut self, index: usize, key: ConnKey, frame: &Bytes) {
        let mut r = Reader::new(frame);
        let header = ReplyHeader::decode(&mut r).expect("a header can be read");
        if header.xid == xid::NOTIFICATION {
            let event = WatcherEvent::decode(&mut r).expect("an event can be read");
            say!(self, format!("c{index}"), "hears {:?} {}", event.kind, event.path);
            self.clients[index].on_event(event.kind, &event.path);
            self.counts.add("watch fired");
            return self.history.see(index, Seen::Event { kind: event.kind, path: event.path });
        }
        let client = &mut self.clients[index];
        if header.zxid > 0 {
            if header.zxid < client.last_zxid {
                broken!(
                    "SessionMonotonicity",
                    "client {index} saw 0x{:x} and is shown 0x{:x} by server {}",
                    client.last_zxid,
                    header.zxid,
                    client.server
                );
            }
            client.last_zxid = header.zxid;
        }
        match header.xid {
            xid::PING => self.history.see(index, Seen::Pong { zxid: header.zxid }),
            xid::SET_WATCHES => {
                let set = client.pending_watches.take().expect("it was asked");
                let (data, exist, child) = (set.data, set.exist, set.child);
                self.history.see(index, Seen::WatchesSet { zxid: header.zxid, data, exist, child });
            }
            _ => self.client_is_answered(index, key, header, Bytes::copy_from_slice(r.rest())),
        }
    }

    fn client_is_answered(&mut self, index: usize, key: ConnKey, header: ReplyHeader, body: Bytes) {
        let client = &mut self.clients[index];
        let op = client.outstanding.pop_front().expect("an answer to a request");
        let asked = &mut self.history.ops[op];
        say!(self, format!("c{index}"), "is told {}: 0x{:x}, {}", header.xid, header.zxid, header.err);
        if header.xid != asked.xid {
            broken!("SessionFifo", "client {index} is answered {} before {}", header.xid, asked.xid);
        }
        client.leave_watch(&asked.request, header.err);
        let request = asked.request.clone();
        let (floor, sent_ms) = (asked.floor, asked.sent_ms);
        asked.outcome = Outcome::Answered { zxid: header.zxid, err: header.err, body: body.clone() };
        self.history.see(index, Seen::Answer { op });
        if is_recorded(request.op()) {
            if header.zxid <= floor {
                broken!(
                    "LinearizableWrites",
                    "client {index}'s write 0x{:x} began after 0x{floor:x} was answered",
                    header.zxid
                );
            }
            self.history.acked = self.history.acked.max(header.zxid);
            self.counts.add(if header.err == 0 { "write acked" } else { "write refused" });
        } else {
            self.counts.add("read");
        }
        if matches!(request, Request::Sync { .. }) && header.err == 0 {
            self.check_sync(index, floor, header.zxid, sent_ms);
        }
        self.client_learns(index, key, header.xid, &request, header.err, &body);
    }

    /// A sync of a leader that is not deposed shows everything that was answered before it.
    fn check_sync(&mut self, index: usize, floor: i64, zxid: i64, sent_ms: u64) {
        self.counts.add("sync");
        let server = self.clients[index].server;
        let is_newest = self.servers[&server].disk.current_epoch == self.oracle.newest_epoch();
        if is_newest && self.oracle.led_since_ms < sent_ms && zxid < floor {
            broken!("SyncIsFresh", "client {index} synced at 0x{zxid:x}, 0x{floor:x} had been answered");
        }
    }
}

/// Operations that become a transaction with a zxid of their own.
pub fn is_recorded(op: OpCode) -> bool {
    op.is_write()
}

fn client_may_ask(client: &Client, pipeline: usize) -> bool {
    client.pending_watches.is_none() && !client.is_closing && client.outstanding.len() < pipeline
}
