//! A modest number of worlds, that they replay, and that together they meet everything there is to meet.
//!
//! `SIM_SEED=N cargo test -p sim -- --nocapture` runs one seed and prints its transcript. Many seeds:
//! `cargo run --release -p sim -- --seeds 0..500`.

use sim::counts::Counts;
use sim::faults::FaultKind;
use sim::run::{attempt, run_seed};
use sim::shape::Shape;
use sim::transcript::Transcript;

/// Optimised builds are twenty times as fast.
const SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 300 };

fn one_seed() -> Option<u64> {
    std::env::var("SIM_SEED").ok()?.parse().ok()
}

#[test]
fn ensembles_keep_their_promises_and_everything_happens() {
    if let Some(seed) = one_seed() {
        let transcript = Transcript::new(5000);
        let result = attempt(Shape::of(seed), transcript.clone());
        println!("{}\n{}", transcript.text(), Shape::of(seed).summary());
        println!("{}", result.expect("the seed fails"));
        return;
    }
    let mut counts = Counts::default();
    for seed in 0..SEEDS {
        match run_seed(seed) {
            Ok(found) => counts.merge(&found),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{counts}");
    let roles = ["leading", "following", "observing", "looking"];
    let syncs = ["DIFF sent", "TRUNC sent", "SNAP sent", "log truncated", "snapshot installed"];
    let disks = ["damaged start", "disk full", "fsync failed", "snapshot taken", "snapshot cancelled"];
    let clients =
        ["session moved", "session expired", "session abandoned", "watches set again", "watch fired"];
    let others = ["reconfig done", "configuration activated", "snapshot stream broken", "epoch used up"];
    let all = [&roles[..], &syncs, &disks, &clients, &others].concat();
    for what in all.into_iter().chain(FaultKind::names()) {
        assert!(counts.get(what) > 0, "{SEEDS} seeds and never a {what:?}: {counts}");
    }
}

#[test]
fn a_seed_lives_the_same_life_twice() {
    for seed in 0..3 {
        let lives = [(); 2].map(|()| {
            let transcript = Transcript::new(1);
            let counts = attempt(Shape::of(seed), transcript.clone());
            (transcript.sum(), counts)
        });
        assert_eq!(lives[0], lives[1], "seed {seed}");
    }
}
