//! One coordination server and one broker, each of either make, on ports and in directories that stay.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use testkit::originals::{four_letter_word, java};
use testkit::zoolog::write_server_properties;
use testkit::{Kafka, Server, ZooKeeper, Zoolog, free_port, wait_until};

use super::cluster::Cluster;

#[derive(Debug, Clone, Copy)]
pub enum Coordinator {
    Apache(ZooKeeper),
    Zoolog,
}

#[derive(Debug, Clone, Copy)]
pub enum Broker {
    Apache(Kafka),
    Zoolog,
}

/// Short sessions, so that a crashed broker's registration goes away soon; patience with a coordination server that comes late.
const SESSIONS: &str = "zookeeper.session.timeout.ms=3000\nzookeeper.connection.timeout.ms=30000";

/// How long a broker may take to be up.
const START_LIMIT: Duration = Duration::from_secs(60);

/// See the module's header. Whoever holds a role may change from one start to the next.
#[derive(Debug)]
pub struct Pair {
    pub coordinator: Coordinator,
    pub broker: Broker,
    /// More lines for server.properties.
    pub settings: String,
    pub zookeeper_port: u16,
    pub kafka_port: u16,
    dir: TempDir,
    zookeeper: Option<Server>,
    kafka: Option<Server>,
    starts: u32,
}

impl Pair {
    /// Starts nothing yet.
    pub fn new(coordinator: Coordinator, broker: Broker, settings: &str) -> Result<Self> {
        Ok(Self {
            coordinator,
            broker,
            settings: settings.to_owned(),
            zookeeper_port: free_port(),
            kafka_port: free_port(),
            dir: TempDir::new()?,
            zookeeper: None,
            kafka: None,
            starts: 0,
        })
    }

    /// Both up.
    pub fn started(coordinator: Coordinator, broker: Broker, settings: &str) -> Result<Self> {
        let mut pair = Self::new(coordinator, broker, settings)?;
        pair.start_zookeeper()?;
        pair.start_broker()?;
        Ok(pair)
    }

    pub fn start_zookeeper(&mut self) -> Result<()> {
        let (dir, port) = (self.dir.path().join("zookeeper"), self.zookeeper_port);
        // Short ticks, so that sessions may be short and a crashed broker's registration goes away soon.
        let extra = "tickTime=500";
        self.zookeeper = Some(match self.coordinator {
            Coordinator::Apache(version) => version.start(&dir, port, extra)?,
            Coordinator::Zoolog => Zoolog::find()?.zookeeper(&dir, port, extra)?,
        });
        Ok(())
    }

    /// Starts the broker and waits until it says that it is up.
    pub fn start_broker(&mut self) -> Result<()> {
        self.begin_broker()?;
        self.await_broker()
    }

    /// Starts the broker without waiting for it.
    pub fn begin_broker(&mut self) -> Result<()> {
        self.starts += 1;
        let dir = self.dir.path().join("kafka");
        let log = self.dir.path().join(format!("kafka-{}.log", self.starts));
        let extra = format!("{SESSIONS}\n{}", self.settings);
        let zookeeper = format!("127.0.0.1:{}", self.zookeeper_port);
        let config = write_server_properties(&dir, self.kafka_port, &zookeeper, &extra)?;
        let mut command = match self.broker {
            Broker::Apache(version) => apache_broker(version)?,
            Broker::Zoolog => {
                let mut command = Zoolog::find()?.command();
                command.arg("kafka-server");
                command
            }
        };
        command.arg(config);
        self.kafka = Some(Server::spawn(&mut command, self.kafka_port, &log)?);
        Ok(())
    }

    pub fn await_broker(&mut self) -> Result<()> {
        let up = match self.broker {
            Broker::Apache(_) => "started (kafka.server.KafkaServer)",
            Broker::Zoolog => "started",
        };
        let server = self.kafka.as_mut().context("the broker was started")?;
        let up = wait_until("the broker's start", START_LIMIT, || {
            if server.log_text().contains(up) {
                return Some(Ok(()));
            }
            let ended = server.wait_exit(Duration::ZERO).ok()?;
            Some(Err(anyhow!("the broker ended with {ended}")))
        });
        up.and_then(|up| up).with_context(|| self.broker_log())
    }

    pub fn stop_zookeeper(&mut self) -> Result<ExitStatus> {
        self.zookeeper.take().context("the coordination server runs")?.stop()
    }

    pub fn stop_broker(&mut self) -> Result<ExitStatus> {
        self.kafka.take().context("the broker runs")?.stop()
    }

    pub fn kill_broker(&mut self) -> Result<()> {
        self.kafka.take().context("the broker runs")?.kill()
    }

    /// Waits until the coordination server has forgotten a killed broker: Apache's does not start before.
    pub fn await_expiry(&self) -> Result<()> {
        wait_until("the end of the broker's session", START_LIMIT, || {
            let dump = four_letter_word(self.zookeeper_port, "dump").ok()?;
            (!dump.contains("/brokers/ids/")).then_some(())
        })
    }

    pub fn cluster(&self) -> Result<Cluster> {
        Cluster::at(self.kafka_port)
    }

    /// The broker's log directory.
    pub fn logs(&self) -> PathBuf {
        self.dir.path().join("kafka/logs")
    }

    /// The warnings and errors the broker has printed since its last start, and its last lines.
    pub fn broker_log(&self) -> String {
        let log = self.kafka.as_ref().map(Server::log_text).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let (early, late) = lines.split_at(lines.len().saturating_sub(20));
        let early = early.iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
        early.chain(late).copied().collect::<Vec<_>>().join("\n")
    }
}

fn apache_broker(version: Kafka) -> Result<Command> {
    let quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"];
    let mut command = java(&version.name(), &quick)?;
    command.arg("kafka.Kafka");
    Ok(command)
}
