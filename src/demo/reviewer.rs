//! The person who lets releases into production: by a merge with git, or by the merge of a pull request,
//! which is read before.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::checkout::Checkout;
use super::manifests::APPLICATION;
use super::site::Site;
use super::story::quoted;
use crate::forge::PROVEN;
use crate::model::proposal_branch;

/// How often the page is looked at until all of it stands there, and how long that may take.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub enum Reviewer<'a> {
    /// Has a clone of production's repository.
    WithGit(Checkout),
    /// Uses the forge.
    OnGitHub(&'a Site),
}

/// A pull request as its reviewer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Its number.
    pub number: u64,
    /// Its address.
    pub url: String,
    /// `open`, `closed`.
    pub state: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Who opened it.
    pub author: String,
    /// The branch that it comes from.
    pub head: String,
    /// The commit of that.
    pub commit: String,
    /// The branch that it goes to.
    pub base: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Who is asked to review it.
    pub reviewers: Vec<String>,
    /// Whether it merges without a conflict.
    pub mergeable: bool,
    /// What stands on its commit.
    pub statuses: Vec<Check>,
}

/// A status of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which one.
    pub context: String,
    /// `pending`, `success`, `failure`, `error`.
    pub state: String,
    /// One line.
    pub description: Option<String>,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    state: String,
    title: String,
    body: Option<String>,
    user: Login,
    head: End,
    base: End,
    labels: Vec<Label>,
    requested_reviewers: Vec<Login>,
    mergeable: Option<bool>,
}

#[derive(Deserialize)]
struct Login {
    login: String,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct End {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
}

impl Reviewer<'_> {
    /// Whether there are pull requests.
    pub fn is_on_github(&self) -> bool {
        matches!(self, Self::OnGitHub(_))
    }

    /// The page of the pull request, once all of it stands there; `None` where there is no forge.
    ///
    /// # Errors
    /// It does not come to stand there.
    pub async fn read(&self) -> anyhow::Result<Option<Page>> {
        let Self::OnGitHub(site) = self else {
            return Ok(None);
        };
        let read = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(page) = page(site).await? {
                    return anyhow::Ok(page);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        let page = read.await.with_context(|| {
            format!("there is no pull request with the check {PROVEN} within {PATIENCE:?}")
        })??;
        Ok(Some(page))
    }

    /// Merges what is proposed. Takes the page that was read of it.
    ///
    /// # Errors
    /// What git or the forge says.
    pub async fn merge(&self, message: &str, page: Option<&Page>) -> anyhow::Result<()> {
        match self {
            Self::WithGit(production) => {
                let branch = format!("origin/{}", branch()?);
                production.git(&["pull", "--quiet", "--ff-only"]).await?;
                production
                    .git(&["merge", "--quiet", "--no-ff", "-m", message, &branch])
                    .await?;
                production
                    .git(&["push", "--quiet", "origin", "master"])
                    .await?;
            }
            Self::OnGitHub(site) => {
                let page = page.context("there is no pull request")?;
                let body = json!({
                    "merge_method": "merge",
                    "commit_title": message,
                    "sha": page.commit,
                });
                let rest = format!("pulls/{}/merge", page.number);
                site.ask(Method::PUT, &rest, Some(&body)).await?;
            }
        }
        Ok(())
    }

    /// The command with which a person merges it, in lines.
    ///
    /// # Errors
    /// Never for the demo's own names.
    pub fn command(&self, page: Option<&Page>) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::WithGit(production) => {
                let directory = quoted(&production.directory().display().to_string());
                vec![
                    format!("cd {directory} &&"),
                    "git pull -q --ff-only &&".to_owned(),
                    format!("git merge --no-ff --no-edit origin/{} &&", branch()?),
                    "git push -q".to_owned(),
                ]
            }
            Self::OnGitHub(site) => {
                let number = page.context("there is no pull request")?.number;
                let header = quoted(&site.header_of_reviewer().display().to_string());
                let address = quoted(&site.api(&format!("pulls/{number}/merge")));
                vec![format!("curl -fsS -X PUT -H @{header} {address}")]
            }
        })
    }
}

fn branch() -> anyhow::Result<String> {
    let branch = proposal_branch(&"production".parse()?, &APPLICATION.parse()?);
    Ok(branch)
}

/// The open pull request, unless something of it is still to come.
async fn page(site: &Site) -> anyhow::Result<Option<Page>> {
    let listed = site.ask(Method::GET, "pulls?state=open", None).await?;
    let Some(number) = listed[0]["number"].as_u64() else {
        return Ok(None);
    };
    let rest = format!("pulls/{number}");
    let pull: Pull = serde_json::from_value(site.ask(Method::GET, &rest, None).await?)?;
    let commit = pull.head.sha;
    let combined = format!("commits/{commit}/status");
    let mut combined = site.ask(Method::GET, &combined, None).await?;
    let statuses: Vec<Check> = serde_json::from_value(combined["statuses"].take())?;
    let is_proven = |it: &Check| it.context == PROVEN && it.state == "success";
    let Some(mergeable) = pull.mergeable.filter(|_| statuses.iter().any(is_proven)) else {
        return Ok(None);
    };
    Ok(Some(Page {
        number: pull.number,
        url: pull.html_url,
        state: pull.state,
        title: pull.title,
        body: pull.body.unwrap_or_default(),
        author: pull.user.login,
        head: pull.head.branch,
        commit,
        base: pull.base.branch,
        labels: pull.labels.into_iter().map(|it| it.name).collect(),
        reviewers: pull
            .requested_reviewers
            .into_iter()
            .map(|it| it.login)
            .collect(),
        mergeable,
        statuses,
    }))
}
