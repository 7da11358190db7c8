//! What happens between a request and its answer: a client in front of the real one that stops, changes or answers
//! requests as a test says.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Doing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What becomes of a request.
pub(crate) enum Fate {
    /// It is sent, and answered.
    Pass,
    /// This is done first, then it is sent.
    After(Doing),
    /// It is never sent, and nobody answers.
    Lost,
    /// It is sent, and its answer is lost.
    Unheard,
    /// It is answered with this code and body, and never sent.
    Answered(u16, String),
}

type Decide = Box<dyn FnMut(&str) -> Fate + Send>;

/// Decides on each request by its line: `PATCH /api/v1/namespaces/x/configmaps/y?dryRun=All`.
#[derive(Clone)]
pub(crate) struct Between {
    client: Client,
    decide: Arc<Mutex<Decide>>,
}

impl Between {
    /// A client that asks `decide` about each request before it goes on.
    pub(crate) fn client(
        client: Client,
        decide: impl FnMut(&str) -> Fate + Send + 'static,
    ) -> Client {
        let between = Self {
            client,
            decide: Arc::new(Mutex::new(Box::new(decide))),
        };
        Client::new(between, "default")
    }
}

impl Service<Request<Body>> for Between {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let line = format!("{} {}", request.method(), request.uri());
        let fate = (*self.decide.lock().unwrap())(&line);
        let client = self.client.clone();
        Box::pin(async move {
            match fate {
                Fate::Pass => Ok(client.send(request).await?),
                Fate::After(doing) => {
                    doing.await;
                    Ok(client.send(request).await?)
                }
                Fate::Lost => std::future::pending().await,
                Fate::Unheard => {
                    drop(client.send(request).await?);
                    std::future::pending().await
                }
                Fate::Answered(code, body) => {
                    let answer = Response::builder().status(code);
                    Ok(answer.body(Body::from(body.into_bytes()))?)
                }
            }
        })
    }
}
