//! Producer ids, handed out from blocks that are reserved in `/latest_producer_id_block`.
//!
//! An id is never given twice: a block is used only after the znode says that it is ours (compare-and-set by version),
//! and what is left of it at a stop is lost.

use bytes::Bytes;
use kafka_controller::zkdata::{ProducerIdBlock, path};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::info;
use zk_client::{ErrorCode, ZkError};

use crate::broker::Broker;

/// Brokers that race for blocks; each loss means that another broker got one.
const ATTEMPTS_MAX: usize = 100;

/// Why there is no id.
#[derive(Debug, Error)]
pub enum ProducerIdError {
    #[error("cannot reserve a block of producer ids in /latest_producer_id_block: {0}")]
    ZooKeeper(#[from] ZkError),
    #[error("/latest_producer_id_block cannot be used: {0}")]
    Data(String),
    #[error("other brokers took every block for {ATTEMPTS_MAX} attempts")]
    Contention,
}

/// The current block.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// (next id, last id of the block).
    block: Mutex<Option<(i64, i64)>>,
}

impl ProducerIds {
    /// A fresh id.
    pub async fn next(&self, broker: &Broker) -> Result<i64, ProducerIdError> {
        let mut block = self.block.lock().await;
        let (next, last) = match *block {
            Some((next, last)) if next <= last => (next, last),
            _ => reserve(broker).await?,
        };
        *block = Some((next + 1, last));
        Ok(next)
    }
}

async fn reserve(broker: &Broker) -> Result<(i64, i64), ProducerIdError> {
    let zk = broker.zk();
    for _ in 0..ATTEMPTS_MAX {
        let (data, stat) = zk.get_data(path::PRODUCER_ID_BLOCK, false).await?;
        let latest = match data.as_deref() {
            None | Some([]) => None,
            Some(data) => {
                Some(ProducerIdBlock::decode(data).map_err(|e| ProducerIdError::Data(e.to_string()))?)
            }
        };
        let block = ProducerIdBlock::next(latest.as_ref(), broker.id)
            .ok_or_else(|| ProducerIdError::Data("all producer ids are used up".to_owned()))?;
        match zk.set_data(path::PRODUCER_ID_BLOCK, Some(Bytes::from(block.encode())), stat.version).await {
            Ok(_) => {
                info!("acquired new producerId block {} to {}", block.start, block.end);
                return Ok((block.start, block.end));
            }
            Err(error) if error.is(ErrorCode::BadVersion) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ProducerIdError::Contention)
}
