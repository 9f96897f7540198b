//! Keeps requests that take long to compute from holding up everybody else's.
//!
//! A frame of many megabytes can name millions of partitions, and reading and answering it takes seconds. Such requests
//! are worked on outside the runtime's workers, so that other connections go on, and a few at a time, so that cores and
//! memory are left for them. Only the computing counts: who waits for records or replicas has given the turn back.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};

/// From here on a request is heavy: twice what producers send at most by default (`max.request.size`).
pub const HEAVY_FRAME_BYTES: usize = 2 << 20;

/// Hands out the turns.
#[derive(Debug)]
pub struct HeavyTurns(Semaphore);

impl Default for HeavyTurns {
    /// Half of the cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self(Semaphore::new((cores / 2).max(1)))
    }
}

impl HeavyTurns {
    /// Waits for a turn; `None` once [`HeavyTurns::close`] was called.
    pub async fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }

    /// Sends away who waits.
    pub fn close(&self) {
        self.0.close();
    }
}

/// A future whose every poll may take long: the worker's other tasks move to another thread meanwhile.
pub struct InPlace<'a, F>(pub Pin<&'a mut F>);

impl<F: Future> Future for InPlace<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| self.0.as_mut().poll(cx)),
            // There is no other thread.
            _ => self.0.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// On one worker: a heavy future blocks until another task has run.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_a_heavy_request_is_worked_on() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let heavy = tokio::spawn(async move {
            let work = pin!(async move { receiver.recv().expect("the other task sends") });
            InPlace(work).await
        });
        let other = tokio::spawn(async move { sender.send(7).expect("the heavy one waits") });
        assert_eq!(heavy.await.expect("no panic"), 7);
        other.await.expect("no panic");
    }

    #[tokio::test]
    async fn closing_sends_away_who_waits() {
        let turns = HeavyTurns(Semaphore::new(1));
        let _taken = turns.take().await.expect("the first turn");
        let mut waiting = pin!(turns.take());
        let first = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        assert!(first, "there is one turn");
        turns.close();
        assert!(waiting.await.is_none());
    }
}
