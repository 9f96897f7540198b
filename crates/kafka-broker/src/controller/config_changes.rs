//! `/config/changes`: which configurations changed (`ZkNodeChangeNotificationListener`).
//!
//! Every broker reads the notifications it has not seen, in their order, and applies the entity's current configuration;
//! whoever reads them removes those older than 15 minutes. Only topics have dynamic configurations here so far; changes
//! of brokers, clients and users are named and left.

use std::sync::Arc;

use kafka_controller::zkdata::{ConfigChange, path};
use tracing::{info, warn};
use zk_client::{ErrorCode, ZkClient, ZkError};

use crate::broker::Broker;
use crate::{clock, startup};

/// `ZkNodeChangeNotificationListener.changeExpirationMs`.
const EXPIRATION_MS: i64 = 15 * 60 * 1000;
const PREFIX: &str = "config_change_";

/// What has been read.
#[derive(Debug, Default)]
pub struct ConfigChanges {
    last_seen: Option<i64>,
}

impl ConfigChanges {
    /// Reads what is new and leaves a watch.
    pub async fn watch(&mut self, broker: &Arc<Broker>) {
        if let Err(error) = self.read(broker).await {
            // The watch of the next session, or the next change, makes good for it.
            warn!("cannot read {}: {error}", path::CONFIG_CHANGES);
        }
    }

    async fn read(&mut self, broker: &Arc<Broker>) -> Result<(), ZkError> {
        let zk = broker.zk();
        let names = zk.get_children(path::CONFIG_CHANGES, true).await?;
        let mut changes: Vec<(i64, String)> =
            names.into_iter().filter_map(|name| Some((sequence(&name)?, name))).collect();
        changes.sort_unstable();
        for (sequence, name) in changes {
            if self.last_seen.is_none_or(|last| sequence > last) {
                self.apply(broker, &zk, &name).await?;
                self.last_seen = Some(sequence);
            } else {
                purge_if_old(&zk, &name).await?;
            }
        }
        Ok(())
    }

    async fn apply(&self, broker: &Arc<Broker>, zk: &ZkClient, name: &str) -> Result<(), ZkError> {
        let (data, _) = match zk.get_data(&format!("{}/{name}", path::CONFIG_CHANGES), false).await {
            Ok(read) => read,
            Err(error) if error.is(ErrorCode::NoNode) => return Ok(()),
            Err(error) => return Err(error),
        };
        let change = match ConfigChange::decode(data.as_deref().unwrap_or_default()) {
            Ok(change) => change,
            Err(error) => {
                warn!("{}/{name}: {error}", path::CONFIG_CHANGES);
                return Ok(());
            }
        };
        match change.entity() {
            Some(("topics", topic)) => apply_topic(broker, zk, topic).await,
            _ => {
                warn!(
                    "configuration of {} changed, which is not honoured yet; only topics' are",
                    change.entity_path
                );
                Ok(())
            }
        }
    }
}

/// Gives the topic's logs their current configuration.
pub async fn apply_topic(broker: &Arc<Broker>, zk: &ZkClient, topic: &str) -> Result<(), ZkError> {
    let partitions = broker.partitions.of_topic(topic);
    if partitions.is_empty() {
        return Ok(());
    }
    let data = match zk.get_data(&path::config("topics", topic), false).await {
        Ok((data, _)) => data,
        Err(error) if error.is(ErrorCode::NoNode) => None,
        Err(error) => return Err(error),
    };
    let config = startup::topic_config(topic, data.as_deref(), &broker.config.topic_defaults);
    if *partitions[0].config() != *config {
        info!("Processing override for entityPath: topics/{topic}");
    }
    partitions.iter().for_each(|partition| partition.log().lock().set_config(config.clone()));
    Ok(())
}

async fn purge_if_old(zk: &ZkClient, name: &str) -> Result<(), ZkError> {
    let node = format!("{}/{name}", path::CONFIG_CHANGES);
    let Some(stat) = zk.exists(&node, false).await? else { return Ok(()) };
    if clock::wall_ms().saturating_sub(stat.ctime_ms) < EXPIRATION_MS {
        return Ok(());
    }
    match zk.delete(&node, -1).await {
        Err(error) if error.is(ErrorCode::NoNode) => Ok(()),
        other => other,
    }
}

fn sequence(name: &str) -> Option<i64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}
