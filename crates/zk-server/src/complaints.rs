//! Warnings about clients, kept from flooding the log: the first ones in full, then a count.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::net::SocketAddr;

/// Lines in one window.
const LINES_MAX: u32 = 20;

/// Length of a window.
const WINDOW_MS: u64 = 60_000;

/// What was said in the present window.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    window_end_ms: Cell<u64>,
    said: Cell<u32>,
    unsaid: Cell<u64>,
    last: RefCell<String>,
}

impl Complaints {
    /// Warns that a connection is closed, or counts it.
    pub(crate) fn closing(&self, now_ms: u64, peer: SocketAddr, reason: &dyn Display) {
        self.say(now_ms, peer, format_args!("closing a connection: {reason}"));
    }

    /// Warns of what a client did on a connection that goes on, or counts it.
    pub(crate) fn keeping(&self, now_ms: u64, peer: SocketAddr, what: &str) {
        self.say(now_ms, peer, format_args!("{what}; the connection is kept"));
    }

    fn say(&self, now_ms: u64, peer: SocketAddr, what: std::fmt::Arguments<'_>) {
        self.roll(now_ms);
        if self.said.get() < LINES_MAX {
            self.said.set(self.said.get() + 1);
            tracing::warn!(%peer, "{what}");
        } else {
            self.unsaid.set(self.unsaid.get() + 1);
            *self.last.borrow_mut() = format!("{peer}: {what}");
        }
    }

    /// Ends a window that is over, telling what was only counted in it.
    pub(crate) fn roll(&self, now_ms: u64) {
        if now_ms < self.window_end_ms.get() {
            return;
        }
        let unsaid = self.unsaid.replace(0);
        if unsaid > 0 {
            tracing::warn!(count = unsaid, last = %self.last.borrow(), "more connections misbehaved within a minute");
        }
        self.said.set(0);
        self.window_end_ms.set(now_ms + WINDOW_MS);
    }

    #[cfg(test)]
    fn counts(&self) -> (u32, u64) {
        (self.said.get(), self.unsaid.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_minute_speaks_again() {
        let complaints = Complaints::default();
        let peer = SocketAddr::from(([10, 0, 0, 1], 1));
        for _ in 0..100 {
            complaints.closing(5, peer, &"too many");
        }
        assert_eq!(complaints.counts(), (LINES_MAX, 80));
        complaints.closing(5 + WINDOW_MS, peer, &"too many");
        assert_eq!(complaints.counts(), (1, 0));
    }
}
