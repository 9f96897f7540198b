//! Changes to a directory as a list of steps, each durable before the next begins.
//!
//! What must survive an interruption anywhere is planned first, as data; so a test can stop behind every step and look
//! at what a restart makes of it. Every step may be run again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::names::sync_dir;

/// One durable change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiskStep {
    /// Removes a file; one that is gone already is fine.
    Remove { path: PathBuf },
    /// Ends a file at that offset.
    Cut { path: PathBuf, offset: u64 },
    /// Renames within one file system; fine if it has happened already.
    Rename { from: PathBuf, to: PathBuf },
    /// Makes a directory, if it is not there.
    MakeDir { path: PathBuf },
    /// Replaces a small file as a whole.
    Write { path: PathBuf, text: String },
}

impl DiskStep {
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        match self {
            Self::Remove { path } => {
                gone_is_fine(fs::remove_file(path)).map_err(StoreError::io("remove", path))?;
                sync_parent(path)
            }
            Self::Cut { path, offset } => {
                let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io("open", path))?;
                file.set_len(*offset).and_then(|()| file.sync_all()).map_err(StoreError::io("truncate", path))
            }
            Self::Rename { from, to } => {
                match fs::rename(from, to) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => {}
                    renamed => renamed.map_err(StoreError::io("move", from))?,
                }
                sync_parent(to)?;
                sync_parent(from)
            }
            Self::MakeDir { path } => {
                fs::create_dir_all(path).map_err(StoreError::io("create directory", path))?;
                sync_parent(path)
            }
            Self::Write { path, text } => write_file(path, text),
        }
    }
}

pub(crate) fn run_all(steps: &[DiskStep]) -> Result<(), StoreError> {
    steps.iter().try_for_each(DiskStep::run)
}

/// Replaces the file as a whole, durably: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), StoreError> {
    let temporary = temporary_of(path);
    File::create(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(StoreError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(StoreError::io("replace", path))?;
    sync_parent(path)
}

/// `<file>.tmp`, as Apache names it.
pub(crate) fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// The text of a small file; `None` if it is missing.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("read", path)(e)),
    }
}

fn gone_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync_dir)
}
