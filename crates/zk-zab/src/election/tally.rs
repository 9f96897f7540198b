//! Votes received: those of this round, and what servers with a leader say of it.
//!
//! Holds at most one entry of each kind for each voter.

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::quorum::{PeerState, Sid};

use super::vote::Vote;

/// A vote and the state of who gave it.
#[derive(Debug, Clone, Copy)]
struct Cast {
    vote: Vote,
    state: PeerState,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of this round (`recvset`).
    round: BTreeMap<Sid, Cast>,
    /// Of servers that follow or lead, whatever the round (`outofelection`).
    settled: BTreeMap<Sid, Cast>,
    /// Voters that look but say they have no history, so no vote.
    abstaining: BTreeSet<Sid>,
}

impl Tally {
    /// Votes of an earlier round count no more; leaders known stay known.
    pub(super) fn begin_round(&mut self) {
        self.round.clear();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// `from` looks, and votes for this in the current round.
    pub(super) fn cast(&mut self, from: Sid, vote: Vote) {
        self.round.insert(from, Cast { vote, state: PeerState::Looking });
    }

    /// `from` looks: whoever it said it followed, it does no more.
    pub(super) fn looks(&mut self, from: Sid) {
        self.settled.remove(&from);
        self.abstaining.remove(&from);
    }

    pub(super) fn abstains(&mut self, from: Sid) {
        self.round.remove(&from);
        self.abstaining.insert(from);
    }

    /// `from` follows or leads, by an election of this round or of another.
    pub(super) fn settles(&mut self, from: Sid, vote: Vote, state: PeerState, in_this_round: bool) {
        let cast = Cast { vote, state };
        self.abstaining.remove(&from);
        self.settled.insert(from, cast);
        if in_this_round {
            self.round.insert(from, cast);
        }
    }

    /// `from` cannot be heard: if it led, nobody may conclude from that any more.
    pub(super) fn lost(&mut self, from: Sid) {
        self.settled.remove(&from);
    }

    /// Who votes for exactly this in the current round.
    pub(super) fn supporters(&self, vote: Vote) -> BTreeSet<Sid> {
        self.round.iter().filter(|(_, cast)| cast.vote == vote).map(|(sid, _)| *sid).collect()
    }

    /// Whether that voter has had its say in this round, so that nothing better is to be expected of it.
    pub(super) fn agrees(&self, sid: Sid, leader: Sid) -> bool {
        self.abstaining.contains(&sid) || self.round.get(&sid).is_some_and(|cast| cast.vote.leader == leader)
    }

    /// The voters of this round that are for `vote`'s leader, if that leads already. Votes of who looks must be the
    /// same in all; of who has settled the leader says enough, for within a round its epoch may be known to some
    /// and not yet to others (`Vote.equals`).
    pub(super) fn settled_in_round(&self, vote: Vote) -> Option<BTreeSet<Sid>> {
        let same = |cast: &Cast| match cast.state {
            PeerState::Looking => cast.vote == vote,
            _ => cast.vote.leader == vote.leader,
        };
        leads(&self.round, vote.leader).then(|| matching(&self.round, same))
    }

    /// The voters that follow `vote`'s leader in its epoch whatever the round, if that leads. Round and zxid are
    /// not compared: they differ by how each came to follow (ZOOKEEPER-1805).
    pub(super) fn settled(&self, vote: Vote) -> Option<BTreeSet<Sid>> {
        let same = |cast: &Cast| cast.vote.leader == vote.leader && cast.vote.peer_epoch == vote.peer_epoch;
        leads(&self.settled, vote.leader).then(|| matching(&self.settled, same))
    }

    /// Everybody with an entry.
    pub(super) fn voters(&self) -> impl Iterator<Item = Sid> + '_ {
        self.round.keys().chain(self.settled.keys()).chain(&self.abstaining).copied()
    }
}

/// `FastLeaderElection.checkLeader`: a server leads only if it says so itself. Otherwise servers that have not yet
/// noticed their leader's end would have it elected over and over.
fn leads(votes: &BTreeMap<Sid, Cast>, leader: Sid) -> bool {
    votes.get(&leader).is_some_and(|cast| cast.state == PeerState::Leading)
}

fn matching(votes: &BTreeMap<Sid, Cast>, same: impl Fn(&Cast) -> bool) -> BTreeSet<Sid> {
    votes.iter().filter(|(_, cast)| same(cast)).map(|(sid, _)| *sid).collect()
}
