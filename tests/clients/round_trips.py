"""A million records of mixed sizes through every client: each comes back once, in order, to every other client.

Each producing client fills one topic of 1 and one of 12 partitions, a fifth of the records with each codec; every
consuming client reads all of them. SCALE=0.1 in the environment runs a tenth of it.
"""

import os
import subprocess
import sys
import tempfile
import threading

from kit import (BOOTSTRAP, CODECS, CONSOLE_CONSUMER, CONSOLE_PRODUCER, JAVA_VERSIONS, PERF_CONSUMER, PERF_PRODUCER,
                 Report, Stream, create_topic, end_offsets, java, line, run, verify)

SCALE = float(os.environ.get("SCALE", "1"))
# Records in each of a client's two topics.
COUNTS = {"confluent": 200_000, "kcat": 150_000, "kafka_python": 30_000, "java-2.7.1": 50_000, "java-3.9.1": 50_000}
PERF_RECORDS = 20_000


def produce_confluent(stream):
    from confluent_kafka import Producer

    errors = []

    def delivered(error, _message):
        if error is not None:
            errors.append(error)

    for codec in CODECS:
        producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.codec": codec, "linger.ms": 5,
                             "enable.idempotence": codec in ("none", "lz4", "zstd"),
                             "queue.buffering.max.messages": 100_000})
        for n in stream.phase(codec):
            partition, key, value, headers = stream.record(n)
            while True:
                try:
                    producer.produce(stream.topic, value, key, partition, headers=headers, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            if n % 1000 == 0:
                producer.poll(0)
        left = producer.flush(60)
        assert not left and not errors, f"{codec}: {left} not delivered, {errors[:3]}"


def produce_kafka_python(stream):
    from kafka import KafkaProducer

    for codec in CODECS:
        producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec,
                                 enable_idempotence=codec in ("gzip", "zstd"), acks="all", linger_ms=5)
        futures = []
        for n in stream.phase(codec):
            partition, key, value, headers = stream.record(n)
            futures.append(producer.send(stream.topic, value, key, headers, partition))
        producer.flush(60)
        producer.close()
        failed = [f.exception for f in futures if not f.succeeded()]
        assert not failed, f"{codec}: {len(failed)} not delivered: {failed[:3]}"


def produce_kcat(stream):
    for codec in CODECS:
        run(["kcat", "-b", BOOTSTRAP, "-P", "-t", stream.topic, "-K", "\t", "-z", codec, "-X", "linger.ms=5",
             "-X", "topic.partitioner=murmur2", "-X", f"enable.idempotence={'true' if codec != 'gzip' else 'false'}"],
            stream.text_lines(codec))


def produce_java(version):
    def produce(stream):
        for codec in CODECS:
            more = ["--producer-property", "enable.idempotence=true"] if codec in ("snappy", "zstd") else []
            run(java(version, CONSOLE_PRODUCER, "--bootstrap-server", BOOTSTRAP, "--topic", stream.topic,
                     "--compression-codec", codec, "--request-required-acks", "all", "--property", "parse.key=true",
                     "--producer-property", "linger.ms=5", *more),
                stream.text_lines(codec))
    return produce


def consume_confluent(stream):
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": f"reads-{stream.topic}",
                         "enable.auto.commit": False})
    consumer.assign([TopicPartition(stream.topic, p, OFFSET_BEGINNING) for p in range(stream.partitions)])
    left = stream.count
    while left > 0:
        messages = consumer.consume(min(left, 10_000), 30)
        assert messages, f"nothing for 30 s, {left} to come"
        for message in messages:
            assert message.error() is None, message.error()
            yield message.partition(), message.offset(), line(message.key(), message.value(), message.headers())
        left -= len(messages)
    consumer.close()


