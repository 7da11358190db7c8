//! The contract on a real Gitea. Where it differs from GitHub stands in `docs/gitea.md`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use towpath::forge::gitea::{Connection, Gitea};
use towpath::forge::github::{Access, Identity};
use towpath::forge::{Binds, Forge, ForgeError, Requests, Visibility};
use towpath::http::{HttpSettings, client};
use towpath::model::{CommitId, Credential, RepositoryUrl};
use towpath::plan::Request;

use super::contract::{self, BASE, Bed, How, Page};
use super::page;
use crate::gitea::{self, Clone, Person};

/// Gitea works pushes off in the background.
const WAIT: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_millis(20);

struct OnGitea {
    server: &'static gitea::Bed,
    repository: String,
    ann: Person,
    clone: Clone,
    directory: TempDir,
}

impl OnGitea {
    /// `permission` is Towpath's in the repository.
    async fn start(server: &'static gitea::Bed, permission: &str) -> Self {
        let repository = server.repository("contract").await;
        let (towpath, ann) = (server.person("towpath").await, server.person("ann").await);
        server.allow(&repository, &towpath, permission).await;
        server.allow(&repository, &ann, "write").await;
        let directory = TempDir::new().unwrap();
        let token = directory.path().join("token");
        std::fs::write(token, towpath.token.expose()).unwrap();
        let clone = Clone::of(server, &repository, &towpath).await;
        Self {
            server,
            repository,
            ann,
            clone,
            directory,
        }
    }

    /// What `ann` asks of the repository: the status and the answer.
    async fn try_ann(&self, method: Method, rest: &str, body: Value) -> (u16, Value) {
        let path = format!("repos/{}/{rest}", self.repository);
        self.server.ask_as(&self.ann, method, &path, &body).await
    }

    async fn ann(&self, method: Method, rest: &str, body: Value) -> Value {
        let (status, answer) = self.try_ann(method, rest, body).await;
        assert!((200..300).contains(&status), "{rest}: {status} {answer}");
        answer
    }

    /// Waits until the open requests from a branch are as wanted.
    async fn until(&self, branch: &str, wanted: impl Fn(&[Value]) -> bool) {
        let began = Instant::now();
        loop {
            let all = self
                .ann(Method::GET, "pulls?state=open&limit=50", Value::Null)
                .await;
            let from = |it: &&Value| it["head"]["label"] == branch;
            let open: Vec<Value> = all
                .as_array()
                .unwrap()
                .iter()
                .filter(from)
                .cloned()
                .collect();
            if wanted(&open) {
                return;
            }
            assert!(
                began.elapsed() < WAIT,
                "{branch} is not as wanted: {open:?}"
            );
            tokio::time::sleep(ASK).await;
        }
    }
}

/// What asks about a repository, with the token that stands in a file.
pub(super) fn adapter(server: &gitea::Bed, repository: &str, token: PathBuf) -> Gitea {
    let client = client(&HttpSettings::default()).unwrap();
    let url = format!("{}/{repository}.git", server.url);
    let repository: RepositoryUrl = url.parse().unwrap();
    let api: url::Url = format!("{}/api/v1", server.url).parse().unwrap();
    let token = Identity::Token(Credential::File {
        path: token,
        user: None,
    });
    let access = Access::new(client.clone(), api.clone(), repository.clone(), token);
    Gitea::new(Connection {
        client,
        api,
        repository,
        access: Arc::new(access),
    })
}

fn number(request: &Request) -> u64 {
    request.number.unwrap()
}

#[async_trait]
impl Bed for OnGitea {
    fn forge(&self) -> Arc<dyn Forge> {
        let token = self.directory.path().join("token");
        Arc::new(adapter(self.server, &self.repository, token))
    }

    /// Its own clock is the machine's.
    async fn now(&self) -> Timestamp {
        towpath::clock::now()
    }

    async fn commit(&self, branch: &str, file: &str, text: &str) -> CommitId {
        let sha = self.clone.commit_on(branch, BASE, file, text).await;
        let is_there = |open: &[Value]| open.iter().all(|it| it["head"]["sha"] == json!(sha));
        self.until(branch, is_there).await;
        sha.parse().unwrap()
    }

