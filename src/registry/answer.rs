//! One HTTP answer, read in full and no further than its limit.

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use url::Url;

use super::error::{Outage, RegistryError, Said};
use crate::http::{self, Unread};
use crate::model::ImageRepository;

/// Of an error's body only the start is read.
const LARGEST_ERROR: usize = 64 << 10;

pub(super) struct Answer {
    /// Who answered: another than was asked after a redirect.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The whole body of a good answer, the start of another.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
pub(super) enum Failure {
    Outage(Outage),
    TooLarge { limit: usize },
    Redirect(String),
}

impl Failure {
    pub(super) fn at(self, repository: &ImageRepository) -> RegistryError {
        let repository = repository.clone();
        let what = match self {
            Self::Outage(outage) => return RegistryError::Unavailable { repository, outage },
            Self::TooLarge { limit } => format!("it has more than {} MiB", limit >> 20),
            Self::Redirect(text) => format!("it redirects where it may not: {text}"),
        };
        RegistryError::Malformed { repository, what }
    }
}

/// Sends the request and reads its answer.
pub(super) async fn read(request: RequestBuilder, limit: usize) -> Result<Answer, Failure> {
    let mut response = request.send().await.map_err(failure)?;
    let status = response.status();
    let url = response.url().clone();
    let headers = std::mem::take(response.headers_mut());
    let body = match status.is_success() {
        true => {
            let body = http::body(response, limit).await;
            body.map_err(|unread| match unread {
                Unread::Cut(error) => failure(error),
                Unread::TooLarge => Failure::TooLarge { limit },
            })?
        }
        false => http::beginning(&mut response, LARGEST_ERROR).await,
    };
    Ok(Answer {
        url,
        status,
        headers,
        body: body.into(),
    })
}

/// The address is left out of the text: after a redirect it may be a signed one.
fn failure(error: reqwest::Error) -> Failure {
    let (is_redirect, is_timeout) = (error.is_redirect(), error.is_timeout());
    let is_connect = error.is_connect();
    let mut text = http::plain(error);
    if is_redirect {
        return Failure::Redirect(text);
    }
    Failure::Outage(if is_timeout {
        Outage::Timeout
    } else if is_connect {
        // What rustls says where the other side speaks plain http.
        if text.contains("InvalidContentType") {
            text.push_str(" (does it speak plain http? then say so in its settings)");
        }
        Outage::Connect(text)
    } else {
        Outage::Cut(text)
    })
}

/// [Errors](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes) as the
/// distribution specification writes them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Errors {
    errors: Vec<ErrorEntry>,
    /// Token servers write this instead.
    details: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorEntry {
    code: String,
    message: String,
}

impl Answer {
    /// A header that is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the body names this error.
    pub(super) fn has_code(&self, code: &str) -> bool {
        let errors: Errors = serde_json::from_slice(&self.body).unwrap_or_default();
        errors.errors.iter().any(|error| error.code == code)
    }

    /// The server's own words: the specification's error form, else a plain text; never a page.
    pub(super) fn said(&self) -> Said {
        if let Ok(errors) = serde_json::from_slice::<Errors>(&self.body) {
            let texts: Vec<String> = errors
                .errors
                .iter()
                .take(3)
                .map(|error| format!("{}: {}", error.code, error.message))
                .chain(Some(errors.details).filter(|text| !text.is_empty()))
                .collect();
            return Said::new(&texts.join("; "));
        }
        let text = String::from_utf8_lossy(&self.body);
        match text.trim_start().starts_with(['<', '{']) {
            true => Said::default(),
            false => Said::new(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer {
            url: "http://r.io/".parse().unwrap(),
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_server_s_words_are_short_and_harmless() {
        for (body, said) in [
            ("", ""),
            ("<html>no</html>", ""),
            ("{\"broken", ""),
            ("slow down", " (slow down)"),
            ("\u{1b}[31mred\n\r", " (\\u{1b}[31mred)"),
            (
                r#"{"errors":[{"code":"DENIED","message":"a\u001bb","detail":{"x":1}}]}"#,
                " (DENIED: a\\u{1b}b)",
            ),
            (r#"{"details":"incorrect"}"#, " (incorrect)"),
            (r#"{"errors":[]}"#, ""),
        ] {
            assert_eq!(answer(body).said().to_string(), said, "{body}");
        }
        assert!(answer(&"x".repeat(9999)).said().to_string().len() < 400);
    }
}
