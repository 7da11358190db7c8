//! What GitHub answers when it does not do as it should: told apart by who can help, without the credential,
//! and gone as soon as it is.

use std::time::Duration;

use tempfile::TempDir;
use towpath::clock;
use towpath::demo::github::{Fault, Rule};
use towpath::forge::github::{GitHub, Identity};
use towpath::forge::{Forge, ForgeError, Progress, ReadForge, Requests, Status};
use towpath::model::{CommitId, Credential};

use crate::github::Site;

const REPOSITORY: &str = "acme/infra";

/// An adapter of a process that was just started: no case is held up by another's limits.
fn adapter(site: &Site, folder: &TempDir) -> GitHub {
    let path = folder.path().join("token");
    std::fs::write(&path, site.token("towpath").expose()).unwrap();
    let identity = Identity::Token(Credential::File { path, user: None });
    site.adapter(REPOSITORY, identity)
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Fault {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Fault::Answer {
        status,
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

/// Who can help: time, with what it asks for; whoever gives rights; whoever asked.
fn told(error: &ForgeError) -> String {
    match error {
        ForgeError::Unavailable { retry_after, .. } => match retry_after {
            Some(wait) => format!("later, {} s", wait.as_secs()),
            None => "later".to_owned(),
        },
        ForgeError::Denied { .. } => "denied".to_owned(),
        ForgeError::Refused { .. } => "refused".to_owned(),
        ForgeError::Unsupported { .. } => "unsupported".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_apart_and_ends() {
    let site = Site::start().await;
    let folder = TempDir::new().unwrap();
    let page = "<html><body>Unicorn!</body></html>";
    let limit = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    let right = r#"{"message":"Resource not accessible by personal access token"}"#;
    let validation = r#"{"message":"Validation Failed","errors":[{"resource":"Status","code":"custom","message":"This SHA and context has reached the maximum number of statuses."}]}"#;
    let large = format!("[{}]", " ".repeat(17 << 20));
    let credential = r#"{"message":"Bad credentials"}"#;
    let json = [("content-type", "application/json")];
    let cases = [
        ("502", answer(502, &[], page), "later", "502"),
        ("504", answer(504, &[], page), "later", "504"),
        (
            "503 and when",
            answer(503, &[("retry-after", "9")], page),
            "later, 9 s",
            "503",
        ),
        (
            "a secondary limit",
            answer(403, &[("retry-after", "7")], limit),
            "later, 7 s",
            "limit",
        ),
        (
            "too many",
            answer(429, &[("retry-after", "8")], limit),
            "later, 8 s",
            "",
        ),
        (
            "a right is missing",
            answer(403, &json, right),
            "denied",
            "docs/github.md",
        ),
        (
            "not to be seen",
            answer(404, &json, r#"{"message":"Not Found"}"#),
            "denied",
            "404",
        ),
        ("401", answer(401, &json, credential), "denied", "401"),
        (
            "not valid",
            answer(422, &json, validation),
            "refused",
            "maximum number",
        ),
        (
            "no JSON",
            answer(200, &json, page),
            "later",
            "cannot be read",
        ),
        (
            "half of it",
            answer(200, &json, "[{\"number\":1"),
            "later",
            "cannot be read",
        ),
        (
            "far too much",
            answer(200, &json, &large),
            "later",
            "larger",
        ),
        ("cut", Fault::Cut, "later", ""),
        ("lost", Fault::Lost, "later", ""),
    ];
    let mut wrong = Vec::new();
    for (case, fault, expected, words) in cases {
        let forge = adapter(&site, &folder);
        site.github.add_fault(Rule {
            method: "GET",
            path: "/pulls".to_owned(),
            // A credential that is not accepted is read once more, and the same is tried again.
            times: 1,
            fault,
        });
        let asked = forge.requests(&Requests::default(), clock::now()).await;
        site.github.clear_faults();
        let seen = match &asked {
            Ok(_) => "nothing".to_owned(),
            Err(error) => format!("{}: {error}", told(error)),
        };
        let secret = site.token("towpath").expose();
        if !seen.starts_with(&format!("{expected}: "))
            || !seen.contains(words)
            || seen.contains(secret)
        {
            wrong.push(format!(
                "{case}: {expected} ({words}) is expected, not {seen}"
            ));
        }
        // Whoever does not have to wait is served the next time.
        if !expected.contains(" s") {
            let again = forge.requests(&Requests::default(), clock::now()).await;
            if let Err(error) = again {
                wrong.push(format!("{case}, and then: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What broke off may have taken effect: asked for again, it is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_found_done() {
    let site = Site::start().await;
    let folder = TempDir::new().unwrap();
    let forge = adapter(&site, &folder);
    let commit = site
        .commit("ann", "feature", Some("master"), "a.txt", "one\n")
        .await;
    let commit: CommitId = commit.parse().unwrap();
    let status = Status {
        context: "towpath/proven".to_owned(),
        progress: Progress::Success,
        description: "proven".to_owned(),
        url: None,
    };
    for fault in [
        Fault::Lost,
        Fault::Cut,
        Fault::Drip(Duration::from_millis(1)),
    ] {
        let drips = matches!(fault, Fault::Drip(_));
        site.github.add_fault(Rule {
            method: "POST",
            path: "/statuses/".to_owned(),
            times: 1,
            fault,
        });
        let set = forge.set_status(commit, &status).await;
        assert_eq!(set.is_ok(), drips, "{set:?}");
        let known = forge.statuses(commit).await.unwrap();
        assert_eq!(known, std::slice::from_ref(&status));
    }
}
