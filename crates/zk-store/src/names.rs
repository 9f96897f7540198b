//! File names: `log.<hex zxid>`, `snapshot.<hex zxid>[.gz|.snappy]`, and the two ways to list a directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::snapshot::Compression;

/// A log or snapshot with the zxid in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFile {
    pub zxid: i64,
    pub path: PathBuf,
}

/// The name of the log whose first transaction is `zxid`.
pub fn log_name(zxid: i64) -> String {
    format!("log.{zxid:x}")
}

/// The name of a snapshot that holds everything up to `zxid`.
pub fn snapshot_name(zxid: i64, compression: Compression) -> String {
    format!("snapshot.{zxid:x}{}", compression.extension())
}

/// All logs in `dir`, oldest first.
pub fn list_logs(dir: &Path) -> Result<Vec<DiskFile>, StoreError> {
    list(dir, |name| parse(name, "log").filter(|(_, ext)| ext.is_none()).map(|(zxid, _)| zxid))
}

/// All files in `dir` named as snapshots, valid or not, newest first.
pub fn list_snapshots(dir: &Path) -> Result<Vec<DiskFile>, StoreError> {
    let mut found = list(dir, snapshot_zxid)?;
    found.reverse();
    Ok(found)
}

/// The zxid in a snapshot's file name.
pub(crate) fn snapshot_zxid(name: &str) -> Option<i64> {
    let (zxid, extension) = parse(name, "snapshot")?;
    Compression::from_extension(extension).map(|_| zxid)
}

/// Makes names created, renamed or removed in `dir` survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(StoreError::io("sync directory", dir))
}

fn list(dir: &Path, zxid_of: impl Fn(&str) -> Option<i64>) -> Result<Vec<DiskFile>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        if let Some(zxid) = entry.file_name().to_str().and_then(&zxid_of) {
            found.push(DiskFile { zxid, path: entry.path() });
        }
    }
    found.sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
    Ok(found)
}

/// Splits `<prefix>.<hex>[.<extension>]`.
fn parse<'a>(name: &'a str, prefix: &str) -> Option<(i64, Option<&'a str>)> {
    let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
    let (hex, ext) = match rest.split_once('.') {
        Some((hex, ext)) => (hex, Some(ext)),
        None => (rest, None),
    };
    let zxid = i64::from_str_radix(hex, 16).ok().filter(|z| *z >= 0)?;
    Some((zxid, ext))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_zxid_in_lower_case_hex() {
        assert_eq!(log_name(0x1_0000_00ab), "log.1000000ab");
        assert_eq!(snapshot_name(0, Compression::None), "snapshot.0");
        assert_eq!(snapshot_name(0xff, Compression::Snappy), "snapshot.ff.snappy");
    }

    #[test]
    fn logs_come_oldest_first_snapshots_newest_first_and_strangers_not_at_all() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in [
            "log.10",
            "log.9",
            "log.zz",
            "log.1.bak",
            "snapshot.a",
            "snapshot.1.gz",
            "snapshot.2.tmp",
            "tmp.snapshot.3",
            "currentEpoch",
        ] {
            fs::write(dir.path().join(name), b"").expect("written");
        }
        let zxids = |files: Vec<DiskFile>| files.into_iter().map(|f| f.zxid).collect::<Vec<_>>();
        assert_eq!(zxids(list_logs(dir.path()).expect("listed")), [0x9, 0x10]);
        assert_eq!(zxids(list_snapshots(dir.path()).expect("listed")), [0xa, 0x1]);
    }
}
