//! The simulated GitHub that production's repository lies on with `towpath demo --github`: who works there,
//! who tells whom, and where each finds their token.
//!
//! What people do there goes through its API, see [`super::reviewer`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use serde_json::Value;
use url::Url;

use super::github::{GitHub, Role};
use super::place::{ENVIRONMENTS, infra_name};
use crate::clock;
use crate::model::{Admission, Credential, Sender, Webhooks};
use crate::secret::Secret;

/// The organization, and who works there: Towpath, and the person who merges.
const ORGANIZATION: &str = "acme";
const TOWPATH: &str = "towpath";
/// The person who merges.
pub const REVIEWER: &str = "kim";

/// Where their secrets lie, and that of the webhooks.
const SECRETS: &str = "secrets";
const WEBHOOKS: &str = "webhooks";

/// What Towpath is told of.
const EVENTS: [&str; 3] = ["push", "pull_request", "pull_request_review"];

/// See the module.
pub struct Site {
    github: GitHub,
    client: reqwest::Client,
    reviewer: Secret,
    secrets: PathBuf,
}

impl Site {
    /// What is to be taken from it, where it will run.
    pub fn webhooks(root: &Path) -> Webhooks {
        let secret = Credential::File {
            path: root.join(SECRETS).join(WEBHOOKS),
            user: None,
        };
        Webhooks::from([(Sender::GitHub, Admission::Secrets(vec![secret]))])
    }

    /// Starts it with an empty repository for production, private, which tells this receiver of everything.
    ///
    /// # Errors
    /// The directory cannot be written, or no port be had.
    pub async fn start(
        root: &Path,
        client: reqwest::Client,
        receiver: &Url,
    ) -> anyhow::Result<Self> {
        let github = GitHub::start(&root.join("github"), Arc::new(clock::now)).await?;
        github.add_organization(ORGANIZATION).await;
        let repository = repository();
        github.add_repository(&repository, "private").await?;
        let mut tokens = Vec::new();
        for login in [TOWPATH, REVIEWER] {
            github.add_user(login).await;
            github.set_role(&repository, login, Some(Role::Write)).await;
            tokens.push(github.token(login).await);
        }
        let [towpath, reviewer] = <[Secret; 2]>::try_from(tokens)
            .ok()
            .context("there is one for each of two people")?;
        let this = Self {
            github,
            client,
            secrets: root.join(SECRETS),
            reviewer,
        };
        this.keep(TOWPATH, towpath.expose())?;
        let header = format!("Authorization: Bearer {}", this.reviewer.expose());
        this.keep(REVIEWER, &header)?;
        // Nothing but an id that nobody else has.
        let webhooks = Secret::new(format!("{:?}-{}", clock::now(), std::process::id()));
        this.keep(WEBHOOKS, webhooks.expose())?;
        let address = receiver.join("github")?;
        let events = EVENTS.as_slice();
        this.github
            .add_hook(&repository, address.as_str(), Some(&webhooks), events)
            .await;
        Ok(this)
    }

    /// The host with its port, as repositories' addresses have it.
    pub fn host(&self) -> String {
        let url = self.github.url();
        let port = url.port().map_or_else(String::new, |it| format!(":{it}"));
        format!("{}{port}", url.host_str().unwrap_or_default())
    }

    /// Where Towpath fetches from and pushes to.
    pub fn url(&self) -> String {
        self.github.clone_url(&repository())
    }

    /// The same for the person who merges, let in.
    pub fn url_of_reviewer(&self) -> String {
        let token = self.reviewer.expose();
        format!(
            "http://{REVIEWER}:{token}@{}/{}.git",
            self.host(),
            repository()
        )
    }

    /// The file with Towpath's token.
    pub fn token_of_towpath(&self) -> PathBuf {
        self.secrets.join(TOWPATH)
    }

    /// The file with the header that lets the person in who merges.
    pub fn header_of_reviewer(&self) -> PathBuf {
        self.secrets.join(REVIEWER)
    }

    /// Where the API shows something of production's repository.
    pub fn api(&self, rest: &str) -> String {
        format!("{}repos/{}/{rest}", self.github.url(), repository())
    }

    /// What the person who merges asks of the repository.
    ///
    /// # Errors
    /// What GitHub answers.
    pub async fn ask(
        &self,
        method: Method,
        rest: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let token = format!("Bearer {}", self.reviewer.expose());
        let mut request = self
            .client
            .request(method.clone(), self.api(rest))
            .header(AUTHORIZATION, token)
            .header(ACCEPT, "application/vnd.github+json")
            .header(USER_AGENT, "towpath-demo");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let said: Value = answer.json().await.unwrap_or_default();
        ensure!(
            status.is_success(),
            "the simulated GitHub answers {status} to {method} {rest}: {}",
            said["message"].as_str().unwrap_or_default()
        );
        Ok(said)
    }

    fn keep(&self, name: &str, text: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = self.secrets.join(name);
        let written = std::fs::create_dir_all(&self.secrets).and_then(|()| {
            let mut options = std::fs::OpenOptions::new();
            let mut opened = options.create(true).write(true).mode(0o600).open(&file)?;
            opened.write_all(text.as_bytes())
        });
        written.with_context(|| format!("{} cannot be written", file.display()))
    }
}

/// Production's repository there.
fn repository() -> String {
    format!("{ORGANIZATION}/{}", infra_name(ENVIRONMENTS[2]))
}

/// Where production's repository lies, from the demo's directory.
pub fn bare() -> String {
    format!("github/{}.git", repository())
}
