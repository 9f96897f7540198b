//! Rules and historic bugs of the learner's side, packet by packet (facts 5.2, 5.3).

use bytes::Bytes;
use zk_proto::quorum::{Notification, PacketKind, PeerState};
use zk_zab::{Effect, Entry, Input, Role, Store, Stored};

use crate::solo::{Solo, acks, appended, delivered, entry, said, stable, three, votes, z};
use crate::world::{TICK_MS, options};

fn recent(zxids: &[i64]) -> Vec<Entry> {
    zxids.iter().copied().map(entry).collect()
}

#[test]
fn rule_01_accepted_epoch_is_on_disk_before_ackepoch() {
    let mut solo = Solo::joining(1, stable(1, &[z(1, 1), z(1, 2)]));
    let fx = solo.leader_info(5);
    assert_eq!(fx, [Effect::Store(Store::AcceptedEpoch { epoch: 5 })]);
    let fx = solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    let [Effect::SendLeader { packet }] = &fx[..] else { panic!("{fx:?}") };
    assert_eq!((packet.kind, packet.zxid, packet.body()), (PacketKind::AckEpoch, z(1, 2), &[0, 0, 0, 1][..]));
}

#[test]
fn rule_01_an_equal_epoch_is_answered_with_minus_one_and_a_smaller_one_refused() {
    let mut solo = Solo::joining(1, stable(4, &[z(4, 1)]));
    let fx = solo.leader_info(4);
    let [Effect::SendLeader { packet }] = &fx[..] else { panic!("{fx:?}") };
    assert_eq!((packet.kind, packet.body()), (PacketKind::AckEpoch, &[255; 4][..]));
    let mut solo = Solo::joining(1, stable(4, &[z(4, 1)]));
    assert!(solo.leader_info(3).contains(&Effect::HangUp));
}

/// The leader it promised epoch 5 to was never heard of again, and 4 was established without it.
#[test]
fn the_promise_of_an_observer_binds_nobody() {
    let mut observer = stable(3, &[z(3, 1)]);
    observer.accepted_epoch = 5;
    let mut solo = Solo::joining(9, observer.clone());
    assert_eq!(said(&solo.leader_info(4)), [PacketKind::AckEpoch]);
    observer.current_epoch = 5;
    let mut solo = Solo::joining(9, observer);
    assert!(solo.leader_info(4).contains(&Effect::HangUp), "not when it has the history of 5");
}

/// Z-4643, Z-4646, Z-4685, Z-4785, Z-3911: history on disk, then currentEpoch, then the ACK, then any other ACK.
#[test]
fn rule_02_history_then_current_epoch_then_ack_of_newleader() {
    let mut solo = Solo::joining(1, stable(1, &[z(1, 1)]));
    solo.leader_info(5);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    solo.leader_says(PacketKind::Diff, z(1, 3));
    for zxid in [z(1, 2), z(1, 3)] {
        assert_eq!(appended(&solo.proposal(zxid)), [zxid]);
        assert_eq!(delivered(&solo.leader_says(PacketKind::Commit, zxid)), [zxid]);
    }
    let fx = solo.new_leader(5);
    assert_eq!(fx, [Effect::Store(Store::CurrentEpoch { epoch: 5 })], "after the appends, in order");
    assert_eq!(solo.durable(z(1, 2)), []);
    assert_eq!(solo.durable(z(1, 3)), []);
    assert_eq!(acks(&solo.stored(Stored::CurrentEpoch { epoch: 5 })), [z(5, 0)]);
}

