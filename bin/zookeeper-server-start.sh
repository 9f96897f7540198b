#!/usr/bin/env bash
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] zookeeper.properties"
  exit 1
fi
# Kafka's scripts hand KAFKA_OPTS to every JVM, this one's too.
export JVMFLAGS="$JVMFLAGS $KAFKA_OPTS"
. "$(dirname "$(readlink -f "$0")")/server-start-common.sh"
server_start zookeeper zookeeper-server "$@"
