//! Reconfiguration (rule 14): one at a time, a quorum of old and new, the designated leader takes over.

use zk_proto::quorum::{Config, PacketKind, PeerState, Sid};
use zk_zab::{Effect, Role, Stored};

use crate::solo::{Solo, stable, z};
use crate::world::{World, config, options};

fn world(voters: &[Sid], observers: &[Sid]) -> World {
    let mut world = World::with(config(voters, observers), |options| options.reconfig_enabled = true);
    world.start_all();
    world.run(1000);
    world
}

fn reconfigure(world: &mut World, to: Config) {
    world.propose_config(to.clone()).unwrap();
    world.run(2000);
    world.config = to;
}

/// Z-1783: an established configuration is newer than any that is only in a file.
#[test]
fn the_first_leader_gives_the_configuration_its_version() {
    let world = world(&[1, 2, 3], &[]);
    for sid in [1, 2, 3] {
        assert_eq!(world.status(sid).config_version, 0x1_0000_0000, "{sid}");
    }
}

#[test]
fn a_server_is_added_and_removed() {
    let mut world = world(&[1, 2, 3], &[]);
    world.write(2);
    let mut with_reconfig = options(4);
    with_reconfig.reconfig_enabled = true;
    world.add(4, with_reconfig);
    world.config = config(&[1, 2, 3, 4], &[]);
    world.start(4);
    world.run(500);
    reconfigure(&mut world, config(&[1, 2, 3, 4], &[]));
    world.assert_healed();
    assert_eq!(world.leader(), Some(3), "the leader stays");
    let version = world.status(3).config_version;
    assert!(
        version > 0x1_0000_0000 && [1, 2, 4].iter().all(|sid| world.status(*sid).config_version == version)
    );
    // Two of four are no majority any more.
    world.crash(1);
    world.crash(2);
    world.run(500);
    assert_eq!(world.leader(), None);
    world.start(1);
    world.run(1000);
    reconfigure(&mut world, config(&[1, 3, 4], &[]));
    world.write(1);
    assert_eq!(world.committed.len(), 5);
}

#[test]
fn a_leader_that_is_removed_gives_way_to_the_designated_one() {
    let mut world = world(&[1, 2, 3], &[]);
    world.write(2);
    let before = world.now_ms;
    world.propose_config(config(&[1, 2], &[])).unwrap();
    world.config = config(&[1, 2], &[]);
    while world.leader().is_none_or(|leader| leader == 3) {
        world.run(10);
        assert!(world.now_ms - before < 1000, "{:?}", world.status(1));
    }
    world.run(500);
    let leader = world.leader().unwrap();
    let rounds = [1, 2].map(|sid| world.status(sid).round);
    assert_eq!(rounds, [1, 1], "without an election");
    world.write(3);
    for sid in [1, 2] {
        assert_eq!(world.nodes[&sid].tree, world.committed);
        let expected = if sid == leader { Role::Leading { epoch: 2 } } else { Role::Following { leader } };
        assert_eq!(world.node(sid).role, expected);
    }
}

#[test]
fn a_follower_becomes_an_observer_and_votes_again() {
    let mut world = world(&[1, 2, 3, 4, 5], &[]);
    reconfigure(&mut world, config(&[2, 3, 4, 5], &[1]));
    world.write(2);
    world.assert_healed();
    assert_eq!(world.node(1).role, Role::Observing { leader: 5 });
    reconfigure(&mut world, config(&[1, 2, 3, 4, 5], &[]));
    world.write(2);
    world.assert_healed();
    assert_eq!(world.node(1).role, Role::Following { leader: 5 });
}

/// A quorum of the old configuration alone does not commit it, nor what follows.
#[test]
fn rule_14_old_and_new_have_to_agree() {
    let mut world = world(&[1, 2, 3], &[4, 5]);
    world.write(1);
    world.crash(4);
    world.crash(5);
    world.crash(1);
    world.quiesce();
    let zxid = world.propose_config(config(&[3, 4, 5], &[1, 2])).unwrap();
    world.quiesce();
    assert!(world.status(3).last_committed < zxid, "2 and 3 are no quorum of 3, 4 and 5");
    assert_eq!(world.status(3).config_seen_version, zxid);
    let later = world.propose().unwrap();
    world.quiesce();
    assert!(world.status(3).last_committed < zxid);
    world.start(4);
    // It comes as the observer it still is: its vote counts once the new configuration does.
    world.run(100);
    assert!(world.status(3).last_committed < later || world.status(3).role == Role::Looking);
}

