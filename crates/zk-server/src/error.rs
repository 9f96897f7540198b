//! Why a server does not start, and why a running one stopped; one line each: what, why, what to do.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use zk_store::StoreError;

/// The server did not start; nothing is left behind.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("port {} is taken: {source}. Stop the process that listens on {address}, or choose another clientPort", address.port())]
    PortTaken { address: SocketAddr, source: io::Error },
    #[error("cannot listen on {address}: {source}. Check clientPort and clientPortAddress")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("clientPortAddress={host} cannot be resolved: {source}. Use an address of this machine")]
    Resolve { host: String, source: io::Error },
    #[error(
        "cannot listen on {address}, the {what} of server.{sid}: {source}. Check that line, and whether another process \
         has the port"
    )]
    QuorumPort { what: &'static str, address: String, sid: i64, source: io::Error },
    #[error("{0}. Check that this user may write to dataDir and dataLogDir, and that there is room")]
    Directory(StoreError),
    #[error("{}{}", .0, remedy(.0))]
    Store(StoreError),
    #[error("cannot start a thread: {0}. The limit on threads or memory of this user may be reached")]
    Thread(io::Error),
}

impl From<StoreError> for StartError {
    /// What the store says of its files says what to do; a bare system error does not.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { .. } => Self::Directory(error),
            _ => Self::Store(error),
        }
    }
}

fn remedy(error: &StoreError) -> String {
    error.remedy().map(|what| format!(". {what}")).unwrap_or_default()
}

/// A running server stopped by itself.
#[derive(Debug, Clone, Error)]
pub enum ServerError {
    /// What was not on disk was not acknowledged; what was acknowledged is on disk.
    #[error(
        "the transaction log cannot be written: {0}. The server has stopped serving; make room or repair the disk, then start it again"
    )]
    Log(String),
    /// Going on would make this server's tree another one than its ensemble's.
    #[error(
        "the ensemble has agreed on something this server cannot apply: {0}. It has left the ensemble; a newer \
         version of it may be needed"
    )]
    Disagreement(String),
    #[error("a server thread ended unexpectedly; the log above says why")]
    Thread,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_start_says_what_to_do_about_damage() {
        let corrupt =
            StoreError::Corrupt { path: "log.1".into(), offset: 16, why: "no checksum fits".into() };
        assert_eq!(
            StartError::from(corrupt).to_string(),
            "log.1 is corrupt at offset 16: no checksum fits; what stands before this place is whole. Restore the data \
             directory from a copy"
        );
        let in_use = StoreError::InUse { path: "data".into(), pid: None };
        assert!(StartError::from(in_use).to_string().ends_with("or choose another dataDir"));
    }
}
