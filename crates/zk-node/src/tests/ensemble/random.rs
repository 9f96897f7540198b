//! Random programs over an ensemble that is disturbed: every session's answers in the order of its requests, each
//! at most once, nothing acknowledged lost, all trees the same at the end.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use zk_proto::quorum::Sid;
use zk_proto::{CreateMode, ErrorCode, MultiOp, Request};

use super::world::World;
use crate::ConnId;
use crate::tests::harness::{Got, create, create_request, delete, exists, get, set};

/// A client that counts its xids anew on each connection.
struct Client {
    session: i64,
    conn: ConnId,
    xid: i32,
    waiting: VecDeque<(i32, Option<String>)>,
    is_open: bool,
}

struct Run {
    w: World,
    rng: Rng,
    clients: Vec<Client>,
    /// Nodes whose creation was acknowledged, and which nobody deletes.
    kept: BTreeMap<String, usize>,
    next: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut w = World::started(3, 1);
        let rng = Rng::with_seed(seed);
        let clients = (0..5)
            .map(|n| {
                let (conn, session) = w.connect(n % 4 + 1);
                Client { session, conn, xid: 0, waiting: VecDeque::new(), is_open: true }
            })
            .collect();
        Self { w, rng, clients, kept: BTreeMap::new(), next: 0 }
    }

    fn request(&mut self) -> (Request, Option<String>) {
        let path = format!("/n{}", self.rng.u32(..12));
        self.next += 1;
        let fresh = format!("/kept{}", self.next);
        match self.rng.u32(..10) {
            0 | 1 => (create(&fresh, 0), Some(fresh)),
            2 => (create(&path, CreateMode::Ephemeral.flags()), None),
            3 => (delete(&path), None),
            4 => (set(&path, &[self.rng.u8(..)]), None),
            5 => (get(&path, true), None),
            6 => (exists(&path, true), None),
            7 => (Request::Sync { path: "/".into() }, None),
            8 => {
                let ops = vec![
                    MultiOp::Create(create_request(&path, 0)),
                    MultiOp::Delete { path: path.clone(), version: -1 },
                ];
                (Request::Multi(ops), None)
            }
            _ => (Request::Ping, None),
        }
    }

    fn send(&mut self, at: usize) {
        let (request, kept) = self.request();
        let client = &mut self.clients[at];
        if !client.is_open {
            return;
        }
        client.xid += 1;
        if !self.w.member(self.w.clients[&client.conn].at).takes_frames(client.conn) {
            return;
        }
        self.w.send(client.conn, client.xid, &request);
        client.waiting.push_back((client.xid, kept));
    }

    fn read(&mut self) {
        for client in &mut self.clients {
            while let Some(got) = self.w.next(client.conn) {
                match got {
                    Got::Connected(response) if response.timeout_ms == 0 => client.session = 0,
                    Got::Connected(response) => client.session = response.session_id,
                    Got::Event { .. } => {}
                    Got::Reply { xid, err, .. } => {
                        let (expected, kept) = client.waiting.pop_front().expect("somebody asked");
                        assert_eq!(xid, expected, "answers come in the order of the requests");
                        assert_ne!(err, ErrorCode::SessionMoved);
                        if let Some(path) = kept {
                            assert_eq!(err, ErrorCode::Ok, "{path} is nobody else's");
                            self.kept.insert(path, 0);
                        }
                    }
                }
            }
            if self.w.clients[&client.conn].closed.is_some() {
                client.is_open = false;
                client.waiting.clear();
            }
        }
    }

    fn move_client(&mut self, at: usize) {
        let running = self.w.running();
        let sid = running[self.rng.usize(..running.len())];
        let client = &mut self.clients[at];
        if client.is_open && self.rng.bool() {
            self.w.gone(client.conn);
        }
        client.conn = self.w.reconnect(sid, client.session);
        (client.xid, client.is_open) = (0, true);
        client.waiting.clear();
    }

    fn disturb(&mut self) {
        let sid: Sid = self.rng.i64(1..=4);
        match self.rng.u32(..10) {
            0 if self.w.running().len() == 4 => self.w.crash(sid),
            1 => {
                for down in (1..=4).filter(|sid| !self.w.running().contains(sid)).collect::<Vec<_>>() {
                    self.w.start(down);
                }
            }
            2 => self.w.hold(sid, true),
            3 => self.w.hold(sid, false),
            4 => self.w.stick_disk(sid, true),
            5 => self.w.stick_disk(sid, false),
            6 if self.w.islands.is_empty() => self.w.isolate(sid),
            7 => self.join_all(),
            _ => self.w.pass(self.rng.u64(1..2000)),
        }
    }

    fn join_all(&mut self) {
        for sid in self.w.islands.clone() {
            self.w.join(sid);
        }
    }

    fn finish(mut self) {
        self.join_all();
        for sid in 1..=4 {
            self.w.hold(sid, false);
            self.w.stick_disk(sid, false);
            if !self.w.running().contains(&sid) {
                self.w.start(sid);
            }
        }
        self.w.until("all serve", |w| w.leader().is_some() && w.all_serve());
        self.w.pass(100);
        self.read();
        for client in self.clients.iter().filter(|client| client.is_open) {
            assert!(client.waiting.is_empty(), "{:?} waits for {:?}", client.conn, client.waiting);
        }
        self.w.check_equal();
        for path in self.kept.keys() {
            assert!(self.w.has(1, path), "{path} was acknowledged");
        }
    }
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    for _ in 0..250 {
        let at = run.rng.usize(..run.clients.len());
        match run.rng.u32(..20) {
            0 => run.disturb(),
            1 => run.move_client(at),
            2..=4 => run.w.settle(),
            _ => run.send(at),
        }
        if !run.clients[at].is_open && run.rng.u32(..4) == 0 {
            run.move_client(at);
        }
        run.read();
    }
    run.finish();
}

#[test]
fn random_programs_end_with_equal_trees() {
    for seed in 0..40 {
        run(seed);
    }
}
