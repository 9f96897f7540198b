//! Snapshots while serving: the tree is read in chunks between requests, a thread writes them, or a learner's link
//! sends them.
//!
//! Memory is bounded by the chunks on their way. The snapshot is fuzzy: changes go on while it is read, and
//! replaying the log from its zxid repairs what it caught half of.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use zk_proto::Writer;
use zk_proto::txn::DIGEST_VERSION;
use zk_store::{
    Compression, DataDir, SnapshotTail, SnapshotWriter, StoreError, ZxidDigest, encode_node, stream_end,
    stream_head,
};
use zk_tree::{SnapshotCursor, SnapshotHead, Tree};

use crate::config::Config;
use crate::disk::DirectoryLock;
use crate::ensemble::outgoing::Chunks;
use crate::server::Server;

/// Nodes read at a time: some tens of microseconds in which no request is served.
const CHUNK_NODES: usize = 64;

/// A chunk is handed over when it has grown to this size.
const CHUNK_BYTES: usize = 256 * 1024;

/// The same on a link, where the reading is not interrupted within a chunk.
const SENT_CHUNK_BYTES: usize = 64 * 1024;

/// Chunks on their way to the thread.
const CHUNKS_MAX: usize = 4;

/// Whether a snapshot is being taken.
#[derive(Default)]
pub(crate) struct Snapshots {
    busy: Cell<bool>,
    /// The last one's writer.
    thread: Cell<Option<JoinHandle<()>>>,
    /// Counts cancellations; a snapshot that began under an older count is given up.
    cancelled: Cell<u64>,
    /// Histories being replaced: until the new tree is there, none is begun.
    replacing: Cell<usize>,
}

enum Part {
    Nodes(Vec<u8>),
    End(SnapshotTail),
}

impl Snapshots {
    /// Waits for the writer, which holds the directory's lock. Whoever sends it parts must be gone.
    pub(crate) fn join(&self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the snapshot thread panicked");
        }
    }

    /// Gives up the one that is being taken.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(self.cancelled.get() + 1);
    }

    /// The history is about to be replaced; [`Snapshots::replaced`] says when that is over.
    pub(crate) fn replacing(&self) {
        self.cancel();
        self.replacing.set(self.replacing.get() + 1);
    }

    pub(crate) fn replaced(&self) {
        self.replacing.set(self.replacing.get().saturating_sub(1));
    }

    /// Begins one in the background, unless one is being taken.
    pub(crate) fn begin(&self, server: &Rc<Server>) {
        if self.replacing.get() > 0 {
            return;
        }
        if self.busy.replace(true) {
            tracing::warn!("a snapshot is due while the last one is still being written; skipping it");
            return;
        }
        let server = server.clone();
        tokio::task::spawn_local(async move {
            let started = Instant::now();
            let outcome = take(&server).await;
            server.snapshots.busy.set(false);
            let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut member = server.member.borrow_mut();
            let node = member.node_mut();
            match outcome {
                Ok(Some(zxid)) => {
                    node.stats_mut().snapshot_time.add(took_ms);
                    tracing::info!(zxid = format_args!("0x{zxid:x}"), took_ms, "snapshot taken");
                }
                Ok(None) => {
                    tracing::info!("a snapshot was given up: this server's role has changed under it")
                }
                Err(error) => {
                    node.stats_mut().snapshot_errors += 1;
                    tracing::error!(
                        "snapshot failed: {error}. The log keeps every transaction; the next try follows"
                    );
                }
            }
        });
    }
}

/// `None` if it was given up.
async fn take(server: &Rc<Server>) -> Result<Option<i64>, StoreError> {
    let began = server.snapshots.cancelled.get();
    let is_cancelled = || server.snapshots.cancelled.get() != began;
    let head = server.member.borrow().node().tree().snapshot_head();
    let zxid = head.last_zxid;
    let (parts, from_server) = mpsc::channel(CHUNKS_MAX);
    let (done, outcome) = oneshot::channel();
    let (data, compression) = (server.data.clone(), server.config.snapshot_compression);
    let busy = server.directory_lock.clone();
    let thread = thread::Builder::new()
        .name("zk-snapshot".to_owned())
        .spawn(move || drop(done.send(write(&data, &busy, &head, compression, from_server))))
        .map_err(|source| StoreError::Io {
            what: "start a thread to write to",
            path: server.data.snap_dir().to_owned(),
            source,
        })?;
    server.snapshots.thread.set(Some(thread));
    let mut cursor = SnapshotCursor::default();
    let mut chunk = Writer::new();
    while !cursor.is_done() && !is_cancelled() {
        encode_chunk(server.member.borrow().node().tree(), &mut cursor, &mut chunk);
        if chunk.len() >= CHUNK_BYTES || cursor.is_done() {
            // A closed channel means that the thread failed; its outcome says why.
            let _ = parts.send(Part::Nodes(std::mem::take(&mut chunk).into_vec())).await;
        }
        tokio::task::yield_now().await;
    }
    if !is_cancelled() {
        let end = tail(server.member.borrow().node().tree(), &server.config);
        // Without a place in the channel the tree might be another one by the time there is.
        if let Ok(place) = parts.reserve().await
            && !is_cancelled()
        {
            place.send(Part::End(end));
        }
    }
    drop(parts);
    let outcome = outcome.await;
    // The thread is at its end. It must not outlive the server, for it holds the directory's lock.
    server.snapshots.join();
    match outcome {
        Ok(written) => written.map(|is_whole| is_whole.then_some(zxid)),
        Err(_) => Err(StoreError::Poisoned("the snapshot thread ended unexpectedly".to_owned())),
    }
}

