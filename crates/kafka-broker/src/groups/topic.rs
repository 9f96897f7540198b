//! `__consumer_offsets` comes into being when somebody first looks for a coordinator.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::OFFSETS_TOPIC;
use crate::broker::Broker;
use crate::topics;

/// Clients ask again ten times a second; the log explains a failure at most this often.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// One attempt at a time, and none soon after a failed one.
#[derive(Debug, Default)]
pub(super) struct Creation {
    failed_at: Mutex<Option<Instant>>,
}

impl Creation {
    /// Whether the topic exists, after creating it if need be. What stands in the way is logged with the
    /// key to set.
    pub async fn ensure(&self, broker: &Arc<Broker>) -> bool {
        let exists = || broker.image().topic(OFFSETS_TOPIC).is_some();
        if exists() {
            return true;
        }
        let mut failed_at = self.failed_at.lock().await;
        if exists() {
            return true;
        }
        if failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return false;
        }
        let errors = topics::auto_create(broker, vec![OFFSETS_TOPIC.to_owned()]).await;
        *failed_at = (!errors.is_empty()).then(Instant::now);
        exists()
    }
}
