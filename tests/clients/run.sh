#!/usr/bin/env bash
# Real clients against zoolog: run.sh [SCRIPT…]. Builds nothing: $ZOOLOG is the binary (default: the release build),
# $ZOOLOG_VENV the Python environment with requirements.txt in it (default: .cache/venv).
# Every script gets a fresh `zoolog dev`; fails if any of them failed, or if that zoolog died, panicked or would not stop.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export ZOOLOG=${ZOOLOG:-$root/target/release/zoolog}
venv=${ZOOLOG_VENV:-$root/.cache/venv}
export PATH=$venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; rm -rf "$work"' EXIT

free_ports() {
  python3 - <<'PYTHON'
import random, socket
found = []
while len(found) < 2:
    port = random.randrange(10000, 30000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            found.append(str(port))
        except OSError:
            pass
print(*found)
PYTHON
}

start() {
  local ports
  read -r -a ports < <(free_ports)
  export ZOOLOG_ZOOKEEPER=127.0.0.1:${ports[0]} ZOOLOG_KAFKA=127.0.0.1:${ports[1]} ZOOLOG_DATA=$work/data
  rm -rf "$ZOOLOG_DATA"
  "$ZOOLOG" dev --data "$ZOOLOG_DATA" --zookeeper-port "${ports[0]}" --kafka-port "${ports[1]}" >"$work/out" 2>&1 &
  server=$!
  export ZOOLOG_PID=$server
  for _ in $(seq 300); do
    grep -q 'is up after' "$work/out" && return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "zoolog did not start:"; cat "$work/out"
  return 1
}

# Ends the server; says what was wrong with it.
stop() {
  kill -TERM "$server" 2>/dev/null || { echo "zoolog had died:"; tail -n 50 "$work/out" "$ZOOLOG_DATA/zoolog.log"; return 1; }
  wait "$server"
  local code=$?
  server=
  if [ $code -ne 0 ] || grep -h -A5 'panicked at' "$work/out" "$ZOOLOG_DATA/zoolog.log"; then
    echo "zoolog ended with $code"; tail -n 20 "$work/out"
    return 1
  fi
}

scripts=("$@")
[ $# -gt 0 ] || scripts=(round_trips.py groups.py admin.py kcat_options.py old_clients.py many_partitions.py kafka_python_suite.sh)
failed=()
summary=()
for script in "${scripts[@]}"; do
  printf '\n---- %s\n' "$script"
  begun=$SECONDS
  if ! start; then failed+=("$script"); continue; fi
  case $script in
    *.py) python3 "$here/$script" ;;
    *) "$here/$script" ;;
  esac 2>&1 | tee "$work/said"
  code=${PIPESTATUS[0]}
  stop || code=1
  [ "$code" -eq 0 ] || failed+=("$script")
  summary+=("$(printf '%4ds  %-24s %s' $((SECONDS - begun)) "$script" "$(tail -n 1 "$work/said")")")
done
printf '\n---- real clients, %ss\n' $SECONDS
printf '%s\n' "${summary[@]}"
[ ${#failed[@]} -eq 0 ] || { echo "FAILED: ${failed[*]}"; exit 1; }
