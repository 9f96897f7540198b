# What ZooKeeper's scripts share; sourced, not run: where the configuration lies, and the binary.
#
# ZOOCFGDIR, ZOOCFG and ZOO_LOG_DIR are taken from the environment, `--config DIR` before anything else; zookeeper-env.sh
# and java.env of the configuration directory may set more. The directory is the one beside the script that was
# called, links not followed, as with the original: /usr/local/zookeeper/bin/zkServer.sh may be a link to anywhere.
ZOOBINDIR=$(cd "$(dirname "$0")" && pwd)
zoolog=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/zoolog-exec.sh

if [ $# -gt 1 ] && [ "$1" = "--config" ]; then
  ZOOCFGDIR=$2
  shift 2
fi
# Where bin itself is a link, `bin/..` is the place it points to.
ZOOKEEPER_PREFIX=$ZOOBINDIR/..
[ "$ZOOKEEPER_PREFIX" -ef "$(dirname "$ZOOBINDIR")" ] || ZOOKEEPER_PREFIX=$(dirname "$ZOOBINDIR")
if [ -z "$ZOOCFGDIR" ]; then
  ZOOCFGDIR=$ZOOKEEPER_PREFIX/conf
  [ -e "$ZOOCFGDIR" ] || ZOOCFGDIR=$ZOOBINDIR/../etc/zookeeper
fi
[ -f "$ZOOCFGDIR/zookeeper-env.sh" ] && . "$ZOOCFGDIR/zookeeper-env.sh"
ZOOCFG=$ZOOCFGDIR/${ZOOCFG:-zoo.cfg}
[ -f "$ZOOCFGDIR/java.env" ] && . "$ZOOCFGDIR/java.env"
ZOO_LOG_DIR=${ZOO_LOG_DIR:-$ZOOKEEPER_PREFIX/logs}
export JVMFLAGS SERVER_JVMFLAGS

# The value of a key in a configuration file (default: $ZOOCFG), white space trimmed, the last line that has it.
setting() {
  sed -n -e "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "${2:-$ZOOCFG}" 2>/dev/null | sed -e 's/[[:space:]]*$//' | tail -n 1
}
