//! Tables of zoo.cfg and of the four-letter words.

use std::collections::BTreeMap;

use properties::Properties;
use zk_server::{Config, SystemProperties, Whitelist, documented_keys};

use crate::{code, table};

const STANDINGS: [(&str, &str); 6] = [
    ("honoured", "It has its effect."),
    (
        "pending",
        "Known and without effect so far; named once at start unless its value is the harmless one, which is what happens anyway.",
    ),
    (
        "refused",
        "Ignoring it would leave the server less protected than asked for: any value but the harmless one refuses the start.",
    ),
    (
        "pending in ensembles",
        "As pending, for a server of an ensemble; a single server, Apache's too, does nothing with it.",
    ),
    ("refused in ensembles", "As refused, for a server of an ensemble."),
    (
        "moot",
        "It tunes a part of the Java server that does not exist here; without effect, and named once at start.",
    ),
];

pub fn standings() -> String {
    table(
        &["standing", "meaning"],
        STANDINGS.map(|(name, meaning)| vec![name.to_owned(), meaning.to_owned()]),
    )
}

pub fn keys() -> String {
    let mut defaults = defaults();
    let rows: Vec<_> = documented_keys()
        .into_iter()
        .filter(|key| !key.is_family)
        .map(|key| {
            let default = match key.standing {
                "honoured" => {
                    defaults.remove(key.name).unwrap_or_else(|| panic!("no default for {}", key.name))
                }
                _ => String::new(),
            };
            vec![code(key.name), default, key.standing.to_owned(), code(key.harmless)]
        })
        .collect();
    assert!(defaults.is_empty(), "not honoured, but with a default: {defaults:?}");
    table(&["key", "default", "standing", "harmless value"], rows)
}

pub fn families() -> String {
    let families = documented_keys().into_iter().filter(|key| key.is_family);
    let rows =
        families.map(|key| vec![format!("`{}…`", key.name), key.standing.to_owned(), code(key.harmless)]);
    table(&["keys that begin with", "standing", "harmless value"], rows)
}

