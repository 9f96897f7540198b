//! Reads: fetch offsets, describe, list; and the invariants.

use kafka_proto::ErrorCode;

use crate::group::{CommittedOffset, Group, GroupOverview, GroupSummary};

use super::{NEVER, Shard};

/// One partition's answer to OffsetFetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    pub partition: i32,
    /// `None`: nothing committed, the client applies its reset policy.
    pub committed: Result<Option<CommittedOffset>, ErrorCode>,
}

impl Shard {
    /// OffsetFetch. `topics` of `None` asks for everything committed. With `require_stable`, partitions
    /// whose offset is about to change are refused (KIP-447). State and membership do not matter.
    pub fn fetch_offsets(
        &self,
        group_id: &str,
        topics: Option<&[(String, Vec<i32>)]>,
        require_stable: bool,
    ) -> Vec<(String, Vec<FetchedOffset>)> {
        let group = self.groups.get(group_id).map(|slot| &slot.group);
        let fetch = |topic: &str, partition: i32| {
            let offsets = group.map(Group::offsets);
            let is_unstable = offsets.is_some_and(|offsets| offsets.is_unstable(topic, partition));
            let committed = match require_stable && is_unstable {
                true => Err(ErrorCode::UnstableOffsetCommit),
                false => Ok(offsets.and_then(|offsets| offsets.get(topic, partition)).cloned()),
            };
            FetchedOffset { partition, committed }
        };
        match topics {
            Some(topics) => topics
                .iter()
                .map(|(topic, partitions)| {
                    (topic.clone(), partitions.iter().map(|p| fetch(topic, *p)).collect())
                })
                .collect(),
            None => {
                let mut all: Vec<(String, Vec<FetchedOffset>)> = Vec::new();
                for (topic, partition, _) in group.into_iter().flat_map(|group| group.offsets().iter()) {
                    let answer = fetch(topic, partition);
                    match all.last_mut() {
                        Some((last, answers)) if **last == **topic => answers.push(answer),
                        _ => all.push((topic.to_string(), vec![answer])),
                    }
                }
                all
            }
        }
    }

    /// DescribeGroups, for one group.
    pub fn describe(&self, group_id: &str) -> GroupSummary {
        self.groups.get(group_id).map_or_else(GroupSummary::unknown, |slot| slot.group.summary())
    }

    /// ListGroups, in the order of group ids.
    pub fn list(&self) -> impl Iterator<Item = GroupOverview> {
        self.groups.values().map(|slot| slot.group.overview())
    }

    /// The group, if it is known. For tests and metrics.
    pub fn group(&self, group_id: &str) -> Option<&Group> {
        self.groups.get(group_id).map(|slot| &slot.group)
    }

    /// Panics if an invariant is broken. For tests and simulation.
    pub fn check(&self) {
        for (name, slot) in &self.groups {
            slot.group.check();
            assert_eq!(slot.armed_ms, slot.group.wake_at_ms(), "{name}: the wake time is not noted");
            assert!(
                slot.armed_ms == NEVER || self.timers.contains(&(slot.armed_ms, name.clone())),
                "{name}: no timer"
            );
        }
        let armed = self.groups.values().filter(|slot| slot.armed_ms != NEVER).count();
        assert_eq!(self.timers.len(), armed, "a timer without its group");
    }
}
