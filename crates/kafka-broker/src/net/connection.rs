//! One client's connection: a frame, its reply, the next frame.
//!
//! Requests of one connection are served one after the other and answered in order, as Kafka's clients rely on; replies to
//! requests that were read together are sent together, unless one of them has to wait. Ends by the client, by the idle
//! sweep, by shutdown, or by bytes that are no request, with one log line that names who and why.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tracing::{debug, error, warn};

use super::heavy::{HEAVY_FRAME_BYTES, InPlace};
use super::limits::{Entry, Registered};
use super::outbox::Outbox;
use super::{FrameError, FrameReader, sniff};
use crate::api::{self, Outcome, Refused};
use crate::broker::Broker;
use crate::context::ConnectionContext;

/// A client's connection and all that belongs to it.
pub struct Connection {
    stream: TcpStream,
    reader: FrameReader,
    outbox: Outbox,
    context: ConnectionContext,
    broker: Arc<Broker>,
    registered: Registered,
}

/// How a connection ends.
enum End {
    /// The client is done, or was told to be.
    Quiet,
    /// The socket failed: how clients die.
    Socket(std::io::Error),
    /// What it sent is no frame.
    Frame(FrameError),
    /// What it sent is no request, or one that ends the connection.
    Refused(Refused),
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Socket(error),
            error => Self::Frame(error),
        }
    }
}

impl Connection {
    pub fn new(
        stream: TcpStream,
        peer: SocketAddr,
        listener: Arc<str>,
        broker: Arc<Broker>,
        registered: Registered,
    ) -> Self {
        let reader = FrameReader::new(broker.config.network.request_bytes_max);
        let context = ConnectionContext::new(registered.entry.id, peer, listener);
        Self { stream, reader, outbox: Outbox::default(), context, broker, registered }
    }

    /// Serves the connection to its end; a panic ends this connection only.
    pub async fn run_caught(self) {
        let (peer, listener) = (self.context.peer, self.context.listener.clone());
        if let Err(panic) = (CatchPanic { future: Box::pin(self.run()) }).await {
            error!(
                "closing connection of {peer} on {listener}: its request hit a bug in the broker: {}",
                panic_text(&*panic)
            );
        }
    }

    async fn run(mut self) {
        let entry = self.registered.entry.clone();
        let wake = pin!(entry.wake.notified());
        let mut orders = Orders { entry: &entry, wake };
        let end = loop {
            if let Err(end) = self.serve_one(&mut orders).await {
                break end;
            }
        };
        // What was answered before the end still reaches a client that listens.
        let _ = orders.unless_closed(self.outbox.send(&self.stream)).await;
        self.log(&end);
    }

    async fn serve_one(&mut self, orders: &mut Orders<'_, '_>) -> Result<(), End> {
        let read_ahead = if self.outbox.is_full() { None } else { self.reader.buffered()? };
        let frame = match read_ahead {
            Some(frame) => frame,
            None => self.next_frame(orders).await?,
        };
        orders.entry.set_busy(true);
        let outcome = self.answer(frame).await;
        orders.entry.set_busy(false);
        match outcome? {
            Outcome::Send(reply) => self.outbox.put(reply),
            Outcome::Silent => {}
            Outcome::Close(reason) => return Err(End::Refused(reason)),
        }
        if orders.entry.must_close() { Err(End::Quiet) } else { Ok(()) }
    }

    /// Sends what is answered and waits for more.
    async fn next_frame(&mut self, orders: &mut Orders<'_, '_>) -> Result<Bytes, End> {
        orders.unless_closed(self.outbox.send(&self.stream)).await?.map_err(End::Socket)?;
        orders.entry.touch(self.broker.connections.now_ms());
        loop {
            tokio::select! {
                biased;
                frame = self.reader.next(&mut self.stream) => return frame?.ok_or(End::Quiet),
                () = &mut orders.wake => {
                    orders.look()?;
                    self.reader.shrink();
                }
            }
        }
    }

    /// Serves one request. If it has to wait, earlier replies do not wait with it.
    async fn answer(&mut self, frame: Bytes) -> Result<Outcome, End> {
        if frame.len() > HEAVY_FRAME_BYTES {
            return self.answer_heavy(frame).await;
        }
        let mut serving = pin!(api::serve(&self.broker, &mut self.context, frame));
        if let Some(outcome) = poll_once(serving.as_mut()).await {
            return Ok(outcome);
        }
        self.outbox.send(&self.stream).await.map_err(End::Socket)?;
        Ok(serving.await)
    }

    /// As `answer`, for a request that may take seconds to compute.
    async fn answer_heavy(&mut self, frame: Bytes) -> Result<Outcome, End> {
        self.outbox.send(&self.stream).await.map_err(End::Socket)?;
        let turn = self.broker.connections.heavy.take().await.ok_or(End::Quiet)?;
        let serving = pin!(api::serve(&self.broker, &mut self.context, frame));
        let mut serving = InPlace(serving);
        let first = poll_once(Pin::new(&mut serving)).await;
        drop(turn);
        match first {
            Some(outcome) => Ok(outcome),
            None => Ok(serving.await),
        }
    }

    fn log(&self, end: &End) {
        let (peer, listener) = (self.context.peer, &self.context.listener);
        match end {
            End::Quiet => {}
            End::Socket(error) => debug!("connection of {peer} on {listener} ended: {error}"),
            _ if !self.broker.connections.may_complain(peer.ip()) => {}
            End::Frame(error @ (FrameError::TooLarge { start, .. } | FrameError::Negative { start, .. })) => {
                let guess = sniff::guess(start).unwrap_or("the peer does not speak Kafka's protocol, or its request exceeds socket.request.max.bytes");
                warn!("closing connection of {peer} on {listener}: {error}: {guess}");
            }
            End::Frame(error) => warn!("connection of {peer} on {listener}: {error}"),
            End::Refused(reason) => {
                warn!(
                    "closing connection of {peer} on {listener} (client id {:?}): {reason}",
                    self.context.client_id()
                );
            }
        }
    }
}

/// What the connection is told from outside while it waits: to give its buffer back, or to end.
struct Orders<'p, 'e> {
    entry: &'e Entry,
    wake: Pin<&'p mut Notified<'e>>,
}

impl Orders<'_, '_> {
    /// Listens again after an order; an error if it was to end.
    fn look(&mut self) -> Result<(), End> {
        self.wake.set(self.entry.wake.notified());
        if self.entry.must_close() { Err(End::Quiet) } else { Ok(()) }
    }

    /// Waits for `future` unless the connection is to end: a client that does not read its replies must not stay.
    async fn unless_closed<T>(&mut self, future: impl Future<Output = T>) -> Result<T, End> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                () = &mut self.wake => self.look()?,
            }
        }
    }
}

/// Polls `future` once: `None` if it has to wait.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
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
