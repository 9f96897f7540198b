#!/usr/bin/env bash
# A running ensemble of three Apache ZooKeeper servers becomes zoolog, one server at a time, is restarted as zoolog, and
# goes back, all in the same way; hundreds of sessions with locks and a thousand writes a second all along. What it does
# to each server is what docs/migrating.md tells you to do to yours:
#
#   followers first, the leader last; for each: stop it, start the other program on the same zoo.cfg, wait until status
#   shows that it has joined.
#
# Builds nothing: $ZOOLOG is the binary and $LOAD the load (default: the newest build of each), $ZOOLOG_ORIGINALS where
# Apache's jars are (see tests/testkit/originals/fetch.sh). Fails if an acknowledged write is lost, a session expires, a
# lock changes hands, or a session has to be taken up more than once in a step.
#
#   migrate.sh [--apache VERSION] [--sessions N] [--writes PER_SECOND] [--locks N] [--port FIRST_PORT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
apache=3.5.7 sessions=500 writes=1000 locks=50 port=21810
while [ $# -gt 1 ]; do
  case $1 in --apache | --sessions | --writes | --locks | --port) declare "${1#--}=$2" ;; *) break ;; esac
  shift 2
done
[ $# -eq 0 ] || { sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2; }

newest() { ls -t "$root"/target/{debug,release}/"$1" 2>/dev/null | head -n 1 || true; }
export ZOOLOG=${ZOOLOG:-$(newest zoolog)}
load=${LOAD:-$(newest ensemble-load)}
[ -x "$ZOOLOG" ] && [ -x "$load" ] || { echo "migrate: build zoolog and ensemble-load first"; exit 1; }
jars=${ZOOLOG_ORIGINALS:-$root/.cache/originals}/zookeeper-$apache
[ -e "$jars/complete" ] || "$root/tests/testkit/originals/fetch.sh" "zookeeper-$apache"

# What zoolog's places are filled with; another Apache release to try the script itself.
new=${MIGRATE_TO:-zoolog}
work=$(mktemp -d)
hosts=
servers="1 2 3"
for n in $servers; do
  mkdir -p "$work/s$n/data"
  echo "$n" >"$work/s$n/data/myid"
  {
    printf '%s\n' tickTime=2000 initLimit=10 syncLimit=5 "dataDir=$work/s$n/data" "clientPort=$((port + n))" \
      maxClientCnxns=0 admin.enableServer=false
    for m in $servers; do echo "server.$m=127.0.0.1:$((port + 10 + m)):$((port + 20 + m))"; done
  } >"$work/s$n/zoo.cfg"
  hosts+=${hosts:+,}127.0.0.1:$((port + n))
done

# ---- the two programs, each with its own way to be started and stopped on a server's zoo.cfg
start_apache() { # VERSION N
  local home=${jars%-*}-$1
  java -Xmx256m -XX:+UseSerialGC -Dlog4j.configuration="file:$home/log4j.properties" \
    -Dlogback.configurationFile="$home/logback.xml" -cp "$home/lib/*" \
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$work/s$2/zoo.cfg" >>"$work/s$2/apache.out" 2>&1 &
  echo $! >"$work/s$2/apache.pid"
}
stop_apache() { # N
  local pid
  pid=$(cat "$work/s$1/apache.pid")
  kill "$pid"
  wait "$pid" || true
  rm "$work/s$1/apache.pid"
}
zkserver() { ZOO_LOG_DIR=$work/s$2 "$root/bin/zkServer.sh" "$1" "$work/s$2/zoo.cfg"; }

start() { # PROGRAM N
  case $1 in zoolog) zkserver start "$2" >/dev/null 2>&1 ;; *) start_apache "$1" "$2" ;; esac
}
stop() { # PROGRAM N
  case $1 in zoolog) zkserver stop "$2" >/dev/null 2>&1 ;; *) stop_apache "$2" ;; esac
}

# ---- what everybody looks at
mode() { zkserver status "$1" 2>/dev/null | sed -n 's/^Mode: //p' || true; }
await_all() {
  local end=$((SECONDS + 60)) n modes
  while [ $SECONDS -lt $end ]; do
    modes=$(for n in $servers; do mode "$n"; done | sort | tr '\n' ' ')
    [ "$modes" = "follower follower leader " ] && return
    sleep 0.1
  done
  echo "migrate: after a minute the servers are: $modes"
  return 1
}
leader() { for n in $servers; do if [ "$(mode "$n")" = leader ]; then echo "$n"; fi; done; }

finish() {
  local status=$?
  exec {to_load}>&- 2>/dev/null || true
  for n in $servers; do
    for pid in "$work/s$n/apache.pid" "$work/s$n/data/zookeeper_server.pid"; do
      if [ -e "$pid" ]; then kill -9 "$(cat "$pid")" 2>/dev/null || true; fi
    done
  done
  if [ $status -ne 0 ]; then
    for n in $servers; do echo "---- server $n"; tail -n 20 "$work/s$n"/*.out; done
  fi
  rm -rf "$work"
  exit $status
}
to_load=
trap finish EXIT

echo "three servers of Apache ZooKeeper $apache, $sessions sessions, $writes writes a second"
for n in $servers; do start "$apache" "$n"; done
await_all
coproc LOAD { "$load" --connect "$hosts" --sessions "$sessions" --writes "$writes" --locks "$locks" 2>&1; }
load_pid=$LOAD_PID
exec {to_load}>&"${LOAD[1]}" {from_load}<&"${LOAD[0]}"
# Closes the coprocess's own copies: the load ends when ours is closed.
eval "exec ${LOAD[1]}>&-"
read -r answer <&"$from_load"
[ "$answer" = ready ] || { echo "$answer"; exit 1; }

say() { # STEP: the load tells what it saw since the last one
  # A while for what the step has set in motion.
  sleep 5
  echo "$1" >&"$to_load"
  read -r answer <&"$from_load"
  echo "$answer"
}
say "before"

change_all() { # FROM TO
  local last n was
  last=$(leader)
  for n in $(for n in $servers; do [ "$n" = "$last" ] || echo "$n"; done) $last; do
    was=$(mode "$n")
    stop "$1" "$n"
    start "$2" "$n"
    await_all
    say "server $n, $was: $1 -> $2"
  done
}
change_all "$apache" "$new"
# A rolling restart.
change_all "$new" "$new"
change_all "$new" "$apache"

exec {to_load}>&-
cat <&"$from_load"
wait "$load_pid"
