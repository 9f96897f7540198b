//! One test a rule, on one server's election.

use zk_proto::quorum::{Config, Notification, PeerState, Sid};

use super::resend::{RESEND_MAX_MS, Resend};
use super::{Election, LastLogged, Outcome, Vote};
use crate::effect::Effect;
use crate::options::Options;

const THREE: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";
const FIVE: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2";
const WITH_OBSERVER: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer";
/// Its history unless a test says otherwise: epoch 1, zxid 0x100000005.
const OWN: LastLogged = LastLogged { zxid: 0x1_0000_0005, epoch: 1 };
const DRAIN_MS: u64 = 200;

/// An election, its clock, and what it had sent.
struct Server {
    election: Election,
    now_ms: u64,
    fx: Vec<Effect>,
}

impl Server {
    fn new(sid: Sid, config: &str) -> Self {
        Self::with(Options::new(sid), config, None, Some(OWN))
    }

    fn damaged(sid: Sid, config: &str) -> Self {
        Self::with(Options::new(sid), config, None, None)
    }

    /// Its first election has begun so long ago that servers never met count as absent.
    fn with(options: Options, config: &str, next: Option<&str>, own: Option<LastLogged>) -> Self {
        let next = next.map(|text| Config::parse(text).unwrap());
        let mut election = Election::new(&options, &Config::parse(config).unwrap(), next.as_ref());
        let mut fx = Vec::new();
        election.begin(0, own, &mut fx);
        Self { election, now_ms: 1_000, fx }
    }

    fn hear(&mut self, from: Sid, notification: Notification) -> Option<Outcome> {
        let outcome = self.election.on_notification(self.now_ms, from, &notification, &mut self.fx);
        self.election.check();
        outcome
    }

    fn wait(&mut self, ms: u64) -> Option<Outcome> {
        self.now_ms += ms;
        self.election.on_tick(self.now_ms, &mut self.fx)
    }

    fn down(&mut self, sid: Sid) -> Option<Outcome> {
        self.election.mesh_down(self.now_ms, sid)
    }

    /// What was sent since the last call, without the configuration.
    fn sent(&mut self) -> Vec<(Sid, Notification)> {
        let sent = self.fx.drain(..).map(|effect| match effect {
            Effect::Notify { to, notification } => (to, Notification { config: None, ..notification }),
            other => panic!("{other:?}"),
        });
        sent.collect()
    }

    /// Its proposal or verdict, as the server voted for.
    fn votes_for(&self) -> Sid {
        self.election.vote().leader
    }
}

/// Looking, in round 1, for `leader` with the same history as [`OWN`].
fn looking(leader: Sid) -> Notification {
    let LastLogged { zxid, epoch: peer_epoch } = OWN;
    Notification { state: PeerState::Looking, leader, zxid, round: 1, peer_epoch, config: None }
}

fn settled(state: PeerState, leader: Sid, round: i64, peer_epoch: i64) -> Notification {
    Notification { state, round, peer_epoch, ..looking(leader) }
}

const LEADING: PeerState = PeerState::Leading;
const FOLLOWING: PeerState = PeerState::Following;

