//! An ensemble of one side, set as in service, on loopback or on hosts of its own.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;
use testkit::originals::java;
use testkit::{Server, Zoolog, free_port, wait_until};

use crate::network::Network;
use crate::systems::{APACHE_ZOOKEEPER, Side};

/// How long servers may take to agree on a leader, JVM starts included.
const AGREE: Duration = Duration::from_secs(60);

/// Both sides' timing: the values of every tutorial.
const TIMING: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\n";

#[derive(Debug)]
struct Member {
    client: SocketAddr,
    config: PathBuf,
    log: PathBuf,
    /// Put before its command, to run it on a host of its own.
    enter: Vec<String>,
    server: Option<Server>,
}

/// Dropped, it kills its servers.
#[derive(Debug)]
pub struct Ensemble {
    side: Side,
    members: Vec<Member>,
    _dir: TempDir,
}

impl Ensemble {
    /// Voters, then observers, on loopback; they serve when this returns.
    pub fn start(side: Side, voters: usize, observers: usize) -> Result<Self> {
        let here = |_| (IpAddr::V4(Ipv4Addr::LOCALHOST), Vec::new());
        Self::start_at(side, voters, observers, here)
    }

    /// A voter on each host of a network. The caller is a host of it too.
    pub fn start_on(side: Side, network: &Network) -> Result<Self> {
        Self::start_at(side, network.hosts(), 0, |index| (network.address(index), network.enter(index)))
    }

    fn start_at(
        side: Side,
        voters: usize,
        observers: usize,
        place: impl Fn(usize) -> (IpAddr, Vec<String>),
    ) -> Result<Self> {
        let dir = TempDir::new()?;
        let mut lines = String::new();
        let mut members = Vec::new();
        for index in 0..voters + observers {
            let (id, (address, enter)) = (index + 1, place(index));
            let role = if index < voters { "participant" } else { "observer" };
            writeln!(lines, "server.{id}={address}:{}:{}:{role}", free_port(), free_port())?;
            let home = dir.path().join(format!("s{id}"));
            let (config, log) = (home.join("zoo.cfg"), home.join("server.log"));
            let client = SocketAddr::new(address, free_port());
            members.push(Member { client, config, log, enter, server: None });
        }
        for (index, member) in members.iter().enumerate() {
            let data = member.config.with_file_name("data");
            std::fs::create_dir_all(&data)?;
            std::fs::write(data.join("myid"), format!("{}\n", index + 1))?;
            let peer_type = if index < voters { "" } else { "peerType=observer\n" };
            let text = format!(
                "{TIMING}dataDir={}\nclientPort={}\nclientPortAddress={}\nmaxClientCnxns=0\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\n{peer_type}{lines}",
                data.display(),
                member.client.port(),
                member.client.ip()
            );
            std::fs::write(&member.config, text)?;
        }
        let mut ensemble = Self { side, members, _dir: dir };
        for index in 0..ensemble.members.len() {
            ensemble.restart(index)?;
        }
        ensemble.await_serving()?;
        Ok(ensemble)
    }

    /// Starts a server that was killed.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        // What was killed is waited for before another takes its directory and its ports.
        member.server = None;
        let mut program = match self.side {
            Side::Zoolog => {
                let mut command = Zoolog::find()?.command();
                command.arg("zookeeper-server");
                command
            }
            Side::Apache => {
                let mut command = java(APACHE_ZOOKEEPER, &["-Xmx512m"])?;
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
                command
            }
        };
        program.arg(&member.config);
        let mut words = member.enter.iter().map(Into::into).chain([program.get_program().to_owned()]);
        let mut command = Command::new(words.next().context("a command has a program")?);
        command.args(words).args(program.get_args());
        member.server = Some(Server::spawn(&mut command, member.client.port(), &member.log)?);
        Ok(())
    }

    /// kill -9; does not wait until the process is gone, which with much memory takes a while.
    pub fn kill(&self, index: usize) -> Result<()> {
        self.members[index].server.as_ref().context("it does not run")?.signal(Signal::KILL)
    }

    /// Where clients reach the servers.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.server.as_ref()).map(Server::pid).collect()
    }

    /// Waits until every server serves, and one of them leads.
    pub fn await_serving(&self) -> Result<()> {
        wait_until("an ensemble that serves", AGREE, || {
            let modes: Option<Vec<String>> = self.members.iter().map(|member| mode(member.client)).collect();
            (modes?.iter().filter(|mode| *mode == "leader").count() == 1).then_some(())
        })
        .with_context(|| self.logs())
    }

    /// The server that leads.
    pub fn leader(&self) -> Result<usize> {
        let leads = |member: &Member| mode(member.client).is_some_and(|mode| mode == "leader");
        wait_until("a leader", AGREE, || self.members.iter().position(leads)).with_context(|| self.logs())
    }

    fn logs(&self) -> String {
        let tail = |member: &Member| {
            let text = std::fs::read_to_string(&member.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            lines.into_iter().rev().map(|line| format!("{line}\n")).collect::<String>()
        };
        self.members.iter().map(|member| format!("---- {}\n{}", member.client, tail(member))).collect()
    }
}

/// The `Mode:` of `srvr`; `None` if there is no answer, or the server does not serve.
fn mode(server: SocketAddr) -> Option<String> {
    const PATIENCE: Duration = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().find_map(|line| line.strip_prefix("Mode: ").map(str::to_owned))
}
