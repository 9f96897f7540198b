//! Whether this server's history may be voted with: the files `untrusted`, `logged` and `zoolog.joined`.
//!
//! A server that lost its history, or a part of it, may have acknowledged what it lost. Were it to vote with what is
//! left, or with nothing, a majority could come together in which nobody knows an acknowledged write. So it says so
//! durably before anything else is done about the damage, and takes it back only once an established leader has
//! synchronised it.

use std::fs;
use std::path::{Path, PathBuf};

use super::DataDir;
use crate::error::StoreError;
use crate::names::{list_logs, list_snapshots};
use crate::snapshot::{is_temporary, looks_valid};
use crate::steps::{DiskStep, read_text, run_all};

const UNTRUSTED: &str = "untrusted";
/// The number of a transaction that was logged and synced, renewed with each log file, beside the snapshots: without it
/// a lost dataLogDir, or a newest log file of no length, would look like a database that was idle since its last snapshot.
const LOGGED: &str = "logged";
const JOINED: &str = "zoolog.joined";
const DAMAGED_PREFIX: &str = "damaged-";
/// First line of `untrusted` while files are still being moved to the directories of that number.
const MOVING: &str = "moving ";
/// First line of `untrusted` afterwards: whatever is in the directory was received since, and not to its end.
const EMPTY: &str = "empty";

const JOINED_TEXT: &str = "This server has taken part in an ensemble. Should version-2 be found empty one day, it \
waits for a leader to synchronise it instead of voting with nothing. To begin a new, empty database, use \
zkServer-initialize.sh, or create a file named initialize beside this one.\n";

/// What the file `untrusted` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the directories damaged files are being moved to, if that is not done.
    pub(super) moving_to: Option<u32>,
    pub(super) why: String,
}

impl DataDir {
    /// The history is whole again: received from an established leader, synced, and `currentEpoch` written. To be
    /// called **before** NEWLEADER is acknowledged, since the leader counts on this server from then on: were the
    /// acknowledgement first, a crash between would throw away what it stands for.
    pub fn mark_trusted(&self) -> Result<(), StoreError> {
        if !list_snapshots(&self.snap_dir)?.iter().any(|snapshot| looks_valid(&snapshot.path)) {
            return Err(StoreError::LogsWithoutSnapshot {
                snap_dir: self.snap_dir.clone(),
                log_dir: self.log_dir.clone(),
            });
        }
        self.note_joined()?;
        self.remove_mark()
    }

    /// Why this server must not vote, if so.
    pub fn untrusted(&self) -> Result<Option<String>, StoreError> {
        Ok(self.mark()?.map(|mark| mark.why))
    }

    pub(super) fn mark(&self) -> Result<Option<Mark>, StoreError> {
        let Some(text) = read_text(&self.mark_path())? else { return Ok(None) };
        let (state, why) = text.split_once('\n').unwrap_or((&text, ""));
        let number = state.strip_prefix(MOVING).and_then(|n| n.trim().parse().ok());
        let moving_to = match number {
            None if state == EMPTY => None,
            // Not as we write it. Nothing may be thrown away on its word.
            None => Some(self.next_damaged_number()?),
            moving_to => moving_to,
        };
        Ok(Some(Mark { moving_to, why: why.trim().to_owned() }))
    }

    pub(super) fn mark_step(&self, mark: &Mark) -> DiskStep {
        let state = mark.moving_to.map_or(EMPTY.to_owned(), |n| format!("{MOVING}{n}"));
        DiskStep::Write { path: self.mark_path(), text: format!("{state}\n{}\n", mark.why) }
    }

    pub(super) fn remove_mark(&self) -> Result<(), StoreError> {
        DiskStep::Remove { path: self.mark_path() }.run()
    }

