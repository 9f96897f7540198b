//! ApiVersions 0–4 (KIP-35, KIP-511): what this broker serves.
//!
//! A version beyond 4 is answered in version 0 with UNSUPPORTED_VERSION and our own range, so that newer clients can
//! step down. From version 3 on the client names itself; a malformed name is INVALID_REQUEST. No features: those are KRaft's.

use std::sync::Arc;

use kafka_proto::error::ErrorCode;
use kafka_proto::messages::ApiKey;
use kafka_proto::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

use super::{Outcome, Refused, SERVED, Served, encode_as};
use crate::broker::Broker;
use crate::context::RequestContext;

pub async fn handle(
    _broker: &Arc<Broker>,
    ctx: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if ctx.version >= 3
        && !(is_software_word(&request.client_software_name)
            && is_software_word(&request.client_software_version))
    {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    ApiVersionsResponse { api_keys: SERVED.iter().map(row).collect(), ..Default::default() }
}

/// The answer to a version nobody knows here.
pub fn unsupported_version(ctx: &RequestContext) -> Result<Outcome, Refused> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: Served::find(ApiKey::ApiVersions).map(row).into_iter().collect(),
        ..Default::default()
    };
    encode_as(&response, ctx, 0)
}

fn row(served: &Served) -> ApiVersion {
    ApiVersion { api_key: served.api.code(), min_version: served.min, max_version: served.max }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as `ApiVersionsRequest.isValid` has it.
fn is_software_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| inner(*b))
}

#[cfg(test)]
mod tests {
    use super::is_software_word;

    #[test]
    fn software_names_are_words() {
        for (text, good) in [
            ("apache-kafka-java", true),
            ("3.9.1", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a b", false),
            ("a.", false),
        ] {
            assert_eq!(is_software_word(text), good, "{text}");
        }
    }
}
