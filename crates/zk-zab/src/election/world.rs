//! A world of elections only: servers, a mesh that delays, loses and breaks, and just enough of what comes after an
//! election (links, epochs, writes) to see whether the right server was elected.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::quorum::{Config, Notification, PeerState, Sid};

use super::{Election, LastLogged, Outcome};
use crate::effect::Effect;
use crate::options::Options;

const STEP_MS: u64 = 5;
/// How long a follower tries to reach its leader, and a leader waits for its followers.
const PATIENCE_MS: u64 = 600;

/// What a disk holds of a history: `(epoch, zxid)`, and the largest epoch ever promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct History {
    pub epoch: i64,
    pub zxid: i64,
}

#[derive(Debug)]
pub(super) struct Server {
    pub history: History,
    accepted: i64,
    /// The history is gone; it has no vote until a leader has synchronised it.
    pub damaged: bool,
    /// `None` while it is not running.
    election: Option<Election>,
    settled_at_ms: u64,
    /// A leader with a quorum; a follower or observer that has been synchronised.
    established: bool,
}

#[derive(Debug)]
enum Mail {
    Notification(Sid, Notification),
    Up(Sid),
    Down(Sid),
}

#[derive(Debug)]
pub(super) struct World {
    pub now_ms: u64,
    pub config: Config,
    pub servers: BTreeMap<Sid, Server>,
    pub rng: fastrand::Rng,
    /// Between two servers, at most.
    pub delay_max_ms: u64,
    /// Of a thousand notifications, so many are lost.
    pub lost_per_mille: u32,
    /// Pairs, the smaller first, that cannot reach each other.
    cut: BTreeSet<(Sid, Sid)>,
    mail: BTreeMap<(u64, u64), (Sid, Mail)>,
    posted: u64,
    /// When the last of what one sent to another arrives: order is kept.
    arrives: BTreeMap<(Sid, Sid), u64>,
    /// The newest history a quorum has had with an established leader.
    pub committed: History,
    /// Every leader that was established.
    pub leaders: Vec<(u64, Sid)>,
    /// Every verdict: when, whose, round, leader.
    pub verdicts: Vec<(u64, Sid, i64, Sid)>,
}

impl World {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        let server = Server {
            history: History { epoch: 0, zxid: 0 },
            accepted: 0,
            damaged: false,
            election: None,
            settled_at_ms: 0,
            established: false,
        };
        let servers = config.members.keys().map(|sid| (*sid, clone(&server))).collect();
        Self {
            now_ms: 1_000,
            config,
            servers,
            rng: fastrand::Rng::with_seed(seed),
            delay_max_ms: 10,
            lost_per_mille: 0,
            cut: BTreeSet::new(),
            mail: BTreeMap::new(),
            posted: 0,
            arrives: BTreeMap::new(),
            committed: History { epoch: 0, zxid: 0 },
            leaders: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, sid: Sid) {
        if self.is_running(sid) {
            return;
        }
        let options = Options { seed: self.rng.u64(..), ..Options::new(sid) };
        self.servers.get_mut(&sid).unwrap().election = Some(Election::new(&options, &self.config, None));
        for other in self.others(sid) {
            if self.is_running(other) && self.can_reach(sid, other) {
                self.post(sid, other, Mail::Up(sid));
                self.post(other, sid, Mail::Up(other));
            } else {
                self.post(other, sid, Mail::Down(other));
            }
        }
        self.begin(sid);
    }

    /// As `kill -9`: the others see their connections close.
    pub(super) fn stop(&mut self, sid: Sid) {
        self.servers.get_mut(&sid).unwrap().election = None;
        self.mail.retain(|_, (to, _)| *to != sid);
        for other in self.others(sid) {
            if self.can_reach(sid, other) && self.is_running(other) {
                self.post(sid, other, Mail::Down(sid));
            }
        }
    }

    /// The disk is lost while the server is down.
    pub(super) fn damage(&mut self, sid: Sid) {
        self.stop(sid);
        let server = self.servers.get_mut(&sid).unwrap();
        server.damaged = true;
        server.history = History { epoch: 0, zxid: 0 };
    }

