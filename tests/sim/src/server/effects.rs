//! Carrying out what a member wants done.

use bytes::Bytes;
use zk_node::{ConnId, Effect, SentBytes};
use zk_proto::Writer;
use zk_proto::quorum::{Notification, Packet, PacketKind, Sid};
use zk_zab::{Entry, LinkId, Role, Store};

use crate::bugs;
use crate::disk::Command;
use crate::net::{ConnKey, Message};
use crate::say;
use crate::server::{Copying, Own, Receiving, serves};
use crate::world::{Event, World, encode_packet};

impl World {
    pub(super) fn carry_out(&mut self, sid: Sid, effect: Effect, bytes: &SentBytes) {
        match effect {
            Effect::Send { conn: ConnId(key), range } => {
                for frame in bytes.frames(range) {
                    self.send_bytes(key, sid, Bytes::copy_from_slice(frame));
                }
            }
            Effect::Close { conn: ConnId(key), reason } => {
                say!(self, sid, "closes a client's connection: {reason}");
                self.close(key, sid);
                if let Some(process) = self.servers.get_mut(&sid).and_then(|s| s.process.as_mut()) {
                    process.frames.remove(&key);
                }
                self.queue.after(0, Event::Closed { sid, life: self.servers[&sid].life, conn: key });
            }
            Effect::Complain { what, .. } => panic!("server {sid} finds a client malformed: {what}"),
            Effect::Append { zxid, payload } => {
                let disk = &self.servers[&sid].disk;
                self.oracle.on_append(sid, disk, zxid, &payload);
                self.command(sid, Command::Append(Entry { zxid, payload }));
            }
            Effect::Snapshot => self.begin_copy(sid),
            Effect::CancelSnapshot => self.cancel_copy(sid),
            Effect::Zab(effect) => self.carry_out_zab(sid, effect),
            Effect::Fail { what } => panic!("server {sid} cannot go on: {what}"),
        }
    }

    fn carry_out_zab(&mut self, sid: Sid, effect: zk_zab::Effect) {
        use zk_zab::Effect as Zab;
        match effect {
            Zab::Notify { to, notification } => self.notify(sid, to, &notification),
            Zab::DialLeader { sid: to } => self.dial(sid, to),
            Zab::SendLeader { packet } => self.send_leader(sid, &packet),
            Zab::HangUp => self.hang_up(sid),
            Zab::ReceiveSnapshot { zxid } => {
                say!(self, sid, "receives a snapshot 0x{zxid:x}");
                let heard_ms = self.now_ms();
                let Some(process) = self.process(sid) else { return };
                process.receiving = Some(Receiving { zxid, image: None, heard_ms });
                self.read_from_leader(sid);
            }
            Zab::SendLearner { link, packet } => self.send_learner(sid, link, &packet),
            Zab::StreamSnapshot { link: LinkId(key) } => {
                self.counts.add("SNAP streamed");
                let life = self.servers[&sid].life;
                let Some(link) = self.process(sid).and_then(|p| p.links.get_mut(&key)) else { return };
                link.held.push_back(Message::SnapshotEnd);
                let delay_ms = self.rng.u64(..=5);
                self.queue.after(delay_ms, Event::Copy { sid, life, what: Copying::Stream { link: key } });
            }
            Zab::ReadLog { link, after, upto } => {
                self.command(sid, Command::ReadLog { link, after, upto });
            }
            Zab::CloseLearner { link: LinkId(key), reason } => {
                say!(self, sid, "closes learner's link {key}: {reason}");
                if let Some(process) = self.process(sid) {
                    process.links.remove(&key);
                }
                self.close(key, sid);
            }
            Zab::Store(store) => self.store(sid, store),
            Zab::Role(role) => self.become_role(sid, role),
            Zab::ConfigSeen { config } => {
                self.server(sid).disk.last_seen_config = Some(config);
            }
            Zab::ConfigActive { config } => {
                say!(self, sid, "activates configuration 0x{:x}", config.version);
                self.counts.add("configuration activated");
                let disk = &mut self.server(sid).disk;
                disk.config = config;
                disk.last_seen_config = None;
            }
            Zab::Deliver { .. }
            | Zab::AnswerPing { .. }
            | Zab::FromLearner { .. }
            | Zab::FromLeader { .. }
            | Zab::LearnerGone { .. } => panic!("a member keeps {effect:?} for itself"),
        }
    }

    pub(super) fn server(&mut self, sid: Sid) -> &mut super::Server {
        self.servers.get_mut(&sid).expect("servers are never forgotten")
    }

    pub(super) fn process(&mut self, sid: Sid) -> Option<&mut super::Process> {
        self.servers.get_mut(&sid)?.process.as_mut()
    }

    pub(super) fn command(&mut self, sid: Sid, command: Command) {
        if let Some(command) = self.command_with_bug(sid, command) {
            self.server(sid).disk.queue.push_back(command);
        }
        self.start_disk(sid);
    }

