//! `cargo run --release -p sim -- --seeds 0..500 [--jobs 2]`, or `--seed N` for one with its transcript.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use sim::bugs::Bug;
use sim::counts::Counts;
use sim::run::{Failure, attempt, hunt, run_seed, with_bug};
use sim::shape::Shape;
use sim::transcript::Transcript;

const USAGE: &str = "sim --seeds FROM..TO [--jobs N] [--keep-going] [--show COUNT] | sim --seed N [--lines N] | sim --bugs [--within SEEDS]";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1).cloned());
    let number = |name: &str| value(name).and_then(|v| v.parse::<u64>().ok());
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = number("--seed") {
        let mut shape = Shape::of(seed);
        if let Some(name) = value("--bug") {
            let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name).expect("a known bug");
            shape = with_bug(*bug, seed);
        }
        if args.iter().any(|a| a == "--control") {
            shape.bug = None;
        }
        return one(shape, number("--lines").unwrap_or(2000) as usize);
    }
    if args.iter().any(|a| a == "--bugs") {
        return bugs(number("--within").unwrap_or(1000), value("--only"));
    }
    let range = value("--seeds").and_then(|v| {
        let (from, to) = v.split_once("..")?;
        Some(from.parse::<u64>().ok()?..to.parse::<u64>().ok()?)
    });
    let Some(range) = range else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let jobs = number("--jobs").unwrap_or(2).max(1);
    let keep_going = args.iter().any(|a| a == "--keep-going");
    let began = Instant::now();
    let show = value("--show");
    let (counts, failures, done) = many(range, jobs, keep_going, show.as_deref());
    println!("{done} seeds in {} s: {counts}", began.elapsed().as_secs());
    if !failures.is_empty() {
        println!("{} failed", failures.len());
        std::process::exit(1);
    }
}

fn one(shape: Shape, lines: usize) {
    let (seed, summary) = (shape.seed, shape.summary());
    let transcript = Transcript::new(lines);
    let result = attempt(shape, transcript.clone());
    println!("{}", transcript.text());
    match result {
        Ok(counts) => println!("seed {seed}: {summary}\n{counts}"),
        Err(what) => {
            println!("seed {seed}: {summary}\n{what}");
            std::process::exit(1);
        }
    }
}

/// Every historic bug has to be found.
fn bugs(within: u64, only: Option<String>) {
    let mut missed = 0;
    for bug in Bug::ALL {
        let name = format!("{bug:?}");
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        match hunt(*bug, 0..within) {
            Some((seeds, what)) => {
                let what: String = what.chars().take(150).collect();
                println!("{name} ({}): after {seeds} seeds: {what}", bug.issue());
            }
            None => {
                missed += 1;
                println!("{name} ({}): NOT FOUND in {within} seeds", bug.issue());
            }
        }
    }
    if missed > 0 {
        std::process::exit(1);
    }
}

fn many(
    range: std::ops::Range<u64>,
    jobs: u64,
    keep_going: bool,
    show: Option<&str>,
) -> (Counts, Vec<Failure>, u64) {
    let (next, done, stop) = (AtomicU64::new(range.start), AtomicU64::new(0), AtomicBool::new(false));
    let counts = Mutex::new(Counts::default());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= range.end || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match run_seed(seed) {
                        Ok(found) => {
                            if let Some(what) = show.filter(|what| found.get(what) > 0) {
                                println!("seed {seed}: {what} {}", found.get(what));
                            }
                            counts.lock().unwrap_or_else(|e| e.into_inner()).merge(&found);
                        }
                        Err(failure) => {
                            if keep_going {
                                println!("seed {seed}: {}", failure.what);
                            } else {
                                println!("{failure}");
                                stop.store(true, Ordering::Relaxed);
                            }
                            failures.lock().unwrap_or_else(|e| e.into_inner()).push(*failure);
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap_or_else(|e| e.into_inner());
    let failures = failures.into_inner().unwrap_or_else(|e| e.into_inner());
    (counts, failures, done.load(Ordering::Relaxed))
}
