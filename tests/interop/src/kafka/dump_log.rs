//! Kafka's own check of a log directory's files: `kafka.tools.DumpLogSegments`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use testkit::Kafka;
use testkit::originals::tool_stdout;

/// What the tool prints when files contradict each other or themselves.
const COMPLAINTS: [&str; 6] = [
    "Mismatches in",
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "Non-consecutive offsets",
    "Exception",
    "isvalid: false",
];

/// Runs the tool over every segment of every partition of a stopped broker, in its three modes. Returns the number of files.
pub fn check(version: Kafka, logs: &Path) -> Result<usize> {
    let (segments, indexes) = (files(logs, &["log"])?, files(logs, &["index", "timeindex"])?);
    let others = files(logs, &["snapshot", "txnindex"])?;
    ensure!(!segments.is_empty() && !indexes.is_empty(), "no segments below {}", logs.display());
    let both: Vec<PathBuf> = segments.iter().chain(&indexes).cloned().collect();
    // Compacted logs have gaps in them, and the tool counts these as mistakes in this mode.
    let gapless: Vec<PathBuf> =
        both.iter().filter(|f| !f.to_string_lossy().contains("compact")).cloned().collect();
    run(version, &["--deep-iteration", "--print-data-log"], &gapless)?;
    run(version, &["--index-sanity-check"], &indexes)?;
    run(version, &["--verify-index-only"], &indexes)?;
    if !others.is_empty() {
        run(version, &[], &others)?;
    }
    Ok(both.len() + others.len())
}

fn run(version: Kafka, mode: &[&str], files: &[PathBuf]) -> Result<()> {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let names = names.join(",");
    let mut args = vec!["--files", &names];
    args.extend(mode);
    let said = tool_stdout(&version.name(), "kafka.tools.DumpLogSegments", &args, b"")?;
    for complaint in COMPLAINTS {
        let found = said.find(complaint).map(|at| context(&said, at));
        ensure!(found.is_none(), "DumpLogSegments {} {mode:?}: {}", version.0, found.unwrap_or_default());
    }
    let dumped = said.matches("Dumping ").count();
    ensure!(dumped == files.len(), "{dumped} of {} files dumped:\n{}", files.len(), context(&said, 0));
    Ok(())
}

fn context(said: &str, at: usize) -> String {
    let dumping = said[..at].rfind("Dumping ").unwrap_or(0);
    let heading = said[dumping..].lines().next().unwrap_or_default();
    let from = said[at..].lines().take(12).collect::<Vec<_>>().join("\n");
    format!("{heading}\n…\n{from}")
}

fn files(logs: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for partition in std::fs::read_dir(logs)? {
        let partition = partition?.path();
        if !partition.is_dir() || partition.to_string_lossy().ends_with("-delete") {
            continue;
        }
        for file in std::fs::read_dir(partition)? {
            let file = file?.path();
            let extension = file.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            let empty = file.metadata()?.len() == 0;
            if extensions.contains(&extension.as_str()) && !empty {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}
