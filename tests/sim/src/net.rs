//! Connections: ordered both ways, delayed, cut in one direction or both, reset, or dead at one end only.
//!
//! What cannot pass a partition waits, as TCP's retransmission does, until it heals or the connection is reset.
//! Different connections overtake each other freely.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;

use crate::disk::{Image, ImageNode};

/// A server's number, or a client's: -1 is the first client.
pub type Host = i64;

/// A connection's number, never used twice; link and client connection ids are made of it.
pub type ConnKey = u64;

/// What passes over a connection.
#[derive(Debug, Clone)]
pub enum Message {
    /// One encoded notification, packet or frame.
    Bytes(Bytes),
    /// A snapshot stream between packets: everything but the nodes, some nodes, the end.
    SnapshotHead(Rc<Image>),
    SnapshotNodes(Rc<Vec<ImageNode>>),
    SnapshotEnd,
    /// The sender has closed; everything before it has arrived.
    Fin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mesh,
    /// The first end is the learner.
    Link,
    /// The first end is the client.
    Client,
}

#[derive(Debug, Default)]
pub struct Pipe {
    pub queue: VecDeque<Message>,
    pub last_arrival_ms: u64,
    /// Messages whose time came while the way was cut.
    pub stalled: u32,
}

#[derive(Debug)]
pub struct Conn {
    pub kind: Kind,
    pub ends: [Host; 2],
    pub open: [bool; 2],
    /// Reset: nothing passes any more.
    pub is_dead: bool,
    /// By the end that sends.
    pub pipes: [Pipe; 2],
}

impl Conn {
    pub fn end_of(&self, host: Host) -> usize {
        usize::from(self.ends[0] != host)
    }
}

/// All connections and what is cut.
#[derive(Debug, Default)]
pub struct Net {
    pub conns: BTreeMap<ConnKey, Conn>,
    next: ConnKey,
    /// Directions that are cut: from, to.
    pub cut: BTreeSet<(Host, Host)>,
}

impl Net {
    pub fn open(&mut self, kind: Kind, from: Host, to: Host) -> ConnKey {
        self.next += 1;
        let conn =
            Conn { kind, ends: [from, to], open: [true; 2], is_dead: false, pipes: Default::default() };
        self.conns.insert(self.next, conn);
        self.next
    }

    pub fn passes(&self, from: Host, to: Host) -> bool {
        !self.cut.contains(&(from, to))
    }

    pub fn passes_both_ways(&self, a: Host, b: Host) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// Connections with an open end at that host.
    pub fn of_host(&self, host: Host) -> Vec<ConnKey> {
        let at = |c: &Conn| c.ends.contains(&host) && c.open[c.end_of(host)];
        self.conns.iter().filter(|(_, c)| at(c)).map(|(key, _)| *key).collect()
    }

    /// Forgets what nobody can use any more.
    pub fn forget(&mut self, key: ConnKey) {
        if self.conns.get(&key).is_some_and(|c| c.open == [false; 2]) {
            self.conns.remove(&key);
        }
    }
}
