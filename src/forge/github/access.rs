//! Who we are to GitHub: a token that is read by its name, or an App whose installation gives tokens for one
//! repository, an hour each.
//!
//! See [authenticating as an installation](https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation).

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use octocrab::auth::{AppAuth, EncodingKey};
use octocrab::models::AppId;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::door::Trouble;
use crate::clock;
use crate::git::{NoToken, Tokens};
use crate::http::{Unread, body};
use crate::model::{Credential, RepositoryUrl};
use crate::secret::Secret;

/// A token is replaced so long before it expires: what is begun with it shall end with it. One that does not
/// last long serves three quarters of its time.
const RENEWED_BEFORE: SignedDuration = SignedDuration::from_mins(5);

/// What a secret's file may hold, in bytes.
const SECRET_MAX: u64 = 64 << 10;

/// The most that is read of what it says of an App, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever a token stands for.
    Token(Credential),
    /// An App.
    App {
        /// Its id, or its client id's number.
        id: u64,
        /// Its private key, in PEM.
        key: Credential,
    },
}

/// See the module. One for each repository.
pub struct Access {
    client: reqwest::Client,
    api: Url,
    repository: RepositoryUrl,
    identity: Identity,
    token: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    number: u64,
    /// From when on it is replaced; `None`: it is read anew once it is not accepted.
    renewed: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Installation {
    id: u64,
}

/// What an App was given in a repository
/// ([installation](https://docs.github.com/en/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app)).
#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    pub(super) app_id: u64,
    pub(super) app_slug: String,
    #[serde(default)]
    pub(super) permissions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct Given {
    token: String,
    expires_at: Timestamp,
}

impl Access {
    /// Lets this identity into this repository.
    pub fn new(
        client: reqwest::Client,
        api: Url,
        repository: RepositoryUrl,
        identity: Identity,
    ) -> Self {
        Self {
            client,
            api,
            repository,
            identity,
            token: Mutex::default(),
        }
    }

    /// What people call it; never the secret.
    pub(super) fn name(&self) -> String {
        match &self.identity {
            Identity::Token(credential) => named(credential),
            Identity::App { id, .. } => format!("the token of App {id}"),
        }
    }

    /// The token of the moment as a header, and its number.
    pub(super) async fn token(&self) -> Result<(HeaderValue, u64), Trouble> {
        let mut kept = self.token.lock().await;
        let now = clock::now();
        let holds = |token: &&Token| token.renewed.is_none_or(|it| now < it);
        if let Some(token) = kept.as_ref().filter(holds) {
            return Ok((token.header.clone(), token.number));
        }
        let number = kept.as_ref().map_or(0, |token| token.number) + 1;
        let (secret, expires) = self.get().await?;
        let header = bearer(&secret)?;
        *kept = Some(Token {
            header: header.clone(),
            number,
            renewed: expires.map(|expires| renewal(now, expires)),
        });
        Ok((header, number))
    }

    /// Another token than that one, which is not accepted; `None` where there is none.
    pub(super) async fn another(&self, number: u64) -> Result<Option<(HeaderValue, u64)>, Trouble> {
        let mut kept = self.token.lock().await;
        let Some(refused) = kept.take_if(|token| token.number == number) else {
            drop(kept);
            return self.token().await.map(Some);
        };
        let before = refused.header.clone();
        // Its number goes on.
        *kept = Some(Token {
            renewed: Some(Timestamp::MIN),
            ..refused
        });
        drop(kept);
        let token = self.token().await?;
        Ok((token.0 != before).then_some(token))
    }

    /// A token that was just read is not accepted: it is read again the next time.
    pub(super) fn refused(&self, number: u64) {
        if let Ok(mut kept) = self.token.try_lock()
            && let Some(token) = kept.as_mut().filter(|it| it.number == number)
        {
            token.renewed = Some(Timestamp::MIN);
        }
    }

    /// The token itself, for git over HTTP.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn secret(&self) -> Result<Secret, Trouble> {
        let (header, _) = self.token().await?;
        Ok(told(&header))
    }

