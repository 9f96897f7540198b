//! Putting a rewritten segment in the place of those it was made of.
//!
//! Once its files are called `.swap` it counts: opening the log completes the swap. Until then it does not.

use crate::disk;
use crate::error::Result;
use crate::log::Log;
use crate::names::{
    CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_file,
};

use super::plan::{CleaningPlan, SourceSegment};
use super::rewrite::Rewritten;

const SUFFIXES: [&str; 4] = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];

impl Log {
    /// Replaces `sources`; says no, and throws the rewritten files away, if they are not there any more as planned.
    pub(crate) fn swap_in(
        &mut self,
        plan: &CleaningPlan,
        sources: &[SourceSegment],
        rewritten: Rewritten,
        now_ms: i64,
    ) -> Result<bool> {
        let dir = plan.place.dir.clone();
        let file = |suffix: &str, state: &str| {
            disk::with_suffix(&segment_file(&dir, rewritten.base_offset, suffix), state)
        };
        let unchanged = !self.is_offline()
            && self.dir() == dir
            && self.holds_segments(sources.iter().map(|s| (s.base_offset, s.size)));
        if !unchanged {
            for suffix in SUFFIXES {
                disk::remove_if_exists(&file(suffix, CLEANED_SUFFIX))?;
            }
            return Ok(false);
        }
        // The log file last: only when it is called `.swap` are all the others, too.
        for suffix in SUFFIXES.iter().rev() {
            disk::rename_if_exists(&file(suffix, CLEANED_SUFFIX), &file(suffix, SWAP_SUFFIX))?;
        }
        disk::sync_dir(&dir)?;
        self.take_out_segments(sources.iter().map(|s| s.base_offset), now_ms)?;
        for suffix in SUFFIXES {
            disk::rename_if_exists(
                &file(suffix, SWAP_SUFFIX),
                &segment_file(&dir, rewritten.base_offset, suffix),
            )?;
        }
        disk::sync_dir(&dir)?;
        self.put_in_segment(rewritten.base_offset, rewritten.size, now_ms)?;
        Ok(true)
    }
}