    async fn delete(&self, branch: &str) {
        let gone = format!(":refs/heads/{branch}");
        self.clone
            .git(&["push", "-q", "origin", &gone])
            .await
            .unwrap();
        self.until(branch, <[Value]>::is_empty).await;
    }

    async fn opens(&self, head: &str, base: &str) {
        let body = json!({ "title": "a person's", "head": head, "base": base });
        self.ann(Method::POST, "pulls", body).await;
    }

    async fn approves(&self, request: &Request) {
        let rest = format!("pulls/{}/reviews", number(request));
        self.ann(Method::POST, &rest, json!({ "event": "APPROVED" }))
            .await;
    }

    async fn merges(&self, request: &Request, how: How) {
        let how = match how {
            How::Commit => "merge",
            How::Squash => "squash",
            How::Rebase => "rebase",
        };
        let rest = format!("pulls/{}/merge", number(request));
        let began = Instant::now();
        // 405 while it finds out in the background whether that can be merged.
        loop {
            let (status, answer) = self
                .try_ann(Method::POST, &rest, json!({ "Do": how }))
                .await;
            if status == 200 {
                return;
            }
            assert!(status == 405 && began.elapsed() < WAIT, "{status} {answer}");
            tokio::time::sleep(ASK).await;
        }
    }

    async fn sets_open(&self, request: &Request, open: bool) {
        let state = if open { "open" } else { "closed" };
        let rest = format!("pulls/{}", number(request));
        self.ann(Method::PATCH, &rest, json!({ "state": state }))
            .await;
    }

