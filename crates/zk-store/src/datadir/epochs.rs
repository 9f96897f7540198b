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

    /// Durable when it returns.
    pub fn set_accepted_epoch(&self, epoch: i64) -> Result<(), StoreError> {
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
