//! What clients ask for, and what they make of the answers.

use bytes::Bytes;
use zk_proto::quorum::Role;
use zk_proto::{
    Acl, CreateKind, CreateMode, CreateRequest, Id, MultiOp, MultiReadOp, OpCode, Reader, Request, Response,
};

use crate::client::{Mood, State};
use crate::net::ConnKey;
use crate::say;
use crate::shape;
use crate::world::World;

/// Registers, written and read by everybody.
const REGISTERS: u8 = 4;
/// Sequential nodes' parent.
const QUEUE: &str = "/q";

fn create(kind: CreateKind, path: String, data: Bytes, mode: CreateMode) -> CreateRequest {
    CreateRequest { kind, path, data: Some(data), acl: Acl::open(), flags: mode.flags(), ttl_ms: -1 }
}

impl World {
    pub(super) fn client_acts(&mut self, index: usize, key: ConnKey) {
        match self.clients[index].mood {
            Mood::Busy => self.client_asks_something(index, key),
            Mood::Final { step } => self.client_asks_last(index, key, step),
            Mood::Quiet => {}
        }
    }

    fn client_asks_something(&mut self, index: usize, key: ConnKey) {
        let closes = self.shape.closes;
        match self.rng.u16(..2000) {
            0 => return self.client_abandons(index),
            1..11 if self.shape.reconfig && index == 0 => return self.client_reconfigures(index, key),
            n if n > 11 && n - 11 <= closes => return self.client_asks(index, key, Request::CloseSession),
            _ => {}
        }
        let request = self.some_request(index);
        let is_sync = matches!(request, Request::Sync { .. });
        self.client_asks(index, key, request);
        if is_sync {
            let path = self.register();
            self.client_asks(index, key, Request::GetData { path, watch: false });
        }
    }

    fn register(&mut self) -> String {
        format!("/r{}", self.rng.u8(..REGISTERS))
    }

    fn value(&mut self, index: usize) -> Bytes {
        let client = &mut self.clients[index];
        client.serial += 1;
        Bytes::from(format!("c{index}-{}", client.serial))
    }

    fn some_request(&mut self, index: usize) -> Request {
        let value = self.value(index);
        let register = self.register();
        let other = self.register();
        let fleeting = format!("/d{}", self.rng.u8(..3));
        let watch = self.rng.bool();
        match self.rng.u8(..32) {
            0 => Request::Create(create(CreateKind::Create, register, value, CreateMode::Persistent)),
            1..=5 => Request::SetData { path: register, data: Some(value), version: -1 },
            6 => Request::SetData { path: register, data: Some(value), version: self.rng.i32(..6) },
            7 | 8 => Request::GetData { path: register, watch },
            9 => Request::Exists { path: fleeting, watch },
            10 => Request::Create(create(CreateKind::Create2, fleeting, value, CreateMode::Persistent)),
            11 => Request::Delete { path: fleeting, version: -1 },
            12 => Request::Create(create(CreateKind::Create, QUEUE.into(), value, CreateMode::Persistent)),
            13 | 14 => {
                let mode = [CreateMode::PersistentSequential, CreateMode::EphemeralSequential];
                let mode = mode[usize::from(self.rng.bool())];
                Request::Create(create(CreateKind::Create2, format!("{QUEUE}/n-"), value, mode))
            }
            15 | 16 => match self.clients[index].own.pop() {
                Some(path) => Request::Delete { path, version: -1 },
                None => Request::GetChildren { path: QUEUE.into(), watch },
            },
            17 => {
                let path = format!("/e{index}-{}", self.rng.u8(..2));
                Request::Create(create(CreateKind::Create, path, value, CreateMode::Ephemeral))
            }
            18 => Request::GetChildren { path: "/".into(), watch },
            19 | 20 => Request::Sync { path: "/".into() },
            21 => Request::MultiRead(vec![
                MultiReadOp::GetData { path: register },
                MultiReadOp::GetData { path: other },
            ]),
            22 => {
                let path = format!("/e{}-{}", self.rng.usize(..self.shape.clients), self.rng.u8(..2));
                Request::Exists { path, watch }
            }
            23 => Request::SetAcl { path: register, acl: self.some_acl(), version: -1 },
            24 => Request::GetAcl { path: register },
            25 => Request::Create(create(CreateKind::Container, "/k".into(), value, CreateMode::Container)),
            26 => Request::Create(create(CreateKind::Create, "/k/x".into(), value, CreateMode::Persistent)),
            27 => Request::Delete { path: "/k/x".into(), version: -1 },
            _ => Request::Multi(self.some_multi(register, other, fleeting, value)),
        }
    }

