//! The contract on GitHub, as the simulated site plays it: every request and answer fits GitHub's own
//! description. And what only GitHub has: Apps, tags of answers, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use towpath::clock;
use towpath::demo::github::{Protection, RequiredChecks};
use towpath::forge::github::{GitHub, Identity};
use towpath::forge::{Forge, ForgeError, ReadForge, Requests, Visibility};
use towpath::model::{CommitId, Credential};
use towpath::plan::Request;

use super::contract::{self, BASE, Bed, How, Page};
use crate::github::{APP_KEY, Site, check_exchanges};

const REPOSITORY: &str = "acme/infra";

struct Simulated {
    site: Site,
    /// Where a secret stands as the configuration names it.
    secrets: tempfile::TempDir,
    commits: AtomicU64,
}

impl Simulated {
    async fn start() -> Self {
        let site = Site::start().await;
        let secrets = tempfile::tempdir().unwrap();
        let bed = Self {
            site,
            secrets,
            commits: AtomicU64::new(0),
        };
        bed.secret("towpath", bed.site.token("towpath").expose());
        bed.secret("app.pem", APP_KEY);
        bed
    }

    fn secret(&self, name: &str, text: &str) -> Credential {
        let path = self.secrets.path().join(name);
        std::fs::write(&path, text).unwrap();
        Credential::File { path, user: None }
    }

    fn named(&self, name: &str) -> Credential {
        let path = self.secrets.path().join(name);
        Credential::File { path, user: None }
    }

    /// The adapter of a process that was just started.
    fn adapter(&self, identity: Identity) -> GitHub {
        self.site.adapter(REPOSITORY, identity)
    }

    async fn ask(&self, login: &str, method: Method, rest: &str, body: Option<Value>) -> Value {
        let token = Some(self.site.token(login).expose());
        let path = format!("/repos/{REPOSITORY}/{rest}");
        let answer = self
            .site
            .ask(method, &path, token, &[], body.as_ref())
            .await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{rest}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn pull(request: &Request) -> String {
        format!("pulls/{}", request.number.unwrap())
    }
}

#[async_trait]
impl Bed for Simulated {
    fn forge(&self) -> Arc<dyn Forge> {
        Arc::new(self.adapter(Identity::Token(self.named("towpath"))))
    }

    async fn now(&self) -> Timestamp {
        self.site.wait(SignedDuration::from_secs(2));
        clock::now()
    }

    async fn commit(&self, branch: &str, file: &str, text: &str) -> CommitId {
        self.site.wait(SignedDuration::from_secs(2));
        let rest = format!("git/matching-refs/heads/{branch}");
        let refs = self.ask("ann", Method::GET, &rest, None).await;
        let there = !refs.as_array().unwrap().is_empty();
        let from = (!there).then_some(BASE);
        // No two commits are the same.
        let count = self.commits.fetch_add(1, Ordering::Relaxed);
        let text = format!("{text}# {count}\n");
        let id = self.site.commit("towpath", branch, from, file, &text).await;
        id.parse().unwrap()
    }

    async fn delete(&self, branch: &str) {
        let rest = format!("git/refs/heads/{branch}");
        self.ask("ann", Method::DELETE, &rest, None).await;
    }

    async fn opens(&self, head: &str, base: &str) {
        let body = json!({ "title": "mine", "head": head, "base": base });
        self.ask("ann", Method::POST, "pulls", Some(body)).await;
    }

    async fn approves(&self, request: &Request) {
        let rest = format!("{}/reviews", Self::pull(request));
        let body = json!({ "event": "APPROVE", "body": "fine" });
        self.ask("ann", Method::POST, &rest, Some(body)).await;
    }

    async fn merges(&self, request: &Request, how: How) {
        let method = match how {
            How::Commit => "merge",
            How::Squash => "squash",
            How::Rebase => "rebase",
        };
        let pull = Self::pull(request);
        // GitHub finds out whether it can be merged once somebody asked.
        for _ in 0..20 {
            let seen = self.ask("ann", Method::GET, &pull, None).await;
            if seen["mergeable"] == json!(true) {
                break;
            }
            self.site.wait(SignedDuration::from_secs(5));
        }
        let body = json!({ "merge_method": method });
        self.ask("ann", Method::PUT, &format!("{pull}/merge"), Some(body))
            .await;
    }