#[test]
fn votes_are_ordered_by_epoch_then_zxid_then_number() {
    let config = Config::parse(THREE).unwrap();
    let vote = |peer_epoch, zxid, leader| Vote { leader, zxid, peer_epoch };
    let ordered = [vote(1, 5, 3), vote(2, 3, 1), vote(2, 3, 2), vote(2, 4, 1)];
    for (i, a) in ordered.into_iter().enumerate() {
        for (j, b) in ordered.into_iter().enumerate() {
            assert_eq!(a.beats(b, &config), i > j, "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_vote_for_weight_0_never_wins_but_weights_count_only_with_groups() {
    let vote = |leader, zxid| Vote { leader, zxid, peer_epoch: 1 };
    let groups = Config::parse(&format!("{THREE}\ngroup.1=1:2:3\nweight.3=0")).unwrap();
    assert!(!vote(3, 9).beats(vote(2, 1), &groups));
    let plain = Config::parse(&format!("{THREE}\nweight.3=0")).unwrap();
    assert!(vote(3, 9).beats(vote(2, 1), &plain));
}

#[test]
fn an_election_begins_with_the_own_vote_in_a_new_round_to_all_voters() {
    let mut server = Server::new(2, WITH_OBSERVER);
    assert_eq!(server.sent(), [(1, looking(2)), (3, looking(2))]);
    server.election.begin(2_000, Some(OWN), &mut server.fx);
    assert_eq!(server.sent()[0].1.round, 2);
}

#[test]
fn a_better_vote_of_the_round_is_taken_over_and_told() {
    let mut server = Server::new(2, THREE);
    server.sent();
    assert_eq!(server.hear(1, looking(1)), None);
    assert_eq!((server.votes_for(), server.sent().len()), (2, 0), "a worse one is only counted");
    server.hear(3, looking(3));
    assert_eq!(server.sent(), [(1, looking(3)), (3, looking(3))]);
}

#[test]
fn a_higher_round_is_adopted_with_the_better_of_its_vote_and_the_own() {
    let mut server = Server::new(2, FIVE);
    server.hear(3, looking(3));
    server.sent();
    let outcome = server.hear(1, Notification { round: 4, ..looking(1) });
    assert_eq!(outcome, None);
    assert_eq!((server.election.round(), server.votes_for()), (4, 2), "not 3: that was another round");
    assert_eq!(server.sent().len(), 4);
    server.hear(3, Notification { round: 9, ..looking(3) });
    assert_eq!((server.election.round(), server.votes_for()), (9, 3));
}

#[test]
fn votes_of_an_earlier_round_count_no_more() {
    let mut server = Server::new(2, FIVE);
    server.hear(1, looking(3));
    server.hear(3, Notification { round: 4, ..looking(3) });
    assert_eq!(server.wait(DRAIN_MS), None, "2 and 3; 1 voted so in round 1");
    server.hear(1, Notification { round: 4, ..looking(3) });
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Follows { leader: 3 }));
}

#[test]
fn a_lower_round_is_answered_at_once_and_not_counted() {
    let mut server = Server::new(3, THREE);
    server.hear(2, Notification { round: 4, ..looking(2) });
    server.sent();
    assert_eq!(server.hear(1, looking(3)), None);
    assert_eq!(server.sent(), [(1, Notification { round: 4, ..looking(3) })]);
    assert_eq!(server.wait(DRAIN_MS), None, "no quorum in round 4");
    assert_eq!(server.hear(1, Notification { state: FOLLOWING, ..looking(3) }), None);
}

#[test]
fn a_quorum_waits_for_a_better_vote() {
    let mut server = Server::new(2, THREE);
    assert_eq!(server.hear(1, looking(2)), None);
    assert_eq!(server.wait(DRAIN_MS - 1), None);
    assert_eq!(server.hear(3, looking(3)), None, "here it comes");
    assert_eq!(server.wait(DRAIN_MS - 1), None);
    assert_eq!(server.wait(1), Some(Outcome::Follows { leader: 3 }), "1 has not said, 3 and 2 are enough");
}

#[test]
fn a_quorum_does_not_wait_once_all_have_voted_the_same() {
    let mut server = Server::new(2, THREE);
    assert_eq!(server.hear(3, looking(3)), None);
    assert_eq!(server.hear(1, looking(3)), Some(Outcome::Follows { leader: 3 }));
}

#[test]
fn a_quorum_does_not_wait_for_the_unreachable() {
    let mut server = Server::new(2, THREE);
    assert_eq!(server.down(3), None);
    assert_eq!(server.hear(1, looking(2)), Some(Outcome::Leads));
    let mut server = Server::new(2, THREE);
    assert_eq!(server.hear(1, looking(2)), None);
    assert_eq!(server.down(3), Some(Outcome::Leads), "nor from when it is known");
    let mut server = Server::new(2, THREE);
    server.down(3);
    server.election.mesh_up(3, &mut server.fx);
    assert_eq!(server.hear(1, looking(2)), None, "it is back");
}

#[test]
fn a_refused_connection_means_nothing_while_servers_are_being_started() {
    let mut server = Server::new(2, THREE);
    server.now_ms = DRAIN_MS - 50;
    server.down(3);
    assert_eq!(server.hear(1, looking(2)), None);
    assert_eq!(server.wait(49), None);
    assert_eq!(server.wait(1), Some(Outcome::Leads), "but not for longer than a drain");
    let mut server = Server::new(2, THREE);
    server.now_ms = 50;
    server.election.mesh_up(3, &mut server.fx);
    server.down(3);
    assert_eq!(server.hear(1, looking(2)), Some(Outcome::Leads), "3 was there, and is gone");
}

#[test]
fn one_voter_alone_leads_at_its_first_tick() {
    let mut server = Server::new(1, "server.1=a:1:2\nserver.2=b:1:2:observer");
    assert_eq!(server.wait(0), Some(Outcome::Leads));
    assert_eq!(server.election.state(), LEADING);
}

#[test]
fn votes_of_and_for_strangers_are_dropped() {
    let mut server = Server::new(2, THREE);
    server.hear(1, looking(9));
    server.hear(9, looking(9));
    server.hear(9, looking(2));
    assert_eq!(server.votes_for(), 2);
    assert_eq!(server.wait(DRAIN_MS), None, "no quorum of strangers");
    server.hear(9, settled(LEADING, 9, 1, 1));
    assert_eq!(server.hear(3, settled(FOLLOWING, 9, 1, 1)), None);
}

#[test]
fn whoever_has_no_vote_is_answered_if_it_looks() {
    let mut server = Server::new(2, WITH_OBSERVER);
    server.sent();
    let from_observer = Notification { leader: i64::MIN, zxid: i64::MIN, peer_epoch: i64::MIN, ..looking(4) };
    assert_eq!(server.hear(4, from_observer.clone()), None);
    assert_eq!(server.sent(), [(4, looking(2))]);
    server.hear(4, Notification { round: 7, ..from_observer.clone() });
    assert_eq!(server.election.round(), 1, "its round is its own");
    server.sent();
    server.hear(4, Notification { state: PeerState::Observing, ..from_observer });
    assert_eq!(server.sent(), [], "otherwise two would answer each other for ever");
}

#[test]
fn an_observer_only_learns() {
    let mut server = Server::new(4, WITH_OBSERVER);
    let asks = Notification { leader: i64::MIN, zxid: i64::MIN, peer_epoch: i64::MIN, ..looking(4) };
    assert_eq!(server.sent(), [(1, asks.clone()), (2, asks.clone()), (3, asks)]);
    for from in [1, 2, 3] {
        assert_eq!(server.hear(from, Notification { round: 0, ..looking(3) }), None, "votes decide nothing");
    }
    assert_eq!(server.wait(DRAIN_MS - 1), None);
    assert_eq!(server.sent().len(), 3, "only the broadcast: it answers nobody");
    assert_eq!(server.hear(1, settled(FOLLOWING, 3, 5, 2)), None);
    assert_eq!(server.hear(3, settled(LEADING, 3, 5, 2)), Some(Outcome::Observes { leader: 3 }));
    server.hear(1, looking(1));
    assert_eq!(server.sent(), []);
}

#[test]
fn a_server_that_another_takes_for_a_voter_answers_it() {
    let mut server = Server::new(4, &format!("{WITH_OBSERVER}\nversion=100000009"));
    server.hear(1, settled(FOLLOWING, 3, 5, 2));
    server.hear(3, settled(LEADING, 3, 5, 2));
    server.sent();
    server.hear(1, Notification { config: Some(FIVE.to_owned()), ..looking(1) });
    let sent = server.sent();
    assert_eq!(sent, [(1, settled(PeerState::Observing, 3, 5, 2))]);
}

#[test]
fn a_vote_without_a_history_is_ignored_and_not_waited_for() {
    let mut server = Server::new(2, THREE);
    assert_eq!(server.hear(3, Notification { zxid: -1, peer_epoch: 9, ..looking(3) }), None);
    assert_eq!(server.votes_for(), 2);
    assert_eq!(server.wait(DRAIN_MS), None, "it is no vote for anybody");
    assert_eq!(server.hear(1, looking(2)), Some(Outcome::Leads));
}

#[test]
fn silence_is_broken_with_back_off_and_jitter() {
    let times = |seed, max_ms| {
        let mut resend = Resend::new(DRAIN_MS, max_ms, seed);
        resend.begin(0);
        let mut times = Vec::new();
        for now_ms in 0..10_000 {
            if resend.is_due(now_ms) {
                resend.sent(now_ms);
                times.push(now_ms);
            }
        }
        times
    };
    let first = times(1, 60_000);
    let pauses: Vec<u64> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([400, 800, RESEND_MAX_MS, RESEND_MAX_MS]) {
        assert!((least..=least + least / 4).contains(pause), "{pauses:?}");
    }
    assert_eq!(first, times(1, 60_000));
    assert_ne!(first, times(2, 60_000));
    assert!(times(1, 300).windows(2).all(|pair| pair[1] - pair[0] <= 375), "a lower maximum counts");
}

#[test]
fn who_looks_says_its_vote_again_and_who_has_settled_does_not() {
    let mut server = Server::new(2, THREE);
    server.sent();
    server.wait(RESEND_MAX_MS);
    assert_eq!(server.sent(), [(1, looking(2)), (3, looking(2))]);
    server.election.mesh_up(3, &mut server.fx);
    assert_eq!(server.sent(), [(3, looking(2))], "a server that comes is told at once");
    server.hear(1, looking(2));
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Leads));
    server.sent();
    server.election.mesh_up(3, &mut server.fx);
    assert_eq!(server.wait(60_000), None);
    assert_eq!(server.sent(), []);
}