/// A snapshot on the calling thread, before anything is served.
pub(crate) fn take_now(data: &DataDir, tree: &Tree, config: &Config) -> Result<(), StoreError> {
    let (writer, tail) = write_whole(data, tree, config)?;
    writer.finish(tail).map(drop)
}

/// A tree that does not change, written whole and not finished.
pub(crate) fn write_whole(
    data: &DataDir,
    tree: &Tree,
    config: &Config,
) -> Result<(SnapshotWriter, SnapshotTail), StoreError> {
    let head = tree.snapshot_head();
    let mut writer = begin(data, &head, config.snapshot_compression)?;
    let mut cursor = SnapshotCursor::default();
    while !cursor.is_done() {
        let mut chunk = Writer::new();
        encode_chunk(tree, &mut cursor, &mut chunk);
        writer.nodes(chunk.as_slice())?;
    }
    Ok((writer, tail(tree, config)))
}

/// The tree as a leader sends it to a learner, read piece by piece as the learner takes it.
pub(crate) fn stream(server: Weak<Server>) -> Chunks {
    let mut cursor = None;
    let mut is_over = false;
    Box::new(move || {
        let server = server.upgrade().filter(|_| !is_over)?;
        let member = server.member.borrow();
        let tree = member.node().tree();
        let Some(cursor) = &mut cursor else {
            cursor = Some(SnapshotCursor::default());
            let head = tree.snapshot_head();
            return Some(stream_head(&head.sessions, head.acls.iter().map(|(id, list)| (*id, &list[..]))));
        };
        if cursor.is_done() {
            is_over = true;
            return Some(stream_end());
        }
        let mut chunk = Writer::new();
        while !cursor.is_done() && chunk.len() < SENT_CHUNK_BYTES {
            encode_chunk(tree, cursor, &mut chunk);
        }
        Some(chunk.into_vec())
    })
}

fn encode_chunk(tree: &Tree, cursor: &mut SnapshotCursor, chunk: &mut Writer) {
    tree.snapshot_chunk(cursor, CHUNK_NODES, &mut |path, data, acl, stat| {
        encode_node(chunk, path, data.map(|d| &d[..]), acl, stat);
    });
}

/// False if it was not finished: the unfinished file is removed.
fn write(
    data: &Arc<DataDir>,
    busy: &DirectoryLock,
    head: &SnapshotHead,
    compression: Compression,
    mut parts: mpsc::Receiver<Part>,
) -> Result<bool, StoreError> {
    let _alone = busy.lock();
    let mut writer = begin(data, head, compression)?;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Nodes(bytes) => writer.nodes(&bytes)?,
            Part::End(tail) => return writer.finish(tail).map(|_| true),
        }
    }
    Ok(false)
}

fn begin(
    data: &DataDir,
    head: &SnapshotHead,
    compression: Compression,
) -> Result<SnapshotWriter, StoreError> {
    let acls = head.acls.iter().map(|(id, list)| (*id, &list[..]));
    data.begin_snapshot(head.last_zxid, compression, &head.sessions, acls)
}

/// The trailers hold the moment the last node was read, which is later than the file's name.
fn tail(tree: &Tree, config: &Config) -> SnapshotTail {
    let zxid = tree.last_zxid();
    let digest = tree.config().digest_enabled.then(|| ZxidDigest {
        zxid,
        version: DIGEST_VERSION,
        digest: tree.digest(),
    });
    SnapshotTail { digest, last_processed_zxid: config.serialize_last_processed_zxid.then_some(zxid) }
}
