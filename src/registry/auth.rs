//! Answering a registry that asks who is there.
//!
//! Owns the challenge (RFC 9110 §11.6.1, read by the http-auth crate), the
//! [token exchange](https://distribution.github.io/distribution/spec/auth/token/) and what is kept of
//! both. Asks for nothing but `pull` on the repository at hand, whatever scope the registry names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::answer::{Answer, read};
use super::credential::{Credential, Login, find};
use super::error::{Outage, RegistryError, Said};
use super::host::is_loopback;
use super::question::Question;
use crate::model::ImageRepository;

/// More repositories than one registry is asked for; beyond it the tokens are fetched anew.
const MOST_TOKENS: usize = 4096;

/// A token is a few KiB.
const LARGEST_TOKEN_ANSWER: usize = 1 << 20;

/// What the token specification says of answers that do not name a lifetime.
const DEFAULT_LIFETIME: u64 = 60;

/// A token is asked for again at least daily, so that a withdrawn right is noticed.
const LONGEST_LIFETIME: u64 = 86_400;

/// What one registry asked for last, and what it was answered.
#[derive(Default)]
pub(super) struct Session {
    challenge: Mutex<Option<Challenge>>,
    /// By repository path; the empty path is that of basic credentials, which hold for all.
    grants: Mutex<HashMap<String, Slot>>,
}

/// Held while a grant is fetched, so that concurrent questions fetch one and not many.
type Slot = Arc<tokio::sync::Mutex<Option<Grant>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// What is sent with a request.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// Nothing where the registry is to be asked anonymously.
    pub(super) header: Option<HeaderValue>,
    /// Where the credential came from, for error texts.
    pub(super) origin: String,
    expires: Option<Instant>,
}

