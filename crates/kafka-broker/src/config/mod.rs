//! `server.properties` → `Config`: parsed once at the edge, so that inside nothing can be wrong.
//!
//! `keys` is the one table of all keys; every key that somebody sets is honoured, refused, or named once at start
//! (`Notice`). Not here: topic overrides (`/config/topics`), which only use the defaults computed here.

pub mod keys;
pub mod listeners;
pub mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kafka_log::LogConfig;
use properties::Properties;

use keys::Status;
pub use listeners::{Listener, ListenerTexts, Listeners, SecurityProtocol};
pub use values::ConfigError;
use values::Value;

/// The behaviour towards other brokers and ZooKeeper that `inter.broker.protocol.version` selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 2.7-IV2: no topic ids, producer id blocks taken from ZooKeeper.
    V2_7,
    /// 3.9-IV0, also when nothing is set.
    V3_9,
}

impl Release {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        const KEY: &str = "inter.broker.protocol.version";
        // Kafka takes "2.7", "2.7.1" and "2.7-IV2" alike.
        let (number, iv) = text.split_once("-IV").map_or((text, None), |(n, iv)| (n, Some(iv)));
        let short: Vec<&str> = number.split('.').take(2).collect();
        match (short.join(".").as_str(), iv) {
            ("2.7", None | Some("2")) => Ok(Self::V2_7),
            ("3.9", None | Some("0")) => Ok(Self::V3_9),
            _ if number.split('.').all(|part| part.parse::<u32>().is_ok()) => Err(ConfigError::Unsupported {
                key: KEY.to_owned(),
                value: text.to_owned(),
                reason:
                    "this broker speaks 3.9 (when unset) and 2.7; set one of the two, or leave the key out"
                        .to_owned(),
            }),
            _ => Err(ConfigError::invalid(KEY, text, format!("Version `{text}` is not a valid version"))),
        }
    }
}

/// Where the broker finds ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperConfig {
    /// `host:port`, in the order given.
    pub hosts: Vec<String>,
    /// Empty, or a path starting with `/`.
    pub chroot: String,
    pub session_timeout_ms: u32,
    pub connection_timeout_ms: u32,
}

/// Sockets and connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Largest frame; a larger one closes its connection.
    pub request_bytes_max: usize,
    /// `-1` leaves the size to the system, also where nothing is set: Linux sizes a socket's buffers by what is in
    /// flight, Kafka's fixed 100 KiB cost a wake-up each.
    pub send_buffer_bytes: i32,
    pub receive_buffer_bytes: i32,
    pub backlog: u32,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub connections_per_ip_overrides: BTreeMap<String, usize>,
    /// `-1`: never.
    pub connections_idle_ms_max: i64,
}

/// Logs as a whole; what can differ by topic is in `TopicConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogManagerConfig {
    pub dirs: Vec<PathBuf>,
    pub recovery_threads_per_dir: usize,
    pub retention_check_ms: u64,
    pub initial_task_delay_ms: u64,
    pub recovery_point_checkpoint_ms: u64,
    pub start_offset_checkpoint_ms: u64,
    pub high_watermark_checkpoint_ms: u64,
    pub flush_scheduler_ms: u64,
    pub producer_id_expiration_ms: i64,
    pub producer_id_expiration_check_ms: u64,
    /// `None` with `log.cleaner.enable=false`: compacted topics grow.
    pub cleaner: Option<CleanerConfig>,
}

/// Compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanerConfig {
    /// Pause between two looks at all compacted logs.
    pub backoff_ms: u64,
    /// Memory for the keys of one pass.
    pub key_bytes_max: usize,
}

/// Consumer groups and their offsets topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub initial_rebalance_delay_ms: i32,
    pub max_size: usize,
    pub offset_metadata_bytes_max: usize,
    pub offsets_topic_partitions: i32,
    pub offsets_topic_replication_factor: i16,
    pub offsets_topic_segment_bytes: u32,
    pub offsets_topic_compression_codec: i32,
    pub offsets_commit_timeout_ms: u64,
    pub offsets_load_buffer_bytes: usize,
    pub offsets_retention_ms: i64,
    pub offsets_retention_check_ms: u64,
}

