//! Rules and historic bugs of the leader's side, packet by packet (facts 5.2, 5.3).

use zk_proto::quorum::{Packet, PacketKind as P, PeerState};
use zk_zab::{Effect, Input, LinkId, Role, Store, Stored};

use crate::solo::{Solo, closed, delivered, entry, sent, stable, votes, z};
use crate::world::{TICK_MS, options};

/// Facts 4.8: acceptedEpoch before LEADERINFO, currentEpoch after the ACKEPOCH quorum and before that of NEWLEADER.
#[test]
fn the_leaders_own_epoch_files_come_in_time() {
    let mut solo = Solo::elected(options(3), stable(4, &[z(4, 1)]));
    let fx = solo.greet(1, 1, 6);
    assert_eq!(fx, [Effect::Store(Store::AcceptedEpoch { epoch: 7 })], "one more than any of a quorum");
    assert_eq!(solo.greet(2, 2, 4), []);
    let fx = solo.stored(Stored::AcceptedEpoch { epoch: 7 });
    assert_eq!(
        (sent(&fx, 1), sent(&fx, 2)),
        (vec![(P::LeaderInfo, z(7, 0))], vec![(P::LeaderInfo, z(7, 0))])
    );
    let fx = solo.ack_epoch(1, 4, z(4, 1));
    assert_eq!(fx[0], Effect::Store(Store::CurrentEpoch { epoch: 7 }));
    assert_eq!(sent(&fx, 1), [(P::Diff, z(4, 1)), (P::NewLeader, z(7, 0))]);
    assert!(
        !solo.ack(1, z(7, 0)).contains(&Effect::Role(Role::Leading { epoch: 7 })),
        "rule 4: not without itself"
    );
    let fx = solo.stored(Stored::CurrentEpoch { epoch: 7 });
    assert_eq!(
        fx,
        [
            Effect::Role(Role::Leading { epoch: 7 }),
            Effect::SendLearner { link: LinkId(1), packet: Packet::new(P::UpToDate, -1) }
        ]
    );
}

/// Rule 1: -1 is no promise.
#[test]
fn rule_01_who_had_promised_before_does_not_count() {
    let mut solo = Solo::elected(options(3), stable(4, &[z(4, 1)]));
    solo.greet(1, 1, 4);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    assert_eq!(solo.ack_epoch(1, -1, z(4, 1)), []);
    solo.greet(2, 2, 4);
    let fx = solo.ack_epoch(2, 4, z(4, 1));
    assert_eq!(
        sent(&fx, 1),
        [(P::Diff, z(4, 1)), (P::NewLeader, z(5, 0))],
        "it is synchronised all the same"
    );
}

#[test]
fn rule_04_the_leaders_vote_counts_after_its_own_fsync() {
    let mut solo = Solo::leading(options(3), stable(4, &[z(4, 1)]));
    solo.propose(z(5, 1));
    assert_eq!(delivered(&solo.ack(1, z(5, 1))), []);
    let fx = solo.durable(z(5, 1));
    assert_eq!(delivered(&fx), [z(5, 1)]);
    assert_eq!(sent(&fx, 2), [(P::Commit, z(5, 1))]);
    solo.propose(z(5, 2));
    assert_eq!(delivered(&solo.durable(z(5, 2))), []);
    assert_eq!(delivered(&solo.ack(2, z(5, 2))), [z(5, 2)]);
    solo.propose(z(5, 3));
    solo.ack(1, z(5, 3));
    assert_eq!(delivered(&solo.ack(2, z(5, 3))), [z(5, 3)], "two others are a quorum as well");
}

#[test]
fn rule_05_one_commit_for_each_in_order() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    for counter in 1..=3 {
        solo.propose(z(5, counter));
    }
    solo.durable(z(5, 3));
    let fx = solo.ack(1, z(5, 2));
    assert_eq!(sent(&fx, 1), [(P::Commit, z(5, 1)), (P::Commit, z(5, 2))]);
    assert_eq!(sent(&fx, 1), sent(&fx, 2));
    assert_eq!(
        fx.iter().filter(|e| matches!(e, Effect::Deliver { payload: None, .. })).count(),
        2,
        "its own"
    );
}

#[test]
#[should_panic(expected = "rule 5")]
fn rule_05_the_node_proposes_without_a_gap() {
    Solo::leading(options(3), stable(4, &[])).propose(z(5, 2));
}

