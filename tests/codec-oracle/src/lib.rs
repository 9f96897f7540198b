//! Holds kafka-proto against outside judges.
//!
//! - the schema, walked by `kafka_codegen::sample`, which shares no code with the generated messages;
//! - `kafka-protocol` 0.15.1, another codec of the same protocol. It aborts the process on lying array
//!   lengths, so it is only given bytes that our decoder has accepted;
//! - [`fuzz_one`]: whatever is accepted must encode, and the encoding must be a fixed point.

mod records;

use bytes::{Bytes, BytesMut};
use kafka_codegen::schema::{Kind, Message};
use kafka_proto::frame::RequestHeader;
use kafka_proto::messages::{ApiKey, RequestBody, ResponseBody};
use kafka_proto::wire::{Reader, WireError, Writer};
use kafka_protocol::messages as theirs;

pub use records::{fuzz_records, seeds};

/// The schema the messages were generated from.
pub const SCHEMA: &str = include_str!("../../../crates/kafka-proto/schema/messages.txt");

/// Requests and responses of the schema.
pub fn schema() -> Vec<Message> {
    let mut messages = kafka_codegen::parse::parse(SCHEMA).expect("the checked-in schema is valid");
    messages.retain(|m| matches!(m.kind, Kind::Request | Kind::Response));
    messages
}

/// A request or response in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub api: ApiKey,
    pub version: i16,
    pub response: bool,
}

impl Target {
    pub fn new(message: &Message, version: i16) -> Self {
        let key = message.api.expect("requests and responses have a key");
        Self {
            api: ApiKey::try_from(key).expect("generated from the same schema"),
            version,
            response: message.kind == Kind::Response,
        }
    }

    /// Decodes with our codec and encodes what was decoded. `Ok` has the number of bytes left undecoded.
    pub fn ours(self, body: Bytes) -> Result<(Bytes, usize), WireError> {
        let mut r = Reader::new(body);
        let mut w = Writer::new();
        let (api, version) = (self.api, self.version);
        if self.response {
            ResponseBody::decode(api, &mut r, version)?.encode(&mut w, version)?;
        } else {
            RequestBody::decode(api, &mut r, version)?.encode(&mut w, version)?;
        }
        let bytes = w.finish().to_bytes().expect("decoding yields no files");
        Ok((bytes, r.remaining()))
    }

    /// Whether the other codec knows this API and version.
    pub fn known_to_theirs(self) -> bool {
        theirs::ApiKey::try_from(self.api.code())
            .map(|key| key.valid_versions())
            .is_ok_and(|range| (range.min..=range.max).contains(&self.version))
    }

    /// Decodes with the other codec and encodes what was decoded. Only for bytes ours has accepted.
    pub fn theirs(self, body: Bytes) -> Result<(Bytes, usize), String> {
        let key = theirs::ApiKey::try_from(self.api.code()).map_err(|()| format!("no API {}", self.api))?;
        let mut body = body;
        let mut out = BytesMut::new();
        let text = |e| format!("{e:#}");
        if self.response {
            let decoded = theirs::ResponseKind::decode(key, &mut body, self.version).map_err(text)?;
            decoded.encode(&mut out, self.version).map_err(text)?;
        } else {
            let decoded = theirs::RequestKind::decode(key, &mut body, self.version).map_err(text)?;
            decoded.encode(&mut out, self.version).map_err(text)?;
        }
        Ok((out.freeze(), body.len()))
    }
}

/// Feeds arbitrary bytes to the decoders: the first two choose API, version and direction.
///
/// # Panics
/// When something accepted does not encode, or does not encode to the same bytes a second time.
pub fn fuzz_one(data: &[u8]) {
    let mut header = Reader::new(Bytes::copy_from_slice(data));
    let _ = RequestHeader::decode(&mut header);
    let [api, choice, body @ ..] = data else {
        return;
    };
    let api = ApiKey::ALL[usize::from(*api) % ApiKey::ALL.len()];
    let info = api.info();
    let span = info.max_version - info.min_version + 1;
    let target =
        Target { api, version: info.min_version + i16::from(choice >> 1) % span, response: choice & 1 == 1 };
    check_fixed_point(target, body);
}

/// The bytes that choose `target` for [`fuzz_one`].
pub fn fuzz_prefix(target: Target) -> [u8; 2] {
    let offset = target.version - target.api.info().min_version;
    [target.api.code() as u8, ((offset as u8) << 1) | u8::from(target.response)]
}

fn check_fixed_point(target: Target, body: &[u8]) {
    let first = match target.ours(Bytes::copy_from_slice(body)) {
        Ok((bytes, _)) => bytes,
        // A malformed string grows when it is repaired, and may outgrow its length field.
        Err(WireError::TooLong { .. }) => return,
        Err(e @ (WireError::NotInVersion { .. } | WireError::NullNotAllowed)) => {
            panic!("{target:?} accepted what it cannot write: {e}")
        }
        Err(_) => return,
    };
    match target.ours(first.clone()) {
        Ok((second, rest)) => {
            assert_eq!(rest, 0, "{target:?} left bytes of its own encoding");
            assert_eq!(first, second, "{target:?} is no fixed point");
        }
        // The budget is relative to the frame, and repaired strings or dropped tags change its size.
        Err(WireError::OverBudget { .. }) => {}
        Err(e) => panic!("{target:?} does not read its own encoding: {e}"),
    }
}

/// How much a test does, from the environment.
pub fn runs(variable: &str, default: usize) -> usize {
    let text = std::env::var(variable).unwrap_or_default();
    text.parse().unwrap_or(default)
}

/// The seed of all random choices: fixed, or `CODEC_ORACLE_SEED`.
pub fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(runs("CODEC_ORACLE_SEED", 20_260_101) as u64)
}
