//! The servers in the foreground: configuration, start, wait for a signal, stop.

use std::path::Path;

use tokio::runtime::Runtime;
use tracing::info;
use zk_server::{StartError, SystemProperties};

use crate::signals::Stop;
use crate::{jvm_flags, logging, port_owner};

/// `zookeeper-server <zoo.cfg>`
pub fn zookeeper(args: &[String]) -> i32 {
    let [config] = args else {
        eprintln!("Usage: zoolog zookeeper-server <zoo.cfg>");
        return 2;
    };
    logging::to_stdout();
    finish(run_zookeeper(Path::new(config)))
}

fn run_zookeeper(path: &Path) -> Result<(), String> {
    let system = SystemProperties::from_iter(jvm_flags::system_properties(&["SERVER_JVMFLAGS", "JVMFLAGS"]));
    let config = zk_server::Config::from_file(path, &system).map_err(|e| format!("{}: {e}", path.display()))?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut stop = Stop::register().map_err(|e| e.to_string())?;
        let server = start_zookeeper(config)?;
        info!("ZooKeeper serves clients on {}", server.address());
        tokio::select! {
            signal = stop.recv() => info!("{signal}: stopping"),
            ended = server.ended() => return ended.map_err(|e| e.to_string()),
        }
        server.stop();
        server.ended().await.map_err(|e| e.to_string())
    })
}

/// Starts the coordination server; a taken port is reported with the process that has it.
fn start_zookeeper(config: zk_server::Config) -> Result<zk_server::Handle, String> {
    let port = config.client_port;
    zk_server::start(config).map_err(|error| match &error {
        StartError::PortTaken { .. } => with_owner(error.to_string(), port),
        _ => error.to_string(),
    })
}

fn with_owner(message: String, port: u16) -> String {
    match port_owner::describe(port) {
        Some(owner) => format!("{message} (it is {owner})"),
        None => message,
    }
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("cannot start: {e}"))
}

/// One clear line for a failure, and the exit code.
fn finish(outcome: Result<(), String>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("zoolog: {message}");
            1
        }
    }
}

pub fn kafka(_: &[String]) -> i32 {
    1
}
pub fn dev(_: &[String]) -> i32 {
    1
}