/// Rule 10, Z-4394: a joiner gets what is outstanding with its sync point, and every commit from there on.
#[test]
fn rule_10_a_joiner_gets_outstanding_proposals_at_its_sync_point() {
    let mut solo = Solo::leading(options(3), stable(4, &[z(4, 1)]));
    solo.step(Input::LearnerClosed { link: LinkId(2) });
    solo.propose(z(5, 1));
    solo.propose(z(5, 2));
    solo.durable(z(5, 2));
    solo.ack(1, z(5, 1));
    solo.greet(7, 2, 5);
    let fx = solo.ack_epoch(7, -1, z(4, 1));
    let pair = [(P::Proposal, z(5, 1)), (P::Commit, z(5, 1))];
    let expected =
        [&[(P::Diff, z(5, 1))][..], &pair, &[(P::Proposal, z(5, 2)), (P::NewLeader, z(5, 0))]].concat();
    assert_eq!(sent(&fx, 7), expected);
    assert_eq!(sent(&solo.ack(1, z(5, 2)), 7), [(P::Commit, z(5, 2))], "before it has said anything");
    assert_eq!(sent(&solo.ack(7, z(5, 0)), 7), [(P::UpToDate, -1)]);
}

#[test]
fn a_joiner_with_a_tail_of_this_epoch_is_truncated_and_told_again() {
    let mut solo = Solo::leading(options(3), stable(4, &[z(4, 1)]));
    solo.propose(z(5, 1));
    solo.propose(z(5, 2));
    solo.durable(z(5, 2));
    solo.ack(1, z(5, 1));
    solo.greet(7, 2, 5);
    let fx = solo.ack_epoch(7, -1, z(5, 2));
    assert_eq!(sent(&fx, 7), [(P::Trunc, z(5, 1)), (P::Proposal, z(5, 2)), (P::NewLeader, z(5, 0))]);
    assert_eq!(closed(&fx), []);
}

/// The log is read; the sync point is fixed when it has been.
#[test]
fn a_learner_far_behind_is_served_from_the_log() {
    let mut solo = Solo::leading(options(3), stable(4, &[z(4, 8), z(4, 9)]));
    solo.greet(7, 2, 5);
    assert_eq!(closed(&solo.fx).last().unwrap(), &(2, "it connected again".to_owned()));
    let fx = solo.ack_epoch(7, -1, z(4, 6));
    assert_eq!(fx, [Effect::ReadLog { link: LinkId(7), after: z(4, 6), upto: z(4, 9) }]);
    solo.propose(z(5, 1));
    solo.durable(z(5, 1));
    solo.ack(1, z(5, 1));
    let entries = Some([z(4, 7), z(4, 8), z(4, 9)].map(entry).to_vec());
    let fx = solo.step(Input::LogRead { link: LinkId(7), entries });
    let kinds: Vec<_> = sent(&fx, 7);
    assert_eq!(kinds[0], (P::Diff, z(5, 1)));
    let proposals: Vec<i64> =
        kinds.iter().filter(|(kind, _)| *kind == P::Proposal).map(|(_, zxid)| *zxid).collect();
    assert_eq!(proposals, [z(4, 7), z(4, 8), z(4, 9), z(5, 1)]);
    // Z-4925: with a gap it gets a snapshot, in its place among the packets.
    solo.greet(8, 2, 5);
    solo.ack_epoch(8, -1, z(4, 6));
    let fx = solo.step(Input::LogRead { link: LinkId(8), entries: Some(vec![entry(z(4, 9))]) });
    assert_eq!(sent(&fx, 8), [(P::Snap, z(5, 1)), (P::NewLeader, z(5, 0))]);
    assert_eq!(fx[1], Effect::StreamSnapshot { link: LinkId(8) });
}

/// Z-1277, Z-2789: right after the last one commits, and without losing it.
#[test]
fn the_counter_never_wraps() {
    let mut options = options(3);
    options.counter_max = 2;
    let mut solo = Solo::leading(options, stable(4, &[]));
    solo.propose(z(5, 1));
    solo.propose(z(5, 2));
    solo.durable(z(5, 2));
    let fx = solo.ack(1, z(5, 2));
    assert_eq!(delivered(&fx), [z(5, 1), z(5, 2)]);
    assert_eq!(sent(&fx, 2), [(P::Commit, z(5, 1)), (P::Commit, z(5, 2))]);
    let at = |wanted: &dyn Fn(&Effect) -> bool| fx.iter().position(wanted).unwrap();
    let looking = at(&|effect| *effect == Effect::Role(Role::Looking));
    assert!(at(&|effect| matches!(effect, Effect::Deliver { zxid, .. } if *zxid == z(5, 2))) < looking);
    assert_eq!(votes(&fx)[0].zxid, z(5, 2), "and looks at once");
}

