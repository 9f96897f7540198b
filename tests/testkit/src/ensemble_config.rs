//! Where a server of an ensemble lives, and the `zoo.cfg` it lives by: the same file for zoolog and Apache.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::wait::free_port;

/// The super user's `digest` credential in every ensemble of the tests.
pub const SUPER_AUTH: &str = "super:secret";
const SUPER_DIGEST: &str = "super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

/// An address, three ports, and how a command gets there.
#[derive(Debug, Clone)]
pub struct Site {
    pub address: String,
    pub client_port: u16,
    pub quorum_port: u16,
    pub election_port: u16,
    /// Put before every command that is to run there (`nsenter …`); empty for this host.
    pub enter: Vec<String>,
}

impl Site {
    /// This host, on ports nobody uses.
    pub fn loopback() -> Self {
        Self {
            address: "127.0.0.1".into(),
            client_port: free_port(),
            quorum_port: free_port(),
            election_port: free_port(),
            enter: Vec::new(),
        }
    }

    /// A network namespace with an address of its own, and the usual ports.
    pub fn namespace(name: &str, address: &str) -> Self {
        Self {
            address: address.into(),
            client_port: 2181,
            quorum_port: 2888,
            election_port: 3888,
            enter: vec!["nsenter".into(), format!("--net=/run/netns/{name}"), "--".into()],
        }
    }

    /// The same command, there.
    pub fn command(&self, command: &Command) -> Command {
        let mut words = self.enter.iter().map(Into::into).chain([command.get_program().to_owned()]);
        let mut there = Command::new(words.next().expect("a command has a program"));
        there.args(words).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => there.env(key, value),
                None => there.env_remove(key),
            };
        }
        there
    }
}

/// What all servers of an ensemble have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Short, so that silence is noticed soon.
    pub tick_ms: u32,
    pub init_limit: u32,
    pub sync_limit: u32,
    /// Whether members may come and go; server lines then carry their client ports.
    pub reconfig: bool,
    /// More lines.
    pub extra: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tick_ms: 500, init_limit: 20, sync_limit: 8, reconfig: false, extra: String::new() }
    }
}

pub fn server_line(id: usize, site: &Site, observer: bool, with_client: bool) -> String {
    let Site { address, client_port, quorum_port, election_port, .. } = site;
    let role = if observer { "observer" } else { "participant" };
    let mut line = format!("server.{id}={address}:{quorum_port}:{election_port}:{role}");
    if with_client {
        let _ = write!(line, ";{address}:{client_port}");
    }
    line
}

/// Writes `zoo.cfg` and `myid`.
pub fn write_config(
    dir: &Path,
    id: usize,
    site: &Site,
    observer: bool,
    settings: &Settings,
    lines: &str,
) -> Result<()> {
    let data = dir.join("data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("myid"), format!("{id}\n"))?;
    let Settings { tick_ms, init_limit, sync_limit, reconfig, extra } = settings;
    let mut text = format!(
        "tickTime={tick_ms}\ninitLimit={init_limit}\nsyncLimit={sync_limit}\ndataDir={}\nmaxClientCnxns=0\n\
         maxSessionTimeout=60000\nadmin.enableServer=false\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\n\
         preAllocSize=1024\nDigestAuthenticationProvider.superDigest={SUPER_DIGEST}\n",
        data.display()
    );
    if *reconfig {
        text.push_str("reconfigEnabled=true\nstandaloneEnabled=false\n");
    } else {
        let _ = writeln!(text, "clientPort={}\nclientPortAddress={}", site.client_port, site.address);
        if observer {
            text.push_str("peerType=observer\n");
        }
    }
    let _ = write!(text, "{extra}\n{lines}");
    Ok(std::fs::write(dir.join("zoo.cfg"), text)?)
}
