//! Why a server closes a connection, in words for its log.

use thiserror::Error;

/// The one to blame is named: the client's wish, the client's fault, a limit, or time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseReason {
    #[error("the client closed its session")]
    SessionClosed,
    #[error("its session 0x{session:x} expired: nothing was heard for {timeout_ms} ms")]
    SessionExpired { session: i64, timeout_ms: i32 },
    #[error("its session 0x{session:x} went on over another connection")]
    SessionMoved { session: i64 },
    #[error("session 0x{session:x} is unknown or expired, or its password is wrong")]
    SessionRefused { session: i64 },
    #[error(
        "the client has seen zxid 0x{seen:x}, which is ahead of this server's 0x{ours:x}; it must try another server, \
         or this server has lost data"
    )]
    ClientAhead { seen: i64, ours: i64 },
    #[error("authentication failed for scheme {scheme:?}")]
    AuthFailed { scheme: String },
    #[error("operation {op} is not implemented")]
    UnknownOperation { op: i32 },
    #[error("the frame cannot be read: {what}")]
    Malformed { what: String },
    #[error("too many connections from {peer}: the limit is {max} (maxClientCnxns)")]
    TooManyFromAddress { peer: std::net::IpAddr, max: u32 },
    #[error("too many connections: the limit is {max} (maxCnxns)")]
    TooManyConnections { max: u32 },
    #[error("no session was opened within {after_ms} ms")]
    NoSession { after_ms: u64 },
    #[error("this server does not serve: it knows no leader at the moment")]
    NotServing,
    #[error("this server serves reads only at the moment, and the client did not ask for that")]
    NotReadOnlyClient,
    #[error("session 0x{session:x} is the ensemble's, and this server has no leader at the moment")]
    NotWithoutLeader { session: i64 },
    #[error("the role of this server changes ({was} so far); its clients go on elsewhere or come back")]
    RoleChanged { was: &'static str },
}

impl CloseReason {
    /// Whether an operator should see it without asking: a limit was hit or someone misbehaves.
    pub fn is_worth_a_warning(&self) -> bool {
        !matches!(
            self,
            Self::SessionClosed
                | Self::SessionMoved { .. }
                | Self::NoSession { .. }
                | Self::NotServing
                | Self::NotReadOnlyClient
                | Self::NotWithoutLeader { .. }
                | Self::RoleChanged { .. }
        )
    }
}
