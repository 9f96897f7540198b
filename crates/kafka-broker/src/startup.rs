//! How the broker comes up and goes down.
//!
//! Up: bind (so that a taken port fails at once) → log directories locked → ZooKeeper session → cluster id and broker id,
//! checked against `meta.properties` → topic configurations → logs loaded → registered → controller → requests served.
//! Down: no new connections → requests in flight end → tasks stop → logs closed, clean marker written → session closed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kafka_controller::zkdata::{config_decode, path};
use kafka_log::{LogConfig, LogDirs, LogDirsOptions, LogError, MetaProperties};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};
use zk_client::{ConnectOptions, Events, ZkClient, ZkError};

use crate::broker::Broker;
use crate::config::{Config, Listener, ZooKeeperConfig};
use crate::groups::OFFSETS_TOPIC;
use crate::last_session::LastSession;
use crate::net::listener::{self, BindError, Bound};
use crate::registration::{self, RegistrationError};
use crate::{clock, controller, maintenance, topic_configs};

/// Files of logs kept open at once; the rest are reopened as needed.
const OPEN_FILES_MAX: usize = 4096;

/// How long a stop waits for requests in flight.
const DRAIN_WAIT: Duration = Duration::from_secs(1);
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why the broker did not start. One line each: what, why, what to do.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot reach ZooKeeper at {hosts}: {source}; is it running, and is zookeeper.connect right?")]
    Connect { hosts: String, source: ZkError },
    #[error("ZooKeeper: {0}")]
    ZooKeeper(#[from] ZkError),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error("Configured broker.id {configured} doesn't match stored broker.id {stored} in {}. If you moved your data, make sure your configured broker.id matches; if you intend to create a new broker, remove all data in your data directories (log.dirs).", path.display())]
    InconsistentBrokerId { configured: i32, stored: i32, path: PathBuf },
    #[error(
        "BrokerId is not consistent across log.dirs: {0}. A directory of another broker was mixed in; give each broker its own."
    )]
    MixedBrokerIds(String),
    #[error("The Cluster ID {cluster} doesn't match stored clusterId {stored} in {}. The broker is trying to join the wrong cluster. Configured zookeeper.connect may be wrong; if ZooKeeper's data was lost on purpose, remove the file.", path.display())]
    InconsistentClusterId { cluster: String, stored: String, path: PathBuf },
    #[error("No broker ID found, either broker.id must be set or broker.id.generation.enable must be true")]
    NoBrokerId,
    #[error("loading the logs failed unexpectedly: {0}")]
    Interrupted(String),
}

/// A running broker.
#[derive(Debug)]
pub struct Handle {
    broker: Arc<Broker>,
    acceptors: Vec<JoinHandle<()>>,
    addresses: Vec<(String, SocketAddr)>,
    advertised: Vec<Listener>,
}

/// Starts a broker. Must be called within a tokio runtime with timers and I/O.
pub async fn start(config: Config) -> Result<Handle, StartError> {
    let bound = bind_all(&config)?;
    let logs = LogDirs::prepare(LogDirsOptions {
        dirs: config.logs.dirs.clone(),
        recovery_threads_per_dir: config.logs.recovery_threads_per_dir,
        producer_id_expiration_ms: config.logs.producer_id_expiration_ms,
        open_files_max: OPEN_FILES_MAX,
    })?;
    let last_session = LastSession::in_dir(&config.logs.dirs[0]);
    last_session.close(connect_options(&config.zookeeper)).await;
    let (zk, events) = connect(&config.zookeeper).await?;
    last_session.note(&zk.session());
    let session = zk.clone();
    let outcome = join(config, bound, Arc::new(logs), zk, events).await;
    // What a refused broker has registered must not stand in others' way until its session expires.
    if outcome.is_err() && session.close().await.is_ok() {
        last_session.forget();
    }
    outcome
}