/// Z-4394, facts 4.12 (7): what is not committed at NEWLEADER stays queued, and is acknowledged after UPTODATE.
#[test]
fn proposals_around_newleader_are_acknowledged_after_up_to_date() {
    let mut solo = Solo::joining(1, stable(1, &[z(1, 1)]));
    solo.leader_info(5);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    solo.leader_says(PacketKind::Diff, z(1, 1));
    let fx = solo.proposal(z(5, 1));
    assert_eq!(fx[0], Effect::Store(Store::CurrentEpoch { epoch: 5 }), "before a record of that epoch");
    solo.new_leader(5);
    solo.proposal(z(5, 2));
    solo.stored(Stored::CurrentEpoch { epoch: 5 });
    assert_eq!(acks(&solo.durable(z(5, 1))), [z(5, 0)]);
    assert_eq!(acks(&solo.durable(z(5, 2))), []);
    assert_eq!(delivered(&solo.leader_says(PacketKind::Commit, z(5, 1))), [z(5, 1)], "right after the ACK");
    let fx = solo.leader_says(PacketKind::UpToDate, -1);
    assert_eq!(acks(&fx), [z(5, 0), z(5, 1), z(5, 2)]);
    assert!(fx.contains(&Effect::Role(Role::Following { leader: 3 })));
}

#[test]
fn rule_03_an_ack_comes_after_the_fsync_of_it_and_all_before() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    for counter in 1..=3 {
        assert_eq!(acks(&solo.proposal(z(5, counter))), []);
    }
    assert_eq!(acks(&solo.durable(z(5, 2))), [z(5, 1), z(5, 2)], "one for each, in order");
    assert_eq!(acks(&solo.durable(z(5, 3))), [z(5, 3)]);
}

#[test]
fn rule_05_duplicates_are_dropped_and_a_gap_closes_the_link() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    solo.proposal(z(5, 1));
    assert_eq!(solo.proposal(z(5, 1)), []);
    assert_eq!(solo.proposal(z(1, 1)), []);
    let fx = solo.proposal(z(5, 3));
    assert!(fx.contains(&Effect::HangUp) && fx.contains(&Effect::Role(Role::Looking)), "Z-4925: {fx:?}");
    assert!(appended(&fx).is_empty());
}

#[test]
fn rule_05_commits_come_in_order() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    solo.proposal(z(5, 1));
    solo.proposal(z(5, 2));
    assert_eq!(delivered(&solo.leader_says(PacketKind::Commit, z(5, 1))), [z(5, 1)]);
    assert_eq!(solo.leader_says(PacketKind::Commit, z(5, 1)), [], "again");
    let mut other = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    other.proposal(z(5, 1));
    other.proposal(z(5, 2));
    assert!(other.leader_says(PacketKind::Commit, z(5, 2)).contains(&Effect::HangUp));
}

/// Z-2845: nothing is said of a history before the disk has it.
#[test]
fn rule_06_the_vote_is_what_the_disk_holds() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    solo.proposal(z(5, 1));
    solo.proposal(z(5, 2));
    solo.durable(z(5, 1));
    let fx = solo.step(Input::LeaderClosed);
    assert!(fx.contains(&Effect::Role(Role::Looking)));
    assert_eq!(votes(&fx), []);
    solo.pass(1000);
    let fx = solo.durable(z(5, 2));
    let vote = &votes(&fx)[0];
    assert_eq!((vote.leader, vote.peer_epoch, vote.zxid), (1, 5, z(5, 2)));
}

/// Rule 7 on a learner: a DIFF confirms the tail of its log, which is applied then.
#[test]
fn rule_07_a_diff_confirms_the_own_tail() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    solo.proposal(z(5, 1));
    solo.durable(z(5, 1));
    solo.step(Input::LeaderClosed);
    solo.vote(2, PeerState::Following, 3, 2, (5, 0));
    solo.vote(3, PeerState::Leading, 3, 2, (5, 0));
    solo.step(Input::LeaderConnected);
    solo.leader_info(6);
    solo.stored(Stored::AcceptedEpoch { epoch: 6 });
    assert_eq!(delivered(&solo.leader_says(PacketKind::Diff, z(5, 1))), [z(5, 1)]);
}

fn in_sync(first: PacketKind, zxid: i64) -> Solo {
    let mut solo = Solo::joining(1, stable(1, &[z(1, 1), z(1, 2), z(1, 3)]));
    solo.leader_info(5);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    let fx = solo.leader_says(first, zxid);
    assert_eq!(fx.len(), 1, "{fx:?}");
    solo
}

