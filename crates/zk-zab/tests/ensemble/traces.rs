//! The counterexamples that model checking found in ZooKeeper 3.4.10 (ZOOKEEPER-2845, ZOOKEEPER-3911), replayed. They
//! are the traces of `zookeeper-tla-spec`, `mixed_v1`, and keep their names.
//!
//! Who crashes when and who hears whom is the trace's. Whom the servers elect and what they send is their own affair;
//! the world asserts after every step the invariants that broke there.

use zk_proto::quorum::{PacketKind, Sid};
use zk_zab::Phase;

use crate::solo::z;
use crate::world::{Event, World};

/// The entry that is on one disk when a trace begins.
const LAST: i64 = z(1, 2);

/// s0, s1 and s2. What s1 lacks, its number must not make up for.
const S: [Sid; 3] = [2, 3, 1];

/// Servers are named by their place: `s0` is 0.
struct Trace {
    world: World,
    epoch: i64,
}

impl Trace {
    /// `SetInitState`: s0 leads, everybody has 1:1, and s0 has logged 1:2.
    fn begin() -> Self {
        let mut world = World::new(&[1, 2, 3], &[]);
        world.start(S[0]);
        world.start(S[2]);
        world.run(1000);
        world.start(S[1]);
        world.run(1000);
        world.write(1);
        world.run(100);
        world.assert_healed();
        assert_eq!((world.leader(), world.propose()), (Some(S[0]), Some(LAST)));
        let mut trace = Self { world, epoch: 1 };
        trace.logs(0);
        trace
    }

    /// What concerns only these servers happens, and time passes, until that is so.
    fn until(&mut self, who: &[usize], so: impl Fn(&World) -> bool) {
        for _ in 0..20_000 {
            if so(&self.world) {
                return;
            }
            let among = |sid: &Sid| who.iter().any(|i| S[*i] == *sid);
            let events = self.world.events();
            match events.into_iter().find(|event| concerned(&self.world, *event).iter().all(among)) {
                Some(event) => self.world.happen(event),
                None => {
                    self.world.now_ms += 10;
                    self.world.tick();
                }
            }
        }
        panic!("the trace does not go on");
    }

    /// `FollowerProcessPROPOSAL`: 1:2 reaches its disk; nothing is acknowledged.
    fn logs(&mut self, i: usize) {
        let sid = S[i];
        while self.world.node(sid).disk.last() != LAST {
            let events = self.world.events();
            let to_it = |event: &&Event| match event {
                Event::Down(_) | Event::Disk(_) => concerned(&self.world, **event).contains(&sid),
                _ => false,
            };
            let event = *events.iter().find(to_it).unwrap();
            self.world.happen(event);
        }
    }

    fn crash(&mut self, i: usize) {
        self.world.crash(S[i]);
    }

    fn start(&mut self, i: usize) {
        self.world.start(S[i]);
    }

    /// `ElectionAndDiscovery` among these: who leads a new epoch, nobody synchronised yet.
    fn elect(&mut self, who: &[usize]) -> usize {
        let before = self.epoch;
        let leads = move |world: &World, i: usize| {
            let status = world.nodes[&S[i]].peer.as_ref().map(|peer| peer.status());
            status.is_some_and(|s| {
                s.leader == Some(s.sid)
                    && s.accepted_epoch > before
                    && matches!(s.phase, Phase::Synchronization | Phase::Broadcast)
            })
        };
        self.until(who, |world| who.iter().any(|i| leads(world, *i)));
        let leader = *who.iter().find(|i| leads(&self.world, **i)).unwrap();
        self.epoch = self.world.status(S[leader]).accepted_epoch;
        leader
    }

    /// The follower has got packets up to one of that kind.
    fn gets(&mut self, i: usize, from: usize, kind: PacketKind) {
        let sid = S[i];
        self.world.node(sid).got.clear();
        self.until(&[i, from], |world| world.nodes[&sid].got.contains(&kind));
    }

    /// Whoever is down comes back, and nothing is lost.
    fn end(mut self) {
        self.world.heal();
        for sid in S {
            if self.world.node(sid).peer.is_none() {
                self.world.start(sid);
            }
        }
        self.world.run(2000);
        self.world.assert_healed();
        assert_eq!(self.world.committed.last().map(|(zxid, _)| *zxid), Some(LAST));
    }
}

fn concerned(world: &World, event: Event) -> Vec<Sid> {
    let of_link = |id| {
        let link = world.links.iter().find(|link| link.id == id).unwrap();
        vec![link.learner, link.leader]
    };
    match event {
        Event::Disk(sid) | Event::Inbox(sid) | Event::Dial(sid) => vec![sid],
        Event::Mesh(from, to) => vec![from, to],
        Event::Up(id) | Event::Down(id) | Event::Closed(id) => of_link(id),
    }
}

/// s2 has 1:2, and its memory knew only 1:1: it let s1 lead, whose DIFF then left 1:2 in its log.
#[test]
fn z_2845_process_consistency() {
    let mut trace = Trace::begin();
    trace.logs(2);
    trace.crash(0);
    trace.crash(1);
    trace.start(0);
    assert_eq!(trace.elect(&[0, 2]), 0);
    trace.world.cut(S[0], S[2]);
    trace.crash(0);
    trace.start(1);
    assert_eq!(trace.elect(&[1, 2]), 2, "it votes with what its disk holds");
    trace.gets(1, 2, PacketKind::NewLeader);
    trace.end();
}

/// s0 comes out of leading with 1:2 in its log and gets it again as a proposal.
#[test]
fn z_2845_proposal_consistent() {
    let mut trace = Trace::begin();
    trace.logs(1);
    trace.crash(1);
    trace.crash(2);
    trace.start(1);
    trace.start(2);
    assert_eq!(trace.elect(&[0, 1, 2]), 1);
    trace.crash(2);
    trace.crash(1);
    trace.start(1);
    trace.start(2);
    assert_eq!(trace.elect(&[0, 1, 2]), 1);
    trace.crash(2);
    trace.gets(0, 1, PacketKind::Diff);
    trace.start(2);
    trace.gets(0, 1, PacketKind::NewLeader);
    trace.end();
}

/// 1:2 is committed by s0 and s2, and s2 let s1 lead, which never had it.
#[test]
fn z_2845_leader_log_completeness() {
    let mut trace = Trace::begin();
    trace.logs(2);
    trace.until(&[0, 2], |world| world.status(S[0]).last_committed == LAST);
    trace.crash(1);
    trace.crash(0);
    trace.start(1);
    assert_eq!(trace.elect(&[1, 2]), 2);
    trace.end();
}

/// s2 acknowledged NEWLEADER before 1:2, which came with the synchronisation, was in its log.
#[test]
fn z_3911_leader_log_completeness() {
    let mut trace = Trace::begin();
    trace.crash(0);
    trace.crash(1);
    trace.start(0);
    assert_eq!(trace.elect(&[0, 2]), 0);
    trace.gets(2, 0, PacketKind::Diff);
    trace.start(1);
    trace.gets(2, 0, PacketKind::NewLeader);
    trace.until(&[0, 2], |world| world.status(S[0]).phase == Phase::Broadcast);
    trace.crash(2);
    assert_eq!(trace.elect(&[0, 1]), 0);
    trace.start(2);
    trace.crash(0);
    assert_eq!(trace.elect(&[1, 2]), 2);
    trace.end();
}
