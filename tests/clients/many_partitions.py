"""Thousands of partitions in one broker with 20 000 open files: created, produced to, restarted, read back.

PARTITIONS=10000 in the environment is the full size (default: 2000), in ten topics. Starts a zoolog of its own.
"""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import kit
from kit import ZOOLOG, Report, wait_until

TOPICS = 10
PARTITIONS = int(os.environ.get("PARTITIONS", "2000")) // TOPICS
FILES_MAX = 20_000


class Dev:
    """`zoolog dev` on ports of its own."""

    def __init__(self, data, zookeeper, kafka):
        self.data, self.zookeeper, self.kafka = data, zookeeper, kafka
        self.log = Path(data) / "out"

    def start(self):
        begun = time.monotonic()
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [ZOOLOG, "dev", "--data", f"{self.data}/data", "--zookeeper-port", str(self.zookeeper),
                 "--kafka-port", str(self.kafka)], stdout=out, stderr=out,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX)))
        wait_until("zoolog", lambda: self.process.poll() is not None or b"is up after" in self.log.read_bytes(), 120)
        assert self.process.poll() is None, self.log.read_text()
        return time.monotonic() - begun

    def end(self, how):
        begun = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(180)
        return time.monotonic() - begun

    def memory_mb(self):
        rows = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:")) // 1024

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def said(self):
        return f"{self.memory_mb()} MiB, {self.files()} open files"


def topic(n):
    return f"many-{n}"


def create(note, dev):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": kit.BOOTSTRAP})
    topics = [NewTopic(topic(n), PARTITIONS, 1) for n in range(TOPICS)]
    for future in admin.create_topics(topics, request_timeout=120, operation_timeout=120).values():
        future.result(120)
    note(f"{TOPICS} topics of {PARTITIONS} partitions")
    wait_until("leaders", lambda: len(leaders()) == TOPICS * PARTITIONS, 120)
    note(dev.said())


def leaders():
    from confluent_kafka.admin import AdminClient

    told = AdminClient({"bootstrap.servers": kit.BOOTSTRAP}).list_topics(timeout=60).topics
    return [(t, p) for t, of in told.items() if t.startswith("many-") for p, at in of.partitions.items() if at.leader == 0]


def produce(note, dev, round_number):
    """One record to every partition."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": kit.BOOTSTRAP, "linger.ms": 100, "enable.idempotence": True,
                         "queue.buffering.max.messages": 200_000})
    errors = []
    for n in range(TOPICS):
        for p in range(PARTITIONS):
            producer.produce(topic(n), b"%d-%d-%d" % (round_number, n, p), partition=p,
                             on_delivery=lambda error, _: error and errors.append(error))
        producer.poll(0)
    left = producer.flush(120)
    assert not left and not errors, f"{left} left, {errors[:3]}"
    note(dev.said())


def consume(note, dev, rounds):
    """Everything from everywhere."""
    from confluent_kafka import Consumer, OFFSET_BEGINNING, TopicPartition

    consumer = Consumer({"bootstrap.servers": kit.BOOTSTRAP, "group.id": "many", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic(n), p, OFFSET_BEGINNING) for n in range(TOPICS) for p in range(PARTITIONS)])
    wanted, seen = TOPICS * PARTITIONS * rounds, {}
    left, quiet_since = wanted, time.monotonic()
    while left > 0:
        messages = consumer.consume(10_000, 0.5)
        assert messages or time.monotonic() < quiet_since + 60, f"nothing for 60 s, {left} to come"
        if messages:
            left, quiet_since = left - len(messages), time.monotonic()
        for m in messages:
            assert not m.error(), m.error()
            seen.setdefault((m.topic(), m.partition()), []).append((m.offset(), m.value()))
    for n in range(TOPICS):
        for p in range(PARTITIONS):
            assert seen[topic(n), p] == [(r, b"%d-%d-%d" % (r, n, p)) for r in range(rounds)], (n, p)
    consumer.close()
    note(f"{wanted} records, {dev.said()}")


def main():
    report = Report("many partitions")
    data = tempfile.mkdtemp(dir=os.environ.get("ZOOLOG_SCRATCH"))
    dev = Dev(data, 21000 + os.getpid() % 4000 * 2, 21001 + os.getpid() % 4000 * 2)
    kit.BOOTSTRAP = f"127.0.0.1:{dev.kafka}"
    try:
        with report.check(f"starts with {FILES_MAX} open files at most") as note:
            dev.start()
            note(dev.said())
        with report.check(f"{TOPICS * PARTITIONS} partitions are created") as note:
            create(note, dev)
        with report.check("a record goes to each") as note:
            produce(note, dev, 0)
        with report.check("each is read") as note:
            consume(note, dev, 1)
        with report.check("stops in order") as note:
            note(f"took {dev.end(signal.SIGTERM):.1f} s")
            assert dev.process.returncode == 0
        with report.check("starts again after it") as note:
            note(f"up after {dev.start():.1f} s")
            wait_until("leaders", lambda: len(leaders()) == TOPICS * PARTITIONS, 120)
            note(dev.said())
        with report.check("a second record goes to each") as note:
            produce(note, dev, 1)
        with report.check("starts again after kill -9") as note:
            dev.end(signal.SIGKILL)
            note(f"up after {dev.start():.1f} s")
            wait_until("leaders", lambda: len(leaders()) == TOPICS * PARTITIONS, 120)
            note(dev.said())
        with report.check("both are read") as note:
            consume(note, dev, 2)
    finally:
        if getattr(dev, "process", None) and dev.process.poll() is None:
            dev.end(signal.SIGKILL)
        shutil.rmtree(data, ignore_errors=True)
    report.exit()


if __name__ == "__main__":
    main()
