//! The world: clock, network, servers, clients, and the loop that lets the next thing happen.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use zk_proto::quorum::{Notification, Packet, Sid};
use zk_proto::{Reader, Writer};

use crate::client::Client;
use crate::counts::Counts;
use crate::faults::{Fault, Weather};
use crate::history::History;
use crate::net::{ConnKey, Host, Kind, Message, Net};
use crate::oracle::Oracle;
use crate::queue::Queue;
use crate::server::{Copying, Own, Server};
use crate::shape::Shape;
use crate::transcript::Transcript;

/// Something that is going to happen. `life` guards against meeting a later process of the same server.
#[derive(Debug)]
pub enum Event {
    Tick {
        sid: Sid,
        life: u64,
    },
    /// The next message of that end's pipe reaches the other one.
    Arrive {
        conn: ConnKey,
        from: usize,
    },
    /// That end learns that the connection is dead.
    Reset {
        conn: ConnKey,
        end: usize,
    },
    Disk {
        sid: Sid,
        life: u64,
    },
    Dial {
        sid: Sid,
        life: u64,
        dial: u64,
        to: Sid,
    },
    /// Two servers look whether they are connected.
    Mesh {
        a: Sid,
        b: Sid,
    },
    /// A snapshot goes on.
    Copy {
        sid: Sid,
        life: u64,
        what: Copying,
    },
    /// A client's connection that the server closed is gone.
    Closed {
        sid: Sid,
        life: u64,
        conn: ConnKey,
    },
    /// The shell tells a member something that is not so.
    Tell {
        sid: Sid,
        life: u64,
        input: Own,
    },
    /// A snapshot did not come whole.
    Void {
        sid: Sid,
        life: u64,
    },
    Start {
        sid: Sid,
    },
    Client {
        client: usize,
    },
    Fault(Fault),
}

/// Everything there is.
pub struct World {
    pub shape: Shape,
    pub rng: Rng,
    pub queue: Queue<Event>,
    pub net: Net,
    pub servers: BTreeMap<Sid, Server>,
    pub clients: Vec<Client>,
    pub weather: Weather,
    pub oracle: Oracle,
    pub history: History,
    pub counts: Counts,
    pub transcript: Transcript,
}

/// Writes a line of the transcript.
#[macro_export]
macro_rules! say {
    ($world:expr, $who:expr, $($what:tt)*) => {
        if $world.transcript.is_on() {
            $world.transcript.line($world.queue.now_ms(), $who, format_args!($($what)*));
        }
    };
}

impl World {
    pub fn new(shape: Shape, transcript: Transcript) -> Self {
        let mut world = Self {
            rng: Rng::with_seed(shape.seed),
            queue: Queue::default(),
            net: Net::default(),
            servers: BTreeMap::new(),
            clients: (0..shape.clients).map(Client::new).collect(),
            weather: Weather::default(),
            oracle: Oracle::default(),
            history: History::default(),
            counts: Counts::default(),
            transcript,
            shape,
        };
        say!(world, "sim", "seed {}: {}", world.shape.seed, world.shape.summary());
        let sids = world.shape.sids();
        for (at, a) in sids.iter().enumerate() {
            let config = world.shape.first_config(*a);
            world.servers.insert(*a, Server::new(*a, config, world.shape.bug));
            let delay = world.rng.u64(..200);
            world.queue.after(delay, Event::Start { sid: *a });
            for b in &sids[at + 1..] {
                world.queue.after(0, Event::Mesh { a: *a, b: *b });
            }
        }
        for client in 0..world.clients.len() {
            let delay = world.rng.u64(500..2000);
            world.queue.after(delay, Event::Client { client });
        }
        world
    }

    pub fn now_ms(&self) -> u64 {
        self.queue.now_ms()
    }

    /// Lets things happen until then.
    pub fn run_until(&mut self, end_ms: u64) {
        while let Some(event) = self.queue.pop(end_ms) {
            self.happen(event);
        }
    }

