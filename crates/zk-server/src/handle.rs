//! Starting a server and holding on to it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::MissedTickBehavior;
use zk_node::{Member, Node, Options};
use zk_store::{DataDir, DataDirOptions, TxnLogOptions};
use zk_zab::Stable;

use crate::clock::Clock;
use crate::config::{Config, Ensemble};
use crate::config_files::ConfigWriter;
use crate::disk::{DirectoryLock, Disk, entries};
use crate::ensemble::sockets::{Binding, QuorumPorts};
use crate::error::{ServerError, StartError};
use crate::four_letter::mntr::Startup;
use crate::listener;
use crate::log_thread::{self, Batching, LogQueue, LogReport};
use crate::purge::purge;
use crate::recovery::{Recovered, recover, recover_member};
use crate::server::Server;

/// Session ids of a standalone server begin with this byte, as Apache's do.
const STANDALONE_SESSION_BYTE: u8 = 1;

/// Longest time between two looks at the clock.
const TICK_MS_MAX: u64 = 1000;

/// The same in an ensemble, without a leader and with one.
const LOOKING_TICK_MS: u64 = 50;
const ENSEMBLE_TICK_MS_MAX: u64 = 200;

/// How long a server that stops waits for the ensemble to decide what its clients have asked for.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// How long a purge that runs while the server stops may take.
const PURGE_GRACE: Duration = Duration::from_secs(5);

/// How a server is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Serve,
    /// Log what is on its way, answer it, then end.
    Stop,
    /// End at once.
    Abort,
}

type Outcome = Option<Result<(), ServerError>>;

/// A running server. Dropping it stops the server without waiting.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    order: watch::Sender<Order>,
    outcome: watch::Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the data directory, takes the port, recovers the state, and serves. Returns when clients can connect.
pub fn start(config: Config) -> Result<Handle, StartError> {
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let (order, orders) = watch::channel(Order::Serve);
    let (ended, outcome) = watch::channel(None);
    let (started, start) = std_mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("zk-server".to_owned())
        .spawn(move || {
            let result = match prepare(config) {
                Ok(prepared) => {
                    // The caller waits for this; if it is gone, its Handle's drop has ordered a stop.
                    let _ = started.send(Ok(prepared.address));
                    prepared.run(orders)
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                    Ok(())
                }
            };
            let _ = ended.send(Some(result));
        })
        .map_err(StartError::Thread)?;
    match start.recv() {
        Ok(Ok(address)) => Ok(Handle { address, order, outcome, thread: Some(thread) }),
        Ok(Err(error)) => {
            // The thread is at its end; after this the directory is free again.
            let _ = thread.join();
            Err(error)
        }
        Err(_) => Err(StartError::Thread(io::Error::other("the server thread ended while starting"))),
    }
}

impl Handle {
    /// Where clients connect; the real port if `clientPort` was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the server to end: what clients were promised is on disk and answered first.
    pub fn stop(&self) {
        self.order.send_if_modified(|order| std::mem::replace(order, Order::Stop) == Order::Serve);
    }

    /// Ends the server as a crash would: nothing more is logged or answered. For tests.
    pub fn abort(mut self) {
        self.order.send_replace(Order::Abort);
        self.join();
    }

    /// Waits until the server has ended, on this thread.
    pub fn wait(mut self) -> Result<(), ServerError> {
        self.join();
        self.outcome.borrow().clone().unwrap_or(Err(ServerError::Thread))
    }

    /// The same for async callers; the server may be stopped meanwhile.
    pub async fn ended(&self) -> Result<(), ServerError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(ServerError::Thread)),
            Err(_) => Err(ServerError::Thread),
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the server thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Everything that can fail is done; what is left is to serve.
struct Prepared {
    address: SocketAddr,
    listener: StdListener,
    ports: Option<QuorumPorts>,
    runtime: Runtime,
    config: Config,
    member: Member,
    data: Arc<DataDir>,
    log: LogQueue,
    directory_lock: DirectoryLock,
    reports: mpsc::Receiver<LogReport>,
    log_thread: JoinHandle<()>,
    clock: Clock,
    startup: Startup,
}

