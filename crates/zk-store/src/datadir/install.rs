//! SNAP: the leader's state takes the place of this server's history.

use std::path::PathBuf;

use super::DataDir;
use crate::error::StoreError;
use crate::names::{DiskFile, list_logs, list_snapshots};
use crate::snapshot::{SnapshotTail, SnapshotWriter, looks_valid, temporary_name};
use crate::steps::{DiskStep, read_text, run_all};

/// Says that a received snapshot is complete and takes over; holds its final name.
const INSTALLING: &str = "installing";

impl DataDir {
    /// Makes `snapshot` (from [`DataDir::begin_snapshot`], all nodes written) this server's history: everything before
    /// it is replaced, and when this returns it is durable. No log may be open, no other snapshot in the making.
    ///
    /// The old log goes as a whole. Behind the snapshot it may hold transactions that no leader knows, and before it
    /// others may be missing; recovery and [`DataDir::read_after`] must never join such a log to what comes from the
    /// leader. Nothing acknowledged is lost with it: a leader sends a snapshot only of a state that contains all that
    /// was ever committed, and what is newer than that it sends again. Older snapshots stay for the purge.
    ///
    /// The order, each step durable before the next, and what a restart finds after an interruption behind it:
    ///
    /// 1. The snapshot is written and synced under a temporary name: the restart clears it away, the old history is
    ///    whole (ZOOKEEPER-3104, ZOOKEEPER-3642).
    /// 2. The file `installing` names it: from here on the snapshot counts. A restart ([`DataDir::open`], and also
    ///    [`DataDir::recover`]) carries out the rest before anything is read.
    /// 3. It gets its name; other snapshots not older than it go; the log files go, newest first.
    /// 4. `installing` goes.
    ///
    /// So a restart finds the old history or the snapshot, never parts of both. (An Apache server started on the
    /// directory between 3 and 4 would read the old log behind the snapshot, as it would behind its own.)
    pub fn install_snapshot(
        &self,
        snapshot: SnapshotWriter,
        tail: SnapshotTail,
    ) -> Result<DiskFile, StoreError> {
        let complete = snapshot.complete(tail)?;
        run_all(&self.installation_plan(&complete)?)?;
        tracing::info!(path = %complete.path.display(), "received snapshot installed in place of the old history");
        Ok(complete)
    }

    /// What makes a snapshot, complete under its temporary name, the only history.
    pub(super) fn installation_plan(&self, snapshot: &DiskFile) -> Result<Vec<DiskStep>, StoreError> {
        let name = snapshot.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut steps = vec![DiskStep::Write { path: self.installing(), text: name }];
        steps.extend(self.takeover_plan(snapshot)?);
        Ok(steps)
    }

    /// Carries out what an interruption left undone. A file `installing` that makes no sense is left for recovery to
    /// report.
    pub(super) fn finish_installation(&self) -> Result<(), StoreError> {
        let Some(name) = read_text(&self.installing())? else { return Ok(()) };
        let Some(snapshot) = self.named_snapshot(name.trim()) else { return Ok(()) };
        tracing::info!(path = %snapshot.path.display(), "finishing the installation of a received snapshot");
        run_all(&self.takeover_plan(&snapshot)?)
    }

    /// An installation that can neither be finished nor undone: it is unknown which history counts.
    pub(super) fn refuse_half_installed(&self) -> Result<(), StoreError> {
        match read_text(&self.installing())? {
            None => Ok(()),
            Some(name) => Err(StoreError::corrupt(
                &self.installing(),
                0,
                format!("it names the snapshot {:?} as received, which is not there", name.trim()),
            )),
        }
    }

    fn takeover_plan(&self, snapshot: &DiskFile) -> Result<Vec<DiskStep>, StoreError> {
        let temporary = self.snap_dir().join(temporary_name(snapshot.zxid));
        let mut steps = vec![DiskStep::Rename { from: temporary, to: snapshot.path.clone() }];
        steps.extend(self.lower_note_step(snapshot.zxid));
        let others = list_snapshots(self.snap_dir())?
            .into_iter()
            .filter(|other| other.zxid >= snapshot.zxid && other.path != snapshot.path);
        steps.extend(others.map(|other| DiskStep::Remove { path: other.path }));
        let logs = list_logs(self.log_dir())?.into_iter().rev();
        steps.extend(logs.map(|log| DiskStep::Remove { path: log.path }));
        steps.push(DiskStep::Remove { path: self.installing() });
        Ok(steps)
    }

    /// The snapshot of that name, if it is there under it or complete under its temporary one.
    fn named_snapshot(&self, name: &str) -> Option<DiskFile> {
        let path = self.snap_dir().join(name);
        let zxid = crate::names::snapshot_zxid(name)?;
        let there = self.snap_dir().join(temporary_name(zxid)).exists() || looks_valid(&path);
        there.then_some(DiskFile { zxid, path })
    }

    pub(super) fn installing(&self) -> PathBuf {
        self.snap_dir().join(INSTALLING)
    }
}
