//! Faults of every kind against an ensemble of real processes on hosts of their own: see `ensemble::faults`.
//!
//! Needs root, iproute2, nftables, loop devices and, for clock jumps, libfaketime. The machine's own network and files are
//! not touched. Exit code 0: every promise was kept. With `--break` one is broken on purpose, and the exit code must
//! not be 0.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use ensemble::faults::plan::Fault;
use ensemble::faults::run::Break;
use ensemble::faults::{Options, run};
use ensemble::hosts::Hosts;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::{Kind, Zoolog};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Repeats the same faults in the same order.
    #[arg(long)]
    seed: Option<u64>,
    /// 3 or 5.
    #[arg(long, default_value_t = 5)]
    servers: usize,
    /// Clients that write and read; as many watchers as there are registers come on top.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Only these faults.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// A control: breaks a promise on purpose. The run then fails, as it must.
    #[arg(long, value_name = "WHAT")]
    r#break: Option<Break>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("--minutes {} --servers {} --seed {seed}", arguments.minutes, arguments.servers);
    match try_main(arguments, seed) {
        Ok(()) => {
            println!("PASSED");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED (seed {seed}): {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(arguments: Arguments, seed: u64) -> Result<()> {
    println!("servers: {}", Zoolog::find()?.command().get_program().display());
    let addresses: Vec<String> = (1..=arguments.servers + 1).map(|n| format!("198.18.0.{n}")).collect();
    let hosts = Hosts::new(&addresses.iter().map(String::as_str).collect::<Vec<_>>())?;
    // This process, its threads and its clients are on the last host; its files stay the machine's.
    let namespace = File::open(format!("/run/netns/{}", hosts.name(arguments.servers + 1)))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter a network namespace")?;
    let options = Options {
        minutes: arguments.minutes,
        seed,
        servers: arguments.servers,
        writers: arguments.clients,
        only: arguments.only,
        broken: arguments.r#break,
        kind: Kind::ours(),
    };
    run(hosts, &options)
}
