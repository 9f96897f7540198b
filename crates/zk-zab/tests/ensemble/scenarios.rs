//! Lives of ensembles, told one by one.

use zk_proto::quorum::PacketKind;
use zk_zab::{Effect, Options, Phase, Role};

use crate::disk::Disk;
use crate::solo::{Solo, delivered, stable, z};
use crate::world::{Event, World, options};

fn started(voters: &[i64], observers: &[i64]) -> World {
    let mut world = World::new(voters, observers);
    world.start_all();
    world.run(1000);
    world
}

/// Elect, synchronise by DIFF, broadcast, commit; the leader dies; the others go on with all that was committed.
#[test]
fn three_servers_elect_commit_and_survive_their_leader() {
    let mut world = started(&[1, 2, 3], &[]);
    assert_eq!(world.leader(), Some(3));
    world.write(5);
    world.run(100);
    world.assert_healed();
    assert_eq!(world.committed.len(), 5);
    assert!(world.node(1).got.contains(&PacketKind::Diff));

    world.crash(3);
    world.run(1000);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(world.node(2).role, Role::Leading { epoch: 2 });
    world.write(3);
    world.start(3);
    world.run(1000);
    world.assert_healed();
    assert_eq!(world.committed.len(), 8);
}

/// Who notices first that the leader is gone says its vote while the others still follow. It is not lost to them: no time
/// passes here.
#[test]
fn a_vote_that_comes_a_moment_too_soon_counts() {
    let mut world = started(&[1, 2, 3], &[]);
    let link = |world: &World, sid| world.links.iter().find(|link| link.learner == sid).unwrap().id;
    world.crash(3);
    let noticed = link(&world, 2);
    world.happen(Event::Closed(noticed));
    world.happen(Event::Mesh(2, 1));
    assert_eq!(world.node(1).role, Role::Following { leader: 3 });
    let noticed = link(&world, 1);
    world.happen(Event::Closed(noticed));
    world.quiesce();
    assert_eq!(world.leader(), Some(2));
}

/// Its history is lost, its promise is not: the others have to come to a later epoch before it can follow.
#[test]
fn a_damaged_server_that_has_promised_a_later_epoch_is_healed() {
    let mut world = started(&[1, 2, 3], &[]);
    world.write(3);
    world.crash(1);
    let config = world.node(1).disk.config.clone();
    world.node(1).disk = Disk { damaged: true, accepted: 4, config, ..Disk::default() };
    world.start(1);
    world.run(3000);
    world.assert_healed();
    assert!(world.status(1).current_epoch >= 4);
}

/// Facts 4.12 (20): the largest number of the first majority leads.
#[test]
fn started_one_by_one_the_second_leads() {
    let mut world = World::new(&[1, 2, 3], &[]);
    for sid in [1, 2, 3] {
        world.start(sid);
        world.run(1000);
    }
    world.assert_healed();
    assert_eq!(world.leader(), Some(2));
}

#[test]
fn one_voter_is_an_ensemble() {
    let mut world = started(&[1], &[]);
    world.write(3);
    world.run(100);
    assert_eq!(world.node(1).role, Role::Leading { epoch: 1 });
    assert_eq!(world.committed.len(), 3);
}

/// Rule 7: whatever is logged is replayed, and a new leader commits it by completing NEWLEADER.
#[test]
fn rule_07_a_new_leader_commits_its_whole_log() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    solo.proposal(z(5, 1));
    solo.durable(z(5, 1));
    let at = solo.fx.len();
    solo.step(zk_zab::Input::LeaderClosed);
    for from in [2, 3] {
        solo.vote(from, zk_proto::quorum::PeerState::Looking, 1, 2, (5, z(5, 1)));
    }
    assert_eq!(delivered(&solo.fx[at..]), [z(5, 1)], "before any learner is synchronised");
    assert_eq!(solo.peer.status().phase, Phase::Discovery);
    assert!(!solo.fx[at..].iter().any(|effect| matches!(effect, Effect::Role(Role::Leading { .. }))));

    // In a whole ensemble: the power fails when two have it on disk and nobody has committed it.
    let mut world = started(&[1, 2, 3], &[]);
    world.write(1);
    let zxid = world.propose().unwrap();
    while world.nodes.values().filter(|node| node.disk.last() == zxid).count() < 2 {
        let event = world.events()[0];
        world.happen(event);
    }
    for sid in [1, 2, 3] {
        world.crash(sid);
    }
    world.start_all();
    world.run(1000);
    world.assert_healed();
}

