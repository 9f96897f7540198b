//! Incremental fetch sessions (KIP-227): a client names its partitions once and is told only about those that changed.
//!
//! The cache is bounded (`max.incremental.fetch.session.cache.slots`). A full cache gives a slot up only when the session
//! in it has not been used for two minutes, or is smaller than the new one and two minutes old; otherwise the client
//! gets no session and sends full requests, which always works. So it does when the sessions together would remember too
//! many partitions, which the original does not bound. Time and session ids come as arguments.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::wire::Uuid;
use parking_lot::Mutex;

/// A full fetch that wants a session.
pub const INITIAL_EPOCH: i32 = 0;
/// A full fetch without one, closing any it names.
pub const FINAL_EPOCH: i32 = -1;
/// A younger session keeps its slot (`min.incremental.fetch.session.eviction.ms`).
const EVICTION_AGE_MS: u64 = 120_000;
/// Partitions all sessions together remember, some 200 bytes each: clients may name partitions that do not exist.
const PARTITIONS_MAX: usize = 1_000_000;

/// What a client asks of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTarget {
    /// `None` if the id in the request is nobody's.
    pub topic: Option<Arc<str>>,
    /// Zero below Fetch 13.
    pub topic_id: Uuid,
    pub partition: i32,
    pub fetch_offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// Identity of a partition in a session: the id from Fetch 13 on, else the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    id: [u8; 16],
    name: Option<Arc<str>>,
    partition: i32,
}

impl Key {
    fn of(target: &FetchTarget) -> Self {
        Self::new(target.topic.as_ref(), target.topic_id, target.partition)
    }

    fn new(topic: Option<&Arc<str>>, id: Uuid, partition: i32) -> Self {
        let name = if id.is_zero() { topic.cloned() } else { None };
        Self { id: id.0, name, partition }
    }
}

/// A partition the client no longer wants.
#[derive(Debug, Clone)]
pub struct Forgotten {
    pub topic: Option<Arc<str>>,
    pub topic_id: Uuid,
    pub partition: i32,
}

/// What the client was last told about a partition.
#[derive(Debug, Clone)]
struct Cached {
    target: FetchTarget,
    /// −1: tell it next time, whatever it is.
    high_watermark: i64,
    log_start_offset: i64,
}

/// One client's partitions.
#[derive(Debug)]
pub struct Session {
    pub id: i32,
    epoch: i32,
    uses_topic_ids: bool,
    partitions: Vec<Cached>,
    index: HashMap<Key, usize, foldhash::fast::RandomState>,
    /// Where the next response starts, so that a full response does not starve the partitions behind.
    start: usize,
}

/// What decides whether an incremental response mentions a partition.
#[derive(Debug, Clone, Copy)]
pub struct PartitionOutcome {
    pub error: bool,
    pub has_records: bool,
    pub diverges: bool,
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

impl Session {
    fn new(id: i32, uses_topic_ids: bool) -> Self {
        Self { id, epoch: 1, uses_topic_ids, partitions: Vec::new(), index: HashMap::default(), start: 0 }
    }

    fn put(&mut self, target: FetchTarget) {
        let key = Key::of(&target);
        match self.index.get(&key) {
            Some(&at) => self.partitions[at].target = target,
            None => {
                self.index.insert(key, self.partitions.len());
                self.partitions.push(Cached { target, high_watermark: -1, log_start_offset: -1 });
            }
        }
    }

    fn forget(&mut self, forgotten: &Forgotten) {
        let Some(at) =
            self.index.remove(&Key::new(forgotten.topic.as_ref(), forgotten.topic_id, forgotten.partition))
        else {
            return;
        };
        self.partitions.swap_remove(at);
        if let Some(moved) = self.partitions.get(at) {
            self.index.insert(Key::of(&moved.target), at);
        }
    }

    /// The partitions in the order to serve them.
    pub fn targets(&self) -> Vec<FetchTarget> {
        let start = if self.partitions.is_empty() { 0 } else { self.start % self.partitions.len() };
        let (behind, ahead) = self.partitions.split_at(start);
        ahead.iter().chain(behind).map(|cached| cached.target.clone()).collect()
    }

