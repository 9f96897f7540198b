"""What every script here shares: where zoolog is, record streams that can be checked, tools of the originals.

A stream is a numbered sequence of records that any process can compute again from its name and length, so that
what came back is compared record by record, not by count. Nothing here starts zoolog; run.sh does.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BOOTSTRAP = os.environ.get("ZOOLOG_KAFKA", "127.0.0.1:9092")
ZOOKEEPER = os.environ.get("ZOOLOG_ZOOKEEPER", "127.0.0.1:2181")
ZOOLOG = os.environ.get("ZOOLOG", str(ROOT / "target/release/zoolog"))
ORIGINALS = Path(os.environ.get("ZOOLOG_ORIGINALS", ROOT / ".cache/originals"))
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
JAVA_VERSIONS = ["2.7.1", "3.9.1"]

CONSOLE_PRODUCER = "kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = {
    "0.8.2.2": "kafka.tools.ConsoleConsumer",
    "0.10.2.2": "kafka.tools.ConsoleConsumer",
    "2.7.1": "kafka.tools.ConsoleConsumer",
    "3.9.1": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}
PERF_PRODUCER = "org.apache.kafka.tools.ProducerPerformance"
PERF_CONSUMER = {"2.7.1": "kafka.tools.ConsumerPerformance", "3.9.1": "org.apache.kafka.tools.ConsumerPerformance"}


class Report:
    """Runs named checks, prints one line for each, and remembers whether any failed."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = []
        self.begun = time.monotonic()
        wanted = sys.argv[1:]
        self.wanted = lambda check: not wanted or any(word in check for word in wanted)

    @contextlib.contextmanager
    def check(self, name):
        begun = time.monotonic()
        note = []
        try:
            yield note.append
            self.passed += 1
            said = f": {', '.join(note)}" if note else ""
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s){said}", flush=True)
        except Exception as error:
            self.failed.append(name)
            print(f"FAILED  {name} ({time.monotonic() - begun:.1f} s): {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, AssertionError) or not str(error):
                traceback.print_exc()

    def run(self, *checks):
        """Runs functions as checks, named after them, those alone that the command line names if it does."""
        for check in checks:
            if self.wanted(check.__name__):
                with self.check(check.__name__.replace("_", " ")) as note:
                    check(note)

    def exit(self):
        seconds = time.monotonic() - self.begun
        print(f"==      {self.name}: {self.passed} passed, {len(self.failed)} failed in {seconds:.0f} s", flush=True)
        sys.exit(1 if self.failed else 0)


def wait_until(what, condition, seconds=30):
    """Polls until `condition` yields something true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def run(command, stdin=None, seconds=180, check=True):
    """Runs a command to its end and gives back its standard output."""
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, timeout=seconds)
    if check and done.returncode != 0:
        said = (done.stdout[-2000:] + b"\n" + done.stderr[-2000:]).decode(errors="replace")
        raise AssertionError(f"{' '.join(map(str, command))[:300]} ended with {done.returncode}:\n{said}")
    return done.stdout


def zoolog(*args, stdin=None):
    return run([ZOOLOG, *args], stdin)


def create_topic(name, partitions=1, config=None):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(name, partitions, 1, config=config or {})])[name].result(30)


def java(version, name, *args):
    """The command line of a class of one of Kafka's releases."""
    home = ORIGINALS / f"kafka-{version}"
    if not (home / "complete").exists():
        run([ROOT / "tests/testkit/originals/fetch.sh", f"kafka-{version}"], seconds=600)
    flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]
    log = f"-Dlog4j.configuration=file:{HERE}/log4j.properties"
    return ["java", *flags, log, "-cp", f"{home}/lib/*", name, *map(str, args)]


def end_offsets(topic, partitions):
    """The end offset of every partition, as librdkafka sees it."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "watermarks"})
    try:
        return [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(partitions)]
    finally:
        consumer.close()


def murmur2(data):
    """The hash of Java's default partitioner."""
    mask = 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * 0x5BD1E995 & mask
        k = (k ^ k >> 24) * 0x5BD1E995 & mask
        h = h * 0x5BD1E995 & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & mask
    h = (h ^ h >> 13) * 0x5BD1E995 & mask
    return h ^ h >> 15