    async fn labels(&self, request: &Request, label: &str, on: bool) {
        let rest = format!("issues/{}/labels", number(request));
        let known = self.ann(Method::GET, "labels?limit=50", Value::Null).await;
        let named = |all: &Value| {
            let mut all = all.as_array().into_iter().flatten();
            all.find(|it| it["name"] == label)
                .map(|it| it["id"].clone())
        };
        match (on, named(&known)) {
            (false, Some(id)) => {
                self.ann(Method::DELETE, &format!("{rest}/{id}"), Value::Null)
                    .await;
            }
            (_, known) => {
                if known.is_none() {
                    let made = json!({ "name": label, "color": "#ededed" });
                    self.ann(Method::POST, "labels", made).await;
                }
                self.ann(Method::POST, &rest, json!({ "labels": [label] }))
                    .await;
            }
        }
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

    async fn protects(&self, branch: &str) {
        let protection = json!({
            "rule_name": branch,
            "enable_push": false,
            "required_approvals": 1,
            "enable_status_check": true,
            "status_check_contexts": ["towpath/proven"],
            "block_admin_merge_override": true,
        });
        self.server.protect(&self.repository, &protection).await;
    }

    async fn has(&self, commit: CommitId) -> bool {
        self.clone
            .git(&["fetch", "-q", "origin", BASE])
            .await
            .unwrap();
        let commit = commit.to_string();
        let is_in = ["merge-base", "--is-ancestor", &commit, "FETCH_HEAD"];
        self.clone.git(&is_in).await.is_ok()
    }

    /// What is internal is so by its owner.
    async fn shows_to(&self, visibility: Visibility) {
        let owner = match visibility {
            Visibility::Internal => "private",
            Visibility::Public | Visibility::Private => "public",
        };
        let owner = json!({ "visibility": owner });
        let repository = json!({ "private": visibility == Visibility::Private });
        let path = format!("repos/{}", self.repository);
        for (path, body) in [("orgs/acme", owner), (&path, repository)] {
            self.server.ask(Method::PATCH, path, &body).await.unwrap();
        }
    }
}

#[tokio::test]
async fn gitea_keeps_the_contract() {
    let Some(server) = gitea::shared() else {
        return;
    };
    // Only an administrator of the repository may dismiss approvals.
    let bed = OnGitea::start(server, "admin").await;
    contract::check(&bed).await;
}

#[tokio::test]
async fn what_gitea_lets_a_writer_not_do_is_told() {
    let Some(server) = gitea::shared() else {
        return;
    };
    let bed = OnGitea::start(server, "write").await;
    let opened = contract::opened(&bed, "armed").await;
    bed.approves(&opened).await;
    let forge = bed.forge();
    let requests = forge
        .requests(&Requests::default(), bed.now().await)
        .await
        .unwrap();
    let head = contract::head("armed");
    let armed = requests.of(&head, BASE).unwrap();
    assert!(armed.armed.is_some(), "{armed:?}");
    let refused = forge
        .disarm(armed, "a newer release", bed.now().await)
        .await;
    let Err(ForgeError::Denied { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("Must be repo admin"), "{reason}");
    // A merge that waits for its checks is seen, and anybody who writes may take it back.
    let protection = json!({ "rule_name": BASE, "enable_push": true, "enable_status_check": true, "status_check_contexts": ["towpath/proven"] });
    server.protect(&bed.repository, &protection).await;
    let other = contract::opened(&bed, "scheduled").await;
    let rest = format!("pulls/{}/merge", number(&other));
    let later = json!({ "Do": "merge", "merge_when_checks_succeed": true });
    bed.ann(Method::POST, &rest, later).await;
    let requests = forge.requests(&requests, bed.now().await).await.unwrap();
    let head = contract::head("scheduled");
    let scheduled = requests.of(&head, BASE).unwrap();
    let told = scheduled.armed.clone().unwrap_or_default();
    assert!(
        told.starts_with("armed to merge by itself by ann"),
        "{told}"
    );
    let now = bed.now().await;
    let disarmed = forge
        .disarm(scheduled, "a newer release", now)
        .await
        .unwrap();
    assert_eq!(disarmed.request.armed, None);
}

#[tokio::test]
async fn what_protects_a_repository_is_told_as_far_as_gitea_tells_us() {
    let Some(server) = gitea::shared() else {
        return;
    };
    let protection = json!({
        "rule_name": BASE,
        "enable_push": true,
        "require_signed_commits": true,
    });
    for (permission, hooks, wanted) in [
        (
            "write",
            None,
            "Requests { approvals: 0 } No(\"it lets us push\")\nNoDeletion Yes\n",
        ),
        (
            "admin",
            Some(1),
            "Requests { approvals: 0 } No(\"it lets everybody push who may write\")\nSigned Yes\nNoRewrite Yes\nNoDeletion Yes\n",
        ),
    ] {
        let bed = OnGitea::start(server, permission).await;
        server.protect(&bed.repository, &protection).await;
        let others = [bed.ann.login.as_str()];
        let tags = json!({ "name_pattern": "deployment-*", "whitelist_usernames": others });
        let path = format!("repos/{}/tag_protections", bed.repository);
        server.ask(Method::POST, &path, &tags).await.unwrap();
        server
            .add_hook(
                &bed.repository,
                "http://127.0.0.1:1/hooks/gitea",
                "x",
                &["push"],
            )
            .await;
        let forge = bed.forge();
        let us = forge.rights().await.unwrap();
        assert_eq!(us.admin, permission == "admin");
        let told = forge.protection("refs/heads/master", &us).await.unwrap();
        let lines: String = told
            .rules
            .iter()
            .map(|it| format!("{:?} {:?}\n", it.kind, it.binds))
            .collect();
        assert_eq!(lines, wanted, "{permission}");
        let tag = forge.protection("refs/tags/deployment-0001", &us).await;
        let tag = tag.unwrap();
        match permission {
            "admin" => assert_eq!(tag.rules[0].binds, Binds::Yes),
            _ => assert!(tag.rules.is_empty() && !tag.untold.is_empty()),
        }
        let found = forge.hooks().await;
        assert_eq!(found.as_ref().ok().map(Vec::len), hooks, "{found:?}");
    }
}

/// What was sent to whom is kept beside branches and tags: taken from whoever may write, and shown to them.
#[tokio::test]
async fn gitea_takes_refs_of_our_own() {
    let Some(server) = gitea::shared() else {
        return;
    };
    let bed = OnGitea::start(server, "write").await;
    let name = towpath::notifications::notified_ref(&"production".parse().unwrap());
    for file in ["one", "two"] {
        let commit = bed.clone.commit("notified", file).await;
        let target = format!("HEAD:{name}");
        bed.clone
            .git(&["push", "-q", "origin", &target])
            .await
            .unwrap();
        let shown = bed
            .clone
            .git(&["ls-remote", "origin", &name])
            .await
            .unwrap();
        assert_eq!(shown, format!("{commit}\t{name}"));
    }
}