#[test]
fn a_joiner_needs_a_quorum_and_the_leaders_own_word() {
    let mut server = Server::new(1, FIVE);
    assert_eq!(server.hear(2, settled(FOLLOWING, 5, 8, 3)), None);
    assert_eq!(server.hear(3, settled(FOLLOWING, 5, 8, 3)), None);
    assert_eq!(server.hear(4, settled(FOLLOWING, 5, 8, 3)), None, "a quorum, but does 5 still lead?");
    assert_eq!(server.hear(5, settled(LEADING, 5, 8, 3)), Some(Outcome::Follows { leader: 5 }));
    assert_eq!((server.election.round(), server.election.state()), (8, FOLLOWING));
    let mut server = Server::new(1, FIVE);
    assert_eq!(server.hear(5, settled(LEADING, 5, 8, 3)), None);
    assert_eq!(server.hear(2, settled(FOLLOWING, 5, 8, 3)), None);
    assert_eq!(server.hear(2, settled(FOLLOWING, 5, 8, 3)), None, "one server, said twice");
    assert_eq!(server.hear(3, settled(FOLLOWING, 5, 8, 3)), Some(Outcome::Follows { leader: 5 }));
}

#[test]
fn votes_out_of_election_agree_by_leader_and_epoch() {
    let mut server = Server::new(1, THREE);
    let differs = Notification { zxid: 77, ..settled(FOLLOWING, 3, 2, 4) };
    assert_eq!(server.hear(2, differs), None);
    assert_eq!(server.hear(3, settled(LEADING, 3, 8, 4)), Some(Outcome::Follows { leader: 3 }));
    // ZOOKEEPER-1732: a follower that has not yet taken over the leader's epoch is of another mind.
    let mut server = Server::new(1, THREE);
    assert_eq!(server.hear(2, settled(FOLLOWING, 3, 8, 3)), None);
    assert_eq!(server.hear(3, settled(LEADING, 3, 8, 4)), None);
    assert_eq!(server.hear(2, settled(FOLLOWING, 3, 8, 4)), Some(Outcome::Follows { leader: 3 }));
}

