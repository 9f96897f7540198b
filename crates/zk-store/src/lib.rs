//! Transaction logs, snapshots, epoch files: a coordination server's data directory in Apache ZooKeeper's formats.
//!
//! What is here: writing and reading `log.<zxid>` ([`TxnLog`], [`TxnLogReader`]) and
//! `snapshot.<zxid>` ([`SnapshotWriter`], [`read_snapshot`]), the layout around them ([`DataDir`]: lock, epochs,
//! `myid`, recovery, purge). What is not here: the tree. Recovery hands out [`RecoveryEvent`]s (sessions, ACLs,
//! nodes, transactions) and the caller builds its state from them.
//!
//! For an ensemble there are besides: the stream of a SNAP packet ([`stream_head`], [`SnapshotStream`]), history for
//! others ([`DataDir::recent`], [`DataDir::read_after`]), and what a leader does to a member's history
//! ([`DataDir::truncate`], [`DataDir::install_snapshot`]).
//!
//! The order of calls: [`DataDir::open`] (takes the lock) → [`DataDir::recover`] → [`DataDir::load_epochs`] →
//! [`DataDir::open_log`] → `append`* `sync`, and `roll` + [`DataDir::begin_snapshot`] from time to time. A member of an
//! ensemble calls [`DataDir::recover_or_set_aside`] instead of the second and third, and [`DataDir::mark_trusted`] before
//! it acknowledges that it is synchronised. `truncate` and `install_snapshot` want the log closed and no other snapshot in
//! the making; afterwards the log is opened anew.
//!
//! The invariants guarded: nothing is reported durable before its fsync; after a failed write the log takes nothing
//! more ([`StoreError::Poisoned`], ZOOKEEPER-4882); a torn tail is cut and said so, a corrupt middle or a hole is an
//! error with file and offset and never skipped in silence; whatever changes a history does so in steps behind each of
//! which an interruption leaves one history, the old or the new.

mod error;
mod names;
mod steps;

mod datadir;
mod snapshot;
mod txnlog;

pub use datadir::{
    Damage, DataDir, DataDirOptions, Distrust, Epochs, MemberRecovery, RecoverOptions, Recovery,
    RecoveryEvent, Removed, SNAPSHOTS_RETAINED_MIN, Truncated,
};
pub use error::StoreError;
pub use names::{DiskFile, list_logs, list_snapshots, log_name, snapshot_name};
pub use snapshot::{
    Compression, SNAPSHOT_PART_BYTES_MAX, SnapshotPart, SnapshotStream, SnapshotTail, SnapshotWriter,
    StreamError, ZxidDigest, encode_node, looks_valid, read_snapshot, stream_end, stream_head,
};
pub use txnlog::{
    Entries, LogEnd, LogFileReader, LogRecord, LogStep, SyncReport, TornTail, TxnLog, TxnLogOptions,
    TxnLogReader, last_logged_zxid,
};
