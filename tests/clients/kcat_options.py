"""kcat's modes: metadata, offsets by time, positions to start at, partitioners, tombstones, unframed values."""

import json
import time

from kit import BOOTSTRAP, Report, create_topic, murmur2, run


def kcat(*args, stdin=None, check=True):
    return run(["kcat", "-b", BOOTSTRAP, *args], stdin, check=check)


def numbers(first, end):
    return b"".join(b"%d\n" % n for n in range(first, end))


def metadata(note):
    create_topic("m.topic", 3)
    told = json.loads(kcat("-L", "-J"))
    assert told["brokers"] == [{"id": 0, "name": BOOTSTRAP}], told["brokers"]
    assert told["controllerid"] == 0
    topic = next(t for t in told["topics"] if t["topic"] == "m.topic")
    assert [p["partition"] for p in topic["partitions"]] == [0, 1, 2]
    assert all(p["leader"] == 0 and p["replicas"] == [{"id": 0}] and p["isrs"] == [{"id": 0}] for p in topic["partitions"])
    alone = json.loads(kcat("-L", "-J", "-t", "m.topic"))
    assert [t["topic"] for t in alone["topics"]] == ["m.topic"]
    note(f"{len(told['topics'])} topics")


def positions(note):
    create_topic("o.topic")
    kcat("-P", "-t", "o.topic", stdin=numbers(0, 50))
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    kcat("-P", "-t", "o.topic", stdin=numbers(50, 100))
    consume = ("-C", "-t", "o.topic", "-e", "-q")
    assert kcat(*consume, "-o", "beginning") == numbers(0, 100)
    assert kcat(*consume, "-o", "90") == numbers(90, 100)
    assert kcat(*consume, "-o", "-7") == numbers(93, 100)
    assert kcat(*consume, "-o", "end") == b""
    assert kcat(*consume, "-o", f"s@{middle}") == numbers(50, 100)
    assert kcat(*consume, "-o", f"s@{middle}", "-o", f"e@{middle + 3_600_000}") == numbers(50, 100)
    assert kcat(*consume, "-o", "beginning", "-c", "5") == numbers(0, 5)
    for asked, offset in (("-1", 100), ("-2", 0), (str(middle), 50), (str(middle + 3_600_000), -1)):
        said = kcat("-Q", "-t", f"o.topic:0:{asked}").decode()
        assert f"o.topic [0] offset {offset}" in said, f"{asked}: {said}"
    note("by offset, from the end, by time")


def partitioners(note):
    keys = [b"key-%d" % n for n in range(200)]
    lines = b"".join(b"%b:v\n" % key for key in keys)
    for name in ("murmur2", "murmur2_random", "consistent", "fnv1a"):
        topic = f"p.{name}"
        create_topic(topic, 12)
        kcat("-P", "-t", topic, "-K", ":", "-X", f"topic.partitioner={name}", stdin=lines)
        rows = kcat("-C", "-t", topic, "-e", "-q", "-f", "%p %k\n").splitlines()
        placed = {key: int(p) for p, key in (row.split(b" ") for row in rows)}
        assert set(placed) == set(keys) and len(rows) == len(keys)
        if name.startswith("murmur2"):
            assert all(placed[key] == (murmur2(key) & 0x7FFFFFFF) % 12 for key in keys)
    kcat("-P", "-t", "p.murmur2", "-p", "7", "-k", "fixed", stdin=b"here\n")
    assert kcat("-C", "-t", "p.murmur2", "-p", "7", "-o", "-1", "-e", "-q", "-f", "%p %k %s") == b"7 fixed here"
    note("murmur2, murmur2_random, consistent, fnv1a, explicit")


def keys_headers_tombstones(note):
    create_topic("h.topic")
    kcat("-P", "-t", "h.topic", "-Z", "-K", ":", "-H", "a=1", "-H", "b=", "-H", "a=2", stdin=b"k:\n:v\nx:y\n")
    rows = kcat("-C", "-t", "h.topic", "-e", "-q", "-f", "%K %S %h %k %s\n").splitlines()
    assert rows == [b"1 -1 a=1,b=,a=2 k ", b"-1 1 a=1,b=,a=2  v", b"1 1 a=1,b=,a=2 x y"], rows
    said = [json.loads(row) for row in kcat("-C", "-t", "h.topic", "-e", "-q", "-J").splitlines()]
    assert [m["offset"] for m in said] == [0, 1, 2] and all(m["tstype"] == "create" for m in said)
    note("-Z, -H, -J")


def log_append_time(note):
    create_topic("t.topic", config={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    for codec in ("none", "lz4"):
        kcat("-P", "-t", "t.topic", "-z", codec, stdin=numbers(0, 20))
    said = [json.loads(row) for row in kcat("-C", "-t", "t.topic", "-e", "-q", "-J").splitlines()]
    assert len(said) == 40 and all(m["tstype"] == "logappend" and m["ts"] >= before for m in said), said[:2]
    note("40 records")


def acknowledgements(note):
    create_topic("k.topic")
    for acks in ("0", "1", "all"):
        kcat("-P", "-t", "k.topic", "-X", f"acks={acks}", stdin=numbers(0, 100))
    assert kcat("-C", "-t", "k.topic", "-e", "-q") == numbers(0, 100) * 3
    note("0, 1, all")


def a_record_too_large(note):
    create_topic("l.topic", config={"max.message.bytes": "2000"})
    said = run(["sh", "-c", f"head -c 4000 /dev/zero | tr '\\0' x | kcat -b {BOOTSTRAP} -P -t l.topic 2>&1; true"])
    assert b"Message size too large" in said, said
    assert kcat("-C", "-t", "l.topic", "-e", "-q") == b""
    note(said.decode().strip().splitlines()[0])


def balanced_consumer(note):
    create_topic("g.topic", 4)
    kcat("-P", "-t", "g.topic", stdin=numbers(0, 400))
    read = ("-G", "g.kcat", "-e", "-q", "-X", "auto.offset.reset=earliest", "g.topic")
    first = kcat(*read)
    assert sorted(map(int, first.split())) == list(range(400))
    assert kcat(*read) == b"", "read again although committed"
    note("400 records, none twice")


def old_protocols(note):
    """librdkafka told to speak to brokers of old: the versions it then sends are served."""
    create_topic("v.topic")
    sent = b""
    for version in ("0.8.2.2", "0.9.0.1", "0.10.0.0", "0.10.2.2"):
        flags = ("-X", "api.version.request=false", "-X", f"broker.version.fallback={version}")
        for codec in ("none", "gzip", "snappy") + (("lz4",) if version >= "0.10" or version == "0.8.2.2" else ()):
            kcat("-P", "-t", "v.topic", "-z", codec, *flags, stdin=numbers(0, 50))
            sent += numbers(0, 50)
        assert kcat("-C", "-t", "v.topic", "-e", "-q", *flags) == sent, f"as read by {version}"
    assert kcat("-C", "-t", "v.topic", "-e", "-q") == sent
    note("0.8.2.2, 0.9.0.1, 0.10.0.0, 0.10.2.2")


def main():
    report = Report("kcat")
    report.run(metadata, positions, partitioners, keys_headers_tombstones, log_append_time, acknowledgements,
               a_record_too_large, balanced_consumer, old_protocols)
    report.exit()


if __name__ == "__main__":
    main()
