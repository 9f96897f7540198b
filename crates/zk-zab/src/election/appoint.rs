//! A leader without an election: a reconfiguration has named it (`QuorumPeer.updateVote`).

use zk_proto::quorum::{PeerState, Sid};

use super::{Election, LastLogged, Outcome, Vote};

impl Election {
    /// Takes that server for elected. `None` if it cannot be: nobody knows it as a voter, or it is this server and
    /// its history is damaged.
    pub(crate) fn appoint(&mut self, leader: Sid, own: Option<LastLogged>) -> Option<Outcome> {
        let active = self.electorate.active();
        let leads = leader == self.me;
        if !active.is_voter(leader) || leads && own.is_none() {
            return None;
        }
        let observes = active.members.contains_key(&self.me) && !active.is_voter(self.me);
        self.own = own;
        let LastLogged { zxid, epoch: peer_epoch } = own.unwrap_or(LastLogged { zxid: 0, epoch: 0 });
        self.vote = Vote { leader, zxid, peer_epoch };
        self.tally.clear();
        self.settle_at_ms = None;
        let (state, outcome) = match (leads, observes) {
            (true, _) => (PeerState::Leading, Outcome::Leads),
            (false, true) => (PeerState::Observing, Outcome::Observes { leader }),
            (false, false) => (PeerState::Following, Outcome::Follows { leader }),
        };
        self.state = state;
        Some(outcome)
    }
}
