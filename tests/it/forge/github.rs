//! The contract on GitHub: the simulated one, every exchange judged by GitHub's own description.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use towpath::forge::github::{Access, Budget, Connection, GitHub, Identity};
use towpath::forge::{Forge, ForgeError, Progress, Requests, Status};
use towpath::http::{HttpSettings, client};
use towpath::model::{CommitId, Credential, RepositoryUrl};
use towpath::plan::Request;

use super::contract::{self, BASE, Bed, How, Page};
use crate::github::{REPOSITORY, Site};

struct OnGitHub {
    site: Site,
    directory: TempDir,
}

impl OnGitHub {
    async fn start() -> Self {
        let site = Site::start().await;
        let directory = TempDir::new().unwrap();
        let token = site.token("towpath").expose();
        std::fs::write(directory.path().join("token"), token).unwrap();
        Self { site, directory }
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// What `ann` asks of the repository.
    async fn ann(&self, method: Method, rest: &str, body: Value) -> Value {
        let path = format!("/repos/{REPOSITORY}/{rest}");
        let token = self.site.token("ann").expose();
        let body = (!body.is_null()).then_some(body);
        let answer = self
            .site
            .ask(method, &path, Some(token), &[], body.as_ref())
            .await;
        let status = answer.status();
        assert!(
            status.is_success(),
            "{path}: {status} {}",
            answer.text().await.unwrap()
        );
        self.site.wait(SignedDuration::from_secs(1));
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null)
    }

    async fn has_branch(&self, branch: &str) -> bool {
        let path = format!("/repos/{REPOSITORY}/git/ref/heads/{branch}");
        let token = self.site.token("ann").expose();
        let answer = self
            .site
            .ask(Method::GET, &path, Some(token), &[], None)
            .await;
        answer.status().is_success()
    }
}

fn number(request: &Request) -> u64 {
    request.number.unwrap()
}

#[async_trait]
impl Bed for OnGitHub {
    fn forge(&self) -> Arc<dyn Forge> {
        let client = client(&HttpSettings::default()).unwrap();
        let repository: RepositoryUrl = self.site.github.clone_url(REPOSITORY).parse().unwrap();
        let api = self.site.github.url();
        let token = Identity::Token(Credential::File {
            path: self.token_file(),
            user: None,
        });
        let access = Access::new(client.clone(), api.clone(), repository.clone(), token);
        Arc::new(GitHub::new(Connection {
            client,
            api,
            repository,
            access: Arc::new(access),
            budget: Arc::new(Budget::default()),
        }))
    }

    async fn now(&self) -> Timestamp {
        self.site.wait(SignedDuration::from_secs(1));
        self.site.now()
    }

    async fn commit(&self, branch: &str, file: &str, text: &str) -> CommitId {
        self.site.wait(SignedDuration::from_secs(1));
        let from = (!self.has_branch(branch).await).then_some(BASE);
        let sha = self.site.commit("towpath", branch, from, file, text).await;
        sha.parse().unwrap()
    }

    async fn delete(&self, branch: &str) {
        self.site.wait(SignedDuration::from_secs(1));
        let token = self.site.token("ann").expose();
        let gone = format!(":refs/heads/{branch}");
        self.site.push(token, &[&gone]).await.unwrap();
    }

    async fn opens(&self, head: &str, base: &str) {
        let body = json!({ "title": "a person's", "head": head, "base": base });
        self.ann(Method::POST, "pulls", body).await;
    }

    async fn approves(&self, request: &Request) {
        let rest = format!("pulls/{}/reviews", number(request));
        self.ann(Method::POST, &rest, json!({ "event": "APPROVE" }))
            .await;
    }

    async fn merges(&self, request: &Request, how: How) {
        let method = match how {
            How::Commit => "merge",
            How::Squash => "squash",
            How::Rebase => "rebase",
        };
        let rest = format!("pulls/{}/merge", number(request));
        self.ann(Method::PUT, &rest, json!({ "merge_method": method }))
            .await;
    }

    async fn sets_open(&self, request: &Request, open: bool) {
        let state = if open { "open" } else { "closed" };
        let rest = format!("pulls/{}", number(request));
        self.ann(Method::PATCH, &rest, json!({ "state": state }))
            .await;
    }

    async fn labels(&self, request: &Request, label: &str, on: bool) {
        let rest = format!("issues/{}/labels", number(request));
        match on {
            true => {
                self.ann(Method::POST, &rest, json!({ "labels": [label] }))
                    .await
            }
            false => {
                let rest = format!("{rest}/{}", label.replace('/', "%2F"));
                self.ann(Method::DELETE, &rest, Value::Null).await
            }
        };
    }