#[test]
fn in_the_same_round_own_votes_and_verdicts_of_others_count_together() {
    let mut server = Server::new(1, THREE);
    assert_eq!(server.hear(3, looking(3)), None);
    let leads = settled(LEADING, 3, 1, 1);
    assert_eq!(server.hear(3, leads), Some(Outcome::Follows { leader: 3 }), "1 and 3: two of three");
    let mut server = Server::new(1, THREE);
    assert_eq!(server.hear(3, settled(LEADING, 3, 2, 1)), None, "of another round");
}

#[test]
fn a_leader_known_is_forgotten_when_it_cannot_be_heard_or_looks() {
    let mut server = Server::new(1, THREE);
    server.hear(3, settled(LEADING, 3, 8, 4));
    server.down(3);
    assert_eq!(server.hear(2, settled(FOLLOWING, 3, 8, 4)), None);
    let mut server = Server::new(1, THREE);
    server.hear(3, settled(LEADING, 3, 8, 4));
    server.hear(3, Notification { round: 0, ..looking(3) });
    assert_eq!(server.hear(2, settled(FOLLOWING, 3, 8, 4)), None);
}

#[test]
fn followers_of_this_round_elect_me_and_those_of_an_earlier_do_not() {
    let mut server = Server::new(3, THREE);
    assert_eq!(server.hear(1, settled(FOLLOWING, 3, 1, 1)), None, "as a vote: 2 may still have a better one");
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Leads));
    let mut server = Server::new(3, THREE);
    server.hear(1, settled(FOLLOWING, 3, 7, 1));
    server.hear(2, settled(FOLLOWING, 3, 7, 1));
    assert_eq!(server.wait(DRAIN_MS), None, "they follow who I was before my restart");
}

