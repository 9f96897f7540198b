//! Damage to a stopped server's files, as disks do it.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fastrand::Rng;

/// File headers end here.
const HEADER: usize = 16;

/// Files of `version-2` whose names are `prefix` and a zxid, oldest first.
pub fn files(version_2: &Path, prefix: &str) -> Result<Vec<(i64, PathBuf)>> {
    let mut files: Vec<(i64, PathBuf)> = std::fs::read_dir(version_2)?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let zxid = path.file_name()?.to_str()?.strip_prefix(prefix)?.to_owned();
            Some((i64::from_str_radix(&zxid, 16).ok()?, path))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Flips one bit of what was written into a file; `None` if nothing was. Returns where, and of how much.
pub fn flip_bit(path: &Path, rng: &mut Rng) -> Result<Option<(usize, usize)>> {
    let mut bytes = std::fs::read(path)?;
    // Behind the last transaction a log is zeros.
    let end = bytes.iter().rposition(|b| *b != 0).unwrap_or(0);
    if end < 2 * HEADER {
        return Ok(None);
    }
    let at = rng.usize(HEADER..end);
    bytes[at] ^= 1 << rng.u32(0..8);
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&bytes[at..=at], at as u64)?;
    Ok(Some((at, end)))
}
