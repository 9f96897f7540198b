//! Files of one number: `currentEpoch`, `acceptedEpoch`, `myid`.

use std::path::Path;

use crate::error::StoreError;
use crate::steps::{read_text, write_file};

/// A number in decimal; `None` if the file is missing.
pub(super) fn read_number(path: &Path) -> Result<Option<i64>, StoreError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let number = text.trim().parse().ok();
    number.map(Some).ok_or_else(|| StoreError::NotANumber {
        path: path.to_owned(),
        found: text.chars().take(40).collect(),
    })
}

/// Replaces the file as a whole, durably.
pub(super) fn write_number(path: &Path, number: i64) -> Result<(), StoreError> {
    write_file(path, &number.to_string())
}
