#!/usr/bin/env bash
if [ $# -lt 1 ]; then
  echo "USAGE: $0 zookeeper_host:port[/path] [-zk-tls-config-file file] [args...]"
  exit 1
fi
exec "$(dirname "$(readlink -f "$0")")/zoolog-exec.sh" zkCli -server "$@"
