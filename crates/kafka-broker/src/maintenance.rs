//! What happens by itself: retention, deletion, compaction, flushing, checkpoints, expiry of producers and idle connections.
//!
//! Passes over the logs block on the disk and run on the blocking pool, one of a kind at a time; a pass that takes longer
//! than its interval delays the next.

use std::sync::Arc;
use std::time::Duration;

use kafka_log::{CleanerOptions, LogDirs};
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::error;

use crate::broker::Broker;
use crate::clock;

/// How often flushes that are due are looked for; `flush.ms` is not finer than this.
const FLUSH_CHECK_MS_MAX: u64 = 1000;
/// How often files whose deletion delay is over are looked for.
const DELETE_CHECK_MS: u64 = 15_000;
/// How often idle connections are looked for.
const IDLE_CHECK_MS: u64 = 2_000;
/// A connection quiet for this long gives its large buffer back.
const QUIET_MS: u64 = 10_000;

/// Starts all of it.
pub fn start(broker: &Arc<Broker>) {
    let logs = &broker.config.logs;
    let delay = logs.initial_task_delay_ms;
    every(broker, delay, logs.retention_check_ms, |logs, now| {
        logs.retention_pass(now);
    });
    every(broker, delay, DELETE_CHECK_MS, LogDirs::delete_pass);
    if let Some(cleaner) = logs.cleaner {
        let options = CleanerOptions { key_bytes_max: cleaner.key_bytes_max, ..CleanerOptions::default() };
        every(broker, cleaner.backoff_ms, cleaner.backoff_ms, move |logs, now| {
            logs.clean_pass(&options, now);
        });
    }
    every(broker, 1000, logs.flush_scheduler_ms.min(FLUSH_CHECK_MS_MAX), LogDirs::flush_pass);
    let producer_ids = logs.producer_id_expiration_check_ms;
    every(broker, producer_ids, producer_ids, LogDirs::expire_producers);
    every(broker, delay, logs.recovery_point_checkpoint_ms, |logs, _| {
        report(logs.checkpoint_recovery_points())
    });
    every(broker, delay, logs.start_offset_checkpoint_ms, |logs, _| report(logs.checkpoint_log_starts()));
    let high_watermarks = logs.high_watermark_checkpoint_ms;
    every(broker, high_watermarks, high_watermarks, |logs, _| report(logs.checkpoint_high_watermarks()));
    sweep_connections(broker);
}

fn report(outcome: kafka_log::Result<()>) {
    if let Err(failure) = outcome {
        error!("a checkpoint was not written: {failure}");
    }
}

fn every(
    broker: &Arc<Broker>,
    delay_ms: u64,
    period_ms: u64,
    pass: impl Fn(&LogDirs, i64) + Clone + Send + 'static,
) {
    let logs = broker.logs.clone();
    let mut ticks = ticks(delay_ms, period_ms);
    let mut stop = broker.tasks.stop_signal();
    // A pass under way is waited for: the logs must not be closed beneath it.
    broker.tasks.spawn(async move {
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.stopped() => return,
            }
            let (logs, pass) = (logs.clone(), pass.clone());
            if let Err(failure) = tokio::task::spawn_blocking(move || pass(&logs, clock::wall_ms())).await {
                error!("maintenance of the logs failed unexpectedly: {failure}");
            }
        }
    });
}

fn sweep_connections(broker: &Arc<Broker>) {
    let connections = broker.connections.clone();
    let mut ticks = ticks(IDLE_CHECK_MS, IDLE_CHECK_MS);
    broker.tasks.spawn_until_stop(async move {
        loop {
            ticks.tick().await;
            connections.sweep(QUIET_MS);
        }
    });
}

fn ticks(delay_ms: u64, period_ms: u64) -> tokio::time::Interval {
    // Periods of "for ever" (Long.MAX) must not overflow the clock.
    let bounded = |ms: u64| Duration::from_millis(ms.clamp(1, 365 * 24 * 3_600_000));
    let mut ticks = interval_at(tokio::time::Instant::now() + bounded(delay_ms), bounded(period_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
