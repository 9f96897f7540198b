//! Opening the directory as a member of an ensemble: what is damaged heals from the others.
//!
//! A server alone has nobody to heal from; it refuses to start ([`DataDir::recover`] says why). A member moves what is
//! damaged aside, has no vote, counts in no quorum, and asks an established leader for everything.

use std::io;
use std::path::PathBuf;

use super::recovery::Take;
use super::trust::Mark;
use super::{DataDir, Epochs, RecoverOptions, Recovery, RecoveryEvent};
use crate::error::StoreError;
use crate::names::list_snapshots;
use crate::snapshot::SnapshotTail;
use crate::steps::run_all;

/// Kept when everything else is moved aside: a promise given must not be forgotten.
const EPOCH_FILES: [&str; 2] = ["acceptedEpoch", "currentEpoch"];

/// What a member begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecovery {
    /// What was found; nothing, if it cannot be trusted.
    pub recovery: Recovery,
    pub epochs: Epochs,
    /// Set if this server must not vote and counts in no quorum before a leader has synchronised it.
    pub distrust: Option<Distrust>,
}

impl MemberRecovery {
    /// What to vote with: max(last record of the log, newest snapshot); `None` if there is no vote.
    pub fn last_zxid(&self) -> Option<i64> {
        self.distrust.is_none().then_some(self.recovery.last_zxid)
    }
}

/// Why a history is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// In words, with the file and the place in it.
    pub why: String,
    /// What was damaged, if this start found it.
    pub damage: Option<Damage>,
}

/// Damage found by this start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub file: PathBuf,
    /// Where in it, if that is known.
    pub offset: Option<u64>,
    /// Where everything was moved to: one directory, or two if there is a dataLogDir.
    pub moved_to: Vec<PathBuf>,
}

impl DataDir {
    /// [`DataDir::recover`] for a member of an ensemble. What is found is one of
    ///
    /// - *whole*, a torn tail cut off: the events give the state, as there;
    /// - *damaged*: an error recovery names (a checksum in the middle of the log, and in the last
    ///   transaction too unless a crash explains it, a gap, no readable snapshot that the
    ///   log joins, logs without snapshots, an I/O error of the medium, a refused part), a snapshot that is newer than
    ///   all that can be recovered, a log that has lost files, epoch files that are unreadable, missing or contradict the log. Everything but
    ///   readable epoch files is moved to `<dir>/damaged-<n>/`, never deleted;
    /// - *not synchronised*: a restart after that, before [`DataDir::mark_trusted`]. What a leader had sent since goes;
    /// - *empty*, with `db_autocreate=false` and no file `initialize` (Apache's rule of zxid -1);
    /// - *wiped*: empty, though the file `zoolog.joined` says that this server once took part.
    ///
    /// In all but the first, `distrust` is set, the caller is told `Reset`, and a snapshot of the empty state must be
    /// written before anything is logged (`needs_snapshot`).
    ///
    /// Why wiped is its own case: a server that lost its disk but kept its id has forgotten what it acknowledged. If it
    /// votes with an empty history, it and another server that lags can elect each other and lose acknowledged writes.
    /// Apache lets it (with `db.autocreate`, its default), and a first start looks just the same, so a directory without
    /// any trace is fresh to us as well. But the trace lies in `dataDir` itself, beside `myid`, made before the first
    /// promise to a leader: removing `version-2`, as many runbooks say, is found out and healed. Only who removes all of
    /// `dataDir` gets Apache's behaviour. The file `initialize` (`zkServer-initialize.sh`) says that an empty database is
    /// meant, after damage too: the way out when a majority has lost its history and it is decided to begin anew.
    pub fn recover_or_set_aside(
        &self,
        options: &RecoverOptions,
        take: Take<'_>,
    ) -> Result<MemberRecovery, StoreError> {
        if let Some(mark) = self.mark()? {
            self.finish_setting_aside(&mark)?;
            if !self.initialize_wanted() {
                return self.begin_untrusted(Distrust { why: mark.why, damage: None }, take);
            }
            self.remove_mark()?;
        }
        let found = self.recover_checked(options, take);
        let (recovery, epochs) = match found {
            Ok(found) => found,
            Err(e) if is_damage(&e) => return self.set_aside(&e, take),
            Err(e) => return Err(e),
        };
        let fresh = recovery.snapshot.is_none() && recovery.txns == 0;
        let why = if recovery.last_zxid < 0 {
            "the database is empty, zookeeper.db.autocreate is false, and there is no file initialize"
        } else if fresh && !recovery.initialized && self.joined() {
            "the database is empty though this server has taken part in its ensemble (zoolog.joined); version-2 was \
             removed or lost"
        } else {
            if recovery.last_zxid > 0 || epochs.accepted > 0 {
                self.note_joined()?;
            }
            return Ok(MemberRecovery { recovery, epochs, distrust: None });
        };
        run_all(&[self.mark_step(&Mark { moving_to: None, why: why.to_owned() })])?;
        self.begin_untrusted(Distrust { why: why.to_owned(), damage: None }, take)
    }

