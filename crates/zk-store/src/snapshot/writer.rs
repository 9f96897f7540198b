//! Writing a snapshot in pieces, between other work.
//!
//! The file grows under a temporary name; `finish` seals, syncs and renames it, so a snapshot that can be seen is
//! complete. A writer that is dropped before removes its file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use zk_proto::{Acl, StatPersisted, Writer};

use super::checked::CheckedWriter;
use super::compression::{Compression, Sink};
use super::{DB_ID, END_PATH, MAGIC, SnapshotTail, VERSION};
use crate::error::StoreError;
use crate::names::{DiskFile, snapshot_name, sync_dir};

/// Apache takes its own `snapshot.<zxid>.tmp` for a snapshot; a name it does not parse avoids that.
const TEMPORARY_PREFIX: &str = "tmp.snapshot.";

pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX)
}

/// What a snapshot is called until it is complete.
pub(crate) fn temporary_name(zxid: i64) -> String {
    format!("{TEMPORARY_PREFIX}{zxid:x}")
}

/// Writes one node as snapshots hold it. `path` is `""` for the root; `acl` is an id of the ACL cache, -1 for
/// `world:anyone` with every permission.
pub fn encode_node(w: &mut Writer, path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted) {
    w.string(path);
    w.buffer(data);
    w.i64(acl);
    stat.encode(w);
}

/// A snapshot in the making.
pub struct SnapshotWriter {
    /// `None` only once it is finished.
    out: Option<CheckedWriter<Sink>>,
    dir: PathBuf,
    temporary: PathBuf,
    target: PathBuf,
    zxid: i64,
}

impl SnapshotWriter {
    /// Begins `snapshot.<zxid>` in `dir` (a `version-2`) with everything but the nodes. What is written holds every
    /// transaction up to `zxid`, and may hold parts of later ones. `sessions` are ids with timeouts in ms, `acls` the
    /// cache's entries. Fuzziness demands the order sessions, ACLs, nodes, each taken no earlier than the one before
    /// (ZOOKEEPER-3145, ZOOKEEPER-3306).
    pub fn create<'a>(
        dir: &Path,
        zxid: i64,
        compression: Compression,
        sessions: &[(i64, i32)],
        acls: impl ExactSizeIterator<Item = (i64, &'a [Acl])>,
    ) -> Result<Self, StoreError> {
        let temporary = dir.join(temporary_name(zxid));
        let file = File::create(&temporary).map_err(StoreError::io("create", &temporary))?;
        let sink = Sink::new(file, compression).map_err(StoreError::io("write to", &temporary))?;
        let target = dir.join(snapshot_name(zxid, compression));
        let out = Some(CheckedWriter::new(sink));
        let mut writer = Self { out, dir: dir.to_owned(), temporary, target, zxid };
        writer.put(&encode_head(sessions, acls))?;
        Ok(writer)
    }

    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// Uncompressed bytes so far.
    pub fn bytes(&self) -> u64 {
        self.out.as_ref().map_or(0, CheckedWriter::bytes)
    }

    /// Appends nodes as [`encode_node`] wrote them, any number at a time. Parents come before their children.
    pub fn nodes(&mut self, encoded: &[u8]) -> Result<(), StoreError> {
        self.put(encoded)
    }

    /// Seals the snapshot, with the trailers of 3.6 and 3.9 if given, and makes it visible and durable.
    pub fn finish(self, tail: SnapshotTail) -> Result<DiskFile, StoreError> {
        let (dir, temporary) = (self.dir.clone(), self.temporary.clone());
        let file = self.complete(tail)?;
        if let Err(e) = fs::rename(&temporary, &file.path) {
            discard(&temporary);
            return Err(StoreError::io("finish", &file.path)(e));
        }
        sync_dir(&dir)?;
        Ok(file)
    }

    /// Seals and syncs the snapshot under its temporary name, which it keeps. Returns what it is to be called.
    pub(crate) fn complete(mut self, tail: SnapshotTail) -> Result<DiskFile, StoreError> {
        let mut end = Writer::new();
        end.string(END_PATH);
        self.put(end.as_slice())?;
        self.seal()?;
        if let Some(digest) = tail.digest {
            let mut w = Writer::new();
            w.i64(digest.zxid);
            w.i32(digest.version);
            w.i64(digest.digest);
            self.put(w.as_slice())?;
            self.seal()?;
        }
        if let Some(zxid) = tail.last_processed_zxid {
            self.put(&zxid.to_be_bytes())?;
            self.seal()?;
        }
        let out = self.out.take().expect("finish consumes the writer");
        if let Err(e) = out.into_inner().finish().and_then(|file| file.sync_all()) {
            discard(&self.temporary);
            return Err(StoreError::io("finish", &self.target)(e));
        }
        sync_dir(&self.dir)?;
        Ok(DiskFile { zxid: self.zxid, path: self.target.clone() })
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let sum = self.out.as_ref().map_or(0, CheckedWriter::checksum);
        let mut w = Writer::new();
        w.i64(sum);
        w.string(END_PATH);
        self.put(w.as_slice())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let out = self.out.as_mut().expect("only finish takes it, and finish consumes the writer");
        out.write_all(bytes).map_err(StoreError::io("write to", &self.temporary))
    }
}

fn discard(temporary: &Path) {
    if let Err(e) = fs::remove_file(temporary) {
        tracing::warn!(path = %temporary.display(), error = %e, "cannot remove an unfinished snapshot");
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.out.is_some() {
            discard(&self.temporary);
        }
    }
}

fn encode_head<'a>(
    sessions: &[(i64, i32)],
    acls: impl ExactSizeIterator<Item = (i64, &'a [Acl])>,
) -> Vec<u8> {
    let mut w = Writer::with_capacity(64 + sessions.len() * 12);
    w.raw(&MAGIC);
    w.i32(VERSION);
    w.i64(DB_ID);
    encode_sessions_and_acls(&mut w, sessions, acls);
    w.into_vec()
}

/// What comes before the nodes, in files and in streams.
pub(super) fn encode_sessions_and_acls<'a>(
    w: &mut Writer,
    sessions: &[(i64, i32)],
    acls: impl ExactSizeIterator<Item = (i64, &'a [Acl])>,
) {
    w.vec(sessions, |w, (id, timeout_ms)| {
        w.i64(*id);
        w.i32(*timeout_ms);
    });
    w.len_prefix(acls.len());
    for (id, list) in acls {
        w.i64(id);
        Acl::encode_list(list, w);
    }
}
