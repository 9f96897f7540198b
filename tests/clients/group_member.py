"""One member of a consumer group: group_member.py CLIENT NAME GROUP TOPIC FILE [option=value…]

Appends to FILE, a line at a time: `assigned P…`, `revoked P…`, `lost P…`, `got P OFFSET` once a record is processed,
`committed P NEXT…` (pairs) after a commit is acknowledged, `generation N MEMBER`, `fenced WHY`. Commits every 200
records. SIGTERM leaves the group in order; kill -9 is what the file is for.
"""

import logging
import os
import signal
import sys
import time

from kit import BOOTSTRAP

COMMIT_EVERY = 200
stopping = False


def stop(*_):
    global stopping
    stopping = True


class Diary:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)

    def write(self, *words):
        self.file.write(" ".join(map(str, words)) + "\n")

    def committed(self, positions):
        self.write("committed", *(word for pair in sorted(positions.items()) for word in pair))


def confluent(name, group, topic, diary, options):
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    config = {"bootstrap.servers": BOOTSTRAP, "client.id": name, "group.id": group, "session.timeout.ms": 6000,
              "heartbeat.interval.ms": 500, "auto.offset.reset": "earliest", "enable.auto.commit": False,
              "enable.auto.offset.store": False, **options}
    positions = {}
    consumer = Consumer(config)

    def commit():
        if positions:
            consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in positions.items()], asynchronous=False)
            diary.committed(positions)
            positions.clear()

    def on_revoke(_, partitions):
        commit()
        diary.write("revoked", *(p.partition for p in partitions))

    def on_lost(_, partitions):
        positions.clear()
        diary.write("lost", *(p.partition for p in partitions))

    consumer.subscribe([topic], on_revoke=on_revoke, on_lost=on_lost,
                       on_assign=lambda _, partitions: diary.write("assigned", *(p.partition for p in partitions)))
    since = 0
    while not stopping:
        for message in consumer.consume(20, 0.2):
            if message.error():
                # librdkafka turns FENCED_INSTANCE_ID into a fatal error of the client.
                if message.error().code() in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL):
                    diary.write("fenced", message.error().str())
                    return
                raise RuntimeError(message.error())
            diary.write("got", message.partition(), message.offset())
            positions[message.partition()] = message.offset() + 1
            since += 1
        time.sleep(0.005)
        if since >= COMMIT_EVERY:
            commit()
            since = 0
    commit()
    consumer.close()


def kafka_python(name, group, topic, diary, options):
    from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition

    positions = {}
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, client_id=name, group_id=group, session_timeout_ms=6000,
                             heartbeat_interval_ms=500, auto_offset_reset="earliest", enable_auto_commit=False,
                             max_poll_records=20, **options)

    def commit():
        if positions:
            consumer.commit({TopicPartition(topic, p): OffsetAndMetadata(o, "", -1) for p, o in positions.items()})
            diary.committed(positions)
            positions.clear()

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, partitions):
            # kafka-python refuses to commit in here; what is not committed comes again.
            positions.clear()
            if partitions:
                diary.write("revoked", *(p.partition for p in partitions))

        def on_partitions_assigned(self, partitions):
            diary.write("assigned", *(p.partition for p in partitions))

    consumer.subscribe([topic], listener=Listener())
    since = 0
    while not stopping:
        # Long: a poll that gives up amid a join can lose it; 3.0.12 then spins without heartbeats.
        for messages in consumer.poll(timeout_ms=5000).values():
            for message in messages:
                diary.write("got", message.partition, message.offset)
                positions[message.partition] = message.offset + 1
                since += 1
        time.sleep(0.005)
        if since >= COMMIT_EVERY:
            commit()
            since = 0
    commit()
    consumer.close()


def main():
    client, name, group, topic, path, *words = sys.argv[1:]
    signal.signal(signal.SIGTERM, stop)
    if os.environ.get("MEMBER_DEBUG"):
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(threadName)s %(name)s %(message)s")
    options = dict(word.split("=", 1) for word in words)
    {"confluent": confluent, "kafka_python": kafka_python}[client](name, group, topic, Diary(path), options)


if __name__ == "__main__":
    main()
