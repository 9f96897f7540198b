//! Snapshots in pieces: local ones, streams to learners, streams from the leader.

use std::rc::Rc;

use bytes::Bytes;
use zk_proto::Reader;
use zk_proto::quorum::{Packet, PacketKind, Sid, zxid};
use zk_tree::{SnapshotCursor, Tree};
use zk_zab::LinkId;

use crate::bugs::{self, Bug};
use crate::disk::{Command, Image, ImageNode};
use crate::net::{ConnKey, Message};
use crate::say;
use crate::server::{Copying, Own, serves};
use crate::world::{Event, World};

/// Nodes in one piece, so that a tree changes between the pieces, which are not too many.
fn piece(tree: &Tree) -> usize {
    (tree.node_count() / 16).max(6)
}

impl World {
    pub(super) fn begin_copy(&mut self, sid: Sid) {
        let (life, bug) = (self.servers[&sid].life, self.shape.bug);
        let Some(process) = self.process(sid) else { return };
        if process.copy.is_some() {
            return;
        }
        let head = process.member.node().tree().snapshot_head();
        let sessions = std::mem::replace(&mut process.old_sessions, head.sessions.clone());
        let acls = std::mem::replace(&mut process.old_acls, head.acls.clone());
        let mut image = Image::begin(head);
        if bug == Some(Bug::StaleAclsInSnapshot) {
            image.acls = acls;
        }
        if bug == Some(Bug::StaleSessionsInSnapshot) {
            image.sessions = sessions;
        }
        process.copy = Some((image, SnapshotCursor::default()));
        self.queue.after(1, Event::Copy { sid, life, what: Copying::Local });
    }

    pub(super) fn cancel_copy(&mut self, sid: Sid) {
        let Some(process) = self.process(sid) else { return };
        if process.copy.take().is_some() {
            self.counts.add("snapshot cancelled");
        }
    }

    pub fn on_copy(&mut self, sid: Sid, life: u64, what: Copying) {
        if self.servers.get(&sid).is_none_or(|s| s.life != life) {
            return;
        }
        let goes_on = match what {
            Copying::Local => self.copy_local(sid),
            Copying::Stream { link } => self.copy_to(sid, link),
        };
        if goes_on {
            let delay_ms = self.rng.u64(..=self.shape.piece_ms);
            self.queue.after(delay_ms, Event::Copy { sid, life, what });
        }
    }

    fn copy_local(&mut self, sid: Sid) -> bool {
        let Some(process) = self.process(sid) else { return false };
        let tree = process.member.node().tree();
        let Some((image, cursor)) = &mut process.copy else { return false };
        if !Image::read(tree, cursor, piece(tree), &mut image.nodes) {
            return true;
        }
        let last = tree.last_zxid();
        let (mut image, _) = process.copy.take().expect("it was just there");
        let disk = &self.servers[&sid].disk;
        if disk.bug == Some(Bug::PartialMulti) && disk.entry(last).is_some_and(bugs::is_multi) {
            image.zxid = last;
        }
        self.command(sid, Command::Snapshot(Rc::new(image)));
        false
    }

    fn copy_to(&mut self, sid: Sid, key: ConnKey) -> bool {
        let Some(server) = self.servers.get_mut(&sid) else { return false };
        let Some(process) = &mut server.process else { return false };
        let tree = process.member.node().tree();
        let Some(link) = process.links.get_mut(&key) else { return false };
        if let Some((_, cursor)) = &mut link.stream {
            let mut nodes = Vec::new();
            let done = Image::read(tree, cursor, piece(tree), &mut nodes);
            self.send(key, sid, Message::SnapshotNodes(Rc::new(nodes)));
            if done {
                self.end_stream(sid, key);
            }
            return !done;
        }
        // The stream begins; held messages begin with its end, what stands before has been sent.
        let mut head = Image::begin(tree.snapshot_head());
        head.history = server.disk.zxids(0, head.zxid);
        link.stream = Some((head.clone(), SnapshotCursor::default()));
        self.send(key, sid, Message::SnapshotHead(Rc::new(head)));
        true
    }

    fn end_stream(&mut self, sid: Sid, key: ConnKey) {
        let Some(link) = self.process(sid).and_then(|p| p.links.get_mut(&key)) else { return };
        link.stream = None;
        for message in std::mem::take(&mut link.held) {
            self.send(key, sid, message);
        }
        self.input(sid, Own::Zab(zk_zab::Input::SnapshotSent { link: LinkId(key) }));
    }

    /// Something from the leader has arrived.
    pub fn from_leader(&mut self, sid: Sid, key: ConnKey, message: Message) {
        let Some(process) = self.process(sid) else { return };
        if process.leader != Some(key) {
            return;
        }
        process.unread.push_back(message);
        self.read_from_leader(sid);
    }

