use super::*;

/// The table is sorted, so that look-ups find every name.
#[test]
fn table_is_sorted() {
    assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
    for def in TOPIC_CONFIGS {
        assert!(std::ptr::eq(config_def(def.name).unwrap(), def));
    }
}

/// Broker keys reach topics in Kafka's precedence and units.
#[test]
fn inherits_from_the_broker() {
    let check = |pairs: &[(&str, &str)], name: &str, expect: &str| {
        let get = |key: &str| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        assert_eq!(LogConfig::from_broker(get).unwrap().get(name), Some(expect), "{pairs:?}");
    };
    check(&[], "retention.ms", "604800000");
    check(&[("log.retention.hours", "2")], "retention.ms", "7200000");
    check(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")], "retention.ms", "180000");
    check(&[("log.retention.ms", "5"), ("log.retention.minutes", "3")], "retention.ms", "5");
    check(&[("log.retention.hours", "-1")], "retention.ms", "-1");
    check(&[("log.roll.hours", "1")], "segment.ms", "3600000");
    check(&[("message.max.bytes", "99")], "max.message.bytes", "99");
    check(&[("log.segment.delete.delay.ms", "7")], "file.delete.delay.ms", "7");
}

/// A topic's own value wins over the broker's, and is known as its own.
#[test]
fn topic_values_win() {
    let broker = LogConfig::from_broker(|key| (key == "log.segment.bytes").then_some("1000")).unwrap();
    let topic =
        broker.with_overrides([("cleanup.policy", "compact, delete"), ("segment.bytes", "2000")]).unwrap();
    assert!(topic.compact && topic.delete);
    assert_eq!((broker.segment_bytes, topic.segment_bytes), (1000, 2000));
    assert!(topic.is_overridden("segment.bytes") && !topic.is_overridden("retention.ms"));
}

/// Refusals carry Kafka's words.
#[test]
fn refuses_in_kafkas_words() {
    let check = |name: &str, value: &str, expect: &str| {
        let got = LogConfig::default().with_overrides([(name, value)]).unwrap_err().to_string();
        assert_eq!(got, expect);
    };
    check("nope", "1", "Unknown topic config name: nope");
    check("segment.bytes", "x", "Invalid value x for configuration segment.bytes: Not a number of type INT");
    check("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1");
    check(
        "min.cleanable.dirty.ratio",
        "1.5",
        "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    );
    check(
        "cleanup.policy",
        "keep",
        "Invalid value keep for configuration cleanup.policy: String must be one of: compact, delete",
    );
    check(
        "preallocate",
        "maybe",
        "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
    );
    check(
        "message.timestamp.type",
        "Now",
        "Invalid value Now for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
    );
    let lag =
        LogConfig::default().with_overrides([("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")]);
    assert_eq!(
        lag.unwrap_err().to_string(),
        "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)"
    );
    LogConfig::default().with_overrides([("leader.replication.throttled.replicas", "0:1,2:3")]).unwrap();
    LogConfig::default().with_overrides([("leader.replication.throttled.replicas", "*")]).unwrap();
    assert!(LogConfig::default().with_overrides([("leader.replication.throttled.replicas", "a:1")]).is_err());
}
