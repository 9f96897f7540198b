//! One client connection as the node sees it: its phase, its identities, and what waits for an answer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use zk_proto::txn::{SubTxn, TxnHeader, kind};
use zk_proto::{CreateKind, ErrorCode, Id, MultiOp, OpCode, Request};
use zk_tree::auth::ip_id;

use crate::close::CloseReason;
use crate::stats::ConnectionStats;

/// ```text
/// Handshake --new session--> Opening --its transaction is applied--> Open
/// Handshake --session taken up again-------------------------------> Open
/// Handshake --the leader is asked--> Renewing --it lives-----------> Open
/// any --refused, closed, expired, moved--> Closing (its frames are ignored from then on)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the client's first frame.
    Handshake,
    /// The session's createSession is on its way; requests that arrive meanwhile wait behind it.
    Opening {
        session: i64,
    },
    Open {
        session: i64,
    },
    /// At a learner: the leader is asked whether the session lives. Nothing is read meanwhile.
    Renewing {
        session: i64,
    },
    Closing {
        session: Option<i64>,
    },
}

impl Phase {
    pub fn session(self) -> Option<i64> {
        match self {
            Self::Handshake | Self::Renewing { .. } => None,
            Self::Opening { session } | Self::Open { session } => Some(session),
            Self::Closing { session } => session,
        }
    }

    pub(crate) fn takes_requests(self) -> bool {
        matches!(self, Self::Opening { .. } | Self::Open { .. })
    }
}

/// A request that has no answer yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) xid: i32,
    pub(crate) start_ms: u64,
    pub(crate) work: Work,
}

/// What its answer waits for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Answered when the transaction is applied.
    Write { zxid: i64, create2: Create2Items },
    /// At a learner: answered when a commit of its session carries this cxid.
    Forwarded { cxid: i32, op: OpCode, create2: Create2Items },
    /// At a learner: answered when the leader says that everything proposed before it is committed.
    RemoteSync { path: String, done: bool },
    /// Answered when everything proposed before it is applied.
    Sync { after: i64, path: String },
    /// Answered from the tree, with the identities the session had when it asked.
    Read { request: Request, auth: Arc<[Id]> },
    /// Answered with this header alone.
    Fixed { zxid: FixedZxid, err: ErrorCode, close: Option<CloseReason> },
}

impl Work {
    /// Whether that transaction is its answer.
    pub(crate) fn waits_for(&self, header: &TxnHeader) -> bool {
        match self {
            Self::Write { zxid, .. } => *zxid == header.zxid,
            Self::Forwarded { cxid, op, .. } => {
                *cxid == header.cxid && (header.kind == op.code() || header.kind == kind::ERROR)
            }
            _ => false,
        }
    }

    pub(crate) fn create2(&self) -> Option<&Create2Items> {
        match self {
            Self::Write { create2, .. } | Self::Forwarded { create2, .. } => Some(create2),
            _ => None,
        }
    }
}

/// Which items of a multi were asked for as create2. In an ensemble they are logged as plain creates
/// (ZOOKEEPER-4026), and whoever asked wants the Stat all the same.
#[derive(Debug, Default)]
pub(crate) struct Create2Items(Option<Box<[u32]>>);

impl Create2Items {
    pub(crate) fn of(request: &Request) -> Self {
        let Request::Multi(ops) = request else { return Self::default() };
        let asked = |op: &MultiOp| matches!(op, MultiOp::Create(c) if c.kind == CreateKind::Create2);
        let items: Box<[u32]> = (0..).zip(ops).filter(|(_, op)| asked(op)).map(|(at, _)| at).collect();
        Self((!items.is_empty()).then_some(items))
    }

    /// Gives the items the type they were asked for, which changes their answers and nothing else.
    pub(crate) fn restore(&self, items: &mut [SubTxn]) {
        for at in self.0.iter().flatten() {
            if let Some(item) = items.get_mut(*at as usize)
                && item.kind == kind::CREATE
            {
                item.kind = kind::CREATE2;
            }
        }
    }
}

/// The zxid of a reply that does not come from the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FixedZxid {
    /// Authentication answers 0.
    Zero,
    /// An operation that is not implemented answers −1.
    MinusOne,
    LastApplied,
}

/// See the module's header.
#[derive(Debug)]
pub struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) auth: Arc<[Id]>,
    /// In the order of the requests; replies leave from the front only.
    pub(crate) queue: VecDeque<Waiting>,
    pub(crate) stats: ConnectionStats,
    pub(crate) opened_ms: u64,
    pub(crate) established_wall_ms: i64,
    /// As negotiated on this connection.
    pub(crate) timeout_ms: i32,
    /// Clients before 3.4 do not know the field.
    pub(crate) knows_read_only: bool,
    /// At a learner: commits are not its own yet (see [`crate::learner`]).
    pub(crate) is_fenced: bool,
    /// Its first malformed request was told of; the next ones are not.
    pub(crate) complained_of: bool,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, opened_ms: u64, wall_ms: i64) -> Self {
        Self {
            peer,
            phase: Phase::Handshake,
            // Every session is its address, whether it authenticates or not (`ServerCnxn` of NIO and Netty).
            auth: Arc::from([ip_id(peer.ip())]),
            queue: VecDeque::new(),
            stats: ConnectionStats::default(),
            opened_ms,
            established_wall_ms: wall_ms,
            timeout_ms: 0,
            knows_read_only: false,
            is_fenced: false,
            complained_of: false,
        }
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Requests without an answer.
    pub fn outstanding(&self) -> usize {
        self.queue.len()
    }

    pub fn stats(&self) -> &ConnectionStats {
        &self.stats
    }

    /// Wall clock of its beginning.
    pub fn established_wall_ms(&self) -> i64 {
        self.established_wall_ms
    }

    pub fn session_timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    pub fn opened_ms(&self) -> u64 {
        self.opened_ms
    }

    /// Adds identities, each once.
    pub(crate) fn add_auth(&mut self, ids: Vec<Id>) {
        let mut all = self.auth.to_vec();
        for id in ids {
            if !all.contains(&id) {
                all.push(id);
            }
        }
        self.auth = all.into();
    }
}