/// The last seen configuration survives a crash of the leader and is completed by the next one.
#[test]
fn a_reconfiguration_that_was_proposed_is_completed_by_the_next_leader() {
    let mut world = world(&[1, 2, 3], &[]);
    world.write(1);
    let zxid = world.propose_config(config(&[1, 2, 3], &[9])).unwrap();
    for _ in 0..2 {
        let events = world.events();
        for event in events {
            world.happen(event);
        }
    }
    world.crash(3);
    world.run(1000);
    assert!([1, 2].iter().all(|sid| world.status(*sid).config_version >= zxid), "{:?}", world.status(2));
    assert_eq!(world.committed.last().map(|(last, _)| *last), Some(zxid));
}

/// A configuration that only its proposer has seen keeps nobody out and is forgotten.
#[test]
fn a_configuration_that_was_never_committed_is_forgotten() {
    let mut world = world(&[1, 2, 3, 4, 5], &[]);
    world.write(1);
    for other in [1, 2, 3, 4] {
        world.cut(5, other);
    }
    world.propose_config(config(&[5, 1, 9], &[2, 3, 4])).unwrap();
    world.run(1000);
    assert_eq!(world.leader(), Some(4));
    world.heal();
    world.run(2000);
    world.assert_healed();
    assert_eq!(world.status(5).config_seen_version, world.status(4).config_version);
    assert_eq!(world.node(5).disk.seen.as_ref().map(|seen| seen.version), Some(0x1_0000_0000));
}

/// One takes itself for a voter, because of a configuration that is proposed, and the other does not know of it: the
/// first answers a lower round, the second whoever has no vote. They do not answer each other for ever.
#[test]
fn servers_that_disagree_on_who_votes_come_to_rest() {
    let mut solo = Solo::new(options(1), stable(1, &[]));
    let answers = |solo: &mut Solo, round| {
        let fx = solo.vote(9, PeerState::Looking, 3, round, (1, 0));
        fx.iter().filter(|effect| matches!(effect, Effect::Notify { to: 9, .. })).count()
    };
    assert_eq!(answers(&mut solo, 3), 1);
    assert_eq!(answers(&mut solo, 3), 0, "it has been told");
    assert_eq!(answers(&mut solo, 4), 1, "that is another question");
    solo.pass(200);
    assert_eq!(answers(&mut solo, 4), 1, "the answer may have been lost");
}

/// Rule 14: what is proposed and not committed is activated nowhere, not even by who joins meanwhile.
#[test]
fn rule_14_a_joiner_activates_nothing_that_is_not_committed() {
    let mut world = world(&[1, 2, 3, 4, 5], &[]);
    world.write(1);
    world.crash(1);
    for sid in [2, 3, 4, 5] {
        world.node(sid).held_disk = true;
    }
    let zxid = world.propose_config(config(&[1, 2, 3], &[4, 5])).unwrap();
    world.quiesce();
    world.start(1);
    world.run(200);
    assert_eq!(world.node(1).role, Role::Following { leader: 5 });
    assert_eq!(world.status(1).config_seen_version, zxid);
    assert_eq!(world.status(1).config_version, 0x1_0000_0000);
    // And with an original as leader, whose NEWLEADER says it.
    let mut options = options(1);
    options.reconfig_enabled = true;
    let mut solo = Solo::joining_with(options, stable(1, &[]));
    solo.leader_info(5);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    solo.leader_says(PacketKind::Diff, 0);
    let mut outstanding = config(&[1, 2], &[]);
    outstanding.version = z(5, 3);
    solo.leader_sends(PacketKind::NewLeader, z(5, 0), outstanding.to_string());
    solo.stored(Stored::CurrentEpoch { epoch: 5 });
    solo.leader_says(PacketKind::UpToDate, -1);
    let status = solo.peer.status();
    assert_eq!((status.config_version, status.config_seen_version), (0, z(5, 3)));
}
