//! Random programs with seeds: many sessions, lost connections, a log that lags, crashes.
//!
//! Held against them: [`crate::Node::check`] after every step, answers in the order of the requests, zxids
//! that never go back for a client, reads that see their session's own writes, and a tree that after a crash
//! holds everything that was answered.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fastrand::Rng;
use zk_proto::{ErrorCode, OpCode, Reader, Request, Response};

use super::harness::{Got, Harness, create, delete, exists, get, multi_create, set};
use crate::{ConnId, Input, Options};

/// What one client knows.
struct Client {
    conn: ConnId,
    session: i64,
    passwd: Bytes,
    asked: VecDeque<(i32, Request)>,
    next_xid: i32,
    last_zxid: i64,
    /// Its own key's value as of its last answered set.
    own: Option<Bytes>,
}

struct World {
    h: Harness,
    rng: Rng,
    clients: Vec<Client>,
    /// Paths whose creation was answered and whose deletion nobody asked for.
    promised: BTreeMap<String, ()>,
}

fn path(rng: &mut Rng) -> String {
    format!("/n{}", rng.u8(..6))
}

impl World {
    fn join(&mut self) {
        let (conn, response) = self.h.connect();
        let own = format!("/own{:x}", response.session_id);
        let mut client = Client {
            conn,
            session: response.session_id,
            passwd: response.passwd,
            asked: VecDeque::new(),
            next_xid: 1,
            last_zxid: 0,
            own: None,
        };
        Self::ask(&mut self.h, &mut client, create(&own, 0));
        self.clients.push(client);
    }

    fn ask(h: &mut Harness, client: &mut Client, request: Request) {
        if !h.node.takes_frames(client.conn) {
            return;
        }
        let xid = client.next_xid;
        client.next_xid += 1;
        h.send(client.conn, xid, &request);
        client.asked.push_back((xid, request));
    }

    fn act(&mut self) {
        let Self { h, rng, clients, .. } = self;
        let at = rng.usize(..clients.len());
        let client = &mut clients[at];
        let own = format!("/own{:x}", client.session);
        let request = match rng.u8(..14) {
            0 => create(&path(rng), 0),
            1 => create(&path(rng), 1),
            2 => create("/seq-", 2),
            3 => delete(&path(rng)),
            4 => set(&path(rng), &[rng.u8(..)]),
            5 | 6 => set(&own, &rng.u64(..).to_be_bytes()),
            7 | 8 => get(&own, rng.bool()),
            9 => exists(&path(rng), true),
            10 => Request::GetChildren { path: "/".into(), watch: true },
            11 => Request::Multi(vec![multi_create(&path(rng)), multi_create(&path(rng))]),
            12 => Request::Sync { path: "/".into() },
            _ => get(&path(rng), true),
        };
        Self::ask(h, client, request);
    }

    /// Reads what a client got and holds it against what it asked.
    fn listen(&mut self, at: usize) {
        let client = &mut self.clients[at];
        while let Some(got) = self.h.next(client.conn) {
            let zxid = match got {
                Got::Connected(_) => continue,
                Got::Event { zxid, .. } => zxid,
                Got::Reply { xid, zxid, err, body } => {
                    let (asked, request) = client.asked.pop_front().unwrap();
                    assert_eq!(xid, asked, "answers come in the order of requests");
                    note(client, &request, err, &body, &mut self.promised);
                    zxid
                }
            };
            assert!(zxid >= client.last_zxid, "time goes on for a client");
            client.last_zxid = zxid;
        }
    }

    fn reconnect(&mut self, at: usize) {
        let client = &mut self.clients[at];
        self.h.step(Input::Closed { conn: client.conn });
        client.conn = self.h.open();
        // Whether unanswered requests took place is open; its own key may have any of their values.
        client.asked.clear();
        client.own = None;
        self.h.handshake(client.conn, client.session, &client.passwd, client.last_zxid);
        let got = self.h.next(client.conn);
        assert!(matches!(&got, Some(Got::Connected(r)) if r.session_id == client.session), "{got:?}");
    }

    /// Only what was durable is left; every session comes back.
    fn crash(&mut self) {
        self.h = Harness::over(self.h.options(), Default::default(), &self.h.durable);
        for path in self.promised.keys() {
            assert!(self.h.node.tree().node(path).is_some(), "{path} was promised");
        }
        for client in &mut self.clients {
            client.conn = self.h.open();
            client.asked.clear();
            client.own = None;
            self.h.handshake(client.conn, client.session, &client.passwd, client.last_zxid);
            let got = self.h.next(client.conn);
            assert!(matches!(&got, Some(Got::Connected(r)) if r.session_id == client.session), "{got:?}");
        }
    }
}

fn note(
    client: &mut Client,
    request: &Request,
    err: ErrorCode,
    body: &Bytes,
    promised: &mut BTreeMap<String, ()>,
) {
    let own = format!("/own{:x}", client.session);
    match request {
        Request::Create(c) if c.flags == 2 && err == ErrorCode::Ok => {
            let Ok(Response::Path { path }) = Response::decode_for(OpCode::Create, &mut Reader::new(body))
            else {
                panic!("no path");
            };
            assert!(promised.insert(path, ()).is_none(), "a sequential name is given once");
        }
        Request::SetData { path, data, .. } if *path == own && err == ErrorCode::Ok => {
            client.own = data.clone()
        }
        Request::GetData { path, .. } if *path == own && err == ErrorCode::Ok && client.own.is_some() => {
            let Ok(Response::Data { data, .. }) =
                Response::decode_for(OpCode::GetData, &mut Reader::new(body))
            else {
                panic!("no data");
            };
            assert_eq!(data, client.own, "a session reads what it wrote");
        }
        _ => {}
    }
}

fn run(seed: u64) {
    let options = Options { global_outstanding_limit: 20, snap_count: 50, seed, ..Options::default() };
    let h = Harness::new(options);
    let mut world = World { h, rng: Rng::with_seed(seed), clients: Vec::new(), promised: BTreeMap::new() };
    for _ in 0..4 {
        world.join();
    }
    for _ in 0..1_500 {
        match world.rng.u16(..1000) {
            0..700 => world.act(),
            700..950 => {
                let some = world.rng.usize(..=world.h.volatile.len());
                world.h.sync_some(some);
            }
            950..980 => {
                let at = world.rng.usize(..world.clients.len());
                world.reconnect(at);
            }
            980..995 => world.h.pass(200),
            _ => world.crash(),
        }
        for at in 0..world.clients.len() {
            world.listen(at);
        }
    }
}

#[test]
fn random_programs_keep_the_promises() {
    for seed in 0..40 {
        run(seed);
    }
}
