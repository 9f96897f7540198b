//! zoo.cfg and `-D` properties, parsed once into a [`Config`] whose values cannot be wrong.
//!
//! Not for reloading: the file is read at start. Defaults are those of 3.9.3 (`QuorumPeerConfig`,
//! administrator's guide); the one deliberate difference is the four-letter-word list when the key is unset.

mod keys;
mod quorum;
mod settings;

use std::path::{Path, PathBuf};

use properties::{Properties, PropertiesError};
use thiserror::Error;
use zk_store::Compression;

use crate::four_letter::Whitelist;
use keys::Standing;
pub use keys::{DocumentedKey, documented_keys};
use quorum::Quorum;
pub use quorum::{ConfigFiles, Ensemble};
pub(crate) use quorum::{NEXT_SUFFIX, is_server_key, with_suffix};
use settings::Settings;
pub use settings::SystemProperties;

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] PropertiesError),
    #[error("{key}={value} is not {expected}; correct it in the configuration file")]
    Value { key: String, value: String, expected: &'static str },
    #[error("{key} is not set; add a line such as `{example}` to the configuration file")]
    Missing { key: &'static str, example: &'static str },
    #[error("minSessionTimeout={min} is larger than maxSessionTimeout={max}; one of the two must change")]
    SessionTimeouts { min: i32, max: i32 },
    #[error("{0}; correct the line")]
    Line(#[from] zk_proto::quorum::ConfigError),
    /// In the words of `QuorumPeerConfig`, as the next ones.
    #[error("{0}; correct the server.N lines")]
    Servers(&'static str),
    #[error("{key} is not set; an ensemble needs a line such as `{key}=10`")]
    Unset { key: &'static str },
    #[error("Invalid electionAlg value. Only 3 is supported. Remove the key")]
    ElectionAlgorithm,
    #[error(
        "Multiple address feature is disabled, but multiple addresses are specified for sid {sid}; \
         set multiAddress.enabled=true or keep one"
    )]
    SeveralAddresses { sid: i64 },
    #[error("myid file is missing: write the N of this server's server.N line into {}", path.display())]
    MyIdMissing { path: PathBuf },
    #[error("serverid {found} is not a number: {} must hold the N of this server's server.N line", path.display())]
    MyIdNotANumber { found: String, path: PathBuf },
    #[error("My id {sid} not in the peer list: there is no server.{sid} line; correct {} or the list", path.display())]
    NotInList { sid: i64, path: PathBuf },
    #[error(
        "parameter: {key} must be in a separate dynamic config file: the one that dynamicConfigFile names"
    )]
    InDynamicFileOnly { key: String },
    #[error("Unrecognised parameter: {key} in {}; a dynamic file holds servers, groups and weights only", path.display())]
    NotForDynamicFile { key: String, path: PathBuf },
    #[error("dynamic file shouldn't have version inside: remove that line from {}", path.display())]
    VersionInside { path: PathBuf },
    #[error(
        "client address for this server (id = {sid}) in static config file is {fixed} is different from client \
         address found in dynamic file: {listed}; keep one of the two"
    )]
    ClientAddresses { sid: i64, fixed: String, listed: String },
    #[error(
        "{key}={value} is not honoured yet, and ignoring it would leave the server less protected than you \
         asked for; remove the key to start without it"
    )]
    Unsafe { key: String, value: String },
}

impl ConfigError {
    pub(crate) fn value(key: &str, value: &str, expected: &'static str) -> Self {
        Self::Value { key: key.to_owned(), value: value.to_owned(), expected }
    }
}

