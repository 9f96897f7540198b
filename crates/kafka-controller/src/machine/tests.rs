//! Single histories first, then thousands of random ones.

use super::sim::{Cluster, registration};
use super::{ControllerConfig, Phase};
use crate::zk::{ZkOp, ZkWrite};
use crate::zkdata::{TopicAssignment, config_encode, path};
use crate::{Event, PartitionStatus, TopicPartition};

fn alone() -> Cluster {
    let mut cluster = Cluster::new(1, 7, ControllerConfig::kafka_3_9);
    cluster.connect(0);
    cluster.settle();
    cluster
}

fn text(cluster: &Cluster, path: &str) -> String {
    String::from_utf8(cluster.zoo.data(path).unwrap().to_vec()).unwrap()
}

#[test]
fn one_broker_becomes_the_controller_and_writes_what_kafka_writes() {
    let cluster = alone();
    let controller = &cluster.brokers[0].controller;
    assert_eq!(
        (controller.phase(), controller.epoch(), controller.controller_id()),
        (Phase::Active, 1, Some(0))
    );
    assert_eq!(text(&cluster, "/controller_epoch"), "1");
    assert!(text(&cluster, "/controller").starts_with(r#"{"version":2,"brokerid":0,"timestamp":""#));
    assert_eq!(text(&cluster, "/feature"), r#"{"features":{},"version":2,"status":1}"#);
    assert!(cluster.foreign.is_empty());
}

#[test]
fn a_topic_gets_an_id_leaders_and_states() {
    let mut cluster = alone();
    cluster.create_topic("t", vec![vec![0], vec![0]]);
    cluster.settle();
    assert_eq!(
        text(&cluster, &path::partition_state("t", 1)),
        r#"{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":0,"isr":[0]}"#
    );
    let topic = TopicAssignment::decode(cluster.zoo.data(&path::topic("t")).unwrap()).unwrap();
    assert!(topic.topic_id.is_some());
    assert_eq!(cluster.brokers[0].replicas.len(), 2);
    cluster.add_partition("t", vec![0]);
    cluster.settle();
    let tp = TopicPartition { topic: "t".into(), partition: 2 };
    assert_eq!(cluster.brokers[0].controller.partition_status(&tp), Some(PartitionStatus::Online));
    assert_eq!(cluster.state("t", 2).unwrap().leader_epoch, 0);
}

#[test]
fn kafka_2_7_gives_no_ids() {
    let mut cluster = Cluster::new(1, 7, ControllerConfig::kafka_2_7);
    cluster.connect(0);
    cluster.create_topic("t", vec![vec![0]]);
    cluster.settle();
    assert_eq!(
        text(&cluster, &path::topic("t")),
        r#"{"version":2,"partitions":{"0":[0]},"adding_replicas":{},"removing_replicas":{}}"#
    );
    assert!(text(&cluster, "/controller").starts_with(r#"{"version":1,"#));
}

#[test]
fn a_deleted_topic_leaves_nothing_behind() {
    let mut cluster = alone();
    cluster.create_topic("t", vec![vec![0], vec![0]]);
    let config = config_encode(&[("a".to_string(), "b".to_string())].into());
    cluster
        .zoo
        .write(ZkWrite::Create { path: path::config("topics", "t"), data: Some(config), ephemeral: false })
        .unwrap();
    cluster.settle();
    cluster.delete_topic("t");
    cluster.delete_topic("unknown");
    cluster.settle();
    let left: Vec<_> = cluster
        .zoo
        .nodes
        .keys()
        .filter(|p| p.ends_with("/t") || p.contains("/t/") || p.ends_with("unknown"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(cluster.brokers[0].replicas.is_empty());
    cluster.create_topic("t", vec![vec![0]]);
    cluster.settle();
    assert_eq!(cluster.state("t", 0).unwrap().leader, 0);
}

#[test]
fn with_deletion_disabled_only_the_request_goes() {
    let mut cluster = Cluster::new(1, 7, |id| ControllerConfig {
        delete_topic_enable: false,
        ..ControllerConfig::kafka_3_9(id)
    });
    cluster.connect(0);
    cluster.create_topic("t", vec![vec![0]]);
    cluster.settle();
    cluster.delete_topic("t");
    cluster.settle();
    assert!(
        cluster.zoo.nodes.contains_key(&path::topic("t"))
            && !cluster.zoo.nodes.contains_key(&path::delete_topic("t"))
    );
    assert!(!cluster.brokers[0].controller.is_deleting("t"));
}

#[test]
fn expiry_resigns_at_once_and_the_next_session_takes_over_with_a_higher_epoch() {
    let mut cluster = alone();
    cluster.create_topic("t", vec![vec![0]]);
    cluster.settle();
    cluster.expire(0);
    cluster.hear(0);
    assert_eq!(cluster.brokers[0].controller.phase(), Phase::Resigned);
    assert_eq!(cluster.brokers[0].controller.controller_id(), None);
    cluster.connect(0);
    cluster.settle();
    assert_eq!(
        (cluster.brokers[0].controller.phase(), cluster.brokers[0].controller.epoch()),
        (Phase::Active, 2)
    );
    assert_eq!(cluster.state("t", 0).unwrap().leader_epoch, 0, "the leader did not change");
}

#[test]
fn a_changed_controller_epoch_fences_the_next_write() {
    let mut cluster = alone();
    cluster
        .zoo
        .write(ZkWrite::SetData { path: "/controller_epoch".into(), data: b"9".to_vec(), version: -1 })
        .unwrap();
    cluster.create_topic("t", vec![vec![0]]);
    cluster.settle();
    // /controller still names this broker, in a session that is not the office: it waits until that node goes.
    assert_eq!(cluster.brokers[0].controller.phase(), Phase::Resigned);
    assert!(cluster.state("t", 0).is_none());
    cluster.zoo.write(ZkWrite::Delete { path: "/controller".into(), version: -1 }).unwrap();
    cluster.deliver_watches();
    cluster.settle();
    assert_eq!(cluster.brokers[0].controller.epoch(), 10);
    assert_eq!(cluster.state("t", 0).unwrap().controller_epoch, 10);
}

#[test]
fn a_second_broker_is_reported_and_stays_out_of_office() {
    let mut cluster = Cluster::new(2, 7, ControllerConfig::kafka_3_9);
    cluster.connect(0);
    cluster.settle();
    cluster.connect(1);
    cluster.deliver_watches();
    cluster.settle();
    assert!(cluster.foreign.contains(&1));
    assert_eq!(cluster.brokers[1].controller.phase(), Phase::Resigned);
    assert_eq!(cluster.brokers[1].controller.controller_id(), Some(0));
}

#[test]
fn a_bounced_broker_costs_leader_epochs_and_leads_again() {
    let mut cluster = Cluster::new(2, 7, ControllerConfig::kafka_3_9);
    cluster.connect(0);
    cluster.settle();
    cluster.connect(1);
    cluster.deliver_watches();
    cluster.create_topic("single", vec![vec![1]]);
    cluster.create_topic("double", vec![vec![1, 0]]);
    cluster.settle();
    assert_eq!(cluster.state("double", 0).unwrap().isr, [1, 0]);
    cluster.expire(1);
    cluster.hear(1);
    cluster.connect(1);
    cluster.deliver_watches();
    cluster.settle();
    // Bounced while nobody looked: down (leader -1, epoch 1), then up (leader 1, epoch 2).
    let single = cluster.state("single", 0).unwrap();
    assert_eq!((single.leader, single.leader_epoch), (1, 2));
    let double = cluster.state("double", 0).unwrap();
    assert_eq!((double.leader, double.isr), (0, vec![0]));
}

#[test]
fn a_state_that_changes_under_an_election_is_read_again() {
    let mut cluster = Cluster::new(3, 7, ControllerConfig::kafka_3_9);
    for index in 0..3 {
        cluster.connect(index);
        cluster.settle();
    }
    cluster.create_topic("t", vec![vec![1, 2, 0]]);
    cluster.settle();
    cluster.expire(1);
    cluster.deliver_watches();
    let writes_state = |op: &ZkOp| matches!(op, ZkOp::Write(_)) && op.path() == path::partition_state("t", 0);
    while !cluster.brokers[0].requests.iter().any(|(_, op)| writes_state(op)) {
        assert!(cluster.hear(0) || cluster.serve(0));
    }
    // The old leader's last word: broker 2, about to be elected, is out of sync.
    let mut state = cluster.state("t", 0).unwrap();
    state.isr = vec![1, 0];
    cluster
        .zoo
        .write(ZkWrite::SetData { path: path::partition_state("t", 0), data: state.encode(), version: -1 })
        .unwrap();
    cluster.settle();
    let state = cluster.state("t", 0).unwrap();
    assert_eq!((state.leader, state.isr), (0, vec![0]));
}

#[test]
fn an_unclean_leader_needs_permission() {
    for allowed in [false, true] {
        let mut cluster = Cluster::new(2, 7, ControllerConfig::kafka_3_9);
        cluster.connect(0);
        cluster.connect(1);
        cluster.create_topic("t", vec![vec![1, 0]]);
        let config =
            config_encode(&[("unclean.leader.election.enable".to_string(), allowed.to_string())].into());
        cluster
            .zoo
            .write(ZkWrite::Create {
                path: path::config("topics", "t"),
                data: Some(config),
                ephemeral: false,
            })
            .unwrap();
        cluster.settle();
        // Broker 0 falls out of sync, then broker 1 dies.
        let mut state = cluster.state("t", 0).unwrap();
        (state.isr, state.leader, state.leader_epoch) = (vec![1], 1, state.leader_epoch + 1);
        cluster
            .zoo
            .write(ZkWrite::SetData {
                path: path::partition_state("t", 0),
                data: state.encode(),
                version: -1,
            })
            .unwrap();
        cluster.expire(1);
        cluster.deliver_watches();
        cluster.settle();
        let after = cluster.state("t", 0).unwrap();
        assert_eq!(after.leader, if allowed { 0 } else { -1 });
        assert_eq!(after.recovering, allowed);
        assert_eq!(after.isr, if allowed { vec![0] } else { vec![1] });
    }
}

#[test]
fn states_that_a_dead_controller_left_half_done_are_finished() {
    let mut cluster = Cluster::new(1, 7, ControllerConfig::kafka_3_9);
    cluster.create_topic("t", vec![vec![0], vec![0]]);
    for path in [path::partitions("t"), path::partition("t", 0)] {
        cluster.zoo.write(ZkWrite::Create { path, data: None, ephemeral: false }).unwrap();
    }
    cluster.connect(0);
    cluster.settle();
    assert_eq!((cluster.state("t", 0).unwrap().leader, cluster.state("t", 1).unwrap().leader), (0, 0));
}

#[test]
fn unreadable_nodes_are_left_alone() {
    let mut cluster = alone();
    for (path, data) in [(path::topic("bad"), "x"), (path::topic("odd"), r#"{"partitions":{"0":[0]}}"#)] {
        cluster.zoo.write(ZkWrite::Create { path, data: Some(data.into()), ephemeral: false }).unwrap();
    }
    for path in [path::partitions("odd"), path::partition("odd", 0)] {
        cluster.zoo.write(ZkWrite::Create { path, data: None, ephemeral: false }).unwrap();
    }
    cluster
        .zoo
        .write(ZkWrite::Create {
            path: path::partition_state("odd", 0),
            data: Some(b"{}".to_vec()),
            ephemeral: false,
        })
        .unwrap();
    cluster.deliver_watches();
    cluster.settle();
    assert_eq!(cluster.brokers[0].controller.phase(), Phase::Active);
    cluster.create_topic("good", vec![vec![0]]);
    cluster.settle();
    assert_eq!(cluster.state("good", 0).unwrap().leader, 0);
}

#[test]
fn losing_the_session_at_every_single_step_of_a_failover_ends_well() {
    for cut in 0..60 {
        let mut cluster = Cluster::new(1, cut, ControllerConfig::kafka_3_9);
        cluster.create_topic("t", vec![vec![0], vec![0]]);
        cluster.create_topic("gone", vec![vec![0]]);
        cluster.delete_topic("gone");
        cluster.connect(0);
        for _ in 0..cut {
            if !cluster.hear(0) {
                cluster.serve(0);
            }
        }
        if cut % 2 == 0 {
            cluster.expire(0);
            cluster.hear(0);
            assert_eq!(cluster.brokers[0].controller.phase(), Phase::Resigned);
            cluster.connect(0);
        } else {
            cluster.disconnect(0);
        }
        cluster.settle();
        assert_rest(&cluster);
    }
}

/// What must hold when everything has come to rest and every broker is alive.
fn assert_rest(cluster: &Cluster) {
    let active: Vec<i32> =
        cluster.brokers.iter().filter(|b| b.controller.phase() == Phase::Active).map(|b| b.id).collect();
    assert_eq!(active.len(), 1, "one controller");
    for broker in &cluster.brokers {
        assert_eq!(
            broker.controller.controller_id(),
            Some(active[0]),
            "broker {} knows the controller; it is {:?}",
            broker.id,
            broker.controller
        );
    }
    assert!(cluster.zoo.children(path::DELETE_TOPICS).is_empty(), "requests are served");
    for topic in cluster.zoo.children(path::TOPICS) {
        let assignment = TopicAssignment::decode(cluster.zoo.data(&path::topic(&topic)).unwrap()).unwrap();
        assert!(assignment.topic_id.is_some());
        for (partition, replicas) in assignment.partitions {
            let state = cluster
                .state(&topic, partition)
                .unwrap_or_else(|| panic!("{topic}-{partition} has no state"));
            assert!(state.isr.contains(&state.leader), "{topic}-{partition}: {state:?}");
            let tp = TopicPartition { topic: topic.clone(), partition };
            let controller = &cluster.brokers[active[0] as usize].controller;
            assert_eq!(controller.partition_status(&tp), Some(PartitionStatus::Online));
            let told = &cluster.brokers[state.leader as usize].replicas;
            assert_eq!(
                told.get(&tp).map(|t| t.1),
                Some(state.leader_epoch),
                "{tp}: the leader knows its epoch"
            );
            assert!(replicas.replicas.contains(&state.leader));
        }
    }
}

fn random_history(seed: u64, brokers: i32, steps: usize) {
    let mut cluster = Cluster::new(brokers, seed, ControllerConfig::kafka_3_9);
    for index in 0..brokers as usize {
        cluster.connect(index);
    }
    let mut topics = 0;
    for _ in 0..steps {
        let index = cluster.random.usize(..brokers as usize);
        match cluster.random.u32(..1000) {
            0..400 => drop(cluster.hear(index)),
            400..800 => drop(cluster.serve(index)),
            800..830 => cluster.disconnect(index),
            830..845 => cluster.expire(index),
            845..900 => {
                let told = cluster.brokers[index].session.is_none();
                while told && cluster.hear(index) {}
                if told {
                    cluster.connect(index);
                }
            }
            900..940 => {
                let replicas = random_replicas(&mut cluster, brokers);
                topics += usize::from(cluster.create_topic(&format!("t{}", topics % 6), replicas));
            }
            940..960 => {
                let replicas = random_replicas(&mut cluster, brokers).remove(0);
                let name = format!("t{}", cluster.random.u32(..6));
                cluster.add_partition(&name, replicas);
            }
            960..980 => {
                let name = format!("t{}", cluster.random.u32(..7));
                cluster.delete_topic(&name);
            }
            980..990 => {
                let (name, partition) = (format!("t{}", cluster.random.u32(..6)), cluster.random.i32(..3));
                cluster.shrink_isr(&name, partition);
            }
            _ => cluster.tick(index),
        }
        cluster.deliver_watches();
    }
    for index in 0..brokers as usize {
        while cluster.brokers[index].session.is_none() && cluster.hear(index) {}
        if cluster.brokers[index].session.is_none() {
            cluster.connect(index);
        }
    }
    cluster.deliver_watches();
    cluster.settle();
    assert_rest(&cluster);
}

fn random_replicas(cluster: &mut Cluster, brokers: i32) -> Vec<Vec<i32>> {
    (0..cluster.random.usize(1..4))
        .map(|_| {
            let mut ids: Vec<i32> = (0..brokers).collect();
            cluster.random.shuffle(&mut ids);
            ids.truncate(cluster.random.usize(1..=brokers as usize));
            ids
        })
        .collect()
}

#[test]
fn random_histories_of_one_broker() {
    for seed in 0..300 {
        random_history(seed, 1, 400);
    }
}

#[test]
fn random_histories_of_three_brokers() {
    for seed in 10000..10400 {
        random_history(seed, 3, 600);
    }
}

#[test]
fn answers_to_forgotten_tokens_and_strange_paths_are_ignored() {
    let mut cluster = alone();
    let controller = &mut cluster.brokers[0].controller;
    let mut effects = Vec::new();
    controller.step(0, Event::Zk { token: 1, result: Err(crate::zk::ZkError::NoNode.into()) }, &mut effects);
    controller.step(0, Event::ReplicasStopped { token: 99, failed: Vec::new() }, &mut effects);
    for path in ["", "/", "/x", "/brokers/ids/x", "/admin"] {
        controller.step(0, Event::Watch { path: path.into() }, &mut effects);
    }
    assert!(effects.is_empty(), "{effects:?}");
    controller.check();
}

#[test]
fn no_more_requests_are_in_flight_than_the_configuration_allows() {
    let mut cluster = Cluster::new(1, 7, |id| ControllerConfig {
        zk_requests_in_flight_max: 3,
        ..ControllerConfig::kafka_3_9(id)
    });
    cluster.create_topic("t", vec![vec![0]; 20]);
    let session = cluster.zoo.open_session();
    let create =
        ZkWrite::Create { path: path::broker(0), data: Some(registration().encode()), ephemeral: true };
    cluster.zoo.run(session, &ZkOp::Write(vec![create])).unwrap();
    let controller = &mut cluster.brokers[0].controller;
    let mut effects = Vec::new();
    controller.step(0, Event::SessionEstablished, &mut effects);
    let mut most = effects.len();
    while let Some(effect) = effects.pop() {
        if let crate::Effect::Zk { token, op } = effect {
            let result = cluster.zoo.run(session, &op);
            controller.step(0, Event::Zk { token, result }, &mut effects);
        }
        most = most.max(effects.iter().filter(|e| matches!(e, crate::Effect::Zk { .. })).count());
    }
    assert_eq!((controller.phase(), most), (Phase::Active, 3));
}
