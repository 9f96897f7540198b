//! Waiting for a partition to move, without a lock held and on any executor.
//!
//! A waiter counts down: a fetch that still needs n bytes gives one waiter, worth n, to each of its partitions, and every
//! append takes its bytes off; a produce waits for one event. At zero the waiter's future completes. Waking early is
//! harmless (the caller looks again), waking never is not: register first, look second, wait third.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// A countdown that wakes one task.
#[derive(Debug)]
pub struct Waiter {
    left: AtomicI64,
    abandoned: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Waiter {
    /// Wakes once `amount` (bytes, or 1 for an event) has been counted.
    pub fn new(amount: i64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicI64::new(amount),
            abandoned: AtomicBool::new(false),
            waker: Mutex::new(None),
        })
    }

    /// Counts `amount`; wakes the task when that was the last of it.
    pub fn count(&self, amount: i64) {
        let before = self.left.fetch_sub(amount, Ordering::AcqRel);
        if before > 0 && before <= amount {
            self.wake();
        }
    }

    /// Wakes the task whatever is left.
    pub fn release(&self) {
        if self.left.swap(0, Ordering::AcqRel) > 0 {
            self.wake();
        }
    }

    /// Completes when the countdown does. One task at a time.
    pub fn wait(&self) -> Wait<'_> {
        Wait { waiter: self }
    }

    /// Tells the partitions that nobody waits any more.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    fn is_finished(&self) -> bool {
        self.left.load(Ordering::Acquire) <= 0 || self.abandoned.load(Ordering::Acquire)
    }

    fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The future of [`Waiter::wait`].
#[derive(Debug)]
pub struct Wait<'a> {
    waiter: &'a Waiter,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.waiter.waker.lock();
        if self.waiter.left.load(Ordering::Acquire) <= 0 {
            return Poll::Ready(());
        }
        // Under the lock `wake` takes: a count between the check and here cannot be missed.
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The waiters of one partition. Finished ones are dropped lazily, so the list stays within twice the live ones.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    waiters: Vec<Arc<Waiter>>,
    purge_at: usize,
}

/// Lists shorter than this are not worth purging.
const PURGE_LENGTH_MIN: usize = 8;

impl Waiters {
    pub fn add(&self, waiter: &Arc<Waiter>) {
        let mut list = self.list.lock();
        if list.waiters.len() >= list.purge_at.max(PURGE_LENGTH_MIN) {
            list.waiters.retain(|w| !w.is_finished());
            list.purge_at = 2 * list.waiters.len();
        }
        list.waiters.push(waiter.clone());
    }

    /// Takes `amount` off every waiter.
    pub fn count(&self, amount: i64) {
        self.each(|waiter| waiter.count(amount));
    }

    /// Wakes all: the partition changed in a way no count expresses.
    pub fn release_all(&self) {
        self.each(Waiter::release);
    }

    fn each(&self, act: impl Fn(&Waiter)) {
        let mut list = self.list.lock();
        if list.waiters.is_empty() {
            return;
        }
        list.waiters.retain(|waiter| {
            act(waiter);
            !waiter.is_finished()
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.list.lock().waiters.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(waiter: &Waiter, counter: &Arc<Counter>) -> bool {
        let waker = Waker::from(counter.clone());
        Pin::new(&mut waiter.wait()).poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn a_waiter_wakes_once_when_everything_is_counted() {
        let (waiters, waiter, counter) =
            (Waiters::default(), Waiter::new(10), Arc::new(Counter(AtomicUsize::new(0))));
        waiters.add(&waiter);
        assert!(!poll(&waiter, &counter));
        waiters.count(9);
        assert_eq!((poll(&waiter, &counter), waiters.len()), (false, 1));
        waiters.count(1);
        assert_eq!((counter.0.load(Ordering::Relaxed), waiters.len()), (1, 0));
        assert!(poll(&waiter, &counter));
        waiter.count(5);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_count_before_the_first_poll_is_not_lost() {
        let (waiter, counter) = (Waiter::new(1), Arc::new(Counter(AtomicUsize::new(0))));
        waiter.release();
        assert!(poll(&waiter, &counter));
    }

    #[test]
    fn abandoned_waiters_do_not_pile_up() {
        let waiters = Waiters::default();
        for _ in 0..1000 {
            let waiter = Waiter::new(1);
            waiters.add(&waiter);
            waiter.abandon();
        }
        assert!(waiters.len() <= PURGE_LENGTH_MIN);
    }
}
