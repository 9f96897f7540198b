//! What compaction needs to know of a log and do to it.

use std::collections::HashMap;

use super::Log;
use crate::error::Result;
use crate::index::Place;
use crate::segment::Segment;

impl Log {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn active_base_offset(&self) -> i64 {
        self.active().base_offset
    }

    /// Closed segments that lie wholly below an offset.
    pub(crate) fn segments_below(&self, offset: i64) -> impl Iterator<Item = &Segment> {
        let closed = self.segments.len() - 1;
        let ends = self.segments.iter().skip(1).map(|s| s.base_offset);
        self.segments
            .iter()
            .take(closed)
            .zip(ends)
            .filter(move |(_, end)| *end <= offset)
            .map(|(segment, _)| segment)
    }

    pub(crate) fn active_producers_last_offsets(&self) -> HashMap<i64, i64> {
        self.producers.entries().map(|(id, entry)| (id, entry.last_offset())).collect()
    }

    /// Whether these closed segments (base offset, size) are there, next to each other.
    pub(crate) fn holds_segments(&self, expected: impl Iterator<Item = (i64, u64)>) -> bool {
        let mut at = None;
        for (base_offset, size) in expected {
            let index = match at {
                None => self.segments.iter().position(|s| s.base_offset == base_offset),
                Some(at) => Some(at + 1),
            };
            let same = |i: usize| {
                self.segments.get(i).is_some_and(|s| s.base_offset == base_offset && s.size == size)
            };
            match index {
                Some(i) if i + 1 < self.segments.len() && same(i) => at = Some(i),
                _ => return false,
            }
        }
        at.is_some()
    }

    /// Takes closed segments out, their files marked for deletion. The producer snapshot of the first stays: it is
    /// the new segment's.
    pub(crate) fn take_out_segments(&mut self, bases: impl Iterator<Item = i64>, now_ms: i64) -> Result<()> {
        for (i, base_offset) in bases.enumerate() {
            let Some(at) = self.segments.iter().position(|s| s.base_offset == base_offset) else { continue };
            let Some(segment) = self.segments.remove(at) else { continue };
            if i == 0 {
                let paths = segment.mark_deleted(&self.place)?;
                self.remember_deleted(paths, now_ms);
            } else {
                self.mark_segment_deleted(&segment, now_ms)?;
            }
        }
        Ok(())
    }

    /// Puts a closed segment in whose files lie in place.
    pub(crate) fn put_in_segment(&mut self, base_offset: i64, size: u64, now_ms: i64) -> Result<()> {
        let jitter = self.next_jitter();
        let segment = Segment::open(&self.place, base_offset, size, now_ms, jitter)?;
        let at = self.segments.partition_point(|s| s.base_offset < base_offset);
        self.segments.insert(at, segment);
        Ok(())
    }
}