/// Z-3104, Z-3642: half a snapshot is nothing.
#[test]
fn rule_08_a_broken_snapshot_leaves_what_the_disk_holds() {
    let mut solo = in_sync(PacketKind::Snap, z(4, 7));
    assert_eq!(solo.fx.last(), Some(&Effect::ReceiveSnapshot { zxid: z(4, 7) }));
    let fx = solo.step(Input::LeaderClosed);
    assert_eq!(votes(&fx), [], "not before the disk has said what it holds");
    let fx = solo.stored(Stored::Void { last_zxid: Some(z(1, 3)), recent: recent(&[z(1, 3)]) });
    assert_eq!(votes(&fx)[0].zxid, z(1, 3));
}

#[test]
fn what_follows_a_snapshot_waits_until_it_is_installed() {
    let mut solo = in_sync(PacketKind::Snap, z(4, 7));
    assert_eq!(solo.proposal(z(4, 7)), []);
    assert_eq!(solo.proposal(z(4, 8)), []);
    assert_eq!(solo.leader_says(PacketKind::Commit, z(4, 7)), []);
    assert_eq!(solo.leader_says(PacketKind::Commit, z(4, 8)), []);
    assert_eq!(solo.new_leader(5), []);
    let fx = solo.stored(Stored::SnapshotInstalled { zxid: z(4, 7) });
    assert_eq!((appended(&fx), delivered(&fx)), (vec![z(4, 8)], vec![z(4, 8)]), "what it holds is skipped");
    assert_eq!(acks(&fx), []);
    solo.durable(z(4, 8));
    assert_eq!(acks(&solo.stored(Stored::CurrentEpoch { epoch: 5 })), [z(5, 0)]);
}

/// A leader may send more while a snapshot is installed than memory should hold; the role ends, the installation does not.
#[test]
fn what_waits_for_a_snapshot_is_bounded() {
    let mut solo = in_sync(PacketKind::Snap, z(4, 7));
    let large = Bytes::from(vec![0; 16 << 20]);
    let sent = (8..).take_while(|counter| {
        solo.leader_sends(PacketKind::Proposal, z(4, *counter), large.clone()).is_empty()
    });
    assert_eq!(sent.count(), 15, "16 of 16 MiB are beyond 256 MiB");
    assert!(solo.fx.contains(&Effect::HangUp));
    let fx = solo.stored(Stored::SnapshotInstalled { zxid: z(4, 7) });
    assert_eq!(votes(&fx)[0].zxid, z(4, 7));
}

/// Z-5094: memory never stays ahead of the log.
#[test]
fn rule_08_a_truncation_is_followed_by_a_tree_from_disk() {
    let mut solo = in_sync(PacketKind::Trunc, z(1, 2));
    assert_eq!(solo.fx.last(), Some(&Effect::Store(Store::Truncate { zxid: z(1, 2) })));
    assert_eq!(solo.new_leader(5), []);
    let fx = solo.stored(Stored::Truncated { last_zxid: z(1, 2), recent: recent(&[z(1, 1), z(1, 2)]) });
    assert_eq!(fx, [Effect::Store(Store::CurrentEpoch { epoch: 5 })]);
    assert_eq!(acks(&solo.stored(Stored::CurrentEpoch { epoch: 5 })), [z(5, 0)]);
    assert_eq!(solo.peer.status().last_committed, z(1, 2));
}

#[test]
fn a_log_that_cannot_be_truncated_is_replaced_by_a_snapshot() {
    let mut solo = in_sync(PacketKind::Trunc, z(1, 2));
    let fx = solo.stored(Stored::Void { last_zxid: Some(z(1, 3)), recent: recent(&[z(1, 3)]) });
    assert_eq!(votes(&fx)[0].zxid, z(1, 3), "its history counts");
    solo.vote(2, PeerState::Following, 3, 2, (5, 0));
    solo.vote(3, PeerState::Leading, 3, 2, (5, 0));
    solo.step(Input::LeaderConnected);
    let fx = solo.leader_info(6);
    assert_eq!(said(&fx), []);
    let fx = solo.stored(Stored::AcceptedEpoch { epoch: 6 });
    let [Effect::SendLeader { packet }] = &fx[..] else { panic!("{fx:?}") };
    assert_eq!(
        (packet.zxid, packet.body()),
        (0, &[255; 4][..]),
        "to an original as an empty one that does not count"
    );
}

