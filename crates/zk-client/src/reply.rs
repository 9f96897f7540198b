//! The future of a reply.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use zk_proto::Response;

use crate::error::{Result, ZkError};

/// Resolves to a request's outcome. The request was queued when this was made: dropping it takes nothing back.
#[must_use = "the request is on its way, but its outcome is not looked at"]
#[derive(Debug)]
pub struct Reply<R> {
    state: State,
    convert: fn(Response) -> Option<R>,
}

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<Result<Response>>),
    /// Refused at the call; `None` once told.
    Refused(Option<ZkError>),
}

impl<R> Reply<R> {
    pub(crate) fn waiting(
        receiver: oneshot::Receiver<Result<Response>>,
        convert: fn(Response) -> Option<R>,
    ) -> Self {
        Self { state: State::Waiting(receiver), convert }
    }

    pub(crate) fn refused(error: ZkError, convert: fn(Response) -> Option<R>) -> Self {
        Self { state: State::Refused(Some(error)), convert }
    }
}

impl<R> Future for Reply<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let convert = self.convert;
        match &mut self.state {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(ZkError::Closed))),
            State::Waiting(receiver) => Pin::new(receiver).poll(cx).map(|outcome| {
                // A sender dropped without a word means that the client's task is gone.
                let response = outcome.unwrap_or(Err(ZkError::Closed))?;
                convert(response).ok_or_else(|| ZkError::Protocol("the reply has another shape".into()))
            }),
        }
    }
}
