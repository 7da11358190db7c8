//! An answer that must go on: one that is silent for too long ends with an error.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use kube::client::Body;
use tokio::time::{Instant, Sleep};

use super::Trouble;

/// See the module.
pub(super) struct Paced {
    body: Body,
    silence: Duration,
    patience: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(body: Body, silence: Duration) -> Self {
        Self {
            body,
            silence,
            patience: Box::pin(tokio::time::sleep(silence)),
        }
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.patience.as_mut().reset(Instant::now() + this.silence);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match this.patience.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Trouble::Silent(this.silence).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
