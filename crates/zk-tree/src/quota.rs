//! Quotas: limits and counters kept in znodes under `/zookeeper/quota`.
//!
//! `/zookeeper/quota<path>/zookeeper_limits` puts `<path>` under quota; the `zookeeper_stats` beside it is
//! written by apply itself. Counters are not part of the digest and change no Stat. Limits are soft unless
//! `enforceQuota` is set and a hard limit is given (`Quotas`, `StatsTrack`, `PathTrie`).

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use bytes::Bytes;
use foldhash::fast::RandomState;
use zk_proto::{ErrorCode, path};

use crate::node::Node;
use crate::tree::{QUOTA, Tree};

const LIMIT_NODE: &str = "zookeeper_limits";
const STAT_NODE: &str = "zookeeper_stats";

/// The paths under quota.
#[derive(Debug, Default)]
pub struct QuotaIndex {
    paths: HashSet<Box<str>, RandomState>,
}

impl QuotaIndex {
    /// The longest of them that is `path` or above it.
    fn covering<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.paths.is_empty() {
            return None;
        }
        let mut at = path;
        while !at.is_empty() {
            if self.paths.contains(at) {
                return Some(at);
            }
            at = path::split(at)?.0;
        }
        None
    }
}

/// The text of a limits or stats node: `count=N,bytes=N`, with hard limits
/// `count=N,bytes=N=;byteHardLimit=N;countHardLimit=N`. The stray `=` makes old readers stop there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StatsTrack {
    values: BTreeMap<String, i64>,
}

impl StatsTrack {
    /// What cannot be read is left out, that is, unlimited.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut values = BTreeMap::new();
        for pair in text.split([',', ';']) {
            let mut parts = pair.split('=');
            if let (Some(key), Some(value)) = (parts.next(), parts.next())
                && let Ok(value) = if value.is_empty() { Ok(-1) } else { value.parse() }
            {
                values.insert(key.to_owned(), value);
            }
        }
        Self { values }
    }

    fn get(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    pub fn count(&self) -> i64 {
        self.get("count")
    }

    pub fn bytes(&self) -> i64 {
        self.get("bytes")
    }

    pub fn count_hard_limit(&self) -> i64 {
        self.get("countHardLimit")
    }

    pub fn byte_hard_limit(&self) -> i64 {
        self.get("byteHardLimit")
    }

    fn set(&mut self, count: i64, bytes: i64) {
        self.values.insert("count".to_owned(), count);
        self.values.insert("bytes".to_owned(), bytes);
    }

    pub fn to_text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let others = self.values.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes"));
        for (i, (key, value)) in others.enumerate() {
            let lead = if i == 0 { "=;" } else { ";" };
            write!(text, "{lead}{key}={value}").expect("writing to a string cannot fail");
        }
        text
    }
}

impl Tree {
    /// Keeps index and counters right after a create.
    pub(crate) fn on_created_for_quota(&mut self, path: &str, data: Option<&Bytes>) {
        if path.starts_with(QUOTA)
            && let Some((parent, name)) = path::split(path)
            && let Some(subject) = parent.strip_prefix(QUOTA)
        {
            match name {
                LIMIT_NODE => self.put_under_quota(subject),
                STAT_NODE => self.recount_quota(subject),
                _ => {}
            }
        }
        self.count_for_quota(path, data.map_or(0, |data| data.len() as i64), 1);
    }

    /// Keeps index and counters right after a delete.
    pub(crate) fn on_deleted_for_quota(&mut self, node: &Node) {
        if let Some((parent, LIMIT_NODE)) = path::split(&node.path)
            && let Some(subject) = parent.strip_prefix(QUOTA)
        {
            self.quotas.paths.remove(subject);
        }
        let bytes = node.data.as_ref().map_or(0, |data| data.len() as i64);
        self.count_for_quota(&node.path, -bytes, -1);
    }

