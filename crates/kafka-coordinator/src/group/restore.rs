//! A group as its last record describes it.

use std::sync::Arc;

use kafka_proto::messages::data::group_metadata::{GroupMetadataValue, MemberMetadata};

use crate::effect::Now;
use crate::request::Protocol;

use super::{Group, GroupState, Member, Offsets, Step};

impl Group {
    /// A group that only ever stored offsets, or a whole one. Members get a fresh session by
    /// [`Group::on_loaded`].
    pub(crate) fn restore(
        id: Arc<str>,
        value: Option<GroupMetadataValue>,
        offsets: Offsets,
        now: Now,
    ) -> Self {
        let mut group = Group::new(id, now);
        group.offsets = offsets;
        let Some(value) = value else { return group };
        group.generation_id = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
        group.protocol_name = value.protocol;
        group.state_since_ms = Some(value.current_state_timestamp).filter(|ms| *ms != -1);
        let protocol = group.protocol_name.clone().unwrap_or_default();
        for member in value.members {
            group.restore_member(member, &protocol);
        }
        let is_member = |id: &String| group.members.contains_key(id);
        group.leader = value.leader.filter(is_member).or_else(|| group.members.keys().next().cloned());
        group.state = if group.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        if group.state == GroupState::Stable {
            // A record without them was not written by any Kafka; any value keeps the group consistent.
            group.protocol_name.get_or_insert_default();
            group.protocol_type.get_or_insert_default();
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    fn restore_member(&mut self, stored: MemberMetadata, protocol: &str) {
        let protocols = vec![Protocol { name: protocol.to_owned(), metadata: stored.subscription }];
        let mut member = Member::new(stored.member_id, protocols);
        member.instance_id = stored.group_instance_id;
        member.client_id = stored.client_id;
        member.client_host = stored.client_host;
        member.rebalance_timeout_ms = stored.rebalance_timeout;
        member.session_timeout_ms = stored.session_timeout;
        member.assignment = stored.assignment;
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        if let Some(twin) = self.members.insert(member.id.clone(), member) {
            tracing::warn!(group = %self.id, member = %twin.id, "a group record names a member twice; the later entry counts");
        } else {
            *self.protocol_support.entry(protocol.to_owned()).or_default() += 1;
        }
    }

    /// Starts the sessions. A group above `group.max.size` rebalances, so that its members can commit
    /// before some of them lose their place.
    pub(crate) fn on_loaded(&mut self, step: &mut Step<'_>) {
        if self.members.len() > step.config.group_size_max {
            self.prepare_rebalance(step, "the loaded group is larger than group.max.size");
        }
        let member_ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in &member_ids {
            self.touch(step, member_id);
        }
    }

    /// Another broker coordinates the group from now on: whoever waits here is sent there.
    pub(crate) fn on_unload(&mut self, step: &mut Step<'_>) {
        use crate::effect::{JoinReply, Reply, SyncReply};
        use kafka_proto::ErrorCode;

        let mut members = std::mem::take(&mut self.members);
        for member in members.values_mut() {
            if let Some(token) = member.take_join() {
                let reply = JoinReply::refused(member.id.as_str(), ErrorCode::NotCoordinator);
                step.reply(token, Reply::Join(reply));
            }
            if let Some(token) = member.take_sync() {
                step.reply(token, Reply::Sync(SyncReply::refused(ErrorCode::NotCoordinator)));
            }
        }
        self.become_state(GroupState::Dead, step.now);
    }
}