/// The order gives the clearest error first: the directory, the ports, then what is in the directory.
fn prepare(config: Config) -> Result<Prepared, StartError> {
    let data = DataDir::open(&DataDirOptions {
        autocreate: config.datadir_autocreate,
        log_dir: (config.data_log_dir != config.data_dir).then(|| config.data_log_dir.clone()),
        ..DataDirOptions::new(&config.data_dir)
    })?;
    let listener =
        listener::bind(config.client_host.as_deref(), config.client_port, config.client_port_listen_backlog)?;
    let address = listener.local_addr().map_err(|source| StartError::Listen {
        address: SocketAddr::from(([0, 0, 0, 0], config.client_port)),
        source,
    })?;
    let ports = config.ensemble.as_ref().and_then(|e| {
        let binding = Binding::new(e, config.client_port_listen_backlog);
        e.me().map(|me| binding.take(me))
    });
    let ports = ports.transpose()?;
    let clock = Clock::start();
    let data = Arc::new(data);
    let state = State::load(&data, &config, clock)?;
    let options = TxnLogOptions {
        prealloc_bytes: config.pre_alloc_bytes,
        size_limit_bytes: config.txn_log_size_limit_bytes,
        force_sync: config.force_sync,
        fsync_warning: Duration::from_millis(config.fsync_warning_threshold_ms),
    };
    let directory_lock = DirectoryLock::default();
    let disk = Disk::open(data.clone(), config.clone(), options, directory_lock.clone(), state.is_untrusted)?;
    let batching =
        Batching { max: config.max_batch_size, delay: Duration::from_millis(config.flush_delay_ms) };
    let (log, reports, log_thread) = log_thread::start(disk, batching).map_err(StartError::Thread)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let State { member, startup, .. } = state;
    Ok(Prepared {
        address,
        listener,
        ports,
        runtime,
        config,
        member,
        data,
        log,
        directory_lock,
        reports,
        log_thread,
        clock,
        startup,
    })
}

/// What the disk holds, and who this server is by it.
struct State {
    member: Member,
    startup: Startup,
    /// The history was damaged and is set aside.
    is_untrusted: bool,
}

impl State {
    fn load(data: &DataDir, config: &Config, clock: Clock) -> Result<Self, StartError> {
        let options = node_options(config);
        let Some(ensemble) = &config.ensemble else {
            let Recovered { tree, startup, .. } = recover(data, config)?;
            let member = Member::alone(Node::new(options, tree, clock.now()));
            return Ok(Self { member, startup, is_untrusted: false });
        };
        if let Some(files) = ensemble.files.as_ref().filter(|files| !files.is_split) {
            back_up(&ConfigWriter::new(files, ensemble.sid));
        }
        let (recovered, epochs, distrust) = recover_member(data, config)?;
        let is_untrusted = distrust.is_some();
        let stable = Stable {
            accepted_epoch: epochs.accepted,
            // An empty history belongs to no epoch. When a leader has synchronised it, its epoch is written anew, and
            // with it that the history is to be trusted.
            current_epoch: if is_untrusted { 0 } else { epochs.current },
            last_zxid: Some(recovered.last_zxid).filter(|_| !is_untrusted),
            recent: entries(recovered.recent),
            config: ensemble.servers.clone(),
            last_seen_config: ensemble.last_seen.clone(),
        };
        let zab = zab_options(config, ensemble, options.seed);
        let member = Member::new(options, zab, stable, recovered.tree, clock.now());
        Ok(Self { member, startup: recovered.startup, is_untrusted })
    }
}

fn back_up(writer: &ConfigWriter) {
    if let Err(error) = writer.back_up() {
        tracing::error!(%error, "cannot keep a copy of the configuration file before it is rewritten");
    }
}

fn zab_options(config: &Config, ensemble: &Ensemble, seed: u64) -> zk_zab::Options {
    zk_zab::Options {
        tick_ms: u64::try_from(config.tick_time_ms).unwrap_or(1),
        init_limit: ensemble.init_limit,
        sync_limit: ensemble.sync_limit,
        commit_log_count: ensemble.commit_log_count,
        reconfig_enabled: config.reconfig_enabled,
        notification_min_ms: ensemble.notification_min_ms,
        notification_max_ms: ensemble.notification_max_ms,
        seed,
        ..zk_zab::Options::new(ensemble.sid)
    }
}

fn node_options(config: &Config) -> Options {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let sid = config.ensemble.as_ref().map(|e| e.sid);
    Options {
        tick_ms: i64::from(config.tick_time_ms),
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        max_client_cnxns: config.max_client_cnxns,
        max_cnxns: config.max_cnxns,
        sessionless_timeout_ms: config.sessionless_timeout_ms,
        global_outstanding_limit: config.global_outstanding_limit as usize,
        snap_count: config.snap_count,
        snap_size_limit_bytes: config.snap_size_limit_bytes,
        reconfig_enabled: config.reconfig_enabled,
        container_check_interval_ms: config.container_check_interval_ms,
        container_max_per_minute: config.container_max_per_minute,
        container_max_never_used_ms: config.container_max_never_used_ms,
        seed: u64::from(wall.subsec_nanos()) ^ u64::from(std::process::id()) << 32,
        standalone_enabled: config.standalone_enabled,
        read_only_enabled: config.ensemble.as_ref().is_some_and(|e| e.read_only_mode),
        // The low byte, as `SessionTrackerImpl.initializeNextSessionId` has it.
        server_id: sid.map_or(STANDALONE_SESSION_BYTE, |sid| sid.to_le_bytes()[0]),
    }
}