impl Session {
    /// What to send with the next request: nothing while the registry never asked.
    pub(super) async fn grant(
        &self,
        question: &Question<'_>,
    ) -> Result<Option<Grant>, RegistryError> {
        let challenge = lock(&self.challenge).clone();
        match challenge {
            Some(challenge) => self.get(question, &challenge, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// What to send after a 401 with these headers, given what was sent before: always something
    /// else than that, or an error.
    pub(super) async fn answer(
        &self,
        question: &Question<'_>,
        headers: &HeaderMap,
        refused: Option<&Grant>,
    ) -> Result<Grant, RegistryError> {
        let challenge = challenge(question.host.plain, headers);
        let challenge = challenge.map_err(|what| question.malformed(what))?;
        *lock(&self.challenge) = Some(challenge.clone());
        self.get(question, &challenge, refused).await
    }

    /// The grant at hand unless it has expired or is the refused one.
    async fn get(
        &self,
        question: &Question<'_>,
        challenge: &Challenge,
        refused: Option<&Grant>,
    ) -> Result<Grant, RegistryError> {
        let slot = self.slot(challenge, question.repository);
        let mut slot = slot.lock().await;
        if let Some(grant) = &*slot
            && grant.expires.is_none_or(|expires| expires > Instant::now())
            && refused.is_none_or(|refused| refused.header != grant.header)
        {
            return Ok(grant.clone());
        }
        *slot = None;
        let grant = fetch(question, challenge).await?;
        *slot = Some(grant.clone());
        Ok(grant)
    }

    fn slot(&self, challenge: &Challenge, repository: &ImageRepository) -> Slot {
        let key = match challenge {
            Challenge::Basic => "",
            Challenge::Bearer { .. } => repository.path(),
        };
        let mut grants = lock(&self.grants);
        if grants.len() >= MOST_TOKENS && !grants.contains_key(key) {
            grants.clear();
        }
        grants.entry(key.to_owned()).or_default().clone()
    }
}

/// A panic while the lock was held leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The best of the challenges: a token, else the password itself.
pub(super) fn challenge(plain: bool, headers: &HeaderMap) -> Result<Challenge, String> {
    let mut basic = false;
    let mut others = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        for challenge in http_auth::parse_challenges(text).unwrap_or_default() {
            let parameter = |name: &str| {
                let mut parameters = challenge.params.iter();
                parameters
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                return Ok(Challenge::Bearer {
                    realm: realm(plain, &parameter("realm").unwrap_or_default())?,
                    service: parameter("service"),
                });
            }
            match challenge.scheme.eq_ignore_ascii_case("basic") {
                true => basic = true,
                false => others.push(challenge.scheme.to_owned()),
            }
        }
    }
    match basic {
        true => Ok(Challenge::Basic),
        false => Err(format!(
            "it asks for authentication by neither Basic nor Bearer{}",
            Said::new(&others.join(", "))
        )),
    }
}

/// The token server's address. The credential goes there, so it must be https; only a registry that
/// is itself spoken to in plain http may name a token server on this machine.
fn realm(plain: bool, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| match url.scheme() {
        "https" => url.has_host(),
        "http" => plain && url.host_str().is_some_and(is_loopback),
        _ => false,
    });
    url.ok_or_else(|| {
        format!(
            "its token server{} is not https: no credential is sent there",
            Said::new(text)
        )
    })
}

async fn fetch(question: &Question<'_>, challenge: &Challenge) -> Result<Grant, RegistryError> {
    let source = &question.host.settings.credential;
    let credential = find(source, question.repository.host(), question.environment)
        .await
        .map_err(|error| RegistryError::Credential {
            host: question.repository.host().to_owned(),
            source_name: error.origin,
            reason: error.reason,
        })?;
    match (&credential.login, challenge) {
        (Login::Bearer(token), _) => granted(question, &credential, "Bearer", token.expose(), None),
        (Login::Password { user, password }, Challenge::Basic) => {
            let pair = basic(user, password.expose());
            granted(question, &credential, "Basic", &pair, None)
        }
        (Login::Anonymous, Challenge::Basic) => Ok(Grant {
            header: None,
            origin: credential.origin,
            expires: None,
        }),
        (Login::Identity(_), Challenge::Basic) => Err(question.malformed(format!(
            "it asks for a password, and {} has an identity token",
            credential.origin
        ))),
        (_, Challenge::Bearer { realm, service }) => {
            exchange(question, &credential, realm, service.as_deref()).await
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

fn granted(
    question: &Question<'_>,
    credential: &Credential,
    scheme: &str,
    text: &str,
    expires: Option<Instant>,
) -> Result<Grant, RegistryError> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {text}")).map_err(|_| {
        let what = format!(
            "the token had with {} is not one line of ASCII",
            credential.origin
        );
        question.malformed(what)
    })?;
    header.set_sensitive(true);
    Ok(Grant {
        header: Some(header),
        origin: credential.origin.clone(),
        expires,
    })
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Exchanges a credential, or none, for a token to pull from this repository.
async fn exchange(
    question: &Question<'_>,
    credential: &Credential,
    realm: &Url,
    service: Option<&str>,
) -> Result<Grant, RegistryError> {
    let asked = Instant::now();
    let scope = format!("repository:{}:pull", question.repository.path());
    let request = match &credential.login {
        Login::Identity(token) => {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "towpath")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("scope", &scope)
                .append_pair("refresh_token", token.expose())
                .finish();
            question
                .client
                .post(realm.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form)
        }
        login => {
            let mut url = realm.clone();
            if let Some(service) = service {
                url.query_pairs_mut().append_pair("service", service);
            }
            url.query_pairs_mut().append_pair("scope", &scope);
            let request = question.client.get(url);
            match login {
                Login::Password { user, password } => {
                    let pair = format!("Basic {}", basic(user, password.expose()));
                    request.header(AUTHORIZATION, pair)
                }
                _ => request,
            }
        }
    };
    let answer = read(request, LARGEST_TOKEN_ANSWER)
        .await
        .map_err(|failure| failure.at(question.repository))?;
    let body = judge(question, credential, &answer)?;
    let (text, lifetime) = token(body).map_err(|what| question.malformed(what.to_owned()))?;
    // A quarter, at most half a minute, for the clocks' difference and the request's own time.
    let margin = (lifetime / 4).min(Duration::from_secs(30));
    let expires = asked + (lifetime - margin);
    granted(question, credential, "Bearer", &text, Some(expires))
}

/// The token in an answer, and how long it holds.
pub(super) fn token(body: &[u8]) -> Result<(String, Duration), &'static str> {
    let answer: TokenAnswer =
        serde_json::from_slice(body).map_err(|_| "the token server's answer is not a token")?;
    let mut texts = [answer.token, answer.access_token].into_iter().flatten();
    let text = texts.find(|text| !text.is_empty());
    let text = text.ok_or("the token server's answer holds no token")?;
    let lifetime = answer.expires_in.unwrap_or(DEFAULT_LIFETIME);
    Ok((text, Duration::from_secs(lifetime.min(LONGEST_LIFETIME))))
}

/// The body of a good answer of the token server.
fn judge<'a>(
    question: &Question<'_>,
    credential: &Credential,
    answer: &'a Answer,
) -> Result<&'a [u8], RegistryError> {
    let repository = question.repository.clone();
    let credential = credential.origin.clone();
    if let Some(error) = question.host.asked_to_wait(answer) {
        return Err(error);
    }
    if answer.status == StatusCode::OK {
        return Ok(&answer.body);
    }
    let said = answer.said();
    match answer.status.as_u16() {
        400 | 401 => Err(RegistryError::Unauthorized {
            repository,
            credential,
            said,
        }),
        403 => Err(RegistryError::Forbidden {
            repository,
            credential,
            said,
        }),
        status @ 500.. => Err(RegistryError::Unavailable {
            repository,
            outage: Outage::Status { status, said },
        }),
        status => Err(question.malformed(format!("its token server answered {status}{said}"))),
    }
}