    fn store(&mut self, sid: Sid, store: Store) {
        let command = match store {
            Store::Append(Entry { zxid, payload }) => {
                return self.carry_out(sid, Effect::Append { zxid, payload }, &SentBytes::default());
            }
            Store::AcceptedEpoch { epoch } => Command::AcceptedEpoch(epoch),
            Store::CurrentEpoch { epoch } => Command::CurrentEpoch(epoch),
            Store::Truncate { zxid } => {
                say!(self, sid, "truncates to 0x{zxid:x}");
                Command::Truncate(zxid)
            }
        };
        self.command(sid, command);
    }

    fn notify(&mut self, sid: Sid, to: Sid, notification: &Notification) {
        self.oracle.on_notify(sid, &self.servers[&sid].disk, notification);
        let mut notification = notification.clone();
        bugs::vote(self.shape.bug, sid, &mut notification);
        let Notification { state, leader, zxid, round, peer_epoch, .. } = &notification;
        say!(self, sid, "tells {to}: {state:?}, {leader} (0x{zxid:x} of {peer_epoch}) in round {round}");
        let mut w = Writer::new();
        notification.encode(&mut w);
        let bytes = w.into_bytes();
        let Some(process) = self.process(sid) else { return };
        process.last_vote.insert(to, bytes.clone());
        if let Some(key) = process.mesh.get(&to).copied() {
            self.send_bytes(key, sid, bytes);
        }
    }

    fn dial(&mut self, sid: Sid, to: Sid) {
        let life = self.servers[&sid].life;
        let Some(process) = self.process(sid) else { return };
        process.dial += 1;
        let dial = process.dial;
        if let Some(old) = process.leader.take() {
            self.close(old, sid);
        }
        say!(self, sid, "dials {to}");
        let delay_ms = self.delay_ms();
        self.queue.after(delay_ms, Event::Dial { sid, life, dial, to });
    }

    fn send_leader(&mut self, sid: Sid, packet: &Packet) {
        let server = &self.servers[&sid];
        let offered = server.process.as_ref().map_or(0, |p| p.offered);
        self.oracle.on_to_leader(sid, &server.disk, packet, offered);
        if let Some(key) = server.process.as_ref().and_then(|p| p.leader) {
            if !matches!(packet.kind, PacketKind::Ping) {
                say!(self, sid, "to leader: {:?} 0x{:x}", packet.kind, packet.zxid);
            }
            self.send_bytes(key, sid, encode_packet(packet));
        }
    }

    fn hang_up(&mut self, sid: Sid) {
        let Some(process) = self.process(sid) else { return };
        process.dial += 1;
        process.unread.clear();
        let key = process.leader.take();
        if let Some(key) = key {
            say!(self, sid, "hangs up");
            self.close(key, sid);
        }
        self.give_up_receiving(sid);
    }

    fn send_learner(&mut self, sid: Sid, LinkId(key): LinkId, packet: &Packet) {
        match packet.kind {
            PacketKind::Ping => {}
            PacketKind::Diff => self.counts.add("DIFF sent"),
            PacketKind::Trunc => self.counts.add("TRUNC sent"),
            PacketKind::Snap => self.counts.add("SNAP sent"),
            _ => {}
        }
        let disk = &self.servers[&sid].disk;
        self.oracle.on_to_learner(sid, disk, packet);
        if !matches!(packet.kind, PacketKind::Ping) {
            say!(self, sid, "to link {key}: {:?} 0x{:x}", packet.kind, packet.zxid);
        }
        let message = Message::Bytes(encode_packet(packet));
        self.send_or_hold(sid, key, message);
        self.sent_with_bug(sid, key, packet);
    }

    pub(super) fn send_or_hold(&mut self, sid: Sid, key: ConnKey, message: Message) {
        let Some(link) = self.process(sid).and_then(|p| p.links.get_mut(&key)) else { return };
        if link.held.is_empty() {
            self.send(key, sid, message);
        } else {
            link.held.push_back(message);
        }
    }

    fn become_role(&mut self, sid: Sid, role: Role) {
        // What a leader has committed in the very step that ends its role. (A follower that is to lead next applies
        // its tail in that step, which shows it to nobody.)
        if matches!(self.servers[&sid].role(), Some(Role::Leading { .. })) {
            self.after_step(sid);
        }
        say!(self, sid, "is {role:?}");
        let Some(process) = self.process(sid) else { return };
        process.role = role;
        self.counts.add(match role {
            Role::Looking => "looking",
            Role::Leading { .. } => "leading",
            Role::Following { .. } => "following",
            Role::Observing { .. } => "observing",
        });
        if let Role::Leading { epoch } = role {
            self.oracle.on_leading(sid, epoch, self.queue.now_ms());
        }
        self.oracle.on_role(sid, serves(role));
    }

    /// The oracle looks at what the step has done.
    pub(super) fn after_step(&mut self, sid: Sid) {
        let Some(server) = self.servers.get(&sid) else { return };
        if server.process.is_some() {
            self.oracle.after_step(server);
        }
    }

    pub fn on_closed(&mut self, sid: Sid, life: u64, conn: ConnKey) {
        if self.servers.get(&sid).is_some_and(|s| s.life == life) {
            self.input(sid, Own::Closed { conn });
        }
    }
}
