//! `acceptedEpoch` and `currentEpoch`: what this server promised, and what its history belongs to.
//!
//! The caller writes each before anything that relies on it leaves the server (ZOOKEEPER-1653: accepted
//! before ACKEPOCH, current after the history is durable and before ACK of NEWLEADER).

use std::path::PathBuf;

use super::{DataDir, small_file};
use crate::error::StoreError;
use crate::steps::temporary_of;

const ACCEPTED: &str = "acceptedEpoch";
const CURRENT: &str = "currentEpoch";

/// Both epochs as they are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// The newest epoch a leader was promised to be followed in.
    pub accepted: i64,
    /// The epoch of the leader whose history this server holds.
    pub current: i64,
}

impl DataDir {
    /// Reads the epochs and checks them against the last transaction. Missing files are made from its epoch, and a
    /// `currentEpoch.tmp` left by a crash is adopted if the log is ahead (`QuorumPeer.loadDataBase`).
    pub fn load_epochs(&self, last_zxid: i64) -> Result<Epochs, StoreError> {
        let zxid_epoch = last_zxid.max(0) >> 32;
        let mut current = self.read_or_create(CURRENT, zxid_epoch)?;
        if current < zxid_epoch {
            let leftover = small_file::read_number(&temporary_of(&self.epoch_path(CURRENT)))?;
            let Some(adopted) = leftover.filter(|epoch| *epoch >= zxid_epoch) else {
                return Err(self
                    .epoch_error(CURRENT, format!("epoch {current} is older than the log's, {zxid_epoch}")));
            };
            tracing::info!(epoch = adopted, "adopting currentEpoch.tmp, left by a crash");
            self.set_current_epoch(adopted)?;
            current = adopted;
        }
        let accepted = self.read_or_create(ACCEPTED, zxid_epoch)?;
        if accepted < current {
            return Err(
                self.epoch_error(ACCEPTED, format!("epoch {accepted} is older than currentEpoch, {current}"))
            );
        }
        Ok(Epochs { accepted, current })
    }

    /// As [`DataDir::load_epochs`] for a member of an ensemble, where a contradiction is damage and heals.
    ///
    /// `currentEpoch` behind the log is none: it is written last, when a synchronised history is durable, so a crash
    /// before leaves it behind. Such a server votes with the old epoch, which is right: it has not acknowledged the
    /// new one, and whatever was committed in the new one is known to a majority that has. An epoch the log or
    /// `currentEpoch` belongs to must have been accepted before, and files are missing together (a database that was
    /// a single server's) or not at all: else a promise is lost.
    pub(super) fn load_member_epochs(&self, last_zxid: i64) -> Result<Epochs, StoreError> {
        let zxid_epoch = last_zxid.max(0) >> 32;
        let read = |name| small_file::read_number(&self.epoch_path(name));
        let (accepted, mut current) = match (read(ACCEPTED)?, read(CURRENT)?) {
            (Some(accepted), Some(current)) => (accepted, current),
            // A first start makes them one after the other.
            (None, None) | (None, Some(0)) | (Some(0), None) if zxid_epoch == 0 => self.create_epochs(0)?,
            (None, None) => self.create_epochs(zxid_epoch)?,
            (Some(_), None) => return Err(self.epoch_error(CURRENT, "it is missing".into())),
            (None, Some(_)) => return Err(self.epoch_error(ACCEPTED, "it is missing".into())),
        };
        if current < zxid_epoch {
            let leftover = small_file::read_number(&temporary_of(&self.epoch_path(CURRENT)));
            match leftover.ok().flatten().filter(|epoch| (zxid_epoch..=accepted).contains(epoch)) {
                Some(adopted) => {
                    tracing::info!(epoch = adopted, "adopting currentEpoch.tmp, left by a crash");
                    self.set_current_epoch(adopted)?;
                    current = adopted;
                }
                None => {
                    tracing::info!(current, zxid_epoch, "stopped while being synchronised with a new leader")
                }
            }
        }
        if accepted < current.max(zxid_epoch) {
            let why =
                format!("epoch {accepted} is older than currentEpoch, {current}, or the log's, {zxid_epoch}");
            return Err(self.epoch_error(ACCEPTED, why));
        }
        Ok(Epochs { accepted, current })
    }

    /// What is left of the epochs when the history is not: 0 where nothing is, and no less promised than reached.
    pub(super) fn surviving_epochs(&self) -> Result<Epochs, StoreError> {
        let read = |name| small_file::read_number(&self.epoch_path(name)).ok().flatten().unwrap_or(0);
        let current = read(CURRENT);
        let accepted = read(ACCEPTED).max(current);
        for (name, epoch) in [(CURRENT, current), (ACCEPTED, accepted)] {
            if small_file::read_number(&self.epoch_path(name)).ok().flatten() != Some(epoch) {
                small_file::write_number(&self.epoch_path(name), epoch)?;
            }
        }
        Ok(Epochs { accepted, current })
    }

    pub(super) fn epoch_readable(&self, name: &str) -> bool {
        matches!(small_file::read_number(&self.epoch_path(name)), Ok(Some(epoch)) if epoch >= 0)
    }

    fn create_epochs(&self, epoch: i64) -> Result<(i64, i64), StoreError> {
        small_file::write_number(&self.epoch_path(CURRENT), epoch)?;
        small_file::write_number(&self.epoch_path(ACCEPTED), epoch)?;
        Ok((epoch, epoch))
    }

    /// Durable when it returns. From here on this server has promised something, which is noted outside of
    /// `version-2` too.
    pub fn set_accepted_epoch(&self, epoch: i64) -> Result<(), StoreError> {
        self.note_joined()?;
        small_file::write_number(&self.epoch_path(ACCEPTED), epoch)
    }

    /// Durable when it returns.
    pub fn set_current_epoch(&self, epoch: i64) -> Result<(), StoreError> {
        small_file::write_number(&self.epoch_path(CURRENT), epoch)
    }

    fn read_or_create(&self, name: &str, default: i64) -> Result<i64, StoreError> {
        let path = self.epoch_path(name);
        if let Some(epoch) = small_file::read_number(&path)? {
            return Ok(epoch);
        }
        small_file::write_number(&path, default)?;
        Ok(default)
    }

    fn epoch_path(&self, name: &str) -> PathBuf {
        self.snap_dir().join(name)
    }

    fn epoch_error(&self, name: &str, why: String) -> StoreError {
        StoreError::Epochs { path: self.epoch_path(name), why }
    }
}