/// From the session to the first request.
async fn join(
    config: Config,
    bound: Vec<Bound>,
    logs: Arc<LogDirs>,
    zk: ZkClient,
    events: Events,
) -> Result<Handle, StartError> {
    let advertised = advertised(&config, &bound);
    let (id, cluster_id) = identify(&config, &logs, &zk).await?;
    let topics = topic_configs(&zk, &config.topic_defaults).await?;
    load_logs(&logs, &topics, &config.topic_defaults).await?;
    info!("Cluster ID = {cluster_id}");
    registration::check_alone(&zk, id).await?;
    let epoch = registration::register(&zk, id, &config, &advertised).await?;
    registration::check_first(&zk, id, epoch).await?;
    let broker = Arc::new(Broker::new(id, cluster_id, config, logs, zk));
    controller::start(&broker, events, advertised.clone()).await?;
    maintenance::start(&broker);
    let addresses = bound.iter().map(|b| (b.listener.name.clone(), b.address)).collect();
    let acceptors =
        bound.into_iter().map(|b| listener::accept(b, broker.clone(), broker.connections.clone())).collect();
    info!("[KafkaServer id={id}] started");
    Ok(Handle { broker, acceptors, addresses, advertised })
}

impl Handle {
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Listener names and the addresses they are bound to.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// What clients are told.
    pub fn advertised(&self) -> &[Listener] {
        &self.advertised
    }

    /// Stops cleanly: what was acknowledged is on disk, and the next start need not scan it.
    pub async fn stop(self) {
        let broker = self.broker;
        info!("[KafkaServer id={}] shutting down", broker.id);
        self.acceptors.iter().for_each(JoinHandle::abort);
        broker.connections.close_all();
        resign_all(&broker);
        drain(&broker).await;
        broker.tasks.stop().await;
        let logs = broker.logs.clone();
        // ZooKeeper-mode brokers of 3.9 write −1 for the epoch.
        match tokio::task::spawn_blocking(move || logs.shutdown(-1, clock::wall_ms())).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                error!("the logs were not closed cleanly, the next start scans them: {failure}")
            }
            Err(failure) => {
                error!("closing the logs failed unexpectedly, the next start scans them: {failure}")
            }
        }
        // Ends the session at once: the next start need not wait for it to expire.
        if let Err(failure) = broker.zk().close().await {
            warn!("the ZooKeeper session was not closed: {failure}; it ends by itself");
        } else {
            LastSession::in_dir(&broker.config.logs.dirs[0]).forget();
        }
        info!("[KafkaServer id={}] shut down completed", broker.id);
    }
}

/// Gives up every lead: what waits is answered, nothing more is appended.
fn resign_all(broker: &Arc<Broker>) {
    for partition in broker.partitions.all() {
        partition.resign();
        if &**partition.topic() == OFFSETS_TOPIC {
            broker.groups.on_resigned(broker, &partition);
        }
    }
}

/// Lets connections finish the request they are at.
async fn drain(broker: &Broker) {
    let deadline = Instant::now() + DRAIN_WAIT;
    while broker.connections.count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(DRAIN_LOOK_EVERY).await;
    }
}

fn bind_all(config: &Config) -> Result<Vec<Bound>, BindError> {
    config.listeners.bind.iter().map(|l| listener::bind(l, &config.network)).collect()
}

/// What is advertised, ports chosen by the system filled in.
fn advertised(config: &Config, bound: &[Bound]) -> Vec<Listener> {
    let fill = |listener: &Listener| {
        let mut listener = listener.clone();
        if listener.port == 0
            && let Some(bound) = bound.iter().find(|b| b.listener.name == listener.name)
        {
            listener.port = bound.address.port();
        }
        listener
    };
    config.listeners.advertised.iter().map(fill).collect()
}

/// Opens a session, making the chroot if it is missing.
pub(crate) async fn connect(config: &ZooKeeperConfig) -> Result<(ZkClient, Events), StartError> {
    let hosts = config.hosts.join(",");
    let failed = |source| StartError::Connect { hosts: hosts.clone(), source };
    if !config.chroot.is_empty() {
        let (root, _events) = ZkClient::connect(connect_options(config).chroot("")).await.map_err(failed)?;
        registration::ensure_path(&root, &config.chroot).await?;
        root.close().await?;
    }
    info!("Connecting to zookeeper on {hosts}{}", config.chroot);
    ZkClient::connect(connect_options(config)).await.map_err(failed)
}

fn connect_options(config: &ZooKeeperConfig) -> ConnectOptions {
    ConnectOptions::new(config.hosts.join(","))
        .chroot(config.chroot.clone())
        .session_timeout_ms(i32::try_from(config.session_timeout_ms).unwrap_or(i32::MAX))
        .connect_timeout_ms(u64::from(config.connection_timeout_ms))
}

