//! Which assignment strategy the members agree on.

use std::collections::{BTreeMap, BTreeSet};

use crate::effect::JoinedMember;
use crate::request::Protocol;
use crate::subscription;

use super::{CONSUMER_PROTOCOL_TYPE, Group, GroupState};

impl Group {
    pub(super) fn count_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.protocol_support.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    pub(super) fn uncount_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.protocol_support.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.protocol_support.remove(&protocol.name);
                }
            }
        }
    }

    /// Whether someone with these protocols fits in: of the group's type, with one protocol all members share.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| {
                self.protocol_support.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
            })
    }

    /// The protocols every member supports.
    pub(super) fn candidate_protocols(&self) -> BTreeSet<&str> {
        self.protocol_support
            .iter()
            .filter(|(_, count)| **count == self.members.len())
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Each member votes for the candidate it likes best; the most votes win. A tie goes to the one the
    /// leader lists first (Kafka leaves ties to the order of a hash map).
    pub(super) fn select_protocol(&self) -> Option<String> {
        let candidates = self.candidate_protocols();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let favourite = member.protocols.iter().find(|own| candidates.contains(own.name.as_str()))?;
            *votes.entry(favourite.name.as_str()).or_default() += 1;
        }
        let leader = self.members.get(self.leader.as_ref()?)?;
        let most = votes.values().max().copied()?;
        let by_leaders_taste = leader.protocols.iter().map(|own| own.name.as_str());
        by_leaders_taste.into_iter().find(|name| votes.get(name) == Some(&most)).map(str::to_owned)
    }

    /// Everybody, with the subscription for the chosen protocol, in the order of member ids.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol),
            })
            .collect()
    }

    /// Reads the members' subscriptions, so that offsets of topics in use do not expire or get deleted.
    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            let Some(topics) = subscription::topics(&metadata) else {
                tracing::warn!(
                    group = %self.id, member = %member.id, protocol,
                    "a subscription does not follow the consumer protocol; the topics of this group are unknown, so its offsets do not expire while it has members"
                );
                return None;
            };
            all.extend(topics.into_iter().map(str::to_owned));
        }
        Some(all)
    }

    /// True also where the topics are unknown, to be safe.
    pub(super) fn may_be_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed_topics.as_ref().is_none_or(|topics| topics.contains(topic))
    }
}
