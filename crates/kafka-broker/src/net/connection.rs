//! One client's connection: a frame, its reply, the next frame.
//!
//! Requests of one connection are served one after the other and answered in order (KAFKA-6028 and the Java client
//! rely on it); clients that pipeline find their next frames waiting in the socket. Ends by the client, by the idle
//! sweep, by shutdown, or by bytes that are no request, with one log line that names who and why.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tracing::{debug, error, warn};

use super::limits::Registered;
use super::{FrameError, FrameReader, send, sniff};
use crate::api::{self, Outcome};
use crate::broker::Broker;
use crate::context::ConnectionContext;

/// A client's connection and all that belongs to it.
pub struct Connection {
    stream: TcpStream,
    reader: FrameReader,
    context: ConnectionContext,
    broker: Arc<Broker>,
    registered: Registered,
}

/// What a connection was told while it waited.
enum Wait<T> {
    Done(T),
    Close,
}

impl Connection {
    pub fn new(stream: TcpStream, peer: SocketAddr, listener: Arc<str>, broker: Arc<Broker>, registered: Registered) -> Self {
        let reader = FrameReader::new(broker.config.network.request_bytes_max);
        let context = ConnectionContext::new(registered.entry.id, peer, listener);
        Self { stream, reader, context, broker, registered }
    }

    /// Serves the connection to its end; a panic ends this connection only.
    pub async fn run_caught(self) {
        let (peer, listener) = (self.context.peer, self.context.listener.clone());
        if let Err(panic) = (CatchPanic { future: Box::pin(self.run()) }).await {
            error!("closing connection of {peer} on {listener}: its request hit a bug in the broker: {}", panic_text(&*panic));
        }
    }

    async fn run(mut self) {
        let entry = self.registered.entry.clone();
        let mut wake = pin!(entry.wake.notified());
        loop {
            let frame = loop {
                tokio::select! {
                    biased;
                    frame = self.reader.next(&mut self.stream) => break frame,
                    () = &mut wake => {
                        wake.set(entry.wake.notified());
                        if entry.must_close() {
                            return;
                        }
                        self.reader.shrink();
                    }
                }
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return self.log_frame_error(&error),
            };
            entry.set_busy(true);
            let outcome = api::serve(&self.broker, &mut self.context, frame).await;
            entry.touch(self.broker.connections.now_ms());
            entry.set_busy(false);
            match outcome {
                Outcome::Send(reply) => match Self::or_close(send(&self.stream, reply), &mut wake, &entry).await {
                    Wait::Done(Ok(())) => {}
                    Wait::Done(Err(error)) => {
                        debug!("connection of {} ended while its reply was sent: {error}", self.context.peer);
                        return;
                    }
                    Wait::Close => return,
                },
                Outcome::Silent => {}
                Outcome::Close(reason) => {
                    if !self.broker.connections.may_complain(self.context.peer.ip()) {
                        return;
                    }
                    warn!("closing connection of {} on {} (client id {:?}): {reason}", self.context.peer, self.context.listener, self.context.client_id());
                    return;
                }
            }
            if entry.must_close() {
                return;
            }
            entry.touch(self.broker.connections.now_ms());
        }
    }

    /// Waits for `future`, unless the connection is told to end: a client that does not read its reply must not stay.
    async fn or_close<'e, T>(
        future: impl Future<Output = T>,
        wake: &mut Pin<&mut Notified<'e>>,
        entry: &'e super::limits::Entry,
    ) -> Wait<T> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                done = &mut future => return Wait::Done(done),
                () = &mut *wake => {
                    wake.set(entry.wake.notified());
                    if entry.must_close() {
                        return Wait::Close;
                    }
                }
            }
        }
    }

    fn log_frame_error(&self, error: &FrameError) {
        let (peer, listener) = (self.context.peer, &self.context.listener);
        match error {
            // Resets and timeouts are how clients die.
            FrameError::Io(error) => debug!("connection of {peer} on {listener} ended: {error}"),
            _ if !self.broker.connections.may_complain(peer.ip()) => {}
            FrameError::TooLarge { start, .. } | FrameError::Negative { start, .. } => {
                let guess = sniff::guess(start).unwrap_or("the peer does not speak Kafka's protocol, or its request exceeds socket.request.max.bytes");
                warn!("closing connection of {peer} on {listener}: {error}: {guess}");
            }
            FrameError::Truncated { .. } => warn!("connection of {peer} on {listener}: {error}"),
        }
    }
}

/// Turns a panic of a future into an error.
struct CatchPanic<F> {
    future: Pin<Box<F>>,
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic the future is never polled again; locks it held do not poison (parking_lot).
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
