//! One question to one repository, put as HTTP requests: limits, credential and the judging of what
//! any answer may mean, whatever was asked.

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Method, StatusCode};
use url::Url;

use super::answer::{Answer, read};
use super::auth::Grant;
use super::error::{Outage, RegistryError};
use super::host::Host;
use super::settings::Environment;
use crate::http::Meter;
use crate::model::{Digest, ImageRepository};

/// What every request of a question shares.
pub(super) struct Question<'a> {
    pub(super) client: &'a Client,
    pub(super) environment: &'a Environment,
    pub(super) meter: &'a Meter,
    pub(super) host: &'a Host,
    pub(super) repository: &'a ImageRepository,
}

/// One request.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: &'static str,
    /// The entity tag that needs no answer.
    pub(super) unless: Option<HeaderValue>,
    /// The most bytes of a good answer.
    pub(super) limit: usize,
}

impl Ask {
    pub(super) fn get(url: &Url, accept: &'static str, limit: usize) -> Self {
        Self {
            method: Method::GET,
            url: url.clone(),
            accept,
            unless: None,
            limit,
        }
    }
}

impl Question<'_> {
    /// An address below the repository.
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        let path = format!("{}/{rest}", self.repository.path());
        self.host
            .base
            .join(&path)
            .map_err(|error| self.malformed(format!("`{path}` makes no address: {error}")))
    }

    /// Asks once, and once more with a credential where the registry wants one. What comes out has a
    /// status that means something to this very request.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, RegistryError> {
        self.host.check_quiet()?;
        let permit = self.host.permits.acquire().await;
        // It may have asked to be left alone while this waited its turn.
        self.host.check_quiet()?;
        let mut grant = self.host.session.grant(self).await?;
        let mut answer = self.send(ask, grant.as_ref()).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let next = self.authenticate(ask, &answer, grant.as_ref()).await?;
            if next.header.is_some() {
                answer = self.send(ask, Some(&next)).await?;
            }
            grant = Some(next);
        }
        drop(permit);
        self.judge(answer, grant)
    }

    async fn authenticate(
        &self,
        ask: &Ask,
        answer: &Answer,
        refused: Option<&Grant>,
    ) -> Result<Grant, RegistryError> {
        // The credential is the registry's alone: who it redirects to may not ask for it.
        if answer.url.origin() != ask.url.origin() {
            let place = answer.url.host_str().unwrap_or_default();
            return Err(self.malformed(format!(
                "it redirects to {place}, which asks for a credential: none is sent"
            )));
        }
        let session = &self.host.session;
        session.answer(self, &answer.headers, refused).await
    }

    async fn send(&self, ask: &Ask, grant: Option<&Grant>) -> Result<Answer, RegistryError> {
        let mut request = self
            .client
            .request(ask.method.clone(), ask.url.clone())
            .header(ACCEPT, ask.accept);
        if let Some(etag) = &ask.unless {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(header) = grant.and_then(|grant| grant.header.as_ref()) {
            request = request.header(AUTHORIZATION, header);
        }
        let answer = read(request, ask.limit).await;
        match &answer {
            Ok(answer) => (self.meter).answered(&ask.url, answer.status, &answer.headers),
            Err(_) => self.meter.failed(&ask.url),
        }
        answer.map_err(|failure| failure.at(self.repository))
    }

    fn judge(&self, answer: Answer, grant: Option<Grant>) -> Result<Answer, RegistryError> {
        if let Some(error) = self.host.asked_to_wait(&answer) {
            return Err(error);
        }
        if !answer.status.is_client_error() && !answer.status.is_server_error() {
            return Ok(answer);
        }
        let repository = self.repository.clone();
        let said = answer.said();
        let credential = || grant.map_or_else(|| "no credential".to_owned(), |grant| grant.origin);
        match answer.status.as_u16() {
            401 => Err(RegistryError::Unauthorized {
                repository,
                credential: credential(),
                said,
            }),
            403 => Err(RegistryError::Forbidden {
                repository,
                credential: credential(),
                said,
            }),
            status @ (408 | 500..) => Err(RegistryError::Unavailable {
                repository,
                outage: Outage::Status { status, said },
            }),
            _ => Ok(answer),
        }
    }

    /// The bytes that a digest names, checked.
    pub(super) async fn content(
        &self,
        ask: &Ask,
        digest: &Digest,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let answer = self.ask(ask).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_found(what, &answer)),
            _ => return Err(self.unexpected(&answer)),
        }
        self.checked(answer.body, digest, what)
    }

    /// The content, if it is what the digest names.
    pub(super) fn checked(
        &self,
        content: Vec<u8>,
        digest: &Digest,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let found = Digest::of(&content);
        match found == *digest {
            true => Ok(content),
            false => Err(self.malformed(format!(
                "{what} has content of {found}: the registry or something before it is broken"
            ))),
        }
    }

    pub(super) fn malformed(&self, what: String) -> RegistryError {
        RegistryError::Malformed {
            repository: self.repository.clone(),
            what,
        }
    }

    pub(super) fn not_found(&self, what: &str, answer: &Answer) -> RegistryError {
        RegistryError::NotFound {
            repository: self.repository.clone(),
            what: what.to_owned(),
            said: answer.said(),
        }
    }

    pub(super) fn unexpected(&self, answer: &Answer) -> RegistryError {
        let status = answer.status.as_u16();
        self.malformed(format!(
            "it has status {status}{}: is this a registry of the OCI distribution API?",
            answer.said()
        ))
    }
}