/// What the smallest possible file yields, by key.
fn defaults() -> BTreeMap<&'static str, String> {
    let mut file = Properties::new();
    file.set("dataDir", "/d");
    file.set("clientPort", "2181");
    let c = Config::from_properties(&file, &SystemProperties::new()).expect("the smallest file is valid");
    let ticks = |ms: i32, factor: i32| {
        assert_eq!(ms, c.tick_time_ms * factor);
        format!("{factor} × `tickTime`")
    };
    let limit = |n: u64, unit: &str| if n == 0 { "0 (no limit)".to_owned() } else { format!("{n}{unit}") };
    let kib = |bytes: u64| format!("{} (KiB)", bytes / 1024);
    let closed = Whitelist::default().words().filter(|(_, open)| !open).count();
    BTreeMap::from([
        ("dataDir", "required".to_owned()),
        ("dataLogDir", "`dataDir`".to_owned()),
        ("clientPort", "required, here or in the server's own `server.N` line".to_owned()),
        ("clientPortAddress", c.client_host.clone().unwrap_or_else(|| "all interfaces".to_owned())),
        ("clientPortListenBacklog", format!("{} (the system's)", c.client_port_listen_backlog)),
        ("tickTime", format!("{} ms", c.tick_time_ms)),
        ("minSessionTimeout", ticks(c.min_session_timeout_ms, 2)),
        ("maxSessionTimeout", ticks(c.max_session_timeout_ms, 20)),
        ("maxClientCnxns", limit(c.max_client_cnxns.into(), " connections from one address")),
        ("maxCnxns", limit(c.max_cnxns.into(), " connections")),
        ("snapCount", format!("{} transactions", c.snap_count)),
        ("snapSizeLimitInKb", kib(c.snap_size_limit_bytes)),
        ("preAllocSize", kib(c.pre_alloc_bytes)),
        ("txnLogSizeLimitInKb", c.txn_log_size_limit_bytes.map_or("no limit".to_owned(), kib)),
        ("autopurge.snapRetainCount", format!("{}, also the least", c.snap_retain_count)),
        ("autopurge.purgeInterval", format!("{} hours (off)", c.purge_interval_hours)),
        ("globalOutstandingLimit", format!("{} requests", c.global_outstanding_limit)),
        ("maxBatchSize", format!("{} transactions in one fsync", c.max_batch_size)),
        ("flushDelay", format!("{} ms", c.flush_delay_ms)),
        ("forceSync", if c.force_sync { "yes" } else { "no" }.to_owned()),
        ("fsync.warningthresholdms", format!("{} ms", c.fsync_warning_threshold_ms)),
        ("jute.maxbuffer", format!("{} bytes", c.jute_max_buffer)),
        ("standaloneEnabled", "true; `false` makes an ensemble of one `server.N` line too".to_owned()),
        ("initLimit", "required in an ensemble (ticks)".to_owned()),
        ("syncLimit", "required in an ensemble (ticks)".to_owned()),
        ("electionAlg", "3, which is all there is".to_owned()),
        ("leaderServes", "yes".to_owned()),
        ("peerType", "participant; the server's own line decides".to_owned()),
        ("quorumListenOnAllIPs", "false".to_owned()),
        ("cnxTimeout", "5000 ms".to_owned()),
        ("electionPortBindRetry", "3 tries, 0 = without end; the quorum port's too".to_owned()),
        ("connectToLearnerMasterLimit", "`initLimit`".to_owned()),
        ("commitLogCount", "500 transactions".to_owned()),
        ("snapshotSizeFactor", "0.33 of the newest snapshot".to_owned()),
        ("multiAddress.enabled", "false".to_owned()),
        ("fastleader.minNotificationInterval", "200 ms".to_owned()),
        ("fastleader.maxNotificationInterval", "60000 ms".to_owned()),
        ("leader.maxConcurrentSnapSyncs", "10; more wait".to_owned()),
        ("reconfigEnabled", c.reconfig_enabled.to_string()),
        ("dynamicConfigFile", "none".to_owned()),
        ("4lw.commands.whitelist", format!("all but {closed}, see four-letter-words.md")),
        ("extendedTypesEnabled", c.extended_types_enabled.to_string()),
        ("znode.container.checkIntervalMs", format!("{} ms", c.container_check_interval_ms)),
        ("znode.container.maxPerMinute", c.container_max_per_minute.to_string()),
        ("znode.container.maxNeverUsedIntervalMs", format!("{} (for ever)", c.container_max_never_used_ms)),
        ("digest.enabled", c.digest_enabled.to_string()),
        (
            "DigestAuthenticationProvider.superDigest",
            c.super_digest.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        ("DigestAuthenticationProvider.enabled", c.digest_auth_enabled.to_string()),
        ("enforceQuota", c.enforce_quota.to_string()),
        ("skipACL", if c.skip_acl { "yes" } else { "no" }.to_owned()),
        ("snapshot.trust.empty", c.snapshot_trust_empty.to_string()),
        ("snapshot.compression.method", code(&format!("{:?}", c.snapshot_compression).to_lowercase())),
        ("serializeLastProcessedZxid.enabled", c.serialize_last_processed_zxid.to_string()),
        ("tcpKeepAlive", c.tcp_keep_alive.to_string()),
        ("clientTcpKeepAlive", c.tcp_keep_alive.to_string()),
        ("nio.sessionlessCnxnTimeout", format!("{} ms", c.sessionless_timeout_ms)),
        ("readonlymode.enabled", "false; serves readers without a quorum, and opens `isro`".to_owned()),
        ("emulate353TTLNodes", c.emulate_353_ttl_nodes.to_string()),
        ("closeSessionTxn.enabled", c.close_session_txn_enabled.to_string()),
        ("datadir.autocreate", c.datadir_autocreate.to_string()),
        ("db.autocreate", "true; `false` counts in ensembles".to_owned()),
    ])
}

/// The meaning of each word; the list itself and its defaults are the code's.
fn meaning(word: &str) -> &'static str {
    match word {
        "conf" => "the configuration in effect, and the sizes of the data directories",
        "cons" => "one line a connection, with its session and statistics",
        "crst" => "resets the statistics of all connections",
        "dirs" => "bytes of snapshots and of logs",
        "dump" => "sessions by expiry time, and the ephemeral nodes of each",
        "envi" => "version, host, system and user, in the shape of Java's environment",
        "gtmk" => "the trace mask",
        "hash" => "the recent digests of the tree, by zxid",
        "isro" => "`ro` or `rw`; `null` while no leader is known",
        "mntr" => "metrics, one `zk_…` line each",
        "ruok" => "`imok`",
        "srst" => "resets the server's statistics",
        "srvr" => "version, latencies, counts, zxid, mode",
        "stat" => "`srvr` with a line a connection",
        "stmk" => {
            "sets the trace mask (eight bytes follow the word); it is kept and shown, and traces nothing"
        }
        "wchc" => "watched paths by session; walks all watches",
        "wchp" => "sessions by watched path; walks all watches",
        "wchs" => "counts of watches",
        other => panic!("{other} has no meaning here yet"),
    }
}

pub fn words() -> String {
    let unset = Whitelist::default();
    let rows = unset.words().map(|(word, open)| {
        vec![code(word), if open { "yes" } else { "" }.to_owned(), meaning(word).to_owned()]
    });
    table(&["word", "open when the key is unset", "answer"], rows)
}
