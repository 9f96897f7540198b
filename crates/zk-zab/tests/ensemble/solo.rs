//! One peer, fed by hand: what it says and when.

use bytes::Bytes;
use zk_proto::jute::Writer;
use zk_proto::quorum::packet::LearnerInfo;
use zk_proto::quorum::{Config, Notification, Packet, PacketKind, PeerState, Sid, zxid};
use zk_zab::{Effect, Entry, Input, LinkId, Options, Peer, Stable, Store, Stored};

use crate::world::{config, options, payload};

pub const fn z(epoch: i64, counter: i64) -> i64 {
    zxid::of(epoch, counter)
}

pub fn entry(zxid: i64) -> Entry {
    Entry { zxid, payload: payload(zxid, zxid) }
}

/// Servers 1, 2 and 3 vote, 9 observes.
pub fn three() -> Config {
    config(&[1, 2, 3], &[9])
}

/// A disk whose log ends with those entries.
pub fn stable(current: i64, zxids: &[i64]) -> Stable {
    Stable {
        accepted_epoch: current,
        current_epoch: current,
        last_zxid: Some(zxids.last().copied().unwrap_or(0)),
        recent: zxids.iter().copied().map(entry).collect(),
        config: three(),
        last_seen_config: None,
    }
}

pub struct Solo {
    pub peer: Peer,
    pub now_ms: u64,
    /// All effects so far.
    pub fx: Vec<Effect>,
}

impl Solo {
    pub fn new(options: Options, stable: Stable) -> Self {
        let mut solo = Self { peer: Peer::new(options, stable, 0), now_ms: 0, fx: Vec::new() };
        solo.step(Input::Tick);
        solo
    }

    /// Feeds one input and gives what it leads to.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut fx = Vec::new();
        self.peer.step(self.now_ms, input, &mut fx);
        self.peer.check();
        self.fx.extend(fx.iter().cloned());
        fx
    }

    pub fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let (end, mut fx) = (self.now_ms + ms, Vec::new());
        while self.now_ms < end {
            self.now_ms = end.min(self.now_ms + 10);
            fx.extend(self.step(Input::Tick));
        }
        fx
    }

    pub fn vote(
        &mut self,
        from: Sid,
        state: PeerState,
        leader: Sid,
        round: i64,
        last: (i64, i64),
    ) -> Vec<Effect> {
        let (peer_epoch, zxid) = last;
        let config = Some(three().to_string());
        let notification = Notification { state, leader, zxid, round, peer_epoch, config };
        self.step(Input::Notification { from, notification })
    }

    /// Server `sid` joins 3, which leads with 2 behind it, and has said its FOLLOWERINFO.
    pub fn joining(sid: Sid, stable: Stable) -> Self {
        Self::joining_with(options(sid), stable)
    }

    pub fn joining_with(options: Options, stable: Stable) -> Self {
        let mut solo = Self::new(options, stable);
        solo.vote(2, PeerState::Following, 3, 1, (1, 0));
        let fx = solo.vote(3, PeerState::Leading, 3, 1, (1, 0));
        assert!(fx.contains(&Effect::DialLeader { sid: 3 }), "{fx:?}");
        let fx = solo.step(Input::LeaderConnected);
        assert!(matches!(said(&fx)[..], [PacketKind::FollowerInfo | PacketKind::ObserverInfo]), "{fx:?}");
        solo
    }

    pub fn leader_says(&mut self, kind: PacketKind, zxid: i64) -> Vec<Effect> {
        self.step(Input::FromLeader { packet: Packet::new(kind, zxid) })
    }

    pub fn leader_sends(&mut self, kind: PacketKind, zxid: i64, data: impl Into<Bytes>) -> Vec<Effect> {
        self.step(Input::FromLeader { packet: Packet::with_data(kind, zxid, data) })
    }

    /// LEADERINFO as an original sends it.
    pub fn leader_info(&mut self, epoch: i64) -> Vec<Effect> {
        self.leader_sends(PacketKind::LeaderInfo, z(epoch, 0), vec![0, 1, 0, 0])
    }

    pub fn proposal(&mut self, zxid: i64) -> Vec<Effect> {
        self.leader_sends(PacketKind::Proposal, zxid, entry(zxid).payload)
    }

    pub fn new_leader(&mut self, epoch: i64) -> Vec<Effect> {
        self.leader_sends(PacketKind::NewLeader, z(epoch, 0), three().to_string())
    }

    pub fn stored(&mut self, stored: Stored) -> Vec<Effect> {
        self.step(Input::Stored(stored))
    }

    pub fn durable(&mut self, zxid: i64) -> Vec<Effect> {
        self.stored(Stored::Durable { zxid })
    }

    /// Follows epoch `epoch` up to date, with nothing to catch up.
    pub fn serving(sid: Sid, before: Stable, epoch: i64) -> Self {
        let last = before.last_zxid.unwrap();
        let mut solo = Self::joining(sid, before);
        solo.leader_info(epoch);
        solo.stored(Stored::AcceptedEpoch { epoch });
        solo.leader_says(PacketKind::Diff, last);
        solo.new_leader(epoch);
        solo.stored(Stored::CurrentEpoch { epoch });
        solo.leader_says(PacketKind::UpToDate, -1);
        solo
    }

    /// Server 3, elected by 1 and 2, all of the same history.
    pub fn elected(options: Options, stable: Stable) -> Self {
        let last = (stable.current_epoch, stable.last_zxid.unwrap());
        let mut solo = Self::new(options, stable);
        for from in [1, 2] {
            solo.vote(from, PeerState::Looking, 3, 1, last);
        }
        solo
    }

    pub fn learner_sends(
        &mut self,
        link: u64,
        kind: PacketKind,
        zxid: i64,
        data: impl Into<Bytes>,
    ) -> Vec<Effect> {
        self.step(Input::FromLearner { link: LinkId(link), packet: Packet::with_data(kind, zxid, data) })
    }

    pub fn greet(&mut self, link: u64, sid: Sid, accepted: i64) -> Vec<Effect> {
        self.greet_as(link, PacketKind::FollowerInfo, sid, accepted, 0)
    }

    pub fn greet_as(
        &mut self,
        link: u64,
        kind: PacketKind,
        sid: Sid,
        accepted: i64,
        version: i64,
    ) -> Vec<Effect> {
        self.step(Input::LearnerConnected { link: LinkId(link) });
        let mut w = Writer::new();
        LearnerInfo { sid, protocol: 0x10000, config_version: version }.encode(&mut w);
        self.learner_sends(link, kind, z(accepted, 0), w.into_vec())
    }

    pub fn ack_epoch(&mut self, link: u64, current: i32, last: i64) -> Vec<Effect> {
        self.learner_sends(link, PacketKind::AckEpoch, last, current.to_be_bytes().to_vec())
    }

    pub fn ack(&mut self, link: u64, zxid: i64) -> Vec<Effect> {
        self.step(Input::FromLearner { link: LinkId(link), packet: Packet::new(PacketKind::Ack, zxid) })
    }

    /// Server 3 leads epoch `current + 1` with server 1 on link 1 and server 2 on link 2.
    pub fn leading(options: Options, before: Stable) -> Self {
        let (current, last) = (before.current_epoch, before.last_zxid.unwrap());
        let epoch = current + 1;
        let mut solo = Self::elected(options, before);
        solo.greet(1, 1, current);
        solo.greet(2, 2, current);
        solo.stored(Stored::AcceptedEpoch { epoch });
        solo.ack_epoch(1, current as i32, last);
        solo.ack_epoch(2, current as i32, last);
        solo.stored(Stored::CurrentEpoch { epoch });
        solo.ack(1, z(epoch, 0));
        solo.ack(2, z(epoch, 0));
        solo.ack(1, z(epoch, 0));
        solo.ack(2, z(epoch, 0));
        solo
    }

    pub fn propose(&mut self, zxid: i64) -> Vec<Effect> {
        self.step(Input::Propose { entry: entry(zxid), reconfig: None })
    }
}

