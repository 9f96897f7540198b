//! Compaction: of each key only the latest record is kept (`cleanup.policy=compact`).
//!
//! One pass reads the dirty part of a log into a map key → latest offset, then rewrites the segments below it
//! without the records that are outdated, and swaps them in (`.cleaned` → `.swap` → live, so that a crash at any
//! point leaves either the old or the new segments). Offsets never change. Source: `LogCleaner`, `Cleaner`.
//!
//! Kept as they are: batches of magic 0 and 1, control batches, and the last batch of every producer (without its
//! records, if they are outdated), since sequences are checked against it.
//!
//! Tombstones go once the part they lie in was last written `delete.retention.ms` ago, or their batch's own delete
//! horizon has passed (KIP-534, written by Kafka 3.1+).

mod key_map;
mod plan;
mod rewrite;
mod swap;
#[cfg(test)]
mod tests;

use tracing::{debug, error, info};

use crate::checkpoint::{CLEANER_FILE, OffsetCheckpoint};
use crate::error::Result;
use crate::log_dirs::{LogDirs, LogHandle};
use crate::names::TopicPartition;
use key_map::KeyMap;

/// How compaction works, for all topics.
#[derive(Debug, Clone, Copy)]
pub struct CleanerOptions {
    /// Memory for keys in one pass (`log.cleaner.dedupe.buffer.size`).
    pub key_bytes_max: usize,
    /// What one batch may decompress to.
    pub decompressed_bytes_max: usize,
}

impl Default for CleanerOptions {
    fn default() -> Self {
        Self { key_bytes_max: 128 << 20, decompressed_bytes_max: 256 << 20 }
    }
}

/// What a pass over one log did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Everything below has been compacted.
    pub clean_up_to: i64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Compacts one log from `first_dirty` on, as far as memory for keys reaches; `None` if there is nothing to do or
/// the log changed meanwhile.
pub fn clean_log(
    log: &LogHandle,
    first_dirty: i64,
    options: &CleanerOptions,
    now_ms: i64,
) -> Result<Option<Cleaned>> {
    let Some(plan) = log.lock().plan_cleaning(first_dirty, now_ms)? else { return Ok(None) };
    let mut keys = KeyMap::new(options.key_bytes_max);
    let clean_up_to = rewrite::read_keys(&plan, &mut keys, options)?;
    if clean_up_to <= plan.first_dirty {
        return Ok(None);
    }
    let (mut bytes_before, mut bytes_after) = (0, 0);
    for group in plan.groups(clean_up_to) {
        let rewritten = rewrite::rewrite(&plan, group, &keys, options, now_ms)?;
        bytes_before += group.iter().map(|s| s.size).sum::<u64>();
        bytes_after += rewritten.size;
        if !log.lock().swap_in(&plan, group, rewritten, now_ms)? {
            debug!("{}: the log changed while it was compacted; trying again later", plan.name);
            return Ok(None);
        }
    }
    info!("{}: compacted up to offset {clean_up_to}: {bytes_before} bytes became {bytes_after}", plan.name);
    Ok(Some(Cleaned { clean_up_to, bytes_before, bytes_after }))
}

impl LogDirs {
    /// Compacts every log that has grown dirty enough (`log.cleaner.backoff.ms`); returns how many. Logs that fail
    /// are reported and passed over.
    pub fn clean_pass(&self, options: &CleanerOptions, now_ms: i64) -> usize {
        let mut cleaned = 0;
        for description in self.describe() {
            let checkpoint = OffsetCheckpoint::new(&description.path, CLEANER_FILE);
            let compacted: Vec<(TopicPartition, LogHandle)> =
                description.partitions.into_iter().filter(|(_, log)| log.lock().config().compact).collect();
            if compacted.is_empty() {
                continue;
            }
            let mut offsets = checkpoint.read();
            let before = offsets.len();
            offsets.retain(|partition, _| compacted.iter().any(|(p, _)| p == partition));
            let mut changed = offsets.len() != before;
            for (partition, log) in compacted {
                let first_dirty = offsets.get(&partition).copied().unwrap_or(0);
                if !is_dirty_enough(&log, first_dirty, now_ms) {
                    continue;
                }
                match clean_log(&log, first_dirty, options, now_ms) {
                    Ok(Some(done)) => {
                        offsets.insert(partition, done.clean_up_to);
                        (changed, cleaned) = (true, cleaned + 1);
                    }
                    Ok(None) => {}
                    Err(e) => error!("compaction of {partition}: {e}"),
                }
            }
            if changed && let Err(e) = checkpoint.write(offsets.iter().map(|(p, o)| (p, *o))) {
                error!("{e}; logs are compacted again from their start");
            }
        }
        cleaned
    }
}

/// `min.cleanable.dirty.ratio` of bytes is dirty, or `max.compaction.lag.ms` is over for the oldest dirty record.
fn is_dirty_enough(log: &LogHandle, first_dirty: i64, now_ms: i64) -> bool {
    let mut log = log.lock();
    let (ratio_min, lag_max) = (log.config().min_cleanable_dirty_ratio, log.config().max_compaction_lag_ms);
    match log.plan_cleaning(first_dirty, now_ms) {
        Ok(Some(plan)) => plan.dirty_ratio() > ratio_min || plan.lag_ms(now_ms) > lag_max,
        Ok(None) => false,
        Err(e) => {
            error!("compaction of {}: {e}", log.partition());
            false
        }
    }
}