#[test]
fn a_vote_for_me_with_a_history_i_do_not_have_is_no_reason_to_lead() {
    let mut server = Server::new(1, THREE);
    server.hear(2, Notification { zxid: OWN.zxid + 5, ..looking(1) });
    assert_eq!(server.election.vote().zxid, OWN.zxid);
    assert_eq!(server.wait(DRAIN_MS), None);
}

#[test]
fn who_has_settled_answers_who_looks_with_its_vote_and_round() {
    let mut server = Server::new(1, THREE);
    server.hear(3, Notification { round: 6, ..looking(3) });
    server.hear(2, Notification { round: 6, ..looking(3) });
    assert_eq!(server.election.state(), FOLLOWING);
    server.sent();
    assert_eq!(server.hear(2, Notification { round: 9, ..looking(2) }), None);
    assert_eq!(server.sent(), [(2, settled(FOLLOWING, 3, 6, 1))]);
    server.election.set_vote_epoch(2);
    server.hear(2, looking(2));
    assert_eq!(server.sent(), [(2, settled(FOLLOWING, 3, 6, 2))]);
    server.hear(2, settled(FOLLOWING, 2, 9, 9));
    assert_eq!(server.sent(), [], "who does not look asks nothing");
    assert_eq!(server.votes_for(), 3);
}

#[test]
fn with_a_reconfig_under_way_both_configurations_need_a_quorum() {
    let next = format!("{FIVE}\nversion=100000005");
    let mut server = Server::with(Options::new(2), THREE, Some(&next), Some(OWN));
    assert_eq!(server.sent().len(), 4, "voters of both are told");
    server.hear(1, looking(2));
    assert_eq!(server.wait(DRAIN_MS), None, "two of three, but two of five");
    server.hear(4, looking(2));
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Leads));
    let older = format!("{FIVE}\nversion=0");
    let mut server = Server::with(Options::new(2), THREE, Some(&older), Some(OWN));
    assert_eq!(server.sent().len(), 2, "an older one is no next one");
    server.hear(1, looking(2));
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Leads));
}

