//! Negative controls: every historic bug of the catalogue, put back, is found.

use sim::bugs::Bug;
use sim::run::hunt;

/// More than any of them takes today, by far.
const SEEDS: u64 = 1000;

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes without optimisation; cargo test --release -p sim, or the runner with --bugs"
)]
fn every_historic_bug_is_found() {
    let found: Vec<_> = Bug::ALL.iter().map(|bug| (*bug, hunt(*bug, 0..SEEDS))).collect();
    for (bug, found) in &found {
        match found {
            Some((seeds, what)) => println!("{bug:?} ({}): after {seeds} seeds: {what}", bug.issue()),
            None => println!("{bug:?} ({}): not found", bug.issue()),
        }
    }
    let missed: Vec<_> = found.iter().filter(|(_, found)| found.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}

/// The quickest ones, so that the controls themselves are seen to work in every build.
#[test]
fn the_plainest_bugs_are_found_at_once() {
    for bug in [Bug::AckBeforeFsync, Bug::CommitWithoutQuorum, Bug::WatchesMissed] {
        let found = hunt(bug, 0..10);
        assert!(found.is_some(), "{bug:?} was not found");
    }
}
