//! How a request can fail.

use thiserror::Error;
use zk_proto::{ErrorCode, MultiResult};

pub type Result<T> = std::result::Result<T, ZkError>;

/// Why a request failed. [`ZkError::code`] gives the protocol's code where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZkError {
    /// The server refused it.
    #[error("{0}")]
    Code(ErrorCode),
    /// The server refused it with a code this release does not know.
    #[error("unknown error code {0}")]
    UnknownCode(i32),
    /// A multi was refused as a whole; nothing of it was done. `results` holds every item's code.
    #[error("multi refused at item {index}: {code}")]
    Multi { index: usize, code: ErrorCode, results: Vec<MultiResult> },
    /// The connection broke before the reply came: it may or may not have been carried out.
    #[error("connection lost before the reply came")]
    ConnectionLoss,
    /// The session is over: its ephemeral nodes and watches are gone. A new client is needed.
    #[error("session expired")]
    SessionExpired,
    /// The server did not accept a credential; the session is unusable.
    #[error("authentication failed")]
    AuthFailed,
    /// The client was closed.
    #[error("client is closed")]
    Closed,
    /// No server answered in time.
    #[error("no ZooKeeper server among {hosts} answered within {timeout_ms} ms ({last})")]
    ConnectTimeout { hosts: String, timeout_ms: u64, last: String },
    /// Too many requests wait already.
    #[error("{0} requests are waiting already")]
    QueueFull(usize),
    /// The caller's path or list of hosts is malformed; nothing was sent.
    #[error("{0}")]
    BadArgument(String),
    /// The server sent what cannot be understood.
    #[error("malformed reply: {0}")]
    Protocol(String),
}

impl ZkError {
    /// The protocol's code for this failure, if it has one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Code(code) | Self::Multi { code, .. } => Some(*code),
            Self::ConnectionLoss | Self::ConnectTimeout { .. } => Some(ErrorCode::ConnectionLoss),
            Self::SessionExpired => Some(ErrorCode::SessionExpired),
            Self::AuthFailed => Some(ErrorCode::AuthFailed),
            _ => None,
        }
    }

    pub fn is(&self, code: ErrorCode) -> bool {
        self.code() == Some(code)
    }

    pub(crate) fn from_wire(err: i32) -> Self {
        ErrorCode::from_code(err).map_or(Self::UnknownCode(err), Self::Code)
    }
}
