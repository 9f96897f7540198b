//! Clients that get through fail-overs.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use testkit::ensemble_config::SUPER_AUTH;
use zk_client::{ConnectOptions, CreateMode, ErrorCode, Events, ZkClient, ZkError, open_acl};

/// Longer than anything an ensemble needs to have a leader again.
pub const SESSION_MS: i32 = 30_000;

/// How long a request may be tried again.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn connect(hosts: &str) -> Result<(ZkClient, Events)> {
    let options = ConnectOptions::new(hosts).session_timeout_ms(SESSION_MS).connect_timeout_ms(60_000);
    Ok(ZkClient::connect(options).await?)
}

/// A super user's session: sees and may do everything.
pub async fn connect_super(hosts: &str) -> Result<ZkClient> {
    let mut options = ConnectOptions::new(hosts).session_timeout_ms(SESSION_MS).connect_timeout_ms(60_000);
    options.auth.push(("digest".into(), Bytes::from_static(SUPER_AUTH.as_bytes())));
    Ok(ZkClient::connect(options).await?.0)
}

/// Asks again as long as the connection is lost in between. Only for what may be done twice.
pub async fn again<T, F>(mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, ZkError>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(ZkError::ConnectionLoss) if Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => bail!(error),
            Ok(done) => return Ok(done),
        }
    }
}

/// Makes a persistent node; it may be there already.
pub async fn make(zk: &ZkClient, path: &str) -> Result<()> {
    again(|| async {
        match zk.create(path, None, open_acl(), CreateMode::Persistent).await {
            Err(e) if e.is(ErrorCode::NodeExists) => Ok(()),
            other => other.map(drop),
        }
    })
    .await
}
