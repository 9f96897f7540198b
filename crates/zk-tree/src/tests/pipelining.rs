//! The overlay is exact: however many decisions are in flight, the transactions are the same.

use super::harness::{Server, image};
use super::programs::Programs;

/// Runs one program with up to `depth` decisions in flight.
fn run(seed: u64, depth: usize) -> Server {
    let mut program = Programs::new(seed);
    let mut lag = fastrand::Rng::with_seed(seed);
    let mut server = Server::new();
    for _ in 0..300 {
        server.session_id = program.session();
        let request = program.request();
        server.decide(request);
        let keep = if depth == 0 { 0 } else { lag.usize(0..depth) };
        while server.in_flight.len() > keep {
            server.apply_next();
        }
    }
    while server.apply_next().is_some() {}
    assert!(server.pending.is_empty());
    server
}

#[test]
fn decisions_do_not_depend_on_how_far_apply_lags_behind() {
    for seed in 0..150 {
        let at_once = run(seed, 0);
        for depth in [2, 40] {
            let lagging = run(seed, depth);
            assert_eq!(at_once.log, lagging.log, "seed {seed}, depth {depth}");
            assert_eq!(image(&at_once.tree), image(&lagging.tree), "seed {seed}, depth {depth}");
        }
    }
}

#[test]
fn programs_do_all_kinds_of_things() {
    let mut seen = std::collections::BTreeMap::<i32, u32>::new();
    let mut errors = std::collections::BTreeMap::<i32, u32>::new();
    for seed in 0..20 {
        for decision in run(seed, 3).log {
            *seen.entry(decision.header.kind).or_default() += 1;
            if let Some(error) = decision.error {
                *errors.entry(error.code()).or_default() += 1;
            }
        }
    }
    for kind in [-11, -10, -1, 2, 5, 7, 14, 15, 19, 20] {
        assert!(seen.get(&kind).is_some_and(|n| *n > 5), "too few of kind {kind}: {seen:?}");
    }
    for code in [-101, -102, -103, -108, -110, -111, -114] {
        assert!(errors.get(&code).is_some_and(|n| *n > 5), "too few of error {code}: {errors:?}");
    }
}