    /// Records what the client is about to be told; says whether an incremental response must mention it.
    pub fn note(&mut self, target: &FetchTarget, outcome: PartitionOutcome) -> bool {
        let Some(&at) = self.index.get(&Key::of(target)) else { return true };
        let cached = &mut self.partitions[at];
        let changed = cached.high_watermark != outcome.high_watermark
            || cached.log_start_offset != outcome.log_start_offset;
        cached.high_watermark = outcome.high_watermark;
        cached.log_start_offset = outcome.log_start_offset;
        if outcome.error {
            // The client hears of it until it is over, and then once more.
            cached.high_watermark = -1;
        }
        if outcome.has_records {
            self.start = at + 1;
        }
        changed || outcome.error || outcome.has_records || outcome.diverges
    }

    /// `check` of the invariants, for tests.
    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.index.len(), self.partitions.len());
        for (at, cached) in self.partitions.iter().enumerate() {
            assert_eq!(self.index.get(&Key::of(&cached.target)), Some(&at));
        }
    }
}

/// How a request's partitions are served.
#[derive(Debug)]
pub enum FetchContext {
    /// The request names everything, and the response does; no session.
    Sessionless(Vec<FetchTarget>),
    /// As before, and the response opens this session.
    Full(Vec<FetchTarget>, Arc<Mutex<Session>>),
    /// Only changes go back.
    Incremental(Vec<FetchTarget>, Arc<Mutex<Session>>),
    /// The whole request is refused.
    Error(ErrorCode),
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    size: usize,
    created_ms: u64,
    used_ms: u64,
}

/// All sessions of the broker.
#[derive(Debug)]
pub struct FetchSessions {
    slots_max: usize,
    partitions_max: usize,
    slots: Mutex<HashMap<i32, Slot, foldhash::fast::RandomState>>,
}

/// The session part of a request, its partitions with names resolved.
#[derive(Debug)]
pub struct SessionRequest {
    pub id: i32,
    pub epoch: i32,
    pub uses_topic_ids: bool,
    pub targets: Vec<FetchTarget>,
    pub forgotten: Vec<Forgotten>,
}

impl FetchSessions {
    pub fn new(slots_max: usize) -> Self {
        Self { slots_max, partitions_max: PARTITIONS_MAX, slots: Mutex::default() }
    }

    /// Finds or makes the context of a request. `random_id` yields candidates for a new session's id.
    pub fn context(
        &self,
        request: SessionRequest,
        now_ms: u64,
        random_id: impl FnMut() -> i32,
    ) -> FetchContext {
        match request.epoch {
            FINAL_EPOCH => {
                self.slots.lock().remove(&request.id);
                FetchContext::Sessionless(request.targets)
            }
            INITIAL_EPOCH => {
                self.slots.lock().remove(&request.id);
                self.open(request, now_ms, random_id)
            }
            _ => self.continue_session(request, now_ms),
        }
    }