impl Prepared {
    /// Serves until told to end or unable to go on.
    fn run(self, orders: watch::Receiver<Order>) -> Result<(), ServerError> {
        let log = self.log.clone();
        let data = self.data.clone();
        let disk = (self.log, self.directory_lock);
        let server = Server::new(self.config, self.member, self.data, disk, self.clock, self.startup);
        let local = LocalSet::new();
        let result = self.runtime.block_on(local.run_until(serve(
            server.clone(),
            self.listener,
            self.ports,
            self.reports,
            orders,
        )));
        // Connections and tasks go first, then the threads that write, then the lock on the directory.
        drop(local);
        server.snapshots.join();
        drop(server);
        log.abandon();
        if self.log_thread.join().is_err() {
            tracing::error!("the log thread panicked");
        }
        self.runtime.shutdown_timeout(PURGE_GRACE);
        drop(data);
        result
    }
}

async fn serve(
    server: Rc<Server>,
    listener: StdListener,
    ports: Option<QuorumPorts>,
    mut reports: mpsc::Receiver<LogReport>,
    mut orders: watch::Receiver<Order>,
) -> Result<(), ServerError> {
    announce(&server, &listener);
    let port_failed = |error| {
        tracing::error!(%error, "a port cannot be served");
        ServerError::Thread
    };
    let listener = TcpListener::from_std(listener).map_err(port_failed)?;
    let mut handing_over = spawn_local(server.clone().hand_over());
    if let (Some(ensemble), Some(ports)) = (&server.ensemble, ports) {
        ensemble.listen(ports).map_err(port_failed)?;
    }
    server.accept_clients(listener);
    let mut ticking = spawn_local(tick(server.clone()));
    spawn_local(purge(server.clone()));
    let order = loop {
        tokio::select! {
            report = reports.recv() => on_report(&server, report)?,
            order = orders.wait_for(|order| *order != Order::Serve) => break order.map_or(Order::Stop, |o| *o),
            _ = &mut handing_over => return Err(ServerError::Thread),
            _ = &mut ticking => return Err(ServerError::Thread),
            error = server.failed() => return Err(error),
        }
    };
    server.stop_accepting();
    if order == Order::Stop {
        server.stop_reading();
        if server.ensemble.is_some() {
            last_answers(&server, &mut reports).await?;
        }
        server.close_log();
        while let Some(report) = reports.recv().await {
            on_report(&server, Some(report))?;
        }
    }
    server.cut_all();
    Ok(())
}

fn announce(server: &Server, listener: &StdListener) {
    let Ok(address) = listener.local_addr() else { return };
    match &server.ensemble {
        None => tracing::info!(
            "serving ZooKeeper clients on {address} (standalone); the port is open to all who reach it"
        ),
        Some(ensemble) => tracing::info!(
            "server {} of {}: ZooKeeper clients are served on {address} as soon as a leader is known; the ports are \
             open to all who reach them",
            ensemble.settings.sid,
            ensemble.settings.servers.members.len()
        ),
    }
}

/// What clients have asked for already is decided by the ensemble; it gets a moment for it.
async fn last_answers(
    server: &Rc<Server>,
    reports: &mut mpsc::Receiver<LogReport>,
) -> Result<(), ServerError> {
    let deadline = tokio::time::Instant::now() + LAST_ANSWERS;
    while server.outstanding() > 0 {
        let Ok(report) = tokio::time::timeout_at(deadline, reports.recv()).await else { break };
        on_report(server, report)?;
    }
    Ok(())
}

fn on_report(server: &Rc<Server>, report: Option<LogReport>) -> Result<(), ServerError> {
    match report {
        Some(LogReport::Durable(durable)) => server.durable(durable),
        Some(LogReport::Stored(stored)) => server.stored(stored),
        Some(LogReport::Reloaded { tree, stored }) => server.reloaded(tree, stored),
        Some(LogReport::Failed(error)) => return Err(ServerError::Log(error.to_string())),
        None => return Err(ServerError::Thread),
    }
    Ok(())
}

async fn tick(server: Rc<Server>) {
    let tick_ms = u64::try_from(server.config.tick_time_ms).unwrap_or(1);
    let Some(ensemble) = &server.ensemble else {
        let half = Duration::from_millis((tick_ms / 2).clamp(1, TICK_MS_MAX));
        let mut interval = tokio::time::interval(half);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            server.tick();
        }
    };
    loop {
        let period_ms = match ensemble.role() {
            zk_zab::Role::Looking => LOOKING_TICK_MS,
            _ => (tick_ms / 10).clamp(1, ENSEMBLE_TICK_MS_MAX),
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(period_ms)) => server.tick(),
            () = ensemble.role_changed.notified() => {}
        }
    }
}