    /// Lets things happen until a condition holds, looked at every 50 ms; false if it does not by then.
    pub fn run_until_or(&mut self, end_ms: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        while self.now_ms() < end_ms {
            if holds(self) {
                return true;
            }
            let next_ms = (self.now_ms() + 50).min(end_ms);
            self.run_until(next_ms);
        }
        holds(self)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { sid, life } => self.on_tick(sid, life),
            Event::Arrive { conn, from } => self.on_arrive(conn, from),
            Event::Reset { conn, end } => self.on_reset(conn, end),
            Event::Disk { sid, life } => self.on_disk(sid, life),
            Event::Dial { sid, life, dial, to } => self.on_dial(sid, life, dial, to),
            Event::Mesh { a, b } => self.on_mesh(a, b),
            Event::Copy { sid, life, what } => self.on_copy(sid, life, what),
            Event::Closed { sid, life, conn } => self.on_closed(sid, life, conn),
            Event::Tell { sid, life, input } => self.on_tell(sid, life, input),
            Event::Void { sid, life } => self.on_void(sid, life),
            Event::Start { sid } => self.start(sid),
            Event::Client { client } => self.on_client(client),
            Event::Fault(fault) => self.on_fault(fault),
        }
    }

    // --- the network

    pub fn delay_ms(&mut self) -> u64 {
        let (least, most) = self.shape.delay_ms;
        let delay = self.rng.u64(least..=most);
        // Now and then something is much slower than the rest.
        if self.rng.u8(..100) == 0 && !self.weather.is_over { delay * 10 } else { delay }
    }

    pub fn send(&mut self, key: ConnKey, from: Host, message: Message) {
        let delay_ms = self.delay_ms();
        let at_ms = self.now_ms() + delay_ms;
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        let end = conn.end_of(from);
        if !conn.open[end] || conn.is_dead {
            return;
        }
        let pipe = &mut conn.pipes[end];
        pipe.queue.push_back(message);
        pipe.last_arrival_ms = pipe.last_arrival_ms.max(at_ms);
        let at_ms = pipe.last_arrival_ms;
        self.queue.at(at_ms, Event::Arrive { conn: key, from: end });
    }

    pub fn send_bytes(&mut self, key: ConnKey, from: Host, bytes: Bytes) {
        self.send(key, from, Message::Bytes(bytes));
    }

    /// Closes one end; the other learns it after everything that was sent.
    pub fn close(&mut self, key: ConnKey, host: Host) {
        self.send(key, host, Message::Fin);
        self.drop_end(key, host);
    }

    /// Closes one end without a word.
    pub fn drop_end(&mut self, key: ConnKey, host: Host) {
        if let Some(conn) = self.net.conns.get_mut(&key) {
            let end = conn.end_of(host);
            conn.open[end] = false;
        }
    }

    fn on_arrive(&mut self, key: ConnKey, from: usize) {
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        let (sender, receiver) = (conn.ends[from], conn.ends[1 - from]);
        if self.net.cut.contains(&(sender, receiver)) {
            conn.pipes[from].stalled += 1;
            return;
        }
        let Some(message) = conn.pipes[from].queue.pop_front() else { return };
        if !conn.open[1 - from] {
            let told = conn.open[from] && !matches!(message, Message::Fin);
            self.net.forget(key);
            if told && self.net.passes(receiver, sender) {
                let delay_ms = self.delay_ms();
                self.queue.after(delay_ms, Event::Reset { conn: key, end: from });
            }
            return;
        }
        if matches!(message, Message::Fin) {
            return self.on_reset(key, 1 - from);
        }
        let kind = conn.kind;
        if receiver < 0 {
            return self.client_receives(receiver, key, message);
        }
        self.server_receives(receiver, sender, key, kind, from, message);
    }

    /// That end is told that the connection is gone.
    fn on_reset(&mut self, key: ConnKey, end: usize) {
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        if !conn.open[end] {
            return;
        }
        conn.open[end] = false;
        let (host, other, kind) = (conn.ends[end], conn.ends[1 - end], conn.kind);
        self.net.forget(key);
        if host < 0 {
            self.client_closed(host, key);
        } else {
            self.server_closed(host, other, key, kind, end);
        }
    }

    /// Cuts both ends at once, whatever was on the way is lost.
    pub fn reset_both(&mut self, key: ConnKey) {
        if let Some(conn) = self.net.conns.get_mut(&key) {
            conn.is_dead = true;
            conn.pipes = Default::default();
        }
        for end in 0..2 {
            let delay_ms = self.delay_ms();
            self.queue.after(delay_ms, Event::Reset { conn: key, end });
        }
    }

    /// What waited for a way goes on.
    pub fn release_stalled(&mut self) {
        let mut released = Vec::new();
        for (key, conn) in &mut self.net.conns {
            for from in 0..2 {
                let way = (conn.ends[from], conn.ends[1 - from]);
                if !self.net.cut.contains(&way) {
                    let count = std::mem::take(&mut conn.pipes[from].stalled);
                    released.extend((0..count).map(|_| (*key, from)));
                }
            }
        }
        for (conn, from) in released {
            let delay_ms = self.shape.delay_ms.1;
            let now_ms = self.now_ms();
            if let Some(c) = self.net.conns.get_mut(&conn) {
                let pipe = &mut c.pipes[from];
                pipe.last_arrival_ms = pipe.last_arrival_ms.max(now_ms + delay_ms);
            }
            self.queue.after(delay_ms, Event::Arrive { conn, from });
        }
    }

    fn server_receives(
        &mut self,
        sid: Sid,
        sender: Host,
        key: ConnKey,
        kind: Kind,
        from: usize,
        message: Message,
    ) {
        match (kind, message) {
            (Kind::Mesh, Message::Bytes(bytes)) => {
                let notification = Notification::decode(&bytes).expect("notifications are well formed");
                self.input(sid, Own::Zab(zk_zab::Input::Notification { from: sender, notification }));
            }
            (Kind::Link, message) if from == 0 => {
                let Message::Bytes(bytes) = message else { return };
                let packet = decode_packet(&bytes);
                self.from_learner(sid, key, packet);
            }
            (Kind::Link, message) => self.from_leader(sid, key, message),
            (Kind::Client, Message::Bytes(frame)) => self.input(sid, Own::Frame { conn: key, frame }),
            _ => {}
        }
    }

    fn on_mesh(&mut self, a: Sid, b: Sid) {
        let again_ms = self.rng.u64(50..=300);
        self.queue.after(again_ms, Event::Mesh { a, b });
        if !self.is_up(a) || !self.is_up(b) || !self.net.passes_both_ways(a, b) {
            return;
        }
        let (at_a, at_b) = (self.mesh_key(a, b), self.mesh_key(b, a));
        if at_a.is_some() && at_a == at_b {
            return;
        }
        for (host, key) in [(a, at_a), (b, at_b)] {
            if let Some(key) = key {
                self.drop_end(key, host);
                self.net.forget(key);
            }
        }
        let key = self.net.open(Kind::Mesh, a, b);
        self.mesh_up(a, b, key);
        self.mesh_up(b, a, key);
    }

    // --- the end

    /// All is well from now on: everything that was down, cut or slow is not.
    pub fn heal(&mut self) {
        self.weather.is_over = true;
        self.net.cut.clear();
        self.release_stalled();
        say!(self, "sim", "healed");
        let sids: Vec<Sid> = self.servers.keys().copied().collect();
        for sid in sids {
            self.heal_server(sid);
        }
    }
}

/// A packet as bytes.
pub fn encode_packet(packet: &Packet) -> Bytes {
    let mut w = Writer::new();
    packet.encode(&mut w);
    w.into_bytes()
}

fn decode_packet(bytes: &[u8]) -> Packet {
    let length = Packet::length(bytes, bytes.len()).expect("well formed");
    assert_eq!(length, Some(bytes.len()), "a packet's length is told by itself");
    Packet::decode(&mut Reader::new(bytes)).expect("packets are well formed")
}
