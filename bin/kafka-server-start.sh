#!/usr/bin/env bash
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] server.properties [--override property=value]*"
  exit 1
fi
. "$(dirname "$(readlink -f "$0")")/server-start-common.sh"
server_start kafkaServer kafka-server "$@"
