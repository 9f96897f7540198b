//! How a client behaves.

use std::time::Duration;

/// Settings of a [`crate::KafkaClient`]; the defaults are those of the original's admin client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `host:port` of some brokers; the first that answers names the others.
    pub bootstrap: Vec<String>,
    /// Shown in the brokers' logs and used for their quotas (`client.id`).
    pub client_id: String,
    /// For one connection attempt to one host.
    pub connect_timeout: Duration,
    /// For one request on a connection (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// For a whole admin operation with its retries (`default.api.timeout.ms`).
    pub operation_timeout: Duration,
    /// Attempts after the first (`retries`, which the original does not bound; the deadline does).
    pub retries: u32,
    /// Pause before the first retry; it doubles up to a second (`retry.backoff.ms`).
    pub retry_backoff: Duration,
    /// The largest response taken.
    pub response_bytes_max: usize,
}

impl ClientOptions {
    /// The defaults, for a comma-separated list of brokers as tools take it. A missing port means 9092.
    pub fn new(bootstrap: &str) -> Self {
        let hosts = bootstrap.split(',').map(str::trim).filter(|h| !h.is_empty());
        Self {
            bootstrap: hosts.map(with_port).collect(),
            client_id: "zoolog".into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(60),
            retries: 20,
            retry_backoff: Duration::from_millis(100),
            response_bytes_max: 100 << 20,
        }
    }
}

fn with_port(host: &str) -> String {
    // A listener name in front ("PLAINTEXT://host:9092") is what people copy from advertised.listeners.
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    let is_bare_ipv6 = host.matches(':').count() > 1 && !host.contains(']');
    if is_bare_ipv6 {
        return format!("[{host}]:9092");
    }
    let after_bracket = host.rsplit(']').next().unwrap_or(host);
    if after_bracket.contains(':') {
        return host.into();
    }
    format!("{host}:9092")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_lists() {
        let check = |text: &str, expect: &[&str]| {
            assert_eq!(ClientOptions::new(text).bootstrap, expect, "{text}");
        };
        check("a:1, b:2,", &["a:1", "b:2"]);
        check("localhost", &["localhost:9092"]);
        check("PLAINTEXT://h:9093", &["h:9093"]);
        check("[::1]:9092", &["[::1]:9092"]);
        check("[::1]", &["[::1]:9092"]);
        check("::1", &["[::1]:9092"]);
    }
}