#[test]
fn a_learner_ahead_is_turned_away_until_a_quorum_has_promised() {
    let mut solo = Solo::elected(options(3), stable(4, &[z(4, 1)]));
    solo.greet(1, 1, 4);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    let fx = solo.ack_epoch(1, 4, z(4, 2));
    assert!(closed(&fx)[0].1.contains("newer than this leader's"), "{fx:?}");
    solo.greet(2, 2, 4);
    solo.ack_epoch(2, 4, z(4, 1));
    solo.greet(3, 1, 5);
    let fx = solo.ack_epoch(3, 4, z(4, 2));
    assert_eq!(sent(&fx, 3)[0], (P::Trunc, z(4, 1)), "afterwards it is synchronised");
}

#[test]
fn a_newer_configuration_is_turned_away() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    let fx = solo.greet_as(7, P::FollowerInfo, 2, 4, z(4, 9));
    assert!(closed(&fx)[0].1.contains("configuration"), "{fx:?}");
}

/// A voter that has promised a later epoch could never come back under this leader.
#[test]
fn a_voter_of_a_later_epoch_brings_a_new_election() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    let fx = solo.greet_as(7, P::ObserverInfo, 9, 8, 0);
    assert!(!fx.contains(&Effect::Role(Role::Looking)), "an observer does not");
    assert!(solo.greet(8, 2, 8).contains(&Effect::Role(Role::Looking)));
}

#[test]
fn observers_get_informs_and_no_commits() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    solo.greet_as(9, P::ObserverInfo, 9, 4, 0);
    solo.ack_epoch(9, 4, 0);
    solo.ack(9, z(5, 0));
    assert_eq!(sent(&solo.propose(z(5, 1)), 9), []);
    solo.durable(z(5, 1));
    assert_eq!(sent(&solo.ack(1, z(5, 1)), 9), [(P::Inform, z(5, 1))]);
    assert_eq!(solo.ack(9, z(5, 1)), [], "an ACK of an observer is no vote");
}

#[test]
fn a_leader_without_a_quorum_at_a_tick_steps_down() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    solo.step(Input::LearnerClosed { link: LinkId(1) });
    assert!(!solo.pass(TICK_MS).contains(&Effect::Role(Role::Looking)), "two of three are left");
    solo.step(Input::LearnerClosed { link: LinkId(2) });
    assert!(solo.pass(TICK_MS).contains(&Effect::Role(Role::Looking)));
}

/// Rule 13 seen from here: a disk that does not write any more costs its server the link.
#[test]
fn a_learner_that_does_not_acknowledge_or_says_nothing_loses_its_link() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    solo.propose(z(5, 1));
    solo.durable(z(5, 1));
    solo.ack(1, z(5, 1));
    let mut gone = Vec::new();
    for _ in 0..12 {
        gone.extend(closed(&solo.pass(TICK_MS / 2)));
        for link in [1, 2] {
            solo.learner_sends(link, P::Ping, z(5, 1), Vec::new());
        }
    }
    assert_eq!(gone.len(), 1);
    assert!(gone[0].0 == 2 && gone[0].1.contains("acknowledged zxid 0x500000001"), "{gone:?}");
    let gone = closed(&solo.pass(5 * TICK_MS));
    assert!(gone[0].1.contains("nothing was heard"), "{gone:?}");
}

