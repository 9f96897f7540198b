//! Clients under an ensemble that changes: see `ensemble::load`, and `tests/ensemble/migrate.sh`, which uses it.
//!
//! Reads lines on standard input: every line names a step that has just been done, and is answered by a line about it;
//! the end of the input ends the load. Exit code 0: nothing acknowledged is lost, no session has expired, no session
//! went to another server more than once in a step.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use ensemble::load::{Load, LoadOptions};
use tokio::sync::mpsc;

#[derive(Parser)]
struct Options {
    /// host:port,…
    #[arg(long)]
    connect: String,
    #[arg(long, default_value_t = 500)]
    sessions: usize,
    /// Writes per second, of all sessions together.
    #[arg(long, default_value_t = 1000)]
    writes: u64,
    /// Locks that are held, each with one session waiting for it.
    #[arg(long, default_value_t = 50)]
    locks: usize,
    /// Session timeout in milliseconds.
    #[arg(long, default_value_t = 20_000)]
    session: i32,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<bool> {
    let Options { connect: hosts, sessions, writes, locks, session } = options;
    let load = LoadOptions { hosts, sessions, writes_per_second: writes, locks, session_ms: session };
    let mut load = Load::start(load).await?;
    println!("ready");
    let (mut fine, mut lines) = (true, lines_of_stdin());
    while let Some(step) = lines.recv().await {
        let look = load.look().await?;
        let verdict = if look.moves_max > 1 || look.expired > 0 { "  <- NOT FINE" } else { "" };
        fine &= verdict.is_empty();
        println!(
            "{step}: {} writes acknowledged ({}/s, slowest {} ms), {} lost their connection; {} sessions moved, none \
             more than {}x; {} expired{verdict}",
            look.acked,
            look.per_second,
            look.slowest.as_millis(),
            look.connections_lost,
            look.moved,
            look.moves_max,
            look.expired
        );
    }
    let acked = load.end().await?;
    println!(
        "{acked} acknowledged writes, all there; {sessions} sessions, none expired; every lock where it was"
    );
    Ok(fine)
}

/// Lines as they come, on a thread that waits for them.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| send.blocking_send(line))
    });
    lines
}
