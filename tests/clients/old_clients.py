"""Clients of 0.8.2.2 and 0.10.2.2: message sets of magic 0 and 1 both ways, and consumers that keep offsets in znodes."""

import tempfile

from kit import (BOOTSTRAP, CODECS, CONSOLE_CONSUMER, CONSOLE_PRODUCER, ZOOKEEPER, Report, Stream, create_topic,
                 end_offsets, java, line, run, verify, wait_until)
from round_trips import consume_confluent, consume_java, consume_kcat, produce_confluent, produce_kcat

COUNT = 5_000
# Codecs there were before zstd (KIP-110, Kafka 2.1).
OLD_CODECS = CODECS[:-1]
# The producers of both ages: Produce 0 with magic 0 from the Scala one and 0.8.2's first Java one, Produce 2 with
# magic 1 from 0.10's Java one.
PRODUCERS = {
    "the Scala producer of 0.8.2.2": ("0.8.2.2", []),
    "the Java producer of 0.8.2.2": ("0.8.2.2", ["--new-producer"]),
    "the Scala producer of 0.10.2.2": ("0.10.2.2", ["--old-producer"]),
    "the Java producer of 0.10.2.2": ("0.10.2.2", []),
}
READERS = {"librdkafka": consume_confluent, "kcat": consume_kcat, "Java 2.7.1": consume_java("2.7.1"),
           "Java 3.9.1": consume_java("3.9.1")}


def without_zstd(stream):
    """What a stream holds that was sent in the old codecs alone."""
    return [stream.record(n) for codec in OLD_CODECS for n in stream.phase(codec)]


def rows(lines):
    """A topic of one partition as a console consumer of old prints it: key, tab, value."""
    for i, row in enumerate(lines):
        yield 0, i, b"NO_HEADERS\t" + row


def consume_through_zookeeper(version, topic, count, group, *settings):
    """The Scala consumer: it registers and commits in znodes, fetches with Fetch 0 (0.8.2) or up to 3 (0.10.2)."""
    settings = [f"group.id={group}", "auto.commit.interval.ms=500", "consumer.timeout.ms=20000", *settings]
    with tempfile.NamedTemporaryFile("w", suffix=".properties") as config:
        config.write("\n".join(settings))
        config.flush()
        out = run(java(version, CONSOLE_CONSUMER[version], "--zookeeper", ZOOKEEPER, "--topic", topic, "--from-beginning",
                       "--max-messages", count, "--property", "print.key=true", "--consumer.config", config.name))
    return out.split(b"\n")[:-1]


def consume_new_0_10(topic, count):
    """0.10's Java consumer: Fetch 3, groups at the coordinator."""
    out = run(java("0.10.2.2", CONSOLE_CONSUMER["0.10.2.2"], "--bootstrap-server", BOOTSTRAP, "--topic", topic,
                   "--from-beginning", "--max-messages", count, "--property", "print.key=true"))
    return out.split(b"\n")[:-1]


def old_producers(report):
    for i, (name, (version, flags)) in enumerate(PRODUCERS.items()):
        stream = Stream(f"old-producer-{i}", COUNT, 1, text=True)
        records = without_zstd(stream)
        expected = [[line(key, value, headers) for _, key, value, headers in records]]
        stream.count = len(records)
        with report.check(f"{len(records)} records by {name}, every codec of then") as note:
            create_topic(stream.topic)
            whole = Stream(stream.topic, COUNT, 1, text=True)
            for codec in OLD_CODECS:
                run(java(version, CONSOLE_PRODUCER, "--broker-list", BOOTSTRAP, "--topic", stream.topic, "--property",
                         "parse.key=true", "--compression-codec", codec, *flags), whole.text_lines(codec))
            ends = end_offsets(stream.topic, 1)
            assert ends == [len(records)], f"end offset {ends}"
            note("1 partition")
        for reader, consume in READERS.items():
            with report.check(f"what {name} sent, read by {reader}"):
                verify(expected, consume(stream))
        with report.check(f"what {name} sent, read by 0.8.2.2 through ZooKeeper"):
            verify(expected, rows(consume_through_zookeeper("0.8.2.2", stream.topic, stream.count, f"g8-{i}")))


def old_consumers(report):
    """Batches of magic 2, with headers and nulls even, are converted down."""
    text = Stream("old-consumer-kcat", COUNT, 1, text=True)
    full = Stream("old-consumer-librdkafka", COUNT, 1, text=False)
    for stream, produce in ((text, produce_kcat), (full, produce_confluent)):
        create_topic(stream.topic)
        whole = stream.count
        # zstd cannot be converted for them: the last fifth is left out.
        stream.phase_of = stream.phase
        stream.phase = lambda codec, s=stream: range(0) if codec == "zstd" else s.phase_of(codec)
        produce(stream)
        records = [stream.record(n) for codec in OLD_CODECS for n in stream.phase_of(codec)]
        assert len(records) < whole
        expected = [[line(key, value, []) for _, key, value, _ in records]]
        for version in ("0.8.2.2", "0.10.2.2"):
            group = f"g-{version}-{stream.topic}"
            with report.check(f"{len(records)} records of {stream.topic} read by {version} through ZooKeeper"):
                verify(expected, rows(consume_through_zookeeper(version, stream.topic, len(records), group)))
            with report.check(f"{version} leaves its offset in a znode") as note:
                note(wait_until("the znode", lambda: znode(f"/consumers/{group}/offsets/{stream.topic}/0")).decode())
        with report.check(f"{len(records)} records of {stream.topic} read by 0.10.2.2's Java consumer"):
            verify(expected, rows(consume_new_0_10(stream.topic, len(records))))


def offsets_of_old_consumers(report):
    """OffsetCommit and OffsetFetch 1 go to the coordinator, 0 to znodes; neither sees the other's."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    topic, group = "old-offsets", "g-old-offsets"
    stream = Stream(topic, 500, 1, text=True)
    create_topic(topic)
    produce_kcat(stream)
    here = TopicPartition(topic, 0)

    def committed():
        consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, enable_auto_commit=False)
        try:
            return consumer.committed(here)
        finally:
            consumer.close()

    with report.check("0.8.2.2 commits to the coordinator when told to") as note:
        # zstd cannot be read by it.
        stream.count = 400
        kept = consume_through_zookeeper("0.8.2.2", topic, 400, group, "offsets.storage=kafka",
                                         "dual.commit.enabled=false")
        assert len(kept) == 400 and committed() == 400, committed()
        assert znode(f"/consumers/{group}/offsets/{topic}/0") is None
        note("offset 400")
    with report.check("OffsetCommit 0 and OffsetFetch 0 keep offsets in znodes") as note:
        old = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, enable_auto_commit=False,
                            api_version=(0, 8, 1))
        old.assign([here])
        assert old.committed(here) is None, "an offset of the coordinator in a v0 answer"
        old.commit({here: OffsetAndMetadata(123, "", -1)})
        assert old.committed(here) == 123
        old.close()
        assert znode(f"/consumers/{group}/offsets/{topic}/0") == b"123"
        assert committed() == 400
        note("offset 123")


def znode(path):
    from kazoo.client import KazooClient
    from kazoo.exceptions import NoNodeError

    client = KazooClient(ZOOKEEPER)
    client.start()
    try:
        return client.get(path)[0]
    except NoNodeError:
        return None
    finally:
        client.stop()
        client.close()


def main():
    report = Report("old clients")
    for part in (old_producers, old_consumers, offsets_of_old_consumers):
        if report.wanted(part.__name__):
            part(report)
    report.exit()


if __name__ == "__main__":
    main()
