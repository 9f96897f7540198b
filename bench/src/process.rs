//! What a server process has used so far, read from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time of all threads of a process, user and system.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; fields are counted after it.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |index: usize| -> Result<u64> { Ok(fields.get(index).context("a short stat line")?.parse()?) };
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / per_second))
}

/// Resident memory in MiB.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Measures the CPU seconds that servers use together while `work` runs.
pub fn cpu_during<T>(pids: &[u32], work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let (value, each) = cpu_of_each(pids, work)?;
    Ok((value, each.iter().sum()))
}

/// The same for each of them.
pub fn cpu_of_each<T>(pids: &[u32], work: impl FnOnce() -> Result<T>) -> Result<(T, Vec<f64>)> {
    let all = || pids.iter().map(|pid| cpu_time(*pid)).collect::<Result<Vec<_>>>();
    let before = all()?;
    let value = work()?;
    let used = all()?.into_iter().zip(before).map(|(after, before)| (after - before).as_secs_f64());
    Ok((value, used.collect()))
}
