//! What can go wrong between a client and a git server, on demand.

use std::io;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::cgi::Backend;

/// The largest response that is held back to be cut.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// One request that goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer with this status, these headers and this text; git never sees the request.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// The connection is cut once that many bytes of the request were read; git never sees it.
    CutRequest(usize),
    /// git does all its work; the connection is cut after that many bytes of the response.
    CutResponse(usize),
    /// Silence, until the server stops.
    Stall,
}

impl Fault {
    pub(super) async fn strike(self, backend: Backend, request: Request) -> io::Result<Response> {
        match self {
            Self::Status(status, headers, text) => {
                let mut response = Response::new(Body::from(text));
                *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
                let plain = [("content-type", "text/plain".to_owned())];
                for (name, value) in plain.into_iter().chain(headers) {
                    let value = HeaderValue::from_str(&value).map_err(io::Error::other)?;
                    response
                        .headers_mut()
                        .insert(HeaderName::from_static(name), value);
                }
                Ok(response)
            }
            Self::CutRequest(bytes) => {
                let mut body = request.into_body().into_data_stream();
                let mut read = 0;
                while read < bytes
                    && let Some(Ok(chunk)) = body.next().await
                {
                    read += chunk.len();
                }
                Ok(cut(Response::new(Body::empty()), Bytes::new()))
            }
            Self::CutResponse(bytes) => {
                let (head, body) = backend.run(request).await?.into_parts();
                let body = axum::body::to_bytes(body, RESPONSE_BYTES_MAX)
                    .await
                    .map_err(io::Error::other)?;
                let sent = body.slice(..bytes.min(body.len()));
                Ok(cut(Response::from_parts(head, Body::empty()), sent))
            }
            Self::Stall => std::future::pending().await,
        }
    }
}

/// A response that breaks off after these bytes.
fn cut(mut response: Response, sent: Bytes) -> Response {
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut on demand");
    *response.body_mut() = Body::from_stream(stream::iter([Ok(sent), Err(broken)]));
    response
}
