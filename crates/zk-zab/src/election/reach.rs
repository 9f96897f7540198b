//! Which servers cannot be heard at the moment.

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::quorum::Sid;

/// What is known of the mesh's connections. A voter that certainly cannot be heard is not waited for.
#[derive(Debug)]
pub(super) struct Reach {
    /// By server: whether its connection is down. Absent: nothing is known.
    down: BTreeMap<Sid, bool>,
    /// Servers that were connected at some time.
    met: BTreeSet<Sid>,
    /// When a server that was never connected may be taken for absent. Of servers started together some come up
    /// later than others; until then a refused connection means nothing.
    absent_after_ms: Option<u64>,
    patience_ms: u64,
}

impl Reach {
    pub(super) fn new(patience_ms: u64) -> Self {
        Self { down: BTreeMap::new(), met: BTreeSet::new(), absent_after_ms: None, patience_ms }
    }

    /// The first election since this server was started begins.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.absent_after_ms.get_or_insert(now_ms.saturating_add(self.patience_ms));
    }

    pub(super) fn up(&mut self, sid: Sid) {
        self.down.insert(sid, false);
        self.met.insert(sid);
    }

    pub(super) fn down(&mut self, sid: Sid) {
        self.down.insert(sid, true);
    }

    /// Servers that are no voters any more are forgotten.
    pub(super) fn retain(&mut self, voters: &BTreeSet<Sid>) {
        self.down.retain(|sid, _| voters.contains(sid));
        self.met.retain(|sid| voters.contains(sid));
    }

    pub(super) fn is_broken(&self, sid: Sid, now_ms: u64) -> bool {
        let absent = || self.absent_after_ms.is_some_and(|after| now_ms >= after);
        self.down.get(&sid) == Some(&true) && (self.met.contains(&sid) || absent())
    }
}
