//! Which configuration counts, and which has been proposed after it.
//!
//! Rule 14: at most one reconfiguration is outstanding; while it is, a quorum is one of the old and of the new.
//! Nothing here ever changes unless `reconfigEnabled` (facts: a 3.5.7 leader always sends a version).

use std::collections::BTreeSet;

use zk_proto::quorum::{Config, Sid};

#[derive(Debug)]
pub(crate) struct Configs {
    enabled: bool,
    active: Config,
    /// Newer than `active`.
    seen: Option<Config>,
    /// Not yet told to the election.
    changed: bool,
}

impl Configs {
    pub(crate) fn new(enabled: bool, active: Config, seen: Option<Config>) -> Self {
        let seen = seen.filter(|seen| enabled && seen.version > active.version);
        Self { enabled, active, seen, changed: false }
    }

    pub(crate) fn active(&self) -> &Config {
        &self.active
    }

    /// The proposed one, while it is not active.
    pub(crate) fn outstanding(&self) -> Option<&Config> {
        self.seen.as_ref()
    }

    /// `getLastSeenQuorumVerifier`.
    pub(crate) fn last_seen(&self) -> &Config {
        self.seen.as_ref().unwrap_or(&self.active)
    }

    /// A quorum of every configuration that counts.
    pub(crate) fn is_quorum(&self, servers: &BTreeSet<Sid>) -> bool {
        self.active.is_quorum(servers) && self.seen.as_ref().is_none_or(|seen| seen.is_quorum(servers))
    }

    /// `setLastSeenQuorumVerifier`: whether it is news.
    pub(crate) fn see(&mut self, config: &Config) -> bool {
        let news = self.enabled && config.version > self.last_seen().version;
        if news {
            self.seen = Some(config.clone());
            self.changed = true;
        }
        news
    }

    /// `setQuorumVerifier`: the one before, if this one is newer.
    pub(crate) fn activate(&mut self, config: &Config) -> Option<Config> {
        if !self.enabled || config.version <= self.active.version {
            return None;
        }
        self.changed = true;
        self.seen = self.seen.take().filter(|seen| seen.version > config.version);
        Some(std::mem::replace(&mut self.active, config.clone()))
    }

    /// The last seen configuration is older than an epoch whose leader knows nothing of it: it was never committed
    /// and never will be. The one that counts, if that is news.
    pub(crate) fn forget_older_than(&mut self, zxid: i64) -> Option<&Config> {
        self.seen.take_if(|seen| seen.version < zxid)?;
        self.changed = true;
        Some(&self.active)
    }

    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// Whether two configurations differ in more than their version.
pub(crate) fn differ(one: &Config, other: &Config) -> bool {
    one.members != other.members || one.groups != other.groups || one.weights != other.weights
}