/// An entry that only its old leader has is gone when that leader comes back (TRUNC), the tree included.
#[test]
fn what_was_never_acknowledged_is_truncated() {
    let mut world = started(&[1, 2, 3], &[]);
    world.write(2);
    world.cut(1, 3);
    world.cut(2, 3);
    world.propose();
    world.quiesce();
    assert_eq!(world.node(3).disk.log.len(), 3);
    world.run(1000);
    assert_eq!(world.leader(), Some(2));
    world.heal();
    world.run(1000);
    world.assert_healed();
    assert!(world.node(3).got.contains(&PacketKind::Trunc));
    assert_eq!(world.node(3).disk.log.len(), 2);
}

#[test]
fn a_follower_far_behind_gets_the_log_and_one_without_it_a_snapshot() {
    let mut world = started(&[1, 2, 3], &[]);
    world.write(1);
    world.crash(1);
    world.write(25);
    world.start(1);
    world.run(500);
    world.assert_healed();
    assert!(!world.node(1).got.contains(&PacketKind::Snap), "its log reaches back");
    world.crash(1);
    world.write(25);
    world.crash(3);
    world.node(3).disk.compact();
    world.start(3);
    world.run(1000);
    world.crash(2);
    world.node(2).disk.compact();
    world.start(2);
    world.run(1000);
    world.start(1);
    world.run(1000);
    world.assert_healed();
    assert!(world.node(1).got.contains(&PacketKind::Snap));
    assert_eq!(world.node(1).disk.snapshot.as_ref().map(|(zxid, _)| *zxid), Some(z(1, 51)));
}

#[test]
fn an_observer_has_what_is_committed_and_no_vote() {
    let mut world = started(&[1, 2, 3], &[9]);
    world.write(3);
    world.run(100);
    world.assert_healed();
    assert_eq!(world.node(9).role, Role::Observing { leader: 3 });
    assert!(world.node(9).got.contains(&PacketKind::Inform));
    assert!(!world.node(9).got.contains(&PacketKind::Commit));
    assert_eq!(world.node(9).disk.log.len(), 3, "it logs them (syncEnabled)");
    world.crash(1);
    world.crash(2);
    world.run(1000);
    assert_eq!(world.leader(), None, "an observer makes no majority");
    world.start(1);
    world.run(1000);
    world.write(1);
    world.run(100);
    world.assert_healed();
}

/// Z-3526: whoever cannot see a majority keeps its zxid.
#[test]
fn a_minority_serves_nobody_and_keeps_its_zxid() {
    let mut world = started(&[1, 2, 3], &[]);
    world.write(2);
    world.run(50);
    world.cut(1, 2);
    world.cut(1, 3);
    world.run(1000);
    assert_eq!(world.node(1).role, Role::Looking);
    assert_eq!(world.status(1).last_durable, z(1, 2));
    world.write(1);
    world.heal();
    world.run(1000);
    world.assert_healed();
    assert!(!world.node(1).got.contains(&PacketKind::Trunc));
}

/// Z-1277, Z-2789: one election each time, nothing lost.
#[test]
fn the_roll_over_costs_one_election_and_no_transaction() {
    let config = crate::world::config(&[1, 2, 3], &[]);
    let mut world = World::with(config, |options| options.counter_max = 5);
    world.start_all();
    world.run(1000);
    for epoch in 1..5 {
        assert_eq!(world.leader().map(|leader| world.status(leader).current_epoch), Some(epoch));
        let rounds = world.status(3).round;
        world.write(5);
        assert_eq!(world.committed.len() as i64, 5 * epoch);
        let before = world.now_ms;
        while world.leader().is_none() {
            world.run(10);
            assert!(world.now_ms < before + 500, "an outage of no more than an election");
        }
        world.run(50);
        world.assert_healed();
        assert_eq!(world.status(3).round, rounds + 1);
    }
}