/// Z-1653, Z-2307, Z-2354: the file first, memory after.
#[test]
fn a_role_ends_with_the_epoch_its_file_got() {
    let mut solo = Solo::joining(1, stable(1, &[z(1, 1)]));
    solo.leader_info(5);
    let fx = solo.step(Input::LeaderClosed);
    assert_eq!((solo.peer.status().accepted_epoch, votes(&fx)), (1, vec![]));
    let fx = solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    assert_eq!(solo.peer.status().accepted_epoch, 5);
    assert!(!votes(&fx).is_empty(), "now it votes");
}

/// A crash between a record and its epoch file.
#[test]
fn an_epoch_file_behind_the_log_is_written_again() {
    let mut solo = Solo::new(options(1), stable(1, &[z(3, 1)]));
    let stores = [Store::AcceptedEpoch { epoch: 3 }, Store::CurrentEpoch { epoch: 3 }].map(Effect::Store);
    assert_eq!(solo.fx, stores);
    solo.stored(Stored::AcceptedEpoch { epoch: 3 });
    let fx = solo.stored(Stored::CurrentEpoch { epoch: 3 });
    assert_eq!(votes(&fx)[0].peer_epoch, 3);
}

/// Z-4712, Z-4541: a role that has ended writes nothing into the next.
#[test]
fn what_comes_for_an_ended_role_does_nothing() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    solo.step(Input::LeaderClosed);
    assert_eq!(solo.proposal(z(5, 1)), []);
    assert_eq!(solo.leader_says(PacketKind::Commit, z(5, 1)), []);
    assert_eq!(solo.step(Input::LeaderClosed), []);
    assert_eq!(solo.stored(Stored::SnapshotInstalled { zxid: z(1, 1) }), [], "nor does a late answer");
}

#[test]
fn a_damaged_server_counts_nowhere_until_it_is_synchronised() {
    let mut damaged = stable(4, &[]);
    damaged.last_zxid = None;
    let mut solo = Solo::joining(1, damaged);
    let greeting = solo.fx.iter().find_map(|effect| match effect {
        Effect::SendLeader { packet } => Some(packet.clone()),
        _ => None,
    });
    assert_eq!(greeting.unwrap().body()[20..], *b"zoolog\x01\x01", "servers of ours are told");
    solo.leader_info(5);
    let fx = solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    let [Effect::SendLeader { packet }] = &fx[..] else { panic!("{fx:?}") };
    assert_eq!((packet.zxid, packet.body()), (0, &[255; 4][..]));
    assert!(solo.peer.status().damaged);
    solo.leader_says(PacketKind::Snap, z(4, 2));
    solo.stored(Stored::SnapshotInstalled { zxid: z(4, 2) });
    solo.new_leader(5);
    solo.stored(Stored::CurrentEpoch { epoch: 4 });
    assert_eq!(acks(&solo.stored(Stored::CurrentEpoch { epoch: 5 })), [z(5, 0)]);
    assert!(!solo.peer.status().damaged);
}

#[test]
fn a_silent_original_has_the_whole_sync_limit_and_ours_less_than_a_third() {
    let limit_ms = 5 * TICK_MS;
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    assert!(!solo.pass(limit_ms - 20).contains(&Effect::HangUp));
    assert!(solo.pass(40).contains(&Effect::HangUp));

    let mut solo = Solo::joining(1, stable(1, &[z(1, 1)]));
    solo.leader_sends(PacketKind::LeaderInfo, z(5, 0), b"\0\x01\0\0zoolog\x01\0".to_vec());
    assert!(!solo.pass(limit_ms * 3 / 10 - 20).contains(&Effect::HangUp));
    assert!(solo.pass(40).contains(&Effect::HangUp));
}

