//! The few file system calls a log needs, with errors that name operation and path.
//!
//! Not a general layer: only what is used. Renames and new files are made durable by syncing their directory
//! (KAFKA-3968).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{LogError, Result};

/// Opens for reading and writing, creating if asked to.
pub(crate) fn open_rw(path: &Path, create: bool) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .open(path)
        .map_err(LogError::io("open", path))
}

/// The whole file, or `None` if there is none. `limit` bounds what a hostile directory can make us read.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LogError::io("open", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(LogError::io("read", path))?;
    Ok(Some(bytes))
}

/// Replaces a file so that a crash leaves the old or the new content: temporary file, fsync, rename, directory fsync.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let tmp = with_suffix(path, ".tmp");
    let mut file = File::create(&tmp).map_err(LogError::io("create", &tmp))?;
    file.write_all(bytes).map_err(LogError::io("write", &tmp))?;
    file.sync_all().map_err(LogError::io("sync", &tmp))?;
    drop(file);
    rename(&tmp, path)?;
    sync_parent(path)
}

/// Writes a file whose loss in a power cut costs nothing yet; whoever needs it later syncs it.
pub(crate) fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(LogError::io("create", path))?;
    file.write_all(bytes).map_err(LogError::io("write", path))
}

pub(crate) fn sync_file_at(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(LogError::io("sync", path))
}

pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|f| f.sync_all()).map_err(LogError::io("sync directory", dir))
}

/// Syncs everything on the file system that `path` lies on.
pub(crate) fn sync_file_system(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(LogError::io("open", path))?;
    rustix::fs::syncfs(&file).map_err(|e| LogError::io("sync file system of", path)(e.into()))
}

pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(LogError::io("rename", from))
}

/// Renames if the file is there; says whether it was.
pub(crate) fn rename_if_exists(from: &Path, to: &Path) -> Result<bool> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(LogError::io("rename", from)(e)),
    }
}

pub(crate) fn remove_if_exists(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(LogError::io("delete", path)(e)),
        _ => Ok(()),
    }
}

pub(crate) fn remove_dir_all(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(LogError::io("delete directory", path)(e)),
        _ => Ok(()),
    }
}

/// Length in bytes, `None` without a file.
pub(crate) fn len_of(path: &Path) -> Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(LogError::io("stat", path)(e)),
    }
}

/// Fills as much of `buf` as the file holds at `position`; returns the bytes read.
pub(crate) fn read_at(file: &File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], position + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// How many slices one call takes (IOV_MAX on Linux).
const SLICES_MAX: usize = 1024;

/// Writes all slices at `position` with as few calls as the kernel allows.
pub(crate) fn write_vectored_at(
    file: &File,
    slices: &mut [IoSlice<'_>],
    mut position: u64,
) -> io::Result<()> {
    let mut rest = slices;
    while !rest.is_empty() {
        let batch = rest.len().min(SLICES_MAX);
        match rustix::io::pwritev(file, &rest[..batch], position) {
            Ok(0) => return Err(io::Error::new(ErrorKind::WriteZero, "the file took no bytes")),
            Ok(n) => {
                position += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