    /// Reads on, up to a snapshot nobody has asked to receive yet.
    pub(super) fn read_from_leader(&mut self, sid: Sid) {
        loop {
            let Some(server) = self.servers.get_mut(&sid) else { return };
            let is_paused = server.is_paused;
            let Some(process) = &mut server.process else { return };
            let is_snapshot = !matches!(process.unread.front(), Some(Message::Bytes(_)));
            if is_paused || is_snapshot && process.receiving.is_none() {
                return;
            }
            match process.unread.pop_front() {
                Some(Message::Bytes(bytes)) => self.packet_from_leader(sid, &bytes),
                Some(message) => self.on_stream(sid, message),
                None => return,
            }
        }
    }

    fn packet_from_leader(&mut self, sid: Sid, bytes: &Bytes) {
        let mut packet = Packet::decode(&mut Reader::new(bytes)).expect("packets are well formed");
        bugs::from_leader(self.shape.bug, &mut packet);
        if packet.kind == PacketKind::LeaderInfo
            && let Some(process) = self.process(sid)
        {
            process.offered = zxid::epoch(packet.zxid);
        }
        self.input(sid, Own::Zab(zk_zab::Input::FromLeader { packet }));
    }

    fn on_stream(&mut self, sid: Sid, message: Message) {
        let now_ms = self.now_ms();
        let Some(receiving) = self.process(sid).and_then(|p| p.receiving.as_mut()) else { return };
        receiving.heard_ms = now_ms;
        match message {
            Message::SnapshotHead(head) => {
                // Fuzzy: it may hold more than its packet says, never less; the packet's zxid counts.
                assert!(head.zxid >= receiving.zxid, "a snapshot holds what its packet says");
                let zxid = receiving.zxid;
                let mut image = Image { zxid, ..(*head).clone() };
                image.history.retain(|z| *z <= zxid);
                receiving.image = Some(image);
            }
            Message::SnapshotNodes(nodes) => {
                let nodes: &[ImageNode] = &nodes;
                receiving.image.as_mut().expect("a head came first").nodes.extend_from_slice(nodes);
            }
            Message::SnapshotEnd => {
                let process = self.process(sid).expect("it receives");
                let image = process.receiving.take().and_then(|r| r.image).expect("a head came first");
                self.command(sid, Command::Install(Rc::new(image)));
            }
            _ => {}
        }
    }

    /// A stream that stalls is given up by whoever reads it, and its link with it.
    pub(super) fn watch_stream(&mut self, sid: Sid) {
        let (now_ms, patience_ms) = (self.now_ms(), self.shape.init_limit * self.shape.tick_ms);
        let Some(process) = self.process(sid) else { return };
        let stalls = process.receiving.as_ref().is_some_and(|r| now_ms >= r.heard_ms + patience_ms);
        if stalls && let Some(key) = process.leader.take() {
            process.unread.clear();
            self.counts.add("snapshot stream stalled");
            self.close(key, sid);
            self.give_up_receiving(sid);
            self.input(sid, Own::Zab(zk_zab::Input::LeaderClosed));
        }
    }

    /// The stream ends before its end.
    pub(super) fn give_up_receiving(&mut self, sid: Sid) {
        let Some(process) = self.process(sid) else { return };
        if let Some(receiving) = process.receiving.take() {
            if self.shape.bug == Some(Bug::HalfSnapshotKept)
                && let Some(image) = receiving.image.filter(|image| !image.nodes.is_empty())
            {
                return self.keep_half(sid, image);
            }
            self.counts.add("snapshot stream broken");
            say!(self, sid, "gives up a snapshot");
            self.later_void(sid);
        }
    }

    pub(super) fn later_void(&mut self, sid: Sid) {
        let life = self.servers[&sid].life;
        self.queue.after(1, Event::Void { sid, life });
    }

    /// What was received is nothing; the tree is loaded from disk anew, once the disk is idle.
    pub fn on_void(&mut self, sid: Sid, life: u64) {
        let Some(server) = self.servers.get(&sid) else { return };
        if server.life != life || server.process.is_none() {
            return;
        }
        if !server.disk.batch.is_empty() || !server.disk.queue.is_empty() {
            self.queue.after(1, Event::Void { sid, life });
            return;
        }
        let input = self.reload(sid, false);
        self.input(sid, input);
    }

    /// Whether that server serves clients now.
    pub fn is_serving(&self, sid: Sid) -> bool {
        self.servers.get(&sid).and_then(|s| s.role()).is_some_and(serves)
    }
}
