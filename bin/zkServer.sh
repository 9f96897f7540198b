#!/usr/bin/env bash
# Starts, stops and asks after one coordination server, with the words and exit codes of Apache ZooKeeper's script.
# Several servers of one host: a configuration file each (as second argument), with a dataDir each.
command=$0
. "$(dirname "$(readlink -f "$0")")/zkEnv.sh"

if [ -n "$2" ]; then
  # A bare name lies in the configuration directory, anything longer is a path.
  case $2 in */*) ZOOCFG=$2 ;; *) ZOOCFG=$ZOOCFGDIR/$2 ;; esac
fi

if [ -z "$JMXDISABLE" ] || [ "$JMXDISABLE" = false ]; then
  echo "ZooKeeper JMX enabled by default" >&2
else
  echo "JMX disabled by user request" >&2
fi
echo "Using config: $ZOOCFG" >&2

datadir=$(setting dataDir)
datalogdir=$(setting dataLogDir)
if [ -n "$ZOO_DATADIR_AUTOCREATE_DISABLE" ]; then
  if [ ! -d "$datadir/version-2" ]; then
    echo "ZooKeeper data directory is missing at $datadir fix the path or run initialize"
    exit 1
  fi
  if [ -n "$datalogdir" ] && [ ! -d "$datalogdir/version-2" ]; then
    echo "ZooKeeper txnlog directory is missing at $datalogdir fix the path or run initialize"
    exit 1
  fi
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
  # A server that cannot start says why and ends at once; one that is there after a second is up.
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
      client=$(setting "server\.$myid" "$(setting dynamicConfigFile)" | grep ';')
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

# The original's lines and exit code; before the last one, which of the other servers are missing.
status() {
  find_client_address
  echo "Client port found: $port. Client address: $address. Client SSL: false."
  local mode
  mode=$("$zoolog" four-letter-word "$address" "$port" srvr 2>/dev/null | grep Mode)
  "$zoolog" zk ensemble --config "$ZOOCFG" --missing 2>/dev/null
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
