//! Learners that connected before it was known whether this server leads: a follower may be quicker.

use std::collections::BTreeMap;

use zk_proto::quorum::{Packet, PacketKind};

use crate::effect::{CloseReason, Effect};
use crate::input::LinkId;

/// More than the servers of any ensemble.
const PARKED_MAX: usize = 64;

#[derive(Debug)]
struct Parked {
    since_ms: u64,
    first: Option<Packet>,
}

#[derive(Debug, Default)]
pub(crate) struct ParkedLinks {
    links: BTreeMap<LinkId, Parked>,
}

impl ParkedLinks {
    pub(crate) fn connected(&mut self, now_ms: u64, link: LinkId, fx: &mut Vec<Effect>) {
        if self.links.len() >= PARKED_MAX {
            fx.push(Effect::CloseLearner { link, reason: CloseReason::TooMany(PARKED_MAX) });
        } else {
            self.links.insert(link, Parked { since_ms: now_ms, first: None });
        }
    }

    /// A learner says one thing and then waits for its leader.
    pub(crate) fn packet(&mut self, link: LinkId, packet: Packet, fx: &mut Vec<Effect>) {
        let Some(parked) = self.links.get_mut(&link) else { return };
        let is_greeting = matches!(packet.kind, PacketKind::FollowerInfo | PacketKind::ObserverInfo);
        if parked.first.is_none() && is_greeting {
            parked.first = Some(packet);
            return;
        }
        self.links.remove(&link);
        let what = format!("{:?} before it was answered", packet.kind);
        fx.push(Effect::CloseLearner { link, reason: CloseReason::Protocol { what } });
    }

    pub(crate) fn closed(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Whoever has waited that long had better look again.
    pub(crate) fn expire(&mut self, now_ms: u64, after_ms: u64, fx: &mut Vec<Effect>) {
        self.links.retain(|link, parked| {
            let stays = now_ms.saturating_sub(parked.since_ms) < after_ms;
            if !stays {
                fx.push(Effect::CloseLearner { link: *link, reason: CloseReason::NotLeading });
            }
            stays
        });
    }

    /// Another server leads.
    pub(crate) fn dismiss(&mut self, fx: &mut Vec<Effect>) {
        let links = std::mem::take(&mut self.links).into_keys();
        fx.extend(links.map(|link| Effect::CloseLearner { link, reason: CloseReason::NotLeading }));
    }

    /// This server leads.
    pub(crate) fn adopt(&mut self) -> BTreeMap<LinkId, Option<Packet>> {
        std::mem::take(&mut self.links).into_iter().map(|(link, parked)| (link, parked.first)).collect()
    }
}
