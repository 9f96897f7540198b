//! A learner's link as its leader sees it, and all of them.
//!
//! ```text
//! Greeting ─FOLLOWERINFO─► Greeted ─LEADERINFO─► Promising ─ACKEPOCH─► Promised ─► ReadingLog ─► Syncing
//!                                                                         └──────────────────────►┘
//! Syncing ─ACK(NEWLEADER)─► Synced ─UPTODATE─► Serving
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zk_proto::quorum::{Sid, zxid};

use crate::input::LinkId;

/// Connections of learners at a time; more than any ensemble has.
pub(crate) const LINKS_MAX: usize = 1024;

/// How far a learner has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing has been heard of it yet.
    Greeting,
    /// Waits for the epoch.
    Greeted,
    /// Has been told the epoch.
    Promising,
    /// Has accepted the epoch, waits until a quorum has. Its last zxid.
    Promised {
        last: i64,
    },
    /// What it lacks is being read from the log.
    ReadingLog {
        last: i64,
    },
    /// Has been sent its history and NEWLEADER.
    Syncing,
    /// Has its history on disk, waits until a quorum has.
    Synced,
    Serving,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub sid: Sid,
    pub observer: bool,
    /// A server of this project.
    pub ours: bool,
    pub damaged: bool,
    /// Its log cannot be truncated.
    pub wants_snapshot: bool,
    pub stage: Stage,
    pub heard_ms: u64,
    pub pinged_ms: u64,
    /// A snapshot is on its way to it.
    pub streaming: bool,
    /// The last committed zxid when its sync point was fixed; its ACK of NEWLEADER stands for all up to it.
    pub synced_to: i64,
    /// A proposal it acknowledged before NEWLEADER.
    pub overtaking: i64,
    /// Every zxid up to this one is on its disk.
    pub acked: i64,
    /// The last zxid it has been sent.
    pub sent: i64,
    /// Proposals it has not acknowledged, and when they were sent; one sample a tenth of a tick.
    pub unacked: VecDeque<(i64, u64)>,
}

impl Link {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            sid: -1,
            observer: false,
            ours: false,
            damaged: false,
            wants_snapshot: false,
            stage: Stage::Greeting,
            heard_ms: now_ms,
            pinged_ms: now_ms,
            streaming: false,
            synced_to: 0,
            overtaking: 0,
            acked: 0,
            sent: 0,
            unacked: VecDeque::new(),
        }
    }

    /// Whether it gets proposals and commits as they come: the sync point is fixed (rule 10).
    pub(crate) fn forwarding(&self) -> bool {
        self.stage >= Stage::Syncing
    }

    pub(crate) fn synced(&self) -> bool {
        self.stage >= Stage::Synced
    }

    /// A proposal goes out to it.
    pub(crate) fn proposed(&mut self, zxid: i64, now_ms: u64, sample_ms: u64) {
        self.sent = zxid;
        let due = self.unacked.back().is_none_or(|(_, at)| now_ms >= at + sample_ms);
        if due && self.synced() {
            self.unacked.push_back((zxid, now_ms));
        }
    }

    pub(crate) fn acknowledged(&mut self, zxid: i64) {
        self.acked = zxid;
        let mut at = None;
        while let Some((first, sent_ms)) = self.unacked.front().copied()
            && first <= zxid
        {
            at = Some(sent_ms);
            self.unacked.pop_front();
        }
        if self.unacked.is_empty()
            && self.sent > zxid
            && let Some(at) = at
        {
            self.unacked.push_back((self.sent, at));
        }
    }

    /// How many zxids it is behind what it has been sent.
    pub(crate) fn behind(&self) -> u64 {
        match self.observer || !self.synced() {
            true => 0,
            false if zxid::epoch(self.acked) == zxid::epoch(self.sent) => self.sent.abs_diff(self.acked),
            false => zxid::counter(self.sent).unsigned_abs(),
        }
    }

    /// The oldest proposal it owes an ack for, and for how long.
    pub(crate) fn lagging(&self, now_ms: u64) -> Option<(i64, u64)> {
        self.unacked.front().map(|(zxid, at)| (*zxid, now_ms.saturating_sub(*at)))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Learners {
    links: BTreeMap<LinkId, Link>,
}

impl Learners {
    pub(crate) fn insert(&mut self, id: LinkId, link: Link) {
        self.links.insert(id, link);
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.links.remove(&id)
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LinkId, &mut Link)> {
        self.links.iter_mut().map(|(id, link)| (*id, link))
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The link that server has already.
    pub(crate) fn of(&self, sid: Sid) -> Option<LinkId> {
        self.iter().find(|(_, link)| link.stage > Stage::Greeting && link.sid == sid).map(|(id, _)| id)
    }

    pub(crate) fn where_is(&self, mut stage: impl FnMut(Stage) -> bool) -> Vec<LinkId> {
        self.iter().filter(|(_, link)| stage(link.stage)).map(|(id, _)| id).collect()
    }

    /// The servers that follow (observers left out), and `own`.
    pub(crate) fn followers(&self, own: Sid, mut with: impl FnMut(&Link) -> bool) -> BTreeSet<Sid> {
        let following = self.links.values().filter(|link| link.stage > Stage::Greeting && !link.observer);
        following.filter(|link| with(link)).map(|link| link.sid).chain([own]).collect()
    }
}
