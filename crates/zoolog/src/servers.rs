//! The servers in the foreground: configuration, start, wait for a signal, stop.

use std::path::Path;

use properties::Properties;
use tokio::runtime::Runtime;
use tools::options::{Options, Spec, Takes, spec};
use tracing::{info, warn};
use zk_server::{StartError, SystemProperties};

use crate::signals::Stop;
use crate::{jvm_flags, logging, port_owner};

/// `zookeeper-server <zoo.cfg>`
pub fn zookeeper(args: &[String]) -> i32 {
    let [config] = args else { return usage("USAGE: zoolog zookeeper-server zoo.cfg") };
    logging::to_stdout();
    finish(run_zookeeper(Path::new(config)))
}

fn run_zookeeper(path: &Path) -> Result<(), String> {
    let system = SystemProperties::from_iter(jvm_flags::system_properties(&["SERVER_JVMFLAGS", "JVMFLAGS"]));
    let config =
        zk_server::Config::from_file(path, &system).map_err(|e| format!("{}: {e}", path.display()))?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut stop = Stop::register().map_err(|e| e.to_string())?;
        let server = start_zookeeper(config)?;
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

pub(crate) fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("cannot start: {e}"))
}

/// One clear line for a failure, and the exit code.
pub(crate) fn finish(outcome: Result<(), String>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("zoolog: {message}");
            1
        }
    }
}

/// `kafka-server <server.properties> [--override key=value]*`
pub fn kafka(args: &[String]) -> i32 {
    const SPECS: [Spec; 1] =
        [spec("override", Takes::Value("property=value"), "Lay a setting over the file's.")];
    let options = match Options::parse(&SPECS, args) {
        Ok(options) if options.rest().len() == 1 => options,
        Ok(_) => return usage("USAGE: zoolog kafka-server server.properties [--override property=value]*"),
        Err(message) => return usage(&message),
    };
    logging::to_stdout();
    finish(run_kafka(Path::new(&options.rest()[0]), &options))
}

fn run_kafka(path: &Path, options: &Options) -> Result<(), String> {
    for (key, _) in jvm_flags::system_properties(&["KAFKA_OPTS"]) {
        warn!("KAFKA_OPTS: -D{key} has no effect; there is no JVM, and no broker setting of that name");
    }
    let overrides = options.pairs("override")?;
    let file = Properties::load(path).map_err(|e| e.to_string())?;
    let config = kafka_config(&file, &overrides).map_err(|e| format!("{}: {e}", path.display()))?;
    runtime()?.block_on(async {
        let mut stop = Stop::register().map_err(|e| e.to_string())?;
        let broker = start_kafka(config).await?;
        let signal = stop.recv().await;
        info!("{signal}: stopping");
        broker.stop().await;
        Ok(())
    })
}

fn kafka_config(file: &Properties, overrides: &[(String, String)]) -> Result<kafka_broker::Config, String> {
    let (config, notices) =
        kafka_broker::Config::from_properties(file, overrides).map_err(|e| e.to_string())?;
    notices.iter().for_each(|notice| warn!("{notice}"));
    Ok(config)
}

async fn start_kafka(config: kafka_broker::Config) -> Result<kafka_broker::Handle, String> {
    let port = config.listeners.bind.first().map(|listener| listener.port);
    kafka_broker::start(config).await.map_err(|error| match (&error, port) {
        (kafka_broker::StartError::Bind(_), Some(port)) => with_owner(error.to_string(), port),
        _ => error.to_string(),
    })
}

fn usage(message: &str) -> i32 {
    eprintln!("{message}");
    1
}

/// Starts either server, or both: what [`crate::dev`] is made of.
pub(crate) async fn start_both(
    zookeeper: &Properties,
    kafka: &Properties,
) -> Result<(zk_server::Handle, kafka_broker::Handle), String> {
    let config =
        zk_server::Config::from_properties(zookeeper, &SystemProperties::new()).map_err(|e| e.to_string())?;
    let coordination = start_zookeeper(config)?;
    let broker = start_kafka(kafka_config(kafka, &[])?).await?;
    Ok((coordination, broker))
}
