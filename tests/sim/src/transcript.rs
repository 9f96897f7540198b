//! What happened, for people: the last lines of a run, kept only when it is asked for.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

/// The last lines and a sum of all of them. Cloning shares them, so that they survive the run's panic.
#[derive(Clone, Default)]
pub struct Transcript {
    inner: Arc<Mutex<Inner>>,
    lines_max: usize,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<String>,
    sum: u64,
}

impl Transcript {
    /// Keeps so many lines; 0 keeps none and costs nothing.
    pub fn new(lines_max: usize) -> Self {
        Self { inner: Arc::default(), lines_max }
    }

    pub fn is_on(&self) -> bool {
        self.lines_max > 0
    }

    pub fn line(&self, now_ms: u64, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        if self.lines_max == 0 {
            return;
        }
        let mut text = String::new();
        let _ = write!(text, "{:>7}.{:03} {who:<4} {what}", now_ms / 1000, now_ms % 1000);
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        for byte in text.bytes() {
            inner.sum = inner.sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        if inner.lines.len() == self.lines_max {
            inner.lines.pop_front();
        }
        inner.lines.push_back(text);
    }

    /// Tells two runs apart.
    pub fn sum(&self) -> u64 {
        self.inner.lock().unwrap_or_else(|e| e.into_inner()).sum
    }

    pub fn text(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.lines.iter().fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
    }
}
