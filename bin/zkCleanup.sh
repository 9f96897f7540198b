#!/usr/bin/env bash
# zkCleanup.sh -n count: removes what the newest `count` snapshots of the configured directories do not need.
. "$(dirname "$(readlink -f "$0")")/zkEnv.sh"
datadir=$(setting dataDir)
datalogdir=$(setting dataLogDir)
if [ -z "$datalogdir" ]; then
  exec "$zoolog" zkCleanup "$datadir" "$@"
fi
exec "$zoolog" zkCleanup "$datalogdir" "$datadir" "$@"
