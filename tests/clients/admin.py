"""Administration from librdkafka and kafka-python: topics, partitions, configurations, records, groups."""

import tempfile

from kit import BOOTSTRAP, Member, Report, create_topic, end_offsets, wait_until


def rdkafka_admin():
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": BOOTSTRAP})


def python_admin():
    from kafka import KafkaAdminClient

    return KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def fill(topic, count, partition=0):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for n in range(count):
        producer.produce(topic, b"%d" % n, partition=partition)
    assert producer.flush(30) == 0


def refused(future, code):
    """The future of librdkafka's admin client must fail with this error."""
    from confluent_kafka import KafkaError, KafkaException

    try:
        future.result(30)
    except KafkaException as error:
        assert error.args[0].code() == getattr(KafkaError, code), error
        return error.args[0].str()
    raise AssertionError(f"{code} was due")


def librdkafka_topics(note):
    from confluent_kafka.admin import NewPartitions, NewTopic

    admin = rdkafka_admin()
    admin.create_topics([NewTopic("a.one", 3, 1, config={"retention.ms": "60000"}), NewTopic("a.two", 1, 1)])["a.one"].result(30)
    wait_until("both topics", lambda: {"a.one", "a.two"} <= set(admin.list_topics(timeout=10).topics))
    assert len(admin.list_topics("a.one", timeout=10).topics["a.one"].partitions) == 3
    said = refused(admin.create_topics([NewTopic("a.one", 1, 1)])["a.one"], "TOPIC_ALREADY_EXISTS")
    refused(admin.create_topics([NewTopic("a_two", 1, 1)])["a_two"], "TOPIC_EXCEPTION")
    refused(admin.create_topics([NewTopic("a many", 1, 1)])["a many"], "TOPIC_EXCEPTION")
    refused(admin.create_topics([NewTopic("a.three", 0, 1)])["a.three"], "INVALID_PARTITIONS")
    refused(admin.create_topics([NewTopic("a.three", 1, 2)])["a.three"], "INVALID_REPLICATION_FACTOR")
    refused(admin.create_topics([NewTopic("a.three", 1, 1, config={"no.such": "1"})])["a.three"], "INVALID_CONFIG")
    admin.create_topics([NewTopic("a.dry", 2, 1)], validate_only=True)["a.dry"].result(30)
    assert "a.dry" not in admin.list_topics(timeout=10).topics, "created by a dry run"
    admin.create_topics([NewTopic("a.assigned", 2, replica_assignment=[[0], [0]])])["a.assigned"].result(30)

    admin.create_partitions([NewPartitions("a.one", 5)])["a.one"].result(30)
    wait_until("five partitions", lambda: len(admin.list_topics("a.one", timeout=10).topics["a.one"].partitions) == 5)
    refused(admin.create_partitions([NewPartitions("a.one", 4)])["a.one"], "INVALID_PARTITIONS")
    fill("a.one", 10, partition=4)
    assert end_offsets("a.one", 5) == [0, 0, 0, 0, 10]

    for future in admin.delete_topics(["a.one", "a.two", "a.assigned"], operation_timeout=30).values():
        future.result(30)
    wait_until("the topics to be gone", lambda: not any(t.startswith("a.") for t in admin.list_topics(timeout=10).topics))
    refused(admin.delete_topics(["a.one"])["a.one"], "UNKNOWN_TOPIC_OR_PART")
    create_topic("a.one", 2)
    assert end_offsets("a.one", 2) == [0, 0], "a topic that was deleted and created again holds records"
    note(said)


