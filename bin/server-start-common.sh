# What the start scripts share; sourced, not run.
# server_start NAME COMMAND [-daemon] FILE [ARGS…]: runs `zoolog COMMAND FILE ARGS…`,
# with -daemon in the background, its output in $LOG_DIR/NAME.out.
server_start() {
  local name=$1 command=$2
  shift 2
  local bindir
  bindir=$(dirname "$(readlink -f "$0")")
  if [ "$1" != "-daemon" ]; then
    exec "$bindir/zoolog-exec.sh" "$command" "$@"
  fi
  shift
  local logs=${LOG_DIR:-$bindir/../logs}
  mkdir -p "$logs"
  nohup setsid "$bindir/zoolog-exec.sh" "$command" "$@" >"$logs/$name.out" 2>&1 </dev/null &
}

# server_stop COMMAND WORDS: signals every `zoolog COMMAND` of this machine, as the originals' scripts do.
server_stop() {
  local pids
  pids=$(ps ax -o pid=,args= | awk -v command="$1" '$2 ~ /(^|\/)zoolog$/ && $3 == command {print $1}')
  if [ -z "$pids" ]; then
    echo "No $2 server to stop"
    exit 1
  fi
  kill -s "${SIGNAL:-TERM}" $pids
}
