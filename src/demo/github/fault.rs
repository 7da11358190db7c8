//! What can go wrong between a client and the site, on demand.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::stream;

/// Which requests meet a fault, and how many of them.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The method; any where it is empty.
    pub method: &'static str,
    /// Requests whose path contains this.
    pub path: String,
    /// How many of them; then the site is well again.
    pub times: usize,
    /// What happens to them.
    pub fault: Fault,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer; nothing is done.
    Answer {
        /// The HTTP status.
        status: u16,
        /// Name and value of headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// No answer at all; nothing is done.
    Hang,
    /// Everything is done, and the connection breaks before the answer.
    Lost,
    /// Everything is done, and the connection breaks in the middle of the answer.
    Cut,
    /// Everything is done, and the answer's bytes come one by one, this far apart.
    Drip(Duration),
}

impl Fault {
    /// The answer instead of doing anything; none where it is done first.
    pub(super) async fn instead(&self) -> Option<Response> {
        match self {
            Self::Answer {
                status,
                headers,
                body,
            } => {
                let mut response = Response::new(Body::from(body.clone()));
                *response.status_mut() = StatusCode::from_u16(*status).unwrap_or_default();
                for (name, value) in headers {
                    if let Ok(value) = HeaderValue::from_str(value) {
                        let name = HeaderName::from_static(name);
                        response.headers_mut().insert(name, value);
                    }
                }
                Some(response)
            }
            Self::Hang => std::future::pending().await,
            Self::Lost | Self::Cut | Self::Drip(_) => None,
        }
    }

    /// What becomes of the answer to what was done.
    pub(super) fn spoil(&self, head: Response, body: Bytes) -> Response {
        let (head, _) = head.into_parts();
        let body = match self {
            Self::Lost => broken(Bytes::new()),
            Self::Cut => broken(body.slice(..body.len() / 2)),
            Self::Drip(apart) => drip(body, *apart),
            Self::Answer { .. } | Self::Hang => Body::from(body),
        };
        Response::from_parts(head, body)
    }
}

fn broken(sent: Bytes) -> Body {
    let end = io::Error::new(io::ErrorKind::ConnectionReset, "cut on demand");
    Body::from_stream(stream::iter([Ok(sent), Err(end)]))
}

fn drip(body: Bytes, apart: Duration) -> Body {
    Body::from_stream(stream::unfold((body, 0), move |(body, at)| async move {
        if at >= body.len() {
            return None;
        }
        tokio::time::sleep(apart).await;
        let byte = body.slice(at..=at);
        Some((Ok::<_, io::Error>(byte), (body, at + 1)))
    }))
}
