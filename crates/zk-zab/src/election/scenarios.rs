//! Elections as an operator sees them: which server leads after which servers were started, lost, restarted.

use std::fmt::Write;

use zk_proto::quorum::{Config, PeerState, Sid};

use super::world::{History, World};

fn majority(voters: Sid) -> String {
    (1..=voters).fold(String::new(), |mut text, n| {
        writeln!(text, "server.{n}=h{n}:2888:3888").unwrap();
        text
    })
}

fn world(config: &str) -> World {
    World::new(Config::parse(config).unwrap(), 7)
}

fn histories(world: &mut World, of: &[(Sid, i64, i64)]) {
    for (sid, epoch, zxid) in of {
        world.servers.get_mut(sid).unwrap().history = History { epoch: *epoch, zxid: *zxid };
    }
}

#[test]
fn started_one_by_one_the_second_of_three_leads() {
    let mut world = world(&majority(3));
    world.start(1);
    world.run(5_000);
    assert_eq!(world.state(1), (PeerState::Looking, 1), "one of three is no quorum");
    world.start(2);
    let (leader, took) = world.settle(2_000);
    assert_eq!(leader, 2);
    assert!(took < 500, "{took} ms");
    world.start(3);
    assert_eq!(world.settle(1_000).0, 2, "a leader that stands stays, whoever comes");
    assert_eq!(world.state(3), (PeerState::Following, 2));
    assert_eq!(world.leaders.len(), 1);
}

#[test]
fn started_together_the_largest_number_leads() {
    let mut world = world(&majority(3));
    for sid in [1, 2, 3] {
        world.start(sid);
        world.run(60);
    }
    assert_eq!(world.settle(2_000).0, 3);
    assert_eq!(world.leaders.len(), 1);
}

#[test]
fn after_the_first_start_the_newest_history_leads_whatever_its_number() {
    let mut world = world(&majority(3));
    histories(&mut world, &[(1, 2, 0x2_0000_0001), (2, 1, 0x1_0000_0009), (3, 1, 0x1_0000_0005)]);
    for sid in [1, 2, 3] {
        world.start(sid);
    }
    assert_eq!(world.settle(2_000).0, 1, "the epoch counts first");
    world.stop(1);
    world.stop(2);
    world.stop(3);
    histories(&mut world, &[(1, 3, 0x3_0000_0001), (2, 3, 0x3_0000_0009), (3, 3, 0x3_0000_0005)]);
    world.committed = History { epoch: 3, zxid: 0x3_0000_0005 };
    for sid in [1, 2, 3] {
        world.start(sid);
    }
    assert_eq!(world.settle(2_000).0, 2, "then the zxid");
}

#[test]
fn when_the_leader_dies_the_others_need_no_drain() {
    let mut world = world(&majority(3));
    for sid in [1, 2, 3] {
        world.start(sid);
    }
    assert_eq!(world.settle(2_000).0, 3);
    world.run(1_000);
    world.stop(3);
    let (leader, took) = world.settle(2_000);
    assert_eq!(leader, 2);
    assert!(took < 200, "{took} ms, less than a drain");
}

#[test]
fn of_five_servers_a_majority_goes_on_and_less_does_not() {
    let mut world = world(&majority(5));
    for sid in 1..=5 {
        world.start(sid);
    }
    assert_eq!(world.settle(2_000).0, 5);
    world.stop(5);
    assert_eq!(world.settle(2_000).0, 4);
    world.stop(4);
    assert_eq!(world.settle(2_000).0, 3);
    world.stop(3);
    world.run(5_000);
    assert_eq!(world.state(1).0, PeerState::Looking);
    assert_eq!(world.state(2).0, PeerState::Looking);
    world.start(5);
    let (leader, _) = world.settle(5_000);
    assert!(leader < 3, "{leader}: 5 was away when 1 and 2 went on");
}

#[test]
fn a_server_of_weight_0_never_leads() {
    let config = majority(3) + "group.1=1:2:3\nweight.3=0";
    let mut world = world(&config);
    for sid in [1, 2, 3] {
        world.start(sid);
    }
    assert_eq!(world.settle(3_000).0, 2);
    world.stop(2);
    world.run(3_000);
    assert_eq!(world.state(1).0, PeerState::Looking, "nor does it help to a quorum");
}

#[test]
fn groups_need_a_majority_of_groups() {
    let config = majority(9) + "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9";
    let mut world = world(&config);
    for sid in [1, 2, 3, 4] {
        world.start(sid);
    }
    world.run(3_000);
    assert_eq!(world.state(1).0, PeerState::Looking, "four servers, but one group only");
    world.stop(3);
    world.start(5);
    assert_eq!(world.settle(3_000).0, 5, "1 and 2, 4 and 5");
}

#[test]
fn observers_find_the_leader_and_count_in_no_quorum() {
    let config = majority(3) + "server.4=h4:2888:3888:observer\nserver.5=h5:2888:3888:observer";
    let mut world = world(&config);
    for sid in [1, 4, 5] {
        world.start(sid);
    }
    world.run(3_000);
    assert_eq!(world.state(1).0, PeerState::Looking);
    assert_eq!(world.state(4).0, PeerState::Looking);
    world.start(2);
    assert_eq!(world.settle(4_000).0, 2);
    assert_eq!(world.state(5), (PeerState::Observing, 2));
    world.stop(2);
    world.start(3);
    world.settle(4_000);
}

#[test]
fn a_follower_that_restarts_finds_the_leader_by_its_new_epoch() {
    // ZOOKEEPER-1732: all have synchronised, so all name the leader's epoch, not that of their old histories.
    let mut world = world(&majority(5));
    for sid in 1..=5 {
        world.start(sid);
    }
    assert_eq!(world.settle(2_000).0, 5);
    for sid in [1, 2, 4] {
        world.stop(sid);
        world.run(300);
        world.start(sid);
        let (leader, took) = world.settle(2_000);
        assert_eq!(leader, 5);
        assert!(took < 200, "{sid} took {took} ms");
    }
    assert_eq!(world.leaders.len(), 1);
}

#[test]
fn a_damaged_server_joins_and_then_has_its_vote_back() {
    let mut world = world(&majority(3));
    for sid in [1, 2, 3] {
        world.start(sid);
    }
    assert_eq!(world.settle(2_000).0, 3);
    world.damage(1);
    world.stop(3);
    world.start(1);
    world.run(5_000);
    assert_eq!(world.state(1).0, PeerState::Looking, "2 alone is no quorum, and 1 has no vote");
    assert_eq!(world.state(2).0, PeerState::Looking);
    world.start(3);
    world.settle(4_000);
    assert!(!world.servers[&1].damaged);
    let leader = world.state(1).1;
    world.stop(leader);
    world.settle(4_000);
}