/// Everything a server is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// Snapshots, `myid`, and the logs too unless `dataLogDir` is set. `version-2` is made inside.
    pub data_dir: PathBuf,
    pub data_log_dir: PathBuf,
    /// 0 takes any free port, see [`crate::Handle::address`].
    pub client_port: u16,
    /// Host name or address to listen on; all interfaces when unset.
    pub client_host: Option<String>,
    /// −1 leaves it to the system, as Apache's default of 50 does.
    pub client_port_listen_backlog: i32,
    pub tick_time_ms: i32,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    /// Connections from one address, 0 = no limit.
    pub max_client_cnxns: u32,
    /// Connections in all, 0 = no limit.
    pub max_cnxns: u32,
    /// A connection must have its session after this time.
    pub sessionless_timeout_ms: u64,
    /// Transactions between snapshots: the actual point is random in [n/2 + 1, n], so that the servers of an
    /// ensemble do not all write one at once.
    pub snap_count: u32,
    /// Log bytes between snapshots, randomised alike; 0 = no limit.
    pub snap_size_limit_bytes: u64,
    pub pre_alloc_bytes: u64,
    pub txn_log_size_limit_bytes: Option<u64>,
    pub snap_retain_count: u32,
    /// Hours between purges, 0 = off.
    pub purge_interval_hours: u32,
    /// Requests in progress above which a connection with a request of its own is not read.
    pub global_outstanding_limit: u32,
    /// Transactions in one group commit.
    pub max_batch_size: usize,
    /// How long a batch may wait for company. 0: only as long as the previous fsync takes.
    pub flush_delay_ms: u64,
    /// `no` acknowledges writes that a power cut can lose.
    pub force_sync: bool,
    pub fsync_warning_threshold_ms: u64,
    /// Largest frame accepted.
    pub jute_max_buffer: usize,
    /// TTL nodes; must agree across an ensemble because it changes how owners are read.
    pub extended_types_enabled: bool,
    /// TTL nodes as ZooKeeper 3.5.3 wrote them.
    pub emulate_353_ttl_nodes: bool,
    /// Lists the ephemerals of a closing session in its transaction.
    pub close_session_txn_enabled: bool,
    pub reconfig_enabled: bool,
    /// False makes one server an ensemble too.
    pub standalone_enabled: bool,
    /// False refuses the digest scheme.
    pub digest_auth_enabled: bool,
    /// `user:base64(sha1(user:password))` of the super user.
    pub super_digest: Option<String>,
    pub digest_enabled: bool,
    pub enforce_quota: bool,
    pub skip_acl: bool,
    pub snapshot_trust_empty: bool,
    pub snapshot_compression: Compression,
    /// False refuses to make missing directories.
    pub datadir_autocreate: bool,
    pub serialize_last_processed_zxid: bool,
    pub tcp_keep_alive: bool,
    pub container_check_interval_ms: u64,
    pub container_max_per_minute: u32,
    /// 0 keeps a container that never had a child for ever.
    pub container_max_never_used_ms: u64,
    pub whitelist: Whitelist,
    /// The other servers; `None` for a server alone.
    pub ensemble: Option<Ensemble>,
    /// What the user should know about their settings; logged once at start.
    pub notices: Vec<String>,
}

impl Config {
    /// Reads a zoo.cfg. `system` are the `-D` properties of the command line.
    pub fn from_file(path: &Path, system: &SystemProperties) -> Result<Self, ConfigError> {
        Self::read(&Properties::load(path)?, system, Some(path))
    }

    /// The same from lines that came from nowhere: changes of the servers are then not written back.
    pub fn from_properties(file: &Properties, system: &SystemProperties) -> Result<Self, ConfigError> {
        Self::read(file, system, None)
    }

    fn read(file: &Properties, system: &SystemProperties, path: Option<&Path>) -> Result<Self, ConfigError> {
        let settings = Settings::merge(file, system);
        let quorum = Quorum::read(&settings)?;
        let mut notices = notices(&settings, quorum.is_distributed())?;
        let data_dir = directory(&settings, "dataDir")?
            .ok_or(ConfigError::Missing { key: "dataDir", example: "dataDir=/var/lib/zookeeper" })?;
        let ensemble = match quorum.is_distributed() {
            true => Some(quorum.ensemble(&settings, &data_dir, path)?),
            false => None,
        };
        if let Some(ensemble) = &ensemble {
            notices.extend(ensemble.notices(&settings)?);
        }
        let client = client_address(&settings, &quorum, ensemble.as_ref())?;
        Self::build(&settings, data_dir, client, ensemble, notices)
    }