    /// The token of the moment is not accepted: it is read again the next time.
    pub(in crate::forge) async fn forget(&self) {
        if let Some(token) = self.token.lock().await.as_mut() {
            token.renewed = Some(Timestamp::MIN);
        }
    }

    async fn get(&self) -> Result<(Secret, Option<Timestamp>), Trouble> {
        match &self.identity {
            Identity::Token(credential) => Ok((self.read(credential).await?, None)),
            Identity::App { id, key } => {
                let ours = self.own_token(*id, key).await?;
                self.installation_token(*id, &ours).await
            }
        }
    }

    /// What the App was given in the repository; `None`: we are none.
    pub(super) async fn granted(&self) -> Result<Option<Granted>, Trouble> {
        let Identity::App { id, key } = &self.identity else {
            return Ok(None);
        };
        let ours = self.own_token(*id, key).await?;
        let (_, path) = self.repository.parts().unwrap_or_default();
        let where_it_is = format!("repos/{path}/installation");
        let found = self.call(reqwest::Method::GET, &where_it_is, &ours).await?;
        self.understood(*id, path, found).await.map(Some)
    }

    /// What shows that we are the App.
    async fn own_token(&self, id: u64, key: &Credential) -> Result<Secret, Trouble> {
        let key = self.read(key).await?;
        let app = AppAuth {
            app_id: AppId(id),
            key: EncodingKey::from_rsa_pem(key.expose().as_bytes()).map_err(|error| {
                Trouble::Credential(format!("the key of App {id} cannot be used: {error}"))
            })?,
        };
        let ours = app.generate_bearer_token();
        let ours = ours.map_err(|error| Trouble::Credential(format!("App {id}: {error}")))?;
        Ok(Secret::new(ours))
    }

    async fn installation_token(
        &self,
        id: u64,
        ours: &Secret,
    ) -> Result<(Secret, Option<Timestamp>), Trouble> {
        let (_, path) = self.repository.parts().unwrap_or_default();
        let where_it_is = format!("repos/{path}/installation");
        let found = self.call(reqwest::Method::GET, &where_it_is, ours).await?;
        let found: Installation = self.understood(id, path, found).await?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let post = format!("app/installations/{}/access_tokens", found.id);
        let asked = self.client_request(reqwest::Method::POST, &post, ours)?;
        let asked = asked.json(&json!({ "repositories": [name] })).send().await;
        let given = asked.map_err(|error| later(&error))?;
        let given: Given = self.understood(id, path, given).await?;
        Ok((Secret::new(given.token), Some(given.expires_at)))
    }