    async fn sets_open(&self, request: &Request, open: bool) {
        self.site.wait(SignedDuration::from_secs(2));
        let state = if open { "open" } else { "closed" };
        let body = json!({ "state": state });
        self.ask("ann", Method::PATCH, &Self::pull(request), Some(body))
            .await;
    }

    async fn labels(&self, request: &Request, label: &str, on: bool) {
        let issue = format!("issues/{}/labels", request.number.unwrap());
        match on {
            true => {
                let body = json!({ "labels": [label] });
                self.ask("ann", Method::POST, &issue, Some(body)).await;
            }
            false => {
                let rest = format!("{issue}/{}", label.replace('/', "%2F"));
                self.ask("ann", Method::DELETE, &rest, None).await;
            }
        }
    }

    async fn edits(&self, request: &Request, title: &str, words: &str) {
        let pull = Self::pull(request);
        let seen = self.ask("ann", Method::GET, &pull, None).await;
        let body = seen["body"].as_str().unwrap().replace('\n', "\r\n");
        let body = json!({ "title": title, "body": format!("{words}\r\n\r\n{body}") });
        self.ask("ann", Method::PATCH, &pull, Some(body)).await;
    }

    async fn page(&self, request: &Request) -> Page {
        let seen = self
            .ask("ann", Method::GET, &Self::pull(request), None)
            .await;
        let rest = format!("issues/{}/comments", request.number.unwrap());
        let comments = self.ask("ann", Method::GET, &rest, None).await;
        super::page(&seen, &comments)
    }

    async fn protects(&self, branch: &str) {
        let rest = format!("branches/{branch}/protection");
        let body = json!({
            "required_status_checks": { "strict": false, "contexts": ["towpath/proven"] },
            "enforce_admins": true,
            "required_pull_request_reviews": { "required_approving_review_count": 1 },
            "restrictions": null,
        });
        self.ask("root", Method::PUT, &rest, Some(body)).await;
    }

    async fn has(&self, commit: CommitId) -> bool {
        let rest = format!("compare/{commit}...{BASE}");
        let status = self.ask("ann", Method::GET, &rest, None).await["status"].clone();
        status == "ahead" || status == "identical"
    }

