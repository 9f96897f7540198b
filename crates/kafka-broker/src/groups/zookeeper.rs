//! Offsets of consumers from before 0.9, in `/consumers/<group>/offsets/<topic>/<partition>` (OffsetCommit and
//! OffsetFetch 0). Nothing is shared with `__consumer_offsets`.

use bytes::Bytes;
use kafka_proto::ErrorCode;
use tracing::warn;
use zk_client::{CreateMode, ZkClient, ZkError, open_acl};

/// Writes an offset, creating the path where it is missing.
pub async fn store_legacy_offset(
    zk: &ZkClient,
    group: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<(), ErrorCode> {
    let path = offset_path(group, topic, partition);
    let data = Some(Bytes::from(offset.to_string()));
    let stored = match zk.set_data(&path, data.clone(), -1).await {
        Err(error) if error.is(zk_client::ErrorCode::NoNode) => create_with_parents(zk, &path, data).await,
        other => other.map(drop),
    };
    stored.map_err(|error| refusal(&path, &error))
}

/// Reads an offset; `None` if there is none.
pub async fn fetch_legacy_offset(
    zk: &ZkClient,
    group: &str,
    topic: &str,
    partition: i32,
) -> Result<Option<i64>, ErrorCode> {
    let path = offset_path(group, topic, partition);
    let data = match zk.get_data(&path, false).await {
        Ok((data, _)) => data,
        Err(error) if error.is(zk_client::ErrorCode::NoNode) => None,
        Err(error) => return Err(refusal(&path, &error)),
    };
    let Some(data) = data else { return Ok(None) };
    let offset = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
    if offset.is_none() {
        warn!(
            "{path} holds no offset but {:?}; it is reported as an error to its consumer",
            String::from_utf8_lossy(&data)
        );
    }
    offset.map(Some).ok_or(ErrorCode::UnknownServerError)
}

fn offset_path(group: &str, topic: &str, partition: i32) -> String {
    format!("/consumers/{group}/offsets/{topic}/{partition}")
}

async fn create_with_parents(zk: &ZkClient, path: &str, data: Option<Bytes>) -> Result<(), ZkError> {
    let parents =
        path.char_indices().skip(1).filter(|(_, character)| *character == '/').map(|(end, _)| &path[..end]);
    for parent in parents {
        match zk.create(parent, None, open_acl(), CreateMode::Persistent).await {
            Err(error) if !error.is(zk_client::ErrorCode::NodeExists) => return Err(error),
            _ => {}
        }
    }
    match zk.create(path, data.clone(), open_acl(), CreateMode::Persistent).await {
        // Somebody was faster: the later word counts.
        Err(error) if error.is(zk_client::ErrorCode::NodeExists) => {
            zk.set_data(path, data, -1).await.map(drop)
        }
        other => other.map(drop),
    }
}

fn refusal(path: &str, error: &ZkError) -> ErrorCode {
    warn!("{path} cannot be read or written: {error}");
    ErrorCode::UnknownServerError
}
