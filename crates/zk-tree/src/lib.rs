//! The znode tree: decide, apply, ACLs, quotas, watches, sessions, digest.
