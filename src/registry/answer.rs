//! One HTTP answer, read in full and no further than its limit.

use std::error::Error as _;
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use url::Url;

use super::error::{Outage, RegistryError, Said};
use crate::model::ImageRepository;

/// Of an error's body only the start is read.
const LARGEST_ERROR: usize = 64 << 10;

/// No registry is left alone for longer, whatever it says: a mistaken date must not stop releases.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

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
    let good = status.is_success();
    let too_large = || Failure::TooLarge { limit };
    if good
        && response
            .content_length()
            .is_some_and(|length| length > limit as u64)
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if good && body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
        if !good && body.len() >= LARGEST_ERROR {
            body.truncate(LARGEST_ERROR);
            break;
        }
    }
    Ok(Answer {
        url,
        status,
        headers,
        body,
    })
}

/// The address is left out of the text: after a redirect it may be a signed one.
fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_redirect() {
        return Failure::Redirect(text);
    }
    Failure::Outage(if error.is_timeout() {
        Outage::Timeout
    } else if error.is_connect() {
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

    /// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, which is measured from the answer's own
    /// date so that no clock of ours matters. At most an hour.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&RETRY_AFTER)?.trim();
        let wait = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let date = |text| DateTimeParser::new().parse_timestamp(text).ok();
                let wait = date(text)?.duration_since(date(self.header(&DATE)?)?);
                wait.try_into().unwrap_or_default()
            }
        };
        Some(wait.min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(HeaderName, &str)], body: &str) -> Answer {
        Answer {
            url: "http://r.io/".parse().unwrap(),
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().unwrap()))
                .collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (retry_after, date, seconds) in [
            ("5", None, Some(5)),
            ("0", None, Some(0)),
            ("1790000000", None, Some(3600)),
            ("99999999999999999999", None, None),
            ("-5", None, None),
            ("soon", Some(now), None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(now), Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(now), Some(0)),
            ("Sun, 06 Nov 2094 08:49:00 GMT", Some(now), None),
            ("Sat, 06 Nov 2094 08:49:00 GMT", Some(now), Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
        ] {
            let mut headers = vec![(RETRY_AFTER, retry_after)];
            headers.extend(date.map(|date| (DATE, date)));
            let wait = answer(&headers, "").retry_after();
            assert_eq!(wait, seconds.map(Duration::from_secs), "{retry_after}");
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
            assert_eq!(answer(&[], body).said().to_string(), said, "{body}");
        }
        assert!(answer(&[], &"x".repeat(9999)).said().to_string().len() < 400);
    }
}
