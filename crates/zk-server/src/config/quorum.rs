//! The servers a file names: the `server.N` lines, `myid`, and what being one of several asks for.
//!
//! Read from zoo.cfg or from `dynamicConfigFile`; checks and their words are those of `QuorumPeerConfig` and
//! `QuorumPeer.start`.

use std::path::{Path, PathBuf};

use properties::Properties;
use zk_proto::quorum::{self, Member, Role, Sid};

use super::ConfigError;
use super::settings::Settings;

/// What a file ends with while a configuration is proposed and not yet in force.
pub(crate) const NEXT_SUFFIX: &str = ".dynamic.next";

/// This server as one of several.
#[derive(Debug, Clone)]
pub struct Ensemble {
    /// The number in `myid`.
    pub sid: Sid,
    /// The servers this one starts with.
    pub servers: quorum::Config,
    /// A later configuration it has seen proposed (`*.dynamic.next`), with `reconfigEnabled` only.
    pub last_seen: Option<quorum::Config>,
    /// Ticks for connecting to a leader and being synchronised.
    pub init_limit: u64,
    /// Ticks without a word until a link is given up.
    pub sync_limit: u64,
    /// Ticks for connecting to a leader; `initLimit` unless set.
    pub connect_limit: u64,
    /// How long a connection to another server's election port may take.
    pub connect_timeout_ms: u64,
    /// Tries to take a port; 0 = without end.
    pub bind_tries: u32,
    pub listen_on_all: bool,
    pub commit_log_count: usize,
    /// A learner is sent the logged difference if that is not larger than this part of a snapshot.
    pub snapshot_size_factor: f64,
    /// Snapshots sent at the same time.
    pub snapshot_syncs_max: usize,
    /// False closes the leader's client port to clients.
    pub leader_serves: bool,
    pub notification_min_ms: u64,
    pub notification_max_ms: u64,
    /// A server without a quorum serves clients that ask for reading only.
    pub read_only_mode: bool,
    /// An empty data directory is a new database; with false only the file `initialize` says so, and without it this
    /// server has no vote until a leader has synchronised it.
    pub db_autocreate: bool,
    /// Where a change of the configuration is written; `None` if it came from no file, or without `reconfigEnabled`.
    pub files: Option<ConfigFiles>,
}

/// The files a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFiles {
    /// zoo.cfg.
    pub base: PathBuf,
    /// Its server lines stand in a file of their own already.
    pub is_split: bool,
}

impl Ensemble {
    pub fn me(&self) -> Option<&Member> {
        self.servers.members.get(&self.sid)
    }
}

/// The server lines and where they came from.
#[derive(Debug)]
pub(crate) struct Quorum {
    pub(crate) servers: quorum::Config,
    is_split: bool,
    standalone_enabled: bool,
}

impl Quorum {
    /// Collects the lines from zoo.cfg, or from `dynamicConfigFile` when that is named.
    pub(crate) fn read(s: &Settings) -> Result<Self, ConfigError> {
        let standalone_enabled = s.flag_or("standaloneEnabled", true)?;
        let multiple = s.flag_or("multiAddress.enabled", false)?;
        let (servers, is_split) = match s.text("dynamicConfigFile") {
            None => (quorum::Config::from_lines(s.iter().filter(|(k, _)| is_server_key(k)))?, false),
            Some(path) => {
                if let Some((key, _)) = s.iter().find(|(k, _)| is_server_key(k)) {
                    return Err(ConfigError::InDynamicFileOnly { key: key.to_owned() });
                }
                (read_dynamic(Path::new(path))?, true)
            }
        };
        for (sid, member) in &servers.members {
            if member.addresses.len() > 1 && !multiple {
                return Err(ConfigError::SeveralAddresses { sid: *sid });
            }
        }
        let quorum = Self { servers, is_split, standalone_enabled };
        quorum.check()?;
        Ok(quorum)
    }

    /// `QuorumPeerConfig.parseDynamicConfig`.
    fn check(&self) -> Result<(), ConfigError> {
        let voters = self.servers.voters().count();
        let observers = self.servers.members.len() - voters;
        let wrong = match voters {
            0 if !self.standalone_enabled => {
                "standaloneEnabled = false then number of participants should be >0"
            }
            0 if observers > 0 => "Observers w/o participants is an invalid configuration",
            1 if self.standalone_enabled && observers > 0 => {
                "Observers w/o quorum is an invalid configuration"
            }
            _ => return Ok(()),
        };
        Err(ConfigError::Servers(wrong))
    }

    /// `QuorumPeerConfig.isDistributed`.
    pub(crate) fn is_distributed(&self) -> bool {
        !self.standalone_enabled || self.servers.voters().count() > 1
    }

    /// The client address of the only server line of a server alone.
    pub(crate) fn lone_client_address(&self) -> Option<(String, u16)> {
        self.servers.members.values().next().and_then(|m| m.client.clone())
    }