/// Rule 13, Z-4882: a disk that does not answer any more acknowledges nothing; the others go on without it.
#[test]
fn rule_13_a_server_whose_disk_stops_leaves_the_quorum() {
    let mut world = started(&[1, 2, 3], &[]);
    world.write(1);
    world.node(3).held_disk = true;
    world.propose();
    world.quiesce();
    assert_eq!(world.committed.len(), 2, "the leader's own disk is not needed for a quorum");
    world.node(3).held_disk = false;
    world.node(1).held_disk = true;
    world.propose();
    world.run(1500);
    assert_eq!(world.committed.len(), 3);
    assert!(world.node(3).reasons.iter().any(|reason| reason.to_string().contains("not acknowledged")));
    assert_eq!(world.node(1).role, Role::Looking, "and it does not vote: its disk owes an answer");
    world.write(1);
    world.node(1).held_disk = false;
    world.run(1000);
    world.assert_healed();
}

/// A server whose disk was lost comes back as one that does not count, and is given everything.
#[test]
fn a_damaged_server_is_synchronised_and_then_votes() {
    let mut world = started(&[1, 2, 3], &[]);
    world.write(5);
    world.crash(1);
    world.node(1).disk = crate::disk::Disk { damaged: true, ..Default::default() };
    world.crash(3);
    world.start(1);
    world.run(2000);
    assert_eq!(world.leader(), None, "2 alone is no majority, and 1 does not count");
    world.start(3);
    world.run(4000);
    world.assert_healed();
    assert!(world.node(1).got.contains(&PacketKind::Snap));
    world.crash(3);
    world.run(1000);
    world.write(1);
    assert_eq!(world.committed.len(), 6, "now it does");
}

/// Found by simulation: with just enough voters left, a leader and one of them unseated each other over and over.
#[test]
fn a_voter_that_looks_for_this_very_leader_does_not_unseat_it() {
    let mut solo = Solo::elected(options(3), stable(4, &[]));
    solo.pass(7 * crate::world::TICK_MS);
    let fx = solo.vote(1, zk_proto::quorum::PeerState::Looking, 3, 2, (4, 0));
    assert_eq!(solo.peer.status().phase, Phase::Discovery);
    let told = |fx: &[Effect]| fx.iter().any(|fx| matches!(fx, Effect::Notify { to: 1, .. }));
    assert!(told(&fx), "it hears who leads");
}

/// Found by simulation: a configuration is proposed that makes a voter of server 9, and it does not know. Without its
/// word the others have no quorum of the new configuration, after which it would hear of it.
#[test]
fn who_has_no_vote_repeats_the_best_one_it_hears() {
    let repeated = |fx: Vec<Effect>| -> Vec<(i64, i64)> {
        let vote = |fx: &Effect| match fx {
            Effect::Notify { to, notification } if notification.leader > 0 => {
                Some((*to, notification.leader))
            }
            _ => None,
        };
        fx.iter().filter_map(vote).collect()
    };
    let looking = zk_proto::quorum::PeerState::Looking;
    let mut solo = Solo::new(options(9), stable(4, &[]));
    assert_eq!(repeated(solo.vote(1, looking, 1, 1, (4, 0))), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(repeated(solo.vote(3, looking, 3, 1, (4, 0)))[..3], [(1, 3), (2, 3), (3, 3)]);
    let worse = repeated(solo.vote(2, looking, 2, 1, (4, 0)));
    assert!(worse.iter().all(|(to, leader)| (*to, *leader) == (2, 3)), "{worse:?}");
    assert_eq!(solo.peer.status().phase, Phase::Election, "and decides nothing by itself");
}

/// A verdict that the others have revised.
#[test]
fn a_leader_that_nobody_joins_looks_again() {
    let mut solo = Solo::elected(options(3), stable(4, &[]));
    assert_eq!(solo.peer.status().phase, Phase::Discovery);
    solo.pass(7 * crate::world::TICK_MS);
    solo.vote(1, zk_proto::quorum::PeerState::Looking, 1, 2, (4, 0));
    assert_eq!(solo.peer.status().phase, Phase::Election, "its voters have changed their minds");
    let mut solo = Solo::elected(options(3), stable(4, &[]));
    solo.pass(10 * crate::world::TICK_MS);
    assert_eq!(solo.peer.status().phase, Phase::Election, "initLimit");
    let slow = Options { tick_ms: 2000, init_limit: 10, ..options(3) };
    let mut solo = Solo::elected(slow, stable(4, &[]));
    solo.pass(7900);
    assert_eq!(solo.peer.status().phase, Phase::Discovery);
    solo.pass(200);
    assert_eq!(solo.peer.status().phase, Phase::Election, "nobody will come any more");
}
