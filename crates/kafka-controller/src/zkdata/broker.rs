//! `/brokers/ids/<id>`: what a broker says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ZkDataError, json, parse};

/// One advertised listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, upper case by convention.
    pub listener: String,
    /// Host as advertised; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: i32,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: String,
}

impl Endpoint {
    fn connection_string(&self) -> String {
        let Endpoint { listener, host, port, .. } = self;
        if host.contains(':') {
            format!("{listener}://[{host}]:{port}")
        } else {
            format!("{listener}://{host}:{port}")
        }
    }

    fn parse(text: &str, protocols: Option<&BTreeMap<String, String>>) -> Option<Endpoint> {
        let (listener, address) = text.split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let security_protocol = match protocols {
            // Before version 4 a listener was named after its protocol.
            None => listener.to_string(),
            Some(map) => map.get(listener)?.clone(),
        };
        Some(Endpoint {
            listener: listener.to_string(),
            host: host.to_string(),
            port: port.parse().ok()?,
            security_protocol,
        })
    }
}

/// Registration of a broker, versions 1 to 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Version of the JSON: 5 for an inter-broker protocol of 2.7 and later, 4 down to 0.10.0, else 2.
    pub version: i32,
    /// Advertised listeners in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// −1 without JMX.
    pub jmx_port: i32,
    /// Supported features: name → {`min_version`, `max_version`}.
    pub features: BTreeMap<String, BTreeMap<String, i16>>,
    /// Milliseconds, when the broker registered.
    pub timestamp_ms: i64,
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a BTreeMap<String, BTreeMap<String, i16>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_security_protocol_map: Option<Protocols<'a>>,
    endpoints: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rack: Option<&'a str>,
    jmx_port: i32,
    port: i32,
    host: Option<&'a str>,
    version: i32,
    timestamp: String,
}

/// The map keeps the listeners' order, as Kafka's small maps do.
struct Protocols<'a>(&'a [Endpoint]);

impl Serialize for Protocols<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|e| (&e.listener, &e.security_protocol)))
    }
}

#[derive(Deserialize)]
struct Read {
    version: i32,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    port: Option<i32>,
    #[serde(default)]
    jmx_port: Option<i32>,
    #[serde(default)]
    timestamp: serde_json::Value,
    #[serde(default)]
    endpoints: Option<Vec<String>>,
    #[serde(default)]
    rack: Option<String>,
    #[serde(default)]
    listener_security_protocol_map: Option<BTreeMap<String, String>>,
    #[serde(default)]
    features: Option<BTreeMap<String, BTreeMap<String, i16>>>,
}

impl BrokerRegistration {
    /// The JSON Kafka writes. Host and port on top are the first PLAINTEXT listener's, for old clients.
    pub fn encode(&self) -> Vec<u8> {
        let plaintext = self.endpoints.iter().find(|e| e.security_protocol == "PLAINTEXT");
        json(&Written {
            features: (self.version >= 5).then_some(&self.features),
            listener_security_protocol_map: (self.version >= 4).then_some(Protocols(&self.endpoints)),
            endpoints: self.endpoints.iter().map(Endpoint::connection_string).collect(),
            rack: self.rack.as_deref().filter(|_| self.version >= 3),
            jmx_port: self.jmx_port,
            port: plaintext.map_or(-1, |e| e.port),
            host: plaintext.map(|e| e.host.as_str()),
            version: self.version,
            timestamp: self.timestamp_ms.to_string(),
        })
    }

    /// Reads any version.
    ///
    /// # Errors
    /// No JSON, a version below 1, or an endpoint that does not parse.
    pub fn decode(data: &[u8]) -> Result<BrokerRegistration, ZkDataError> {
        const WHAT: &str = "broker registration";
        let read: Read = parse(WHAT, data)?;
        if read.version < 1 {
            return Err(ZkDataError::new(WHAT, format!("unsupported version {}", read.version)));
        }
        let endpoints = match (read.endpoints, read.host, read.port) {
            (Some(list), _, _) => list
                .iter()
                .map(|text| {
                    let endpoint = Endpoint::parse(text, read.listener_security_protocol_map.as_ref());
                    endpoint.ok_or_else(|| ZkDataError::new(WHAT, format!("bad endpoint {text:?}")))
                })
                .collect::<Result<_, _>>()?,
            (None, Some(host), Some(port)) => {
                vec![Endpoint {
                    listener: "PLAINTEXT".into(),
                    host,
                    port,
                    security_protocol: "PLAINTEXT".into(),
                }]
            }
            _ => return Err(ZkDataError::new(WHAT, "neither endpoints nor host and port")),
        };
        Ok(BrokerRegistration {
            version: read.version,
            endpoints,
            rack: read.rack,
            jmx_port: read.jmx_port.unwrap_or(-1),
            features: read.features.unwrap_or_default(),
            timestamp_ms: match &read.timestamp {
                serde_json::Value::String(text) => text.parse().unwrap_or(-1),
                other => other.as_i64().unwrap_or(-1),
            },
        })
    }
}