def librdkafka_configs(note):
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

    admin = rdkafka_admin()
    create_topic("b.configs", config={"cleanup.policy": "compact"})
    topic = ConfigResource(ConfigResource.Type.TOPIC, "b.configs")

    def configs():
        return next(iter(admin.describe_configs([topic]).values())).result(30)

    def alter(*entries):
        resource = ConfigResource(ConfigResource.Type.TOPIC, "b.configs", incremental_configs=list(entries))
        return next(iter(admin.incremental_alter_configs([resource]).values()))

    def entry(name, value, how):
        return ConfigEntry(name, value, incremental_operation=how)

    before = configs()
    assert before["cleanup.policy"].value == "compact" and not before["cleanup.policy"].is_default
    assert before["max.message.bytes"].value == "1048588" and before["max.message.bytes"].is_default
    alter(entry("retention.ms", "12345", AlterConfigOpType.SET),
          entry("cleanup.policy", "delete", AlterConfigOpType.APPEND)).result(30)
    wait_until("the new values", lambda: configs()["retention.ms"].value == "12345")
    assert configs()["cleanup.policy"].value == "compact,delete"
    alter(entry("retention.ms", None, AlterConfigOpType.DELETE),
          entry("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT)).result(30)
    wait_until("the old values", lambda: configs()["retention.ms"].is_default)
    assert configs()["cleanup.policy"].value == "delete"
    refused(alter(entry("retention.ms", "soon", AlterConfigOpType.SET)), "INVALID_CONFIG")
    refused(alter(entry("no.such", "1", AlterConfigOpType.SET)), "INVALID_CONFIG")
    # The old AlterConfigs replaces everything.
    resource = ConfigResource(ConfigResource.Type.TOPIC, "b.configs", set_config={"segment.bytes": "1048576"})
    next(iter(admin.alter_configs([resource]).values())).result(30)
    wait_until("only what was set", lambda: configs()["segment.bytes"].value == "1048576")
    assert configs()["cleanup.policy"].is_default
    broker = next(iter(admin.describe_configs([ConfigResource(ConfigResource.Type.BROKER, "0")]).values())).result(30)
    assert broker["log.segment.bytes"].value == "1073741824" and broker["broker.id"].is_read_only
    note(f"{len(before)} topic configs, {len(broker)} broker configs")


def librdkafka_records_and_offsets(note):
    from confluent_kafka import TopicCollection, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    admin = rdkafka_admin()
    create_topic("c.records")
    fill("c.records", 100)
    deleted = admin.delete_records([TopicPartition("c.records", 0, 40)])
    assert next(iter(deleted.values())).result(30).low_watermark == 40
    here = TopicPartition("c.records", 0)
    for spec, offset in ((OffsetSpec.earliest(), 40), (OffsetSpec.latest(), 100), (OffsetSpec.for_timestamp(1), 40)):
        assert next(iter(admin.list_offsets({here: spec}).values())).result(30).offset == offset, spec
    refused(next(iter(admin.delete_records([TopicPartition("c.records", 0, 101)]).values())), "OFFSET_OUT_OF_RANGE")
    assert next(iter(admin.delete_records([TopicPartition("c.records", 0, -1)]).values())).result(30).low_watermark == 100
    cluster = admin.describe_cluster().result(30)
    assert [node.id for node in cluster.nodes] == [0] and cluster.controller.id == 0
    topics = admin.describe_topics(TopicCollection(["c.records"]))
    assert [p.leader.id for p in topics["c.records"].result(30).partitions] == [0]
    note(f"cluster {cluster.cluster_id}")


def librdkafka_groups(note):
    from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition

    admin = rdkafka_admin()
    create_topic("d.groups", 12)
    fill("d.groups", 300)
    with tempfile.TemporaryDirectory() as out:
        member = Member("confluent", "d-member", "d.group", "d.groups", out)
        try:
            wait_until("the assignment", lambda: len(member.assignment()) == 12)
            wait_until("every record", lambda: sum(w[0] == "got" for w in member.lines()) == 300)
            listed = admin.list_consumer_groups().result(30)
            assert not listed.errors and "d.group" in [g.group_id for g in listed.valid], listed.valid
            stable = admin.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(30).valid
            assert "d.group" in [g.group_id for g in stable]
            described = admin.describe_consumer_groups(["d.group"])["d.group"].result(30)
            assert described.state == ConsumerGroupState.STABLE and described.partition_assignor == "range", described
            assert len(described.members[0].assignment.topic_partitions) == 12
            assert described.members[0].client_id == "d-member"
            note(f"member {described.members[0].host}")
            refused(admin.delete_consumer_groups(["d.group"])["d.group"], "NON_EMPTY_GROUP")
        finally:
            assert member.stop() == 0

    def offset():
        wanted = ConsumerGroupTopicPartitions("d.group", [TopicPartition("d.groups", 0)])
        return admin.list_consumer_group_offsets([wanted])["d.group"].result(30).topic_partitions[0].offset

    assert offset() == 300
    moved = ConsumerGroupTopicPartitions("d.group", [TopicPartition("d.groups", 0, 7)])
    admin.alter_consumer_group_offsets([moved])["d.group"].result(30)
    assert offset() == 7
    admin.delete_consumer_groups(["d.group"])["d.group"].result(30)
    assert "d.group" not in [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    refused(admin.delete_consumer_groups(["d.group"])["d.group"], "GROUP_ID_NOT_FOUND")


def kafka_python_admin(note):
    from kafka import KafkaConsumer, TopicPartition
    from kafka.admin import ConfigResource, ConfigResourceType
    from kafka.errors import TopicAlreadyExistsError
    from kafka.structs import OffsetAndMetadata

    admin = python_admin()
    admin.create_topics({"e.python": {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True)
    try:
        admin.create_topics({"e.python": {"num_partitions": 2, "replication_factor": 1}})
        raise RuntimeError("created twice")
    except TopicAlreadyExistsError:
        pass
    admin.create_partitions({"e.python": 4})
    wait_until("four partitions", lambda: len(admin.describe_topics(["e.python"])[0]["partitions"]) == 4)
    resource = ConfigResource(ConfigResourceType.TOPIC, "e.python", configs={"retention.ms": "999"})
    admin.alter_configs([resource])
    wait_until("the new value", lambda: "999" in str(admin.describe_configs([resource])))
    fill("e.python", 50)
    admin.delete_records({TopicPartition("e.python", 0): 20})
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id="e.group", auto_offset_reset="earliest",
                             enable_auto_commit=False)
    here = TopicPartition("e.python", 0)
    consumer.assign([here])
    assert consumer.beginning_offsets([here]) == {here: 20} and consumer.end_offsets([here]) == {here: 50}
    first = next(iter(consumer))
    assert first.offset == 20 and first.value == b"20"
    consumer.commit({here: OffsetAndMetadata(33, "note", -1)})
    consumer.close()
    assert "e.group" in str(admin.list_groups())
    assert "33" in str(admin.list_group_offsets({"e.group": None}))
    assert "e.group" in str(admin.describe_groups(["e.group"]))
    admin.delete_groups(["e.group"])
    assert "e.group" not in str(admin.list_groups())
    admin.delete_topics(["e.python"])
    wait_until("the topic to be gone", lambda: "e.python" not in admin.list_topics())
    admin.close()


def main():
    report = Report("admin")
    report.run(librdkafka_topics, librdkafka_configs, librdkafka_records_and_offsets, librdkafka_groups,
               kafka_python_admin)
    report.exit()


if __name__ == "__main__":
    main()