/// A broker's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `None`: taken from `meta.properties`, else generated through `/brokers/seqid`.
    pub broker_id: Option<i32>,
    pub broker_id_generation: bool,
    pub reserved_broker_id_max: i32,
    pub rack: Option<String>,
    pub release: Release,
    pub listeners: Listeners,
    pub zookeeper: ZooKeeperConfig,
    pub network: NetworkConfig,
    pub logs: LogManagerConfig,
    pub groups: GroupConfig,
    /// What topics get that do not say otherwise.
    pub topic_defaults: LogConfig,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub fetch_bytes_max: usize,
    pub fetch_sessions_max: usize,
    /// What was set, for DescribeConfigs.
    pub set: BTreeMap<String, String>,
}

/// Something about the configuration people should read once at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Neither Kafka 2.7.1 nor 3.9 knows these keys: most likely typing mistakes.
    Unknown(Vec<String>),
    /// Known, without effect for now.
    NotYet(Vec<String>),
    /// Known, tunes what does not exist here.
    Moot(Vec<String>),
    /// KRaft's.
    Kraft(Vec<String>),
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(keys) => {
                write!(f, "Unknown configuration keys, check their spelling: {}", keys.join(", "))
            }
            Self::NotYet(keys) => write!(
                f,
                "Configuration keys set but not yet honoured, they have no effect: {}",
                keys.join(", ")
            ),
            Self::Moot(keys) => write!(
                f,
                "Configuration keys accepted without effect, there is nothing to tune here: {}",
                keys.join(", ")
            ),
            Self::Kraft(keys) => {
                write!(f, "Configuration keys of KRaft have no effect in ZooKeeper mode: {}", keys.join(", "))
            }
        }
    }
}

impl Config {
    /// Reads `properties` with `overrides` (from `--override k=v`) laid over them.
    pub fn from_properties(
        properties: &Properties,
        overrides: &[(String, String)],
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        let mut set: BTreeMap<String, String> =
            properties.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        set.extend(overrides.iter().cloned());
        let settings = Settings { set };
        let notices = settings.notices()?;
        Ok((settings.into_config()?, notices))
    }
}

/// Texts of all keys: set, or default.
#[derive(Debug)]
pub struct Settings {
    set: BTreeMap<String, String>,
}

impl Settings {
    /// The text of `key`; `None` if neither set nor defaulted.
    pub fn text(&self, key: &str) -> Option<&str> {
        let default = keys::find(key).and_then(|row| row.default);
        self.set.get(key).map(String::as_str).or(default)
    }

    fn given(&self, key: &str) -> Option<&str> {
        self.set.get(key).map(String::as_str)
    }

    /// Checks every set key and sorts those without effect.
    fn notices(&self) -> Result<Vec<Notice>, ConfigError> {
        let (mut unknown, mut pending, mut moot, mut kraft) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (name, text) in &self.set {
            let Some(key) = keys::find(name) else {
                match name.starts_with("listener.name.") {
                    true => pending.push(name.clone()),
                    false => unknown.push(name.clone()),
                }
                continue;
            };
            values::parse(key, text)?;
            match key.status {
                Status::Honoured => {}
                Status::Pending => pending.push(name.clone()),
                Status::Moot => moot.push(name.clone()),
                Status::Kraft => kraft.push(name.clone()),
                Status::Refused => refuse_unless_default(key, text)?,
            }
        }
        let kinds = [
            (unknown, Notice::Unknown as fn(_) -> _),
            (pending, Notice::NotYet),
            (moot, Notice::Moot),
            (kraft, Notice::Kraft),
        ];
        Ok(kinds.into_iter().filter(|(keys, _)| !keys.is_empty()).map(|(keys, kind)| kind(keys)).collect())
    }

    fn value(&self, key: &str) -> Result<Option<Value>, ConfigError> {
        let row = keys::find(key).expect("only names of the table are asked for");
        self.text(key).map(|text| values::parse(row, text)).transpose()
    }

    fn int(&self, key: &str) -> Result<i64, ConfigError> {
        Ok(if let Some(Value::Int(n)) = self.value(key)? { n } else { 0 })
    }

    fn int32(&self, key: &str) -> Result<i32, ConfigError> {
        Ok(i32::try_from(self.int(key)?).unwrap_or(i32::MAX))
    }

    /// A count or a size; negative texts have been refused or mean nothing: 0.
    fn size(&self, key: &str) -> Result<usize, ConfigError> {
        Ok(usize::try_from(self.int(key)?).unwrap_or(0))
    }

    fn duration(&self, key: &str) -> Result<u64, ConfigError> {
        Ok(u64::try_from(self.int(key)?).unwrap_or(0))
    }

    fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        Ok(self.value(key)? == Some(Value::Bool(true)))
    }

    fn into_config(self) -> Result<Config, ConfigError> {
        let topic_defaults = LogConfig::from_broker(|key| self.text(key))
            .map_err(|error| ConfigError::Rule(error.to_string()))?;
        let reserved_broker_id_max = self.int32("reserved.broker.max.id")?;
        let broker_id_generation = self.flag("broker.id.generation.enable")?;
        Ok(Config {
            broker_id: self.broker_id(broker_id_generation, reserved_broker_id_max)?,
            broker_id_generation,
            reserved_broker_id_max,
            rack: self.given("broker.rack").map(str::to_owned),
            release: Release::parse(self.text("inter.broker.protocol.version").unwrap_or("3.9-IV0"))?,
            listeners: Listeners::parse(&self.listener_texts())?,
            zookeeper: self.zookeeper()?,
            network: self.network()?,
            logs: self.logs()?,
            groups: self.groups()?,
            topic_defaults,
            num_partitions: self.int32("num.partitions")?,
            default_replication_factor: i16::try_from(self.int("default.replication.factor")?)
                .unwrap_or(i16::MAX),
            auto_create_topics: self.flag("auto.create.topics.enable")?,
            delete_topics: self.flag("delete.topic.enable")?,
            fetch_bytes_max: self.size("fetch.max.bytes")?,
            fetch_sessions_max: self.size("max.incremental.fetch.session.cache.slots")?,
            set: self.set,
        })
    }

    fn broker_id(&self, generation: bool, reserved_max: i32) -> Result<Option<i32>, ConfigError> {
        let id = self.int32("broker.id")?;
        if generation && !(-1..=reserved_max).contains(&id) {
            return Err(ConfigError::Rule(
                "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id"
                    .to_owned(),
            ));
        }
        if !generation && id < 0 {
            return Err(ConfigError::Rule("broker.id must be greater than or equal to 0".to_owned()));
        }
        Ok(Some(id).filter(|id| *id >= 0))
    }

    fn listener_texts(&self) -> ListenerTexts<'_> {
        ListenerTexts {
            listeners: self.given("listeners"),
            advertised: self.given("advertised.listeners"),
            protocol_map: self.text("listener.security.protocol.map").unwrap_or(""),
            inter_broker_listener: self.given("inter.broker.listener.name"),
            inter_broker_protocol: self.given("security.inter.broker.protocol"),
            host_name: self.given("host.name"),
            port: self.given("port"),
            advertised_host_name: self.given("advertised.host.name"),
            advertised_port: self.given("advertised.port"),
        }
    }

    fn zookeeper(&self) -> Result<ZooKeeperConfig, ConfigError> {
        let text = self.given("zookeeper.connect").unwrap_or("").trim();
        let (hosts, chroot) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        let hosts: Vec<String> =
            values::list(hosts).into_iter().filter(|h| !h.is_empty()).map(with_port).collect();
        if hosts.is_empty() {
            return Err(ConfigError::Rule(
                "Missing required configuration \"zookeeper.connect\" which has no default value; give the ensemble as host:port[,host:port…][/chroot]".to_owned(),
            ));
        }
        let session_timeout_ms = u32::try_from(self.int("zookeeper.session.timeout.ms")?).unwrap_or(0);
        let connection = self.given("zookeeper.connection.timeout.ms").and_then(|t| t.parse().ok());
        Ok(ZooKeeperConfig {
            hosts,
            chroot: chroot.trim_end_matches('/').to_owned(),
            session_timeout_ms,
            connection_timeout_ms: connection.unwrap_or(session_timeout_ms),
        })
    }

    fn network(&self) -> Result<NetworkConfig, ConfigError> {
        const OVERRIDES: &str = "max.connections.per.ip.overrides";
        let mut overrides = BTreeMap::new();
        for item in values::list(self.text(OVERRIDES).unwrap_or("")) {
            let pair = item
                .rsplit_once(':')
                .and_then(|(ip, n)| Some((ip.trim().to_owned(), n.trim().parse().ok()?)));
            let (ip, max) =
                pair.ok_or_else(|| ConfigError::invalid(OVERRIDES, &item, "expected address:number"))?;
            overrides.insert(ip, max);
        }
        let per_ip = self.size("max.connections.per.ip")?;
        if per_ip == 0 && overrides.is_empty() {
            return Err(ConfigError::Rule(
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.".to_owned(),
            ));
        }
        Ok(NetworkConfig {
            request_bytes_max: self.size("socket.request.max.bytes")?,
            send_buffer_bytes: self
                .given("socket.send.buffer.bytes")
                .map_or(Ok(-1), |_| self.int32("socket.send.buffer.bytes"))?,
            receive_buffer_bytes: self
                .given("socket.receive.buffer.bytes")
                .map_or(Ok(-1), |_| self.int32("socket.receive.buffer.bytes"))?,
            backlog: u32::try_from(self.int("socket.listen.backlog.size")?).unwrap_or(50),
            connections_max: self.size("max.connections")?,
            connections_per_ip_max: per_ip,
            connections_per_ip_overrides: overrides,
            connections_idle_ms_max: self.int("connections.max.idle.ms")?,
        })
    }

    fn logs(&self) -> Result<LogManagerConfig, ConfigError> {
        let dirs = self.given("log.dirs").filter(|t| !t.is_empty()).or(self.text("log.dir")).unwrap_or("");
        let dirs: Vec<PathBuf> =
            values::list(dirs).into_iter().filter(|d| !d.is_empty()).map(PathBuf::from).collect();
        if dirs.is_empty() {
            return Err(ConfigError::Rule(
                "At least one log directory must be defined via log.dirs or log.dir.".to_owned(),
            ));
        }
        Ok(LogManagerConfig {
            dirs,
            recovery_threads_per_dir: self.size("num.recovery.threads.per.data.dir")?,
            retention_check_ms: self.duration("log.retention.check.interval.ms")?,
            cleaner: self.cleaner()?,
            initial_task_delay_ms: self.duration("log.initial.task.delay.ms")?,
            recovery_point_checkpoint_ms: self.duration("log.flush.offset.checkpoint.interval.ms")?,
            start_offset_checkpoint_ms: self.duration("log.flush.start.offset.checkpoint.interval.ms")?,
            high_watermark_checkpoint_ms: self.duration("replica.high.watermark.checkpoint.interval.ms")?,
            flush_scheduler_ms: self.duration("log.flush.scheduler.interval.ms")?,
            producer_id_expiration_ms: self.int("producer.id.expiration.ms")?,
            producer_id_expiration_check_ms: self.duration("producer.id.expiration.check.interval.ms")?,
        })
    }

    fn cleaner(&self) -> Result<Option<CleanerConfig>, ConfigError> {
        if !self.flag("log.cleaner.enable")? {
            return Ok(None);
        }
        Ok(Some(CleanerConfig {
            // A pause of 0 would spin.
            backoff_ms: self.duration("log.cleaner.backoff.ms")?.max(1),
            key_bytes_max: self.size("log.cleaner.dedupe.buffer.size")?,
        }))
    }

    fn groups(&self) -> Result<GroupConfig, ConfigError> {
        Ok(GroupConfig {
            min_session_timeout_ms: self.int32("group.min.session.timeout.ms")?,
            max_session_timeout_ms: self.int32("group.max.session.timeout.ms")?,
            initial_rebalance_delay_ms: self.int32("group.initial.rebalance.delay.ms")?,
            max_size: self.size("group.max.size")?,
            offset_metadata_bytes_max: self.size("offset.metadata.max.bytes")?,
            offsets_topic_partitions: self.int32("offsets.topic.num.partitions")?,
            offsets_topic_replication_factor: i16::try_from(self.int("offsets.topic.replication.factor")?)
                .unwrap_or(i16::MAX),
            offsets_topic_segment_bytes: u32::try_from(self.int("offsets.topic.segment.bytes")?)
                .unwrap_or(u32::MAX),
            offsets_topic_compression_codec: self.int32("offsets.topic.compression.codec")?,
            offsets_commit_timeout_ms: self.duration("offsets.commit.timeout.ms")?,
            offsets_load_buffer_bytes: self.size("offsets.load.buffer.size")?,
            offsets_retention_ms: self.int("offsets.retention.minutes")?.saturating_mul(60_000),
            offsets_retention_check_ms: self.duration("offsets.retention.check.interval.ms")?,
        })
    }
}

