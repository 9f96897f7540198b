#!/usr/bin/env bash
. "$(dirname "$(readlink -f "$0")")/server-start-common.sh"
server_stop zookeeper-server zookeeper
