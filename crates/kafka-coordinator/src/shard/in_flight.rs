//! Appends that wait for their outcome, and what to do then.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::effect::AppendId;
use crate::group::{AssignmentToStore, Forgetting, OffsetsToStore, StaticReturn};

/// What an append was for.
#[derive(Debug)]
pub(crate) enum Pending {
    Commit(OffsetsToStore),
    Assignment(AssignmentToStore),
    StaticReturn { group: Arc<str>, back: Box<StaticReturn> },
    EmptyGroup { group: Arc<str> },
    Forget(Forgetting),
}

/// One entry for each append that was handed out. Bounded by the requests that wait, one each, plus
/// the clean-up's batches.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    next: u64,
    pending: BTreeMap<AppendId, Pending>,
}

impl InFlight {
    pub fn register(&mut self, pending: Pending) -> AppendId {
        let id = AppendId(self.next);
        self.next += 1;
        self.pending.insert(id, pending);
        id
    }

    pub fn take(&mut self, id: AppendId) -> Option<Pending> {
        self.pending.remove(&id)
    }

    pub fn take_all(&mut self) -> BTreeMap<AppendId, Pending> {
        std::mem::take(&mut self.pending)
    }
}
