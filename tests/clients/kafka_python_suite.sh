#!/usr/bin/env bash
# kafka-python's own integration suite against a broker with the suite's settings, under a chroot of $ZOOLOG_ZOOKEEPER.
# Its source comes by pip in the version requirements.txt pins; expected.txt lists what cannot pass yet, with reasons.
# Anything else that fails, and anything on the list that passes, fails this.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^kafka-python==//p' "$here/requirements.txt")
work=$(mktemp -d)
broker=
trap '[ -n "$broker" ] && kill -9 "$broker" && wait "$broker" 2>/dev/null; rm -rf "$work"' EXIT

python3 -m pip download -q --no-binary :all: --no-deps -d "$work" "kafka-python==$version" \
  && tar -xzf "$work"/kafka?python-"$version".tar.gz -C "$work" || { echo "kafka-python's source could not be fetched"; exit 1; }
cd "$work"/kafka?python-"$version" || exit 1
cp "$here/kafka_python_suite/service.py" test/service.py
touch test/__init__.py
# The directory only has to exist: no script of it is run.
mkdir -p servers/3.9.1/kafka-bin

# What the suite's own kafka.properties sets and the tests rely on: short sessions, four partitions.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/server.properties" <<PROPERTIES
broker.id=0
listeners=PLAINTEXT://127.0.0.1:$port
log.dirs=$work/data
zookeeper.connect=$ZOOLOG_ZOOKEEPER/kafka-python
num.partitions=4
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
group.min.session.timeout.ms=1000
group.initial.rebalance.delay.ms=0
PROPERTIES
"$ZOOLOG" kafka-server "$work/server.properties" >"$work/broker.log" 2>&1 &
broker=$!
for _ in $(seq 300); do
  python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && break
  kill -0 "$broker" 2>/dev/null || { broker=; echo "the broker did not start:"; cat "$work/broker.log"; exit 1; }
  sleep 0.1
done

suite() {
  local result=$1
  shift
  KAFKA_VERSION=3.9.1 KAFKA_URI="kafka://127.0.0.1:$port" python3 -m pytest -q -p no:cacheprovider \
    --timeout 120 --junitxml "$result" "$@" >>"$work/said" 2>&1
}
judge() { python3 "$here/kafka_python_suite/judge.py" "$@"; }
expected=$here/kafka_python_suite/expected.txt

suite "$work/result.xml" test/integration "$@"
# kafka-python 3.0.12 loses a subscription that is made in the instant between a metadata answer and its application: it
# assigns nothing and never asks again. The quicker the broker answers, the likelier. Such a test gets further chances.
results=("$work/result.xml")
for chance in 1 2 3 4 5; do
  mapfile -t again < <(judge --unexpected "$expected" "${results[@]}")
  [ ${#again[@]} -eq 0 ] || [ ${#again[@]} -gt 8 ] && break
  echo "once more: ${again[*]}"
  suite "$work/again$chance.xml" "${again[@]}"
  results+=("$work/again$chance.xml")
done

kill -0 "$broker" || { broker=; echo "the broker died:"; tail -n 50 "$work/broker.log"; exit 1; }
judge "$expected" "${results[@]}" || {
  tail -n 400 "$work/said"
  exit 1
}