def consume_kafka_python(stream):
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False)
    partitions = [TopicPartition(stream.topic, p) for p in range(stream.partitions)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = stream.count
    while left > 0:
        polled = consumer.poll(timeout_ms=30_000, max_records=5_000)
        assert polled, f"nothing for 30 s, {left} to come"
        for messages in polled.values():
            for m in messages:
                yield m.partition, m.offset, line(m.key, m.value, m.headers)
            left -= len(messages)
    consumer.close()


def rows_of(command):
    """The lines a command prints; the command is killed when the reader has seen enough."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, bufsize=1 << 20)
        # A tool that waits for records which do not come must not hold up the run.
        limit = threading.Timer(120, process.kill)
        limit.start()
        try:
            for row in process.stdout:
                yield row[:-1]
            code = process.wait()
            said.seek(0)
            assert code == 0, f"{command[0]} ended with {code}: {said.read()[-2000:].decode()}"
        finally:
            limit.cancel()
            process.kill()
            process.wait()
            process.stdout.close()


def consume_kcat(stream):
    command = ["kcat", "-b", BOOTSTRAP, "-C", "-t", stream.topic, "-o", "beginning", "-e", "-q",
               "-f", "%p\t%o\t%K\t%S\t%h\t%k\t%s\n"]
    for row in rows_of(command):
        partition, offset, key_size, size, headers, key, value = row.split(b"\t", 6)
        headers = [tuple(h.split(b"=", 1)) for h in headers.split(b",")] if headers else []
        yield int(partition), int(offset), line(None if key_size == b"-1" else key, None if size == b"-1" else value,
                                                [(k.decode(), v) for k, v in headers])


def consume_java(version):
    def consume(stream):
        shown = [word for what in ("partition", "offset", "headers", "key") for word in ("--property", f"print.{what}=true")]
        command = java(version, CONSOLE_CONSUMER[version], "--bootstrap-server", BOOTSTRAP, "--topic", stream.topic,
                       "--from-beginning", "--max-messages", stream.count, "--timeout-ms", 60_000, *shown)
        for row in rows_of(command):
            partition, offset, rest = row.split(b"\t", 2)
            yield int(partition.split(b":")[1]), int(offset.split(b":")[1]), rest
    return consume


PRODUCERS = {"confluent": produce_confluent, "kcat": produce_kcat, "kafka_python": produce_kafka_python,
             **{f"java-{v}": produce_java(v) for v in JAVA_VERSIONS}}
CONSUMERS = {"confluent": consume_confluent, "kcat": consume_kcat, "kafka_python": consume_kafka_python,
             **{f"java-{v}": consume_java(v) for v in JAVA_VERSIONS}}


def round_trip(report, client, partitions):
    count = int(COUNTS[client] * SCALE)
    text = client not in ("confluent", "kafka_python")
    stream = Stream(f"round-{client}-{partitions}", count, partitions, text)
    what = f"{count} records by {client} to {partitions} partition{'s' * (partitions > 1)}"
    expected = stream.expected()
    with report.check(f"{what}, every codec") as note:
        create_topic(stream.topic, partitions)
        PRODUCERS[client](stream)
        ends = end_offsets(stream.topic, partitions)
        assert ends == [len(lines) for lines in expected], f"end offsets {ends}"
        note(f"{sum(len(row) for lines in expected for row in lines) / 1e6:.0f} MB")
    for reader, consume in CONSUMERS.items():
        with report.check(f"{what}, read by {reader}"):
            verify(expected, consume(stream))


def perf_tools(report, version):
    """The perf tools print counts; a consumer that checks reads after them."""
    topic, count = f"perf-{version}", int(PERF_RECORDS * SCALE)
    per_codec = count // len(CODECS)
    with report.check(f"{count} records by the perf producer of {version}, every codec") as note:
        create_topic(topic, 12)
        for i, codec in enumerate(CODECS):
            out = run(java(version, PERF_PRODUCER, "--topic", topic, "--num-records", per_codec, "--record-size",
                           10 ** (i % 4 + 1), "--throughput", -1, "--producer-props", f"bootstrap.servers={BOOTSTRAP}",
                           f"compression.type={codec}", "acks=all"))
            assert f"{per_codec} records sent".encode() in out, out
        sum_of_ends = sum(end_offsets(topic, 12))
        assert sum_of_ends == per_codec * len(CODECS), f"{sum_of_ends} records in the log"
        note(f"{sum_of_ends} records")
    with report.check(f"they are read by the perf consumer of {version}"):
        out = run(java(version, PERF_CONSUMER[version], "--bootstrap-server", BOOTSTRAP, "--topic", topic,
                       "--messages", per_codec * len(CODECS), "--timeout", 30_000)).decode()
        fields = [word.strip() for word in out.strip().splitlines()[-1].split(",")]
        assert fields[4] == str(per_codec * len(CODECS)), out


def main():
    report = Report("round trips")
    for client in PRODUCERS:
        for partitions in (1, 12):
            if report.wanted(f"round-{client}-{partitions}"):
                round_trip(report, client, partitions)
    for version in JAVA_VERSIONS:
        if report.wanted(f"perf-{version}"):
            perf_tools(report, version)
    report.exit()


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    main()
