//! JoinGroup: new members, members that come back, ids given out first (KIP-394).

use std::collections::BTreeSet;

use crate::effect::{JoinReply, Reply, Token};
use crate::request::JoinRequest;
use kafka_proto::ErrorCode;

use super::{Group, GroupState, Member, MemberUpdate, Step};

/// How long a new member's join may wait. Its connection may be dead without anybody noticing, and a
/// client that retries would leave a trail of such members.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// Ids given out and not yet used, per group. Each expires with its session timeout, but a client in a
/// loop must not fill the memory until then.
const PENDING_MEMBERS_MAX: usize = 10_000;

/// A join that is answered at once, without success.
struct Refusal {
    member_id: String,
    error: ErrorCode,
}

impl Refusal {
    fn new(member_id: impl Into<String>, error: ErrorCode) -> Self {
        Refusal { member_id: member_id.into(), error }
    }
}

impl Group {
    /// Answers now, or when the next generation starts.
    pub(crate) fn on_join(&mut self, step: &mut Step<'_>, token: Token, mut request: JoinRequest) {
        let mut names = BTreeSet::new();
        request.protocols.retain(|protocol| names.insert(protocol.name.clone()));

        if let Err(refusal) = self.route_join(step, token, request) {
            let reply = JoinReply::refused(refusal.member_id, refusal.error);
            step.reply(token, Reply::Join(reply));
        }
        self.try_complete_join(step);
    }

    fn route_join(&mut self, step: &mut Step<'_>, token: Token, request: JoinRequest) -> Result<(), Refusal> {
        if !self.has_room_for(step, &request.member_id) {
            self.remove_member(step, &request.member_id);
            return Err(Refusal::new("", ErrorCode::GroupMaxSizeReached));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(Refusal::new(request.member_id, ErrorCode::InconsistentGroupProtocol));
        }
        if request.member_id.is_empty() {
            self.join_new(step, token, request)
        } else if self.pending_members.contains_key(&request.member_id) {
            self.join_pending(step, token, request)
        } else {
            self.rejoin(step, token, request)
        }
    }

    /// While members gather, those who already wait count, not those known: a group that is too large
    /// loses whoever comes back last.
    fn has_room_for(&self, step: &Step<'_>, member_id: &str) -> bool {
        let known = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                known.is_some_and(Member::is_joining) || self.joining < step.config.group_size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_some() || self.members.len() < step.config.group_size_max
            }
        }
    }

    fn join_new(&mut self, step: &mut Step<'_>, token: Token, request: JoinRequest) -> Result<(), Refusal> {
        let prefix = request.instance_id.as_deref().unwrap_or(&request.client_id);
        let member_id = format!("{prefix}-{}", request.fresh_uuid);
        if let Some(instance_id) = request.instance_id.clone() {
            if let Some(old_id) = self.static_members.get(&instance_id).cloned() {
                self.return_static_member(step, token, old_id, member_id, request);
                return Ok(());
            }
        } else if request.member_id_required {
            return Err(self.give_out_id(step, member_id, &request));
        }
        self.add_and_rebalance(step, token, member_id, request);
        Ok(())
    }

    fn give_out_id(&mut self, step: &Step<'_>, member_id: String, request: &JoinRequest) -> Refusal {
        if self.pending_members.len() >= PENDING_MEMBERS_MAX {
            tracing::warn!(
                group = %self.id, client = %request.client_id, host = %request.client_host, limit = PENDING_MEMBERS_MAX,
                "refused a member: too many member ids of this group were given out and never used; a client may be joining in a loop"
            );
            return Refusal::new("", ErrorCode::GroupMaxSizeReached);
        }
        let deadline_ms = step.now.mono_ms.saturating_add(i64::from(request.session_timeout_ms.max(0)));
        self.pending_members.insert(member_id.clone(), deadline_ms);
        self.wake_by(deadline_ms);
        Refusal::new(member_id, ErrorCode::MemberIdRequired)
    }

    fn join_pending(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        request: JoinRequest,
    ) -> Result<(), Refusal> {
        if request.instance_id.is_some() {
            // Static members get their place at once, so nobody holds a pending id and a name.
            return Err(Refusal::new(request.member_id, ErrorCode::UnknownServerError));
        }
        let member_id = request.member_id.clone();
        self.add_and_rebalance(step, token, member_id, request);
        Ok(())
    }

    fn rejoin(&mut self, step: &mut Step<'_>, token: Token, request: JoinRequest) -> Result<(), Refusal> {
        let member_id = request.member_id.as_str();
        self.check_member(member_id, request.instance_id.as_deref())
            .map_err(|error| Refusal::new(member_id, error))?;
        let is_unchanged =
            self.members.get(member_id).is_some_and(|member| member.protocols == request.protocols);
        let may_answer_now = match self.state {
            GroupState::PreparingRebalance => false,
            // The reply to its first join was lost: tell it again.
            GroupState::CompletingRebalance => is_unchanged,
            // A leader joins again when it wants a new assignment, for instance for a topic's new partitions.
            GroupState::Stable => is_unchanged && !self.is_leader(member_id),
            GroupState::Empty | GroupState::Dead => {
                return Err(Refusal::new(member_id, ErrorCode::UnknownMemberId));
            }
        };
        if may_answer_now {
            step.reply(token, Reply::Join(self.joined_reply(member_id)));
            return Ok(());
        }
        let reason = format!(
            "member {member_id} joins again: {}",
            request.reason.as_deref().unwrap_or("no reason given")
        );
        let member_id = request.member_id.clone();
        self.update_member(step, &member_id, MemberUpdate::from_request(token, request));
        self.maybe_prepare_rebalance(step, &reason);
        Ok(())
    }

    fn add_and_rebalance(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        member_id: String,
        request: JoinRequest,
    ) {
        let reason = format!(
            "new member {member_id} joins: {}",
            request.reason.as_deref().unwrap_or("no reason given")
        );
        let mut member = Member::new(member_id.clone(), request.protocols);
        member.instance_id = request.instance_id;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        member.is_new = true;
        member.park_join(token);
        if self.state == GroupState::PreparingRebalance && self.generation_id == 0 {
            self.new_member_added = true;
        }
        self.add_member(member, request.protocol_type);
        self.expect_life_within(step, &member_id, NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.maybe_prepare_rebalance(step, &reason);
    }
}

impl MemberUpdate {
    pub(super) fn from_request(token: Token, request: JoinRequest) -> Self {
        MemberUpdate {
            protocols: request.protocols,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            token,
        }
    }
}
