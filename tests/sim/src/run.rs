//! One world from its seed to the verdict.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use zk_proto::quorum::{Role as Part, Sid, zxid};
use zk_tree::{SnapshotCursor, Tree};
use zk_zab::Role;

use crate::broken;
use crate::bugs::{self, Bug};
use crate::client::{Mood, State};
use crate::counts::Counts;
use crate::shape::Shape;
use crate::transcript::Transcript;
use crate::verify::{Verdict, first_tree};
use crate::world::World;

/// Lines of a transcript.
const LINES: usize = 600;

/// A run that ended badly.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    /// What was broken.
    pub what: String,
    pub transcript: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nseed {}: {}\nagain: cargo run --release -p sim -- --seed {}  or  SIM_SEED={} cargo test -p sim -- --nocapture",
            self.transcript, self.seed, self.what, self.seed, self.seed
        )
    }
}

/// Runs a seed; a failure is run once more for its transcript.
pub fn run_seed(seed: u64) -> Result<Counts, Box<Failure>> {
    run_shape(&Shape::of(seed))
}

/// The same for a world of one's own.
pub fn run_shape(shape: &Shape) -> Result<Counts, Box<Failure>> {
    let what = match attempt(shape.clone(), Transcript::default()) {
        Ok(counts) => return Ok(counts),
        Err(what) => what,
    };
    let transcript = Transcript::new(LINES);
    let again = attempt(shape.clone(), transcript.clone()).err();
    let what = match again {
        Some(again) if again == what => what,
        other => format!("{what}; the replay differs: {other:?}"),
    };
    Err(Box::new(Failure { seed: shape.seed, what, transcript: transcript.text() }))
}

/// How many seeds it took to find a historic bug, and what gave it away. The same world without it must live well.
pub fn hunt(bug: Bug, seeds: Range<u64>) -> Option<(u64, String)> {
    let first = seeds.start;
    for seed in seeds {
        let shape = with_bug(bug, seed);
        let control = Shape { bug: None, ..shape.clone() };
        if let Err(what) = attempt(shape, Transcript::default())
            && attempt(control, Transcript::default()).is_ok()
        {
            return Some((seed - first + 1, what));
        }
    }
    None
}

/// The world of that seed with a historic bug in it, made so that the bug is likely to matter.
pub fn with_bug(bug: Bug, seed: u64) -> Shape {
    let mut shape = Shape::of(seed);
    bugs::suits(bug, &mut shape, &mut Rng::with_seed(seed));
    shape
}

/// One run; the text of its panic if it fails.
pub fn attempt(shape: Shape, transcript: Transcript) -> Result<Counts, String> {
    let run = AssertUnwindSafe(|| live(World::new(shape, transcript)));
    catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
    })
}

/// The life of a world.
pub fn live(mut world: World) -> Counts {
    world.begin_faults();
    let end_ms = world.shape.safety_ms;
    world.run_until(end_ms);
    world.heal();
    world.must_serve();
    world.must_answer();
    world.must_settle();
    Verdict::check(&world, first_tree());
    let committed = world.oracle.committed.len() as u64;
    world.counts.add_many("committed", committed);
    if let Some(counter_max) = world.shape.counter_max {
        let ended = world.oracle.committed.iter().filter(|z| zxid::counter(**z) == counter_max).count();
        world.counts.add_many("epoch used up", ended as u64);
    }
    world.counts.add_many("requests", world.history.ops.len() as u64);
    world.counts
}

impl World {
    /// Everybody in the newest configuration, with the part it has there.
    fn everybody_serves(&self) -> bool {
        let config = self.newest_config();
        let epoch = self.oracle.newest_epoch();
        let plays_its_part = |sid: &Sid, part: Part| {
            let Some(server) = self.servers.get(sid) else { return false };
            let fits = match server.role() {
                Some(Role::Leading { epoch: e }) => part == Part::Participant && e == epoch,
                Some(Role::Following { .. }) => part == Part::Participant,
                Some(Role::Observing { .. }) => part == Part::Observer,
                _ => false,
            };
            fits && server.disk.current_epoch == epoch
        };
        self.leader().is_some() && config.members.iter().all(|(sid, m)| plays_its_part(sid, m.role))
    }

    /// LIVENESS: healed, the ensemble elects, synchronises and serves.
    fn must_serve(&mut self) {
        let end_ms = self.now_ms() + self.shape.heal_ms_max();
        if !self.run_until_or(end_ms, |world| world.everybody_serves()) {
            broken!("Liveness", "after {} ms: {}", self.shape.heal_ms_max(), self.parts());
        }
        let took_ms = self.now_ms() - (end_ms - self.shape.heal_ms_max());
        self.counts.add_many("ms to heal", took_ms);
        if took_ms > 5000 {
            self.counts.add("healed after 5 s");
        }
    }