class Stream:
    """`count` records for a topic: 0 B to 100 KiB, mostly small; keys; and, unless `text`, nulls, headers, any byte.

    No value holds a tab or an end of line, so that line-oriented tools can print them. A text stream goes to the
    partition Java's partitioner chooses for the key, the others go round.
    """

    LARGEST = 100 * 1024

    def __init__(self, topic, count, partitions, text):
        self.topic, self.count, self.partitions, self.text = topic, count, partitions, text
        self.seed = zlib.crc32(topic.encode())
        alphabet = bytes(range(33, 127)) if text else bytes(b for b in range(256) if b not in b"\t\r\n")
        self.blob = bytes(random.Random(self.seed).choices(alphabet, k=2 * self.LARGEST))
        self.by_key = {}

    def record(self, n):
        """(partition, key, value, headers) of record `n`."""
        h = (n * 2654435761 + self.seed) * 0x9E3779B1 & 0xFFFFFFFF
        key = b"k%d" % (h % 5000)
        value = self._value(n, h)
        if self.text:
            return self._partition_of(key), key, value, []
        if n % 10 == 0:
            key = None if n % 20 else b""
        if n % 50 == 7:
            value = None
        headers = []
        if n % 7 == 0:
            headers = [("h", b"v%d" % n)]
            if n % 5 == 0:
                headers += [("empty", b""), ("h", b"again")]
        return n % self.partitions, key, value, headers

    def _value(self, n, h):
        kind, size = h % 1000, h >> 12
        if n == 17:
            size = self.LARGEST
        elif kind < 20:
            return b""
        elif kind < 900:
            size %= 100
        elif kind < 980:
            size %= 2048
        elif kind < 999:
            size %= 20480
        else:
            size %= self.LARGEST
        size = max(size, 1)
        start = h % self.LARGEST
        return (b"%d:" % n + self.blob[start:start + size])[:size]

    def _partition_of(self, key):
        if key not in self.by_key:
            self.by_key[key] = (murmur2(key) & 0x7FFFFFFF) % self.partitions
        return self.by_key[key]

    def phase(self, codec):
        """The numbers of the records that go out with this codec."""
        i = CODECS.index(codec)
        return range(self.count * i // len(CODECS), self.count * (i + 1) // len(CODECS))

    def text_lines(self, codec):
        """key, tab, value, newline: the input of kcat and of the console producers."""
        lines = []
        for n in self.phase(codec):
            _, key, value, _ = self.record(n)
            lines += (key, b"\t", value, b"\n")
        return b"".join(lines)

    def expected(self):
        """What every partition must hold, in order, as lines."""
        partitions = [[] for _ in range(self.partitions)]
        for n in range(self.count):
            p, key, value, headers = self.record(n)
            partitions[p].append(line(key, value, headers))
        return partitions


def line(key, value, headers):
    """One record as Kafka's console consumer prints it with headers and key."""
    said = b",".join(b"%b:%b" % (k.encode(), v) for k, v in headers) if headers else b"NO_HEADERS"
    return b"%b\t%b\t%b" % (said, b"null" if key is None else key, b"null" if value is None else value)


def verify(expected, records):
    """Compares (partition, offset, line)s with what must be there: every record once, in order, offsets without gaps."""
    seen = [0] * len(expected)
    for partition, offset, got in records:
        i = seen[partition]
        wanted = expected[partition][i] if i < len(expected[partition]) else b"nothing more"
        assert offset == i, f"partition {partition}: offset {offset} where {i} was due"
        assert got == wanted, f"partition {partition}, offset {offset}: {got[:80]!r} instead of {wanted[:80]!r}"
        seen[partition] = i + 1
    missing = {p: len(e) - s for p, (e, s) in enumerate(zip(expected, seen)) if s != len(e)}
    assert not missing, f"records missing at the end of partitions: {missing}"


class Member:
    """A group member in a process of its own (group_member.py), and the file it writes what it received to."""

    def __init__(self, client, name, group, topic, out, **options):
        self.name, self.path = name, Path(out) / f"{name}.txt"
        self.path.touch()
        words = [f"{key}={value}" for key, value in options.items()]
        log = open(Path(out) / f"{name}.log", "ab")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "group_member.py"), client, name, group, topic, str(self.path), *words],
            stdout=log, stderr=log)

    def lines(self):
        return [words for words in (row.split() for row in self.path.read_text().splitlines()) if words]

    def assignment(self):
        """The partitions it holds now."""
        held = set()
        for words in self.lines():
            if words[0] == "assigned":
                held |= set(map(int, words[1:]))
            elif words[0] in ("revoked", "lost"):
                held -= set(map(int, words[1:]))
        return held

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)
