//! The Apache servers and tools, from jars that Maven brings (`tests/testkit/originals/fetch.sh`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::server::Server;
use crate::wait::wait_until;
use crate::zoolog::{repository, write_server_properties, write_zoo_cfg};

/// Flags for a JVM that must only be up soon and small; not for measuring.
const QUICK: [&str; 3] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"];

/// The flags Kafka's own scripts give a broker; for measuring.
pub const KAFKA_SERVER_FLAGS: [&str; 8] = [
    "-Xmx1g",
    "-Xms1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// The directory of one original (`kafka-3.9.1`, `zookeeper-3.5.7`, …), fetched if it is not there yet.
pub fn home(name: &str) -> Result<PathBuf> {
    static FETCHING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCHING.lock().unwrap_or_else(|e| e.into_inner());
    let root = std::env::var_os("ZOOLOG_ORIGINALS")
        .map_or_else(|| repository().join(".cache/originals"), PathBuf::from);
    let home = root.join(name);
    if !home.join("complete").exists() {
        let script = repository().join("tests/testkit/originals/fetch.sh");
        let status = Command::new(script).arg(name).status()?;
        ensure!(status.success(), "{name} could not be fetched; the tests against it need Maven");
    }
    Ok(home)
}

/// A `java` command with the class path of one original.
pub fn java(name: &str, flags: &[&str]) -> Result<Command> {
    let home = home(name)?;
    let mut command = Command::new("java");
    command.args(flags);
    command.arg(format!("-Dlog4j.configuration=file:{}/log4j.properties", home.display()));
    command.arg(format!("-Dlogback.configurationFile={}/logback.xml", home.display()));
    command.arg("-cp").arg(format!("{}/lib/*", home.display()));
    Ok(command)
}

/// Runs a tool of an original to its end with `input` on stdin.
pub fn run_tool(name: &str, class: &str, args: &[&str], input: &[u8]) -> Result<Output> {
    let mut command = java(name, &QUICK)?;
    command.arg(class).args(args);
    run(command, input)
}

/// Runs any command to its end with `input` on stdin.
pub fn run(mut command: Command, input: &[u8]) -> Result<Output> {
    use std::io::Write as _;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    // A tool may end without reading all of its input.
    let _ = feeder.join();
    Ok(output)
}

/// The standard output of a tool that must succeed.
pub fn tool_stdout(name: &str, class: &str, args: &[&str], input: &[u8]) -> Result<String> {
    let output = run_tool(name, class, args, input)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{class} {args:?} ended with {}:\n{stdout}\n{stderr}", output.status);
    }
    Ok(stdout)
}

/// Apache ZooKeeper, one server.
#[derive(Debug, Clone, Copy)]
pub struct ZooKeeper(pub &'static str);

impl ZooKeeper {
    pub const ALL: [Self; 3] = [Self("3.5.7"), Self("3.8.4"), Self("3.9.3")];

    pub fn name(self) -> String {
        format!("zookeeper-{}", self.0)
    }

    /// Starts a server with its data in `dir`, as [`crate::Zoolog::zookeeper`] does with ours.
    pub fn start(self, dir: &Path, port: u16, extra: &str) -> Result<Server> {
        let mut command = java(&self.name(), &QUICK)?;
        command.arg("-Dzookeeper.extendedTypesEnabled=true");
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
        command.arg(write_zoo_cfg(dir, port, extra)?);
        let server = Server::start(command, port, &dir.join("apache.log"))?;
        // The port is open before the server serves; connections are closed in between.
        wait_until("srvr's answer", Duration::from_secs(30), || {
            four_letter_word(port, "srvr").ok()?.contains("Mode:").then_some(())
        })?;
        Ok(server)
    }
}

/// What a four-letter word answers.
pub fn four_letter_word(port: u16, word: &str) -> Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Apache Kafka, one broker.
#[derive(Debug, Clone, Copy)]
pub struct Kafka(pub &'static str);

impl Kafka {
    pub const ALL: [Self; 2] = [Self("2.7.1"), Self("3.9.1")];

    pub fn name(self) -> String {
        format!("kafka-{}", self.0)
    }

    /// Starts a broker with its data in `dir`, as [`crate::Zoolog::kafka`] does with ours.
    pub fn start(self, dir: &Path, port: u16, zookeeper: &str, extra: &str) -> Result<Server> {
        let config = write_server_properties(dir, port, zookeeper, extra)?;
        let mut command = java(&self.name(), &QUICK)?;
        command.arg("kafka.Kafka").arg(config);
        let server = Server::start(command, port, &dir.join("apache.log"))?;
        server.await_log("started (kafka.server.KafkaServer)")?;
        Ok(server)
    }
}
