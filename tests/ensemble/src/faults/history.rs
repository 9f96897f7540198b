//! What the clients wrote down: every request with its times, its answer and the zxid the answer carries.

use std::collections::BTreeMap;

/// Registers are numbered nodes `/registers/r<n>`.
pub type Register = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sets a value nobody else writes.
    Write {
        value: u64,
    },
    /// As `Write`, if the register still has this version.
    Swap {
        value: u64,
        version: i32,
    },
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The register's state right after the request: `mzxid`, version and value of its Stat and data.
    State { zxid: i64, version: i32, value: u64 },
    /// Refused: the version was another.
    BadVersion,
    /// The connection or the session ended first; it may have happened.
    Unknown,
}

/// One request, in the order its session sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    pub session: i64,
    pub register: Register,
    pub kind: Kind,
    /// Microseconds since the run began; `answered_us` may be later than the answer, never earlier.
    pub invoked_us: u64,
    pub answered_us: u64,
    pub answer: Answer,
}

/// A node that was asked for under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub path: String,
    pub session: i64,
    /// Its `czxid`; `None` if the answer never came.
    pub zxid: Option<i64>,
}

/// What one client knows in the end.
#[derive(Debug, Default, Clone)]
pub struct Diary {
    pub ops: Vec<Op>,
    /// Persistent nodes in the order they were asked for.
    pub appended: Vec<Made>,
    pub ephemerals: Vec<Made>,
    /// The session that still lives.
    pub session: i64,
    pub sessions: u64,
    /// What must never happen, in words.
    pub failures: Vec<String>,
}

/// What the tree holds in the end, as far as it is compared with the diaries.
#[derive(Debug, Default, Clone)]
pub struct Finally {
    pub registers: BTreeMap<Register, (i64, i32, u64)>,
    /// Path → czxid.
    pub appended: BTreeMap<String, i64>,
    /// Path → owner.
    pub ephemerals: BTreeMap<String, i64>,
}
