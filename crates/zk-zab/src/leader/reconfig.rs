//! A reconfiguration as its leader sees it: who leads next, and when this server has to go.

use std::collections::BTreeSet;

use zk_proto::quorum::{Config, Sid};

use super::{Leader, Phase};
use crate::replica::{Leave, Next, Replica};

impl Leader {
    /// `Leader.getDesignatedLeader`: this server, if it votes in the new configuration at the same address, else a
    /// voter that has acknowledged as much as anybody.
    pub(super) fn designate(&self, replica: &Replica, reconfig: i64) -> Sid {
        let next = replica.configs.last_seen();
        let acked = |zxid: i64| -> BTreeSet<Sid> {
            let mut sids = self.learners.followers(-1, |link| link.synced() && link.acked >= zxid);
            sids.retain(|sid| next.is_voter(*sid) && *sid != replica.sid());
            sids
        };
        self.choose(replica, next, |leader| {
            let ahead =
                replica.history.pending().iter().map(|entry| entry.zxid).filter(|zxid| *zxid >= reconfig);
            let mut best = None;
            for candidates in ahead.map(acked) {
                match candidates.first() {
                    Some(first) => best = Some(*first),
                    None => break,
                }
            }
            best.unwrap_or(leader)
        })
    }

    fn choose(&self, replica: &Replica, next: &Config, best: impl FnOnce(Sid) -> Sid) -> Sid {
        let own = replica.sid();
        let quorum_address = |config: &Config| config.members.get(&own).map(|m| m.addresses.clone());
        let stays = next.is_voter(own) && quorum_address(next) == quorum_address(replica.configs.active());
        if stays { own } else { best(own) }
    }

    /// The configuration that NEWLEADER's quorum has agreed on counts from now on (Z-1324).
    pub(super) fn activate_at_start(&mut self, replica: &mut Replica, config: &Config) {
        let candidates =
            || self.new_leader_acks.iter().find(|sid| **sid != replica.sid() && config.is_voter(**sid));
        let leader = self.choose(replica, config, |own| candidates().copied().unwrap_or(own));
        self.adopt(replica, config, leader);
    }

    /// The reconfiguration is committed.
    pub(super) fn reconfigured(&mut self, replica: &mut Replica, leader: Sid) -> Result<(), Leave> {
        self.reconfig = None;
        let config = replica.configs.last_seen().clone();
        self.adopt(replica, &config, leader);
        self.after_loss(replica)
    }

    /// A leader that is not the next one commits nothing more (`allowedToCommit`) and waits until its followers have
    /// gone: they get the commit that way.
    fn adopt(&mut self, replica: &mut Replica, config: &Config, leader: Sid) {
        let own = replica.sid();
        let changed = replica.activate_config(config, own, Some(leader), false).is_err();
        if leader != own || changed {
            self.designated = Some(leader);
        }
    }

    /// A link is gone. A leader that another one follows goes as soon as its followers have; any other has until
    /// the next tick to see them again.
    pub(super) fn after_loss(&mut self, replica: &Replica) -> Result<(), Leave> {
        let there = self.learners.followers(replica.sid(), |_| true);
        let alone = self.phase == Phase::Broadcast && !replica.configs.is_quorum(&there);
        match self.designated {
            Some(_) if alone => Err(self.leave_to_designated("the next leader takes over".to_owned())),
            _ => Ok(()),
        }
    }

    /// Another one is designated; nothing is committed any more.
    pub(crate) fn gives_way(&self) -> bool {
        self.designated.is_some()
    }

    pub(super) fn leave_to_designated(&self, why: String) -> Leave {
        Leave { why, next: self.designated.map_or(Next::Look, Next::Designated) }
    }
}
