//! zoolog itself, as a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::server::Server;
use crate::wait::free_port;

/// The zoolog binary under test: `$ZOOLOG`, else the newest of the build directories.
#[derive(Debug, Clone)]
pub struct Zoolog {
    binary: PathBuf,
}

impl Zoolog {
    pub fn find() -> Result<Self> {
        if let Some(binary) = std::env::var_os("ZOOLOG") {
            return Ok(Self { binary: binary.into() });
        }
        let target = repository().join("target");
        ["debug", "release"]
            .map(|profile| target.join(profile).join("zoolog"))
            .into_iter()
            .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
            .max()
            .map(|(_, binary)| Self { binary })
            .context("no zoolog binary; build it first: cargo build")
    }

    pub fn command(&self) -> Command {
        Command::new(&self.binary)
    }

    /// A coordination server with its data in `dir`; `extra` lines go into its zoo.cfg.
    pub fn zookeeper(&self, dir: &Path, port: u16, extra: &str) -> Result<Server> {
        let config = write_zoo_cfg(dir, port, extra)?;
        let mut command = self.command();
        command.arg("zookeeper-server").arg(config);
        Server::start(command, port, &dir.join("server.log"))
    }

    /// A broker with its data in `dir`; `extra` lines go into its server.properties.
    pub fn kafka(&self, dir: &Path, port: u16, zookeeper: &str, extra: &str) -> Result<Server> {
        let config = write_server_properties(dir, port, zookeeper, extra)?;
        let mut command = self.command();
        command.arg("kafka-server").arg(config);
        Server::start(command, port, &dir.join("server.log"))
    }

    /// Both in one process, on free ports: (server listening for Kafka clients, ZooKeeper port).
    pub fn dev(&self, dir: &Path) -> Result<(Server, u16)> {
        let (zookeeper, kafka) = (free_port(), free_port());
        let server = self.dev_on(dir, zookeeper, kafka)?;
        Ok((server, zookeeper))
    }

    /// As [`Zoolog::dev`], on ports of the caller's choice, for restarts.
    pub fn dev_on(&self, dir: &Path, zookeeper: u16, kafka: u16) -> Result<Server> {
        std::fs::create_dir_all(dir)?;
        let mut command = self.command();
        command.arg("dev").arg("--data").arg(dir.join("data"));
        command.arg("--zookeeper-port").arg(zookeeper.to_string());
        command.arg("--kafka-port").arg(kafka.to_string());
        Server::start(command, kafka, &dir.join("server.log"))
    }
}

/// The checkout this was built from.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A single server's zoo.cfg, the same for zoolog and Apache.
pub fn write_zoo_cfg(dir: &Path, port: u16, extra: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("zoo.cfg");
    let data = dir.join("data");
    std::fs::write(
        &path,
        format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\n{extra}\n",
            data.display()
        ),
    )?;
    Ok(path)
}

/// A single broker's server.properties, the same for zoolog and Apache.
pub fn write_server_properties(dir: &Path, port: u16, zookeeper: &str, extra: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("server.properties");
    let logs = dir.join("logs");
    std::fs::write(
        &path,
        format!(
            "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect={zookeeper}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n{extra}\n",
            logs.display()
        ),
    )?;
    Ok(path)
}