    /// Lists come and go, so that snapshots meet numbers they do not know yet.
    fn some_acl(&mut self) -> Vec<Acl> {
        let id = Id { scheme: "ip".into(), id: format!("10.0.0.{}", self.rng.u8(1..20)) };
        vec![Acl { perms: self.rng.i32(1..32), id }]
    }

    fn some_multi(
        &mut self,
        register: String,
        other: String,
        fleeting: String,
        value: Bytes,
    ) -> Vec<MultiOp> {
        let set = |path: String| MultiOp::SetData { path, data: Some(value.clone()), version: -1 };
        let make =
            |path: String, mode| MultiOp::Create(create(CreateKind::Create, path, value.clone(), mode));
        match self.rng.u8(..5) {
            0 => vec![set(register), set(other)],
            3 => vec![make(format!("{QUEUE}/m-"), CreateMode::EphemeralSequential), set(register)],
            4 => vec![make(fleeting.clone(), CreateMode::Ephemeral), set(other)],
            1 => vec![
                make(fleeting, CreateMode::Persistent),
                MultiOp::Check { path: register.clone(), version: self.rng.i32(..8) },
                set(register),
            ],
            _ => vec![set(other), MultiOp::Delete { path: fleeting, version: -1 }],
        }
    }

    /// The client is gone without a word; its session expires.
    fn client_abandons(&mut self, index: usize) {
        say!(self, format!("c{index}"), "abandons its session");
        self.counts.add("session abandoned");
        if let State::Open { key } = self.clients[index].state {
            self.client_lets_go(index, key);
        }
        self.clients[index].forget_session();
    }

    /// Adds, removes or changes one server, within what leaves an ensemble worth having.
    fn client_reconfigures(&mut self, index: usize, key: ConnKey) {
        let config = self.newest_config();
        let sids = self.shape.sids();
        let sid = sids[self.rng.usize(..sids.len())];
        let voters = config.voters().count();
        let (mut joining, mut leaving) = (None, None);
        let line = |role| Some(format!("server.{sid}={}", shape::member(sid, role)));
        match config.members.get(&sid).map(|m| m.role) {
            None | Some(Role::Observer) => joining = line(Role::Participant),
            Some(Role::Participant) if voters <= 3 => return,
            Some(Role::Participant) if self.rng.bool() => joining = line(Role::Observer),
            Some(Role::Participant) => leaving = Some(sid.to_string()),
        }
        self.counts.add("reconfig asked");
        let request = Request::Reconfig { joining, leaving, new_members: None, current_config_id: -1 };
        self.client_asks(index, key, request);
    }

    /// A write, a sync, a read: all of them well answered, or all again.
    fn client_asks_last(&mut self, index: usize, key: ConnKey, step: u8) {
        let request = match step {
            0 => {
                let data = self.value(index);
                let path = format!("/final-{index}-{}", self.clients[index].serial);
                Request::Create(create(CreateKind::Create, path, data, CreateMode::Persistent))
            }
            2 => Request::Sync { path: "/".into() },
            4 => Request::GetChildren { path: "/".into(), watch: false },
            _ => return,
        };
        self.clients[index].mood = Mood::Final { step: step + 1 };
        self.clients[index].final_xid = self.clients[index].next_xid;
        self.client_asks(index, key, request);
    }

    pub(super) fn client_learns(
        &mut self,
        index: usize,
        key: ConnKey,
        xid: i32,
        request: &Request,
        err: i32,
        body: &Bytes,
    ) {
        if let Mood::Final { step } = self.clients[index].mood
            && step < 6
            && xid == self.clients[index].final_xid
        {
            let next = if err == 0 && step % 2 == 1 { step + 1 } else { 0 };
            self.clients[index].mood = Mood::Final { step: next };
        }
        match request {
            Request::Create(asked) if err == 0 && asked.path.starts_with("/q/") => {
                let reply = Response::decode_for(OpCode::Create2, &mut Reader::new(body));
                let Ok(Response::PathStat { path, .. }) = reply else { panic!("no path in {reply:?}") };
                if self.rng.u8(..3) > 0 {
                    self.clients[index].own.push(path);
                }
            }
            Request::CloseSession => {
                self.counts.add("session closed");
                self.client_lets_go(index, key);
                self.clients[index].forget_session();
            }
            Request::Reconfig { .. } if err == 0 => self.counts.add("reconfig done"),
            Request::Reconfig { .. } => self.counts.add("reconfig refused"),
            _ => {}
        }
    }
}