    /// This server's place among them.
    pub(crate) fn ensemble(
        &self,
        s: &Settings,
        data_dir: &Path,
        base: Option<&Path>,
    ) -> Result<Ensemble, ConfigError> {
        let limit = |key: &'static str| match s.number::<u64>(key)? {
            Some(ticks) if ticks > 0 => Ok(ticks),
            _ => Err(ConfigError::Unset { key }),
        };
        let (init_limit, sync_limit) = (limit("initLimit")?, limit("syncLimit")?);
        if !matches!(s.number::<i32>("electionAlg")?, None | Some(3)) {
            return Err(ConfigError::ElectionAlgorithm);
        }
        let sid = read_myid(data_dir)?;
        if !self.servers.members.contains_key(&sid) {
            return Err(ConfigError::NotInList { sid, path: data_dir.join("myid") });
        }
        let reconfig_enabled = s.flag_or("reconfigEnabled", false)?;
        let files = base
            .filter(|_| reconfig_enabled)
            .map(|base| ConfigFiles { base: base.to_owned(), is_split: self.is_split });
        let last_seen = files.as_ref().filter(|f| f.is_split).and_then(read_next);
        Ok(Ensemble {
            sid,
            servers: self.servers.clone(),
            last_seen,
            init_limit,
            sync_limit,
            connect_limit: s.number("connectToLearnerMasterLimit")?.filter(|n| *n > 0).unwrap_or(init_limit),
            connect_timeout_ms: s.number_or("cnxTimeout", 5000)?,
            bind_tries: s.number_or("electionPortBindRetry", 3)?,
            listen_on_all: s.flag_or("quorumListenOnAllIPs", false)?,
            commit_log_count: s.number_or("commitLogCount", 500)?,
            snapshot_size_factor: factor(s)?,
            snapshot_syncs_max: s.number_or::<usize>("leader.maxConcurrentSnapSyncs", 10)?.max(1),
            leader_serves: s.flag_or("leaderServes", true)?,
            notification_min_ms: s.number_or("fastleader.minNotificationInterval", 200)?,
            notification_max_ms: s.number_or("fastleader.maxNotificationInterval", 60_000)?,
            read_only_mode: s.flag_or("readonlymode.enabled", false)?,
            db_autocreate: s.flag_or("db.autocreate", true)?,
            files,
        })
    }
}

impl Ensemble {
    /// What the user should know about their servers, in Apache's words.
    pub(crate) fn notices(&self, s: &Settings) -> Result<Vec<String>, ConfigError> {
        let mut notices = Vec::new();
        let voters = self.servers.voters().count();
        if voters <= 2 {
            notices.push("No server failure will be tolerated. You need at least 3 servers.".to_owned());
        } else if voters.is_multiple_of(2) {
            notices.push("Non-optimal configuration, consider an odd number of servers.".to_owned());
        }
        let asked = match s.text("peerType").map(str::to_ascii_lowercase).as_deref() {
            None | Some("participant") => Role::Participant,
            Some("observer") => Role::Observer,
            Some(other) => return Err(ConfigError::value("peerType", other, "participant or observer")),
        };
        let listed = self.me().map_or(Role::Participant, |m| m.role);
        if asked != listed {
            notices.push(format!(
                "Peer type from servers list ({}) doesn't match peerType ({}). Defaulting to servers list.",
                name(listed),
                name(asked)
            ));
        }
        Ok(notices)
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Participant => "PARTICIPANT",
        Role::Observer => "OBSERVER",
    }
}

/// Keys that make up the configuration of an ensemble.
pub(crate) fn is_server_key(key: &str) -> bool {
    key.starts_with("server.") || key.starts_with("group") || key.starts_with("weight")
}

/// A dynamic file holds nothing but the servers; its version is in its name.
fn read_dynamic(path: &Path) -> Result<quorum::Config, ConfigError> {
    let lines = Properties::load(path)?;
    if lines.get("version").is_some() {
        return Err(ConfigError::VersionInside { path: path.to_owned() });
    }
    if let Some((key, _)) = lines.iter().find(|(key, _)| !is_server_key(key)) {
        return Err(ConfigError::NotForDynamicFile { key: key.to_owned(), path: path.to_owned() });
    }
    let mut servers = quorum::Config::from_lines(lines.iter())?;
    servers.version = version_in_name(path).unwrap_or(0);
    Ok(servers)
}

/// `zoo.cfg.dynamic.100000000` → 0x100000000.
fn version_in_name(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    i64::from_str_radix(name.rsplit_once('.')?.1, 16).ok()
}

/// A file that cannot be read counts as none, as in Apache.
fn read_next(files: &ConfigFiles) -> Option<quorum::Config> {
    let path = with_suffix(&files.base, NEXT_SUFFIX);
    let text = std::fs::read_to_string(&path).ok()?;
    match quorum::Config::parse(&text) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a proposed configuration cannot be read; ignoring it");
            None
        }
    }
}

/// The path with something behind its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn read_myid(data_dir: &Path) -> Result<Sid, ConfigError> {
    let path = data_dir.join("myid");
    let Ok(text) = std::fs::read_to_string(&path) else { return Err(ConfigError::MyIdMissing { path }) };
    let line = text.lines().next().unwrap_or_default().trim();
    line.parse().map_err(|_| ConfigError::MyIdNotANumber { found: line.to_owned(), path })
}

fn factor(s: &Settings) -> Result<f64, ConfigError> {
    let Some(text) = s.text("snapshotSizeFactor") else { return Ok(0.33) };
    text.parse::<f64>()
        .ok()
        .filter(|f| f.is_finite())
        .ok_or_else(|| ConfigError::value("snapshotSizeFactor", text, "a number such as 0.33"))
}
