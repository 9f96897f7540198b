//! Sessions as one server sees them: ids, passwords, who owns which connection, when they expire.
//!
//! Committed sessions and their timeouts live in the [`crate::Tree`], because snapshots hold them; this is the
//! moving part beside it. A session is one of
//!
//! ```text
//! unknown --track/create--> open --set_closing/expire--> closing --remove--> unknown
//! ```
//!
//! Deadlines are rounded up to whole ticks and kept in buckets, so a touch mostly changes nothing
//! (`SessionTrackerImpl`, `ExpiryQueue`).

mod password;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;
use zk_proto::ErrorCode;

use crate::owner::CONTAINER_OWNER;

pub use password::{check_password, password};

/// Who owns a session: a connection, or at a leader the server it is connected to.
pub type SessionOwner = u64;

#[derive(Debug)]
struct Session {
    timeout_ms: i32,
    is_closing: bool,
    owner: Option<SessionOwner>,
    /// The bucket it is in: an end of a tick, on the monotonic clock. `None` once it has expired.
    deadline_ms: Option<i64>,
}

/// The open sessions and the wheel they expire by. All times are milliseconds of one monotonic clock.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: i64,
    next_id: i64,
    by_id: HashMap<i64, Session, RandomState>,
    buckets: BTreeMap<i64, BTreeSet<i64>>,
}

impl Sessions {
    /// `server_id` becomes the top byte of the ids; `seed_ms` makes them differ from those of an earlier run
    /// (wall clock, as ids must not repeat after a restart).
    pub fn new(server_id: u8, tick_ms: i64, seed_ms: i64) -> Self {
        Self {
            tick_ms: tick_ms.max(1),
            next_id: first_id(server_id, seed_ms),
            by_id: HashMap::default(),
            buckets: BTreeMap::new(),
        }
    }

    /// Forgets every session and goes on with new ids where it was: a new role begins.
    pub fn restart(&mut self) {
        self.by_id.clear();
        self.buckets.clear();
    }

    /// A new open session.
    pub fn create(&mut self, timeout_ms: i32, now_ms: i64) -> i64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.track(id, timeout_ms, now_ms);
        id
    }

    /// Knows a session from now on, one from a snapshot or another server. Tells whether it is new.
    pub fn track(&mut self, id: i64, timeout_ms: i32, now_ms: i64) -> bool {
        let is_new = !self.by_id.contains_key(&id);
        if is_new {
            let session = Session { timeout_ms, is_closing: false, owner: None, deadline_ms: None };
            self.by_id.insert(id, session);
        }
        self.set_deadline(id, timeout_ms, now_ms);
        is_new
    }

    /// The session was heard of. Tells whether it is open.
    pub fn touch(&mut self, id: i64, now_ms: i64) -> bool {
        match self.by_id.get(&id) {
            Some(session) if !session.is_closing => {
                let timeout_ms = session.timeout_ms;
                self.set_deadline(id, timeout_ms, now_ms);
                true
            }
            _ => false,
        }
    }

    fn set_deadline(&mut self, id: i64, timeout_ms: i32, now_ms: i64) {
        let Some(session) = self.by_id.get_mut(&id) else { return };
        let deadline = (now_ms + i64::from(timeout_ms)) / self.tick_ms * self.tick_ms + self.tick_ms;
        if session.deadline_ms == Some(deadline) {
            return;
        }
        if let Some(before) = session.deadline_ms.replace(deadline) {
            leave_bucket(&mut self.buckets, before, id);
        }
        self.buckets.entry(deadline).or_default().insert(id);
    }

    /// May `owner` act for the session (`SessionTrackerImpl.checkSession`)? The first one to ask becomes owner.
    pub fn check(&mut self, id: i64, owner: SessionOwner) -> Result<(), ErrorCode> {
        let session = self.by_id.get_mut(&id).ok_or(ErrorCode::UnknownSession)?;
        if session.is_closing {
            return Err(ErrorCode::SessionExpired);
        }
        match session.owner {
            None => session.owner = Some(owner),
            Some(current) if current != owner => return Err(ErrorCode::SessionMoved),
            Some(_) => {}
        }
        Ok(())
    }

    /// A reconnect takes the session over; requests still coming from the old owner get SessionMoved.
    pub fn set_owner(&mut self, id: i64, owner: SessionOwner) -> Result<(), ErrorCode> {
        match self.by_id.get_mut(&id) {
            Some(session) if !session.is_closing => {
                session.owner = Some(owner);
                Ok(())
            }
            _ => Err(ErrorCode::SessionExpired),
        }
    }

    /// From now on its requests get SessionExpired; its closeSession is on the way.
    pub fn set_closing(&mut self, id: i64) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.is_closing = true;
        }
    }

    /// Its closeSession was applied.
    pub fn remove(&mut self, id: i64) {
        if let Some(session) = self.by_id.remove(&id)
            && let Some(deadline) = session.deadline_ms
        {
            leave_bucket(&mut self.buckets, deadline, id);
        }
    }

    /// Sessions whose time is over, now closing; each is told once. They are to get a closeSession.
    pub fn expire(&mut self, now_ms: i64) -> Vec<i64> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry()
            && *bucket.key() <= now_ms
        {
            expired.extend(bucket.remove());
        }
        expired.retain(|id| match self.by_id.get_mut(id) {
            Some(session) => {
                session.deadline_ms = None;
                !std::mem::replace(&mut session.is_closing, true)
            }
            None => false,
        });
        expired
    }

    /// When [`Sessions::expire`] will next have something to do.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.buckets.keys().next().copied()
    }

    pub fn is_open(&self, id: i64) -> bool {
        self.by_id.get(&id).is_some_and(|session| !session.is_closing)
    }

    pub fn timeout_ms(&self, id: i64) -> Option<i32> {
        self.by_id.get(&id).map(|session| session.timeout_ms)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Deadlines and the sessions due then, in order, for `dump`.
    pub fn buckets(&self) -> &BTreeMap<i64, BTreeSet<i64>> {
        &self.buckets
    }

    /// Every tracked session is in the bucket it says, and buckets hold nothing else.
    pub fn check_invariants(&self) {
        for (id, session) in &self.by_id {
            if let Some(deadline) = session.deadline_ms {
                assert!(self.buckets.get(&deadline).is_some_and(|bucket| bucket.contains(id)));
            }
        }
        let in_wheel: usize = self.buckets.values().map(BTreeSet::len).sum();
        assert_eq!(in_wheel, self.by_id.values().filter(|s| s.deadline_ms.is_some()).count());
        assert!(self.buckets.values().all(|bucket| !bucket.is_empty()));
    }
}

fn leave_bucket(buckets: &mut BTreeMap<i64, BTreeSet<i64>>, deadline_ms: i64, id: i64) {
    if let Some(bucket) = buckets.get_mut(&deadline_ms) {
        bucket.remove(&id);
        if bucket.is_empty() {
            buckets.remove(&deadline_ms);
        }
    }
}

/// Server id in the top byte, then 40 bits of the clock, then 16 bits to count in
/// (`SessionTrackerImpl.initializeNextSessionId`).
fn first_id(server_id: u8, seed_ms: i64) -> i64 {
    let clock = ((seed_ms << 24) as u64 >> 8) as i64;
    let id = clock | i64::from(server_id) << 56;
    if id == CONTAINER_OWNER { id + 1 } else { id }
}

#[cfg(test)]
mod tests;
