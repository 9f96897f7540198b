//! Lives of ensembles, told one by one.

use zk_proto::quorum::PacketKind;
use zk_zab::Role;

use crate::world::World;

/// Elect, synchronise by DIFF, broadcast, commit; the leader dies; the others go on with all that was committed.
#[test]
fn three_servers_elect_commit_and_survive_their_leader() {
    let mut world = World::new(&[1, 2, 3], &[]);
    world.start_all();
    world.run(1000);
    let leader = world.leader().expect("a leader");
    assert_eq!(leader, 3);
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
