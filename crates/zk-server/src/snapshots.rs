//! Snapshots while serving: the tree is read in chunks between requests, a thread writes them.
//!
//! Memory is bounded by the chunks on their way. The snapshot is fuzzy: changes go on while it is read, and
//! replaying the log from its zxid repairs what it caught half of.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use zk_proto::Writer;
use zk_proto::txn::DIGEST_VERSION;
use zk_store::{Compression, DataDir, SnapshotTail, SnapshotWriter, StoreError, ZxidDigest, encode_node};
use zk_tree::{SnapshotCursor, SnapshotHead, Tree};

use crate::config::Config;
use crate::server::Server;

/// Nodes read at a time: some tens of microseconds in which no request is served.
const CHUNK_NODES: usize = 64;

/// A chunk is handed over when it has grown to this size.
const CHUNK_BYTES: usize = 256 * 1024;

/// Chunks on their way to the thread.
const CHUNKS_MAX: usize = 4;

/// Whether a snapshot is being taken.
#[derive(Default)]
pub(crate) struct Snapshots {
    busy: Cell<bool>,
    /// The last one's writer.
    thread: Cell<Option<JoinHandle<()>>>,
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

    /// Begins one in the background, unless one is being taken.
    pub(crate) fn begin(&self, server: &Rc<Server>) {
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
            let mut node = server.node.borrow_mut();
            match outcome {
                Ok(zxid) => {
                    node.stats_mut().snapshot_time.add(took_ms);
                    tracing::info!(zxid = format_args!("0x{zxid:x}"), took_ms, "snapshot taken");
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

async fn take(server: &Rc<Server>) -> Result<i64, StoreError> {
    let head = server.node.borrow().tree().snapshot_head();
    let zxid = head.last_zxid;
    let (parts, from_server) = mpsc::channel(CHUNKS_MAX);
    let (done, outcome) = oneshot::channel();
    let (data, compression) = (server.data.clone(), server.config.snapshot_compression);
    let thread = thread::Builder::new()
        .name("zk-snapshot".to_owned())
        .spawn(move || drop(done.send(write(&data, &head, compression, from_server))))
        .map_err(|source| StoreError::Io {
            what: "start a thread to write to",
            path: server.data.snap_dir().to_owned(),
            source,
        })?;
    server.snapshots.thread.set(Some(thread));
    let mut cursor = SnapshotCursor::default();
    let mut chunk = Writer::new();
    while !cursor.is_done() {
        encode_chunk(server.node.borrow().tree(), &mut cursor, &mut chunk);
        if chunk.len() >= CHUNK_BYTES || cursor.is_done() {
            // A closed channel means that the thread failed; its outcome says why.
            let _ = parts.send(Part::Nodes(std::mem::take(&mut chunk).into_vec())).await;
        }
        tokio::task::yield_now().await;
    }
    let end = tail(server.node.borrow().tree(), &server.config);
    let _ = parts.send(Part::End(end)).await;
    drop(parts);
    let outcome = outcome.await;
    // The thread is at its end. It must not outlive the server, for it holds the directory's lock.
    server.snapshots.join();
    match outcome {
        Ok(written) => written.map(|()| zxid),
        Err(_) => Err(StoreError::Poisoned("the snapshot thread ended unexpectedly".to_owned())),
    }
}

/// A snapshot on the calling thread, before anything is served.
pub(crate) fn take_now(data: &DataDir, tree: &Tree, config: &Config) -> Result<(), StoreError> {
    let head = tree.snapshot_head();
    let mut writer = begin(data, &head, config.snapshot_compression)?;
    let mut cursor = SnapshotCursor::default();
    while !cursor.is_done() {
        let mut chunk = Writer::new();
        encode_chunk(tree, &mut cursor, &mut chunk);
        writer.nodes(chunk.as_slice())?;
    }
    writer.finish(tail(tree, config)).map(drop)
}

fn encode_chunk(tree: &Tree, cursor: &mut SnapshotCursor, chunk: &mut Writer) {
    tree.snapshot_chunk(cursor, CHUNK_NODES, &mut |path, data, acl, stat| {
        encode_node(chunk, path, data.map(|d| &d[..]), acl, stat);
    });
}

fn write(
    data: &Arc<DataDir>,
    head: &SnapshotHead,
    compression: Compression,
    mut parts: mpsc::Receiver<Part>,
) -> Result<(), StoreError> {
    let mut writer = begin(data, head, compression)?;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Nodes(bytes) => writer.nodes(&bytes)?,
            Part::End(tail) => return writer.finish(tail).map(drop),
        }
    }
    // The server stops: the unfinished file is removed.
    Ok(())
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
