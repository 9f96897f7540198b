#!/usr/bin/env bash
# Brings the Apache originals' jars by Maven: fetch.sh [NAME…]; all of poms/ without a name.
# They land in $ZOOLOG_ORIGINALS/<name>/lib (default: .cache/originals in the checkout) and stay there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${ZOOLOG_ORIGINALS:-$here/../../../.cache/originals}
[ $# -gt 0 ] || set -- $(cd "$here/poms" && ls | sed 's/\.xml$//')
for name in "$@"; do
  home=$dir/$name
  [ -e "$home/complete" ] && continue
  rm -rf "$home" && mkdir -p "$home"
  mvn -q -B -f "$here/poms/$name.xml" dependency:copy-dependencies -DoutputDirectory="$home/lib" \
    || { echo "fetch.sh: the jars of $name could not be fetched by Maven" >&2; exit 1; }
  cp "$here/log4j.properties" "$here/logback.xml" "$home/"
  touch "$home/complete"
  echo "$name: $(ls "$home/lib" | wc -l) jars"
done
