//! Several servers that form one ensemble, each zoolog or an Apache release, each replaceable on its own directory.
//!
//! A server keeps its directory and its `zoo.cfg` for life; [`Ensemble::replace`] only changes which program is started
//! on them next, which is what a user does. Who leads follows from the order of starts and the numbers (facts of the
//! election), so tests force a leader by those and by kill -9. Not for measuring: JVMs are small and tuned to start soon.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::ensemble_config::{Settings, Site, server_line, write_config};
use crate::ensemble_words::{Mode, Srvr, ask, mntr};
use crate::originals::java;
use crate::server::Server;
use crate::wait::wait_until;
use crate::zoolog::Zoolog;

/// A server's number, the N of `server.N`.
pub type Id = usize;

/// How long an ensemble may take to agree, JVM starts included.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// Four of them and a build fit on a small machine.
const SMALL_JVM: [&str; 4] =
    ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true"];

/// Which program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Zoolog,
    Apache(&'static str),
}

impl Kind {
    /// Every Apache release the ensembles are mixed with.
    pub const APACHE: [&'static str; 4] = ["3.5.7", "3.6.3", "3.8.4", "3.9.3"];

    /// zoolog; or, to try a test on the originals alone, the Apache release `$ENSEMBLE_OURS`.
    pub fn ours() -> Self {
        let wanted = std::env::var("ENSEMBLE_OURS").unwrap_or_default();
        Self::APACHE.into_iter().find(|v| *v == wanted).map_or(Self::Zoolog, Self::Apache)
    }

    pub fn is_zoolog(self) -> bool {
        self == Self::Zoolog
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zoolog => f.write_str("zoolog"),
            Self::Apache(version) => write!(f, "Apache {version}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Participant,
    Observer,
}

/// One place in the ensemble.
#[derive(Debug)]
pub struct Member {
    pub id: Id,
    pub kind: Kind,
    pub role: Role,
    pub site: Site,
    pub dir: PathBuf,
    /// Set for the next start, as `faketime` needs.
    pub env: Vec<(String, String)>,
    server: Option<Server>,
}

/// See the module's header. Dropped, it kills what still runs.
#[derive(Debug)]
pub struct Ensemble {
    pub members: Vec<Member>,
    pub settings: Settings,
    root: PathBuf,
}

impl Ensemble {
    /// Servers 1, 2, … on loopback, none started; their directories are below `root`.
    pub fn new(root: &Path, servers: &[(Kind, Role)], settings: Settings) -> Result<Self> {
        let servers = servers.iter().map(|(kind, role)| (*kind, *role, Site::loopback())).collect();
        Self::on_sites(root, servers, settings)
    }

    /// As [`Ensemble::new`], each server on a site of its own.
    pub fn on_sites(root: &Path, servers: Vec<(Kind, Role, Site)>, settings: Settings) -> Result<Self> {
        let mut ensemble = Self { members: Vec::new(), settings, root: root.to_owned() };
        for (kind, role, site) in servers {
            ensemble.place(kind, role, site);
        }
        for index in 0..ensemble.members.len() {
            ensemble.write(index, &ensemble.lines(|_| true))?;
        }
        Ok(ensemble)
    }

    fn place(&mut self, kind: Kind, role: Role, site: Site) -> Id {
        let id = self.members.len() + 1;
        let dir = self.root.join(format!("s{id}"));
        self.members.push(Member { id, kind, role, site, dir, env: Vec::new(), server: None });
        id
    }

    /// One more server, on loopback, that nobody else's file names: it knows itself and `known`, and waits to be
    /// taken in by a reconfiguration.
    pub fn add(&mut self, kind: Kind, known: &[Id]) -> Result<Id> {
        let id = self.place(kind, Role::Participant, Site::loopback());
        let lines = self.lines(|m| m.id == id || known.contains(&m.id));
        // As the administrator's guide has it: a joiner that is not in the configuration names itself an observer, so
        // that it forms no quorum with another joiner.
        let own = format!("server.{id}=");
        let lines = lines.lines().map(|line| match line.starts_with(&own) {
            true => line.replace(":participant", ":observer") + "\n",
            false => line.to_owned() + "\n",
        });
        self.write(id - 1, &lines.collect::<String>())?;
        Ok(id)
    }

    fn lines(&self, which: impl Fn(&Member) -> bool) -> String {
        self.members.iter().filter(|m| which(m)).map(|m| self.line(m.id) + "\n").collect()
    }

    /// The `server.N=…` line of a member.
    pub fn line(&self, id: Id) -> String {
        let m = self.member(id);
        server_line(id, &m.site, m.role == Role::Observer, self.settings.reconfig)
    }

    fn write(&self, index: usize, lines: &str) -> Result<()> {
        let m = &self.members[index];
        write_config(&m.dir, m.id, &m.site, m.role == Role::Observer, &self.settings, lines)
    }

    pub fn member(&self, id: Id) -> &Member {
        &self.members[id - 1]
    }

    pub fn member_mut(&mut self, id: Id) -> &mut Member {
        &mut self.members[id - 1]
    }

    /// Starts a server and does not wait for it.
    pub fn start(&mut self, id: Id) -> Result<()> {
        let m = &mut self.members[id - 1];
        ensure!(m.server.is_none(), "server {id} runs already");
        let mut program = m.program()?;
        program.arg(m.dir.join("zoo.cfg")).envs(m.env.iter().map(|(k, v)| (k, v)));
        let mut command = m.site.command(&program);
        m.server = Some(Server::spawn(&mut command, m.site.client_port, &m.dir.join("server.log"))?);
        Ok(())
    }

    /// Starts several at once and waits until they serve.
    pub fn start_all(&mut self, ids: &[Id]) -> Result<()> {
        for id in ids {
            self.start(*id)?;
        }
        self.await_serving()
    }

    /// SIGTERM, and gone when this returns.
    pub fn stop(&mut self, id: Id) -> Result<()> {
        self.take(id)?.stop().map(drop)
    }

    /// kill -9, and gone when this returns.
    pub fn kill(&mut self, id: Id) -> Result<()> {
        self.take(id)?.kill()
    }

    fn take(&mut self, id: Id) -> Result<Server> {
        self.members[id - 1].server.take().with_context(|| format!("server {id} does not run"))
    }

    pub fn signal(&self, id: Id, signal: Signal) -> Result<()> {
        let server = self.member(id).server.as_ref();
        server.with_context(|| format!("server {id} does not run"))?.signal(signal)
    }

    /// Whether it was started and not stopped, dead or alive.
    pub fn is_started(&self, id: Id) -> bool {
        self.member(id).server.is_some()
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self, id: Id) -> bool {
        let server = self.members[id - 1].server.as_mut();
        server.is_some_and(|s| s.wait_exit(Duration::ZERO).is_ok())
    }

    /// Another program for the same directory; the server must be stopped.
    pub fn replace(&mut self, id: Id, kind: Kind) -> Result<()> {
        let m = &mut self.members[id - 1];
        ensure!(m.server.is_none(), "server {id} still runs");
        m.kind = kind;
        Ok(())
    }

    /// Removes everything a stopped server knows but its number.
    pub fn wipe(&self, id: Id) -> Result<()> {
        let m = self.member(id);
        ensure!(m.server.is_none(), "server {id} still runs");
        Ok(std::fs::remove_dir_all(m.data().join("version-2"))?)
    }

    pub fn running(&self) -> Vec<Id> {
        self.members.iter().filter(|m| m.server.is_some()).map(|m| m.id).collect()
    }

    /// What `srvr` says; `None` if nobody answers or the server does not serve.
    pub fn srvr(&self, id: Id) -> Option<Srvr> {
        Srvr::parse(&self.word(id, "srvr").ok()?)
    }

    pub fn word(&self, id: Id, word: &str) -> Result<String> {
        let site = &self.member(id).site;
        ask(&site.address, site.client_port, word)
    }

    /// One value of `mntr`, without its `zk_`.
    pub fn mntr(&self, id: Id, key: &str) -> Result<Option<f64>> {
        Ok(mntr(&self.word(id, "mntr")?, key))
    }

    pub fn mode(&self, id: Id) -> Option<Mode> {
        self.srvr(id).map(|srvr| srvr.mode)
    }

    pub fn await_mode(&self, id: Id, mode: Mode) -> Result<()> {
        wait_until(&format!("server {id} as {mode:?}"), AGREE_LIMIT, || {
            (self.mode(id) == Some(mode)).then_some(())
        })
        .with_context(|| self.logs())
    }

    /// Waits until everything that runs serves: one leader, everybody else in the role of its place.
    pub fn await_serving(&self) -> Result<()> {
        let running = self.running();
        let serves = |id: &Id| match self.member(*id).role {
            Role::Participant => matches!(self.mode(*id), Some(Mode::Leader | Mode::Follower)),
            Role::Observer => self.mode(*id) == Some(Mode::Observer),
        };
        let leaders = || running.iter().filter(|id| self.mode(**id) == Some(Mode::Leader)).count();
        wait_until(&format!("servers {running:?} serving"), AGREE_LIMIT, || {
            (running.iter().all(serves) && leaders() == 1).then_some(())
        })
        .with_context(|| self.logs())
    }

    /// The running server that says it leads.
    pub fn leader(&self) -> Result<Id> {
        let leads = |id: &Id| self.mode(*id) == Some(Mode::Leader);
        wait_until("a leader", AGREE_LIMIT, || self.running().into_iter().find(leads))
            .with_context(|| self.logs())
    }

    /// Waits until this server leads, and everybody else who runs has joined.
    pub fn await_leader(&self, id: Id) -> Result<()> {
        self.await_mode(id, Mode::Leader)?;
        self.await_serving()
    }

    /// `host:port,…` of some servers, for clients.
    pub fn connect(&self, ids: &[Id]) -> String {
        let host =
            |id: &Id| format!("{}:{}", self.member(*id).site.address, self.member(*id).site.client_port);
        ids.iter().map(host).collect::<Vec<_>>().join(",")
    }

    /// Everything the server has printed, over all its starts.
    pub fn log(&self, id: Id) -> String {
        let bytes = std::fs::read(self.member(id).dir.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until one of `texts` stands in the log behind its first `from` bytes, and returns which.
    pub fn await_log<'a>(&self, id: Id, from: usize, texts: &[&'a str]) -> Result<&'a str> {
        let found = wait_until(&format!("one of {texts:?} in the log of server {id}"), AGREE_LIMIT, || {
            let log = self.log(id);
            let new = log.get(from..).unwrap_or_default();
            texts.iter().find(|text| new.contains(**text)).copied()
        });
        found.with_context(|| self.logs())
    }

    /// (acceptedEpoch, currentEpoch) as they stand on disk.
    pub fn epochs(&self, id: Id) -> Result<(i64, i64)> {
        let dir = self.member(id).data().join("version-2");
        let read = |name: &str| -> Result<i64> {
            let text = std::fs::read_to_string(dir.join(name)).with_context(|| format!("{name} of {id}"))?;
            text.trim().parse().with_context(|| format!("{name} of {id} holds {text:?}"))
        };
        Ok((read("acceptedEpoch")?, read("currentEpoch")?))
    }

    /// The ends of all logs, for a failure's message.
    pub fn logs(&self) -> String {
        let tail = |m: &Member| {
            let log = self.log(m.id);
            let lines: Vec<&str> = log.lines().rev().take(25).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("---- server {} ({}, {:?})\n{}\n", m.id, m.kind, self.mode(m.id), lines.join("\n"))
        };
        self.members.iter().map(tail).collect()
    }

    /// Waits until all running servers have applied the same last transaction, as `srvr` shows.
    ///
    /// A new leader counts the beginning of its epoch as a transaction that its followers never see, so this makes
    /// sense only after a write in that epoch.
    pub fn await_same_zxid(&self) -> Result<()> {
        let running = self.running();
        let same = || {
            let zxids: Vec<_> = running.iter().map(|id| self.srvr(*id).map(|s| s.zxid)).collect();
            (zxids.iter().all(|z| z.is_some() && *z == zxids[0])).then_some(())
        };
        wait_until("the same zxid everywhere", AGREE_LIMIT, same).with_context(|| self.logs())
    }
}

impl Member {
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// The program without its last argument, the configuration file.
    fn program(&self) -> Result<Command> {
        let Kind::Apache(version) = self.kind else {
            let mut zoolog = Zoolog::find()?.command();
            zoolog.arg("zookeeper-server");
            return Ok(zoolog);
        };
        let mut command = java(&format!("zookeeper-{version}"), &SMALL_JVM)?;
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
        Ok(command)
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        // All at once: one by one the others would elect in between.
        for m in &self.members {
            if let Some(server) = &m.server {
                let _ = server.signal(Signal::KILL);
            }
        }
    }
}