    /// Adds to the counters of the quota that covers `path`, if there is one.
    pub(crate) fn count_for_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(subject) = self.quotas.covering(path) else { return };
        let stat_path = format!("{QUOTA}{subject}/{STAT_NODE}");
        if let Some(node) = self.nodes.get_mut(stat_path.as_str()) {
            let mut stats = StatsTrack::parse(node.data.as_deref().unwrap_or_default());
            stats.set(stats.count().wrapping_add(count), stats.bytes().wrapping_add(bytes));
            node.data = Some(stats.to_text().into());
        }
    }

    /// The root cannot be put under quota.
    fn put_under_quota(&mut self, subject: &str) {
        if !subject.is_empty() {
            self.quotas.paths.insert(subject.into());
        }
    }

    /// Counts a subtree anew into its stats node.
    fn recount_quota(&mut self, subject: &str) {
        let (mut count, mut bytes) = (0, 0);
        let mut open: Vec<&Node> = self.node(subject).into_iter().collect();
        while let Some(node) = open.pop() {
            count += 1;
            bytes += node.data.as_ref().map_or(0, |data| data.len() as i64);
            open.extend(node.children().iter().filter_map(|path| self.nodes.get(path)));
        }
        let stat_path = format!("{QUOTA}{subject}/{STAT_NODE}");
        if let Some(node) = self.nodes.get_mut(stat_path.as_str()) {
            let mut stats = StatsTrack::default();
            stats.set(count, bytes);
            node.data = Some(stats.to_text().into());
        }
    }

    /// Finds the quotas of a tree that was read from a snapshot, and counts them anew.
    pub(crate) fn set_up_quotas(&mut self) {
        let mut subjects: Vec<String> = Vec::new();
        let mut open: Vec<&Node> = self.node(QUOTA).into_iter().collect();
        while let Some(node) = open.pop() {
            if let Some((parent, LIMIT_NODE)) = path::split(&node.path)
                && node.child_count() == 0
                && let Some(subject) = parent.strip_prefix(QUOTA)
            {
                subjects.push(subject.to_owned());
            }
            open.extend(node.children().iter().filter_map(|path| self.nodes.get(path)));
        }
        for subject in subjects {
            self.recount_quota(&subject);
            self.put_under_quota(&subject);
        }
    }

    /// Would a write go over a hard limit? `bytes` and `count` are what it adds (`ZooKeeperServer.checkQuota`).
    pub(crate) fn check_quota(&self, path: &str, bytes: i64, count: i64) -> Result<(), ErrorCode> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        let Some(subject) = self.quotas.covering(path) else { return Ok(()) };
        let track = |name: &str| {
            let node = self.node(&format!("{QUOTA}{subject}/{name}"))?;
            Some(StatsTrack::parse(node.data.as_deref().unwrap_or_default()))
        };
        let (Some(limits), Some(current)) = (track(LIMIT_NODE), track(STAT_NODE)) else { return Ok(()) };
        let over = |hard_limit: i64, used: i64, added: i64| {
            added != 0 && hard_limit > -1 && used.saturating_add(added) > hard_limit
        };
        if over(limits.count_hard_limit(), current.count(), count)
            || over(limits.byte_hard_limit(), current.bytes(), bytes)
        {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_written() {
        let check = |text: &str, values: (i64, i64, i64, i64)| {
            let track = StatsTrack::parse(text.as_bytes());
            let got = (track.count(), track.bytes(), track.count_hard_limit(), track.byte_hard_limit());
            assert_eq!(got, values, "{text}");
            assert_eq!(StatsTrack::parse(track.to_text().as_bytes()).to_text(), track.to_text());
        };
        check("count=5,bytes=-1", (5, -1, -1, -1));
        check("count=5,bytes=10=;byteHardLimit=7;countHardLimit=8", (5, 10, 8, 7));
        check("", (-1, -1, -1, -1));
        check("nonsense,count=x", (-1, -1, -1, -1));
    }

    #[test]
    fn hard_limits_are_written_behind_a_stray_equals_sign() {
        let text = "count=5,bytes=10=;byteHardLimit=7;countHardLimit=8";
        assert_eq!(StatsTrack::parse(text.as_bytes()).to_text(), text);
    }
}
