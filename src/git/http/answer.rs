//! What an HTTP answer means to git: a response to read on, or an error that says what to do.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Response, StatusCode};

use crate::git::error::{chain, printable};
use crate::git::{Credential, GitError, MESSAGE_BYTES_MAX};
use crate::http::retry_after;

/// The response, if it is a success; otherwise the error it stands for.
pub(super) async fn accept(
    url: &str,
    credential: &Credential,
    idle: Duration,
    response: Response,
) -> Result<Response, GitError> {
    match response.status().is_success() {
        true => Ok(response),
        false => Err(refusal(url, credential, idle, response).await),
    }
}

/// The error that a response stands for.
pub(super) async fn refusal(
    url: &str,
    credential: &Credential,
    idle: Duration,
    response: Response,
) -> GitError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let url = url.to_owned();
    if status.is_redirection() {
        let to = printable(header(response.headers(), LOCATION).as_bytes());
        return GitError::Redirected { url, to };
    }
    let message = text(response, idle).await;
    match status {
        StatusCode::UNAUTHORIZED => GitError::Unauthorized {
            url,
            credential: credential.to_string(),
            message,
        },
        StatusCode::FORBIDDEN if retry_after.is_none() => GitError::Forbidden { url, message },
        StatusCode::NOT_FOUND | StatusCode::GONE => GitError::NotFound { url, message },
        status => GitError::Status {
            url,
            // Forges limit rates with 403, too; only then do they say when to come back.
            status: match status {
                StatusCode::FORBIDDEN => StatusCode::TOO_MANY_REQUESTS.as_u16(),
                status => status.as_u16(),
            },
            retry_after,
            message,
        },
    }
}

/// A success that is not what a git server says.
pub(super) fn not_smart(url: &str, response: &Response) -> GitError {
    let kind = header(response.headers(), CONTENT_TYPE);
    GitError::NotSmart {
        url: url.to_owned(),
        detail: printable(format!("{} with `{kind}`", response.status()).as_bytes()),
    }
}

/// A request that got no answer.
pub(super) fn network(url: &str, error: reqwest::Error) -> GitError {
    GitError::Network {
        url: url.to_owned(),
        detail: chain(&error.without_url()),
    }
}

/// An answer that did not go on.
pub(super) fn stalled(url: &str, idle: Duration) -> GitError {
    let url = url.to_owned();
    GitError::Stalled { url, idle }
}

/// A header's value as text; empty where there is none.
pub(super) fn header(headers: &HeaderMap, name: HeaderName) -> String {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

/// The beginning of an answer's text, where it is text and not a page.
async fn text(mut response: Response, idle: Duration) -> String {
    if !header(response.headers(), CONTENT_TYPE).starts_with("text/plain") {
        return String::new();
    }
    let mut text = Vec::new();
    while text.len() <= MESSAGE_BYTES_MAX
        && let Ok(Ok(Some(chunk))) = tokio::time::timeout(idle, response.chunk()).await
    {
        text.extend_from_slice(&chunk);
    }
    printable(&text)
}
