//! What was reported of commits under a name: alike on every forge, as far as statuses say it; and GitHub's check runs,
//! with what a token must be let read for them.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use towpath::forge::github::Identity;
use towpath::forge::{ForgeError, Progress, ReadForge, Status};
use towpath::model::{CheckEnd, CommitCheck, CommitId, Credential};
use towpath::secret::Secret;

use super::contract::{Bed, head};
use crate::github::{Site, check_exchanges};

const REPOSITORY: &str = "acme/infra";
const NAME: &str = "Lighthouse CI / mobile";

/// A commit that nobody made.
const NOWHERE: &str = "0123456789012345678901234567890123456789";

/// On every forge the newest status of a context is a check of that name.
pub(super) async fn statuses_are_checks(bed: &dyn Bed) {
    let commit = bed.commit(&head("checked"), "checked.yaml", "one\n").await;
    let forge = bed.forge();
    assert_eq!(forge.checked(commit, NAME).await.unwrap(), Some(Vec::new()));
    for (progress, end) in [
        (Progress::Pending, CheckEnd::Running),
        (Progress::Failure, CheckEnd::Failed),
        (Progress::Success, CheckEnd::Passed),
    ] {
        for context in ["another", NAME] {
            bed.now().await;
            let status = Status {
                context: context.to_owned(),
                progress,
                description: "seen".to_owned(),
                url: Some("https://ci.example.com/7".to_owned()),
            };
            forge.set_status(commit, &status).await.unwrap();
        }
        let checks = forge.checked(commit, NAME).await.unwrap().unwrap();
        let [check] = checks.as_slice() else {
            panic!("{checks:?}");
        };
        assert_eq!(check.end, end);
        assert_eq!(check.at.is_some(), end != CheckEnd::Running);
        assert_eq!(check.link.as_deref(), Some("https://ci.example.com/7"));
    }
    let nowhere = forge.checked(NOWHERE.parse().unwrap(), NAME).await;
    assert_eq!(nowhere.unwrap(), None);
}

/// A token's view of the repository.
async fn checked(
    site: &Site,
    token: &Secret,
    commit: CommitId,
) -> Result<Option<Vec<CommitCheck>>, ForgeError> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, token.expose()).unwrap();
    let identity = Identity::Token(Credential::File { path, user: None });
    site.adapter(REPOSITORY, identity)
        .checked(commit, NAME)
        .await
}

async fn post(site: &Site, token: &str, rest: &str, body: Value) {
    let path = format!("/repos/{REPOSITORY}/{rest}");
    let answer = site.ask(Method::POST, &path, Some(token), &[], Some(&body));
    let answer = answer.await;
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{rest}: {status}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_runs_are_read_as_they_ended() {
    let site = Site::start().await;
    let commit = site.commit("ann", "checked", Some("master"), "web.txt", "2\n");
    let commit = commit.await;
    let id: CommitId = commit.parse().unwrap();
    let app = site.installation_token(None).await;
    let reads = json!({ "checks": "read", "statuses": "read" });
    let reads = Secret::new(site.installation_token(Some(reads)).await);
    let run = |name: &str, more: Value| {
        let mut body =
            json!({ "name": name, "head_sha": commit, "details_url": "https://ci.example.com/8" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let ended = |conclusion: &str| json!({ "status": "completed", "conclusion": conclusion });
    let neither = |word: &str| CheckEnd::Neither(word.to_owned());
    for (more, end) in [
        (json!({ "status": "queued" }), CheckEnd::Running),
        (json!({ "status": "in_progress" }), CheckEnd::Running),
        (ended("success"), CheckEnd::Passed),
        (ended("failure"), CheckEnd::Failed),
        (ended("timed_out"), CheckEnd::Failed),
        (ended("cancelled"), CheckEnd::Failed),
        (ended("action_required"), CheckEnd::Failed),
        (ended("neutral"), neither("neutral")),
        (ended("skipped"), neither("skipped")),
    ] {
        post(&site, &app, "check-runs", run("another", ended("success"))).await;
        post(&site, &app, "check-runs", run(NAME, more)).await;
        let checks = checked(&site, &reads, id).await.unwrap().unwrap();
        let [check] = checks.as_slice() else {
            panic!("{checks:?}");
        };
        assert_eq!(check.end, end);
        assert_eq!(check.link.as_deref(), Some("https://ci.example.com/8"));
    }
    // A status of that context stands beside it, however many others there are.
    for number in 0..100 {
        let body = json!({ "state": "success", "context": format!("a {number}") });
        let ann = site.token("ann").expose();
        post(&site, ann, &format!("statuses/{commit}"), body).await;
    }
    let body = json!({ "state": "error", "context": NAME });
    post(
        &site,
        site.token("ann").expose(),
        &format!("statuses/{commit}"),
        body,
    )
    .await;
    let checks = checked(&site, &reads, id).await.unwrap().unwrap();
    let ends: Vec<_> = checks.into_iter().map(|it| it.end).collect();
    assert_eq!(ends, [neither("skipped"), CheckEnd::Failed]);

    let nowhere = NOWHERE.parse().unwrap();
    assert_eq!(checked(&site, &reads, nowhere).await.unwrap(), None);
    // What may not be read may have failed. A fine-grained token is given no right to read check runs.
    let half = |name: &str| site.installation_token(Some(json!({ name: "read" })));
    for (token, why) in [
        (Secret::new(half("checks").await), "(403)"),
        (Secret::new(half("statuses").await), "a GitHub App"),
        (
            site.fine_grained("towpath", "checks=read,statuses=read")
                .await,
            "not by a fine-grained one",
        ),
    ] {
        let denied = checked(&site, &token, id).await;
        assert!(
            matches!(&denied, Err(ForgeError::Denied { reason, .. }) if reason.contains(why)),
            "{why}: {denied:?}"
        );
    }
    let findings = check_exchanges(&site.github.take_exchanges());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
