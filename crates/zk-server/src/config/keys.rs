//! The registry of zoo.cfg keys: which are honoured, which not yet, which have nothing to act on here.
//!
//! Names are those of zoo.cfg; a Java system property `zookeeper.X` is the key `X`. Properties that Apache
//! reads without that prefix (`jute.maxbuffer`, `znode.container.*`) keep their own name. Source:
//! `QuorumPeerConfig.parseProperties` and the administrator's guide of 3.9.3. The invariant: a key that is
//! in a file is either honoured or named at start, never ignored in silence.

/// What happens to a key that a user has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Read by [`super::Config`].
    Honoured,
    /// Concerns an ensemble, and has no effect there so far unless its value is the one given. A single server,
    /// Apache's too, does nothing with it.
    Ensemble(&'static str),
    /// The same, and leaving it out weakens security: a server of an ensemble refuses to start.
    EnsembleUnsafe(&'static str),
    /// Known and without effect so far, unless its value is the one given, which is what happens anyway.
    NotYet(&'static str),
    /// The same, and leaving it out weakens security: the server refuses to start.
    NotYetUnsafe(&'static str),
    /// Tunes a part of the Java server that has no counterpart here.
    Moot,
    /// Nobody knows it.
    Unknown,
}

use Standing::{Ensemble, EnsembleUnsafe, Honoured, Moot, NotYet, NotYetUnsafe};

/// Exact names.
const EXACT: &[(&str, Standing)] = &[
    ("dataDir", Honoured),
    ("dataLogDir", Honoured),
    ("clientPort", Honoured),
    ("clientPortAddress", Honoured),
    ("clientPortListenBacklog", Honoured),
    ("tickTime", Honoured),
    ("minSessionTimeout", Honoured),
    ("maxSessionTimeout", Honoured),
    ("maxClientCnxns", Honoured),
    ("maxCnxns", Honoured),
    ("snapCount", Honoured),
    ("snapSizeLimitInKb", Honoured),
    ("preAllocSize", Honoured),
    ("txnLogSizeLimitInKb", Honoured),
    ("autopurge.snapRetainCount", Honoured),
    ("autopurge.purgeInterval", Honoured),
    ("globalOutstandingLimit", Honoured),
    ("maxBatchSize", Honoured),
    ("flushDelay", Honoured),
    ("forceSync", Honoured),
    ("fsync.warningthresholdms", Honoured),
    ("jute.maxbuffer", Honoured),
    ("standaloneEnabled", Honoured),
    ("reconfigEnabled", Honoured),
    ("dynamicConfigFile", Honoured),
    ("4lw.commands.whitelist", Honoured),
    ("extendedTypesEnabled", Honoured),
    ("znode.container.checkIntervalMs", Honoured),
    ("znode.container.maxPerMinute", Honoured),
    ("znode.container.maxNeverUsedIntervalMs", Honoured),
    ("digest.enabled", Honoured),
    ("DigestAuthenticationProvider.superDigest", Honoured),
    ("enforceQuota", Honoured),
    ("skipACL", Honoured),
    ("snapshot.trust.empty", Honoured),
    ("serializeLastProcessedZxid.enabled", Honoured),
    ("tcpKeepAlive", Honoured),
    ("clientTcpKeepAlive", Honoured),
    ("nio.sessionlessCnxnTimeout", Honoured),
    ("readonlymode.enabled", Honoured),
    ("emulate353TTLNodes", Honoured),
    ("closeSessionTxn.enabled", Honoured),
    ("snapshot.compression.method", Honoured),
    ("DigestAuthenticationProvider.enabled", Honoured),
    ("datadir.autocreate", Honoured),
    ("db.autocreate", Honoured),
    ("initLimit", Honoured),
    ("syncLimit", Honoured),
    ("electionAlg", Honoured),
    ("leaderServes", Honoured),
    ("peerType", Honoured),
    ("quorumListenOnAllIPs", Honoured),
    ("cnxTimeout", Honoured),
    ("electionPortBindRetry", Honoured),
    ("connectToLearnerMasterLimit", Honoured),
    ("commitLogCount", Honoured),
    ("snapshotSizeFactor", Honoured),
    ("multiAddress.enabled", Honoured),
    ("fastleader.minNotificationInterval", Honoured),
    ("fastleader.maxNotificationInterval", Honoured),
    ("leader.maxConcurrentSnapSyncs", Honoured),
    ("leader.maxConcurrentDiffSyncs", Ensemble("100")),
    ("leader.maxTimeToWaitForEpoch", Ensemble("-1")),
    ("leader.closeSocketAsync", Moot),
    ("learner.closeSocketAsync", Moot),
    ("learner.asyncSending", Moot),
    ("leaderConnectDelayDuringRetryMs", Moot),
    ("syncEnabled", Ensemble("true")),
    ("observer.syncEnabled", Ensemble("true")),
    ("quorumCnxnTimeoutMs", Ensemble("-1")),
    ("observerMasterPort", Ensemble("0")),
    ("sslQuorum", EnsembleUnsafe("false")),
    ("sslQuorumReloadCertFiles", Ensemble("false")),
    ("portUnification", Ensemble("false")),
    ("quorum.auth.enableSasl", EnsembleUnsafe("false")),
    ("quorum.auth.learnerRequireSasl", EnsembleUnsafe("false")),
    ("quorum.auth.serverRequireSasl", EnsembleUnsafe("false")),
    ("quorum.cnxn.threads.size", Moot),
    ("localSessionsEnabled", Ensemble("false")),
    ("localSessionsUpgradingEnabled", Ensemble("false")),
    ("oraclePath", Ensemble("")),
    ("secureClientPort", NotYet("")),
    ("secureClientPortAddress", NotYet("")),
    ("snapshot.compression.enabled", NotYet("false")),
    ("audit.enable", NotYet("false")),
    ("audit.impl.class", NotYet("")),
    ("DigestAuthenticationProvider.digestAlg", NotYet("SHA1")),
    ("IPAuthenticationProvider.usexforwardedfor", NotYet("false")),
    ("X509AuthenticationProvider.superUser", NotYet("")),
    ("superUser", NotYet("")),
    ("ensembleAuthName", NotYet("")),
    ("enableEagerACLCheck", NotYet("false")),
    ("sessionRequireClientSASLAuth", NotYetUnsafe("false")),
    ("allowSaslFailedClients", NotYet("false")),
    ("requireClientAuthScheme", NotYetUnsafe("")),
    ("enforce.auth.enabled", NotYetUnsafe("false")),
    ("enforce.auth.schemes", NotYet("")),
    ("requestThrottleLimit", NotYet("0")),
    ("request_throttle_max_requests", NotYet("0")),
    ("connectionMaxTokens", NotYet("0")),
    ("connection_throttle_tokens", NotYet("0")),
    ("largeRequestMaxBytes", NotYet("")),
    ("largeRequestThreshold", NotYet("-1")),
    ("throttledOpWaitTime", NotYet("")),
    ("throttled_op_wait_time", NotYet("")),
    ("maxWriteQueuePollTime", Moot),
    ("jute.maxbuffer.extrasize", Moot),
    ("maxResponseCacheSize", Moot),
    ("maxGetChildrenResponseCacheSize", Moot),
    ("serverCnxnFactory", Moot),
    ("watchManagerName", Moot),
    ("watcherCleanThreadsNum", Moot),
    ("watcherCleanThreshold", Moot),
    ("watcherCleanIntervalInSeconds", Moot),
    ("maxInProcessingDeadWatchers", Moot),
    ("bitHashCacheSize", Moot),
    ("advancedFlowControlEnabled", Moot),
    ("fips-mode", Moot),
    ("intBufferStartingSizeBytes", Moot),
    ("leader.nodelay", Ensemble("true")),
    ("follower.nodelay", Ensemble("true")),
];

/// Families of names, tried after the exact ones.
const PREFIXES: &[(&str, Standing)] = &[
    ("server.", Honoured),
    ("group.", Honoured),
    ("weight.", Honoured),
    ("fastleader.", Ensemble("")),
    ("leader.", Ensemble("")),
    ("learner.", Ensemble("")),
    ("follower.", Ensemble("")),
    ("observer.", Ensemble("")),
    ("multiAddress.", Ensemble("")),
    ("quorum.", Ensemble("")),
    ("ssl.quorum.", Ensemble("")),
    ("ssl.", NotYet("")),
    ("client.", NotYet("")),
    ("admin.enableServer", NotYet("false")),
    ("admin.", NotYet("")),
    ("metricsProvider.", NotYet("")),
    // A scheme that is not offered lets nobody in: its logins fail and its ACL entries match no one.
    ("authProvider", NotYet("")),
    ("kerberos.", NotYet("")),
    ("sasl.", NotYet("")),
    ("serverUsers", NotYet("")),
    ("requestThrottle", NotYet("")),
    ("request_throttle", NotYet("")),
    ("requestStale", NotYet("")),
    ("request_stale", NotYet("")),
    ("connectionToken", NotYet("")),
    ("connectionFreeze", NotYet("")),
    ("connectionDrop", NotYet("")),
    ("connectionDecrease", NotYet("")),
    ("connection_throttle", NotYet("")),
    ("outstandingHandshake", NotYet("")),
    ("nio.", Moot),
    ("netty.", Moot),
    ("jvm.pause.", Moot),
    ("jmx.", Moot),
    ("jetty.", Moot),
    ("root.logger", Moot),
    ("console.threshold", Moot),
    ("log.", Moot),
    ("tracelog.", Moot),
    ("DigestAuthenticationProvider.", NotYet("")),
];

/// Properties that Apache reads without the `zookeeper.` prefix, hence only from `-D`.
pub(crate) const UNPREFIXED: &[&str] = &[
    "jute.maxbuffer",
    "readonlymode.enabled",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
    "leader.nodelay",
    "follower.nodelay",
];

pub(crate) fn standing(key: &str) -> Standing {
    let exact = EXACT.iter().find(|(name, _)| *name == key);
    let family = || PREFIXES.iter().find(|(prefix, _)| key.starts_with(prefix));
    exact.or_else(family).map_or(Standing::Unknown, |(_, standing)| *standing)
}

/// A key, or a family of them, as the documentation lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentedKey {
    /// A family's name is the prefix of its keys.
    pub name: &'static str,
    pub is_family: bool,
    /// `honoured`, `pending`, `refused`, `pending in ensembles`, `refused in ensembles` or `moot`.
    pub standing: &'static str,
    /// The one value that is no deviation, for what is pending or refused; may be empty.
    pub harmless: &'static str,
}

/// The whole registry in alphabetical order, for documentation.
pub fn documented_keys() -> Vec<DocumentedKey> {
    let row = |(name, standing): (&'static str, Standing), is_family| {
        let (standing, harmless) = match standing {
            Honoured => ("honoured", ""),
            Ensemble(usual) => ("pending in ensembles", usual),
            EnsembleUnsafe(usual) => ("refused in ensembles", usual),
            NotYet(usual) => ("pending", usual),
            NotYetUnsafe(usual) => ("refused", usual),
            Moot => ("moot", ""),
            Standing::Unknown => ("unknown", ""),
        };
        DocumentedKey { name, is_family, standing, harmless }
    };
    let exact = EXACT.iter().map(|entry| row(*entry, false));
    let mut keys: Vec<_> = exact.chain(PREFIXES.iter().map(|entry| row(*entry, true))).collect();
    keys.sort_by_key(|key| (key.name.to_ascii_lowercase(), key.is_family));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_in_the_table_once() {
        for (at, (name, _)) in EXACT.iter().enumerate() {
            assert!(EXACT[..at].iter().all(|(earlier, _)| earlier != name), "{name} stands twice");
        }
    }

    #[test]
    fn exact_names_win_over_families() {
        assert_eq!(standing("nio.sessionlessCnxnTimeout"), Honoured);
        assert_eq!(standing("nio.numSelectorThreads"), Moot);
        assert_eq!(standing("tickTimee"), Standing::Unknown);
    }
}