#[test]
fn servers_of_ours_are_given_up_after_a_third_and_pinged_often_enough() {
    let mut options = options(3);
    options.sync_limit = 2;
    let mut solo = Solo::leading(options, stable(4, &[]));
    let info =
        [&1i64.to_be_bytes()[..], &0x10000i32.to_be_bytes(), &0i64.to_be_bytes(), b"zoolog\x01\0"].concat();
    solo.step(Input::LearnerConnected { link: LinkId(7) });
    solo.learner_sends(7, P::FollowerInfo, z(5, 0), info);
    solo.ack_epoch(7, -1, 0);
    solo.ack(7, z(5, 0));
    let limit_ms = 2 * TICK_MS;
    let (mut ours, mut theirs) = (0, 0);
    for _ in 0..20 {
        let fx = solo.pass(10);
        ours += sent(&fx, 7).len();
        theirs += sent(&fx, 2).len();
        for link in [1, 2, 7] {
            solo.learner_sends(link, P::Ping, z(5, 0), Vec::new());
        }
    }
    assert!(ours as u64 >= 3 * 3, "{ours} in {limit_ms} ms");
    assert_eq!(theirs, 4, "an original is pinged twice a tick");
    let mut solo_ms = 0;
    while closed(&solo.pass(10)).iter().all(|(link, _)| *link != 7) {
        solo.learner_sends(2, P::Ping, z(5, 0), Vec::new());
        solo_ms += 10;
    }
    assert!(solo_ms <= limit_ms / 3 + 10, "{solo_ms}");
}

/// A follower may learn of the verdict before this server does.
#[test]
fn learners_that_come_early_are_parked() {
    let mut solo = Solo::new(options(3), stable(4, &[]));
    assert_eq!(solo.greet(1, 1, 4), []);
    solo.vote(1, PeerState::Looking, 3, 1, (4, 0));
    let fx = solo.vote(2, PeerState::Looking, 3, 1, (4, 0));
    assert_eq!(fx, [Effect::Store(Store::AcceptedEpoch { epoch: 5 })]);
    // Whoever comes to a server that stays undecided is let go after a tick, and to a follower at once.
    let mut solo = Solo::new(options(3), stable(4, &[]));
    solo.greet(1, 1, 4);
    assert_eq!(closed(&solo.pass(TICK_MS)), [(1, "this server does not lead any more".to_owned())]);
    let mut solo = Solo::serving(1, stable(1, &[]), 5);
    let fx = solo.step(Input::LearnerConnected { link: LinkId(4) });
    assert_eq!(closed(&fx).len(), 1);
}

/// A damaged learner of ours counts in no quorum that begins an epoch, and gets a snapshot.
#[test]
fn a_damaged_learner_makes_no_quorum() {
    let info =
        [&1i64.to_be_bytes()[..], &0x10000i32.to_be_bytes(), &0i64.to_be_bytes(), b"zoolog\x01\x01"].concat();
    let mut solo = Solo::elected(options(3), stable(4, &[z(4, 1)]));
    solo.step(Input::LearnerConnected { link: LinkId(1) });
    assert_eq!(solo.learner_sends(1, P::FollowerInfo, z(4, 0), info), []);
    solo.greet(2, 2, 4);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    assert_eq!(solo.ack_epoch(1, 4, 0), []);
    solo.ack_epoch(2, 4, z(4, 1));
    assert!(solo.fx.contains(&Effect::StreamSnapshot { link: LinkId(1) }));
    solo.stored(Stored::CurrentEpoch { epoch: 5 });
    assert!(!solo.ack(1, z(5, 0)).contains(&Effect::Role(Role::Leading { epoch: 5 })));
    assert!(solo.ack(2, z(5, 0)).contains(&Effect::Role(Role::Leading { epoch: 5 })));
    solo.step(Input::LearnerClosed { link: LinkId(2) });
    solo.propose(z(5, 1));
    solo.durable(z(5, 1));
    assert_eq!(delivered(&solo.ack(1, z(5, 1))), [z(5, 1)], "from then on it is as good as any");
}

/// Z-4712: what was meant for the role before.
#[test]
fn what_comes_for_an_ended_leadership_does_nothing() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    solo.step(Input::LearnerClosed { link: LinkId(1) });
    solo.step(Input::LearnerClosed { link: LinkId(2) });
    solo.pass(TICK_MS);
    assert_eq!(solo.propose(z(5, 1)), []);
    assert_eq!(solo.ack(1, z(5, 1)), []);
    let packet = Packet::new(P::Sync, 0);
    assert_eq!(solo.step(Input::ToLearner { link: LinkId(1), packet }), []);
    assert_eq!(solo.step(Input::LogRead { link: LinkId(1), entries: None }), []);
}

