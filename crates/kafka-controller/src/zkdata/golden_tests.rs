//! Strings that Kafka 3.9.1's and 2.7.1's own `ZkData` encoders wrote.

use std::collections::BTreeMap;

use super::*;

fn text(data: Vec<u8>) -> String {
    String::from_utf8(data).unwrap()
}

fn two_listeners(version: i32, rack: Option<&str>) -> BrokerRegistration {
    let endpoint = |listener: &str, host: &str, port, protocol: &str| Endpoint {
        listener: listener.into(),
        host: host.into(),
        port,
        security_protocol: protocol.into(),
    };
    BrokerRegistration {
        version,
        endpoints: vec![
            endpoint("PLAINTEXT", "h1", 9092, "PLAINTEXT"),
            endpoint("CLIENT", "h2", 9093, "SSL"),
        ],
        rack: rack.map(Into::into),
        jmx_port: -1,
        features: BTreeMap::new(),
        timestamp_ms: 1_795_653_512_288,
    }
}

#[test]
fn broker_registrations_are_written_as_kafka_does_and_read_back() {
    let golden = [
        (
            5,
            Some("r1"),
            r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","CLIENT":"SSL"},"endpoints":["PLAINTEXT://h1:9092","CLIENT://h2:9093"],"rack":"r1","jmx_port":-1,"port":9092,"host":"h1","version":5,"timestamp":"1795653512288"}"#,
        ),
        (
            4,
            None,
            r#"{"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","CLIENT":"SSL"},"endpoints":["PLAINTEXT://h1:9092","CLIENT://h2:9093"],"jmx_port":-1,"port":9092,"host":"h1","version":4,"timestamp":"1795653512288"}"#,
        ),
    ];
    for (version, rack, json) in golden {
        let registration = two_listeners(version, rack);
        assert_eq!(text(registration.encode()), json);
        assert_eq!(BrokerRegistration::decode(json.as_bytes()).unwrap(), registration);
    }
    let none = BrokerRegistration { endpoints: vec![], jmx_port: 9999, ..two_listeners(5, None) };
    assert_eq!(
        text(none.encode()),
        r#"{"features":{},"listener_security_protocol_map":{},"endpoints":[],"jmx_port":9999,"port":-1,"host":null,"version":5,"timestamp":"1795653512288"}"#
    );
}