    /// As [`DataDir::recover`], but what does not fit together is an error even where a single server would start.
    fn recover_checked(
        &self,
        options: &RecoverOptions,
        take: Take<'_>,
    ) -> Result<(Recovery, Epochs), StoreError> {
        let recovery = self.recover_with(options, true, take)?;
        let newest = list_snapshots(self.snap_dir())?.into_iter().next();
        if let Some(newest) = newest.filter(|newest| newest.zxid > recovery.last_zxid.max(0)) {
            return Err(StoreError::corrupt(
                &newest.path,
                0,
                format!("it cannot be read, and the rest leads only to 0x{:x}", recovery.last_zxid),
            ));
        }
        self.check_tail(&recovery)?;
        if let Some(logged) = self.noted_zxid().filter(|logged| *logged > recovery.last_zxid.max(0)) {
            let (dir, last) = (self.log_dir().to_owned(), recovery.last_zxid);
            return Err(StoreError::LogLost { dir, logged, last });
        }
        let epochs = match recovery.last_zxid {
            ..0 => self.surviving_epochs()?,
            last => self.load_member_epochs(last)?,
        };
        Ok((recovery, epochs))
    }

    /// A fuzzy snapshot may hold transactions up to the moment it was finished. If the log has lost some of them, the
    /// state is in nobody's history.
    fn check_tail(&self, recovery: &Recovery) -> Result<(), StoreError> {
        let (Some(snapshot), SnapshotTail { last_processed_zxid: Some(seen), .. }) =
            (&recovery.snapshot, recovery.snapshot_tail)
        else {
            return Ok(());
        };
        // No transaction has the zxid an epoch begins with.
        if seen <= recovery.last_zxid || seen & 0xffff_ffff == 0 {
            return Ok(());
        }
        let why =
            format!("it holds transactions up to 0x{seen:x}, the log ends at 0x{:x}", recovery.last_zxid);
        Err(StoreError::corrupt(&snapshot.path, 0, why))
    }

    /// Moves everything aside because of `error`. The mark comes first, so that an interruption cannot make a vote of
    /// what is left; a restart goes on moving.
    fn set_aside(&self, error: &StoreError, take: Take<'_>) -> Result<MemberRecovery, StoreError> {
        let n = self.next_damaged_number()?;
        let mark = Mark { moving_to: Some(n), why: one_line(error) };
        run_all(&[self.mark_step(&mark)])?;
        self.finish_setting_aside(&mark)?;
        let (file, offset) = place_of(error, self);
        let moved_to = self.damaged_dirs(n);
        let damage = Some(Damage { file, offset, moved_to });
        self.begin_untrusted(Distrust { why: mark.why, damage }, take)
    }

    pub(super) fn finish_setting_aside(&self, mark: &Mark) -> Result<(), StoreError> {
        let Some(n) = mark.moving_to else { return self.remove_unsynchronised() };
        let readable: Vec<_> = EPOCH_FILES.into_iter().filter(|name| self.epoch_readable(name)).collect();
        let mut steps = self.set_aside_plan(n, &readable)?;
        steps.push(self.mark_step(&Mark { moving_to: None, why: mark.why.clone() }));
        run_all(&steps)
    }

    fn begin_untrusted(&self, distrust: Distrust, take: Take<'_>) -> Result<MemberRecovery, StoreError> {
        take(RecoveryEvent::Reset)
            .map_err(|why| StoreError::Refused { path: self.snap_dir().to_owned(), why })?;
        let epochs = self.surviving_epochs()?;
        let recovery = Recovery { last_zxid: -1, needs_snapshot: true, ..Recovery::empty() };
        Ok(MemberRecovery { recovery, epochs, distrust: Some(distrust) })
    }
}

/// Whether it is the data that is bad. Of what another start or a person can put right (permissions, descriptors,
/// space, a wrong path) nothing is moved.
fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Corrupt { .. }
        | StoreError::Gap { .. }
        | StoreError::LogsWithoutSnapshot { .. }
        | StoreError::LogLost { .. }
        | StoreError::NoReadableSnapshot { .. }
        | StoreError::NotANumber { .. }
        | StoreError::Epochs { .. }
        | StoreError::Refused { .. } => true,
        StoreError::Io { source, .. } => is_of_the_medium(source),
        _ => false,
    }
}

fn is_of_the_medium(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG))
}

fn place_of(error: &StoreError, dir: &DataDir) -> (PathBuf, Option<u64>) {
    match error {
        StoreError::Corrupt { path, offset, .. } => (path.clone(), Some(*offset)),
        StoreError::Gap { path, .. }
        | StoreError::NotANumber { path, .. }
        | StoreError::Epochs { path, .. }
        | StoreError::Refused { path, .. }
        | StoreError::Io { path, .. } => (path.clone(), None),
        StoreError::LogsWithoutSnapshot { log_dir: dir, .. } | StoreError::LogLost { dir, .. } => {
            (dir.clone(), None)
        }
        _ => (dir.snap_dir().to_owned(), None),
    }
}

fn one_line(error: &StoreError) -> String {
    error.to_string().replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mediums_errors_are_damage() {
        let check = |errno: rustix::io::Errno, expect: bool| {
            let error = StoreError::io("read", std::path::Path::new("log.1"))(errno.into());
            assert_eq!(is_damage(&error), expect, "{error}");
        };
        check(rustix::io::Errno::IO, true);
        check(rustix::io::Errno::UCLEAN, true);
        check(rustix::io::Errno::ACCESS, false);
        check(rustix::io::Errno::MFILE, false);
        check(rustix::io::Errno::NOSPC, false);
        check(rustix::io::Errno::ROFS, false);
        assert!(!is_damage(&StoreError::InUse { path: "d".into(), pid: None }));
    }
}
