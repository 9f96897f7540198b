//! Data directories change hands: written by Apache ZooKeeper, opened by zoolog, and back, several times.
//!
//! The sessions in the tests live through every change of hands, so session ids, passwords, timeouts and
//! ephemerals are proven by use, and every node with its data, ACL and Stat by a [`Picture`] on either side.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use interop::zookeeper::{Picture, World, settings, world};
use tempfile::TempDir;
use testkit::originals::{four_letter_word, tool_stdout};
use testkit::{Server, ZooKeeper, Zoolog, free_port};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Apache,
    Zoolog,
}
use Holder::{Apache, Zoolog as Ours};

/// One directory, one port, one holder at a time.
struct Relay {
    dir: TempDir,
    port: u16,
    version: ZooKeeper,
    settings: String,
    server: Option<Server>,
}

impl Relay {
    fn new(version: &'static str, more: &str) -> Result<Self> {
        let (dir, port) = (TempDir::new()?, free_port());
        Ok(Self { dir, port, version: ZooKeeper(version), settings: settings(more), server: None })
    }

    fn start(&mut self, holder: Holder) -> Result<()> {
        let (dir, port, settings) = (self.dir.path(), self.port, &self.settings);
        self.server = Some(match holder {
            Apache => self.version.start(dir, port, settings)?,
            Ours => Zoolog::find()?.zookeeper(dir, port, settings)?,
        });
        Ok(())
    }

    fn end(&mut self, gracefully: bool) -> Result<()> {
        world::end(self.server.take().context("nobody holds the directory")?, gracefully)
    }

    /// Hands the directory over; everything a client sees must be the same after it.
    async fn hand_over(&mut self, to: Holder, gracefully: bool, world: &World) -> Result<()> {
        let before = Picture::take(&world.root, self.port).await?;
        self.end(gracefully)?;
        self.start(to)?;
        world.reconnected().await.with_context(|| self.log())?;
        let after = Picture::take(&world.root, self.port).await?;
        let differences = before.differences(&after);
        ensure!(differences.is_empty(), "{:?} after {to:?} took over:\n{differences}", self.version);
        ensure!(before.nodes.len() > 150, "the picture shows {} nodes only", before.nodes.len());
        ensure!(before.sessions.len() == 3, "the sessions are {:?}", before.sessions);
        self.check_digest(to)
    }

    /// From 3.6 on Apache compares the digests in the log with its own tree.
    fn check_digest(&self, holder: Holder) -> Result<()> {
        if holder == Apache && self.version.0 != "3.5.7" {
            let mntr = four_letter_word(self.port, "mntr")?;
            ensure!(mntr.contains("zk_digest_mismatches_count\t0\n"), "Apache's digest differs:\n{mntr}");
        }
        Ok(())
    }

    fn log(&self) -> String {
        self.server.as_ref().map(Server::log_text).unwrap_or_default()
    }

