"""Consumer groups: three members share 12 partitions, one is killed, the others take over and nothing is skipped."""

import subprocess
import tempfile
import threading
import time
from pathlib import Path

from kit import (BOOTSTRAP, CONSOLE_CONSUMER, JAVA_VERSIONS, Member, Report, create_topic, end_offsets, java, run,
                 wait_until)

PARTITIONS = 12
RECORDS = 36_000


class Feed:
    """A producer in a thread of its own: RECORDS records over 12 partitions, faster than the members read."""

    def __init__(self, topic):
        self.topic, self.failed = topic, None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "linger.ms": 5,
                             "compression.codec": "lz4"})
        for n in range(RECORDS):
            producer.produce(self.topic, b"%d" % n, partition=n % PARTITIONS)
            if n % 1000 == 999:
                producer.poll(0)
                time.sleep(0.02)
        self.failed = producer.flush(30)

    def ends(self):
        self.thread.join(60)
        assert self.failed == 0, f"{self.failed} records not delivered"
        return end_offsets(self.topic, PARTITIONS)


class Diaries:
    """What all members of a group wrote, read together."""

    def __init__(self, members):
        self.members = members

    def received(self):
        """partition → set of offsets, over all members."""
        seen = {p: set() for p in range(PARTITIONS)}
        for member in self.members:
            for words in member.lines():
                if words[0] == "got" and len(words) == 3:
                    seen[int(words[1])].add(int(words[2]))
        return seen

    def total(self):
        return sum(len(offsets) for offsets in self.received().values())

    def count(self):
        """Records received, repetitions included."""
        return sum(words[0] == "got" for member in self.members for words in member.lines())

    def check_order(self):
        """Between two assignments a member sees every partition's offsets one by one."""
        for member in self.members:
            last = {}
            for words in member.lines():
                if words[0] in ("assigned", "revoked", "lost"):
                    for p in words[1:]:
                        last.pop(int(p), None)
                elif words[0] == "got" and len(words) == 3:
                    p, offset = int(words[1]), int(words[2])
                    assert last.get(p, offset - 1) == offset - 1, f"{member.name} skipped from {last[p]} to {offset} of {p}"
                    last[p] = offset

    def check_committed_not_repeated(self, dead, survivors):
        """Whoever takes over from the dead starts at what it had committed, or after."""
        committed = {}
        for words in dead.lines():
            if words[0] == "committed":
                committed.update(zip(map(int, words[1::2]), map(int, words[2::2])))
        held = dead.assignment()
        before = {p: set() for p in held}
        for words in dead.lines():
            if words[0] == "got" and len(words) == 3 and int(words[1]) in before:
                before[int(words[1])].add(int(words[2]))
        for member in survivors:
            for words in member.lines():
                if words[0] != "got" or len(words) != 3 or int(words[1]) not in before:
                    continue
                p, offset = int(words[1]), int(words[2])
                repeated = offset in before[p] and offset < committed.get(p, 0)
                assert not repeated, f"{member.name} got {p}/{offset} again, below the committed {committed[p]}"


def split(members):
    """True when the members hold all partitions, none of them twice, and no one holds nothing."""
    held = [m.assignment() for m in members]
    return sum(map(len, held)) == PARTITIONS == len(set().union(*held)) and all(held)


def one_of_three_dies(name, clients, note, **options):
    with tempfile.TemporaryDirectory() as out:
        create_topic(name, PARTITIONS)
        members = [Member(client, f"{name}-{i}", name, name, out, **options) for i, client in enumerate(clients)]
        diaries = Diaries(members)
        try:
            wait_until("an even split", lambda: split(members), 40)
            assert all(len(m.assignment()) == 4 for m in members), [sorted(m.assignment()) for m in members]
            feed = Feed(name)
            wait_until("commits of all members", lambda: all(
                any(w[0] == "committed" for w in m.lines()) for m in members), 40)
            dead, survivors = members[1], [members[0], members[2]]
            dead.kill()
            killed = time.monotonic()
            wait_until("the survivors to hold everything", lambda: split(survivors), 40)
            note(f"taken over after {time.monotonic() - killed:.1f} s")
            ends = feed.ends()
            wait_until("every record", lambda: diaries.total() == sum(ends), 60)
            received = diaries.received()
            assert all(received[p] == set(range(ends[p])) for p in range(PARTITIONS))
            diaries.check_order()
            diaries.check_committed_not_repeated(dead, survivors)
            note(f"{sum(ends)} records, {diaries.count() - sum(ends)} of them twice (not yet committed)")
        except AssertionError:
            for member in members:
                print(f"{member.name} holds {sorted(member.assignment())}, ended: {member.process.poll()}")
                print(member.path.with_suffix(".log").read_text()[:4000])
            raise
        finally:
            for member in members:
                if member.process.poll() is None:
                    member.stop()
        assert all(m.process.returncode == 0 for m in survivors), "a survivor did not end in order"