/// What it said to its leader.
pub fn said(fx: &[Effect]) -> Vec<PacketKind> {
    let packet = |effect: &Effect| match effect {
        Effect::SendLeader { packet } => Some(packet.kind),
        _ => None,
    };
    fx.iter().filter_map(packet).collect()
}

pub fn acks(fx: &[Effect]) -> Vec<i64> {
    let ack = |effect: &Effect| match effect {
        Effect::SendLeader { packet } if packet.kind == PacketKind::Ack => Some(packet.zxid),
        _ => None,
    };
    fx.iter().filter_map(ack).collect()
}

/// What it sent on that learner's link.
pub fn sent(fx: &[Effect], to: u64) -> Vec<(PacketKind, i64)> {
    let packet = |effect: &Effect| match effect {
        Effect::SendLearner { link, packet } if *link == LinkId(to) => Some((packet.kind, packet.zxid)),
        _ => None,
    };
    fx.iter().filter_map(packet).collect()
}

pub fn delivered(fx: &[Effect]) -> Vec<i64> {
    let zxid = |effect: &Effect| match effect {
        Effect::Deliver { zxid, .. } => Some(*zxid),
        _ => None,
    };
    fx.iter().filter_map(zxid).collect()
}

pub fn appended(fx: &[Effect]) -> Vec<i64> {
    let zxid = |effect: &Effect| match effect {
        Effect::Store(Store::Append(entry)) => Some(entry.zxid),
        _ => None,
    };
    fx.iter().filter_map(zxid).collect()
}

pub fn closed(fx: &[Effect]) -> Vec<(u64, String)> {
    let reason = |effect: &Effect| match effect {
        Effect::CloseLearner { link, reason } => Some((link.0, reason.to_string())),
        _ => None,
    };
    fx.iter().filter_map(reason).collect()
}

pub fn votes(fx: &[Effect]) -> Vec<Notification> {
    let vote = |effect: &Effect| match effect {
        Effect::Notify { notification, .. } => Some(notification.clone()),
        _ => None,
    };
    fx.iter().filter_map(vote).collect()
}
