//! What every request to GitHub goes through: the one HTTP client, the credential of the moment, what is known
//! of earlier answers, and the budget. Nothing is tried a second time here.

mod budget;
mod kept;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use octocrab::OctoBody;
use tower_service::Service;
use url::Url;

pub use budget::Budget;
use kept::Kept;

use super::access::Access;
use crate::http::{Unread, body, retry_after};

/// See [API versions](https://docs.github.com/en/rest/about-the-rest-api/api-versions).
const VERSION: (HeaderName, &str) = (
    HeaderName::from_static("x-github-api-version"),
    "2022-11-28",
);

/// The largest answer that is read: a page of 100 requests with long texts has less.
const ANSWER_MAX: usize = 16 << 20;

/// An answer that drips in slowly ends all the same.
const DEADLINE: Duration = Duration::from_secs(120);

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Not now: a cut connection, 5xx, or a limit.
    #[error("{detail}")]
    Later {
        /// What was seen.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// There is no credential, or it is not accepted.
    #[error("{0}")]
    Credential(String),
}

/// See the module.
#[derive(Clone)]
pub(super) struct Door {
    client: reqwest::Client,
    api: Url,
    access: Arc<Access>,
    budget: Arc<Budget>,
    kept: Arc<Kept>,
    scopes: Arc<Mutex<Option<BTreeSet<String>>>>,
}

impl Door {
    pub(super) fn new(
        client: reqwest::Client,
        api: Url,
        access: Arc<Access>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            client,
            api,
            access,
            budget,
            kept: Arc::default(),
            scopes: Arc::default(),
        }
    }

    /// Who we are.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// What the last answer said that our token may do: only classic ones are told
    /// ([scopes](https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps)).
    pub(super) fn scopes(&self) -> Option<BTreeSet<String>> {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.clone()
    }

    fn hear_scopes(&self, headers: &HeaderMap) {
        let told = headers.get("x-oauth-scopes");
        let scopes = told.and_then(|it| it.to_str().ok()).map(|told| {
            let words = told.split(',').map(|it| it.trim().to_owned());
            words.filter(|it| !it.is_empty()).collect()
        });
        *self.scopes.lock().unwrap_or_else(PoisonError::into_inner) = scopes;
    }

    async fn pass(self, request: Request<OctoBody>) -> Result<Response<Full<Bytes>>, BoxError> {
        let asked = tokio::time::timeout(DEADLINE, self.ask(request)).await;
        let late = || Trouble::Later {
            detail: format!("no answer within {} s", DEADLINE.as_secs()),
            retry_after: None,
        };
        asked.map_err(|_| late())?
    }

    async fn ask(self, request: Request<OctoBody>) -> Result<Response<Full<Bytes>>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let url = self.url(parts.uri.path_and_query().map_or("/", |it| it.as_str()))?;
        let reads = parts.method == Method::GET;
        let _turn = self
            .budget
            .admit(reads, is_patient(parts.uri.path()))
            .await?;
        let (token, mut number) = self.access.token().await?;
        let known = reads.then(|| self.kept.of(url.as_str())).flatten();
        let send = |token: &HeaderValue| {
            let mut asking = self
                .client
                .request(parts.method.clone(), url.clone())
                .headers(parts.headers.clone())
                .header(ACCEPT, "application/vnd.github+json")
                .header(VERSION.0, VERSION.1)
                .header(AUTHORIZATION, token.clone())
                .body(body.clone());
            if let Some(known) = &known {
                asking = asking.header(IF_NONE_MATCH, known.tag.clone());
            }
            asking.send()
        };
        let meter = self.budget.meter();
        let send = |token: HeaderValue| {
            let sent = send(&token);
            let url = &url;
            async move {
                let answer = sent.await;
                match &answer {
                    Ok(answer) => meter.answered(url, answer.status(), answer.headers()),
                    Err(_) => meter.failed(url),
                }
                answer.map_err(|error| cut(&error))
            }
        };
        let mut answer = send(token).await?;
        // A token that expired a moment early, or was rotated: what was not let in changed nothing.
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some((token, newer)) = self.access.another(number).await?
        {
            number = newer;
            answer = send(token).await?;
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        self.budget.hear(&headers);
        self.hear_scopes(&headers);
        if status == StatusCode::NOT_MODIFIED
            && let Some(known) = known
        {
            return Ok(response(StatusCode::OK, known.body));
        }
        let body = read(answer).await?;
        match status {
            StatusCode::UNAUTHORIZED => {
                self.access.refused(number);
                Err(
                    Trouble::Credential(format!("it does not accept {} (401)", self.access.name()))
                        .into(),
                )
            }
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
                if let Some(limited) = self.budget.limited(status, &headers, &body) =>
            {
                Err(limited.into())
            }
            status if status.is_server_error() => Err(Trouble::Later {
                detail: format!("{status}"),
                retry_after: retry_after(&headers),
            }
            .into()),
            status => {
                if let (true, Some(tag)) = (reads && status.is_success(), headers.get(ETAG)) {
                    self.kept.keep(url.as_str(), tag.clone(), body.clone());
                }
                Ok(response(status, body))
            }
        }
    }

    /// GitHub Enterprise has the API in folders of its host, GraphQL beside REST.
    fn url(&self, path: &str) -> Result<Url, BoxError> {
        let base = self.api.as_str().trim_end_matches('/');
        let base = match path {
            "/graphql" => base.strip_suffix("/v3").unwrap_or(base),
            _ => base,
        };
        Ok(format!("{base}{path}").parse()?)
    }
}

impl Service<Request<OctoBody>> for Door {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        Box::pin(self.clone().pass(request))
    }
}

/// Whether nothing goes on by it: what is only shown waits when the budget runs low.
fn is_patient(path: &str) -> bool {
    path.contains("/statuses/") || path.contains("/deployments")
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

async fn read(answer: reqwest::Response) -> Result<Bytes, Trouble> {
    let body = body(answer, ANSWER_MAX).await;
    body.map_err(|unread| match unread {
        Unread::Cut(error) => cut(&error),
        Unread::TooLarge => Trouble::Later {
            detail: format!("its answer is larger than {} MiB", ANSWER_MAX >> 20),
            retry_after: None,
        },
    })
}

/// A connection that could not be made, or broke. The address is named by whoever tells of it.
fn cut(error: &reqwest::Error) -> Trouble {
    let mut detail = String::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = next {
        if !detail.is_empty() {
            detail.push_str(": ");
        }
        detail.push_str(&error.to_string());
        next = error.source();
    }
    if error.is_timeout() || detail.is_empty() {
        detail = match error.is_timeout() {
            true => "it is silent".to_owned(),
            false => "the connection broke".to_owned(),
        };
    }
    Trouble::Later {
        detail,
        retry_after: None,
    }
}