/// ZooKeeper's client port when none is given.
fn with_port(host: String) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host } else { format!("{host}:2181") }
}

fn refuse_unless_default(key: &keys::Key, text: &str) -> Result<(), ConfigError> {
    let parsed = values::parse(key, text)?;
    let harmless = key.default.map(|d| values::parse(key, d)).transpose()?;
    if text.is_empty() || harmless == Some(parsed) {
        return Ok(());
    }
    let reason = match key.name {
        "process.roles" | "controller.listener.names" | "zookeeper.metadata.migration.enable" => {
            "this broker works with ZooKeeper, not with KRaft; remove the key and set zookeeper.connect"
        }
        "authorizer.class.name" => {
            "access control is not there yet, and serving everybody in its place would be unsafe"
        }
        "zookeeper.set.acl" | "zookeeper.ssl.client.enable" => "secured ZooKeeper access is not there yet",
        _ => "there is nothing yet that does it, and leaving it out would change what the broker allows",
    };
    Err(ConfigError::Unsupported {
        key: key.name.to_owned(),
        value: text.to_owned(),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Config, Vec<Notice>), String> {
        let properties = Properties::parse(text).expect("parses");
        Config::from_properties(&properties, &[]).map_err(|e| e.to_string())
    }

    #[test]
    fn the_shipped_file_needs_no_word() {
        let shipped = "broker.id=0\nlog.dirs=/tmp/kafka-logs\nnum.partitions=1\noffsets.topic.replication.factor=1\n\
            zookeeper.connect=localhost:2181/kafka\nzookeeper.connection.timeout.ms=18000\ngroup.initial.rebalance.delay.ms=0\n";
        let (config, notices) = parse(shipped).expect("valid");
        assert_eq!(notices, []);
        assert_eq!(config.broker_id, Some(0));
        assert_eq!(config.zookeeper.hosts, ["localhost:2181"]);
        assert_eq!(config.zookeeper.chroot, "/kafka");
        assert_eq!(config.release, Release::V3_9);
    }

    #[test]
    fn keys_without_effect_are_named_by_reason() {
        let text = "zookeeper.connect=z\nnum.partitionz=1\nnum.io.threads=8\nssl.keystore.location=/k\nnode.id=1\nlistener.name.a.ssl.key.password=x";
        let (_, notices) = parse(text).expect("valid");
        let words: Vec<String> = notices.iter().map(Notice::to_string).collect();
        assert!(words[0].contains("Unknown") && words[0].ends_with(": num.partitionz"));
        assert!(
            words[1].contains("not yet honoured")
                && words[1].contains("listener.name.a.ssl.key.password, ssl.keystore.location")
        );
        assert!(words[2].contains("num.io.threads") && words[3].contains("node.id"));
    }

    #[test]
    fn what_cannot_be_served_refuses_the_start() {
        let check = |line: &str, part: &str| {
            let error = parse(&format!("zookeeper.connect=z\n{line}")).expect_err(line);
            assert!(error.contains(part), "{error}");
        };
        check(
            "authorizer.class.name=kafka.security.authorizer.AclAuthorizer",
            "access control is not there yet",
        );
        check("process.roles=broker", "not with KRaft");
        check("inter.broker.protocol.version=3.4", "this broker speaks 3.9 (when unset) and 2.7");
        check("inter.broker.protocol.version=x", "Version `x` is not a valid version");
        check("broker.id=5000", "reserved.broker.max.id");
        check("num.partitions=0", "Value must be at least 1");
        check("log.retention.hours=x", "Not a number of type INT");
        assert!(parse("broker.id=1").expect_err("no ensemble").contains("zookeeper.connect"));
        assert!(parse("zookeeper.connect=z\nzookeeper.set.acl=false\nauthorizer.class.name=").is_ok());
    }

    #[test]
    fn both_spellings_of_a_served_release_work() {
        for (text, release) in [
            ("2.7", Release::V2_7),
            ("2.7.1", Release::V2_7),
            ("2.7-IV2", Release::V2_7),
            ("3.9-IV0", Release::V3_9),
        ] {
            assert_eq!(Release::parse(text), Ok(release), "{text}");
        }
        assert!(Release::parse("2.7-IV1").is_err());
    }

    #[test]
    fn an_override_wins_over_the_file() {
        let properties = Properties::parse("zookeeper.connect=z\nbroker.id=1").expect("parses");
        let overrides = [("broker.id".to_owned(), "7".to_owned())];
        let (config, _) = Config::from_properties(&properties, &overrides).expect("valid");
        assert_eq!(config.broker_id, Some(7));
    }
}