/// Broker id and cluster id, agreed between configuration, `meta.properties` and ZooKeeper.
async fn identify(config: &Config, logs: &LogDirs, zk: &ZkClient) -> Result<(i32, String), StartError> {
    registration::create_persistent_paths(zk, config.release).await?;
    let cluster_id = registration::cluster_id(zk).await?;
    let stored = logs.meta_properties()?;
    for (dir, meta) in &stored {
        let known = meta.as_ref().and_then(|meta| meta.cluster_id.as_ref());
        if let Some(stored) = known.filter(|known| **known != cluster_id) {
            return Err(StartError::InconsistentClusterId {
                cluster: cluster_id,
                stored: stored.clone(),
                path: dir.join("meta.properties"),
            });
        }
    }
    let ids: Vec<(&PathBuf, i32)> =
        stored.iter().filter_map(|(dir, meta)| Some((dir, meta.as_ref()?.broker_id?))).collect();
    if let Some((first, rest)) = ids.split_first()
        && rest.iter().any(|(_, id)| *id != first.1)
    {
        let list = ids.iter().map(|(dir, id)| format!("{} -> {id}", dir.display())).collect::<Vec<_>>();
        return Err(StartError::MixedBrokerIds(list.join(", ")));
    }
    let id = match (config.broker_id, ids.first()) {
        (Some(configured), Some((dir, stored))) if configured != *stored => {
            return Err(StartError::InconsistentBrokerId {
                configured,
                stored: *stored,
                path: dir.join("meta.properties"),
            });
        }
        (Some(id), _) => id,
        (None, Some((_, id))) => *id,
        (None, None) if config.broker_id_generation => {
            registration::generate_broker_id(zk, config.reserved_broker_id_max).await?
        }
        (None, None) => return Err(StartError::NoBrokerId),
    };
    let meta =
        MetaProperties { broker_id: Some(id), cluster_id: Some(cluster_id.clone()), directory_id: None };
    logs.write_meta_properties(&meta, clock::wall_ms())?;
    Ok((id, cluster_id))
}

/// Configurations of all topics, for loading their logs. Reads are pipelined.
pub(crate) async fn topic_configs(
    zk: &ZkClient,
    defaults: &LogConfig,
) -> Result<BTreeMap<String, Arc<LogConfig>>, ZkError> {
    let names = zk.get_children("/config/topics", false).await?;
    let reads: Vec<_> =
        names.into_iter().map(|name| (zk.get_data(&path::config("topics", &name), false), name)).collect();
    let mut configs = BTreeMap::new();
    for (read, name) in reads {
        match read.await {
            Ok((data, _)) => {
                drop(configs.insert(name.clone(), topic_config(&name, data.as_deref(), defaults)))
            }
            Err(error) if error.is(zk_client::ErrorCode::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(configs)
}

/// A topic's configuration from its znode; what cannot be used is left at its default and named.
pub(crate) fn topic_config(topic: &str, data: Option<&[u8]>, defaults: &LogConfig) -> Arc<LogConfig> {
    let mut overrides = match config_decode(data) {
        Ok(overrides) => overrides,
        Err(error) => {
            warn!("configuration of topic {topic}: {error}; its defaults are used");
            BTreeMap::new()
        }
    };
    overrides.retain(|name, value| {
        let usable = LogConfig::check_value(name, value);
        if let Err(error) = &usable {
            warn!("configuration of topic {topic}: {error}; the default is used");
        }
        usable.is_ok()
    });
    let idle = topic_configs::without_effect(&overrides);
    if !idle.is_empty() {
        warn!("configuration of topic {topic}: {} set and without effect in this release", idle.join(", "));
    }
    match defaults.with_overrides(overrides.iter().map(|(k, v)| (k.as_str(), v.as_str()))) {
        Ok(config) => Arc::new(config),
        Err(error) => {
            warn!("configuration of topic {topic}: {error}; its defaults are used");
            Arc::new(defaults.clone())
        }
    }
}

async fn load_logs(
    logs: &Arc<LogDirs>,
    topics: &BTreeMap<String, Arc<LogConfig>>,
    defaults: &LogConfig,
) -> Result<(), StartError> {
    let (logs, topics, defaults) = (logs.clone(), topics.clone(), Arc::new(defaults.clone()));
    let load = move || logs.load(|topic| topics.get(topic).unwrap_or(&defaults).clone(), clock::wall_ms());
    tokio::task::spawn_blocking(load)
        .await
        .map_err(|error| StartError::Interrupted(error.to_string()))?
        .map_err(StartError::Log)
}
