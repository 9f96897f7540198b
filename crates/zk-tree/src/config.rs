//! What an operator can set about the tree. It must be equal on all servers of an ensemble.

use crate::auth::AuthRules;

/// Settings that change what decide, apply and reads do; the defaults are Apache's.
#[derive(Debug, Clone)]
pub struct TreeConfig {
    /// `extendedTypesEnabled`: TTL nodes exist, and owners `0xff…` are theirs, not sessions'.
    pub extended_types_enabled: bool,
    /// `emulate353TTLNodes`: negative owners are TTL nodes as ZooKeeper 3.5.3 wrote them.
    pub emulate_353_ttl_nodes: bool,
    /// `digest.enabled`: keep the tree's digest and put it into transactions. Costs a CRC of each changed node.
    pub digest_enabled: bool,
    /// `closeSessionTxn.enabled`: list the ephemerals a closing session takes with it.
    pub close_session_txn_enabled: bool,
    /// `enforceQuota`: hard quota limits refuse writes instead of being only counted.
    pub enforce_quota: bool,
    pub auth: AuthRules,
}

impl Default for TreeConfig {
    fn default() -> Self {
        Self {
            extended_types_enabled: false,
            emulate_353_ttl_nodes: false,
            digest_enabled: true,
            close_session_txn_enabled: true,
            enforce_quota: false,
            auth: AuthRules::default(),
        }
    }
}
