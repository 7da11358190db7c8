//! What GitHub is asked for a commit, and what it says where it makes none: told apart by who can help, without the
//! credential.

use tempfile::TempDir;
use towpath::demo::github::{Fault, Rule};
use towpath::forge::github::Identity;
use towpath::git::{Committer as _, Making};
use towpath::model::Credential;

use crate::github::Site;

const REPOSITORY: &str = "acme/infra";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_github_says_instead_of_a_commit_is_told() {
    let site = Site::start().await;
    let folder = TempDir::new().unwrap();
    let identity = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Identity::Token(Credential::File { path, user: None })
    };
    let head = site
        .commit("ann", "work", Some("master"), "web.txt", "2\n")
        .await;
    let making = Making {
        branch: "work".to_owned(),
        head: head.parse().unwrap(),
        message: "web: three\n\nIt was two.\n".to_owned(),
        files: vec![("web.txt".to_owned(), "3\n".into())],
    };
    let towpath = identity("towpath", site.token("towpath").expose());
    let made = site
        .adapter(REPOSITORY, towpath.clone())
        .commit(&making)
        .await;
    assert_ne!(made.unwrap(), making.head);

    let reads = site
        .fine_grained("towpath", "contents=read,pull_requests=write")
        .await;
    let reads = identity("reads", reads.expose());
    let gone = Making {
        branch: "gone".to_owned(),
        ..making.clone()
    };
    let large = Making {
        files: vec![("web.txt".to_owned(), vec![b'x'; 17 << 20].into())],
        ..making.clone()
    };
    let moved = "github refuses: Expected branch to point to";
    for (identity, making, expected) in [
        (&towpath, &making, moved),
        (&towpath, &gone, "github refuses: No such branch \"gone\""),
        (&reads, &making, "see docs/github.md"),
        (
            &towpath,
            &large,
            "github refuses: the files of one commit have 17 MiB together",
        ),
    ] {
        let told = site
            .adapter(REPOSITORY, identity.clone())
            .commit(making)
            .await;
        let why = told
            .unwrap_err()
            .why
            .replace(&format!("{}/{REPOSITORY}", site.github.address()), "github");
        assert!(why.contains(expected), "{why}");
    }

    let error = |kind: &str| {
        format!(
            r#"{{"data":{{"createCommitOnBranch":null}},"errors":[{{{kind}"message":"Something went wrong"}}]}}"#
        )
    };
    let json = || vec![("content-type", "application/json".to_owned())];
    for (status, headers, body, expected, wait) in [
        (502, Vec::new(), String::new(), "does not answer: 502", None),
        (
            401,
            json(),
            "{\"message\":\"Bad credentials\"}".to_owned(),
            "does not accept",
            None,
        ),
        (
            403,
            json(),
            "{\"message\":\"Resource not accessible by integration\"}".to_owned(),
            "lacks a right",
            None,
        ),
        (
            429,
            vec![("retry-after", "7".to_owned())],
            String::new(),
            "does not answer",
            Some(7),
        ),
        (
            200,
            json(),
            error(""),
            "does not answer: Something went wrong",
            None,
        ),
        (
            200,
            json(),
            error("\"type\":\"FORBIDDEN\","),
            "does not let us: Something went wrong",
            None,
        ),
        (
            200,
            json(),
            error("\"type\":\"RATE_LIMITED\","),
            "does not answer: Something went wrong",
            None,
        ),
        (
            200,
            json(),
            error("\"type\":\"UNPROCESSABLE\","),
            "refuses: Something went wrong",
            None,
        ),
        (
            200,
            json(),
            "{\"data\":{\"createCommitOnBranch\":{\"commit\":{\"oid\":\"x\"}}}}".to_owned(),
            "cannot be read",
            None,
        ),
        (200, json(), "{}".to_owned(), "cannot be read", None),
        (200, json(), "Unicorn!".to_owned(), "cannot be read", None),
    ] {
        site.github.add_fault(Rule {
            method: "POST",
            path: "/graphql".to_owned(),
            times: 1,
            fault: Fault::Answer {
                status,
                headers,
                body: body.clone(),
            },
        });
        site.github.take_exchanges();
        let told = site
            .adapter(REPOSITORY, towpath.clone())
            .commit(&making)
            .await;
        let told = told.unwrap_err();
        assert!(told.why.contains(expected), "{status} {body}: {}", told.why);
        assert!(
            !told.why.contains(site.token("towpath").expose()),
            "{}",
            told.why
        );
        assert_eq!(
            told.retry_after.map(|it| it.as_secs()),
            wait,
            "{status} {body}"
        );
        site.github.clear_faults();
    }
}
