//! Brokers by way of ZooKeeper, for tools that 0.8 gave a `--zookeeper` option.

use kafka_controller::zkdata::{BrokerRegistration, path};
use zk_client::{ConnectOptions, ErrorCode, ZkClient};

use crate::ToolError;

/// How long to look for a server before saying that there is none.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// `host:port,…` of the registered brokers' PLAINTEXT listeners.
pub async fn find(hosts: &str) -> Result<String, ToolError> {
    let options = ConnectOptions::new(hosts).connect_timeout_ms(CONNECT_TIMEOUT_MS);
    let (zk, _events) = ZkClient::connect(options).await.map_err(ToolError::failed)?;
    let ids = match zk.get_children(path::BROKER_IDS, false).await {
        Err(error) if error.is(ErrorCode::NoNode) => Vec::new(),
        other => other.map_err(ToolError::failed)?,
    };
    let reads: Vec<_> =
        ids.iter().map(|id| zk.get_data(&format!("{}/{id}", path::BROKER_IDS), false)).collect();
    let mut servers = Vec::new();
    for read in reads {
        match read.await {
            Ok((data, _)) => servers.extend(plaintext(&data.unwrap_or_default())?),
            // It has just gone.
            Err(error) if error.is(ErrorCode::NoNode) => {}
            Err(error) => return Err(ToolError::failed(error)),
        }
    }
    // The session would expire by itself; nothing was written.
    let _ = zk.close().await;
    if servers.is_empty() {
        return Err(ToolError::Failed(format!(
            "no broker with a PLAINTEXT listener is registered in ZooKeeper at {hosts}: is one running, and is its \
             chroot in the address?"
        )));
    }
    servers.sort();
    Ok(servers.join(","))
}

fn plaintext(data: &[u8]) -> Result<Option<String>, ToolError> {
    let broker = BrokerRegistration::decode(data).map_err(ToolError::failed)?;
    let endpoint = broker.endpoints.into_iter().find(|e| e.security_protocol == "PLAINTEXT");
    Ok(endpoint.map(|e| match e.host.contains(':') {
        true => format!("[{}]:{}", e.host, e.port),
        false => format!("{}:{}", e.host, e.port),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plaintext_listener_is_taken() {
        let registered = |json: &str| plaintext(json.as_bytes()).expect("decodes");
        let both = r#"{"listener_security_protocol_map":{"OUT":"SSL","IN":"PLAINTEXT"},
            "endpoints":["OUT://h:1","IN://::1:2"],"version":5}"#
            .replace("::1:2", "[::1]:2");
        assert_eq!(registered(&both).as_deref(), Some("[::1]:2"));
        let old = r#"{"host":"h","port":9092,"version":1}"#;
        assert_eq!(registered(old).as_deref(), Some("h:9092"));
        let sealed =
            r#"{"listener_security_protocol_map":{"OUT":"SSL"},"endpoints":["OUT://h:1"],"version":5}"#;
        assert_eq!(registered(sealed), None);
    }
}
