//! The broker's background tasks: started, told to stop, waited for.

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Tasks that live as long as the broker.
#[derive(Debug)]
pub struct Tasks {
    stop: watch::Sender<bool>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { stop: watch::Sender::new(false), running: Mutex::default() }
    }
}

/// Completes when the broker stops.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Waits for the stop.
    pub async fn stopped(&mut self) {
        // A dropped sender means the broker is gone: also a stop.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

impl Tasks {
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal(self.stop.subscribe())
    }

    /// Runs `future` until it ends by itself, which it must when the signal comes.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.running.lock().push(tokio::spawn(future));
    }

    /// Keeps a task that is aborted at the stop.
    pub fn spawn_until_stop(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop_signal();
        self.spawn(async move {
            tokio::select! {
                () = future => {}
                () = stop.stopped() => {}
            }
        });
    }

    /// Gives the signal and waits for all.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let running = std::mem::take(&mut *self.running.lock());
        for task in running {
            if let Err(error) = task.await {
                tracing::error!("a background task ended badly: {error}");
            }
        }
    }
}