#[test]
fn a_leader_that_is_not_ready_is_dialled_again_within_init_limit() {
    let mut solo = Solo::joining(1, stable(1, &[]));
    let dial = Effect::DialLeader { sid: 3 };
    for _ in 0..8 {
        assert_eq!(solo.step(Input::LeaderClosed), []);
        assert_eq!(solo.pass(90), []);
        assert_eq!(solo.pass(10), std::slice::from_ref(&dial));
    }
    // Its host is gone from the mesh as well.
    solo.step(Input::MeshDown { sid: 3 });
    assert!(solo.step(Input::LeaderClosed).contains(&Effect::HangUp));
}

/// Whoever was to lead may have changed its mind when a server that was thought down came back; once it follows, it says
/// so to nobody who does not ask.
#[test]
fn a_leader_that_has_changed_its_mind_is_not_waited_for() {
    let vote_for = |leader| Input::Notification {
        from: 3,
        notification: Notification {
            state: PeerState::Looking,
            leader,
            zxid: 0,
            round: 1,
            peer_epoch: 0,
            config: Some(three().to_string()),
        },
    };
    let mut solo = Solo::joining(1, stable(1, &[]));
    assert!(!solo.step(vote_for(2)).contains(&Effect::HangUp), "it may be older than the vote that counted");
    assert!(solo.step(Input::LeaderClosed).contains(&Effect::HangUp));

    let mut solo = Solo::joining(1, stable(1, &[]));
    solo.step(vote_for(2));
    solo.step(vote_for(3));
    assert_eq!(solo.step(Input::LeaderClosed), []);
}

#[test]
fn a_leader_that_hangs_up_on_everybody_is_none() {
    let mut solo = Solo::joining(1, stable(1, &[]));
    for _ in 0..2 {
        solo.step(Input::LeaderConnected);
        assert_eq!(solo.step(Input::LeaderClosed), []);
        solo.pass(100);
    }
    solo.step(Input::LeaderConnected);
    assert!(solo.step(Input::LeaderClosed).contains(&Effect::HangUp));
}

/// The others have noticed as well: the vote of a leader that went silent is not waited for.
#[test]
fn a_silent_leader_is_not_waited_for_in_the_election() {
    let mut solo = Solo::serving(1, stable(1, &[z(1, 1)]), 5);
    assert!(solo.pass(5 * TICK_MS + 20).contains(&Effect::HangUp));
    let vote = solo.peer.status();
    let notification = Notification {
        state: PeerState::Looking,
        leader: 2,
        zxid: z(1, 1),
        round: vote.round,
        peer_epoch: 5,
        config: Some(three().to_string()),
    };
    let decided = solo.step(Input::Notification { from: 2, notification });
    assert!(decided.contains(&Effect::DialLeader { sid: 2 }), "{decided:?}");
}

/// Facts 4.8: a 3.5.7 leader always sends a version; without `reconfigEnabled` nothing of it is kept.
#[test]
fn a_version_in_newleader_is_ignored_without_reconfig() {
    let mut with_version = three();
    with_version.version = z(5, 0);
    let run = |reconfig_enabled| {
        let mut options = options(1);
        options.reconfig_enabled = reconfig_enabled;
        let mut solo = Solo::joining_with(options, stable(1, &[z(1, 1)]));
        solo.leader_info(5);
        solo.stored(Stored::AcceptedEpoch { epoch: 5 });
        solo.leader_says(PacketKind::Diff, z(1, 1));
        let seen = solo.leader_sends(PacketKind::NewLeader, z(5, 0), with_version.to_string());
        solo.stored(Stored::CurrentEpoch { epoch: 5 });
        let active = solo.leader_says(PacketKind::UpToDate, -1);
        let is_seen = seen.iter().any(|effect| matches!(effect, Effect::ConfigSeen { .. }));
        let is_active = active.iter().any(|effect| matches!(effect, Effect::ConfigActive { .. }));
        (is_seen, is_active, solo.peer.status().config_version)
    };
    assert_eq!(run(false), (false, false, 0));
    assert_eq!(run(true), (true, true, z(5, 0)), "rule 14: seen at NEWLEADER, active at UPTODATE");
}

