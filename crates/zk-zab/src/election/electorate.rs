//! Who may vote, and what is a quorum: the active configuration and, while a reconfig is under way, the next one.

use std::collections::BTreeSet;

use zk_proto::quorum::{Config, Sid};

/// With a next configuration, whatever is decided needs a quorum in both (Apache's `SyncedLearnerTracker` with two
/// verifiers).
#[derive(Debug)]
pub(super) struct Electorate {
    active: Config,
    next: Option<Config>,
    /// Of either.
    voters: BTreeSet<Sid>,
    /// What notifications carry; `None` if nobody votes, for such text ends an Apache server's receiver thread.
    text: Option<String>,
}

impl Electorate {
    /// `last_seen` is the next configuration only if it is newer.
    pub(super) fn new(active: &Config, last_seen: Option<&Config>) -> Self {
        let next = last_seen.filter(|seen| seen.version > active.version).cloned();
        let voters = active.voters().chain(next.iter().flat_map(Config::voters)).collect();
        let text = active.voters().next().is_some().then(|| active.to_string());
        Self { active: active.clone(), next, voters, text }
    }

    pub(super) fn active(&self) -> &Config {
        &self.active
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub(super) fn voters(&self) -> &BTreeSet<Sid> {
        &self.voters
    }

    pub(super) fn is_voter(&self, sid: Sid) -> bool {
        self.voters.contains(&sid)
    }

    pub(super) fn is_quorum(&self, servers: &BTreeSet<Sid>) -> bool {
        self.active.is_quorum(servers) && self.next.as_ref().is_none_or(|next| next.is_quorum(servers))
    }

    /// Whether a leader with these followers leads. The next configuration has no say: the leader has asked it, and a
    /// server whose last seen configuration was never committed would otherwise find no leader ever again.
    pub(super) fn is_followed_by(&self, servers: &BTreeSet<Sid>) -> bool {
        self.active.is_quorum(servers)
    }

    /// Whether that server can be elected, by its weight.
    pub(super) fn has_weight(&self, sid: Sid) -> bool {
        self.active.groups.is_empty() || self.active.weight(sid) != 0
    }

    /// A configuration read from a notification, if it can be one at all.
    pub(super) fn parse(&self, text: Option<&str>) -> Option<Config> {
        let text = text?;
        if self.text() == Some(text) {
            return Some(self.active.clone());
        }
        match Config::parse(text) {
            Ok(config) if config.voters().next().is_none() => None,
            Ok(config) => Some(config),
            Err(error) => {
                tracing::debug!(%error, "a notification's configuration cannot be read; it is ignored");
                None
            }
        }
    }
}