    async fn edits(&self, request: &Request, title: &str, words: &str) {
        let rest = format!("pulls/{}", number(request));
        let pull = self.ann(Method::GET, &rest, Value::Null).await;
        let body = format!("{words}\r\n\r\n{}", pull["body"].as_str().unwrap());
        self.ann(
            Method::PATCH,
            &rest,
            json!({ "title": title, "body": body }),
        )
        .await;
    }

    async fn page(&self, request: &Request) -> Page {
        let number = number(request);
        let pull = self
            .ann(Method::GET, &format!("pulls/{number}"), Value::Null)
            .await;
        let comments = format!("issues/{number}/comments");
        let comments = self.ann(Method::GET, &comments, Value::Null).await;
        page(&pull, &comments)
    }

    async fn has(&self, commit: CommitId) -> bool {
        let rest = format!("compare/{BASE}...{commit}");
        let compared = self.ann(Method::GET, &rest, Value::Null).await;
        ["identical", "behind"].contains(&compared["status"].as_str().unwrap())
    }
}

/// A request and its comments, as forges show them.
pub(super) fn page(pull: &Value, comments: &Value) -> Page {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, field: &str| {
        let all = value.as_array().into_iter().flatten();
        all.map(|it| text(&it[field])).collect()
    };
    Page {
        title: text(&pull["title"]),
        body: text(&pull["body"]),
        labels: list(&pull["labels"], "name"),
        comments: list(comments, "body"),
    }
}

#[tokio::test]
async fn github_keeps_the_contract() {
    let bed = OnGitHub::start().await;
    contract::check(&bed).await;
    let findings = crate::github::check(&bed.site.github.take_exchanges());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// What of a proposer's work these rights do not let it do.
async fn denied(bed: &OnGitHub, rights: &str, case: &str) -> Vec<&'static str> {
    let opening = contract::proposed(bed, case).await;
    let token = bed.site.fine_grained("towpath", rights).await;
    std::fs::write(bed.token_file(), token.expose()).unwrap();
    let (forge, now) = (bed.forge(), bed.now().await);
    let branch = format!("pushed/{case}");
    let file = (case, "one\n");
    let pushed = bed
        .site
        .try_commit(token.expose(), &branch, Some(BASE), file)
        .await;
    let status = Status {
        context: "towpath/proven".to_owned(),
        progress: Progress::Success,
        description: "proven".to_owned(),
        url: None,
    };
    let is_denied = |error: Option<ForgeError>| match error {
        None => false,
        Some(ForgeError::Denied { .. }) => true,
        Some(other) => panic!("{rights}: {other}"),
    };
    let requests = forge.requests(&Requests::default(), now).await;
    let opened = forge.open(&opening, now).await;
    let statuses = forge.statuses(opening.commit).await;
    let set = forge.set_status(opening.commit, &status).await;
    [
        ("push", pushed.is_err()),
        ("requests", is_denied(requests.err())),
        ("open", is_denied(opened.err())),
        ("statuses", is_denied(statuses.err())),
        ("set status", is_denied(set.err())),
    ]
    .into_iter()
    .filter_map(|(what, is_denied)| is_denied.then_some(what))
    .collect()
}

/// Every right that `docs/github.md` asks for is needed, and no other.
#[tokio::test]
async fn the_rights_that_are_asked_for_are_the_least() {
    let bed = OnGitHub::start().await;
    for (case, rights, wanted) in [
        (
            "all",
            "contents=write,pull_requests=write,statuses=write",
            &[] as &[&str],
        ),
        (
            "no-contents",
            "pull_requests=write,statuses=write",
            &["push"],
        ),
        (
            "contents-read",
            "contents=read,pull_requests=write,statuses=write",
            &["push"],
        ),
        (
            "no-requests",
            "contents=write,statuses=write",
            &["requests", "open"],
        ),
        (
            "requests-read",
            "contents=write,pull_requests=read,statuses=write",
            &["open"],
        ),
        (
            "no-statuses",
            "contents=write,pull_requests=write",
            &["statuses", "set status"],
        ),
        (
            "statuses-read",
            "contents=write,pull_requests=write,statuses=read",
            &["set status"],
        ),
    ] {
        assert_eq!(denied(&bed, rights, case).await, wanted, "{rights}");
    }
}