#[test]
fn old_and_odd_broker_registrations_are_read() {
    let v1 = BrokerRegistration::decode(
        br#"{"version":1,"host":"localhost","port":9092,"jmx_port":9999,"timestamp":"2233345666"}"#,
    )
    .unwrap();
    assert_eq!(
        (v1.endpoints[0].host.as_str(), v1.endpoints[0].port, v1.timestamp_ms),
        ("localhost", 9092, 2_233_345_666)
    );
    let v2 = BrokerRegistration::decode(br#"{"version":2,"host":"h","port":1,"jmx_port":1,"timestamp":5,"endpoints":["SSL://[::1]:9093"],"new":[1]}"#).unwrap();
    assert_eq!((v2.endpoints[0].host.as_str(), v2.endpoints[0].security_protocol.as_str()), ("::1", "SSL"));
    assert!(text(v2.encode()).contains("SSL://[::1]:9093"));
    for bad in [
        &b""[..],
        b"{}",
        br#"{"version":0}"#,
        br#"{"version":4,"endpoints":["X"],"listener_security_protocol_map":{}}"#,
        b"\xff",
    ] {
        assert!(BrokerRegistration::decode(bad).is_err());
    }
}

#[test]
fn topics_in_every_version() {
    let id = uuid_decode("LPkUkVbgSTqSQNsuKXfW2g").unwrap();
    assert_eq!(uuid_encode(id), "LPkUkVbgSTqSQNsuKXfW2g");
    let mut topic = TopicAssignment::new(Some(id), [vec![1, 2], vec![1, 2], vec![1, 2]]);
    topic.partitions.get_mut(&1).unwrap().adding = vec![2];
    topic.partitions.get_mut(&2).unwrap().removing = vec![3];
    let v3 = r#"{"partitions":{"0":[1,2],"1":[1,2],"2":[1,2]},"topic_id":"LPkUkVbgSTqSQNsuKXfW2g","adding_replicas":{"1":[2]},"removing_replicas":{"2":[3]},"version":3}"#;
    let v2 = r#"{"version":2,"partitions":{"0":[1,2],"1":[1,2],"2":[1,2]},"adding_replicas":{"1":[2]},"removing_replicas":{"2":[3]}}"#;
    assert_eq!(text(topic.encode(3)), v3);
    assert_eq!(text(topic.encode(2)), v2);
    assert_eq!(TopicAssignment::decode(v3.as_bytes()).unwrap(), topic);
    assert_eq!(TopicAssignment::decode(v2.as_bytes()).unwrap(), TopicAssignment { topic_id: None, ..topic });
    let v1 = TopicAssignment::decode(br#"{"version":1,"partitions":{"10":[7],"2":[8]}}"#).unwrap();
    assert_eq!(v1.partitions.iter().map(|(p, a)| (*p, a.replicas[0])).collect::<Vec<_>>(), [(2, 8), (10, 7)]);
}

#[test]
fn partition_states() {
    let json = r#"{"controller_epoch":5,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}"#;
    let state = PartitionState::new(5, 1, 0, vec![1, 2]);
    assert_eq!(text(state.encode()), json);
    assert_eq!(PartitionState::decode(json.as_bytes()).unwrap(), state);
    let recovering = r#"{"controller_epoch":5,"leader":1,"version":1,"leader_recovery_state":1,"leader_epoch":0,"isr":[1,2]}"#;
    let state = PartitionState { recovering: true, ..state };
    assert_eq!(text(state.encode()), recovering);
    assert_eq!(PartitionState::decode(recovering.as_bytes()).unwrap(), state);
    assert!(PartitionState::decode(br#"{"leader":1}"#).is_err());
}

#[test]
fn the_single_znodes() {
    let controller = ControllerRegistration { broker_id: 1, timestamp_ms: 1_700_000_000_000 };
    assert_eq!(text(controller.encode(1)), r#"{"version":1,"brokerid":1,"timestamp":"1700000000000"}"#);
    assert_eq!(
        text(controller.encode(2)),
        r#"{"version":2,"brokerid":1,"timestamp":"1700000000000","kraftControllerEpoch":-1}"#
    );
    assert_eq!(ControllerRegistration::decode(&controller.encode(2)).unwrap(), controller);
    assert_eq!(controller_epoch_decode(&controller_epoch_encode(3)), Ok(3));
    assert!(controller_epoch_decode(b"x").is_err());
    assert_eq!(
        text(cluster_id_encode("LPkUkVbgSTqSQNsuKXfW2g")),
        r#"{"version":"1","id":"LPkUkVbgSTqSQNsuKXfW2g"}"#
    );
    assert_eq!(cluster_id_decode(br#"{"version":1,"id":"x"}"#).unwrap(), "x");
    let block = ProducerIdBlock::next(None, 4).unwrap();
    assert_eq!(text(block.encode()), r#"{"version":1,"broker":4,"block_start":"0","block_end":"999"}"#);
    assert_eq!(
        ProducerIdBlock::next(Some(&block), 5),
        Some(ProducerIdBlock { broker: 5, start: 1000, end: 1999 })
    );
    assert_eq!(ProducerIdBlock::decode(&block.encode()).unwrap(), block);
    assert_eq!(ProducerIdBlock::next(Some(&ProducerIdBlock { broker: 0, start: 0, end: i64::MAX }), 1), None);
}

#[test]
fn features() {
    for (version, enabled, level, json) in [
        (1, true, None, r#"{"features":{},"version":1,"status":1}"#),
        (2, true, Some(3), r#"{"features":{"ff":{"max_version_level":3}},"version":2,"status":1}"#),
        (
            1,
            false,
            Some(3),
            r#"{"features":{"ff":{"max_version_level":3,"min_version_level":3}},"version":1,"status":0}"#,
        ),
    ] {
        let node = FeatureNode {
            version,
            enabled,
            features: level.map(|l| ("ff".to_string(), l)).into_iter().collect(),
        };
        assert_eq!(text(node.encode()), json);
        assert_eq!(FeatureNode::decode(json.as_bytes()).unwrap(), node);
    }
    assert!(FeatureNode::decode(br#"{"version":3,"status":1,"features":{}}"#).is_err());
}

#[test]
fn configurations_and_their_changes() {
    let config = BTreeMap::from([
        ("cleanup.policy".to_string(), "compact".to_string()),
        ("retention.ms".to_string(), "5".to_string()),
    ]);
    let json = r#"{"version":1,"config":{"cleanup.policy":"compact","retention.ms":"5"}}"#;
    assert_eq!(text(config_encode(&config)), json);
    assert_eq!(config_decode(Some(json.as_bytes())).unwrap(), config);
    assert_eq!(config_decode(None).unwrap(), BTreeMap::new());
    let change = ConfigChange { entity_path: "topics/foo".into() };
    assert_eq!(text(change.encode()), r#"{"version":2,"entity_path":"topics/foo"}"#);
    assert_eq!(ConfigChange::decode(&change.encode()).unwrap().entity(), Some(("topics", "foo")));
    assert_eq!(
        ConfigChange::decode(br#"{"version":1,"entity_type":"topics","entity_name":"foo"}"#).unwrap(),
        change
    );
    assert!(ConfigChange::decode(br#"{"version":3}"#).is_err());
    assert_eq!(sanitize("a b*ü/c"), "a%20b%2A%C3%BC%2Fc");
    assert_eq!(desanitize("a%20b%2A%C3%BC%2Fc").unwrap(), "a b*ü/c");
    assert_eq!(desanitize("%2"), None);
}
