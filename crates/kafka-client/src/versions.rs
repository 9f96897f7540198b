//! Which versions a broker serves, and which one a request goes out in.

use std::collections::HashMap;

use kafka_proto::messages::api_versions::ApiVersionsResponse;
use kafka_proto::messages::{ApiKey, Request};

/// The ranges a broker advertised.
#[derive(Debug, Clone, Default)]
pub struct ApiVersions {
    ranges: HashMap<i16, (i16, i16)>,
}

impl ApiVersions {
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let keys = response.api_keys.iter();
        Self { ranges: keys.map(|k| (k.api_key, (k.min_version, k.max_version))).collect() }
    }

    /// Lowest and highest version the broker serves.
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(&api.code()).copied()
    }

    /// The newest version both sides know, or why there is none.
    pub fn pick<R: Request>(&self) -> Result<i16, String> {
        let (ours_min, ours_max) = (R::MIN_VERSION, R::MAX_VERSION);
        let Some((min, max)) = self.range(R::API) else {
            return Err("it does not serve this API at all".into());
        };
        let version = max.min(ours_max);
        if version < min.max(ours_min) {
            return Err(format!("it serves {min} to {max}, this client {ours_min} to {ours_max}"));
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_proto::messages::api_versions::ApiVersion;
    use kafka_proto::messages::heartbeat::HeartbeatRequest;

    /// The newest common version wins; disjoint ranges are refused with both named.
    #[test]
    fn picks_the_newest_common_version() {
        let pick = |min_version, max_version| {
            let key = ApiVersion { api_key: 12, min_version, max_version };
            let response = ApiVersionsResponse { api_keys: vec![key], ..Default::default() };
            ApiVersions::from_response(&response).pick::<HeartbeatRequest>()
        };
        assert_eq!(pick(0, 3), Ok(3));
        assert_eq!(pick(2, 99), Ok(4));
        assert!(pick(5, 6).is_err());
        assert!(ApiVersions::default().pick::<HeartbeatRequest>().is_err());
    }
}
