//! Every right on GitHub that a proposer is asked for is needed, and no other.

use tempfile::TempDir;
use towpath::clock;
use towpath::forge::github::{GitHub, Identity};
use towpath::forge::{Content, Forge, ForgeError, Opening, Progress, ReadForge, Requests, Status};
use towpath::model::Credential;
use towpath::secret::Secret;

use super::contract::{self, BASE};
use crate::github::Site;

const REPOSITORY: &str = "acme/infra";

fn forge(site: &Site, token: &Secret, directory: &TempDir) -> GitHub {
    let path = directory.path().join("token");
    std::fs::write(&path, token.expose()).unwrap();
    let identity = Identity::Token(Credential::File { path, user: None });
    site.adapter(REPOSITORY, identity)
}

/// What of a proposer's work these rights do not let it do.
async fn denied(site: &Site, rights: &str, case: &str) -> Vec<&'static str> {
    let directory = TempDir::new().unwrap();
    let head = contract::head(case);
    let commit = site.commit("ann", &head, Some(BASE), case, "one\n").await;
    let token = site.fine_grained("towpath", rights).await;
    let forge = forge(site, &token, &directory);
    let content: Content = contract::content(case, "words");
    let opening = Opening {
        head,
        commit: commit.parse().unwrap(),
        base: BASE.to_owned(),
        content,
        policy: contract::policy(&["deployment"]),
    };
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
    let now = clock::now();
    let (branch, file) = (format!("pushed/{case}"), (case, "two\n"));
    let pushed = site.try_commit(token.expose(), &branch, Some(BASE), file);
    let pushed = pushed.await;
    let requests = forge.requests(&Requests::default(), now).await;
    let opened = forge.open(&opening, now).await;
    let statuses = forge.statuses(opening.commit).await;
    let set = forge.set_status(opening.commit, &status).await;
    let all = [
        ("push", pushed.is_err()),
        ("requests", is_denied(requests.err())),
        ("open", is_denied(opened.err())),
        ("statuses", is_denied(statuses.err())),
        ("set status", is_denied(set.err())),
    ];
    let denied = all.into_iter().filter(|(_, is_denied)| *is_denied);
    denied.map(|(what, _)| what).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_asked_for_are_the_least() {
    let site = Site::start().await;
    let cases: [(&str, &str, &[&str]); 7] = [
        (
            "all",
            "contents=write,pull_requests=write,statuses=write",
            &[],
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
    ];
    for (case, rights, wanted) in cases {
        assert_eq!(denied(&site, rights, case).await, wanted, "{rights}");
    }
}