    /// Files of one kind, oldest first.
    fn files(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.dir.path().join("data/version-2"))? {
            let path = entry?.path();
            if let Some(zxid) = zxid_of(&path, prefix) {
                files.push((zxid, path));
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }
}

fn zxid_of(path: &Path, prefix: &str) -> Option<i64> {
    let rest = path.file_name()?.to_str()?.strip_prefix(prefix)?;
    i64::from_str_radix(rest.split('.').next()?, 16).ok()
}

/// The story every version goes through; the last holder is zoolog.
async fn relay(version: &'static str, more: &str) -> Result<Relay> {
    let mut relay = Relay::new(version, more)?;
    relay.start(Apache)?;
    let mut world = World::connect(relay.port).await?;
    world.fill().await?;
    ensure!(
        relay.files("snapshot.")?.len() > 2 && relay.files("log.")?.len() > 2,
        "one snapshot or log only"
    );
    for (to, gracefully) in [(Ours, true), (Apache, true), (Ours, false), (Apache, false), (Ours, true)] {
        relay.hand_over(to, gracefully, &world).await?;
        world.change().await?;
    }
    // A last snapshot behind everything but changes to /many.
    let changed = world.touch_many().await?;
    while relay.files("snapshot.")?.last().and_then(|p| zxid_of(p, "snapshot.")) <= Some(changed) {
        world.touch_many().await?;
    }
    Ok(relay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_3_5_7_and_zoolog_take_over_from_each_other() -> Result<()> {
    let relay = relay("3.5.7", "").await?;
    their_tools_read_our_files(relay, "org.apache.zookeeper.server.LogFormatter")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_3_8_4_and_zoolog_take_over_from_each_other() -> Result<()> {
    let relay = relay("3.8.4", "").await?;
    their_tools_read_our_files(relay, "org.apache.zookeeper.server.persistence.TxnLogToolkit")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_3_9_3_and_zoolog_take_over_from_each_other() -> Result<()> {
    let relay = relay("3.9.3", "").await?;
    their_tools_read_our_files(relay, "org.apache.zookeeper.server.persistence.TxnLogToolkit")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzipped_snapshots_are_taken_over() -> Result<()> {
    compressed("gz").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snappy_snapshots_are_taken_over() -> Result<()> {
    compressed("snappy").await
}

async fn compressed(method: &str) -> Result<()> {
    let mut relay = Relay::new("3.9.3", &format!("snapshot.compression.method={method}"))?;
    relay.start(Apache)?;
    let mut world = World::connect(relay.port).await?;
    world.fill().await?;
    relay.hand_over(Ours, false, &world).await?;
    world.change().await?;
    relay.hand_over(Apache, false, &world).await?;
    let snapshots = relay.files("snapshot.")?;
    let compressed = |p: &&PathBuf| p.extension().is_some_and(|e| e == method);
    ensure!(snapshots.iter().filter(compressed).count() > 3, "not compressed: {snapshots:?}");
    Ok(())
}

/// Apache's offline tools find the same in our snapshot as in the one Apache writes after reading it.
fn their_tools_read_our_files(mut relay: Relay, log_class: &str) -> Result<()> {
    relay.end(false)?;
    let logs = relay.files("log.")?;
    let newest_log = logs.last().context("zoolog wrote a log")?;
    let shown = tool_stdout(&relay.version.name(), log_class, &[&newest_log.to_string_lossy()], b"")?;
    ensure!(shown.contains("EOF reached after"), "{log_class} did not reach the end:\n{shown}");
    ensure!(!shown.contains("CRC"), "{log_class} finds errors:\n{shown}");
    ensure!(shown.contains("setData"), "{log_class} shows no setData:\n{shown}");

    let ours = format_snapshot(&relay)?;
    relay.start(Apache)?; // loads everything, and takes a snapshot
    relay.end(true)?;
    let theirs = format_snapshot(&relay)?;
    // Apache's snapshot holds what was logged after ours, so only what nobody touched since is compared.
    let touched_after =
        |block: &str| ["/many", "Target zxid", "Last zxid"].iter().any(|start| block.contains(start));
    for block in ours.iter().filter(|b| !touched_after(b)) {
        ensure!(theirs.contains(block), "Apache's own snapshot does not show\n{block}");
    }
    for kind in ["/containers/new\n", "/ttl/one\n", "/services/two\n", "/acl/mixed\n", "/multi/c\n"] {
        ensure!(ours.iter().any(|b| b.starts_with(kind)), "{kind} is not in our snapshot");
    }
    ensure!(ours.iter().any(|b| b.starts_with("Session Details")), "no sessions shown");
    Ok(())
}

/// What SnapshotFormatter prints of the newest snapshot, cut into one block a node.
fn format_snapshot(relay: &Relay) -> Result<BTreeSet<String>> {
    let snapshots = relay.files("snapshot.")?;
    let newest = snapshots.last().context("there is a snapshot")?.to_string_lossy().into_owned();
    let class = "org.apache.zookeeper.server.SnapshotFormatter";
    let shown = tool_stdout(&relay.version.name(), class, &[&newest], b"")?;
    // From 3.8 on the tool logs to the same output before it begins.
    let begin = shown.find("ZNode Details").with_context(|| format!("no nodes shown:\n{shown}"))?;
    Ok(shown[begin..].split("----\n").skip(1).map(str::to_owned).collect())
}
