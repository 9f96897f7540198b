//! The rolling migration as a user runs it: `tests/ensemble/migrate.sh`, which says what is checked.

use std::process::Command;

use anyhow::{Result, ensure};
use testkit::zoolog::repository;
use testkit::{Zoolog, free_port, originals};

#[test]
fn an_ensemble_changes_hands_and_back_under_load() -> Result<()> {
    let apache = originals::home("zookeeper-3.5.7")?;
    let mut command = Command::new(repository().join("tests/ensemble/migrate.sh"));
    // The script takes some of the ports behind this one, which nobody is given: free_port counts up from another place
    // in every process.
    command.args(["--port", &(30_100 + free_port() % 1_000).to_string()]);
    command.env("LOAD", env!("CARGO_BIN_EXE_ensemble-load"));
    command.env("ZOOLOG", Zoolog::find()?.command().get_program());
    command.env("ZOOLOG_ORIGINALS", apache.parent().unwrap_or(&apache));
    let output = originals::run(command, b"")?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
