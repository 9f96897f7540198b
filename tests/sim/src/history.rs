//! What the clients asked and were told, for the verdict at the end.

use bytes::Bytes;
use zk_proto::{EventKind, Request};

/// One request of one session.
#[derive(Debug)]
pub struct Op {
    pub client: usize,
    pub session: i64,
    pub xid: i32,
    pub request: Request,
    /// The largest zxid of a write anybody had been told of when this was sent.
    pub floor: i64,
    pub sent_ms: u64,
    pub outcome: Outcome,
}

/// What its client knows.
#[derive(Debug)]
pub enum Outcome {
    Open,
    /// The connection broke first: it may have taken place, once.
    Lost,
    Answered {
        zxid: i64,
        err: i32,
        body: Bytes,
    },
}

/// What one client saw, in order.
#[derive(Debug)]
pub enum Seen {
    /// A new session: no watches.
    NewSession,
    Answer {
        op: usize,
    },
    Pong {
        zxid: i64,
    },
    Event {
        kind: EventKind,
        path: String,
    },
    /// The answer to SetWatches with what was asked.
    WatchesSet {
        zxid: i64,
        data: Vec<String>,
        exist: Vec<String>,
        child: Vec<String>,
    },
}

/// Everything of one run.
#[derive(Debug, Default)]
pub struct History {
    pub ops: Vec<Op>,
    /// By client.
    pub seen: Vec<Vec<Seen>>,
    /// Sessions a server refused to take up again.
    pub refused: Vec<i64>,
    /// The largest zxid of an answered write so far.
    pub acked: i64,
}

impl History {
    pub fn see(&mut self, client: usize, seen: Seen) {
        while self.seen.len() <= client {
            self.seen.push(Vec::new());
        }
        self.seen[client].push(seen);
    }
}
