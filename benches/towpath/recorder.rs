//! A proxy in front of the git server that keeps the body of every push, so that the very same
//! requests can be made again without Towpath, and the moment of every answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures_util::{Stream, stream};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use towpath::clock;

const PUSH: &str = "/git-receive-pack";

/// What the git server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// What its refs are, or objects.
    Look,
    /// To take records.
    Records,
    /// To take something else.
    Push,
}

pub(crate) struct Recorder {
    address: SocketAddr,
    client: reqwest::Client,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    pushes: Mutex<Vec<Bytes>>,
    answers: Mutex<Vec<(Timestamp, Asked)>>,
}

impl Recorder {
    /// Stands in front of the server at this address (`http://127.0.0.1:1234`).
    pub(crate) async fn start(target: &str, client: &reqwest::Client) -> Result<Self> {
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            client: client.clone(),
            pushes: Mutex::default(),
            answers: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // What comes piece by piece goes on so: waiting for more to send would cost 40 ms each.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = Router::new().fallback(pass).with_state(shared.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self {
            address,
            client: client.clone(),
            shared,
        })
    }

    pub(crate) fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}.git", self.address)
    }

    /// The bodies of the pushes since the last time.
    pub(crate) fn take(&self) -> Vec<Bytes> {
        let mut pushes = self
            .shared
            .pushes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pushes)
    }

    /// What was answered since the last time, and when.
    pub(crate) fn take_answers(&self) -> Vec<(Timestamp, Asked)> {
        let answers = self.shared.answers.lock();
        std::mem::take(&mut *answers.unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a recorded push again, bare, against another repository. Gives how long it took.
    pub(crate) async fn replay(&self, repository: &str, body: Bytes) -> Result<Duration> {
        let url = format!("{}{PUSH}", self.url(repository));
        let start = Instant::now();
        let response = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/x-git-receive-pack-request")
            .body(body)
            .send()
            .await?;
        let report = response.bytes().await?;
        let took = start.elapsed();
        let report = String::from_utf8_lossy(&report);
        ensure!(
            report.contains("unpack ok") && !report.contains("ng refs/"),
            "the push made again is refused: {report}"
        );
        // What is replayed is no push of Towpath's.
        self.take();
        Ok(took)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match forward(&shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn forward(shared: &Arc<Shared>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().context("no path")?;
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    let asked = match parts.uri.path().ends_with(PUSH) {
        true if names_records(&body) => Asked::Records,
        true => Asked::Push,
        false => Asked::Look,
    };
    if asked != Asked::Look {
        let mut pushes = shared.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.push(body.clone());
    }
    let mut headers = parts.headers;
    for hop in ["host", "content-length", "transfer-encoding"] {
        headers.remove(hop);
    }
    let answer = shared
        .client
        .request(parts.method, format!("{}{path}", shared.target))
        .headers(headers)
        .body(body)
        .send()
        .await?;
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let passing = Passing {
        answer: Some(answer),
        asked,
        noted: false,
        shared: shared.clone(),
    };
    let mut response = Response::new(Body::from_stream(passing.stream()));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// An answer on its way through.
struct Passing {
    answer: Option<reqwest::Response>,
    asked: Asked,
    noted: bool,
    shared: Arc<Shared>,
}

impl Passing {
    /// Its pieces as they come. A push is answered with its report, which is the first of them: what the
    /// server does then, nobody waits for.
    fn stream(self) -> impl Stream<Item = reqwest::Result<Bytes>> {
        stream::unfold(self, |mut passing| async {
            let chunk = passing.answer.as_mut()?.chunk().await.transpose();
            if chunk.is_none() || passing.asked != Asked::Look {
                passing.note();
            }
            if !matches!(chunk, Some(Ok(_))) {
                passing.answer = None;
            }
            chunk.map(|chunk| (chunk, passing))
        })
    }

    fn note(&mut self) {
        if !std::mem::replace(&mut self.noted, true) {
            let answers = self.shared.answers.lock();
            let mut answers = answers.unwrap_or_else(PoisonError::into_inner);
            answers.push((clock::now(), self.asked));
        }
    }
}

/// Whether a push moves records: its commands stand before the pack, in clear text.
fn names_records(push: &[u8]) -> bool {
    let pack = push.windows(4).position(|it| it == b"PACK");
    let commands = &push[..pack.unwrap_or(push.len())];
    commands.windows(11).any(|it| it == b"refs/notes/")
}
