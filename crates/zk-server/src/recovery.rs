//! From the data directory to a tree, before anything is served.

use std::time::Instant;

use zk_store::{
    DataDir, Distrust, Entries, Epochs, RecoverOptions, Recovery, RecoveryEvent, SnapshotPart, StoreError,
};
use zk_tree::{AuthRules, Tree, TreeBuilder, TreeConfig};

use crate::config::Config;
use crate::four_letter::mntr::Startup;
use crate::snapshots;

/// What the tree is told of the settings.
pub(crate) fn tree_config(config: &Config) -> TreeConfig {
    TreeConfig {
        extended_types_enabled: config.extended_types_enabled,
        digest_enabled: config.digest_enabled,
        enforce_quota: config.enforce_quota,
        emulate_353_ttl_nodes: config.emulate_353_ttl_nodes,
        close_session_txn_enabled: config.close_session_txn_enabled,
        auth: AuthRules {
            skip_acl: config.skip_acl,
            digest_disabled: !config.digest_auth_enabled,
            super_digest: config.super_digest.clone(),
            ..AuthRules::default()
        },
    }
}

/// What the disk holds.
pub(crate) struct Recovered {
    pub(crate) tree: Tree,
    pub(crate) last_zxid: i64,
    /// The newest transactions, for learners that are a little behind.
    pub(crate) recent: Entries,
    pub(crate) startup: Startup,
}

/// Loads the newest snapshot and replays the log over it. A directory without a snapshot gets one, since a log
/// alone is refused at the next start (ZOOKEEPER-3056).
pub(crate) fn recover(data: &DataDir, config: &Config) -> Result<Recovered, StoreError> {
    let started = Instant::now();
    let mut loading = Loading::new(tree_config(config));
    let recovery = data.recover(&options(config), &mut |event| loading.take(event))?;
    finish(data, config, loading, recovery, started)
}

/// The same for a server of an ensemble: what is damaged is set aside, and then there is a reason not to trust the
/// history.
pub(crate) fn recover_member(
    data: &DataDir,
    config: &Config,
) -> Result<(Recovered, Epochs, Option<Distrust>), StoreError> {
    let started = Instant::now();
    let mut loading = Loading::new(tree_config(config));
    let found = data.recover_or_set_aside(&options(config), &mut |event| loading.take(event))?;
    if let Some(distrust) = &found.distrust {
        tell(distrust);
    }
    let recovered = finish(data, config, loading, found.recovery, started)?;
    Ok((recovered, found.epochs, found.distrust))
}

/// What was wrong with the directory, and what that means.
fn tell(distrust: &Distrust) {
    const MEANS: &str = "This server neither votes nor counts in a quorum until a leader has synchronised it";
    let why = &distrust.why;
    match &distrust.damage {
        Some(damage) => {
            let places: Vec<String> = damage.moved_to.iter().map(|dir| dir.display().to_string()).collect();
            tracing::error!("{why}. What was there is kept in {}. {MEANS}", places.join(" and "));
        }
        None => tracing::warn!("{why}. {MEANS}"),
    }
}

fn options(config: &Config) -> RecoverOptions {
    RecoverOptions {
        trust_empty_snapshot: config.snapshot_trust_empty,
        recent_max: config.ensemble.as_ref().map_or(0, |e| e.commit_log_count),
        db_autocreate: config.ensemble.as_ref().is_none_or(|e| e.db_autocreate),
        ..Default::default()
    }
}

fn finish(
    data: &DataDir,
    config: &Config,
    loading: Loading,
    recovery: Recovery,
    started: Instant,
) -> Result<Recovered, StoreError> {
    let snapshot_load_ms = loading.snapshot_ms(started);
    let tree = loading
        .finish(recovery.last_zxid.max(0))
        .map_err(|why| StoreError::Refused { path: data.snap_dir().to_owned(), why })?;
    if recovery.needs_snapshot {
        snapshots::take_now(data, &tree, config)?;
    }
    let init_ms = millis(started);
    tracing::info!(
        dir = %data.snap_dir().display(),
        zxid = format_args!("0x{:x}", tree.last_zxid()),
        nodes = tree.node_count(),
        transactions = recovery.txns,
        took_ms = init_ms,
        "state recovered"
    );
    let startup = Startup {
        snapshot_load_ms,
        txns_load_ms: init_ms.saturating_sub(snapshot_load_ms),
        txns_loaded: recovery.txns,
        init_ms,
    };
    Ok(Recovered { tree, last_zxid: recovery.last_zxid, recent: recovery.recent, startup })
}

/// Adds a part to a tree in the making.
pub(crate) fn build(builder: &mut TreeBuilder, part: SnapshotPart) -> Result<(), String> {
    match part {
        SnapshotPart::Session { id, timeout_ms } => builder.session(id, timeout_ms),
        SnapshotPart::Acl { id, list } => builder.acl(id, &list),
        SnapshotPart::Node { path, data, acl, stat } => {
            builder.node(&path, data, acl, stat).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The state in the making: a snapshot's parts, then transactions.
struct Loading {
    config: TreeConfig,
    builder: Option<TreeBuilder>,
    tree: Option<Tree>,
    snapshot_done: Option<Instant>,
}

impl Loading {
    fn new(config: TreeConfig) -> Self {
        Self { config, builder: None, tree: None, snapshot_done: None }
    }

    fn take(&mut self, event: RecoveryEvent) -> Result<(), String> {
        match event {
            RecoveryEvent::Reset => {
                self.builder = None;
                self.tree = None;
            }
            RecoveryEvent::Part(part) => self.take_part(part)?,
            RecoveryEvent::Txn { entry, .. } => {
                let tree = self.tree(entry.header.zxid - 1)?;
                tree.apply(&entry.header, &entry.txn, &mut Vec::new());
            }
        }
        Ok(())
    }

    fn take_part(&mut self, part: SnapshotPart) -> Result<(), String> {
        let config = &self.config;
        let builder = self.builder.get_or_insert_with(|| TreeBuilder::new(config.clone()));
        build(builder, part)
    }

    /// The tree the snapshot made, or a new one if there was none.
    fn tree(&mut self, snapshot_zxid: i64) -> Result<&mut Tree, String> {
        if self.tree.is_none() {
            self.snapshot_done = Some(Instant::now());
            self.tree = Some(match self.builder.take() {
                Some(builder) => builder.finish(snapshot_zxid).map_err(|e| e.to_string())?,
                None => Tree::new(self.config.clone()),
            });
        }
        self.tree.as_mut().ok_or_else(|| "no tree".to_owned())
    }

    fn snapshot_ms(&self, started: Instant) -> u64 {
        let done = self.snapshot_done.unwrap_or_else(Instant::now);
        u64::try_from(done.duration_since(started).as_millis()).unwrap_or(u64::MAX)
    }

    fn finish(mut self, last_zxid: i64) -> Result<Tree, String> {
        self.tree(last_zxid)?;
        self.tree.ok_or_else(|| "no tree".to_owned())
    }
}
