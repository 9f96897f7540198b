//! A short run of the `faults` command: every kind of fault once, then the controls, which must fail.
//!
//! `FAULTS_MINUTES` makes the run longer. Needs root, iproute2, nftables, loop devices and libfaketime.

use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use testkit::originals;

/// The machine has one set of loop devices, and few cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn faults(args: &[&str]) -> Result<(bool, String)> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(env!("CARGO_BIN_EXE_faults"));
    command.args(args);
    let Output { status, stdout, stderr } = originals::run(command, b"")?;
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    println!("{text}");
    Ok((status.success(), text))
}

#[test]
fn every_promise_is_kept_through_every_kind_of_fault() -> Result<()> {
    let minutes = std::env::var("FAULTS_MINUTES").unwrap_or_else(|_| "1.8".into());
    let (passed, _) = faults(&["--minutes", &minutes, "--seed", "1"])?;
    ensure!(passed, "a promise was broken");
    Ok(())
}

/// Without fsync, what was acknowledged is lost when the power of all goes.
#[test]
fn without_fsync_it_is_told_what_was_lost() -> Result<()> {
    let (passed, text) = faults(&["--minutes", "0.15", "--seed", "2", "--break", "forceSync"])?;
    ensure!(!passed && text.contains("WRONG: "), "nothing was lost without fsync, or nobody noticed");
    Ok(())
}

#[test]
fn a_doctored_history_is_noticed() -> Result<()> {
    for what in ["history", "zxid"] {
        let args = ["--minutes", "0.1", "--only", "kill-follower", "--servers", "3", "--break", what];
        let (passed, text) = faults(&args)?;
        ensure!(!passed && text.contains("WRONG: "), "a doctored {what} passed");
    }
    Ok(())
}