    pub(super) fn cut(&mut self, a: Sid, b: Sid) {
        if self.cut.insert((a.min(b), a.max(b))) {
            self.mail.retain(|_, (to, mail)| {
                !matches!(mail, Mail::Notification(from, _)
                    if (*from, *to) == (a, b) || (*from, *to) == (b, a))
            });
            self.post(a, b, Mail::Down(a));
            self.post(b, a, Mail::Down(b));
        }
    }

    pub(super) fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            if self.is_running(a) && self.is_running(b) {
                self.post(a, b, Mail::Up(a));
                self.post(b, a, Mail::Up(b));
            }
        }
        self.lost_per_mille = 0;
        self.delay_max_ms = 10;
    }

    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.step();
        }
    }

    /// Runs until every running server stands behind the same established leader, and returns it with the
    /// milliseconds that took.
    pub(super) fn settle(&mut self, within_ms: u64) -> (Sid, u64) {
        let begin = self.now_ms;
        while self.now_ms < begin + within_ms {
            self.step();
            if let Some(leader) = self.leader_of_all() {
                return (leader, self.now_ms - begin);
            }
        }
        panic!("no leader of all within {within_ms} ms: {:#?}", self.servers);
    }

    pub(super) fn state(&self, sid: Sid) -> (PeerState, Sid) {
        let election = self.servers[&sid].election.as_ref().unwrap();
        (election.state(), election.vote().leader)
    }

    pub(super) fn is_running(&self, sid: Sid) -> bool {
        self.servers[&sid].election.is_some()
    }

    fn leader_of_all(&self) -> Option<Sid> {
        let mut running = self.servers.iter().filter(|(_, server)| server.election.is_some());
        let (first, _) = running.next()?;
        let leader = self.state(*first).1;
        let behind = |(sid, server): (&Sid, &Server)| {
            server.established && self.state(*sid).0 != PeerState::Looking && self.state(*sid).1 == leader
        };
        self.servers.iter().filter(|(_, server)| server.election.is_some()).all(behind).then_some(leader)
    }

    fn others(&self, sid: Sid) -> Vec<Sid> {
        self.servers.keys().copied().filter(|other| *other != sid).collect()
    }

    fn can_reach(&self, a: Sid, b: Sid) -> bool {
        !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn post(&mut self, from: Sid, to: Sid, mail: Mail) {
        let last = self.arrives.entry((from, to)).or_default();
        *last = (*last).max(self.now_ms + self.rng.u64(0..=self.delay_max_ms));
        self.posted += 1;
        self.mail.insert((*last, self.posted), (to, mail));
    }

    fn carry_out(&mut self, from: Sid, fx: Vec<Effect>) {
        for effect in fx {
            let Effect::Notify { to, notification } = effect else { panic!("{effect:?}") };
            assert_ne!(to, from);
            let lost = self.rng.u32(0..1000) < self.lost_per_mille;
            if !lost && self.servers.contains_key(&to) && self.is_running(to) && self.can_reach(from, to) {
                self.post(from, to, Mail::Notification(from, notification));
            }
        }
    }

    /// Lets one server's election do something.
    fn with<T>(
        &mut self,
        sid: Sid,
        act: impl FnOnce(&mut Election, u64, &mut Vec<Effect>) -> T,
    ) -> Option<T> {
        let mut fx = Vec::new();
        let election = self.servers.get_mut(&sid).unwrap().election.as_mut()?;
        let result = act(election, self.now_ms, &mut fx);
        election.check();
        self.carry_out(sid, fx);
        Some(result)
    }

    fn begin(&mut self, sid: Sid) {
        let server = self.servers.get_mut(&sid).unwrap();
        server.established = false;
        let History { epoch, zxid } = server.history;
        let own = (!server.damaged).then_some(LastLogged { zxid, epoch });
        self.with(sid, |election, now_ms, fx| election.begin(now_ms, own, fx));
    }

    fn step(&mut self) {
        self.now_ms += STEP_MS;
        while let Some(entry) = self.mail.first_entry()
            && entry.key().0 <= self.now_ms
        {
            let (to, mail) = entry.remove();
            let outcome = self.with(to, |election, now_ms, fx| match mail {
                Mail::Notification(from, notification) => {
                    election.on_notification(now_ms, from, &notification, fx)
                }
                Mail::Up(sid) => {
                    election.mesh_up(sid, fx);
                    None
                }
                Mail::Down(sid) => election.mesh_down(now_ms, sid),
            });
            self.conclude(to, outcome.flatten());
        }
        for sid in self.servers.keys().copied().collect::<Vec<_>>() {
            let outcome = self.with(sid, |election, now_ms, fx| election.on_tick(now_ms, fx)).flatten();
            self.conclude(sid, outcome);
            self.live_on(sid);
        }
    }

    fn conclude(&mut self, sid: Sid, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return };
        let leader = match outcome {
            Outcome::Leads => sid,
            Outcome::Follows { leader } | Outcome::Observes { leader } => leader,
            Outcome::NewerConfig(config) => panic!("{config:?}"),
        };
        let server = self.servers.get_mut(&sid).unwrap();
        assert!(!server.damaged || leader != sid, "a damaged server never leads");
        server.settled_at_ms = self.now_ms;
        let round = server.election.as_ref().unwrap().round();
        self.verdicts.push((self.now_ms, sid, round, leader));
    }

    /// Servers whose link to this leader stands.
    fn followers(&self, leader: Sid) -> Vec<Sid> {
        let follows = |sid: &Sid| {
            *sid != leader
                && self.is_running(*sid)
                && self.can_reach(*sid, leader)
                && self.state(*sid).0 != PeerState::Looking
                && self.state(*sid).1 == leader
        };
        self.servers.keys().copied().filter(follows).collect()
    }

    fn live_on(&mut self, sid: Sid) {
        if !self.is_running(sid) {
            return;
        }
        let (state, leader) = self.state(sid);
        let late = self.now_ms > self.servers[&sid].settled_at_ms + PATIENCE_MS;
        match state {
            PeerState::Looking => {}
            PeerState::Leading => self.lead(sid, late),
            PeerState::Following | PeerState::Observing => {
                let led = self.is_running(leader)
                    && self.can_reach(sid, leader)
                    && self.state(leader) == (PeerState::Leading, leader);
                if !led && (late || self.servers[&sid].established) {
                    self.begin(sid);
                }
            }
        }
    }

    fn lead(&mut self, sid: Sid, late: bool) {
        let followers = self.followers(sid);
        let established = self.servers[&sid].established;
        let counts = |other: &&Sid| established || !self.servers[other].damaged;
        let quorum: BTreeSet<Sid> = followers.iter().filter(counts).copied().chain([sid]).collect();
        if !self.config.is_quorum(&quorum) {
            if established || late {
                self.begin(sid);
            }
            return;
        }
        let own = self.servers[&sid].history;
        if !established && quorum.iter().any(|other| self.servers[other].history > own) {
            // Discovery would find it out: this leader steps down.
            self.begin(sid);
            return;
        }
        if !established {
            assert!(own >= self.committed, "{sid} with {own:?} leads, {:?} is committed", self.committed);
            let epoch = 1 + quorum.iter().map(|other| self.servers[other].accepted).max().unwrap();
            let history = History { epoch, ..own };
            self.adopt(sid, history);
            self.leaders.push((self.now_ms, sid));
        } else if self.rng.u32(0..20) == 0 {
            let next = (own.zxid + 1).max((own.epoch << 32) + 1);
            self.servers.get_mut(&sid).unwrap().history.zxid = next;
        }
        let history = self.servers[&sid].history;
        for follower in followers {
            self.adopt(follower, history);
        }
        self.committed = history;
    }

    /// Synchronised: the leader's history and epoch are on this disk too.
    fn adopt(&mut self, sid: Sid, history: History) {
        let server = self.servers.get_mut(&sid).unwrap();
        server.history = history;
        server.accepted = server.accepted.max(history.epoch);
        server.damaged = false;
        server.established = true;
        self.with(sid, |election, _, _| election.set_vote_epoch(history.epoch));
    }
}

fn clone(server: &Server) -> Server {
    Server { election: None, ..*server }
}
