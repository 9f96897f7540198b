//! Error codes of the protocol (`KeeperException.Code`), the one table they live in.

use std::fmt;

/// Why a request was refused, as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ErrorCode {
    Ok = 0,
    SystemError = -1,
    RuntimeInconsistency = -2,
    DataInconsistency = -3,
    ConnectionLoss = -4,
    MarshallingError = -5,
    Unimplemented = -6,
    OperationTimeout = -7,
    BadArguments = -8,
    UnknownSession = -12,
    NewConfigNoQuorum = -13,
    ReconfigInProgress = -14,
    ApiError = -100,
    NoNode = -101,
    NoAuth = -102,
    BadVersion = -103,
    NoChildrenForEphemerals = -108,
    NodeExists = -110,
    NotEmpty = -111,
    SessionExpired = -112,
    InvalidCallback = -113,
    InvalidAcl = -114,
    AuthFailed = -115,
    SessionMoved = -118,
    NotReadOnly = -119,
    EphemeralOnLocalSession = -120,
    NoWatcher = -121,
    RequestTimeout = -122,
    ReconfigDisabled = -123,
    SessionClosedRequireSaslAuth = -124,
    QuotaExceeded = -125,
    ThrottledOp = -127,
}

impl ErrorCode {
    pub const ALL: [Self; 32] = [
        Self::Ok,
        Self::SystemError,
        Self::RuntimeInconsistency,
        Self::DataInconsistency,
        Self::ConnectionLoss,
        Self::MarshallingError,
        Self::Unimplemented,
        Self::OperationTimeout,
        Self::BadArguments,
        Self::UnknownSession,
        Self::NewConfigNoQuorum,
        Self::ReconfigInProgress,
        Self::ApiError,
        Self::NoNode,
        Self::NoAuth,
        Self::BadVersion,
        Self::NoChildrenForEphemerals,
        Self::NodeExists,
        Self::NotEmpty,
        Self::SessionExpired,
        Self::InvalidCallback,
        Self::InvalidAcl,
        Self::AuthFailed,
        Self::SessionMoved,
        Self::NotReadOnly,
        Self::EphemeralOnLocalSession,
        Self::NoWatcher,
        Self::RequestTimeout,
        Self::ReconfigDisabled,
        Self::SessionClosedRequireSaslAuth,
        Self::QuotaExceeded,
        Self::ThrottledOp,
    ];

    pub const fn code(self) -> i32 {
        self as i32
    }

    pub fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            0 => Self::Ok,
            -1 => Self::SystemError,
            -2 => Self::RuntimeInconsistency,
            -3 => Self::DataInconsistency,
            -4 => Self::ConnectionLoss,
            -5 => Self::MarshallingError,
            -6 => Self::Unimplemented,
            -7 => Self::OperationTimeout,
            -8 => Self::BadArguments,
            -12 => Self::UnknownSession,
            -13 => Self::NewConfigNoQuorum,
            -14 => Self::ReconfigInProgress,
            -100 => Self::ApiError,
            -101 => Self::NoNode,
            -102 => Self::NoAuth,
            -103 => Self::BadVersion,
            -108 => Self::NoChildrenForEphemerals,
            -110 => Self::NodeExists,
            -111 => Self::NotEmpty,
            -112 => Self::SessionExpired,
            -113 => Self::InvalidCallback,
            -114 => Self::InvalidAcl,
            -115 => Self::AuthFailed,
            -118 => Self::SessionMoved,
            -119 => Self::NotReadOnly,
            -120 => Self::EphemeralOnLocalSession,
            -121 => Self::NoWatcher,
            -122 => Self::RequestTimeout,
            -123 => Self::ReconfigDisabled,
            -124 => Self::SessionClosedRequireSaslAuth,
            -125 => Self::QuotaExceeded,
            -127 => Self::ThrottledOp,
            _ => return None,
        })
    }

    /// The words `zkCli.sh` and Java exceptions use after `KeeperErrorCode = `.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::SystemError => "SystemError",
            Self::RuntimeInconsistency => "RuntimeInconsistency",
            Self::DataInconsistency => "DataInconsistency",
            Self::ConnectionLoss => "ConnectionLoss",
            Self::MarshallingError => "MarshallingError",
            Self::Unimplemented => "Unimplemented",
            Self::OperationTimeout => "OperationTimeout",
            Self::BadArguments => "BadArguments",
            Self::UnknownSession => "UnknownSession",
            Self::NewConfigNoQuorum => "NewConfigNoQuorum",
            Self::ReconfigInProgress => "ReconfigInProgress",
            Self::ApiError => "APIError",
            Self::NoNode => "NoNode",
            Self::NoAuth => "NoAuth",
            Self::BadVersion => "BadVersion",
            Self::NoChildrenForEphemerals => "NoChildrenForEphemerals",
            Self::NodeExists => "NodeExists",
            Self::NotEmpty => "Directory not empty",
            Self::SessionExpired => "Session expired",
            Self::InvalidCallback => "Invalid callback",
            Self::InvalidAcl => "InvalidACL",
            Self::AuthFailed => "AuthFailed",
            Self::SessionMoved => "Session moved",
            Self::NotReadOnly => "Not a read-only call",
            Self::EphemeralOnLocalSession => "Ephemeral node on local session",
            Self::NoWatcher => "No such watcher",
            Self::RequestTimeout => "Request timeout",
            Self::ReconfigDisabled => "Reconfig is disabled",
            Self::SessionClosedRequireSaslAuth => "Session closed because client failed to authenticate",
            Self::QuotaExceeded => "Quota has exceeded",
            Self::ThrottledOp => "Op throttled due to high load",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_leads_back_to_its_error() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::from_code(-999), None);
    }
}
