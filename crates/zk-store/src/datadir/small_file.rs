//! Files of one number: `currentEpoch`, `acceptedEpoch`, `myid`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::names::sync_dir;

/// A number in decimal; `None` if the file is missing.
pub(super) fn read_number(path: &Path) -> Result<Option<i64>, StoreError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("read", path)(e)),
    };
    let number = text.trim().parse().ok();
    number.map(Some).ok_or_else(|| StoreError::NotANumber {
        path: path.to_owned(),
        found: text.chars().take(40).collect(),
    })
}

/// Replaces the file as a whole, durably: temporary file, fsync, rename, fsync of the directory.
pub(super) fn write_number(path: &Path, number: i64) -> Result<(), StoreError> {
    let temporary = temporary_of(path);
    File::create(&temporary)
        .and_then(|mut file| write!(file, "{number}").and_then(|()| file.sync_all()))
        .map_err(StoreError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(StoreError::io("replace", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// `<file>.tmp`, as Apache names it.
pub(super) fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}
