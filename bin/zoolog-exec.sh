#!/bin/sh
# Runs zoolog under the name of the script that was called: every tool in this directory is a link to this file.
# Set ZOOLOG to use a certain binary; otherwise: beside the script, then the build directories, then PATH.
here=$(dirname "$(readlink -f "$0")")
tool=$(basename "$0" .sh)
if [ -z "$ZOOLOG" ]; then
  # Of two builds in a checkout the newer one.
  built=$(ls -t "$here/../target/release/zoolog" "$here/../target/debug/zoolog" 2>/dev/null | head -n 1)
  for ZOOLOG in "$here/zoolog" "$built" "$(command -v zoolog)"; do
    [ -x "$ZOOLOG" ] && break
  done
fi
[ -x "$ZOOLOG" ] || { echo "$0: no zoolog binary found; build it with: cargo build --release" >&2; exit 1; }
if [ "$tool" = zoolog-exec ]; then
  exec "$ZOOLOG" "$@"
fi
exec "$ZOOLOG" "$tool" "$@"
