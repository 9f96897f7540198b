//! What can go wrong between us and a cluster.

use std::io;

use kafka_proto::ErrorCode;
use kafka_proto::messages::ApiKey;
use kafka_proto::wire::WireError;

/// A request that got no (good) answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No host could be reached at all.
    #[error("no broker could be reached ({tried}): is one running, and does it listen there?")]
    NoBroker { tried: String },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    /// The connection ended while an answer was awaited.
    #[error("connection to {address} was lost: {reason}")]
    ConnectionLost { address: String, reason: String },
    #[error("{what} took longer than {after_ms} ms")]
    Timeout { what: String, after_ms: u128 },
    /// Client and broker have no version of the API in common.
    #[error("{address} does not serve {api} in a version this client speaks ({detail})")]
    Unsupported { address: String, api: ApiKey, detail: String },
    /// A broker id that the cluster's metadata does not have.
    #[error("no broker with id {0} is alive in the cluster")]
    UnknownBroker(i32),
    /// The cluster answered with an error.
    #[error("{what}: {}", describe(*code, message.as_deref()))]
    Code { what: String, code: ErrorCode, message: Option<String> },
    /// A response that cannot be read, or a request the agreed version cannot carry.
    #[error("{api} version {version}: {source}")]
    Wire { api: ApiKey, version: i16, source: WireError },
}

fn describe(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{message} ({})", code.name()),
        _ => code.name().to_owned(),
    }
}

impl ClientError {
    /// `Ok` for code 0, else the error with what was asked for.
    pub fn check(code: i16, message: Option<&str>, what: impl FnOnce() -> String) -> Result<(), Self> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            code => Err(Self::Code { what: what(), code, message: message.map(str::to_owned) }),
        }
    }

    /// The protocol's error code, if the cluster gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Code { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same may work in a moment, perhaps with another broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Code { code, .. } => code.is_retriable(),
            Self::Connect { .. } | Self::ConnectionLost { .. } | Self::UnknownBroker(_) => true,
            Self::NoBroker { .. } | Self::Timeout { .. } | Self::Unsupported { .. } | Self::Wire { .. } => {
                false
            }
        }
    }
}