def librdkafka_eager(note):
    one_of_three_dies("group-eager", ["confluent"] * 3, note, **{"partition.assignment.strategy": "range"})


def librdkafka_cooperative_sticky(note):
    one_of_three_dies("group-cooperative", ["confluent"] * 3, note,
                      **{"partition.assignment.strategy": "cooperative-sticky"})


def kafka_python_group(note):
    one_of_three_dies("group-kafka-python", ["kafka_python"] * 3, note)


def librdkafka_and_kafka_python_in_one_group(note):
    one_of_three_dies("group-mixed", ["kafka_python", "confluent", "kafka_python"], note)


def static_membership(note):
    """A static member that comes back within its session timeout keeps its partitions; the others notice nothing."""
    name = "group-static"
    create_topic(name, PARTITIONS)
    with tempfile.TemporaryDirectory() as out:
        def start(i, suffix=""):
            return Member("confluent", f"{name}-{i}{suffix}", name, name, out,
                          **{"group.instance.id": f"i{i}", "session.timeout.ms": 20000})

        members = [start(i) for i in range(3)]
        try:
            wait_until("an even split", lambda: split(members), 40)
            held = [m.assignment() for m in members]
            quiet = [m.path.read_text() for m in members]
            members[1].kill()
            back = start(1, "-again")
            members.append(back)
            wait_until("the member that came back", lambda: back.assignment() == held[1], 15)
            assert [members[i].path.read_text() for i in (0, 2)] == [quiet[0], quiet[2]], "the others were rebalanced"
            twin = start(1, "-twin")
            members.append(twin)
            wait_until("the older of two with one id to be fenced", lambda: any(
                w[0] == "fenced" for w in back.lines()), 20)
            note("fenced: " + " ".join(next(w for w in back.lines() if w[0] == "fenced")[1:]))
        finally:
            for member in members:
                if member.process.poll() is None:
                    member.stop()


def java_consoles_in_one_group(note):
    """A 2.7.1, a 3.9.1 and a librdkafka member; the 2.7.1 one is killed, everything is read and committed."""
    name = "group-java"
    create_topic(name, PARTITIONS)
    ends = Feed(name).ends()
    with tempfile.TemporaryDirectory() as out:
        consoles, files = [], []
        for version in JAVA_VERSIONS:
            files.append(Path(out) / version)
            command = java(version, CONSOLE_CONSUMER[version], "--bootstrap-server", BOOTSTRAP, "--topic", name,
                           "--group", name, "--from-beginning", "--consumer-property", "session.timeout.ms=6000",
                           "--consumer-property", "auto.commit.interval.ms=200", "--consumer-property",
                           "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor")
            log = open(Path(out) / f"{version}.log", "wb")
            consoles.append(subprocess.Popen(command, stdout=open(files[-1], "wb"), stderr=log))
        member = Member("confluent", f"{name}-2", name, name, out, **{"partition.assignment.strategy": "range"})
        try:
            wait_until("members of all three kinds", lambda: len(member.assignment()) == 4, 40)
            consoles[0].kill()
            consoles[0].wait()
            wait_until("the rest to take over", lambda: len(member.assignment()) == 6, 40)
            seen = lambda: (set().union(*(set(f.read_bytes().split(b"\n")) for f in files)) - {b""},
                            sum(w[0] == "got" for w in member.lines()))
            wait_until("every record", lambda: len(seen()[0]) + seen()[1] >= sum(ends), 60)
            note(f"{len(seen()[0])} to Java, {seen()[1]} to librdkafka")
        finally:
            consoles[1].terminate()
            consoles[1].wait(30)
            member.stop()
        assert lag(name) == 0, "what was left behind is not committed"


def lag(group):
    rows = run(java("3.9.1", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server",
                    BOOTSTRAP, "--describe", "--group", group)).decode().splitlines()
    header = next(row.split() for row in rows if row.startswith("GROUP"))
    return sum(int(row.split()[header.index("LAG")]) for row in rows if row.startswith(f"{group} "))


def main():
    report = Report("groups")
    report.run(librdkafka_eager, librdkafka_cooperative_sticky, kafka_python_group,
               librdkafka_and_kafka_python_in_one_group, static_membership, java_consoles_in_one_group)
    report.exit()


if __name__ == "__main__":
    main()
