//! `PurgeTxnLog dataLogDir [snapDir] -n count`, which `bin/zkCleanup.sh` calls with the directories of zoo.cfg.
//!
//! Works beside a running server, which is why the directory's lock is not taken: a file is removed only if neither
//! the newest `count` complete snapshots nor recovery from the oldest of them needs it, and the server writes
//! only newer ones.

use std::path::{Path, PathBuf};

use zk_store::{DiskFile, SNAPSHOTS_RETAINED_MIN, StoreError, list_logs, list_snapshots, looks_valid};

use crate::out::say_line;

const USAGE: &str = "Usage:\n\
    PurgeTxnLog dataLogDir [snapDir] -n count\n\
    \tdataLogDir -- path to the txn log directory\n\
    \tsnapDir -- path to the snapshot directory\n\
    \tcount -- the number of old snaps/logs you want to keep, value should be greater than or equal to 3";

/// Runs the tool; words and exit codes are the original's.
pub fn run(args: &[String]) -> i32 {
    let (log_dir, snap_dir, retain) = match parse(args) {
        Ok(parsed) => parsed,
        Err(message) => {
            if let Some(message) = message {
                eprintln!("{message}");
            }
            say_line!("{USAGE}");
            return 1;
        }
    };
    // Directories that were never used have nothing to remove.
    let inside = |dir: &Path| dir.join("version-2");
    let files = match superfluous(&inside(&log_dir), &inside(&snap_dir), retain) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    for file in files {
        say_line!("Removing file: {}\t{}", modified(&file.path), file.path.display());
        if std::fs::remove_file(&file.path).is_err() {
            eprintln!("Failed to remove {}", file.path.display());
        }
    }
    0
}

type Parsed = (PathBuf, PathBuf, usize);

/// The error is what to say above the usage, if anything.
fn parse(args: &[String]) -> Result<Parsed, Option<String>> {
    let (log_dir, snap_dir, option, count) = match args {
        [log_dir, option, count] => (log_dir, log_dir, option, count),
        [log_dir, snap_dir, option, count] => (log_dir, snap_dir, option, count),
        _ => return Err(None),
    };
    let existing = |dir: &String| {
        let path = std::path::absolute(dir).or_else(|_| std::env::current_dir()).unwrap_or_default();
        match !dir.is_empty() && path.exists() {
            true => Ok(path),
            false => Err(Some(format!("Path '{}' does not exist. ", path.display()))),
        }
    };
    let (log_dir, snap_dir) = (existing(log_dir)?, existing(snap_dir)?);
    let retain: i32 = count.parse().map_err(|_| Some(format!("'{count}' can not be parsed to integer.")))?;
    let retain = usize::try_from(retain).ok().filter(|retain| *retain >= SNAPSHOTS_RETAINED_MIN);
    let retain = retain.ok_or(Some("count should be greater than or equal to 3".to_owned()))?;
    if option != "-n" {
        return Err(None);
    }
    Ok((log_dir, snap_dir, retain))
}

/// Logs, then snapshots, each from the oldest on, that the newest `retain` complete snapshots do not need.
fn superfluous(log_dir: &Path, snap_dir: &Path, retain: usize) -> Result<Vec<DiskFile>, StoreError> {
    let list = |dir: &Path, list: fn(&Path) -> Result<Vec<DiskFile>, StoreError>| match dir.is_dir() {
        true => list(dir),
        false => Ok(Vec::new()),
    };
    let mut snapshots = list(snap_dir, list_snapshots)?;
    snapshots.sort_by_key(|file| file.zxid);
    let complete = snapshots.iter().rev().filter(|file| looks_valid(&file.path)).take(retain);
    let Some(oldest_kept) = complete.last().map(|file| file.zxid) else { return Ok(Vec::new()) };
    let mut logs = list(log_dir, list_logs)?;
    logs.sort_by_key(|file| file.zxid);
    // log.(X-a) may go on beyond X, so the last log named at or below X stays (`FileTxnLog.getLogFiles`).
    let first_log_kept = logs.iter().map(|log| log.zxid).filter(|zxid| *zxid <= oldest_kept).max();
    logs.retain(|log| first_log_kept.is_some_and(|first| log.zxid < first));
    snapshots.retain(|snapshot| snapshot.zxid < oldest_kept);
    logs.extend(snapshots);
    Ok(logs)
}

/// `Nov 26, 2026, 3:44:11 AM`, Java's default form.
fn modified(path: &Path) -> String {
    let time = path.metadata().and_then(|metadata| metadata.modified());
    let Some(timestamp) = time.ok().and_then(|time| jiff::Timestamp::try_from(time).ok()) else {
        return "-".to_owned();
    };
    timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%b %-d, %Y, %-I:%M:%S %p").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn calls_that_make_no_sense_have_the_originals_words() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().to_str().unwrap();
        let refused = |words: &[&str]| parse(&args(words)).unwrap_err().unwrap_or_default();
        assert_eq!(refused(&[here]), "");
        assert_eq!(refused(&[here, "-n", "2"]), "count should be greater than or equal to 3");
        assert_eq!(refused(&[here, "-n", "x"]), "'x' can not be parsed to integer.");
        assert_eq!(refused(&[here, "-k", "3"]), "");
        assert_eq!(refused(&["/nowhere", "-n", "3"]), "Path '/nowhere' does not exist. ");
        assert_eq!(parse(&args(&[here, here, "-n", "3"])).unwrap().2, 3);
    }

    #[test]
    fn what_the_kept_snapshots_do_not_need_goes() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join("version-2");
        std::fs::create_dir(&version).unwrap();
        // Complete ones end so.
        let complete = b"ZKSN......\0\0\0\x01/";
        for zxid in ["1", "a", "14", "1e", "28"] {
            std::fs::write(version.join(format!("snapshot.{zxid}")), complete).unwrap();
        }
        std::fs::write(version.join("snapshot.32"), b"cut off").unwrap();
        for zxid in ["2", "b", "13", "15", "29"] {
            std::fs::write(version.join(format!("log.{zxid}")), b"").unwrap();
        }
        assert_eq!(run(&args(&[dir.path().to_str().unwrap(), "-n", "3"])), 0);
        let mut left: Vec<String> = std::fs::read_dir(&version)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        let expect =
            ["log.13", "log.15", "log.29", "snapshot.14", "snapshot.1e", "snapshot.28", "snapshot.32"];
        assert_eq!(left, expect, "the cut off one is not counted, and log.13 may reach beyond 14");
    }
}
