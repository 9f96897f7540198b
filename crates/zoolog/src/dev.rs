//! `zoolog dev`: both servers in one process, to try things out.
//!
//! Everything lies under one directory and listens on loopback only. Ready within a fraction of a second, it says
//! where things are and what to paste; its log goes to a file, so that the terminal stays readable.

use std::path::{Path, PathBuf};
use std::time::Instant;

use properties::Properties;
use tools::options::{Options, Spec, Takes, spec, usage};
use tracing::info;

use crate::signals::Stop;
use crate::{logging, port_owner, servers};

const SPECS: [Spec; 3] = [
    spec("data", Takes::Value("directory"), "Where everything is kept. (default: ./zoolog-data)"),
    spec("zookeeper-port", Takes::Value("port"), "The coordination server's port. (default: 2181)"),
    spec("kafka-port", Takes::Value("port"), "The broker's port. (default: 9092)"),
];

/// Runs until a signal; returns the exit code.
pub fn run(args: &[String]) -> i32 {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("Both servers in one process, to try things out.\n\n{}", usage(&SPECS));
        return 0;
    }
    let settings = match Options::parse(&SPECS, args).and_then(|options| Settings::from_options(&options)) {
        Ok(settings) => settings,
        Err(message) => {
            eprint!("zoolog: {message}\n\n{}", usage(&SPECS));
            return 1;
        }
    };
    servers::finish(serve(&settings, Instant::now()))
}

/// What can be chosen.
struct Settings {
    data: PathBuf,
    zookeeper_port: u16,
    kafka_port: u16,
}

impl Settings {
    fn from_options(options: &Options) -> Result<Self, String> {
        if let Some(extra) = options.rest().first() {
            return Err(format!("{extra}: dev takes no such argument"));
        }
        Ok(Self {
            data: options.value("data").unwrap_or("./zoolog-data").into(),
            zookeeper_port: options.number("zookeeper-port")?.unwrap_or(2181),
            kafka_port: options.number("kafka-port")?.unwrap_or(9092),
        })
    }

    fn zookeeper(&self) -> Properties {
        properties(&[
            ("tickTime", "2000"),
            ("dataDir", &self.data.join("zookeeper").to_string_lossy()),
            ("clientPort", &self.zookeeper_port.to_string()),
            ("clientPortAddress", "127.0.0.1"),
            ("maxClientCnxns", "0"),
            ("extendedTypesEnabled", "true"),
            // Small machines and short lives: no 64 MiB for an empty log.
            ("preAllocSize", "1024"),
        ])
    }

    /// One broker cannot hold three replicas, and nobody waits here for more members of a group.
    fn kafka(&self) -> Properties {
        properties(&[
            ("broker.id", "0"),
            ("listeners", &format!("PLAINTEXT://127.0.0.1:{}", self.kafka_port)),
            ("log.dirs", &self.data.join("kafka").to_string_lossy()),
            ("zookeeper.connect", &format!("127.0.0.1:{}", self.zookeeper_port)),
            ("offsets.topic.replication.factor", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
        ])
    }
}

fn properties(entries: &[(&str, &str)]) -> Properties {
    let mut properties = Properties::new();
    for (key, value) in entries {
        properties.set(*key, *value);
    }
    properties
}

fn serve(settings: &Settings, begun: Instant) -> Result<(), String> {
    let data = &settings.data;
    std::fs::create_dir_all(data).map_err(|e| {
        format!("cannot create {}: {e}. Choose a directory you may write to with --data DIR", data.display())
    })?;
    let log = data.join("zoolog.log");
    logging::to_file(&log).map_err(|e| {
        format!("cannot write {}: {e}. Choose a directory you may write to with --data DIR", log.display())
    })?;
    free_port(settings.zookeeper_port, "--zookeeper-port")?;
    free_port(settings.kafka_port, "--kafka-port")?;
    servers::runtime()?.block_on(async {
        let mut stop = Stop::register().map_err(|e| e.to_string())?;
        let (zookeeper, kafka) = servers::start_both(&settings.zookeeper(), &settings.kafka()).await?;
        println!("{}", ready(settings, &log, begun));
        let outcome = tokio::select! {
            signal = stop.recv() => {
                info!("{signal}: stopping");
                Ok(())
            }
            ended = zookeeper.ended() => ended.map_err(|e| e.to_string()),
        };
        kafka.stop().await;
        zookeeper.stop();
        zookeeper.ended().await.map_err(|e| e.to_string())?;
        outcome
    })
}

/// Says of a taken port who has it, and which flag chooses another: the servers themselves would name their own keys.
fn free_port(port: u16, flag: &str) -> Result<(), String> {
    let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) else { return Ok(()) };
    let owner = port_owner::describe(port).unwrap_or_else(|| format!("another process ({error})"));
    Err(format!("port {port} is taken by {owner}. Stop it, or choose another port with {flag} PORT"))
}

/// What a newcomer sees: where things are, and three lines to paste.
fn ready(settings: &Settings, log: &Path, begun: Instant) -> String {
    let zoolog = this_binary();
    let (zookeeper, kafka) = (settings.zookeeper_port, settings.kafka_port);
    let data = std::fs::canonicalize(&settings.data).unwrap_or_else(|_| settings.data.clone());
    format!(
        "zoolog {version} is up after {ms} ms\n\
         \x20 ZooKeeper  127.0.0.1:{zookeeper}\n\
         \x20 Kafka      127.0.0.1:{kafka} (broker 0)\n\
         \x20 data       {data}\n\
         \x20 log        {log}\n\n\
         Try it in another terminal:\n\
         \x20 echo hello | {zoolog} produce --bootstrap-server 127.0.0.1:{kafka} --topic greetings\n\
         \x20 {zoolog} consume --bootstrap-server 127.0.0.1:{kafka} --topic greetings --from-beginning\n\
         \x20 {zoolog} zk -server 127.0.0.1:{zookeeper} ls /brokers/topics\n\n\
         Ctrl-C stops it; the data stays.",
        version = env!("CARGO_PKG_VERSION"),
        ms = begun.elapsed().as_millis(),
        data = data.display(),
        log = log.display(),
    )
}

/// How to call this binary from here: relative to the current directory where that is shorter.
fn this_binary() -> String {
    let Ok(path) = std::env::current_exe() else { return "zoolog".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => path.display().to_string(),
    }
}
