//! What an operator can set about the tree. It must be equal on all servers of an ensemble.

use bytes::Bytes;
use zk_proto::quorum::Config;

use crate::auth::AuthRules;
use crate::tree::{CONFIG_NODE, Tree, size_of_node};

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

impl Tree {
    /// Shows the ensemble's configuration at `/zookeeper/config`. The node is each server's own: no transaction
    /// is behind it, and no digest covers it (`ZKDatabase.initConfigInZKDatabase`).
    pub fn show_config(&mut self, config: &Config, now_ms: i64) {
        self.add_config_node();
        let text = Bytes::from(config.to_string());
        let Some(node) = self.nodes.get_mut(CONFIG_NODE) else { return };
        let before = size_of_node(CONFIG_NODE, node.data.as_ref());
        let after = size_of_node(CONFIG_NODE, Some(&text));
        node.data = Some(text);
        node.stat.version = -1;
        node.stat.mzxid = config.version;
        node.stat.mtime_ms = now_ms;
        self.data_size_bytes = (self.data_size_bytes + after).saturating_sub(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_shown_without_a_transaction() {
        let mut tree = Tree::new(TreeConfig::default());
        let (digest, size) = (tree.digest(), tree.data_size_bytes());
        let config = Config::parse("server.1=h:1:2\nserver.2=h:3:4\nversion=7").unwrap();
        tree.show_config(&config, 99);
        let node = tree.node(CONFIG_NODE).unwrap();
        assert_eq!(node.data.as_deref(), Some(config.to_string().as_bytes()));
        assert_eq!((node.stat.version, node.stat.mzxid, node.stat.mtime_ms), (-1, 7, 99));
        assert_eq!((tree.digest(), tree.last_zxid()), (digest, 0));
        assert_eq!(tree.data_size_bytes(), size + config.to_string().len() as u64);
        tree.check();
    }
}