    async fn shows_to(&self, visibility: Visibility) {
        let name = match visibility {
            Visibility::Public => "public",
            Visibility::Internal => "internal",
            Visibility::Private => "private",
        };
        self.site.github.set_visibility(REPOSITORY, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_keeps_the_contract() {
    let bed = Simulated::start().await;
    contract::check(&bed).await;
    let findings = check_exchanges(&bed.site.github.take_exchanges());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// An unchanged repository costs one request of the kind that no limit counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_new_is_told_in_few_bytes() {
    let bed = Simulated::start().await;
    let forge = bed.adapter(Identity::Token(bed.named("towpath")));
    let mut known = Requests::default();
    let mut told = Vec::new();
    for _ in 0..4 {
        known = forge.requests(&known, bed.now().await).await.unwrap();
        let exchanges = bed.site.github.take_exchanges();
        let ours = exchanges.iter().filter(|it| it.login == "towpath");
        told.push(ours.map(|it| it.status).collect::<Vec<_>>());
    }
    // The first look has larger pages than the later ones.
    assert_eq!(told, [vec![200], vec![200], vec![304], vec![304]]);
}

/// Only what may be merged at any moment is told to be behind, and of each branch the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_protection_wants_up_to_date_is_told_once_it_is_next() {
    let bed = Simulated::start().await;
    let strict = Protection {
        required_status_checks: Some(RequiredChecks {
            strict: true,
            ..RequiredChecks::default()
        }),
        ..Protection::default()
    };
    let github = &bed.site.github;
    github.protect(REPOSITORY, BASE, Some(strict)).await;
    let forge = bed.adapter(Identity::Token(bed.named("towpath")));
    let mut requests = Vec::new();
    for case in ["one", "two", "three"] {
        let head = contract::head(case);
        let commit = bed.commit(&head, case, "one\n").await;
        let opening = contract::opening(&head, commit, &[]);
        let found = forge.open(&opening, clock::now()).await.unwrap();
        requests.push(found.request);
    }
    let token = bed.site.token("root").expose();
    let moved = bed
        .site
        .try_commit(token, BASE, None, ("base.txt", "moved\n"));
    moved.await.unwrap();
    bed.approves(&requests[2]).await;
    bed.approves(&requests[1]).await;
    let (mut known, mut behind) = (Requests::default(), Vec::new());
    // GitHub finds out how they stand once somebody asked.
    for _ in 0..20 {
        known = forge.requests(&known, bed.now().await).await.unwrap();
        let of = |case: &&str| known.of(&contract::head(case), BASE).unwrap().behind;
        behind = ["one", "two", "three"].into_iter().filter(of).collect();
        if behind == ["two"] {
            break;
        }
        bed.site.wait(SignedDuration::from_secs(5));
    }
    assert_eq!(behind, ["two"]);
}

/// An App's token serves its hour and is replaced before it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_let_in_by_its_key() {
    let bed = Simulated::start().await;
    let identity = |id| Identity::App {
        id,
        key: bed.named("app.pem"),
    };
    let stranger = bed.adapter(identity(bed.site.app + 1_000));
    let refused = stranger.requests(&Requests::default(), clock::now()).await;
    assert!(
        matches!(&refused, Err(ForgeError::Denied { .. })),
        "{refused:?}"
    );
}

/// What is wrong with a credential is told, with the credential's name and without itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_refused_is_named_and_not_shown() {
    let bed = Simulated::start().await;
    let wrong = bed.secret("wrong", "ghp_notatokenofanybodyatall000000000000");
    let missing = bed.named("missing");
    for (credential, named) in [(wrong, "wrong"), (missing, "missing")] {
        let forge = bed.adapter(Identity::Token(credential));
        let refused = forge.requests(&Requests::default(), clock::now()).await;
        let Err(ForgeError::Denied { reason, .. }) = &refused else {
            panic!("{refused:?}");
        };
        assert!(
            reason.contains(named) && !reason.contains("ghp_"),
            "{reason}"
        );
    }
    // One that is replaced in its file is taken at once.
    let rotated = bed.secret("rotated", "ghp_old0000000000000000000000000000000");
    let forge = bed.adapter(Identity::Token(rotated));
    assert!(
        forge
            .requests(&Requests::default(), clock::now())
            .await
            .is_err()
    );
    bed.secret("rotated", bed.site.token("towpath").expose());
    forge
        .requests(&Requests::default(), clock::now())
        .await
        .unwrap();
}

/// What a thousand applications ask until they are settled stays within the 5,000 requests of an hour:
/// counted for a part of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_applications_settle_within_the_limit() {
    const COUNT: usize = 40;
    const ALL: usize = 1_000;
    let bed = Simulated::start().await;
    let forge = bed.adapter(Identity::Token(bed.named("towpath")));
    let commit = bed
        .commit("towpath/production/a0", "a0.yaml", "one\n")
        .await;
    let branches = (1..COUNT).map(|it| format!("{commit}:refs/heads/towpath/production/a{it}"));
    let branches: Vec<String> = branches.collect();
    let refs: Vec<&str> = branches.iter().map(String::as_str).collect();
    bed.site
        .push(bed.site.token("towpath").expose(), &refs)
        .await
        .unwrap();
    bed.site.github.take_exchanges();
    let mut known = forge
        .requests(&Requests::default(), bed.now().await)
        .await
        .unwrap();
    for index in 0..COUNT {
        let head = format!("towpath/production/a{index}");
        let opening = contract::opening(&head, commit, &["deployment"]);
        let found = forge.open(&opening, clock::now()).await.unwrap();
        known.take(found);
        forge
            .set_status(commit, &contract::status(&head))
            .await
            .unwrap();
    }
    let settled = forge.requests(&known, bed.now().await).await.unwrap();
    assert_eq!(settled.len(), COUNT);
    let exchanges = bed.site.github.take_exchanges();
    let counted = exchanges
        .iter()
        .filter(|it| it.login == "towpath" && it.status != 304);
    let counted = counted.count() * ALL / COUNT;
    assert!(
        counted <= 5_000,
        "{counted} requests for {ALL} applications"
    );
}
