//! Autopurge: old snapshots and the logs only they needed are removed every so many hours.

use std::rc::Rc;
use std::time::Duration;

use crate::server::Server;

/// Runs for ever; the first time at once, as Apache's task does.
pub(crate) async fn purge(server: Rc<Server>) {
    let hours = server.config.purge_interval_hours;
    if hours == 0 {
        return;
    }
    let retain = server.config.snap_retain_count as usize;
    let mut interval = tokio::time::interval(Duration::from_secs(u64::from(hours) * 3600));
    loop {
        interval.tick().await;
        let (data, busy) = (server.data.clone(), server.directory_lock.clone());
        let purged = tokio::task::spawn_blocking(move || {
            let _alone = busy.lock();
            data.purge(retain)
        });
        let purged = purged.await;
        match purged {
            Ok(Ok(removed)) if removed.files.is_empty() => tracing::debug!("autopurge: nothing to remove"),
            Ok(Ok(removed)) => {
                tracing::info!(files = removed.files.len(), bytes = removed.bytes, "autopurge: removed")
            }
            Ok(Err(error)) => tracing::warn!(%error, "autopurge failed; the next one follows"),
            Err(error) => tracing::error!(%error, "autopurge ended unexpectedly"),
        }
    }
}
