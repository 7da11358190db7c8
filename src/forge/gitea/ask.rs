//! How requests to Gitea travel: one at a time, with a deadline, never twice; and what answers come to.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::Gitea;
use crate::forge::github::Trouble;
use crate::forge::rest::WORDS;
use crate::forge::{ForgeError, rest};
use crate::http::{self, Unread, retry_after};
use crate::secret::words;

/// The largest answer that is read: a page of 50 requests with long texts has less.
const ANSWER_MAX: usize = 16 << 20;

/// An answer that drips in slowly ends all the same.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many entries a list has in all.
const TOTAL: &str = "x-total-count";

/// A success.
pub(super) struct Answer {
    body: Bytes,
    forge: String,
    /// How many entries the list has in all, where it is told.
    pub(super) total: Option<usize>,
    /// The server's own moment.
    pub(super) date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
}

impl Answer {
    /// What it says.
    ///
    /// # Errors
    /// It is not what it should be.
    pub(super) fn read<T: for<'a> Deserialize<'a>>(&self) -> Result<T, ForgeError> {
        serde_json::from_slice(&self.body).map_err(|error| ForgeError::Unavailable {
            forge: self.forge.clone(),
            detail: format!("its answer cannot be read: {error}"),
            retry_after: None,
        })
    }
}

impl Gitea {
    /// Asks for something of the repository; for itself where `rest` is empty.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub(super) async fn ask(
        &self,
        method: Method,
        rest: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ForgeError> {
        let path = match rest {
            "" => format!("repos/{}", self.path),
            rest => format!("repos/{}/{rest}", self.path),
        };
        self.asked(method, &path, body).await
    }

    /// Asks for something that is beside all repositories.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub(super) async fn ask_beside(&self, path: &str) -> Result<Answer, ForgeError> {
        self.asked(Method::GET, path, None).await
    }

    async fn asked(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ForgeError> {
        let asked = tokio::time::timeout(DEADLINE, self.send(method, path, body)).await;
        let late = || self.later(format!("no answer within {} s", DEADLINE.as_secs()), None);
        let (status, headers, body) = asked.map_err(|_| late())??;
        if !status.is_success() {
            return Err(self.told(status, &headers, &body).await);
        }
        let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
        Ok(Answer {
            body,
            forge: self.name.clone(),
            total: text(TOTAL).and_then(|it| it.parse().ok()),
            date: text(DATE.as_str()).and_then(moment),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ForgeError> {
        let token = self
            .access
            .secret()
            .await
            .map_err(|trouble| match trouble {
                Trouble::Later {
                    detail,
                    retry_after,
                } => self.later(detail, retry_after),
                Trouble::Credential(reason) => self.denied(reason),
            })?;
        let base = self.api.as_str().trim_end_matches('/');
        let url = format!("{base}/{path}");
        let mut request = self.client.request(method, url).bearer_auth(token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.cut(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = http::body(answer, ANSWER_MAX).await;
        let body = body.map_err(|unread| match unread {
            Unread::Cut(error) => self.cut(&error),
            Unread::TooLarge => {
                let detail = format!("its answer is larger than {} MiB", ANSWER_MAX >> 20);
                self.later(detail, None)
            }
        })?;
        Ok((status, headers, body))
    }

    async fn told(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ForgeError {
        let said = serde_json::from_slice::<Said>(body).map(|said| said.message);
        let said = words(&said.unwrap_or_default(), WORDS);
        let code = status.as_u16();
        match code {
            401 => {
                self.access.forget().await;
                self.denied("it does not accept our credential (401)".to_owned())
            }
            403 => self.denied(format!(
                "{said} (403): the credential lacks a right, see docs/gitea.md"
            )),
            404 => self.denied(format!(
                "{said} (404): it is not there, or the credential may not see it, see docs/gitea.md"
            )),
            423 => self.denied(format!("{said} (423): the repository can only be read")),
            429 | 500.. => self.later(status.to_string(), retry_after(headers)),
            _ => ForgeError::Refused {
                forge: self.name.clone(),
                reason: format!("{said} ({code})"),
            },
        }
    }

    fn denied(&self, reason: String) -> ForgeError {
        ForgeError::Denied {
            forge: self.name.clone(),
            reason,
        }
    }

    pub(super) fn later(&self, detail: String, retry_after: Option<Duration>) -> ForgeError {
        rest::unavailable(&self.name, &detail, retry_after)
    }

    /// A connection that could not be made, or broke. The address is named by whoever tells of it.
    fn cut(&self, error: &reqwest::Error) -> ForgeError {
        if error.is_timeout() {
            return self.later("it is silent".to_owned(), None);
        }
        let mut detail = "the connection broke".to_owned();
        let mut next = std::error::Error::source(error);
        while let Some(error) = next {
            detail = format!("{detail}: {error}");
            next = error.source();
        }
        self.later(detail, None)
    }
}

/// A `Date` (RFC 9110, 5.6.7).
fn moment(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(parsed.timestamp())
}