    fn open(&self, request: SessionRequest, now_ms: u64, mut random_id: impl FnMut() -> i32) -> FetchContext {
        let mut slots = self.slots.lock();
        let size = request.targets.len();
        let remembered: usize = slots.values().map(|slot| slot.size).sum();
        if size == 0
            || remembered + size > self.partitions_max
            || !make_room(&mut slots, self.slots_max, size, now_ms)
        {
            return FetchContext::Sessionless(request.targets);
        }
        let id = loop {
            let id = random_id().checked_abs().unwrap_or(1).max(1);
            if !slots.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session::new(id, request.uses_topic_ids);
        request.targets.iter().cloned().for_each(|target| session.put(target));
        let session = Arc::new(Mutex::new(session));
        slots.insert(id, Slot { session: session.clone(), size, created_ms: now_ms, used_ms: now_ms });
        FetchContext::Full(request.targets, session)
    }

    fn continue_session(&self, request: SessionRequest, now_ms: u64) -> FetchContext {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(&request.id) else {
            return FetchContext::Error(ErrorCode::FetchSessionIdNotFound);
        };
        slot.used_ms = now_ms;
        let shared = slot.session.clone();
        let mut session = shared.lock();
        if session.epoch != request.epoch {
            return FetchContext::Error(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return FetchContext::Error(ErrorCode::FetchSessionTopicIdError);
        }
        let added = request.targets.len();
        request.targets.into_iter().for_each(|target| session.put(target));
        request.forgotten.iter().for_each(|forgotten| session.forget(forgotten));
        slot.size = session.partitions.len();
        if session.partitions.is_empty() {
            slots.remove(&request.id);
            return FetchContext::Sessionless(Vec::new());
        }
        if added > 0 && slots.values().map(|slot| slot.size).sum::<usize>() > self.partitions_max {
            // The client starts over with a full request, and gets no session for it.
            slots.remove(&request.id);
            return FetchContext::Error(ErrorCode::FetchSessionIdNotFound);
        }
        session.epoch = next_epoch(session.epoch);
        let targets = session.targets();
        drop(session);
        FetchContext::Incremental(targets, shared)
    }

    pub fn count(&self) -> usize {
        self.slots.lock().len()
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// Frees a slot if all are taken and one may be.
fn make_room(
    slots: &mut HashMap<i32, Slot, foldhash::fast::RandomState>,
    slots_max: usize,
    size: usize,
    now_ms: u64,
) -> bool {
    if slots.len() < slots_max {
        return true;
    }
    let stale = |slot: &Slot| now_ms.saturating_sub(slot.used_ms) > EVICTION_AGE_MS;
    let smaller = |slot: &Slot| slot.size < size && now_ms.saturating_sub(slot.created_ms) > EVICTION_AGE_MS;
    let oldest = slots.iter().filter(|(_, slot)| stale(slot)).min_by_key(|(_, slot)| slot.used_ms);
    let victim =
        oldest.or_else(|| slots.iter().filter(|(_, slot)| smaller(slot)).min_by_key(|(_, slot)| slot.size));
    let Some(id) = victim.map(|(id, _)| *id) else { return false };
    slots.remove(&id).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(topic: &str, partition: i32, offset: i64) -> FetchTarget {
        FetchTarget {
            topic: Some(topic.into()),
            topic_id: Uuid::ZERO,
            partition,
            fetch_offset: offset,
            max_bytes: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn request(id: i32, epoch: i32, targets: Vec<FetchTarget>) -> SessionRequest {
        SessionRequest { id, epoch, uses_topic_ids: false, targets, forgotten: Vec::new() }
    }

    fn open(
        sessions: &FetchSessions,
        id: i32,
        now_ms: u64,
        targets: Vec<FetchTarget>,
    ) -> Option<Arc<Mutex<Session>>> {
        match sessions.context(request(0, 0, targets), now_ms, || id) {
            FetchContext::Full(_, session) => Some(session),
            _ => None,
        }
    }

    fn quiet(high_watermark: i64) -> PartitionOutcome {
        PartitionOutcome {
            error: false,
            has_records: false,
            diverges: false,
            high_watermark,
            log_start_offset: 0,
        }
    }

    #[test]
    fn a_session_remembers_partitions_and_reports_only_changes() {
        let sessions = FetchSessions::new(10);
        let session = open(&sessions, 7, 0, vec![target("a", 0, 0), target("a", 1, 0)]).expect("a session");
        assert!(session.lock().note(&target("a", 0, 0), quiet(5)), "first told");
        assert!(!session.lock().note(&target("a", 0, 0), quiet(5)), "nothing new");
        assert!(session.lock().note(&target("a", 0, 0), quiet(6)), "high watermark moved");
        let FetchContext::Incremental(targets, _) =
            sessions.context(request(7, 1, vec![target("a", 1, 9)]), 0, || 0)
        else {
            panic!()
        };
        assert_eq!(targets.iter().map(|t| t.fetch_offset).collect::<Vec<_>>(), [0, 9]);
        session.lock().check();
    }

    #[test]
    fn an_error_is_told_until_it_is_over_and_once_more() {
        let sessions = FetchSessions::new(10);
        let session = open(&sessions, 7, 0, vec![target("a", 0, 0)]).expect("a session");
        let failing = PartitionOutcome { error: true, ..quiet(-1) };
        assert!(session.lock().note(&target("a", 0, 0), failing));
        assert!(session.lock().note(&target("a", 0, 0), failing));
        assert!(session.lock().note(&target("a", 0, 0), quiet(5)));
        assert!(!session.lock().note(&target("a", 0, 0), quiet(5)));
    }

    #[test]
    fn a_partition_with_data_goes_behind_the_others() {
        let sessions = FetchSessions::new(10);
        let session = open(&sessions, 7, 0, (0..3).map(|p| target("a", p, 0)).collect()).expect("a session");
        session.lock().note(&target("a", 1, 0), PartitionOutcome { has_records: true, ..quiet(5) });
        let order: Vec<i32> = session.lock().targets().iter().map(|t| t.partition).collect();
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn ids_and_epochs_are_checked() {
        let sessions = FetchSessions::new(10);
        open(&sessions, 7, 0, vec![target("a", 0, 0)]).expect("a session");
        let error = |request| match sessions.context(request, 0, || 0) {
            FetchContext::Error(code) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(error(request(8, 1, vec![])), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(error(request(7, 2, vec![])), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(
            error(SessionRequest { uses_topic_ids: true, ..request(7, 1, vec![]) }),
            ErrorCode::FetchSessionTopicIdError
        );
    }

    #[test]
    fn forgetting_the_last_partition_ends_the_session() {
        let sessions = FetchSessions::new(10);
        let session = open(&sessions, 7, 0, (0..3).map(|p| target("a", p, 0)).collect()).expect("a session");
        let forget = |p| Forgotten { topic: Some("a".into()), topic_id: Uuid::ZERO, partition: p };
        let some = SessionRequest { forgotten: vec![forget(0)], ..request(7, 1, vec![]) };
        assert!(
            matches!(sessions.context(some, 0, || 0), FetchContext::Incremental(left, _) if left.len() == 2)
        );
        session.lock().check();
        let rest = SessionRequest { forgotten: vec![forget(1), forget(2)], ..request(7, 2, vec![]) };
        assert!(
            matches!(sessions.context(rest, 0, || 0), FetchContext::Sessionless(left) if left.is_empty())
        );
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn a_full_cache_gives_up_stale_or_smaller_old_sessions_only() {
        let sessions = FetchSessions::new(1);
        open(&sessions, 1, 0, vec![target("a", 0, 0)]).expect("a session");
        let big = || (0..2).map(|p| target("b", p, 0)).collect::<Vec<_>>();
        assert!(open(&sessions, 2, 1000, big()).is_none(), "young");
        sessions.context(request(1, 1, vec![]), EVICTION_AGE_MS, || 0);
        assert!(
            open(&sessions, 2, EVICTION_AGE_MS + 1, vec![target("c", 0, 0)]).is_none(),
            "same size, in use"
        );
        assert!(open(&sessions, 2, EVICTION_AGE_MS + 1, big()).is_some(), "larger");
        assert!(open(&sessions, 3, 2 * EVICTION_AGE_MS + 2, vec![target("c", 0, 0)]).is_some(), "stale");
        assert_eq!(sessions.count(), 1);
    }
    #[test]
    fn sessions_remember_no_more_than_so_many_partitions() {
        let sessions = FetchSessions { partitions_max: 3, ..FetchSessions::new(10) };
        open(&sessions, 1, 0, vec![target("a", 0, 0), target("a", 1, 0)]).expect("a session");
        assert!(open(&sessions, 2, 0, vec![target("b", 0, 0), target("b", 1, 0)]).is_none(), "one too many");
        open(&sessions, 2, 0, vec![target("b", 0, 0)]).expect("the last one");
        let known = sessions.context(request(2, 1, vec![target("b", 0, 5)]), 0, || 0);
        assert!(matches!(known, FetchContext::Incremental(..)), "{known:?}");
        let grown = sessions.context(request(2, 2, vec![target("b", 1, 0)]), 0, || 0);
        assert!(matches!(grown, FetchContext::Error(ErrorCode::FetchSessionIdNotFound)), "{grown:?}");
        assert_eq!(sessions.count(), 1);
    }
}