    fn build(
        s: &Settings,
        data_dir: PathBuf,
        (client_host, client_port): (Option<String>, u16),
        ensemble: Option<Ensemble>,
        notices: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let tick_time_ms = at_least_one(s, "tickTime", 3000)?;
        let (min, max) = session_timeouts(s, tick_time_ms)?;
        let not_negative = |key, default| s.number_or::<u32>(key, default);
        Ok(Self {
            ensemble,
            data_log_dir: directory(s, "dataLogDir")?.unwrap_or_else(|| data_dir.clone()),
            data_dir,
            client_port,
            client_host,
            client_port_listen_backlog: s.number_or("clientPortListenBacklog", -1)?,
            tick_time_ms,
            min_session_timeout_ms: min,
            max_session_timeout_ms: max,
            max_client_cnxns: not_negative("maxClientCnxns", 60)?,
            max_cnxns: not_negative("maxCnxns", 0)?,
            sessionless_timeout_ms: s.number_or("nio.sessionlessCnxnTimeout", 10_000)?,
            // Apache raises anything below 2, because half of it must be a range.
            snap_count: not_negative("snapCount", 100_000)?.max(2),
            snap_size_limit_bytes: s.number_or::<u64>("snapSizeLimitInKb", 4_194_304)?.saturating_mul(1024),
            pre_alloc_bytes: s.number_or::<u64>("preAllocSize", 65_536)?.saturating_mul(1024),
            txn_log_size_limit_bytes: s
                .number::<i64>("txnLogSizeLimitInKb")?
                .and_then(|kb| u64::try_from(kb).ok())
                .filter(|kb| *kb > 0)
                .map(|kb| kb.saturating_mul(1024)),
            snap_retain_count: not_negative("autopurge.snapRetainCount", 3)?.max(3),
            purge_interval_hours: s.number_or::<i32>("autopurge.purgeInterval", 0)?.max(0).unsigned_abs(),
            global_outstanding_limit: not_negative("globalOutstandingLimit", 1000)?,
            max_batch_size: s.number_or::<usize>("maxBatchSize", 1000)?.max(1),
            flush_delay_ms: s.number_or("flushDelay", 0)?,
            force_sync: s.flag_or("forceSync", true)?,
            fsync_warning_threshold_ms: s.number_or("fsync.warningthresholdms", 1000)?,
            jute_max_buffer: max_buffer(s)?,
            extended_types_enabled: s.flag_or("extendedTypesEnabled", false)?,
            emulate_353_ttl_nodes: s.flag_or("emulate353TTLNodes", false)?,
            close_session_txn_enabled: s.flag_or("closeSessionTxn.enabled", true)?,
            reconfig_enabled: s.flag_or("reconfigEnabled", false)?,
            standalone_enabled: s.flag_or("standaloneEnabled", true)?,
            digest_auth_enabled: s.flag_or("DigestAuthenticationProvider.enabled", true)?,
            super_digest: s
                .text("DigestAuthenticationProvider.superDigest")
                .filter(|d| !d.is_empty())
                .map(str::to_owned),
            digest_enabled: s.flag_or("digest.enabled", true)?,
            enforce_quota: s.flag_or("enforceQuota", false)?,
            skip_acl: s.flag_or("skipACL", false)?,
            snapshot_trust_empty: s.flag_or("snapshot.trust.empty", false)?,
            snapshot_compression: Compression::from_config(
                s.text("snapshot.compression.method").unwrap_or_default(),
            ),
            datadir_autocreate: s.flag_or("datadir.autocreate", true)?,
            serialize_last_processed_zxid: s.flag_or("serializeLastProcessedZxid.enabled", true)?,
            tcp_keep_alive: s.flag_or("tcpKeepAlive", false)? || s.flag_or("clientTcpKeepAlive", false)?,
            container_check_interval_ms: s.number_or("znode.container.checkIntervalMs", 60_000)?,
            container_max_per_minute: not_negative("znode.container.maxPerMinute", 10_000)?,
            container_max_never_used_ms: s.number_or("znode.container.maxNeverUsedIntervalMs", 0)?,
            whitelist: Whitelist::from_setting(
                s.text("4lw.commands.whitelist"),
                s.flag_or("readonlymode.enabled", false)?,
            ),
            notices,
        })
    }
}

fn directory(s: &Settings, key: &str) -> Result<Option<PathBuf>, ConfigError> {
    match s.text(key) {
        None => Ok(None),
        Some("") => Err(ConfigError::value(key, "", "a directory")),
        Some(path) => Ok(Some(PathBuf::from(path))),
    }
}

fn at_least_one(s: &Settings, key: &str, default: i32) -> Result<i32, ConfigError> {
    let n = s.number_or(key, default)?;
    if n < 1 { Err(ConfigError::value(key, &n.to_string(), "at least 1")) } else { Ok(n) }
}

/// Largest frame anyone can use: the wire's lengths are i32, and replies need room beside the data.
const MAX_BUFFER_MAX: usize = 1 << 30;

fn max_buffer(s: &Settings) -> Result<usize, ConfigError> {
    let n: usize = s.number_or("jute.maxbuffer", 0xf_ffff)?;
    if (64..=MAX_BUFFER_MAX).contains(&n) {
        Ok(n)
    } else {
        Err(ConfigError::value("jute.maxbuffer", &n.to_string(), "between 64 and 1073741824 bytes"))
    }
}

