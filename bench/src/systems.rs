//! The two systems under test, started the same way with the same settings.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use testkit::originals::{KAFKA_SERVER_FLAGS, java};
use testkit::zoolog::{write_server_properties, write_zoo_cfg};
use testkit::{Server, Zoolog, free_port, wait_until};

/// The originals measured against.
pub const APACHE_ZOOKEEPER: &str = "zookeeper-3.9.3";
pub const APACHE_KAFKA: &str = "kafka-3.9.1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    #[value(name = "zoolog")]
    Zoolog,
    #[value(name = "Apache")]
    Apache,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Zoolog, Self::Apache];

    pub fn zookeeper(self, dir: &Path, port: u16) -> Result<Server> {
        // One load generator is one address; ids are not reused, so snapshots come as they would in service.
        let extra = "";
        match self {
            Self::Zoolog => Zoolog::find()?.zookeeper(dir, port, extra),
            Self::Apache => {
                let mut command = java(APACHE_ZOOKEEPER, &["-Xmx512m"])?;
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
                command.arg(write_zoo_cfg(dir, port, extra)?);
                Server::start(command, port, &dir.join("apache.log"))
            }
        }
    }

    pub fn kafka(self, dir: &Path, port: u16, zookeeper_port: u16) -> Result<Server> {
        let zookeeper = format!("127.0.0.1:{zookeeper_port}");
        // Deleting at once keeps the page cache alike for both sides.
        let extra = "auto.create.topics.enable=false\nlog.segment.delete.delay.ms=1000\n";
        match self {
            Self::Zoolog => Zoolog::find()?.kafka(dir, port, &zookeeper, extra),
            Self::Apache => {
                let config = write_server_properties(dir, port, &zookeeper, extra)?;
                let mut command = java(APACHE_KAFKA, &KAFKA_SERVER_FLAGS)?;
                command.arg("kafka.Kafka").arg(config);
                Server::start(command, port, &dir.join("apache.log"))
            }
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zoolog => "zoolog",
            Self::Apache => "Apache",
        })
    }
}

/// A coordination server and a broker of one side, in processes of their own.
pub struct Pair {
    pub broker: Server,
    _zookeeper: Server,
    _dir: TempDir,
}

impl Pair {
    pub fn start(side: Side) -> Result<Self> {
        let dir = TempDir::new()?;
        let (zookeeper_port, kafka_port) = (free_port(), free_port());
        let zookeeper = side.zookeeper(&dir.path().join("zookeeper"), zookeeper_port)?;
        let broker = side.kafka(&dir.path().join("kafka"), kafka_port, zookeeper_port)?;
        wait_until("metadata", Duration::from_secs(60), || crate::raw_kafka::probe(kafka_port).ok())?;
        Ok(Self { broker, _zookeeper: zookeeper, _dir: dir })
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.broker.port)
    }
}