    async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        ours: &Secret,
    ) -> Result<reqwest::Response, Trouble> {
        let request = self.client_request(method, path, ours)?;
        request.send().await.map_err(|error| later(&error))
    }

    fn client_request(
        &self,
        method: reqwest::Method,
        path: &str,
        ours: &Secret,
    ) -> Result<reqwest::RequestBuilder, Trouble> {
        let base = self.api.as_str().trim_end_matches('/');
        let request = self.client.request(method, format!("{base}/{path}"));
        let request = request.header(http::header::ACCEPT, "application/vnd.github+json");
        Ok(request.header(http::header::AUTHORIZATION, bearer(ours)?))
    }

    async fn understood<T: for<'a> Deserialize<'a>>(
        &self,
        id: u64,
        path: &str,
        answer: reqwest::Response,
    ) -> Result<T, Trouble> {
        let status = answer.status();
        match status.as_u16() {
            200..300 => {
                let not_read = |detail: &str| Trouble::Later {
                    detail: detail.to_owned(),
                    retry_after: None,
                };
                let body = body(answer, ANSWER_MAX).await;
                let body = body.map_err(|unread| match unread {
                    Unread::Cut(error) => later(&error),
                    Unread::TooLarge => not_read("its answer is too large"),
                })?;
                // What it says may be a token: an error would repeat of it.
                serde_json::from_slice(&body).map_err(|_| not_read("its answer is not understood"))
            }
            401 => Err(Trouble::Credential(format!(
                "it does not accept the key of App {id} (401): is it that App's, and the clock right?"
            ))),
            403 | 404 | 422 => Err(Trouble::Credential(format!(
                "App {id} is not installed on {path}, or not for this repository ({})",
                status.as_u16()
            ))),
            _ => Err(Trouble::Later {
                detail: status.to_string(),
                retry_after: None,
            }),
        }
    }

    async fn read(&self, credential: &Credential) -> Result<Secret, Trouble> {
        let nothing = |why: String| Trouble::Credential(format!("{}: {why}", named(credential)));
        let text = match credential {
            Credential::Environment { variable, .. } => {
                std::env::var(variable).map_err(|_| nothing("it is not set".to_owned()))?
            }
            Credential::File { path, .. } => {
                let told = |error: std::io::Error| nothing(error.to_string());
                let size = tokio::fs::metadata(path).await.map_err(told)?.len();
                if size > SECRET_MAX {
                    return Err(nothing("it is too large for a secret".to_owned()));
                }
                tokio::fs::read_to_string(path).await.map_err(told)?
            }
            Credential::Default => {
                let secret = crate::git::secret_of(&self.repository).await;
                let none = || {
                    let host = self.repository.host().unwrap_or_default();
                    Trouble::Credential(format!(
                        "no credential is named, and git's credential helpers know none for {host}: \
                         write `forges: {{ {host}: {{ credential: {{ env: NAME }} }} }}`"
                    ))
                };
                secret.ok_or_else(none)?.expose().to_owned()
            }
        };
        match text.trim() {
            "" => Err(nothing("it is empty".to_owned())),
            text => Ok(Secret::new(text)),
        }
    }
}

/// The same tokens for git over HTTPS.
#[async_trait]
impl Tokens for Access {
    fn name(&self) -> String {
        Self::name(self)
    }

    async fn token(&self) -> Result<Secret, NoToken> {
        self.secret().await.map_err(|trouble| match trouble {
            Trouble::Later { detail, .. } => NoToken::Later(detail),
            Trouble::Credential(why) => NoToken::Denied(why),
        })
    }

    async fn refused(&self, secret: &Secret) {
        if let Some(token) = self.token.lock().await.as_mut()
            && told(&token.header) == *secret
        {
            token.renewed = Some(Timestamp::MIN);
        }
    }
}

/// From when on a token is replaced that was given now.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let lasts = expires.duration_since(now);
    let before = RENEWED_BEFORE.min(lasts / 4);
    expires.checked_sub(before).unwrap_or(now)
}

/// The secret in a header.
fn told(header: &HeaderValue) -> Secret {
    let text = header.to_str().unwrap_or_default();
    Secret::new(text.strip_prefix("Bearer ").unwrap_or(text))
}

fn named(credential: &Credential) -> String {
    match credential {
        Credential::Default => "the credential of git's credential helper".to_owned(),
        Credential::Environment { variable, .. } => {
            format!("the credential in environment variable {variable}")
        }
        Credential::File { path, .. } => format!("the credential in file {}", path.display()),
    }
}

fn bearer(secret: &Secret) -> Result<HeaderValue, Trouble> {
    let header = HeaderValue::try_from(format!("Bearer {}", secret.expose()));
    let mut header = header.map_err(|_| {
        Trouble::Credential("the credential has characters that no token has".to_owned())
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn later(error: &reqwest::Error) -> Trouble {
    let source = std::error::Error::source(error);
    Trouble::Later {
        detail: source.map_or_else(|| "the connection broke".to_owned(), ToString::to_string),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_it_expires() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        for (expires, renewed) in [(3600, 3300), (1200, 900), (600, 450), (4, 3), (0, 0)] {
            assert_eq!(renewal(at(0), at(expires)), at(renewed), "{expires} s");
        }
        // A clock that is ahead of the server's finds it expired: it is replaced the next time.
        assert!(renewal(at(60), at(0)) < at(60));
    }
}
