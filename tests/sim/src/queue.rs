//! Virtual time: events in order of (time, sequence).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A queue of events; those of one millisecond come in the order they were put in.
pub struct Queue<E> {
    now_ms: u64,
    next: u64,
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now_ms: 0, next: 0, heap: BinaryHeap::new(), events: BTreeMap::new() }
    }
}

impl<E> Queue<E> {
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn at(&mut self, time_ms: u64, event: E) {
        let time_ms = time_ms.max(self.now_ms);
        self.heap.push(Reverse((time_ms, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    pub fn after(&mut self, delay_ms: u64, event: E) {
        self.at(self.now_ms + delay_ms, event);
    }

    /// The next event not later than `end_ms`; the clock goes to it, or to the end.
    pub fn pop(&mut self, end_ms: u64) -> Option<E> {
        match self.heap.peek() {
            Some(Reverse((time_ms, _))) if *time_ms <= end_ms => {
                let Reverse((time_ms, seq)) = self.heap.pop()?;
                self.now_ms = time_ms;
                self.events.remove(&seq)
            }
            _ => {
                self.now_ms = end_ms;
                None
            }
        }
    }

    /// Events put in so far.
    pub fn count(&self) -> u64 {
        self.next
    }
}
