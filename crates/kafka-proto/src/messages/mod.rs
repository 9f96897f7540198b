//! The messages of the protocol, one module an API, generated from `schema/messages.txt`.
//!
//! ```
//! use kafka_proto::messages::{Message, metadata::MetadataRequest};
//! use kafka_proto::wire::{Reader, Writer};
//!
//! let request = MetadataRequest { topics: None, ..Default::default() };
//! let mut w = Writer::new();
//! request.encode(&mut w, 9)?;
//! let bytes = w.finish().to_bytes().expect("no file in it");
//! assert_eq!(MetadataRequest::decode(&mut Reader::new(bytes), 9)?, request);
//! # Ok::<(), kafka_proto::wire::WireError>(())
//! ```

// Names of the schema decide lines here; the generator lays them out.
#[rustfmt::skip]
#[allow(clippy::all, rust_2018_idioms)]
mod generated;

use crate::wire::{Reader, WireError, Writer};

pub use generated::*;

/// A message as the schema describes it.
pub trait Message: Sized + Default + Clone + PartialEq + std::fmt::Debug {
    const NAME: &'static str;
    const MIN_VERSION: i16;
    const MAX_VERSION: i16;
    /// First version with compact forms and tagged fields; `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads the fields of `version`, which must be a known one: use [`Message::decode`].
    #[doc(hidden)]
    fn read(r: &mut Reader, version: i16) -> Result<Self, WireError>;

    /// Writes the fields of `version`, which must be a known one: use [`Message::encode`].
    #[doc(hidden)]
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), WireError>;

    /// Reads the message; fields the version lacks have their defaults. Unknown tagged fields are
    /// skipped; bytes after the message are left in the reader, the original does not mind them either.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, WireError> {
        Self::check_version(version)?;
        Self::read(r, version)
    }

    /// Writes the message. A field the version lacks must have its default, unless the schema
    /// says that it may be dropped.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), WireError> {
        Self::check_version(version)?;
        self.write(w, version)
    }

    /// Whether the schema has this version.
    fn check_version(version: i16) -> Result<(), WireError> {
        if (Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {
            return Ok(());
        }
        Err(WireError::UnsupportedVersion {
            message: Self::NAME,
            version,
            min: Self::MIN_VERSION,
            max: Self::MAX_VERSION,
        })
    }
}

/// A request and the response that answers it.
pub trait Request: Message {
    const API: ApiKey;
    type Response: Message;
}

/// What the schema says about an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiInfo {
    /// As in the protocol documentation: `Produce`, `ListOffsets`.
    pub name: &'static str,
    pub min_version: i16,
    pub max_version: i16,
    pub flexible_from: Option<i16>,
    /// The newest version was not final in Kafka 3.9.
    pub latest_unstable: bool,
}

impl ApiInfo {
    const fn new(
        name: &'static str,
        min_version: i16,
        max_version: i16,
        flexible_from: Option<i16>,
        latest_unstable: bool,
    ) -> Self {
        Self { name, min_version, max_version, flexible_from, latest_unstable }
    }
}

impl ApiKey {
    /// The key on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether the schema has this version.
    pub fn has_version(self, version: i16) -> bool {
        let info = self.info();
        (info.min_version..=info.max_version).contains(&version)
    }

    /// Whether a version has compact forms and tagged fields. Also says so for versions beyond the
    /// known ones, whose headers must still be read to answer them.
    pub fn is_flexible(self, version: i16) -> bool {
        self.info().flexible_from.is_some_and(|from| version >= from)
    }

    /// Version of the header before a request.
    pub fn request_header_version(self, version: i16) -> i16 {
        match self {
            Self::ControlledShutdown if version == 0 => 0,
            _ if self.is_flexible(version) => 2,
            _ => 1,
        }
    }

    /// Version of the header before a response. ApiVersions always answers with header 0, so that a client
    /// that asked in a version we do not know can read the answer (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            _ => i16::from(self.is_flexible(version)),
        }
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are dense and in order, so the table can be indexed by them.
    #[test]
    fn keys_index_the_table() {
        for (i, api) in ApiKey::ALL.iter().enumerate() {
            assert_eq!(api.code() as usize, i);
            assert_eq!(ApiKey::try_from(i as i16), Ok(*api));
        }
        assert_eq!(ApiKey::Fetch.name(), "Fetch");
        assert_eq!(ApiKey::try_from(-1), Err(WireError::UnknownApi(-1)));
        assert_eq!(ApiKey::try_from(999), Err(WireError::UnknownApi(999)));
    }

    /// Header versions follow flexibility, with the two exceptions of the protocol.
    #[test]
    fn header_versions() {
        let check = |api: ApiKey, version, request, response| {
            assert_eq!(api.request_header_version(version), request, "{api} {version}");
            assert_eq!(api.response_header_version(version), response, "{api} {version}");
        };
        check(ApiKey::ControlledShutdown, 0, 0, 0);
        check(ApiKey::ControlledShutdown, 1, 1, 0);
        check(ApiKey::ControlledShutdown, 3, 2, 1);
        check(ApiKey::ApiVersions, 2, 1, 0);
        check(ApiKey::ApiVersions, 3, 2, 0);
        check(ApiKey::ApiVersions, 99, 2, 0);
        check(ApiKey::SaslHandshake, 1, 1, 0);
        check(ApiKey::Produce, 8, 1, 0);
        check(ApiKey::Produce, 9, 2, 1);
    }
}
