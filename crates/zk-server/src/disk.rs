//! What the log thread does to the disk, one command at a time.
//!
//! Whatever replaces the history (a truncation, the leader's snapshot) happens with the log closed and no snapshot in
//! the making, and ends with a tree that is what the disk says. The invariant: an error leaves nothing half done that
//! a restart would take for whole, and ends the server.

use std::sync::Arc;

use parking_lot::Mutex;
use zk_store::{DataDir, Entries, StoreError, TxnLog, TxnLogOptions};
use zk_tree::Tree;
use zk_zab::{Entry, Stored};

use crate::config::Config;
use crate::config_files::ConfigWriter;
use crate::log_thread::{LogCommand, LogReport};
use crate::recovery::{self, Recovered};
use crate::snapshots;

/// Held by whoever makes a snapshot, purges, or replaces the history: never two of them at once.
pub(crate) type DirectoryLock = Arc<Mutex<()>>;

/// The log and everything around it.
pub(crate) struct Disk {
    data: Arc<DataDir>,
    config: Config,
    options: TxnLogOptions,
    /// `None` only while the history is replaced.
    log: Option<TxnLog>,
    busy: DirectoryLock,
    config_writer: Option<ConfigWriter>,
    /// The history was damaged; it counts again when a leader has synchronised it.
    is_untrusted: bool,
}

impl Disk {
    pub(crate) fn open(
        data: Arc<DataDir>,
        config: Config,
        options: TxnLogOptions,
        busy: DirectoryLock,
        is_untrusted: bool,
    ) -> Result<Self, StoreError> {
        let log = Some(data.open_log(options.clone())?);
        let ensemble = config.ensemble.as_ref();
        let config_writer =
            ensemble.and_then(|e| e.files.as_ref().map(|files| ConfigWriter::new(files, e.sid)));
        Ok(Self { data, config, options, log, busy, config_writer, is_untrusted })
    }

    pub(crate) fn log(&mut self) -> &mut TxnLog {
        self.log.as_mut().expect("the log is open between commands")
    }

    /// Carries out a command that is no append; everything appended before is synced.
    pub(crate) fn carry_out(&mut self, command: LogCommand) -> Result<Option<LogReport>, StoreError> {
        Ok(match command {
            LogCommand::AcceptedEpoch { epoch } => {
                self.data.set_accepted_epoch(epoch)?;
                Some(LogReport::Stored(Stored::AcceptedEpoch { epoch }))
            }
            LogCommand::CurrentEpoch { epoch } => {
                self.data.set_current_epoch(epoch)?;
                self.trust()?;
                Some(LogReport::Stored(Stored::CurrentEpoch { epoch }))
            }
            LogCommand::Truncate { zxid } => Some(self.truncate(zxid)?),
            LogCommand::Install { zxid, tree } => Some(self.install(zxid, tree)?),
            LogCommand::Reload => Some(self.reload()?),
            LogCommand::ConfigSeen(config) => {
                self.write_config("zoo.cfg.dynamic.next", |writer| writer.seen(&config));
                None
            }
            LogCommand::ConfigActive(config) => {
                self.write_config("zoo.cfg and its dynamic file", |writer| writer.active(&config));
                None
            }
            LogCommand::Append { .. } | LogCommand::Roll => None,
        })
    }

    /// A history that a leader has synchronised, and whose epoch is on disk, is as good as any.
    fn trust(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.is_untrusted) {
            self.data.mark_trusted()?;
            tracing::info!("the history is whole again, synchronised by the leader; this server votes");
        }
        Ok(())
    }

    fn truncate(&mut self, zxid: i64) -> Result<LogReport, StoreError> {
        let busy = self.busy.clone();
        let _alone = busy.lock();
        self.log = None;
        let cut = self.data.truncate(zxid);
        let (tree, last_zxid, recent) = self.load()?;
        let stored = match cut {
            Ok(_) if self.is_untrusted => Stored::Void { last_zxid: None, recent },
            Ok(_) => {
                tracing::info!(zxid = format_args!("0x{zxid:x}"), "the log is cut to the leader's history");
                Stored::Truncated { last_zxid, recent }
            }
            Err(error) => {
                tracing::warn!(%error, "the log cannot be cut to the leader's history");
                Stored::Void { last_zxid: self.trusted(last_zxid), recent }
            }
        };
        Ok(LogReport::Reloaded { tree, stored })
    }

    fn install(&mut self, zxid: i64, tree: Box<Tree>) -> Result<LogReport, StoreError> {
        let busy = self.busy.clone();
        let _alone = busy.lock();
        let (snapshot, tail) = snapshots::write_whole(&self.data, &tree, &self.config)?;
        self.log = None;
        self.data.install_snapshot(snapshot, tail)?;
        // It holds whatever this server has ever acknowledged: the leader's quorum formed without it.
        self.trust()?;
        self.log = Some(self.data.open_log(self.options.clone())?);
        tracing::info!(
            zxid = format_args!("0x{zxid:x}"),
            nodes = tree.node_count(),
            "the leader's snapshot is installed"
        );
        Ok(LogReport::Reloaded { tree, stored: Stored::SnapshotInstalled { zxid } })
    }

    fn reload(&mut self) -> Result<LogReport, StoreError> {
        let busy = self.busy.clone();
        let _alone = busy.lock();
        self.log = None;
        let (tree, last_zxid, recent) = self.load()?;
        Ok(LogReport::Reloaded { tree, stored: Stored::Void { last_zxid: self.trusted(last_zxid), recent } })
    }

    /// A damaged history has no last zxid.
    fn trusted(&self, last_zxid: i64) -> Option<i64> {
        (!self.is_untrusted).then_some(last_zxid)
    }

    /// The tree the disk says, and the log open again.
    fn load(&mut self) -> Result<(Box<Tree>, i64, Vec<Entry>), StoreError> {
        // What is damaged is set aside here as it is at the start: a server that was not trusted yet must not end.
        let (recovered, _, distrust) = recovery::recover_member(&self.data, &self.config)?;
        let Recovered { tree, last_zxid, recent, .. } = recovered;
        self.is_untrusted = distrust.is_some();
        self.log = Some(self.data.open_log(self.options.clone())?);
        Ok((Box::new(tree), last_zxid, entries(recent)))
    }

    /// A file that cannot be written is no reason to stop: the ensemble knows its configuration without it.
    fn write_config(&self, what: &str, write: impl FnOnce(&ConfigWriter) -> std::io::Result<()>) {
        let Some(writer) = &self.config_writer else { return };
        if let Err(error) = write(writer) {
            tracing::error!(%error, "cannot write {what}; a restart begins with the servers named there before");
        }
    }
}

pub(crate) fn entries(recent: Entries) -> Vec<Entry> {
    recent.into_iter().map(|(zxid, payload)| Entry { zxid, payload }).collect()
}
