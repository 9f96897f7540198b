//! zoolog and the originals, side by side: the same work, in turn, several rounds, medians and ratios.
//!
//! Absolute figures are noise on a shared machine; a ratio from one run is not. Build everything first
//! (`cargo build --release -p zoolog -p bench`) and let nothing else run.

mod ensemble;
mod ensemble_load;
mod failover;
mod kafka_load;
mod measure;
mod network;
mod process;
mod raw_kafka;
mod report;
mod startup;
mod systems;
mod zk_load;
mod zk_session;

use anyhow::Result;
use clap::Parser;

use measure::Table;
use systems::Side;

/// Run zoolog and the Apache originals on the same work, and print medians and ratios.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How often each measure is taken on each side.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Only these sides.
    #[arg(long, value_delimiter = ',', default_values_t = Side::BOTH)]
    sides: Vec<Side>,
    /// A tenth of the work, to see that everything runs; not for publishing.
    #[arg(long)]
    quick: bool,
    /// How often the leader is killed, and how often cut off, on each side in each round.
    #[arg(long, default_value_t = 3)]
    trials: usize,
    /// Write what was measured into bench/RESULTS.md, and the pictures. A section is written anew: measure all parts of
    /// it. Sections of which nothing was measured stay.
    #[arg(long)]
    write: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Startup,
    Zookeeper,
    Produce,
    Requests,
    Latency,
    Ensemble,
    Observers,
    Failover,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Startup,
        Self::Zookeeper,
        Self::Produce,
        Self::Requests,
        Self::Latency,
        Self::Ensemble,
        Self::Observers,
        Self::Failover,
    ];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut tables = Tables::default();
    for round in 1..=args.rounds {
        for &side in &args.sides {
            eprintln!("round {round} of {}: {side}", args.rounds);
            run_side(side, &args, &mut tables)?;
        }
    }
    for table in [&tables.alone, &tables.ensembles] {
        if !table.lines().is_empty() {
            println!("{}", table.to_markdown());
        }
    }
    if args.write {
        let (rounds, trials) = (args.rounds, args.trials * args.rounds);
        report::write(&tables.alone, &tables.ensembles, rounds, trials)?;
    }
    Ok(())
}

/// What belongs to one server and one broker, and what to ensembles.
#[derive(Debug, Default)]
struct Tables {
    alone: Table,
    ensembles: Table,
}

/// Every chosen measure once, on one side.
fn run_side(side: Side, args: &Args, tables: &mut Tables) -> Result<()> {
    let Tables { alone: table, ensembles } = tables;
    let scale = if args.quick { 10 } else { 1 };
    let wants = |part| args.only.contains(&part);
    if wants(Part::Startup) {
        startup::measure(side, table)?;
    }
    if wants(Part::Zookeeper) {
        zk_load::measure(side, scale, table)?;
    }
    if wants(Part::Produce) || wants(Part::Requests) || wants(Part::Latency) {
        let pair = systems::Pair::start(side)?;
        if wants(Part::Produce) {
            kafka_load::measure(side, &pair, scale, table)?;
        }
        if wants(Part::Requests) {
            raw_kafka::measure_requests(side, &pair, scale, table)?;
        }
        if wants(Part::Latency) {
            raw_kafka::measure_latency(side, &pair, scale, table)?;
        }
    }
    if wants(Part::Ensemble) {
        ensemble_load::measure(side, scale, ensembles)?;
    }
    if wants(Part::Observers) {
        ensemble_load::measure_observers(side, scale, ensembles)?;
    }
    if wants(Part::Failover) {
        failover::measure(side, args.trials, ensembles)?;
    }
    Ok(())
}