#[test]
fn a_voter_of_the_next_configuration_only_votes_but_does_not_stand() {
    let next = format!("{FIVE}\nversion=100000005");
    let mut server = Server::with(Options::new(5), THREE, Some(&next), Some(OWN));
    assert_eq!(server.votes_for(), i64::MIN);
    server.hear(1, looking(1));
    server.hear(2, looking(1));
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Follows { leader: 1 }), "1 and 2, and 5 of five");
}

#[test]
fn a_newer_configuration_is_reported_while_looking() {
    let newer = format!("{FIVE}\nversion=100000005");
    let options = Options { reconfig_enabled: true, ..Options::new(2) };
    let mut server = Server::with(options, THREE, None, Some(OWN));
    let tells = |config: &str| Notification { config: Some(config.to_owned()), ..looking(1) };
    assert_eq!(server.hear(1, tells(FIVE)), None, "the same version is nothing new");
    let config = Config::parse(&newer).unwrap();
    assert_eq!(server.hear(1, tells(&newer)), Some(Outcome::NewerConfig(config.clone())));
    server.election.set_config(&config, None);
    server.election.begin(server.now_ms, Some(OWN), &mut server.fx);
    assert_eq!(server.hear(1, tells(&newer)), None);
    let mut server = Server::new(2, THREE);
    assert_eq!(server.hear(1, tells(&newer)), None, "without reconfigEnabled nothing is adopted");
}

#[test]
fn bad_configurations_are_survived_and_never_sent() {
    let options = Options { reconfig_enabled: true, ..Options::new(2) };
    let mut server = Server::with(options, THREE, None, Some(OWN));
    for bad in
        ["", "version=500000000", "server.x=?\nversion=500000000", "server.1=a:1:2:observer\nversion=9"]
    {
        let notification = Notification { config: Some(bad.to_owned()), ..looking(1) };
        assert_eq!(server.hear(1, notification), None, "{bad}");
    }
    let Some(Effect::Notify { notification, .. }) = server.fx.first() else { panic!() };
    assert_eq!(notification.config, Some(Config::parse(THREE).unwrap().to_string()));
    let mut server = Server::new(2, "version=0");
    server.hear(1, looking(1));
    server.wait(60_000);
    assert_eq!(server.sent(), [], "without participants there is nothing to say");
}

#[test]
fn a_damaged_server_asks_in_round_0_and_is_counted_by_nobody() {
    let mut damaged = Server::damaged(3, THREE);
    let asks = Notification { zxid: -1, round: 0, peer_epoch: -1, ..looking(3) };
    assert_eq!(damaged.sent(), [(1, asks.clone()), (2, asks.clone())]);
    let mut server = Server::new(2, THREE);
    server.sent();
    assert_eq!(server.hear(3, asks), None);
    assert_eq!(server.sent(), [(3, looking(2))], "a lower round: answered");
    assert_eq!((server.election.round(), server.votes_for()), (1, 2));
}

#[test]
fn a_damaged_server_decides_no_round_and_never_leads() {
    let mut server = Server::damaged(3, THREE);
    server.hear(1, looking(3));
    server.hear(2, Notification { round: 0, ..looking(3) });
    server.hear(1, settled(FOLLOWING, 3, 1, 1));
    server.hear(2, settled(FOLLOWING, 3, 1, 1));
    assert_eq!(server.wait(10 * DRAIN_MS), None);
    assert_eq!(server.hear(2, settled(LEADING, 2, 1, 1)), None);
    assert_eq!(server.hear(1, settled(FOLLOWING, 2, 1, 1)), Some(Outcome::Follows { leader: 2 }));
    server.election.begin(server.now_ms, Some(OWN), &mut server.fx);
    server.hear(2, Notification { round: 2, ..looking(3) });
    assert_eq!(server.wait(DRAIN_MS), Some(Outcome::Leads), "synchronised, it votes again");
}
