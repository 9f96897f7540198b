//! zoolog against Apache ZooKeeper 3.9.3, request by request.
//!
//! `DIFFERENTIAL_SEEDS` and `DIFFERENTIAL_STEPS` make it longer.

use anyhow::Result;
use differential::{Outcome, program::SUPER_DIGEST, run};
use tempfile::TempDir;
use testkit::{Server, ZooKeeper, Zoolog, free_port};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Two fresh servers with the same short ticks, TTL nodes and a super user.
fn servers(dir: &TempDir) -> Result<(Server, Server)> {
    let extra = format!(
        "tickTime=100\nmaxSessionTimeout=10000\nextendedTypesEnabled=true\n\
         DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"
    );
    let ours = Zoolog::find()?.zookeeper(&dir.path().join("zoolog"), free_port(), &extra)?;
    let theirs = ZooKeeper("3.9.3").start(&dir.path().join("apache"), free_port(), &extra)?;
    Ok((ours, theirs))
}

#[test]
fn replies_events_and_trees_are_the_same() -> Result<()> {
    let steps = setting("DIFFERENTIAL_STEPS", 5_000) as usize;
    for seed in 1..=setting("DIFFERENTIAL_SEEDS", 4) {
        let dir = TempDir::new()?;
        let (ours, theirs) = servers(&dir)?;
        match run((ours.port, theirs.port), seed, steps, |_, reply| reply)? {
            Outcome::Same { steps, nodes } => {
                println!("seed {seed}: {steps} steps alike, {nodes} nodes at the end")
            }
            Outcome::Different(difference) => panic!("seed {seed}, {difference}\n{}", ours.log_text()),
        }
    }
    Ok(())
}

#[test]
fn a_broken_reply_is_caught() -> Result<()> {
    let dir = TempDir::new()?;
    let (ours, theirs) = servers(&dir)?;
    let lie = |step, reply: String| if step == 123 { reply + " and more" } else { reply };
    match run((ours.port, theirs.port), 1, 200, lie)? {
        Outcome::Different(difference) => assert_eq!(difference.step, 123, "{difference}"),
        Outcome::Same { .. } => panic!("a tampered reply went unnoticed"),
    }
    Ok(())
}
