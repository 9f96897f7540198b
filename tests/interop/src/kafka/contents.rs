//! Everything a broker's log directory shows to clients.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::cluster::{Cluster, Committed, Isolation, Reader, Seen};

/// One topic as consumers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub uncommitted: Vec<Seen>,
    pub committed: Vec<Seen>,
    /// Of each partition.
    pub watermarks: Vec<(i64, i64)>,
    /// Of each partition: for some of its timestamps, the offset the broker finds.
    pub by_time: Vec<Vec<(i64, i64)>>,
}

/// All topics and the offsets of the named groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub topics: BTreeMap<String, Topic>,
    /// Of each group.
    pub offsets: BTreeMap<String, Committed>,
}

impl Contents {
    pub fn take(cluster: &Cluster, groups: &[&str]) -> Result<Self> {
        let names = cluster.topics()?;
        let mut offsets = BTreeMap::new();
        for group in groups {
            offsets.insert((*group).to_owned(), cluster.committed(group, &names)?);
        }
        let readers = (cluster.reader(Isolation::Uncommitted)?, cluster.reader(Isolation::Committed)?);
        let mut topics = BTreeMap::new();
        for (name, partitions) in names {
            let topic = Topic::take(cluster, &readers, &name, partitions).with_context(|| name.clone())?;
            topics.insert(name, topic);
        }
        Ok(Self { topics, offsets })
    }

    pub fn records(&self) -> usize {
        self.topics.values().map(|topic| topic.uncommitted.len()).sum()
    }

    /// The first few differences in words, empty if there are none.
    pub fn differences(&self, other: &Self) -> String {
        let mut out = String::new();
        let names = |contents: &Self| contents.topics.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(other) {
            let _ = writeln!(out, "topics before: {:?}\nafter: {:?}", names(self), names(other));
        }
        for (name, topic) in &self.topics {
            if let Some(other) = other.topics.get(name) {
                topic.describe_differences(name, other, &mut out);
            }
        }
        for (group, offsets) in &self.offsets {
            let after = other.offsets.get(group);
            if after != Some(offsets) {
                let _ = writeln!(out, "{group:?} committed before: {offsets:?}\n  after: {after:?}");
            }
        }
        out
    }
}

impl Topic {
    fn take(cluster: &Cluster, readers: &(Reader, Reader), name: &str, partitions: usize) -> Result<Self> {
        let uncommitted = readers.0.read(name, partitions)?;
        let committed = readers.1.read(name, partitions)?;
        let (mut watermarks, mut by_time) = (Vec::new(), Vec::new());
        for partition in 0..i32::try_from(partitions)? {
            watermarks.push(cluster.watermarks(name, partition)?);
            let times =
                uncommitted.iter().filter(|seen| seen.partition == partition).filter_map(|s| s.timestamp_ms);
            let times: Vec<i64> = times.step_by(97).collect();
            let found =
                times.into_iter().map(|time| Ok((time, cluster.offset_for_time(name, partition, time)?)));
            by_time.push(found.collect::<Result<_>>()?);
        }
        Ok(Self { uncommitted, committed, watermarks, by_time })
    }

    fn describe_differences(&self, name: &str, other: &Self, out: &mut String) {
        for (what, before, after) in [
            ("uncommitted", &self.uncommitted, &other.uncommitted),
            ("committed", &self.committed, &other.committed),
        ] {
            if before != after {
                let at = before
                    .iter()
                    .zip(after)
                    .position(|(a, b)| a != b)
                    .unwrap_or(before.len().min(after.len()));
                let place = |seen: &[Seen]| seen.get(at).map(|s| format!("{}@{}", s.partition, s.offset));
                let _ = writeln!(
                    out,
                    "{name} read {what}: {} records before, {} after; first difference at {at}: {:?} before, {:?} after",
                    before.len(),
                    after.len(),
                    place(before),
                    place(after)
                );
            }
        }
        if self.watermarks != other.watermarks {
            let _ = writeln!(
                out,
                "{name} watermarks before: {:?}\n  after: {:?}",
                self.watermarks, other.watermarks
            );
        }
        if self.by_time != other.by_time {
            let _ = writeln!(
                out,
                "{name} offsets by time before: {:?}\n  after: {:?}",
                self.by_time, other.by_time
            );
        }
    }
}
