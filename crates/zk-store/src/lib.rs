//! Transaction logs, snapshots and epoch files in Apache ZooKeeper's formats.
