#!/usr/bin/env bash
# Starts, stops and asks after one coordination server, with the words and exit codes of Apache ZooKeeper's script.
command=$0
bindir=$(dirname "$(readlink -f "$0")")
zoolog="$bindir/zoolog-exec.sh"

if [ "$1" = "--config" ] && [ $# -gt 2 ]; then
  ZOOCFGDIR=$2
  shift 2
fi
ZOOCFGDIR=${ZOOCFGDIR:-$bindir/../conf}
[ -f "$ZOOCFGDIR/zookeeper-env.sh" ] && . "$ZOOCFGDIR/zookeeper-env.sh"
[ -f "$ZOOCFGDIR/java.env" ] && . "$ZOOCFGDIR/java.env"
ZOOCFG=$ZOOCFGDIR/${ZOOCFG:-zoo.cfg}
if [ -n "$2" ]; then
  # A bare name lies in the configuration directory, anything longer is a path.
  case $2 in */*) ZOOCFG=$2 ;; *) ZOOCFG=$ZOOCFGDIR/$2 ;; esac
fi
ZOO_LOG_DIR=${ZOO_LOG_DIR:-$bindir/../logs}
export JVMFLAGS SERVER_JVMFLAGS

if [ -z "$JMXDISABLE" ] || [ "$JMXDISABLE" = false ]; then
  echo "ZooKeeper JMX enabled by default" >&2
else
  echo "JMX disabled by user request" >&2
fi
echo "Using config: $ZOOCFG" >&2

# The value of a key in the configuration file, white space trimmed.
setting() {
  sed -n -e "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "$ZOOCFG" 2>/dev/null | sed -e 's/[[:space:]]*$//' | tail -n 1
}

datadir=$(setting dataDir)
if [ -n "$ZOO_DATADIR_AUTOCREATE_DISABLE" ] && [ ! -d "$datadir/version-2" ]; then
  echo "ZooKeeper data directory is missing at $datadir fix the path or run initialize"
  exit 1
fi
if [ -z "$ZOOPIDFILE" ]; then
  [ -n "$datadir" ] && mkdir -p "$datadir"
  ZOOPIDFILE=$datadir/zookeeper_server.pid
else
  mkdir -p "$(dirname "$ZOOPIDFILE")"
fi

start() {
  mkdir -p "$ZOO_LOG_DIR"
  local out="$ZOO_LOG_DIR/zookeeper-${USER:-$(id -un)}-server-${HOSTNAME:-$(uname -n)}.out"
  echo -n "Starting zookeeper ... "
  if [ -f "$ZOOPIDFILE" ] && kill -0 "$(cat "$ZOOPIDFILE")" 2>/dev/null; then
    echo "$command already running as process $(cat "$ZOOPIDFILE")."
    exit 1
  fi
  nohup "$zoolog" zookeeper-server "$ZOOCFG" >"$out" 2>&1 </dev/null &
  local pid=$!
  echo -n $pid >"$ZOOPIDFILE" || { echo FAILED TO WRITE PID; exit 1; }
  # A server that cannot start says why and ends at once; one that answers is up.
  for _ in $(seq 20); do
    kill -0 $pid 2>/dev/null || { echo FAILED TO START; tail -n 1 "$out" >&2; exit 1; }
    sleep 0.05
  done
  echo STARTED
}

stop() {
  echo -n "Stopping zookeeper ... "
  if [ ! -f "$ZOOPIDFILE" ]; then
    echo "no zookeeper to stop (could not find file $ZOOPIDFILE)"
    return
  fi
  local pid
  pid=$(cat "$ZOOPIDFILE")
  kill "$pid"
  rm "$ZOOPIDFILE"
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  echo STOPPED
}

# Where clients reach the server: clientPort, or the part behind the semicolon of its own server line, which may
# stand in the file that dynamicConfigFile names.
find_client_address() {
  address=$(setting clientPortAddress)
  address=${address:-localhost}
  port=$(setting clientPort)
  [ -n "$port" ] && return
  local myid client
  myid=$(cat "$datadir/myid" 2>/dev/null)
  if ! [[ $myid =~ ^[0-9]+$ ]]; then
    echo "myid could not be determined, will not able to locate clientPort in the server configs."
  else
    client=$(setting "server\.$myid" | grep ';')
    if [ -z "$client" ]; then
      echo "Client port not found in static config file. Looking in dynamic config file."
      client=$(ZOOCFG=$(setting dynamicConfigFile) setting "server\.$myid" | grep ';')
    fi
    [ -n "$client" ] || echo "Client port not found in the server configs"
    client=${client##*;}
    case $client in *:*) address=${client%:*} ;; esac
    address=${address#[} address=${address%]}
    port=${client##*:}
  fi
  [ -n "$port" ] && return
  echo "Client port not found. Looking for secureClientPort in the static config."
  echo "Unable to find either secure or unsecure client port in any configs. Terminating."
  exit 1
}

status() {
  find_client_address
  echo "Client port found: $port. Client address: $address. Client SSL: false."
  local mode
  mode=$("$zoolog" four-letter-word "$address" "$port" srvr 2>/dev/null | grep Mode)
  if [ -z "$mode" ]; then
    echo "Error contacting service. It is probably not running."
    exit 1
  fi
  echo $mode
}

case $1 in
start) start ;;
start-foreground) exec "$zoolog" zookeeper-server "$ZOOCFG" ;;
print-cmd) echo "\"$zoolog\" zookeeper-server \"$ZOOCFG\"" ;;
stop) stop; exit 0 ;;
version) exec "$zoolog" --version ;;
restart) stop; start ;;
status) status ;;
*) echo "Usage: $0 [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}" >&2 ;;
esac
