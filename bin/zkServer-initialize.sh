#!/usr/bin/env bash
# Makes the data directories of a server and writes its myid, with the words and exit codes of Apache ZooKeeper's script.
. "$(dirname "$(readlink -f "$0")")/zkEnv.sh"

usage() {
  printf "usage: $0 <parameters>
  Optional parameters:
     -h                                                    Display this message
     --help                                                Display this message
     --configfile=%-40s ZooKeeper config file
     --myid=#                                              Set the myid to be used, if any (1-255)
     --force                                               Force creation of the data/txnlog dirs
" "$ZOOCFG"
  exit 1
}

# What is in a directory goes, the directory itself stays: it may be a mount with permissions of its own.
empty() {
  rm -rf "$1/myid" "$1/version-2" 2>/dev/null
  mkdir -p "$1/version-2"
}

initialize() {
  if [ ! -e "$ZOOCFG" ]; then
    echo "Unable to find config file at $ZOOCFG"
    exit 1
  fi
  local datadir datalogdir
  datadir=$(setting dataDir)
  datalogdir=$(setting dataLogDir)
  if [ -z "$datadir" ]; then
    echo "Unable to determine dataDir from $ZOOCFG"
    exit 1
  fi
  if [ -n "$force" ]; then
    echo "Force enabled, data/txnlog directories will be re-initialized"
  else
    if [ -d "$datadir/version-2" ]; then
      echo "ZooKeeper data directory already exists at $datadir (or use --force to force re-initialization)"
      exit 1
    fi
    if [ -n "$datalogdir" ] && [ -d "$datalogdir/version-2" ]; then
      echo "ZooKeeper txnlog directory already exists at $datalogdir (or use --force to force re-initialization)"
      exit 1
    fi
  fi
  empty "$datadir"
  [ -n "$datalogdir" ] && empty "$datalogdir"
  if [ -n "$MYID" ]; then
    echo "Using myid of $MYID"
    echo "$MYID" >"$datadir/myid"
  else
    echo "No myid provided, be sure to specify it in $datadir/myid if using non-standalone"
  fi
  # An empty server with this mark may vote at its first start (`zookeeper.db.autocreate=false`).
  touch "$datadir/initialize"
}

force=
while [ -n "$1" ]; do
  case $1 in
  --configfile) ZOOCFG=$2; shift 2 ;;
  --configfile=?*) ZOOCFG=${1#*=}; shift ;;
  --myid) MYID=$2; shift 2 ;;
  --myid=?*) MYID=${1#*=}; shift ;;
  --force) force=1; shift ;;
  -h | --help) usage ;;
  *) echo "Unknown option: $1"; usage ;;
  esac
done
initialize