    /// Removes what a leader sent since, and not to its end.
    pub(super) fn remove_unsynchronised(&self) -> Result<(), StoreError> {
        let files = list_logs(&self.log_dir)?.into_iter().chain(list_snapshots(&self.snap_dir)?);
        let mut steps: Vec<_> = files.map(|file| DiskStep::Remove { path: file.path }).collect();
        steps.push(DiskStep::Remove { path: self.note_path() });
        if self.installing().exists() {
            // First, or a restart would install what is being removed.
            steps.insert(0, DiskStep::Remove { path: self.installing() });
        }
        run_all(&steps)
    }

    /// Moves everything but readable epoch files out of both `version-2`, to `damaged-<n>` beside them.
    pub(super) fn set_aside_plan(&self, n: u32, keep: &[&str]) -> Result<Vec<DiskStep>, StoreError> {
        let mut steps = Vec::new();
        for (dir, to) in self.dirs_with_damaged(n) {
            let moved: Vec<_> = files_of(dir)?
                .into_iter()
                .filter(|name| name != UNTRUSTED && !keep.contains(&name.as_str()))
                .map(|name| DiskStep::Rename { from: dir.join(&name), to: to.join(&name) })
                .collect();
            if !moved.is_empty() {
                steps.push(DiskStep::MakeDir { path: to });
                steps.extend(moved);
            }
        }
        Ok(steps)
    }

    /// The number after the last one in use.
    pub(super) fn next_damaged_number(&self) -> Result<u32, StoreError> {
        let mut next = 1;
        for root in [&self.data_dir, &self.log_root] {
            for entry in fs::read_dir(root).map_err(StoreError::io("list", root))? {
                let name = entry.map_err(StoreError::io("list", root))?.file_name();
                let number = name.to_str().and_then(|n| n.strip_prefix(DAMAGED_PREFIX)?.parse::<u32>().ok());
                next = number.map_or(next, |n| next.max(n.saturating_add(1)));
            }
        }
        Ok(next)
    }

    /// The directories of that number which exist.
    pub(super) fn damaged_dirs(&self, n: u32) -> Vec<PathBuf> {
        self.dirs_with_damaged(n).into_iter().map(|(_, to)| to).filter(|dir| dir.is_dir()).collect()
    }

    fn dirs_with_damaged(&self, n: u32) -> Vec<(&Path, PathBuf)> {
        let name = format!("{DAMAGED_PREFIX}{n}");
        let mut dirs = vec![(self.snap_dir.as_path(), self.data_dir.join(&name))];
        if !super::same_dir(&self.snap_dir, &self.log_dir) {
            dirs.push((&self.log_dir, self.log_root.join(&name)));
        }
        dirs
    }

    /// A transaction the log once held for certain.
    pub(super) fn noted_zxid(&self) -> Option<i64> {
        read_text(&self.note_path()).ok().flatten()?.trim().parse().ok()
    }

    /// For histories that are to end earlier than what is on record.
    pub(super) fn lower_note_step(&self, zxid: i64) -> Option<DiskStep> {
        let too_late = self.noted_zxid().is_some_and(|noted| noted > zxid);
        too_late.then(|| DiskStep::Write { path: self.note_path(), text: zxid.to_string() })
    }

    pub(super) fn note_path(&self) -> PathBuf {
        self.snap_dir.join(LOGGED)
    }

    /// Remembers outside of `version-2` that this server may have promised or acknowledged something.
    pub(super) fn note_joined(&self) -> Result<(), StoreError> {
        let path = self.joined_path();
        if path.exists() {
            return Ok(());
        }
        DiskStep::Write { path, text: JOINED_TEXT.to_owned() }.run()
    }

    pub(super) fn joined(&self) -> bool {
        self.joined_path().exists()
    }

    fn joined_path(&self) -> PathBuf {
        self.data_dir.join(JOINED)
    }

    fn mark_path(&self) -> PathBuf {
        self.snap_dir.join(UNTRUSTED)
    }
}

/// The names of the plain files in a directory that matter to anybody.
fn files_of(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        let is_dir = entry.file_type().map_err(StoreError::io("look at", dir))?.is_dir();
        match entry.file_name().into_string() {
            Ok(name) if !is_dir && !is_temporary(&name) => names.push(name),
            _ => {}
        }
    }
    names.sort();
    Ok(names)
}