#[test]
fn a_ping_is_not_answered_before_the_leader_expects_it() {
    let mut solo = Solo::joining(1, stable(1, &[z(1, 1)]));
    solo.leader_info(5);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    assert_eq!(solo.leader_says(PacketKind::Ping, z(5, 0)), []);
    solo.leader_says(PacketKind::Diff, z(1, 1));
    assert_eq!(solo.leader_says(PacketKind::Ping, z(5, 0)), []);
    solo.new_leader(5);
    solo.stored(Stored::CurrentEpoch { epoch: 5 });
    assert_eq!(
        said(&solo.leader_says(PacketKind::Ping, z(5, 0))),
        [PacketKind::Ping],
        "it has no sessions yet"
    );
    solo.leader_says(PacketKind::UpToDate, -1);
    assert_eq!(solo.leader_says(PacketKind::Ping, z(5, 0)), [Effect::AnswerPing { zxid: z(5, 0) }]);
}

/// An observer takes pairs while it is synchronised and INFORM afterwards, and owes no ACK but those of NEWLEADER.
#[test]
fn an_observer_takes_informs() {
    let mut solo = Solo::joining(9, stable(1, &[z(1, 1)]));
    solo.leader_info(5);
    solo.stored(Stored::AcceptedEpoch { epoch: 5 });
    solo.leader_says(PacketKind::Diff, z(1, 2));
    solo.proposal(z(1, 2));
    assert_eq!(delivered(&solo.leader_says(PacketKind::Commit, z(1, 2))), [z(1, 2)]);
    let fx = solo.leader_sends(PacketKind::Inform, z(5, 1), entry(z(5, 1)).payload);
    assert_eq!((appended(&fx), delivered(&fx)), (vec![z(5, 1)], vec![z(5, 1)]));
    solo.new_leader(5);
    solo.durable(z(5, 1));
    assert_eq!(acks(&solo.stored(Stored::CurrentEpoch { epoch: 5 })), [z(5, 0)]);
    let fx = solo.leader_says(PacketKind::UpToDate, -1);
    assert!(fx.contains(&Effect::Role(Role::Observing { leader: 3 })));
    assert_eq!(acks(&fx), [z(5, 0)]);
    solo.leader_sends(PacketKind::Inform, z(5, 2), entry(z(5, 2)).payload);
    assert_eq!(solo.durable(z(5, 2)), []);
    assert_eq!(solo.proposal(z(5, 3)), [], "as Apache's ignores it");
}

/// A truncation across epochs, as Apache may ask for it: what is left is a prefix, and the next attempt begins there.
#[test]
fn a_log_without_the_entry_to_truncate_to_begins_where_it_ends() {
    let mut solo = in_sync(PacketKind::Trunc, z(1, 5));
    let fx = solo.stored(Stored::Truncated { last_zxid: z(1, 3), recent: recent(&[z(1, 2), z(1, 3)]) });
    assert!(fx.contains(&Effect::HangUp));
    assert_eq!(votes(&fx)[0].zxid, z(1, 3));
}

/// A leader that cannot be joined is not dialled as fast as the network allows.
#[test]
fn failures_in_a_row_are_spaced() {
    let mut solo = Solo::joining(1, stable(4, &[z(4, 1)]));
    let mut delays = Vec::new();
    for round in 2..8 {
        solo.leader_info(3);
        let begin_ms = solo.now_ms;
        while solo.peer.status().round < round {
            solo.pass(10);
        }
        delays.push(solo.now_ms - begin_ms);
        solo.vote(2, PeerState::Following, 3, round, (3, 0));
        solo.vote(3, PeerState::Leading, 3, round, (3, 0));
        solo.step(Input::LeaderConnected);
    }
    assert_eq!(delays, [0, TICK_MS, TICK_MS, TICK_MS, TICK_MS, TICK_MS]);
}
