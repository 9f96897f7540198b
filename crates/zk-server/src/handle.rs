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
use zk_node::{Node, Options};
use zk_store::{DataDir, DataDirOptions, TxnLogOptions};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{ServerError, StartError};
use crate::four_letter::mntr::Startup;
use crate::listener;
use crate::log_thread::{self, Batching, LogQueue, LogReport};
use crate::purge::purge;
use crate::recovery::recover;
use crate::server::Server;

/// Session ids of a standalone server begin with this byte, as Apache's do.
const STANDALONE_SESSION_BYTE: u8 = 1;

/// Longest time between two looks at the clock.
const TICK_MS_MAX: u64 = 1000;

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
    runtime: Runtime,
    config: Config,
    node: Node,
    data: Arc<DataDir>,
    log: LogQueue,
    reports: mpsc::Receiver<LogReport>,
    log_thread: JoinHandle<()>,
    clock: Clock,
    startup: Startup,
}

/// The order gives the clearest error first: the directory, the port, then what is in the directory.
fn prepare(config: Config) -> Result<Prepared, StartError> {
    let data = DataDir::open(&DataDirOptions {
        autocreate: config.datadir_autocreate,
        log_dir: (config.data_log_dir != config.data_dir).then(|| config.data_log_dir.clone()),
        ..DataDirOptions::new(&config.data_dir)
    })?;
    let listener = listener::bind(&config)?;
    let address = listener.local_addr().map_err(|source| StartError::Listen {
        address: SocketAddr::from(([0, 0, 0, 0], config.client_port)),
        source,
    })?;
    let (tree, startup) = recover(&data, &config)?;
    let log = data.open_log(TxnLogOptions {
        prealloc_bytes: config.pre_alloc_bytes,
        size_limit_bytes: config.txn_log_size_limit_bytes,
        force_sync: config.force_sync,
        fsync_warning: Duration::from_millis(config.fsync_warning_threshold_ms),
    })?;
    let batching =
        Batching { max: config.max_batch_size, delay: Duration::from_millis(config.flush_delay_ms) };
    let (log, reports, log_thread) = log_thread::start(log, batching).map_err(StartError::Thread)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let clock = Clock::start();
    let node = Node::new(node_options(&config), tree, clock.now());
    let data = Arc::new(data);
    Ok(Prepared { address, listener, runtime, config, node, data, log, reports, log_thread, clock, startup })
}

fn node_options(config: &Config) -> Options {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
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
        server_id: STANDALONE_SESSION_BYTE,
        ..Options::default()
    }
}

impl Prepared {
    /// Serves until told to end or unable to go on.
    fn run(self, orders: watch::Receiver<Order>) -> Result<(), ServerError> {
        let log = self.log.clone();
        let data = self.data.clone();
        let server = Server::new(self.config, self.node, self.data, self.log, self.clock, self.startup);
        let local = LocalSet::new();
        let result = self.runtime.block_on(local.run_until(serve(
            server.clone(),
            self.listener,
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
    mut reports: mpsc::Receiver<LogReport>,
    mut orders: watch::Receiver<Order>,
) -> Result<(), ServerError> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(
            "serving ZooKeeper clients on {address} (standalone); the port is open to all who reach it"
        );
    }
    let listener = TcpListener::from_std(listener).map_err(|error| {
        tracing::error!(%error, "the client port cannot be served");
        ServerError::Thread
    })?;
    let accepting = spawn_local(listener::accept(server.clone(), listener));
    let mut feeding = spawn_local(server.clone().feed_log());
    let mut ticking = spawn_local(tick(server.clone()));
    spawn_local(purge(server.clone()));
    let order = loop {
        tokio::select! {
            report = reports.recv() => on_report(&server, report)?,
            order = orders.wait_for(|order| *order != Order::Serve) => break order.map_or(Order::Stop, |o| *o),
            _ = &mut feeding => return Err(ServerError::Thread),
            _ = &mut ticking => return Err(ServerError::Thread),
            () = server.failed() => return Err(ServerError::Thread),
        }
    };
    accepting.abort();
    if order == Order::Stop {
        server.stop_reading();
        server.close_log();
        while let Some(report) = reports.recv().await {
            on_report(&server, Some(report))?;
        }
    }
    server.cut_all();
    Ok(())
}

fn on_report(server: &Rc<Server>, report: Option<LogReport>) -> Result<(), ServerError> {
    match report {
        Some(LogReport::Durable(durable)) => {
            server.durable(durable);
            Ok(())
        }
        Some(LogReport::Failed(error)) => Err(ServerError::Log(error.to_string())),
        None => Err(ServerError::Thread),
    }
}

async fn tick(server: Rc<Server>) {
    let half = u64::try_from(server.config.tick_time_ms / 2).unwrap_or(1).clamp(1, TICK_MS_MAX);
    let mut interval = tokio::time::interval(Duration::from_millis(half));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        server.tick();
    }
}