/// The node's packets keep their place among the commits, and nobody gets them before UPTODATE.
#[test]
fn packets_of_the_node_keep_their_place() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    let sync = |link| Input::ToLearner { link: LinkId(link), packet: Packet::new(P::Sync, 0) };
    assert_eq!(sent(&solo.step(sync(1)), 1), [(P::Sync, 0)]);
    solo.greet(7, 9, 5);
    assert_eq!(solo.step(sync(7)), []);
    let fx = solo.learner_sends(1, P::Request, -1, vec![1, 2, 3]);
    assert!(matches!(&fx[..], [Effect::FromLearner { sid: 1, .. }]));
    let fx = solo.step(Input::LearnerClosed { link: LinkId(1) });
    assert_eq!(fx, [Effect::LearnerGone { link: LinkId(1) }]);
}

#[test]
fn what_a_learner_must_not_send_closes_its_link_and_nothing_else() {
    let mut solo = Solo::leading(options(3), stable(4, &[]));
    type Send = fn(&mut Solo) -> Vec<Effect>;
    let sends: [Send; 9] = [
        |solo| solo.greet(7, 3, 4),
        |solo| solo.greet(7, 2, i64::from(i32::MAX)),
        |solo| solo.greet_as(7, P::Request, 2, 4, 0),
        |solo| {
            solo.step(Input::LearnerConnected { link: LinkId(7) });
            solo.learner_sends(7, P::FollowerInfo, 0, vec![1, 2, 3])
        },
        |solo| {
            solo.greet(7, 5, 4);
            solo.learner_sends(7, P::AckEpoch, 0, vec![1])
        },
        |solo| {
            solo.greet(7, 5, 4);
            solo.ack_epoch(7, 4, -5)
        },
        |solo| {
            solo.greet(7, 5, 4);
            solo.ack_epoch(7, 4, 0);
            solo.ack(7, z(4, 0))
        },
        |solo| {
            solo.greet(7, 5, 4);
            solo.ack_epoch(7, 4, 0);
            solo.ack(7, z(5, 0));
            solo.ack(7, z(5, 99))
        },
        |solo| {
            solo.greet(7, 5, 4);
            solo.ack_epoch(7, 4, 0);
            solo.ack(7, z(5, 0));
            solo.learner_sends(7, P::Proposal, z(5, 1), vec![])
        },
    ];
    for (at, send) in sends.into_iter().enumerate() {
        let fx = send(&mut solo);
        assert_eq!(closed(&fx).iter().map(|(link, _)| *link).collect::<Vec<_>>(), [7], "{at}: {fx:?}");
        assert_eq!(solo.peer.status().role, Role::Leading { epoch: 5 }, "{at}");
    }
}

/// Z-4646, Z-4685: from followers of 3.6 to 3.8; it counts as what it is, and only with that of NEWLEADER.
#[test]
fn an_ack_that_overtakes_that_of_newleader_is_not_taken_for_it() {
    let mut solo = Solo::leading(options(3), stable(4, &[z(4, 1)]));
    solo.step(Input::LearnerClosed { link: LinkId(1) });
    solo.step(Input::LearnerClosed { link: LinkId(2) });
    solo.propose(z(5, 1));
    solo.durable(z(5, 1));
    solo.greet(7, 2, 5);
    solo.ack_epoch(7, -1, z(4, 1));
    assert_eq!(solo.ack(7, z(5, 1)), [], "neither UPTODATE nor a commit");
    let fx = solo.ack(7, z(5, 0));
    assert_eq!(sent(&fx, 7), [(P::UpToDate, -1), (P::Commit, z(5, 1))]);
    assert_eq!(delivered(&fx), [z(5, 1)]);
}

/// A learner of ours whose log could not be truncated says so.
#[test]
fn who_cannot_truncate_gets_a_snapshot() {
    let info =
        [&2i64.to_be_bytes()[..], &0x10000i32.to_be_bytes(), &0i64.to_be_bytes(), b"zoolog\x01\x02"].concat();
    let mut solo = Solo::leading(options(3), stable(4, &[z(4, 1)]));
    solo.step(Input::LearnerConnected { link: LinkId(7) });
    solo.learner_sends(7, P::FollowerInfo, z(5, 0), info);
    let fx = solo.ack_epoch(7, 4, z(4, 2));
    assert_eq!(sent(&fx, 7), [(P::Snap, z(4, 1)), (P::NewLeader, z(5, 0))]);
}
