//! What every request to a cluster goes through: the credential of the moment, whom it acts as, and
//! a deadline until the answer begins.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use tower_service::Service;

use super::Connection;
use super::paced::Paced;
use crate::http::retry_after;
use crate::secret::words;

/// See [user impersonation](https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation).
const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// A watch is silent for a minute, then comes a bookmark, unless its kind has none.
const WATCH_SILENCE: Duration = Duration::from_secs(75);

/// The largest answer: a page of a hundred objects that are as large as any. Of a watch only its events are bounded.
const ANSWER_MAX: u64 = 256 << 20;

/// The largest refusal.
const REFUSAL_MAX: u64 = 1 << 20;

/// What is shown of a refusal.
const WORDS: usize = 300;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request got no answer of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// More came than any answer has.
    #[error("its answer is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// There is no credential to ask with.
    #[error("it cannot be connected to: {0}")]
    Credential(String),
    /// A credential that was just read is not accepted.
    #[error(
        "it does not accept our credential (401): log in again, or name another user in the kubeconfig"
    )]
    Refused,
    /// It asks to come again later.
    #[error("it is busy ({status}): {said}")]
    Busy {
        /// What it answered.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// What it said.
        said: String,
    },
}

/// See the module.
#[derive(Clone)]
pub(super) struct Door {
    connection: Arc<Connection>,
    acts_as: Option<HeaderValue>,
}

impl Door {
    pub(super) fn new(connection: Arc<Connection>, acts_as: Option<HeaderValue>) -> Self {
        Self {
            connection,
            acts_as,
        }
    }

    async fn pass(self, mut request: Request<Body>) -> Result<Response<Paced>, BoxError> {
        if let Some(user) = self.acts_as {
            request.headers_mut().insert(IMPERSONATE, user);
        }
        let timeout = self.connection.access.timeout;
        let again = again(&mut request);
        let watches = is_watch(&request);
        let silence = match watches {
            true => WATCH_SILENCE.max(timeout),
            false => timeout,
        };
        let mut answer = self.connection.ask(request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(again) = again
        {
            answer = self.connection.ask(again).await?;
        }
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(Trouble::Refused.into()),
            StatusCode::TOO_MANY_REQUESTS => Err(busy(answer, timeout).await.into()),
            status if status.is_server_error() && answer.headers().contains_key(RETRY_AFTER) => {
                Err(busy(answer, timeout).await.into())
            }
            status => {
                let most = match (status.is_success(), watches) {
                    (true, true) => u64::MAX,
                    (true, false) => ANSWER_MAX,
                    (false, _) => REFUSAL_MAX,
                };
                Ok(answer.map(|body| Paced::new(body, silence, most)))
            }
        }
    }
}

impl Connection {
    /// One request with the credential of the moment.
    async fn ask(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let made = self.made().await?;
        let timeout = self.access.timeout;
        let answer = tokio::time::timeout(timeout, made.client.send(request)).await;
        let answer = answer.map_err(|_| Trouble::Silent(timeout))??;
        self.hear(answer.headers().get(http::header::DATE));
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.refused(made.number).await;
        }
        Ok(answer)
    }
}

impl Service<Request<Body>> for Door {
    type Response = Response<Paced>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().pass(request))
    }
}

/// The same request once more.
fn again(request: &mut Request<Body>) -> Option<Request<Body>> {
    let mut again = Request::new(request.body().try_clone()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "watch=true")
}

async fn busy(answer: Response<Body>, timeout: Duration) -> Trouble {
    let status = answer.status().as_u16();
    let retry_after = retry_after(answer.headers());
    let most = usize::try_from(REFUSAL_MAX).unwrap_or(usize::MAX);
    let body = Limited::new(answer.into_body(), most).collect();
    let body = tokio::time::timeout(timeout, body).await;
    let body = body
        .ok()
        .and_then(Result::ok)
        .map(|it| it.to_bytes())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let said = serde_json::from_str::<kube::core::Status>(&text).map(|status| status.message);
    let said = said.unwrap_or_else(|_| text.into_owned());
    Trouble::Busy {
        status,
        retry_after,
        said: words(&said, WORDS),
    }
}
