//! An answer that must go on, and come to an end: one that is silent for too long, or has more than it may, ends
//! with an error.

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
    /// The most bytes it may have, and how many of them are left.
    most: u64,
    left: u64,
    patience: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(body: Body, silence: Duration, most: u64) -> Self {
        Self {
            body,
            silence,
            most,
            left: most,
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
            let data = frame.as_ref().and_then(|it| it.as_ref().ok()?.data_ref());
            match this
                .left
                .checked_sub(data.map_or(0, |data| data.len() as u64))
            {
                Some(left) => this.left = left,
                None => return Poll::Ready(Some(Err(Trouble::TooLarge(this.most).into()))),
            }
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_ends_where_it_has_more_than_it_may() {
        for (most, whole) in [(11, true), (10, false), (0, false)] {
            let body = Body::from(b"hello world".to_vec());
            let paced = Paced::new(body, Duration::from_secs(60), most);
            let read = paced.collect().await;
            match whole {
                true => assert_eq!(read.unwrap().to_bytes(), "hello world"),
                false => {
                    let error = read.unwrap_err().to_string();
                    assert_eq!(error, "its answer is larger than 0 MiB");
                }
            }
        }
    }
}
