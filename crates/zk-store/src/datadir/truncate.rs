//! TRUNC: the leader's history is shorter than this server's.

use super::DataDir;
use crate::error::StoreError;
use crate::names::{DiskFile, list_snapshots};
use crate::snapshot::{looks_valid, read_snapshot};
use crate::steps::{DiskStep, run_all};
use crate::txnlog::{TxnLogReader, follows, truncation_steps};

/// What a truncation removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truncated {
    /// The snapshots that held what is gone now.
    pub snapshots: Vec<DiskFile>,
}

impl DataDir {
    /// Removes every logged transaction after `zxid`, and every snapshot named after it: those hold transactions that
    /// are in nobody's history any more. The tree must then be recovered anew (ZOOKEEPER-5094: Apache's stays ahead of
    /// its log when this is interrupted). No log may be open, no snapshot in the making.
    ///
    /// The order, each step durable before the next, and what a restart finds after an interruption behind it:
    ///
    /// 1. Nothing is touched before it is proved that a readable snapshot and the log behind it reach `zxid`; else
    ///    [`StoreError::CannotTruncate`], and only a snapshot from the leader helps.
    /// 2. Snapshots after `zxid` go, newest first. The log is still whole, and some older snapshot joins it: recovery
    ///    gives the old history to its very end.
    /// 3. Log files, newest first, then the end of the one that holds `zxid`. Recovery gives the old history cut
    ///    somewhere at or after `zxid`.
    ///
    /// So at every moment the directory holds a prefix of the old history that contains everything up to `zxid`, and
    /// nothing acknowledged and committed is ever missing: the leader's history, which ends with `zxid` where the two
    /// part, holds all of that. Were the log cut first, a restart would load a snapshot of the removed transactions,
    /// with a log that knows nothing of them.
    pub fn truncate(&self, zxid: i64) -> Result<Truncated, StoreError> {
        let (snapshots, steps) = self.truncation_plan(zxid)?;
        run_all(&steps)?;
        tracing::info!(
            zxid = format_args!("0x{zxid:x}"),
            snapshots_removed = snapshots.len(),
            "history cut back to where it agrees with the leader's"
        );
        Ok(Truncated { snapshots })
    }

    pub(super) fn truncation_plan(&self, zxid: i64) -> Result<(Vec<DiskFile>, Vec<DiskStep>), StoreError> {
        let (doomed, kept): (Vec<_>, Vec<_>) =
            list_snapshots(self.snap_dir())?.into_iter().partition(|snapshot| snapshot.zxid > zxid);
        self.prove_reaches(zxid, &kept, !doomed.is_empty())?;
        let mut steps: Vec<_> = self.lower_note_step(zxid).into_iter().collect();
        steps.extend(doomed.iter().map(|snapshot| DiskStep::Remove { path: snapshot.path.clone() }));
        steps.extend(truncation_steps(self.log_dir(), zxid)?);
        Ok((doomed, steps))
    }

    /// Whether the newest readable one of `snapshots` and the log lead to `zxid`. Snapshots are read through only if
    /// `read`: without any to remove, the newest one is what the tree in memory came from.
    fn prove_reaches(&self, zxid: i64, snapshots: &[DiskFile], read: bool) -> Result<(), StoreError> {
        let readable = |snapshot: &&DiskFile| {
            looks_valid(&snapshot.path) && (!read || read_snapshot(&snapshot.path, &mut |_| Ok(())).is_ok())
        };
        let cannot = |why: String| StoreError::CannotTruncate { zxid, why };
        let base = snapshots
            .iter()
            .find(readable)
            .ok_or_else(|| cannot("there is no readable snapshot up to there".into()))?;
        let mut last = base.zxid;
        let mut reader = TxnLogReader::open(self.log_dir(), base.zxid + 1)?;
        while let Some(record) = reader.next_record()? {
            if record.zxid > zxid {
                break;
            }
            if !follows(last, record.zxid) {
                return Err(cannot(format!("the log goes from 0x{last:x} to 0x{:x}", record.zxid)));
            }
            last = record.zxid;
        }
        // No transaction has the zxid an epoch begins with.
        if last == zxid || zxid & 0xffff_ffff == 0 {
            return Ok(());
        }
        Err(cannot(format!("the last transaction up to there is 0x{last:x}")))
    }
}
