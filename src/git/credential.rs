//! Where a user name and secret for a server come from.
//!
//! A configuration only names them: an environment variable, a file, or git's own credential helpers
//! (gitcredentials(7)), asked through `git credential`. A secret is never printed.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::GitError;
use super::error::printable;
use crate::model::RepositoryUrl;
use crate::secret::{self, Secret};

/// How long a credential helper may take: it may have to ask a server itself.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a secret's file may hold, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What a helper's answer may hold, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What a user is called where a token is the secret and the server does not look at the name.
const USER: &str = "x-access-token";

/// The name of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// None, whatever the server says.
    Anonymous,
    /// What git's credential helpers know, asked when the server wants a credential.
    #[default]
    Helper,
    /// The secret in that environment variable.
    Environment(String),
    /// The secret in that file; read again when the server refuses it, since it may be rotated.
    File(PathBuf),
    /// Secrets that last a while only, of whoever gives them.
    Given(Given),
}

/// Whoever gives secrets, known by itself alone.
#[derive(Clone)]
pub struct Given(pub Arc<dyn Tokens>);

/// Gives secrets that last a while only.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// What people call them; never one itself.
    fn name(&self) -> String;

    /// The one of the moment. Asked before each request: cheap where one is at hand.
    ///
    /// # Errors
    /// [`NoToken`].
    async fn token(&self) -> Result<Secret, NoToken>;

    /// This one is not accepted, whatever was said of how long it lasts.
    async fn refused(&self, token: &Secret);
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// Whoever gives it does not answer, or not now.
    Later(String),
    /// It is not given to us.
    Denied(String),
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({})", self.0.name())
    }
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Given {}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => write!(f, "access without a credential"),
            Self::Helper => write!(f, "the credential of git's credential helper"),
            Self::Environment(name) => write!(f, "the credential in environment variable {name}"),
            Self::File(path) => write!(f, "the credential in file {}", path.display()),
            Self::Given(given) => f.write_str(&given.0.name()),
        }
    }
}

/// The secret that git's credential helpers know for a repository, if they know one.
pub async fn secret_of(url: &RepositoryUrl) -> Option<Secret> {
    let source = Source {
        url: url.to_string(),
        credential: Credential::Helper,
        user: None,
    };
    let login = source.login().await.ok()??;
    Some(Secret::new(login.secret))
}

/// A user name and a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    user: String,
    secret: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, …)", self.user)
    }
}

impl Login {
    /// The value of an `Authorization` header (RFC 7617); marked so that it is never printed.
    pub(super) fn header(&self) -> Option<reqwest::header::HeaderValue> {
        secret::remember(&self.secret);
        let pair = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.secret));
        let mut value = reqwest::header::HeaderValue::try_from(format!("Basic {pair}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Reads the credentials of one server.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The repository, for errors.
    pub(super) url: String,
    /// Which one.
    pub(super) credential: Credential,
    /// The user name, where one is configured or stands in the address.
    pub(super) user: Option<String>,
}

impl Source {
    /// Whether the credential goes with the first request already.
    pub(super) fn is_named(&self) -> bool {
        matches!(
            self.credential,
            Credential::Environment(_) | Credential::File(_) | Credential::Given(_)
        )
    }

    /// Whether one that was accepted may be used from then on without asking for it again.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self.credential, Credential::Given(_))
    }

    /// The user name and secret; nothing where there are none.
    pub(super) async fn login(&self) -> Result<Option<Login>, GitError> {
        let secret = match &self.credential {
            Credential::Anonymous => return Ok(None),
            Credential::Helper => return self.ask_helper().await,
            Credential::Environment(name) => std::env::var(name)
                .map_err(|_| self.error(format!("environment variable {name} is not set")))?,
            Credential::File(path) => {
                let told =
                    |error: std::io::Error| self.error(format!("file {}: {error}", path.display()));
                let size = tokio::fs::metadata(path).await.map_err(told)?.len();
                if size > SECRET_BYTES_MAX {
                    return Err(
                        self.error(format!("file {} is too large for a secret", path.display()))
                    );
                }
                tokio::fs::read_to_string(path).await.map_err(told)?
            }
            Credential::Given(given) => {
                let given = given.0.token().await.map_err(|none| self.no_token(none))?;
                given.expose().to_owned()
            }
        };
        let secret = secret.trim().to_owned();
        if secret.is_empty() {
            return Err(self.error(format!("{} is empty", self.credential)));
        }
        let user = self.user.clone().unwrap_or_else(|| USER.to_owned());
        Ok(Some(Login { user, secret }))
    }

    fn no_token(&self, none: NoToken) -> GitError {
        match none {
            NoToken::Denied(why) => self.error(why),
            NoToken::Later(why) => GitError::Network {
                url: self.url.clone(),
                detail: format!("there is no {} now: {why}", self.credential),
            },
        }
    }

    /// Tells the helper whether its credential was good, so that it keeps or forgets it; whoever gives
    /// secrets only which one was not.
    pub(super) async fn judge(&self, login: &Login, good: bool) {
        if let Credential::Given(given) = &self.credential
            && !good
        {
            given.0.refused(&Secret::new(login.secret.as_str())).await;
        }
        if self.credential != Credential::Helper {
            return;
        }
        let verb = if good { "approve" } else { "reject" };
        let lines = format!("username={}\npassword={}\n", login.user, login.secret);
        if let Err(error) = self.helper(verb, &lines).await {
            tracing::debug!(%error, "the credential helper did not take the verdict");
        }
    }

    async fn ask_helper(&self) -> Result<Option<Login>, GitError> {
        let user = self.user.as_ref().map(|user| format!("username={user}\n"));
        let answer = match self.helper("fill", &user.unwrap_or_default()).await {
            Ok(answer) => answer,
            // No helper knows one: that is no error of the helper, and asking a person is off.
            Err(error) => {
                tracing::debug!(%error, "git's credential helpers know no credential");
                return Ok(None);
            }
        };
        let field = |name: &str| {
            answer
                .lines()
                .filter_map(|line| line.split_once('='))
                .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        };
        Ok(field("username")
            .zip(field("password"))
            .map(|(user, secret)| Login { user, secret }))
    }

    async fn helper(&self, verb: &str, lines: &str) -> Result<String, GitError> {
        let failed = |detail: String| GitError::Program {
            program: format!("git credential {verb}"),
            url: self.url.clone(),
            detail,
        };
        let url = url::Url::parse(&self.url).map_err(|error| failed(error.to_string()))?;
        let host = url.host_str().unwrap_or_default();
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let path = url.path().trim_start_matches('/');
        let scheme = url.scheme();
        let question = format!("protocol={scheme}\nhost={host}{port}\npath={path}\n{lines}\n");
        let mut child = Command::new("git")
            .args(["-c", "core.askPass=", "credential", verb])
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_ASKPASS")
            .env_remove("SSH_ASKPASS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut stdin = child.stdin.take();
        let work = async {
            if let Some(stdin) = &mut stdin {
                stdin.write_all(question.as_bytes()).await?;
            }
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(HELPER_TIMEOUT, work)
            .await
            .map_err(|_| failed(format!("no answer within {} s", HELPER_TIMEOUT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() || output.stdout.len() > ANSWER_BYTES_MAX {
            return Err(failed(output.status.to_string()));
        }
        String::from_utf8(output.stdout).map_err(|_| failed("the answer is not UTF-8".to_owned()))
    }

    fn error(&self, detail: String) -> GitError {
        GitError::Credential {
            url: self.url.clone(),
            detail: printable(detail.as_bytes()),
        }
    }
}