    /// LIVENESS: every client gets a write, a sync and a read answered, and keeps its session from then on.
    fn must_answer(&mut self) {
        for client in &mut self.clients {
            client.mood = Mood::Final { step: 0 };
        }
        let end_ms = self.now_ms() + 200 * self.shape.tick_ms + 20_000;
        let all_done = |world: &mut Self| world.clients.iter().all(|c| c.mood == Mood::Final { step: 6 });
        if !self.run_until_or(end_ms, all_done) {
            let moods: Vec<_> = self.clients.iter().map(|c| (c.index, c.mood, c.state, c.server)).collect();
            broken!("Liveness", "clients are not answered: {moods:?}; {}", self.parts());
        }
        let sessions = |world: &Self| -> Vec<Option<i64>> {
            world.clients.iter().map(|c| c.session.as_ref().map(|s| s.id)).collect()
        };
        let kept = sessions(self);
        for client in &mut self.clients {
            client.mood = Mood::Quiet;
        }
        // Longer than any session lives without its client.
        let end_ms = self.now_ms() + 45 * self.shape.tick_ms;
        self.run_until(end_ms);
        if sessions(self) != kept {
            broken!(
                "SessionKept",
                "a session ended while its client was heard: {kept:x?}, {:x?}",
                sessions(self)
            );
        }
        self.only_living_sessions();
    }

    /// Sessions nobody keeps are gone, and their ephemerals with them (Z-1367).
    fn only_living_sessions(&self) {
        let kept: Vec<i64> = self.clients.iter().filter_map(|c| c.session.as_ref().map(|s| s.id)).collect();
        let tree = self.leader().and_then(|sid| self.servers[&sid].tree());
        let Some(tree) = tree else { broken!("Liveness", "nobody leads: {}", self.parts()) };
        let left: Vec<i64> = tree.sessions().keys().copied().filter(|s| !kept.contains(s)).collect();
        if !left.is_empty() {
            broken!("SessionsExpire", "sessions {left:x?} live on without clients");
        }
    }

    /// Nothing happens any more, so every tree is the same.
    fn must_settle(&mut self) {
        let end_ms = self.now_ms() + 20 * self.shape.tick_ms + 5000;
        if !self.run_until_or(end_ms, |world| world.trees_are_equal()) {
            broken!("EqualTrees", "{}", self.difference());
        }
        if let Some(sid) = self.servers.keys().find(|sid| self.servers[sid].is_paused) {
            broken!("Liveness", "server {sid} is still paused");
        }
        let open = |c: &crate::client::Client| matches!(c.state, State::Open { .. });
        if !self.clients.iter().all(open) {
            broken!("Liveness", "a client has lost its connection to a healthy ensemble");
        }
    }

    fn serving(&self) -> Vec<Sid> {
        self.newest_config().members.keys().copied().collect()
    }

    fn trees_are_equal(&self) -> bool {
        let mut dumps = self.serving().into_iter().map(|sid| self.servers[&sid].tree().map(dump));
        let first = dumps.next().flatten();
        first.is_some() && dumps.all(|dump| dump == first)
    }

    fn difference(&self) -> String {
        let dumps: Vec<_> =
            self.serving().into_iter().map(|sid| (sid, self.servers[&sid].tree().map(dump))).collect();
        let Some((first, Some(expect))) = dumps.first() else { return "a server is down".into() };
        for (sid, found) in &dumps[1..] {
            let Some(found) = found else { return format!("server {sid} is down") };
            let only = |a: &[String], b: &[String]| a.iter().find(|line| !b.contains(line)).cloned();
            if found != expect {
                let (here, there) = (only(expect, found), only(found, expect));
                return format!("server {first} has {here:?}, server {sid} has {there:?}");
            }
        }
        "trees became equal too late".into()
    }

    /// Who is what, for a report.
    pub fn parts(&self) -> String {
        let part = |s: &crate::server::Server| {
            format!(
                "{}: {:?} accepted {} current {} last 0x{:x}{}",
                s.sid,
                s.role(),
                s.disk.accepted_epoch,
                s.disk.current_epoch,
                s.disk.last_zxid(),
                if s.disk.is_untrusted { " untrusted" } else { "" }
            )
        };
        let parts: Vec<String> = self.servers.values().map(part).collect();
        format!("{}; configuration {}", parts.join("; "), self.newest_config().to_string().replace('\n', " "))
    }
}

/// Everything a tree holds; `/zookeeper/config` has times of its own on each server.
fn dump(tree: &Tree) -> Vec<String> {
    let mut lines: Vec<String> =
        tree.sessions().iter().map(|(id, timeout_ms)| format!("session {id:x} {timeout_ms}")).collect();
    tree.snapshot_chunk(&mut SnapshotCursor::default(), usize::MAX, &mut |path, data, _, stat| {
        if path == zk_tree::tree::CONFIG_NODE {
            lines.push(format!("{path} {data:?}"));
        } else {
            let acl = tree.get_acl(if path.is_empty() { "/" } else { path }, &[]).map(|(acl, _)| acl);
            lines.push(format!("{path} {data:?} {acl:?} {stat:?}"));
        }
    });
    lines.push(format!("digest {:x}", tree.digest()));
    lines
}