fn session_timeouts(s: &Settings, tick_ms: i32) -> Result<(i32, i32), ConfigError> {
    let limit = |key, ticks: i32| -> Result<i32, ConfigError> {
        Ok(match s.number_or(key, -1)? {
            -1 => tick_ms.saturating_mul(ticks),
            n => n,
        })
    };
    let (min, max) = (limit("minSessionTimeout", 2)?, limit("maxSessionTimeout", 20)?);
    if min < 0 {
        return Err(ConfigError::value("minSessionTimeout", &min.to_string(), "a time in milliseconds"));
    }
    if min > max { Err(ConfigError::SessionTimeouts { min, max }) } else { Ok((min, max)) }
}

/// Where clients are served: zoo.cfg's `clientPort`, or what stands after `;` in this server's line
/// (`QuorumPeerConfig.setupClientPort`).
fn client_address(
    s: &Settings,
    quorum: &Quorum,
    ensemble: Option<&Ensemble>,
) -> Result<(Option<String>, u16), ConfigError> {
    let host = s.text("clientPortAddress").filter(|h| !h.is_empty());
    let host = host.map(|h| h.trim_matches(['[', ']']).to_owned());
    let port = s.number::<u16>("clientPort")?;
    let listed = match ensemble {
        Some(ensemble) => ensemble.me().and_then(|m| m.client.clone()),
        None => quorum.lone_client_address(),
    };
    if let (Some(ensemble), Some(port), Some((listed_host, listed_port))) = (ensemble, port, &listed) {
        let is_same_host = host.as_deref().is_none_or(|h| is_any(h) || h == listed_host);
        if port != *listed_port || !is_same_host {
            let fixed = format!("{}:{port}", host.as_deref().unwrap_or("0.0.0.0"));
            let listed = format!("{listed_host}:{listed_port}");
            return Err(ConfigError::ClientAddresses { sid: ensemble.sid, fixed, listed });
        }
    }
    let listed_host = |(host, port): (String, u16)| (Some(host).filter(|h| !is_any(h)), port);
    match (port, listed.map(listed_host)) {
        (Some(port), Some((listed_host, _))) if ensemble.is_some() => Ok((listed_host, port)),
        (Some(port), _) => Ok((host, port)),
        (None, Some((listed_host, port))) => Ok((host.or(listed_host), port)),
        (None, None) => Err(ConfigError::Missing { key: "clientPort", example: "clientPort=2181" }),
    }
}

pub(crate) fn is_any(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}

/// Sorts the keys by their standing; one line a kind.
fn notices(settings: &Settings, is_distributed: bool) -> Result<Vec<String>, ConfigError> {
    let (mut not_yet, mut moot, mut unknown, mut doubled) = (vec![], vec![], vec![], vec![]);
    for (key, value) in settings.iter() {
        let standing = match keys::standing(key) {
            Standing::Ensemble(_) | Standing::EnsembleUnsafe(_) if !is_distributed => continue,
            Standing::Ensemble(usual) => Standing::NotYet(usual),
            Standing::EnsembleUnsafe(usual) => Standing::NotYetUnsafe(usual),
            standing => standing,
        };
        match standing {
            Standing::Honoured | Standing::Ensemble(_) | Standing::EnsembleUnsafe(_) => {}
            Standing::NotYet(usual) if value.eq_ignore_ascii_case(usual) => {}
            Standing::NotYetUnsafe(usual) if value.eq_ignore_ascii_case(usual) => {}
            Standing::NotYet(_) => not_yet.push(key),
            Standing::NotYetUnsafe(_) => {
                return Err(ConfigError::Unsafe { key: key.to_owned(), value: value.to_owned() });
            }
            Standing::Moot => moot.push(key),
            Standing::Unknown if key.starts_with("zookeeper.") => doubled.push(key),
            Standing::Unknown => unknown.push(key),
        }
    }
    let foreign: Vec<&str> = settings.foreign.iter().map(String::as_str).collect();
    let lenient: Vec<&str> = settings.lenient.iter().map(String::as_str).collect();
    let lines = [
        (not_yet, "known, but not honoured yet"),
        (unknown, "unknown keys, ignored; check their spelling"),
        (doubled, "keys in the file carry no `zookeeper.` prefix, ignored; write them without it"),
        (moot, "no effect: these tune parts of the Java server that do not exist here"),
        (foreign, "no effect: JVM properties"),
        (lenient, "honoured from the file; Apache ZooKeeper takes these from -D only and ignores them here"),
    ];
    let line = |(keys, text): (Vec<&str>, &str)| format!("configuration: {text}: {}", keys.join(", "));
    Ok(lines.into_iter().filter(|(keys, _)| !keys.is_empty()).map(line).collect())
}

#[cfg(test)]
mod tests;
